"""A run goes on as a new attempt; nothing of an earlier one is changed."""

import json

import pytest

from explorer import RunNotFound, UsageError
from explorer.recording.totals import Totals
from explorer.storage import layout, records, segments


def attempt(record, *steps, config=None, **options):
    recorder = record(run_id="again", config=config, **options)
    for step in steps:
        recorder.log({"x": float(step)}, step=step)
    recorder.close()
    return recorder


def test_never_refuses_a_run_that_is_there(record):
    attempt(record, 0)
    with pytest.raises(UsageError, match=r'there is a run again .* already: pass resume="allow"'):
        attempt(record, 1)


def test_must_refuses_a_run_that_is_not_there(record, tmp_path):
    with pytest.raises(RunNotFound, match="there is no run again"):
        attempt(record, 0, resume="must")
    assert list(tmp_path.iterdir()) == []


def test_allow_starts_a_run_or_goes_on_with_it(record, rows_of):
    attempt(record, 0, 1, resume="allow")
    recorder = attempt(record, 1, 2, resume="allow")
    assert rows_of(recorder.path) == [(n, 0, step, {"x": step}) for n, step in ((1, 0), (1, 1), (2, 1), (2, 2))]


def test_steps_go_on_where_the_run_ended(record, rows_of):
    attempt(record, 0, 7)
    recorder = record(run_id="again", resume="must")
    assert recorder.last_step == 7
    recorder.log({"x": 0.5})
    recorder.close()
    assert rows_of(recorder.path)[-1] == (2, 0, 8, {"x": 0.5})
    started = json.loads((recorder.path / "attempts" / "0002-00000.json").read_text())
    assert started["resumed_from_step"] == 7


def test_settings_of_earlier_attempts_stay_under_the_new_ones(record):
    first = attempt(record, 0, config={"lr": 0.1, "model": {"width": 32}})
    first_run = (first.path / "run.json").read_bytes()
    second = record(run_id="again", resume="must", config={"lr": 0.2})
    second.update_config({"model": {"depth": 3}})
    second.close()
    third = attempt(record, 1, resume="must")
    assert third.config.as_dict() == {"lr": 0.2, "model": {"width": 32, "depth": 3}}
    assert (third.path / "run.json").read_bytes() == first_run


def test_files_of_an_earlier_attempt_keep_every_byte(record):
    first = attempt(record, 0, 1)
    before = {path: path.read_bytes() for path in first.path.rglob("0001-*")}
    attempt(record, 2, resume="must")
    assert {path: path.read_bytes() for path in before} == before


def test_each_attempt_has_its_own_summary(record):
    attempt(record, 0)
    recorder = attempt(record, 1, 2, resume="must")
    found = [records.read_record(path) for _, _, path in layout.list_process_files(recorder.path, "summary")]
    assert [(summary["rows"], summary["last_step"]) for summary in found] == [(1, 0), (2, 2)]


def test_ranks_of_one_launch_share_a_run_and_an_attempt_number(record, monkeypatch, rows_of):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        recorder = attempt(record, 0)
    assert [(a, r) for a, r, _ in layout.list_process_files(recorder.path, "attempts")] == [(1, 0), (1, 1)]
    assert len(rows_of(recorder.path)) == 2


def test_ranks_that_do_not_know_their_run_are_told_what_to_do(record, monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "EXPLORER_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="pass the same run_id= on every rank"):
        record()


@pytest.mark.parametrize("name", ["step", "wall_time"])
def test_a_metric_named_like_a_column_of_ours_does_not_keep_a_killed_run_from_being_resumed(record, name):
    rec = record()
    rec.log({name: 5.0}, step=3)
    rec.close()
    totals = Totals()  # what a resume makes from the segments of an attempt that was killed
    for file in layout.list_segments(rec.path, "scalars"):
        totals.add_table(segments.read_columns(file.path))
    assert totals.last_step == 3
    assert totals.metrics[name].last == 5.0


def test_a_rank_that_joins_a_resumed_run_goes_on_from_what_the_others_recorded_before(record):
    first = record(run_id="grown", rank=0, config={"lr": 1})
    for step in range(100):
        first.log({"a": float(step)}, step=step)
    first.update_config({"later": 5})
    first.close()
    both = [record(run_id="grown", rank=rank, resume="allow") for rank in (0, 1)]
    assert [recorder.last_step for recorder in both] == [99, 99]
    assert [dict(recorder.config) for recorder in both] == [{"lr": 1, "later": 5}] * 2


def test_a_rank_that_joins_a_first_launch_starts_over(record):
    faster = record(run_id="new", rank=0, resume="allow", config={"lr": 1})
    faster.log({"a": 1.0}, step=50)
    assert record(run_id="new", rank=1, resume="allow").last_step is None


def test_what_a_kill_between_two_files_has_left_goes_with_the_resume_and_nothing_else_does(record, rows_of):
    first = record(run_id="again")
    first.log({"loss": 1.0}, step=0)
    journal = first.path / "scalars" / "0001-00000-000001.journal"
    content = journal.read_bytes()
    first.close()
    second = record(run_id="again", resume="must", rank=1)  # a process that lives
    for attempt, rank in ((1, 0), (1, 1)):
        (first.path / "scalars" / f".{attempt:04d}-{rank:05d}-000002.parquet.17-0a1b2c.tmp").write_bytes(b"PAR1")
        (first.path / "summary" / f".{attempt:04d}-{rank:05d}.json.17-0a1b2c.tmp").write_bytes(b"{")
    (first.path / "summary" / ".mine.tmp").write_bytes(b"")
    journal.write_bytes(content)  # its segment is whole: the kill came right before it was removed
    owner = first.path / "attempts" / "0001-00000.json"
    owner.write_text(json.dumps(json.loads(owner.read_text()) | {"process_start": 0.0}))
    record(run_id="again", resume="must", rank=2).close()
    left = {path.name for folder in ("scalars", "summary") for path in (first.path / folder).glob(".*")}
    assert left == {".0001-00001-000002.parquet.17-0a1b2c.tmp", ".0001-00001.json.17-0a1b2c.tmp", ".mine.tmp"}
    assert not journal.exists()
    second.close()
    assert [row for *_, row in rows_of(first.path)] == [{"loss": 1.0}]
