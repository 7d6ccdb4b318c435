"""Which operators a program may call, and how their names become functions. A positive list: what is not on it is refused.

Allowed are operators of PyTorch that compute new tensors from tensors and numbers: those that PyTorch itself tags as
core or pointwise, and the named ones below, as long as they neither write into their arguments nor take a place to
write to. In-place forms are allowed for tapes only, whose inputs and weights the interpreter copies. Nothing that
reads files, names memory by address, changes the process or calls back into Python is among them.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, Final

import torch

from explorer.errors import ProgramError

COND: Final = "cond"

# Computations that are neither tagged as core nor as pointwise, found by capturing many kinds of models.
_NAMED_ATEN: Final = frozenset(
    """
    _assert_scalar _assert_tensor_metadata _unsafe_index _unsafe_view _weight_norm_interface adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_max_pool2d adaptive_max_pool3d addbmm addmv addr alias_copy all amax amin aminmax any
    argmax argmin argsort atleast_1d atleast_2d atleast_3d avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear
    bincount binary_cross_entropy binary_cross_entropy_with_logits block_diag broadcast_tensors broadcast_to bucketize
    cat cdist celu channel_shuffle chunk col2im column_stack concat constant_pad_nd conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d cosine_embedding_loss cosine_similarity count_nonzero cross
    cross_entropy_loss cummax cummin cumprod cumsum detach detach_copy diag diag_embed diagonal diff dist dot dropout
    dstack einsum embedding embedding_bag expand expand_as eye feature_dropout flatten flip fliplr flipud
    fractional_max_pool2d full full_like gather ger glu grid_sampler group_norm gru gru_cell hinge_embedding_loss
    histc hstack huber_loss im2col index index_add index_copy index_fill index_put index_select inner instance_norm
    isin kl_div kron kthvalue l1_loss layer_norm linalg_cross linalg_norm linalg_vector_norm linear linspace
    log_sigmoid log_softmax logcumsumexp logsumexp logspace lstm lstm_cell margin_ranking_loss masked_fill
    masked_scatter masked_select matmul matrix_exp max max_pool1d max_pool2d max_pool3d mean median meshgrid min mish
    mm mode moveaxis movedim mse_loss multi_margin_loss multilabel_margin_loss multinomial mv narrow
    native_batch_norm native_group_norm native_layer_norm new_empty new_full new_ones new_zeros nll_loss nll_loss_nd
    nll_loss2d nonzero nonzero_numpy norm one_hot ones ones_like outer pad pairwise_distance pdist permute
    pixel_shuffle pixel_unshuffle poisson_nll_loss prelu prod quantile ravel reflection_pad1d reflection_pad2d
    reflection_pad3d renorm repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape
    rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell roll rot90 rrelu scaled_dot_product_attention scatter
    scatter_add scatter_reduce searchsorted segment_reduce select selu silu slice slice_scatter select_scatter
    smooth_l1_loss soft_margin_loss softmax sort split split_with_sizes squeeze stack std std_mean stft istft
    fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_fftshift
    fft_ifftshift view_as_real view_as_complex real imag sum sum_to_size swapaxes swapdims sym_constrain_range
    sym_constrain_range_for_size sym_numel sym_size sym_stride t take take_along_dim tensor_split tensordot threshold
    tile to topk trace transpose triangular_solve tril tril_indices triu triu_indices triplet_margin_loss type_as
    unbind unflatten unfold unique_consecutive unique_dim unsqueeze upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d vander var var_mean
    vdot view view_as vsplit vstack where zeros zeros_like contiguous clone item _local_scalar_dense lift_fresh_copy
    lift_fresh native_dropout bernoulli normal rand randn rand_like randn_like randint randint_like randperm arange
    bitwise_not logical_not masked_fill scalar_tensor movedim conj resolve_conj resolve_neg _conj _neg_view square
    _scaled_dot_product_attention_math _scaled_dot_product_flash_attention_for_cpu _native_multi_head_attention
    _softmax _log_softmax _to_copy _reshape_alias view_copy expand_copy permute_copy slice_copy select_copy
    transpose_copy unsqueeze_copy squeeze_copy unfold_copy split_copy unbind_copy is_nonzero numel size
    _pack_padded_sequence _pad_packed_sequence _fft_r2c _fft_c2r _fft_c2c _euclidean_dist _cdist_forward
    _embedding_bag _embedding_bag_forward_only _native_batch_norm_legit_no_training native_channel_shuffle mkldnn_rnn_layer _safe_softmax _weight_norm
    empty_like unsafe_split unsafe_split_with_sizes unsafe_chunk
    """.split()
)
# Tagged as core by PyTorch, but not for us: they name memory by offsets.
_REFUSED_ATEN: Final = frozenset(("as_strided", "as_strided_copy", "as_strided_scatter", "from_file", "set_data"))
_IN_PLACE_ATEN: Final = frozenset(
    """
    add_ sub_ mul_ div_ pow_ exp_ log_ sqrt_ rsqrt_ neg_ abs_ relu_ leaky_relu_ elu_ hardtanh_ hardswish_
    hardsigmoid_ silu_ sigmoid_ tanh_ gelu_ clamp_ clamp_min_ clamp_max_ copy_ fill_ zero_ masked_fill_ index_put_
    index_add_ index_copy_ index_fill_ scatter_ scatter_add_ scatter_reduce_ addcmul_ addcdiv_ addmm_ lerp_ unsqueeze_
    squeeze_ transpose_ t_ swapaxes_ bitwise_and_ bitwise_or_ bitwise_not_ logical_and_ logical_or_ logical_not_ floor_
    ceil_ round_ sin_ cos_ cumsum_ triu_ tril_ masked_scatter_ eq_ ne_ lt_ le_ gt_ ge_ dropout_ uniform_ normal_
    bernoulli_ random_
    """.split()
)
_TORCHVISION: Final = frozenset(("nms", "roi_align", "roi_pool", "ps_roi_align", "deform_conv2d"))
_PRIMS: Final = frozenset(
    ("convert_element_type", "broadcast_in_dim", "iota", "where", "squeeze", "transpose", "view_of")
)

# Sizes are computed in Python; these are the functions that a graph of PyTorch uses for that.
_PYTHON: Final[dict[str, Callable[..., Any]]] = {
    **{
        f"operator.{name}": getattr(operator, name)
        for name in "add sub mul floordiv truediv mod neg pow eq ne lt le gt ge and_ or_ not_ getitem pos".split()
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")},
    **{
        f"torch.{name}": getattr(torch, name)
        for name in ("sym_max", "sym_min", "sym_not", "sym_float", "sym_int", "sym_ite", "sym_sum")
    },
    "torch.sym_sqrt": math.sqrt,
    "builtins.round": round,
}
_PYTHON_NAMES: Final = {function: name for name, function in reversed(_PYTHON.items())}


class OperatorNotAllowed(ProgramError):
    """The program calls something that is not on the list."""


class OperatorUnknown(ProgramError):
    """The operator is allowed, but this version of PyTorch does not have it."""


@functools.cache
def resolve(name: str, *, in_place: bool = False) -> Callable[..., Any]:
    """The function of an operator's name, such as `aten.linear.default`; `in_place` allows those that a tape may use.

    Raises:
        OperatorNotAllowed: it is not on the list.
        OperatorUnknown: it may be, but this PyTorch has none of that name.
    """
    if name in _PYTHON:
        return _PYTHON[name]
    parts = name.split(".")
    if len(parts) != 3 or not _is_listed(*parts[:2], in_place=in_place):
        raise OperatorNotAllowed(_refusal(name))
    namespace, packet_name, overload = parts
    if overload.startswith("_") or packet_name.startswith("__"):
        raise OperatorNotAllowed(_refusal(name))
    try:
        found = getattr(getattr(getattr(torch.ops, namespace), packet_name), overload)
    except (AttributeError, RuntimeError):
        raise OperatorUnknown(
            f"the operator {name[:100]} is not in PyTorch {torch.__version__}: the run was recorded with another version"
        ) from None
    if not isinstance(found, torch._ops.OpOverload) or not _is_safe(found, packet_name, in_place):
        raise OperatorNotAllowed(_refusal(name))
    return found


def name_of(target: object) -> str | None:
    """The name of a function in a graph, or None for one that is not on the list; the inverse of `resolve`."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    try:
        return _PYTHON_NAMES.get(target)  # type: ignore[arg-type]
    except TypeError:
        return None


def writes(function: Callable[..., Any]) -> bool:
    """Whether the operator writes into an argument."""
    return isinstance(function, torch._ops.OpOverload) and bool(function._schema.is_mutable)


def _is_listed(namespace: str, packet_name: str, *, in_place: bool) -> bool:
    if namespace == "torchvision":
        return packet_name in _TORCHVISION
    if namespace == "prims":
        return packet_name in _PRIMS
    if namespace != "aten" or packet_name in _REFUSED_ATEN:
        return False
    if packet_name.endswith("_") and not packet_name.endswith("__"):
        return in_place and packet_name in _IN_PLACE_ATEN
    return packet_name in _NAMED_ATEN or _is_tagged(packet_name)


@functools.cache
def _is_tagged(packet_name: str) -> bool:
    packet = getattr(torch.ops.aten, packet_name, None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return False
    good = {torch.Tag.core, torch.Tag.pointwise}
    return any(good & set(getattr(packet, overload).tags) for overload in packet.overloads())


def _is_safe(found: torch._ops.OpOverload, packet_name: str, in_place: bool) -> bool:
    schema = found._schema
    if any(argument.is_out for argument in schema.arguments):
        return False
    return not schema.is_mutable or (in_place and packet_name in _IN_PLACE_ATEN)


def _refusal(name: str) -> str:
    return f"the program calls {name[:100]!r}, which is not on the list of operators that may run here"
