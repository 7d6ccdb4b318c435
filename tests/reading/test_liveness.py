import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest

from explorer.reading import liveness
from explorer.reading.catalogue import Catalogue
from explorer.storage import process


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""

    class Clock:
        now = 1_000.0

        def forward(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(liveness.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def sleeper():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait()


def describe(pid):
    return process.identify() | {"pid": pid, "process_start": process.process_start(pid)}


def now_text(**ago):
    return (datetime.now(timezone.utc) - timedelta(**ago)).isoformat()


def state(catalogue):
    return catalogue.refresh()[0].state


def test_a_process_of_this_machine_is_asked_for_itself(root, run, sleeper):
    run.summary(state="running", **describe(sleeper.pid))
    catalogue = Catalogue(root)
    assert state(catalogue) == "running"
    sleeper.kill()
    sleeper.wait()
    assert state(catalogue) == "killed"


def test_a_process_in_another_container_is_not_called_killed(sleeper):
    other = describe(sleeper.pid) | {"pid": 999_999_999, "pid_namespace": 1}
    assert liveness.is_alive(other) is None


def test_a_killed_process_that_nobody_has_collected_is_gone(root, run, sleeper):
    run.summary(state="running", **describe(sleeper.pid))
    os.kill(sleeper.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert state(Catalogue(root)) == "killed"


def test_another_process_with_the_same_number_is_another_process(root, run):
    described = describe(os.getpid())
    run.summary(state="running", **(described | {"process_start": described["process_start"] - 50}))
    assert state(Catalogue(root)) == "killed"


def test_a_run_from_before_the_last_start_of_this_machine_was_killed(root, run):
    run.summary(state="running", **(describe(os.getpid()) | {"boot_id": "an earlier one"}))
    assert state(Catalogue(root)) == "killed"


def test_from_another_machine_the_heartbeat_must_change(root, run, clock):
    run.summary(state="running", heartbeat=1, heartbeat_every_s=10.0, updated=now_text())
    catalogue = Catalogue(root)
    assert state(catalogue) == "running"
    for beat in (2, 3, 4):
        clock.forward(20)
        run.summary(state="running", heartbeat=beat, heartbeat_every_s=10.0, updated=now_text())
        assert state(catalogue) == "running"
    clock.forward(30)
    assert state(catalogue) == "running"
    clock.forward(10)
    assert state(catalogue) == "stale"
    run.summary(state="running", heartbeat=5, heartbeat_every_s=10.0, updated=now_text())
    assert state(catalogue) == "running"


@pytest.mark.parametrize("ahead", [{"hours": -5}, {"hours": 5}, {"days": -400}])
def test_a_wrong_clock_on_the_other_machine_changes_nothing_once_the_heart_beats(root, run, clock, ahead):
    run.summary(state="running", heartbeat=1, updated=now_text(**ahead))
    catalogue = Catalogue(root)
    catalogue.refresh()
    clock.forward(1)
    run.summary(state="running", heartbeat=2, updated=now_text(**ahead))
    assert state(catalogue) == "running"


def test_a_run_that_was_copied_here_long_after_it_died_is_stale_at_once(root, run):
    run.summary(state="running", updated=now_text(days=3))
    assert state(Catalogue(root)) == "stale"


def test_a_heart_that_beats_on_is_believed_over_a_missing_process(root, run):
    """Its process may live in a container that shares our name and our boot."""
    described = describe(os.getpid()) | {"pid": 2**22 + 1}
    run.summary(state="running", heartbeat=1, **described)
    catalogue = Catalogue(root)
    assert state(catalogue) == "killed"
    for beat in (2, 3, 4):
        run.summary(state="running", heartbeat=beat, **described)
        catalogue.refresh()
    assert state(catalogue) == "running"


@pytest.mark.parametrize("said", ["finished", "failed", "killed"])
def test_a_run_that_said_how_it_ended_is_believed(root, run, said):
    run.summary(state=said, **describe(os.getpid()))
    assert state(Catalogue(root)) == said


@pytest.mark.parametrize(
    "facts", [{"pid": None}, {"pid": "x"}, {"process_start": None}, {"boot_id": None}, {"host": 3}]
)
def test_missing_facts_leave_only_the_heartbeat(root, run, facts):
    run.summary(state="running", updated=now_text(), **(describe(os.getpid()) | facts))
    assert state(Catalogue(root)) == "running"


def test_a_writer_counts_as_gone_only_when_that_is_certain(run, sleeper):
    assert not liveness.writer_is_gone(run.path, 1, 0)
    run.summary(state="running", **describe(sleeper.pid))
    assert not liveness.writer_is_gone(run.path, 1, 0)
    sleeper.kill()
    sleeper.wait()
    assert liveness.writer_is_gone(run.path, 1, 0)
    run.summary(state="running")
    assert not liveness.writer_is_gone(run.path, 1, 0)
    run.summary(state="finished")
    assert liveness.writer_is_gone(run.path, 1, 0)
