"""B15 of the hostile corpus: every file of a run, mutated in every way, gives the truth, less, or a refusal by name.

Nothing but our own errors comes out, whatever the bytes; and a run beside it is not touched.
"""

import random
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from explorer import Recorder, open_run
from explorer.errors import ExplorerError
from explorer.reading.catalogue import Catalogue
from explorer.reading.probes import list_probes, read_probe
from explorer.reading.programs import read_recorded_program
from explorer.storage.verify import verify_run
from tests.hostile_files import TABLES

STEPS = 12
LONGEST_LOOK_S = 5.0  # of CPU; a look takes a hundredth of it


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with every kind of file: series, statistics, snapshots, a probe, a program with examples, a journal."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch = torch.randn(6, 4)
    root = tmp_path_factory.mktemp("whole")
    with Recorder("whole", root=root, run_id="whole", config={"lr": 0.1}, system_every_s=0.05, quiet=True) as rec:
        rec.program(model, batch, labels=torch.arange(6) % 3, class_names=["a", "b", "c"])
        rec.watch(model, optimizer)
        for step in range(STEPS):
            loss = model(batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rec.log({"loss": loss, "n": step}, step=step)
            if step % 4 == 0:
                rec.snapshot(model, step)
                rec.probe(model, batch, step)
        time.sleep(0.2)
        journal = next((rec.path / "scalars").glob("*.journal"))
        kept = journal.read_bytes()[:4_096]
    journal.write_bytes(kept)  # as a kill leaves it, next to the segment that it became
    return rec.path


def flip(data, chance):
    for _ in range(chance.randrange(1, 5)):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)


def cut(data, chance):
    del data[chance.randrange(len(data)) :]


def drop(data, chance):
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 64)]


def repeat(data, chance):
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randrange(1, 64)]


def insert(data, chance):
    at = chance.randrange(len(data))
    data[at:at] = chance.randbytes(chance.randrange(1, 64))


def overwrite(data, chance):
    at, fill = chance.randrange(len(data)), chance.choice([b"\0", b"\xff", b"\x7f", b"\x80", b"{", b'"'])
    size = min(chance.randrange(1, 33), len(data) - at)
    data[at : at + size] = fill * size


def reset_peak_bytes():
    """Memory of this process now, from which its peak counts on."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1_024


MUTATIONS = (flip, cut, drop, repeat, insert, overwrite)


def look_at_everything(path):
    """Asks for all that the reading side gives, each by itself as a page would; only our own errors pass by."""
    with suppress(ExplorerError):
        Catalogue(path.parent).refresh()
    verify_run(path)
    try:
        run = open_run(path)
    except ExplorerError:
        return
    looks = (
        lambda: run.scalars(),
        lambda: run.scalars(all_attempts=True),
        lambda: run.system(),
        lambda: (run.attempts, run.environment, run.git_diff, run.problems, run.metrics),
        lambda: run.tensors(),
        lambda: run.histogram("0.weight").counts,
        lambda: [
            run.snapshot(info.step).read(name) for info in run.snapshots for name in ("0.weight", "1.running_var")
        ],
        lambda: [read_probe(path, info.step) for info in list_probes(path)],
        lambda: (run.model, run.program, run.program_problems, read_recorded_program(path)),
    )
    for ask in looks:
        with suppress(ExplorerError):
            ask()


def assert_survives(whole, folder, seed, how_often):
    run = shutil.copytree(whole, folder / "mutated")
    kinds = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.stat().st_size):
        kinds.setdefault((path.relative_to(run).parts[0], path.suffix), path)
    assert {"scalars", "system", "tensors", "params", "samples", "program", "probes", "summary", "attempts",
            "model", "run.json"} <= {kind for kind, _ in kinds}  # fmt: skip
    for (kind, suffix), path in kinds.items():
        good = path.read_bytes()
        for number in range(how_often):
            chance = random.Random(f"{seed} {kind} {suffix} {number}")
            data = bytearray(good)
            change = chance.choice(MUTATIONS)
            change(data, chance)
            path.write_bytes(data)
            began_s = time.process_time()
            try:
                look_at_everything(run)
            except Exception as error:
                raise AssertionError(f"{path.relative_to(run)}, {change.__name__}, seed {seed} {number}") from error
            assert time.process_time() - began_s < LONGEST_LOOK_S, f"{path.name}, seed {seed} {number}"
        path.write_bytes(good)
    look_at_everything(run)
    assert verify_run(run) == verify_run(whole)


def test_every_kind_of_file_may_hold_anything(whole, tmp_path):
    assert_survives(whole, tmp_path, seed=0, how_often=15)


@pytest.mark.slow
def test_three_thousand_mutations_of_each_kind_of_file(whole, tmp_path):
    assert_survives(whole, tmp_path, seed=random.randrange(2**32), how_often=3_000)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is known on Linux")
@pytest.mark.parametrize("table", ["scalars", "system", "tensors", "params", "probes", "samples"])
def test_hostile_tables_are_refused_in_little_time_and_memory(whole, tmp_path, table):
    """B1 to B14, in the process of the reader: the app's server has no limit of memory that would stop it."""
    run = shutil.copytree(whole, tmp_path / "hostile")
    path = next((run / table).rglob("*.parquet"))
    good, marker = path.read_bytes(), tmp_path / "marker"
    look_at_everything(run)
    for write in TABLES:
        write(path, marker)
        before, began_s = reset_peak_bytes(), time.process_time()
        look_at_everything(run)
        assert time.process_time() - began_s < LONGEST_LOOK_S, write.__name__
        assert peak_bytes() - before < 2**29, write.__name__
        assert not marker.exists()
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.write_bytes(good)
