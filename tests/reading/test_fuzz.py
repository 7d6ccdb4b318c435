"""Whole runs with one file changed at random: read as far as they go, errors of ours alone, and no wrong number."""

import gzip
import json
import random
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Recorder, open_run
from explorer.errors import ExplorerError
from explorer.reading.catalogue import Catalogue
from explorer.reading.probes import list_probes, read_probe
from explorer.reading.programs import read_recorded_program
from explorer.storage.verify import verify_run
from tests.mutations import mutated_bytes, mutated_text

STEPS = 12


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run with a file of every kind."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    root = tmp_path_factory.mktemp("root")
    with Recorder("whole", root=root, quiet=True, system_every_s=0.05, config={"lr": 0.1}, tags=["a"]) as rec:
        rec.watch(model, optimizer, schedule=1)
        for step in range(STEPS):
            loss = model(torch.randn(8, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rec.log({"loss": 1 / (1 + step), "n": step}, step=step)
            if step % 5 == 0:
                rec.snapshot(model, step=step)
                rec.probe(model, torch.ones(4, 4), step)
        rec.program(model, torch.randn(4, 4), labels=torch.tensor([0, 1, 2, 0]), kind="table")
    return rec.path


def read_all(run_dir):
    """(rows of scalars, values of the snapshots); every reader is asked, and may refuse with an error of ours."""
    Catalogue(run_dir.parent).refresh()
    rows, tensors = {}, {}
    with suppress(ExplorerError):
        run = open_run(run_dir)
        with suppress(ExplorerError):
            frame = run.scalars()
            rows = {name: dict(zip(frame["step"], frame[name], strict=True)) for name in ("loss", "n") if name in frame}
        readers = (
            lambda: run.tensors("param"), lambda: run.histogram("0.weight"), lambda: run.model, lambda: run.config,
            lambda: run.git_diff, lambda: run.program_problems, lambda: run.info, lambda: run.environment,
            lambda: run.system(), lambda: [read_probe(run_dir, info.step) for info in list_probes(run_dir)],
        )  # fmt: skip
        for reader in readers:
            with suppress(ExplorerError):
                reader()
        with suppress(ExplorerError):
            for info in run.snapshots:
                with suppress(ExplorerError):
                    snapshot = run.snapshot(info.step)
                    tensors.update({(info.step, name): snapshot.read(name) for name in snapshot.entries})
    with suppress(ExplorerError):
        read_recorded_program(run_dir)
    verify_run(run_dir)
    return rows, tensors


def changed(path: Path, chance: random.Random) -> bytes:
    data = path.read_bytes()
    if chance.random() < 0.7:
        if path.suffix == ".json":
            return mutated_text(json.loads(data), chance)
        if path.suffix == ".gz":
            return gzip.compress(mutated_text(json.loads(gzip.decompress(data)), chance), 1)
    return mutated_bytes(data, chance)


def assert_read_as_far_as_it_goes(recorded, tmp_path, seed, num_changes):
    print("seed", seed)
    chance = random.Random(seed)
    run_dir = shutil.copytree(recorded, tmp_path / recorded.name)
    truth, weights = read_all(run_dir)
    assert truth == {
        "loss": {step: 1 / (1 + step) for step in range(STEPS)},
        "n": {step: step for step in range(STEPS)},
    }
    assert len(weights) >= 3 * 4
    files = sorted(path for path in run_dir.rglob("*") if path.is_file())
    assert {path.parent.name for path in files} >= {
        "scalars",
        "tensors",
        "summary",
        "attempts",
        "program",
        "samples",
        "system",
    }
    for number in range(num_changes):
        path = files[number % len(files)]
        whole = path.read_bytes()
        path.write_bytes(changed(path, chance))
        began_s = time.process_time()
        rows, tensors = read_all(run_dir)
        assert time.process_time() - began_s < 5, (number, path.name)
        for name, found in rows.items():
            for step, value in found.items():
                assert value == truth[name].get(step), (number, path.name, name, step)
        for key, value in tensors.items():
            assert np.array_equal(value, weights[key]), (number, path.name, key)
        path.write_bytes(whole)
    assert read_all(run_dir)[0] == truth


def test_a_run_with_a_changed_file_is_read_as_far_as_it_goes(recorded, tmp_path):
    assert_read_as_far_as_it_goes(recorded, tmp_path, seed=2_026, num_changes=240)


@pytest.mark.slow
def test_a_run_with_a_changed_file_is_read_as_far_as_it_goes_ten_thousand_times(recorded, tmp_path):
    assert_read_as_far_as_it_goes(recorded, tmp_path, seed=random.randrange(2**32), num_changes=10_000)
