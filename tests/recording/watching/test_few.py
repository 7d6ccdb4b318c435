import math

import numpy as np
import pytest
import torch

from explorer.recording.watching.bench import HostBench
from explorer.recording.watching.checksum import RunningChecksum, checksums_of_few
from explorer.recording.watching.few import Few, Together, measure_together, multiply_together
from explorer.recording.watching.quantities import SMALL, measure_few
from explorer.recording.watching.samples import stride_for, view_sample


def assert_same(found, expected):
    for name in ("n", "zeros", "nans", "infs", "underflow", "checksum"):
        assert getattr(found, name) == getattr(expected, name), name
    np.testing.assert_array_equal([found.low, found.high], [expected.low, expected.high])
    assert found.keys.dtype == np.uint16
    np.testing.assert_array_equal(found.keys, expected.keys)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.moments.n == expected.moments.n
    assert found.moments.mean == pytest.approx(expected.moments.mean, rel=1e-12, abs=1e-18)
    assert found.moments.m2 == pytest.approx(expected.moments.m2, rel=1e-12, abs=1e-300)


def odd_tensors():
    rng = np.random.default_rng(0)
    spread = [(rng.normal(size=n) * scale).astype(np.float32) for n in (1, 7, 256, SMALL) for scale in (1e-9, 1, 1e30)]
    special = [[], [0.0], [-0.0, 0.0], [np.nan], [np.inf, 1.0], [-np.inf, np.inf, np.nan], [1e-40, -1e-45, 3.4e38]]
    return [*spread, *(np.array(values, np.float32) for values in special), rng.normal(size=100) * 1e60, np.ones(5)]


def test_tensors_are_measured_together_as_each_by_itself():
    tensors = odd_tensors() * 3  # more than are worked out at once
    few = [Few(torch.from_numpy(values), checksum=False) for values in tensors]
    for found, values in zip(measure_together(few), tensors, strict=True):
        assert_same(found, measure_few(values))


def test_there_may_be_nothing_to_measure():
    assert measure_together([]) == [] == multiply_together([])
    assert measure_together([Few(torch.empty(0), checksum=True)] * 2)[1].n == 0


def test_pairs_are_multiplied_together_as_numpy_multiplies_each():
    rng = np.random.default_rng(1)
    pairs = [tuple(torch.from_numpy(rng.normal(size=(2, n)))) for n in (3, 0, SMALL, 1, 0)]
    for found, (a, b) in zip(multiply_together(pairs), [(a.numpy(), b.numpy()) for a, b in pairs], strict=True):
        np.testing.assert_allclose(found, [a @ b, a @ a, b @ b, (a - b) @ (a - b)], rtol=1e-12)


def test_products_of_values_that_are_not_finite_are_not_finite_and_leave_the_others_alone():
    bad = torch.tensor([np.nan, 1]), torch.tensor([np.inf, 1])
    good = torch.ones(2), torch.zeros(2)
    first, second = multiply_together([bad, good])
    assert [math.isnan(value) for value in first] == [True, True, False, True]
    assert math.isinf(first.bb)
    assert second == (0, 2, 0, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_bench_gives_values_as_they_were_when_they_were_held(dtype):
    bench, values = HostBench(), torch.tensor([1.0, -2.0, 0.0], dtype=dtype)
    held, before = bench.hold(values), bench.copy(values + 1, "of this name")
    measured, change = bench.measure(held, checksum=True), bench.change(held, before)
    products = bench.inner_products(held, held)
    bench.copy(values, "of this name")
    expected = HostBench().measure(values.clone(), checksum=True)()
    values.fill_(7.0)
    bench.close()
    other = bench.measure(values)
    assert_same(measured(), expected)
    assert (measured().low, measured().high, measured().zeros) == (-2, 1, 1)
    assert change() == (3, 6)
    assert products() == (5, 5, 5)
    assert other().low == 7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [0, 1, 16_384, 40_000, 1_000_003])
def test_a_sample_is_laid_side_by_side(size, dtype):
    bench, values = HostBench(), torch.arange(size).to(dtype)
    bench.gather(values[::3])
    sample = view_sample(values, 16_384)
    assert bench.gather(sample).is_contiguous()
    assert torch.equal(bench.gather(sample), values[:: stride_for(size, 16_384)])


def test_work_is_done_once_for_all_that_was_added_before_it_was_asked_for():
    calls = []
    together = Together(lambda items: calls.append(list(items)) or [2 * item for item in items])
    first, second = together.add(1), together.add(2)
    assert not calls
    assert (second(), first(), first()) == (4, 2, 2)
    third = together.add(3)
    together.close()
    fourth = together.add(4)
    assert (fourth(), third()) == (8, 6)
    assert calls == [[1, 2], [4], [3]]


def test_checksums_are_those_of_each_by_itself():
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(n, generator=generator).to(dtype)
        for n in (0, 1, 2, 3, 5, 100, SMALL)
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
    ]
    assert checksums_of_few(tensors) == [RunningChecksum(values).finish() for values in tensors]
    assert checksums_of_few([]) == []
    assert len(set(checksums_of_few(tensors))) == len(tensors) - 2  # those of nothing are alike
