"""Probes in a run: written in the background, read back bit for bit, and never a reason for a training to stop."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Recorder
from explorer.errors import DamagedFile, ProbeNotFound, RecorderWarning, UsageError
from explorer.reading.probes import list_probes, read_probe
from explorer.recording.probing import task
from explorer.storage.disk import Disk
from explorer.storage.verify import verify_run


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def record(root: Path, **more: object) -> Recorder:
    return Recorder("probed", root=root, quiet=True, system_every_s=None, **more)


def summary_of(rec: Recorder) -> dict:
    return json.loads(next((rec.path / "summary").iterdir()).read_text())


def test_a_probe_is_read_back_as_what_the_layers_put_out(tmp_path):
    model, batch = make_model(), torch.randn(16, 6)
    with record(tmp_path) as rec:
        assert rec.probe(model, batch, step=7)
    found = read_probe(rec.path, 7)
    model.eval()
    with torch.no_grad():
        assert list(found.layers) == ["0", "1", "2", "4"]
        np.testing.assert_array_equal(found.layers["0"], model[0](batch).numpy())
        np.testing.assert_array_equal(found.layers["4"], model(batch).numpy())
    assert found.num_examples == 16


def test_the_hash_is_that_of_the_batch_and_tells_batches_apart(tmp_path):
    model, batch = make_model(), torch.randn(16, 6)
    with record(tmp_path) as rec:
        rec.probe(model, batch, step=0)
        with torch.no_grad():
            model[0].weight += 1.0
        rec.probe(model, batch.clone(), step=1)
    with record(tmp_path) as other:
        other.probe(model, batch + 1e-6, step=0)
    digest = hashlib.sha256(b"float32 [16, 6];" + batch.numpy().tobytes()).hexdigest()
    assert [one.sha256 for one in list_probes(rec.path)] == [digest, digest]
    assert list_probes(other.path)[0].sha256 != digest


def test_the_step_is_that_of_the_newest_row_by_default(tmp_path):
    with record(tmp_path) as rec:
        rec.log({"loss": 1.0}, step=41)
        rec.probe(make_model(), torch.randn(4, 6))
    assert [one.step for one in list_probes(rec.path)] == [41]


def test_values_of_the_moment_are_recorded_whatever_the_training_does_next(tmp_path):
    model, batch = make_model(), torch.randn(16, 6)
    expected = model.eval()(batch).detach().numpy().copy()
    model.train()
    with record(tmp_path) as rec:
        rec.probe(model, batch, step=0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        batch.zero_()
    np.testing.assert_array_equal(read_probe(rec.path, 0).layers["4"], expected)
    assert list_probes(rec.path)[0].sha256 != hashlib.sha256(b"float32 [16, 6];" + bytes(16 * 6 * 4)).hexdigest()


def test_a_training_goes_exactly_as_it_would_without_probes(tmp_path):
    def train(rec: Recorder | None) -> torch.Tensor:
        model = make_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        batch = torch.randn(8, 6)
        for step in range(5):
            if rec is not None:
                rec.probe(model, batch, step=step)
            optimizer.zero_grad()
            model(torch.randn(8, 6)).square().mean().backward()
            optimizer.step()
        return torch.cat([value.double().flatten() for value in model.state_dict().values()])

    with record(tmp_path) as rec:
        assert torch.equal(train(rec), train(None))


def test_an_error_in_the_model_is_said_once_and_the_training_goes_on(tmp_path):
    model = make_model()
    with record(tmp_path) as rec:
        with pytest.warns(RecorderWarning, match="a probe failed in the model"):
            assert not rec.probe(model, torch.randn(4, 7), step=0)
        assert not rec.probe(model, torch.randn(4, 7), step=1)
        assert rec.probe(model, torch.randn(4, 6), step=2)
    assert summary_of(rec)["probes"]["lost"] == 2
    assert [one.step for one in list_probes(rec.path)] == [2]


def test_a_pattern_that_fits_nothing_says_so(tmp_path):
    with record(tmp_path) as rec, pytest.warns(RecorderWarning, match="has kept nothing"):
        assert not rec.probe(make_model(), torch.randn(4, 6), layers="encoder.*")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("model", torch.zeros(2, 6)), "torch.nn.Module"),
        ((make_model(), "batch"), "a batch of at least one example"),
        ((make_model(), torch.tensor(1.0)), "a batch of at least one example"),
        ((make_model(), torch.zeros(0, 6)), "a batch of at least one example"),
        ((make_model(), torch.zeros(2, 6), -1), "a step of at least 0"),
        ((make_model(), torch.zeros(2, 6), 0, 7), "layers should be"),
        ((make_model(), torch.zeros(2, 6), 0, []), "layers should be"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(tmp_path, arguments, says):
    with record(tmp_path) as rec, pytest.raises(UsageError, match=says):
        rec.probe(*arguments)


def test_a_recorder_that_is_off_or_closed_records_nothing(tmp_path):
    model, batch = make_model(), torch.zeros(2, 6)
    assert not Recorder(enabled=False).probe(model, batch)
    with record(tmp_path, rank=1, run_id="shared") as second:
        assert not second.probe(model, batch)
    rec = record(tmp_path)
    rec.close()
    with pytest.warns(RecorderWarning, match="after close"):
        assert not rec.probe(model, batch)
    assert list_probes(rec.path) == list_probes(second.path) == []


def test_a_full_disk_keeps_the_probe_until_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "SMALL_BYTES", 100)

    class Full(Disk):
        full = True

        def sync(self, fd):
            if self.full:
                raise OSError(28, "No space left on device")
            super().sync(fd)

    from explorer.recording.notices import Notices
    from explorer.recording.overhead import Overhead

    disk = Full()
    probes = task.Probes(tmp_path, 1, 0, disk, Notices(), Overhead(lambda: None))
    model, batch = make_model(), torch.zeros(2, 6)
    assert probes.take(model, batch, 0, "*")
    with pytest.raises(OSError, match="No space"):
        probes.tick()
    assert list_probes(tmp_path) == []
    assert probes.take(model, batch, 1, "*")
    with pytest.warns(RecorderWarning, match="slower than the probes"):
        assert not probes.take(model, batch, 2, "*")
    disk.full = False
    probes.finish()
    assert [one.step for one in list_probes(tmp_path)] == [0, 1]
    assert (probes.describe()["written"], probes.describe()["lost"]) == (2, 1)


def test_a_batch_whose_bytes_cannot_be_told_costs_only_its_own_probe(tmp_path):
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 8)

        def forward(self, nodes: torch.Tensor, links: torch.Tensor) -> torch.Tensor:
            return links @ self.layer(nodes)

    model, nodes, links = Graph(), torch.randn(5, 6), torch.eye(5)
    with record(tmp_path) as rec:
        assert rec.probe(model, (nodes, links.to_sparse()), step=0)
        assert rec.probe(model, (nodes, links), step=1)
        with pytest.warns(RecorderWarning, match="the probe of step 0 is lost"):
            rec.close()
    assert [one.step for one in list_probes(rec.path)] == [1]
    probes = summary_of(rec)["probes"]
    assert (probes["written"], probes["lost"]) == (1, 1)


def test_a_device_that_hangs_does_not_keep_the_rows_of_the_run_from_being_written(tmp_path, monkeypatch):
    class Hanging:
        def query(self) -> bool:
            return False

    monkeypatch.setattr(task, "_mark", lambda tensors: [Hanging()])
    monkeypatch.setattr(task, "DEVICE_TIMEOUT_S", 0.05)
    with record(tmp_path) as rec:
        rec.log({"loss": 1.0})
        assert rec.probe(make_model(), torch.zeros(2, 6), step=0)
        with pytest.warns(RecorderWarning, match="did not finish its work"):
            rec.close()
    assert list_probes(rec.path) == []
    assert summary_of(rec)["state"] == "finished"
    assert [path.suffix for path in (rec.path / "scalars").iterdir()] == [".parquet"]


def test_probes_of_a_small_model_may_come_faster_than_a_disk(tmp_path):
    model, batch = make_model(), torch.zeros(2, 6)
    with record(tmp_path) as rec:
        assert all(rec.probe(model, batch, step=step) for step in range(20))
    assert len(list_probes(rec.path)) == 20


def test_the_summary_tells_what_a_probe_costs_and_what_it_left_out(tmp_path):
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2))
    with record(tmp_path) as rec:
        rec.probe(model, torch.zeros(6, 3, dtype=torch.int64), step=3)
    told = summary_of(rec)["probes"]
    assert told["last_ms"] > 0
    assert (told["written"], told["last_step"], told["bytes"]) == (1, 3, 4 * 6 * (12 + 2))
    assert summary_of(rec)["overhead"]["sampling_s"] > 0


def test_a_newer_attempt_replaces_the_probe_of_a_step(tmp_path):
    model, batch = make_model(), torch.randn(4, 6)
    with record(tmp_path, run_id="again", resume="allow") as rec:
        rec.probe(model, batch, step=0)
    with record(tmp_path, run_id="again", resume="allow") as rec:
        rec.probe(model, batch + 1, step=0)
    assert [(one.step, one.attempt) for one in list_probes(rec.path)] == [(0, 2)]


def test_a_damaged_probe_is_listed_with_what_is_wrong(tmp_path):
    with record(tmp_path) as rec:
        rec.probe(make_model(), torch.randn(4, 6), step=0)
    path = list_probes(rec.path)[0].path
    assert verify_run(rec.path) == []
    path.write_bytes(path.read_bytes()[:-9])
    assert [finding.path for finding in verify_run(rec.path)] == [path]
    assert list_probes(rec.path)[0].problem.startswith("probes/000000000000/0001-00000.parquet: ")
    with pytest.raises(DamagedFile):
        read_probe(rec.path, 0)
    with pytest.raises(ProbeNotFound, match="no probe of step 5"):
        read_probe(rec.path, 5)


def test_foreign_names_and_links_are_no_probes(tmp_path):
    with record(tmp_path) as rec:
        rec.probe(make_model(), torch.randn(4, 6), step=0)
    real = list_probes(rec.path)[0].path
    (real.parent / "notes.txt").write_text("x")
    (rec.path / "probes" / "12").mkdir()
    (rec.path / "probes" / "000000000009").symlink_to(real.parent)
    assert [one.step for one in list_probes(rec.path)] == [0]


def test_probing_imports_no_pandas(tmp_path):
    code = f"""
import sys, torch
from explorer import Recorder
with Recorder("t", root={str(tmp_path)!r}, system_every_s=None, quiet=True) as rec:
    rec.probe(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.zeros(4, 2))
print("pandas" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
