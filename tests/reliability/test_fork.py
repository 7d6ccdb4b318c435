"""Forked processes and the workers of a data loader neither hang nor write; several processes fill one run together."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from explorer import Recorder
from explorer.storage import layout, process
from explorer.storage.verify import verify_run

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("buffered", [False, True])
def test_a_forked_child_writes_no_row_and_disturbs_none_of_its_parent(tmp_path, rows_of, monkeypatch, buffered):
    if buffered:
        monkeypatch.setattr("explorer.recording.recorder.can_map", lambda folder: False)
    recorder = Recorder("fork", root=tmp_path, system_every_s=None, quiet=True)
    for step in range(100):
        recorder.log({"x": float(step)}, step=step)
    child = os.fork()
    if child == 0:
        for step in range(1_000, 2_000):
            recorder.log({"x": -1.0}, step=step)
            recorder.log({"other": -1.0}, step=step)
        recorder.config.update({"child": True})
        recorder.close()
        os._exit(0)
    for step in range(100, 1_000):
        recorder.log({"x": float(step)}, step=step)
    _, status = os.waitpid(child, 0)
    recorder.close()
    assert status == 0
    assert rows_of(recorder.path) == [(1, 0, step, {"x": float(step)}) for step in range(1_000)]
    assert verify_run(recorder.path) == []


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_of_a_data_loader_neither_hang_nor_write(tmp_path, rows_of, method):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import torch
            from torch.utils.data import DataLoader, Dataset
            from explorer import Recorder

            rec = None

            class Data(Dataset):
                def __len__(self):
                    return 16
                def __getitem__(self, index):
                    if rec is not None:  # forked: the worker has the recorder
                        rec.log({"worker": 1.0}, step=index)
                    return torch.tensor(float(index))

            if __name__ == "__main__":
                rec = Recorder("loader", root=sys.argv[1], run_id="loader", system_every_s=None, quiet=True)
                loader = DataLoader(Data(), 4, num_workers=2, multiprocessing_context=sys.argv[2], timeout=60)
                for step, batch in enumerate(loader):
                    rec.log({"loss": batch.mean()}, step=step)
                rec.close()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), method],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "loader")
    assert [(step, row) for _, _, step, row in rows] == [(n, {"loss": 4.0 * n + 1.5}) for n in range(4)]


def test_four_processes_fill_one_run_at_once(tmp_path, rows_of):
    script = """
        import sys
        from explorer import Recorder
        with Recorder("four", root=sys.argv[1], run_id="four", system_every_s=None, quiet=True) as rec:
            for step in range(20_000):
                rec.log({"x": float(step), "rank": int(sys.argv[2])}, step=step)
    """
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), str(rank)],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "RANK": str(rank), "WORLD_SIZE": "4"},
        )
        for rank in range(4)
    ]
    assert [each.wait(60) for each in started] == [0] * 4
    rows = rows_of(tmp_path / "four")
    for rank in range(4):
        mine = [(step, row) for _, of_rank, step, row in rows if of_rank == rank]
        assert mine == [(step, {"x": float(step), "rank": rank}) for step in range(20_000)]
    assert len(rows) == 80_000
    assert verify_run(tmp_path / "four") == []


def test_processes_that_start_an_attempt_at_once_each_get_one_of_their_own(fork, tmp_path, rows_of):
    Recorder("base", root=tmp_path, run_id="ended", system_every_s=None, quiet=True).close()
    (tmp_path / "acks").mkdir()
    children = []
    for number in range(6):
        ack = tmp_path / "acks" / str(number)
        ack.write_bytes(bytes(8))
        children.append(
            fork("log_for_ever", root=str(tmp_path), run_id="ended", ack=str(ack), pace_s=0.002, resume="must")
        )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(
        (tmp_path / "acks" / str(number)).read_bytes() == bytes(8) for number in range(6)
    ):
        time.sleep(0.01)
    for child in children:
        os.kill(child, 9)
    while any(process.process_start(child) is not None for child in children) and time.monotonic() < deadline:
        time.sleep(0.01)
    attempts = [attempt for attempt, _, _ in layout.list_process_files(tmp_path / "ended", "attempts")]
    assert attempts == [1, 2, 3, 4, 5, 6, 7]
    rows = rows_of(tmp_path / "ended")
    for attempt in range(2, 8):
        steps = [step for of_attempt, _, step, _ in rows if of_attempt == attempt]
        assert steps == list(range(len(steps)))
        assert steps
