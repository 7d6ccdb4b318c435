import pytest
import torch

from explorer.errors import ProgramError
from explorer.programs.allowed import EMPTY, IN_PLACE, LISTED, REFUSED, is_refused
from explorer.programs.operators import COND, OperatorNotAllowed, OperatorUnknown, is_random, name_of, resolve, writes
from explorer.programs.sizes import FUNCTIONS

HOSTILE = [
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "builtins.getattr",
    "operator.attrgetter",
    "operator.methodcaller",
    "operator.setitem",
    "subprocess.run",
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "torch.classes.load_library",
    "torch.ops.load_library",
    "math.perm",
    "aten.from_file.default",
    "aten.set_.source_Storage",
    "aten.set_data.default",
    "aten.as_strided.default",
    "aten._reshape_alias.default",
    "aten.as_strided_scatter.default",
    "aten.resize_.default",
    "aten.data_ptr.default",
    "aten._fft_c2r.default",
    "aten.segment_reduce.default",
    "aten.convolution_backward.default",
    "aten.max_pool2d_with_indices_backward.default",
    "aten.linear.__class__",
    "aten.linear._op",
    "aten.__and__.__init__",
    "aten.add.out",
    "aten.sin.out",
    "aten.linear.out",
    "aten.relu_.default",
    "aten.copy_.default",
    "prims.device_put.default",
    "prims.fill.default",
    "c10d.broadcast_.default",
    "quantized.linear.default",
    "profiler._record_function_enter.default",
    "torchvision.roi_align.default",
    "debugprims.load_tensor.default",
    "inductor.accumulate_grad_.default",
    "mkldnn._linear_pointwise.default",
    "aten.mkldnn_rnn_layer.default",
    "aten.to_sparse.default",
    "aten.sym_storage_offset.default",
    "aten..default",
    "aten.linear",
    "",
    "aten.linear.default.default",
    "aten.default",
    "rngprims.graphsafe_run_with_rng_state.default",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_on_the_list_is_refused(name):
    with pytest.raises((OperatorNotAllowed, OperatorUnknown)):
        resolve(name)


def every_operator():
    for schema in torch._C._jit_get_all_schemas():
        namespace, _, name = schema.name.partition("::")
        if namespace == "aten" and hasattr(torch.ops.aten, name):
            packet = getattr(torch.ops.aten, name)
            found = getattr(packet, schema.overload_name or "default", None)
            if isinstance(found, torch._ops.OpOverload):
                yield found


def test_no_operator_that_writes_reads_files_or_trusts_offsets_gets_through():
    allowed = []
    for found in every_operator():
        try:
            resolve(str(found))
        except ProgramError:
            continue
        allowed.append(found)
    assert 500 < len(allowed) < 2_000
    for found in allowed:
        assert not found._schema.is_mutable, found
        assert not any(argument.is_out for argument in found._schema.arguments), found
        kinds = {str(argument.type) for argument in found._schema.arguments}
        assert not kinds & {"Storage", "Stream", "AnyClassType", "t"}, found
        name = found._schema.name
        assert not any(word in name for word in ("backward", "as_strided", "file", "storage", "sparse", "quantize")), (
            found
        )


def test_texts_that_operators_take_are_ways_of_computing():
    taken = set()
    for found in every_operator():
        try:
            resolve(str(found))
        except ProgramError:
            continue
        taken |= {argument.name for argument in found._schema.arguments if "str" in str(argument.type)}
    assert taken == {
        "UPLO",
        "approximate",
        "assert_msg",
        "driver",
        "equation",
        "indexing",
        "interpolation",
        "mode",
        "norm",
        "ord",
        "pad_mode",
        "padding",
        "reduce",
        "rounding_mode",
        "side",
    }


def test_in_place_operators_are_for_tapes_alone():
    with pytest.raises(OperatorNotAllowed):
        resolve("aten.relu_.default")
    assert writes(resolve("aten.relu_.default", in_place=True))
    with pytest.raises(OperatorNotAllowed):
        resolve("aten.set_.source_Storage", in_place=True)


def test_every_name_on_the_lists_is_one_of_pytorchs():
    for name in LISTED | REFUSED | EMPTY | IN_PLACE:
        assert isinstance(getattr(torch.ops.aten, name), torch._ops.OpOverloadPacket), name


def test_names_and_functions_are_inverse():
    for name in ("operator.floordiv", "torch.sym_max", "math.ceil", "builtins.round"):
        target = {"operator.floordiv": __import__("operator").floordiv, "torch.sym_max": torch.sym_max}.get(name)
        if target is not None:
            assert name_of(target) == name
    assert name_of(torch.ops.aten.relu.default) == "aten.relu.default"
    assert name_of(print) is None
    assert name_of([]) is None


def test_operators_that_draw_random_numbers_are_known():
    assert is_random(resolve("aten.randn_like.default"))
    assert not is_random(resolve("aten.relu.default"))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("operator.add", ([1], [2])),
        ("operator.mul", ("a", 10**9)),
        ("operator.mul", (2**40, 2**40)),
        ("operator.mod", ("%1000000d", 1)),
        ("operator.pow", (10, 10**9)),
        ("operator.pow", (2.0, 1e9)),
        ("operator.getitem", ({"a": 1}, "a")),
        ("operator.getitem", ((1, 2), slice(0, 1))),
        ("torch.sym_sum", ("abc",)),
        ("torch.sym_sum", (["a", "b"],)),
        ("torch.sym_max", ([1, 2],)),
    ],
)
def test_arithmetic_is_for_numbers_of_64_bits(name, arguments):
    with pytest.raises(ProgramError):
        FUNCTIONS[name](*arguments)


def test_arithmetic_is_pythons():
    assert FUNCTIONS["operator.floordiv"](7, 2) == 3
    assert FUNCTIONS["operator.pow"](3, 2) == 9
    assert FUNCTIONS["torch.sym_sum"]([1, 2, 3]) == 6
    assert FUNCTIONS["torch.sym_ite"](False, 1, 2) == 2
    assert FUNCTIONS["operator.getitem"]((5, 6), 1) == 6


def test_what_is_told_by_name_alone_is_what_this_pytorch_allows():
    names = {name.split("::")[1].split(".")[0] for name in torch._C._dispatch_get_all_op_names() if "aten::" in name}
    for name in sorted(names):
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if isinstance(packet, torch._ops.OpOverloadPacket) else ():
            try:
                resolve(f"aten.{name}.{overload}")
            except ProgramError:
                continue
            assert not is_refused(f"aten.{name}.{overload}"), name
    assert not any(is_refused(name) for name in (*FUNCTIONS, COND))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_told_by_name_alone(name):
    assert is_refused(name)
