import pytest
import torch

from explorer.recording.watching.bench import HostBench
from explorer.recording.watching.checksum import (
    RunningChecksum,
    checksum_on_device,
    checksum_with_counts,
    device_weights,
)


def checksum(values):
    found = HostBench().measure(values, checksum=True)()
    return checksum_with_counts(found.checksum, found.keys, found.counts)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 65_535, 65_536, 65_537, 300_001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float8_e4m3fn])
def test_processors_and_accelerators_agree(size, dtype):
    torch.manual_seed(size)
    values = torch.randn(size + 1).to(dtype)
    for flat in (values[:size], values[1:]):  # the second does not begin at a multiple of 8 bytes
        on_device = checksum_on_device(flat, device_weights(torch.device("cpu")))
        at_once, in_pieces = RunningChecksum(flat), RunningChecksum(flat)
        for end in range(0, len(flat), 50_000):
            in_pieces.advance(end)
        assert on_device.tolist() == [at_once.finish()] == [in_pieces.finish()]
        assert on_device.tolist() == [HostBench().measure(flat, checksum=True)().checksum]
        assert -(2**63) <= on_device.item() < 2**63


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.__setitem__(12_345, torch.nextafter(v[12_345], torch.tensor(9.0))),
        lambda v: v.neg_(),
        lambda v: v[:2].neg_(),
        lambda v: v[1:4:2].neg_(),
        lambda v: v.copy_(v.flip(0)),
        lambda v: v.copy_(v.roll(1)),
        lambda v: v.copy_(v.reshape(2, -1).flip(0).flatten()),
        lambda v: v[99_999:].add_(1e-6),
    ],
    ids=[
        "one ulp",
        "all signs",
        "two signs",
        "two upper signs",
        "reversed",
        "rolled",
        "halves swapped",
        "last",
    ],
)
def test_any_change_shows(change):
    torch.manual_seed(0)
    values = torch.randn(100_000)
    before = checksum(values)
    assert checksum(values.clone()) == before
    change(values)
    assert checksum(values) != before


def test_zeros_of_different_length_or_sign_differ():
    assert len({checksum(torch.zeros(n)) for n in range(50)}) == 50
    assert checksum(torch.zeros(2)) != checksum(-torch.zeros(2))
