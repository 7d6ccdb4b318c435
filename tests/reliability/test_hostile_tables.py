"""B1 to B14 of the hostile corpus in each table of a run: refused by our own errors, in little time and memory."""

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
    """A run with every kind of file: series, statistics, snapshots, a probe, a program with examples."""
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
    return rec.path


def reset_peak_bytes():
    """Memory of this process now, from which its peak counts on."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1_024


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


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is known on Linux")
@pytest.mark.parametrize("table", ["scalars", "system", "tensors", "params", "probes", "samples"])
def test_hostile_tables_are_refused_in_little_time_and_memory(whole, tmp_path, table):
    """In the process of the reader: the app's server has no limit of memory that would stop it."""
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
