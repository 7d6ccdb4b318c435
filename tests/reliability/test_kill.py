"""SIGKILL at any moment: no torn file is ever seen, and no row is lost for which `log()` had returned."""

import os
import random
import signal
import struct
import time

import pytest

from explorer import Recorder
from explorer.errors import FileError
from explorer.storage import layout, process, records, segments
from explorer.storage.live import JournalReader


def look(run_dir, readers):
    """Read everything as the app would while the run grows; whatever is torn raises."""
    if layout.is_run_dir(run_dir):
        records.read_record(run_dir / "run.json")
    for folder in ("attempts", "summary"):
        for _, _, path in layout.list_process_files(run_dir, folder):
            records.read_record(path)
    for table in layout.TABLES:
        for file in layout.list_segments(run_dir, table):
            try:
                if file.name.kind == "segment":
                    segments.read_columns(file.path)
                else:
                    reader = readers.setdefault(file.path, JournalReader(file.path))
                    steps = [step for rows in reader.read_new() for step in rows.column("step").to_pylist()]
                    assert table == "system" or len(steps) == len(set(steps))
                    assert reader.damaged == 0
            except FileNotFoundError:
                continue  # a journal that became a segment meanwhile


def kill_once(fork, chance, root, run_id, first, *, pace_s, buffered=False, longest_s):
    """Start a child, look on, kill it. Returns the number of acknowledged rows (counted from step 0)."""
    ack = root / "ack"
    ack.write_bytes(bytes(8))
    child = fork(
        "log_for_ever", root=str(root), run_id=run_id, ack=str(ack), pace_s=pace_s, buffered=buffered, first=first
    )
    delay_s = chance.uniform(0, longest_s)
    if chance.random() < 0.8:  # otherwise it may die before it has begun
        until = time.monotonic() + 20
        while ack.read_bytes() == bytes(8) and time.monotonic() < until:
            time.sleep(0.002)
    until = time.monotonic() + delay_s
    readers = {}
    while time.monotonic() < until:
        look(root / run_id, readers)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    until = time.monotonic() + 10
    while process.process_start(child) is not None and time.monotonic() < until:
        time.sleep(0.002)
    look(root / run_id, {})
    return struct.unpack("<q", ack.read_bytes())[0]


def check_rows(rows, first, acked):
    """Rows first, first + 1, ... without a hole, with their own values, and none acknowledged missing. Their number."""
    for expected, (_, _, step, row) in enumerate(sorted(rows, key=lambda row: row[2]), first):
        assert step == expected
        assert row == {"x": float(step), "y": -0.5 * step}
    assert first + len(rows) >= acked
    return len(rows)


def kill_many(fork, rows_of, root, times, *, pace_s, longest_s):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    run_id, first = "run-1", 0
    for number in range(times):
        acked = kill_once(fork, chance, root, run_id, first, pace_s=pace_s, longest_s=longest_s)
        if not layout.is_run_dir(root / run_id):
            assert acked == 0
            continue
        attempts = layout.list_process_files(root / run_id, "attempts")
        newest = max((attempt for attempt, _, _ in attempts), default=0)
        rows = [row for row in rows_of(root / run_id) if row[0] == newest and row[2] >= first]
        count = check_rows(rows, first, acked)
        if chance.random() < 0.5 or first + count > 200_000:  # reading more would take longer than recording it
            run_id, first = f"run-{number + 2}", 0
        else:
            first += count  # the next child resumes this run and goes on where it ended


@pytest.mark.parametrize("pace_s", [0.0, 0.005])
def test_ten_kills_lose_no_row_that_log_returned_for(fork, rows_of, tmp_path, pace_s):
    kill_many(fork, rows_of, tmp_path, 10, pace_s=pace_s, longest_s=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("pace_s", [0.0, 0.005])
def test_a_hundred_kills_lose_no_row_that_log_returned_for(fork, rows_of, tmp_path, pace_s):
    kill_many(fork, rows_of, tmp_path, 100, pace_s=pace_s, longest_s=0.8)


def test_without_a_mapped_journal_a_kill_loses_a_fifth_of_a_second_at_most(fork, rows_of, tmp_path):
    """The loss is counted in time: rows younger than the writer's period and its turn may be missing, and no others."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    lost_s = []
    for number in range(4):
        run_id = f"run-{number}"
        acked = kill_once(fork, chance, tmp_path, run_id, 0, pace_s=0.005, buffered=True, longest_s=1.0)
        if acked:
            rows = rows_of(tmp_path / run_id)
            assert [step for *_, step, _ in rows] == list(range(len(rows)))
            lost_s.append(max(0, acked - len(rows)) * 0.006)
    print("lost, s:", lost_s)
    assert max(lost_s) <= 0.35  # 0.2 s, and the writer's tick on a busy machine


def test_a_killed_run_is_sealed_when_it_is_resumed(fork, rows_of, tmp_path):
    chance = random.Random(0)
    kill_once(fork, chance, tmp_path, "run-1", 0, pace_s=0.0, longest_s=0.2)
    before = rows_of(tmp_path / "run-1")
    with Recorder("again", root=tmp_path, run_id="run-1", resume="must", system_every_s=None, quiet=True) as rec:
        assert rec.last_step == before[-1][2]
        rec.log({"x": 0.0})
    assert rows_of(rec.path)[:-1] == before
    assert rows_of(rec.path)[-1] == (2, 0, before[-1][2] + 1, {"x": 0.0})
    assert not list(rec.path.rglob("*.journal"))
    summaries = [records.read_record(path) for _, _, path in layout.list_process_files(rec.path, "summary")]
    assert [summary["state"] for summary in summaries] == ["killed", "finished"]
    assert summaries[0]["rows"] == len(before)
    assert summaries[0]["last_step"] == before[-1][2]


def test_a_torn_file_would_be_seen_by_these_tests(tmp_path, record_run):
    run_dir = record_run()
    segment = next(path for path in run_dir.rglob("*.parquet"))
    segment.write_bytes(segment.read_bytes()[:-20])
    with pytest.raises(FileError):
        look(run_dir, {})
