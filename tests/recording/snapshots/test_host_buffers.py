"""Copies into memory that is used again."""

import pytest
import torch

from explorer.recording.snapshots.host_buffers import (
    MAX_SETS,
    MAX_SMALL_SETS,
    SMALL_SETS_BYTES,
    BufferPool,
    HostBuffers,
    Place,
    plan,
    start_copies,
)
from explorer.recording.snapshots.inventory import Found

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip
SHAPES = [(), (0,), (3, 0, 2), (1,), (5, 7), (2, 3, 4, 5)]


def random_bits(dtype, shape):
    """A tensor of any bits that the type can hold, NaN and -0.0 among them."""
    count = torch.Size(shape).numel() * dtype.itemsize
    if dtype == torch.bool:
        return torch.randint(0, 2, shape).bool()
    return torch.randint(0, 256, (count,), dtype=torch.uint8).view(dtype).reshape(shape)


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def copied(tensors, shorten=False):
    found = [Found(str(number), "param", tensor) for number, tensor in enumerate(tensors)]
    buffers = HostBuffers(plan(found, shorten), pinned=False)
    return start_copies(tensors, buffers.views), buffers


def test_every_type_and_shape_arrives_bit_for_bit():
    tensors = [random_bits(dtype, shape) for dtype in DTYPES for shape in SHAPES]
    copies, buffers = copied(tensors)
    assert copies.failed == {}
    assert [bytes(memory) for memory in buffers.memory] == [bits(tensor) for tensor in tensors]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(4, 6).t(),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(10)[::3],
        torch.randn(3, 1).expand(3, 4),
        torch.randn(3, dtype=torch.complex64).conj(),
        torch.randn(3, requires_grad=True),
    ],
    ids=["transposed", "channels last", "strided", "expanded", "conjugate", "with gradient"],
)
def test_a_tensor_in_any_order_of_memory_arrives_in_c_order(tensor):
    _, buffers = copied([tensor])
    assert bytes(buffers.memory[0]) == tensor.detach().resolve_conj().numpy().tobytes()


def test_shortened_values_are_those_of_bfloat16_and_others_stay_as_they_are():
    tensors = [torch.randn(50), torch.randn(50).double(), torch.randn(50).half(), torch.arange(9), torch.tensor(0.1)]
    _, buffers = copied(tensors, shorten=True)
    expected = [tensors[0].bfloat16(), tensors[1].bfloat16(), *tensors[2:]]
    assert [bytes(memory) for memory in buffers.memory] == [bits(tensor) for tensor in expected]
    assert sum(place.num_bytes for place in buffers.places) == 50 * 6 + 9 * 8 + 4


def test_a_tensor_that_cannot_be_copied_costs_only_itself():
    odd = torch.zeros(2, 3)
    views = [torch.zeros(4), torch.zeros(5), torch.zeros(6)]
    copies = start_copies([torch.ones(4), odd, torch.ones(6)], views)
    assert list(copies.failed) == [1]
    assert copies.failed[1].startswith("cannot be copied (RuntimeError")
    assert torch.equal(views[0], torch.ones(4))
    assert torch.equal(views[2], torch.ones(6))


def places(num_bytes):
    return [Place((num_bytes,), torch.uint8)]


def test_a_set_that_was_given_back_is_used_again():
    pool = BufferPool()
    first = pool.take(places(100), pinned=False)
    pool.give_back(first)
    assert pool.take(places(100), pinned=False) is first


def test_a_set_for_another_model_is_made_anew():
    pool = BufferPool()
    pool.give_back(pool.take(places(100), pinned=False))
    assert pool.take(places(101), pinned=False).places == places(101)


def test_of_a_large_model_there_are_two_sets():
    pool, large = BufferPool(), places(SMALL_SETS_BYTES // 3 * 2)
    sets = [pool.take(large, pinned=False) for _ in range(MAX_SETS)]
    assert None not in sets
    assert pool.take(large, pinned=False) is None
    pool.give_back(sets[0])
    assert pool.take(large, pinned=False) is sets[0]


def test_of_a_small_model_there_are_more():
    pool = BufferPool()
    sets = [pool.take(places(1_000), pinned=False) for _ in range(MAX_SMALL_SETS + 1)]
    assert sets.index(None) == MAX_SMALL_SETS


def test_memory_that_cannot_be_had_does_not_use_up_a_set(monkeypatch):
    pool = BufferPool()

    def refuse(*args, **kwargs):
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr("explorer.recording.snapshots.host_buffers.HostBuffers.__init__", refuse)
        for _ in range(2 * MAX_SMALL_SETS):
            with pytest.raises(RuntimeError, match="no memory"):
                pool.take(places(10), pinned=False)
    assert pool.take(places(10), pinned=False) is not None


def test_a_released_pool_gives_nothing():
    pool = BufferPool()
    pool.release()
    assert pool.take(places(10), pinned=False) is None
