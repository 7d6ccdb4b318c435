"""The operators that a program may call, by name: what this list does not hold, and PyTorch does not tag, is refused.

On it are computations of new tensors from tensors and numbers. Left out on purpose, although models may use them:
views by offsets and strides (`as_strided`, `_reshape_alias`), whose kernels do not check that they stay inside the
tensor; kernels that trust sizes or indices given to them (`segment_reduce`, `_fft_c2r`, `mkldnn_rnn_layer`, the
operators of torchvision that take boxes, everything `_backward`); whatever reads files or names memory by address.
"""

from __future__ import annotations

from typing import Final

_LISTED = """
    _adaptive_avg_pool2d _assert_scalar _assert_tensor_metadata _cdist_forward _conj _embedding_bag
    _embedding_bag_forward_only _euclidean_dist _local_scalar_dense _native_batch_norm_legit_no_training
    _neg_view _pack_padded_sequence _pad_packed_sequence _prelu_kernel _safe_softmax
    _scaled_dot_product_attention_math _to_copy _unique2 _unsafe_index _unsafe_view _upsample_bicubic2d_aa
    _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d _weight_norm
    _weight_norm_interface absolute adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d addbmm addmv addr affine_grid_generator
    alias_copy all allclose alpha_dropout amax amin aminmax any arange arccos arccosh arcsin arcsinh arctan
    arctan2 arctanh argmax argmin argsort argwhere atleast_1d atleast_2d atleast_3d avg_pool1d avg_pool2d
    avg_pool3d baddbmm batch_norm bernoulli bilinear binary_cross_entropy binary_cross_entropy_with_logits
    bincount bitwise_not block_diag broadcast_tensors broadcast_to bucketize cartesian_prod cat cdist celu
    channel_shuffle cholesky chunk clone col2im column_stack combinations concat concatenate conj
    constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d corrcoef
    cosine_embedding_loss cosine_similarity count_nonzero cov cross cross_entropy_loss cummax cummin cumprod
    cumsum detach detach_copy diag diag_embed diagonal diff dist divide dot dropout dsplit dstack einsum
    embedding embedding_bag equal expand expand_as expand_copy eye feature_alpha_dropout feature_dropout fft_fft
    fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft
    fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn flatten flip fliplr flipud
    float_power floor_divide fractional_max_pool2d full full_like gather ger glu greater greater_equal
    grid_sampler grid_sampler_3d group_norm gru gru_cell hamming_window hann_window hardswish
    hinge_embedding_loss histc hsplit hstack huber_loss im2col imag index index_add index_copy index_fill
    index_put index_select inner instance_norm inverse is_nonzero isclose isin istft item kl_div kron kthvalue
    l1_loss layer_norm less less_equal lift_fresh lift_fresh_copy linalg_cholesky linalg_cross linalg_det
    linalg_eigh linalg_inv linalg_matrix_norm linalg_multi_dot linalg_norm linalg_pinv linalg_qr linalg_slogdet
    linalg_solve linalg_svd linalg_vector_norm linear linspace log_sigmoid log_sigmoid_forward log_softmax
    logcumsumexp logdet logical_not logspace logsumexp lstm lstm_cell margin_ranking_loss masked_fill
    masked_scatter masked_select matmul matrix_exp max max_pool1d max_pool1d_with_indices max_pool2d max_pool3d
    mean median meshgrid min mish mm mode moveaxis movedim mse_loss msort multi_margin_loss
    multilabel_margin_loss multinomial multiply mv nanmean nanmedian nansum narrow native_batch_norm
    native_channel_shuffle native_dropout native_group_norm native_layer_norm negative new_full new_ones
    new_zeros nll_loss nll_loss2d nll_loss_forward nll_loss_nd nonzero nonzero_numpy norm normal not_equal numel
    one_hot ones ones_like outer pad pairwise_distance pdist permute permute_copy pixel_shuffle pixel_unshuffle
    poisson_nll_loss prelu prod quantile rand rand_like randint randint_like randn randn_like randperm ravel
    real reflection_pad1d reflection_pad2d reflection_pad3d renorm repeat repeat_interleave replication_pad1d
    replication_pad2d replication_pad3d reshape reshape_as resolve_conj resolve_neg rms_norm rnn_relu
    rnn_relu_cell rnn_tanh rnn_tanh_cell roll rot90 rrelu scalar_tensor scaled_dot_product_attention scatter
    scatter_add scatter_reduce searchsorted select select_copy select_scatter selu silu size slice slice_copy
    slice_scatter smooth_l1_loss soft_margin_loss softmax sort split split_copy split_with_sizes square squeeze
    squeeze_copy stack std std_mean stft subtract sum sum_to_size swapaxes swapdims sym_constrain_range
    sym_constrain_range_for_size sym_numel sym_size sym_stride t take take_along_dim tensor_split tensordot
    threshold tile to topk trace transpose transpose_copy trapezoid triangular_solve tril tril_indices
    triplet_margin_loss triu triu_indices type_as unbind unbind_copy unflatten unfold unfold_copy
    unique_consecutive unique_dim unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze unsqueeze_copy
    upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_trilinear3d vander var var_mean vdot view view_as view_as_complex view_as_real
    view_copy vsplit vstack where zero zeros zeros_like
"""
_TAGGED = """
    __lshift__ __rshift__ __xor__ _adaptive_avg_pool3d _conj_physical _log_softmax _native_batch_norm_legit
    _pdist_forward _softmax abs acos acosh add addcdiv addcmul addmm alias angle asin asinh atan atan2 atanh
    bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor bmm ceil clamp clamp_max
    clamp_min clip conj_physical convolution copy copysign cos cosh deg2rad digamma div elu eq erf erfc
    erfinv exp exp2 expm1 fill floor fmax fmin fmod frac frexp gcd ge gelu grid_sampler_2d gt hardshrink
    hardsigmoid hardtanh heaviside hypot i0 igamma igammac isfinite isinf isnan isneginf isposinf lcm ldexp
    le leaky_relu lerp lgamma log log10 log1p log2 logaddexp logaddexp2 logical_and logical_or logical_xor
    logit lt max_pool2d_with_indices max_pool3d_with_indices maximum minimum mul mvlgamma nan_to_num ne neg
    nextafter polygamma positive pow rad2deg reciprocal relu relu6 remainder round rsqrt rsub sgn sigmoid
    sign signbit sin sinc sinh softplus softshrink special_airy_ai special_bessel_j0 special_bessel_j1
    special_bessel_y0 special_bessel_y1 special_chebyshev_polynomial_t special_chebyshev_polynomial_u
    special_chebyshev_polynomial_v special_chebyshev_polynomial_w special_entr special_erfcx
    special_hermite_polynomial_h special_hermite_polynomial_he special_i0e special_i1 special_i1e
    special_laguerre_polynomial_l special_legendre_polynomial_p special_log_ndtr special_modified_bessel_i0
    special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri
    special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1
    special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w
    special_spherical_bessel_j0 special_xlog1py special_zeta sqrt sub sym_is_contiguous tan tanh true_divide
    trunc xlogy
"""
_ON_SIZES = """
    cond builtins.round math.ceil math.floor math.trunc operator.add operator.and_ operator.eq
    operator.floordiv operator.ge operator.getitem operator.gt operator.le operator.lt operator.mod
    operator.mul operator.ne operator.neg operator.not_ operator.or_ operator.pos operator.pow operator.sub
    operator.truediv torch._sym_sqrt torch.sym_float torch.sym_int torch.sym_ite torch.sym_max torch.sym_min
    torch.sym_not torch.sym_sum
"""
_IN_PLACE = """
    abs_ add_ addcdiv_ addcmul_ addmm_ baddbmm_ bernoulli_ bitwise_and_ bitwise_not_ bitwise_or_ ceil_ clamp_
    clamp_max_ clamp_min_ copy_ cos_ cumsum_ div_ dropout_ elu_ eq_ exp_ fill_ floor_ ge_ gelu_ gt_ hardsigmoid_
    hardswish_ hardtanh_ index_add_ index_copy_ index_fill_ index_put_ le_ leaky_relu_ lerp_ log_ logical_and_
    logical_not_ logical_or_ lt_ masked_fill_ masked_scatter_ mul_ ne_ neg_ normal_ pow_ random_ reciprocal_
    relu_ round_ rsqrt_ scatter_ scatter_add_ scatter_reduce_ sigmoid_ silu_ sin_ sqrt_ squeeze_ sub_ swapaxes_
    t_ tanh_ transpose_ tril_ triu_ uniform_ unsqueeze_ zero_
"""

LISTED: Final = frozenset(_LISTED.split())
"""Names in `aten` that compute, and are neither tagged as core nor as pointwise by every PyTorch that we run on."""

TAGGED: Final = frozenset(_TAGGED.split())
"""Names in `aten` that PyTorch 2.13 tags as core or pointwise, for who tells what a program holds without PyTorch.

What may run is decided by the tags of the PyTorch that is there, see `operators`.
"""

ON_SIZES: Final = frozenset(_ON_SIZES.split())
"""Python functions that a program calls on sizes, and `cond`."""

REFUSED: Final = frozenset(("_fft_c2r", "_fft_r2c", "as_strided", "sym_storage_offset"))
"""Names that PyTorch tags as core, but that trust what they are given."""

EMPTY: Final = frozenset(("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"))
"""Names that give memory as it was left; a program gets zeros instead, so that it gives the same twice."""

STATISTICS: Final = frozenset(("batch_norm", "instance_norm", "native_batch_norm"))
"""Names whose kernels write into the running statistics, although their schemas say that they write nothing."""

IN_PLACE: Final = frozenset(_IN_PLACE.split())
"""Names in `aten` that write into their first argument; for tapes alone."""


def is_refused(name: str, *, in_place: bool = False) -> bool:
    """Whether an operator of this name is known not to be allowed, as far as names tell.

    >>> is_refused("aten.relu.default"), is_refused("aten.from_file.default"), is_refused("os.system.default")
    (False, True, True)
    """
    parts = name.split(".")
    if name in ON_SIZES:
        return False
    if len(parts) != 3 or parts[0] != "aten" or parts[1].endswith("_backward") or parts[1] in REFUSED:
        return True
    if parts[2].startswith("_") or "out" in parts[2].split("_"):  # no overload, or one that takes a place to write to
        return True
    if parts[1] in IN_PLACE:
        return not in_place
    return parts[1] not in LISTED and parts[1] not in EMPTY and parts[1] not in TAGGED
