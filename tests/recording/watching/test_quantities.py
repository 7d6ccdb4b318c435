"""Counters are exact and moments right, in main memory and in the operations an accelerator runs (here on the CPU)."""

import numpy as np
import pytest
import torch

from explorer.recording.watching.bench import HostBench
from explorer.recording.watching.device import DeviceBench
from explorer.recording.watching.flatten import flatten
from explorer.recording.watching.quantities import plus
from explorer.storage.bins import bin_edges, fold_keys


def sparse_infinities(n):
    values = torch.randn(n)
    values[::7] = torch.inf
    values[::11] = -torch.inf
    values[::13] = torch.nan
    return values


CASES = {
    "normal": lambda n: 0.02 * torch.randn(n),
    "all but equal": lambda n: 1 + 1e-3 * torch.randn(n),
    "offset": lambda n: 100 + torch.randn(n),
    "underflowing squares": lambda n: 1e-30 * torch.randn(n),
    "overflowing squares": lambda n: 1e30 * torch.randn(n),
    "subnormal": lambda n: 1e-41 * torch.randn(n),
    "around the float16 limit": lambda n: 2.0**-25 * (1 + 0.01 * torch.randn(n)),
    "constant": lambda n: torch.full((n,), 0.1),
    "zero": lambda n: torch.zeros(n),
    "negative zero": lambda n: -torch.zeros(n),
    "nan": lambda n: torch.full((n,), torch.nan),
    "infinite": lambda n: torch.full((n,), -torch.inf),
    "some infinite": sparse_infinities,
    "relu": lambda n: torch.relu(torch.randn(n)),
    "negative": lambda n: -1 - torch.rand(n),
    "heavy tails": lambda n: torch.distributions.StudentT(3.0).sample((n,)),
    "float64": lambda n: torch.randn(n, dtype=torch.float64),
    "float64 beyond float32": lambda n: 1e60 * torch.randn(n, dtype=torch.float64),
    "bfloat16": lambda n: torch.randn(n).bfloat16(),
    "float16": lambda n: (1e-6 * torch.randn(n)).half(),
    "float8": lambda n: torch.randn(n).to(torch.float8_e4m3fn),
}
SIZES = [0, 1, 100, 4_096, 4_097, 8_193, 65_536, 300_007]


@pytest.fixture(params=["host", "device"])
def measure(request):
    def run(values):
        if request.param == "host":
            return HostBench().measure(values)()
        bench = DeviceBench(torch.device("cpu"))
        later = bench.measure(values)
        bench.ship().arrive()
        return later()

    return run


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_everything_is_what_float64_says(measure, threads, case, size):
    torch.manual_seed(size)
    tensor = CASES[case](size)
    found = measure(flatten(tensor).values)
    truth = tensor.double().numpy()
    finite = truth[np.isfinite(truth)]
    assert found.n == size
    assert found.zeros == np.count_nonzero(truth == 0)
    assert found.nans == np.count_nonzero(np.isnan(truth))
    assert found.infs == np.count_nonzero(np.isinf(truth))
    assert found.underflow == np.count_nonzero((np.abs(finite) < 2.0**-25) & (finite != 0))
    assert found.counts.sum() == size
    assert found.moments.n == len(finite)
    if len(finite) == 0:
        assert np.isnan([found.low, found.high, found.moments.std]).all()
        return
    assert (found.low, found.high) == (finite.min(), finite.max())
    scale = np.abs(finite).max()
    assert found.moments.mean == pytest.approx(finite.mean(), rel=1e-6, abs=1e-6 * finite.std() + 1e-12 * scale)
    assert found.moments.std == pytest.approx(finite.std(), rel=1e-4, abs=1e-12 * scale)
    assert found.moments.norm == pytest.approx(np.linalg.norm(finite / (scale or 1)) * scale, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_keys_are_the_upper_halves_of_float32(measure, case):
    torch.manual_seed(1)
    tensor = CASES[case](40_000)
    found = measure(flatten(tensor).values)
    largest = torch.finfo(torch.float32).max
    singles = torch.where(tensor.isfinite() if tensor.dtype != torch.float8_e4m3fn else tensor.float().isfinite(),
                          tensor.double().clamp(-largest, largest), tensor.double()).float()  # fmt: skip
    keys, counts = np.unique(singles.numpy().view(np.uint32) >> 16, return_counts=True)
    assert found.keys.tolist() == keys.tolist()
    assert found.counts.tolist() == counts.tolist()


def quantiles(found, levels):
    """Each value stands in the middle of its bin; the outer edges are the extremes."""
    m, bins, counts = fold_keys(found.keys, found.counts)
    edges = bin_edges(m)
    low = np.where(bins >= 0, edges[np.abs(bins)], -edges[np.minimum(np.abs(bins) + 1, len(edges) - 1)])
    high = np.where(bins >= 0, edges[np.minimum(np.abs(bins) + 1, len(edges) - 1)], -edges[np.abs(bins)])
    low[bins == 0] = -edges[1]
    low, high = np.clip(low, found.low, found.high), np.clip(high, found.low, found.high)
    ends = np.cumsum(counts)
    place = np.searchsorted(ends, levels * ends[-1])
    share = (levels * ends[-1] - (ends - counts)[place]) / counts[place]
    return low[place] + share * (high[place] - low[place])


@pytest.mark.parametrize(
    "make",
    [
        lambda n: torch.randn(n),
        lambda n: 1.05 * torch.distributions.StudentT(3.0).sample((n,)),
        lambda n: torch.randn(n) * (torch.rand(n) > 0.9),
        lambda n: (torch.randn(n) * 32).round().clamp(-127, 127) / 32,
        lambda n: 1 + 0.05 * torch.randn(n),
        lambda n: 1 + 0.01 * torch.randn(n),
        lambda n: torch.relu(torch.randn(n)),
        lambda n: torch.nn.init.kaiming_uniform_(torch.empty(n // 100, 100)).flatten(),
    ],
    ids=["normal", "heavy tails", "90 % zeros", "int8 levels", "N(1, .05)", "N(1, .01)", "relu", "uniform"],
)
def test_quantiles_are_within_a_tenth_of_a_standard_deviation(make):
    torch.manual_seed(0)
    values = make(1_000_000)
    found = HostBench().measure(values)()
    levels = np.array([0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999])
    truth = np.quantile(values.double().numpy(), levels)
    assert np.abs(quantiles(found, levels) - truth).max() < 0.1 * float(values.std())


def test_parts_together_are_as_if_measured_at_once():
    torch.manual_seed(0)
    whole = sparse_infinities(50_000)
    bench = HostBench()
    together = plus(bench.measure(whole[:123])(), bench.measure(whole[123:])())
    at_once = bench.measure(whole)()
    assert together.keys.tolist() == at_once.keys.tolist()
    assert together.counts.tolist() == at_once.counts.tolist()
    for name in ("n", "zeros", "nans", "infs", "underflow", "low", "high"):
        assert getattr(together, name) == getattr(at_once, name)
    assert together.moments.std == pytest.approx(at_once.moments.std, rel=1e-6)


def test_zeros_that_are_not_stored_count():
    values = torch.tensor([3.0, -1.0])
    found = HostBench().measure(values)().with_zeros(98)
    truth = np.array([3.0, -1.0] + [0.0] * 98)
    assert (found.n, found.zeros, found.low, found.high) == (100, 98, -1.0, 3.0)
    assert found.moments.mean == pytest.approx(truth.mean())
    assert found.moments.std == pytest.approx(truth.std())
    assert found.counts.sum() == 100


@pytest.mark.parametrize("bench", [HostBench(), DeviceBench(torch.device("cpu"))], ids=["host", "device"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [3, 200_001])
def test_changes_products_and_squares(bench, dtype, size):
    torch.manual_seed(0)
    before = torch.randn(size).to(dtype)
    after = (before.float() + 0.01 * torch.randn(size)).to(dtype)
    results = [
        bench.change(after, before),
        bench.inner_products(after[:1000], before[:1000]),
        bench.squares([after, before]),
        bench.measure_difference(after, before),
        bench.number(torch.tensor(2.5)),
        bench.bring(after[::7]),
    ]
    if isinstance(bench, DeviceBench):
        bench.ship().arrive()
    (changed, kept), products, squares, difference, number, few = [result() for result in results]
    new, old = after.double().numpy(), before.double().numpy()
    assert changed == pytest.approx(((new - old) ** 2).sum(), rel=1e-4)
    assert kept == pytest.approx((old**2).sum(), rel=1e-5)
    few_new, few_old = new[:1000], old[:1000]
    assert products == pytest.approx((few_new @ few_old, few_new @ few_new, few_old @ few_old), rel=1e-6)
    assert squares == pytest.approx((new**2).sum() + (old**2).sum(), rel=1e-5)
    assert difference.moments.norm == pytest.approx(np.linalg.norm(new - old), rel=1e-4)
    assert difference.n == size
    assert number == 2.5
    assert few.tolist() == new[::7].tolist()


def test_a_copy_uses_its_memory_again_and_keeps_the_values_of_its_moment():
    bench, values = HostBench(), torch.randn(100_000)
    first = bench.copy(values, "w")
    values += 1
    second, truth = bench.copy(values, "w"), values.clone()
    assert second.data_ptr() == first.data_ptr()
    values += 1
    assert torch.equal(second, truth)
    assert bench.copy(torch.zeros(3), "w").shape == (3,)


def test_squares_of_values_that_are_not_finite_say_so():
    bench = HostBench()
    assert np.isnan(bench.squares([torch.tensor([1.0, torch.nan])])())
    assert bench.squares([torch.tensor([1.0, torch.inf])])() == np.inf
    assert bench.squares([torch.full((4,), 1e30)])() == pytest.approx(4e60)
