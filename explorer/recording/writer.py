"""The one background thread of a recorder: everything that may wait for a disk or a device happens here.

It makes few and large calls that release the interpreter, so that the training does not wait for it; it holds no lock;
and whatever fails is tried again later, said once, and counted. A second thread, which ends as soon as it knows them,
finds out the facts that take a while: git on a network file system can take many seconds.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from explorer.recording.clock import WallClock
from explorer.recording.config import Config
from explorer.recording.notices import Notices, say
from explorer.recording.overhead import Overhead
from explorer.recording.redaction import redact_text
from explorer.recording.run_folder import RunFolder, now
from explorer.recording.stream import Row, Stream
from explorer.recording.system import SystemSampler
from explorer.recording.tasks import Task
from explorer.recording.totals import Totals, write_summary
from explorer.recording.transfer import Transfers
from explorer.recording.values import clean_text
from explorer.storage import layout, records
from explorer.storage.disk import Disk
from explorer.storage.layout import FORMAT_VERSION

TICK_S = 0.05
COLLECT_MAPPED_S = 1.0
COLLECT_BUFFERED_S = 0.2
SUMMARY_S = 2.0
HEARTBEAT_S = 5.0
SYNC_S = 10.0
MAX_BACKOFF_S = 30.0
FACTS_TIMEOUT_S = 10.0
CLOSE_TRIES = 3
CLOSE_RETRY_S = 0.1
MAX_ERROR_CHARS = 20_000


class Writer(threading.Thread):
    """See the module. Made and joined by the recorder.

    Attributes:
        state: what the summary says; `finish_as` sets the final one.
        error: type, message and traceback of the training's error, or None.
        refused_values: values that were no numbers; counted by the recorder.
        tasks: further work of this thread; the recorder adds to it.
    """

    def __init__(
        self,
        folder: RunFolder,
        scalars: Stream,
        system: Stream,
        config: Config,
        notices: Notices,
        transfers: Transfers,
        overhead: Overhead,
        disk: Disk,
        clock: WallClock,
        *,
        mapped: bool,
        system_every_s: float | None,
    ) -> None:
        super().__init__(name="explorer-writer", daemon=True)
        self.state = "running"
        self.error: dict[str, str] | None = None
        self.refused_values = 0
        self.tasks: list[Task] = []
        self._folder, self._config, self._notices = folder, config, notices
        self._scalars, self._system, self._transfers = scalars, system, transfers
        self._overhead, self._disk, self._clock, self._mapped = overhead, disk, clock, mapped
        self._totals, self._system_totals = Totals(), Totals()
        self._facts: dict[str, Any] = {"journal": "mapped" if mapped else "buffered"}
        self._facts_finder = threading.Thread(target=self._find_facts, name="explorer-facts", daemon=True)
        self._found: deque[dict[str, Any]] = deque()
        self._facts_s = 0.0
        self._diff = ""
        self._knew_torch = False
        self._ended = threading.Event()
        self._heartbeat = 0
        self._began = time.monotonic()
        self._duration_s: float | None = None
        self._saved_config = -1
        self._failures = 0
        self._due: dict[str, float] = {}
        self._sampler = SystemSampler(folder.run_dir.parent) if system_every_s else None
        self._system_every_s = system_every_s or 0.0

    def run(self) -> None:
        """The thread's body."""
        self._guard("prepare", self._scalars.prepare)
        self._guard("summary", self._save_summary)
        self._guard("facts", self._facts_finder.start)
        while not self._ended.wait(TICK_S):
            self._tick()
            self._overhead.writer_s = time.thread_time() + self._facts_s
        self._finish()

    def finish_as(self, state: str, error: BaseException | None) -> None:
        """Ask the thread to write everything and end; returns at once."""
        self.state = state
        if error is not None and state != "finished":
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            message = _text_of(error)
            self.error = {
                "type": type(error).__name__,
                "message": redact_text(clean_text(message[:MAX_ERROR_CHARS])),
                "traceback": redact_text(clean_text(text[-MAX_ERROR_CHARS:])),
            }
        self._duration_s = time.monotonic() - self._began
        self._ended.set()

    def describe_overhead(self) -> dict[str, Any]:
        """What recording has cost so far; see `Overhead.describe`."""
        duration_s = self._duration_s if self._duration_s is not None else time.monotonic() - self._began
        return self._overhead.describe(self._totals.rows, duration_s)

    def print_line(self) -> None:
        """One line on standard error: what was recorded, where, and what it cost."""
        cost = self.describe_overhead()
        spent_s = cost["caller_s"] + cost["sampling_s"] + cost["writer_s"]
        share = f", {100 * cost['fraction']:.2g} % of the run" if cost["fraction"] < 1 else ""
        say(
            f"{self._totals.rows:,} rows, {self._totals.scalars:,} values in {self._folder.run_dir}; "
            f"recording took {spent_s:.2f} s of CPU{share}"
        )

    def attend(self) -> None:
        """What must not wait for a task that takes long, such as a large file: the task calls it in between."""
        if not self._ended.is_set():
            self._tend_rows()

    def _tick(self) -> None:
        self._tend_rows()
        for task in self.tasks:
            self._guard(task.name, task.tick)

    def _tend_rows(self) -> None:
        collect_s = COLLECT_MAPPED_S if self._mapped else COLLECT_BUFFERED_S
        self._guard("clock", self._follow_clock)
        self._guard("transfers", self._take_transfers)
        self._guard("prepare", self._scalars.prepare)
        self._guard("describe", self._save_facts)
        self._every("system", self._system_every_s, self._sample_system)
        self._every("collect", collect_s, self._collect)
        self._guard("seal", self._seal)
        self._note_dropped()
        self._every("summary", SUMMARY_S, self._save_summary)
        self._every("sync", SYNC_S, self._sync)
        self._overhead.ask_for_sample()

    def _follow_clock(self) -> None:
        self._clock.look()
        for stream in (self._scalars, self._system):
            stream.follow(self._clock.offset_ns)

    def _every(self, what: str, period_s: float, work: Callable[[], object]) -> None:
        if period_s and time.monotonic() >= self._due.get(what, 0.0):
            self._due[what] = time.monotonic() + period_s
            self._guard(what, work)

    def _guard(self, what: str, work: Callable[[], object]) -> bool:
        """Do it now unless it has just failed; a failure is said once, and the next try waits longer. Never raises."""
        if time.monotonic() < self._due.get(f"retry {what}", 0.0):
            return False
        try:
            work()
        except OSError as error:
            self._failures += 1
            self._due[f"retry {what}"] = time.monotonic() + min(MAX_BACKOFF_S, 0.25 * 2 ** min(self._failures, 10))
            self._guard("folder", self._guard_folder)
            self._notices.warn(
                f"disk {error.errno}",
                f"recording into {self._folder.run_dir} is held up ({error.strerror or _text_of(error)}); rows are "
                "kept in memory and in the journal, and it is tried again. The training is not affected",
            )
            return False
        except Exception as error:
            self._due[f"retry {what}"] = time.monotonic() + MAX_BACKOFF_S
            self._notices.warn(
                f"defect {what}", f"a part of the recorder failed ({what}: {type(error).__name__}: {_text_of(error)})"
            )
            return False
        if what == "summary":
            self._failures = 0
        return True

    def _guard_folder(self) -> None:
        """Make the run's folder anew when somebody has deleted or moved it."""
        if self._folder.paths.run_json.exists() and self._scalars.is_here:
            return
        try:
            for name in ("attempts", "summary", *layout.TABLES):
                self._disk.make_dir(self._folder.run_dir / name)
            if not self._folder.paths.run_json.exists():
                content = records.encode(self._folder.run, indent=1)
                self._disk.write_file(self._folder.paths.run_json, content, sync=True)
                self._saved_config = -1
                self._save_attempt()
            if not self._scalars.is_here:
                self._scalars.move_to_new_folder()
            if not self._system.is_here:
                self._system.move_to_new_folder()
        except OSError:
            return  # the next failure comes back here
        self._notices.warn("folder", f"the run's folder {self._folder.run_dir} was gone: it was made anew")

    def _find_facts(self) -> None:
        """Packages, devices, git. In a thread of its own; touches nothing of the run."""
        from explorer.recording.environment import describe_environment, describe_seed, loaded_torch
        from explorer.recording.git_state import describe_git

        def find_git() -> dict[str, Any] | None:
            git, self._diff = describe_git()
            return git

        self._knew_torch = loaded_torch() is not None
        self._find_each({"environment": describe_environment, "seed": describe_seed, "git": find_git})
        self._facts_s = time.thread_time()

    def _find_each(self, facts: dict[str, Callable[[], Any]]) -> None:
        for name, find in facts.items():
            try:
                self._found.append({name: find()})
            except Exception as error:
                what = f"the run's {name} could not be found out ({type(error).__name__}: {_text_of(error)})"
                self._notices.warn(f"facts {name}", what)

    def _save_facts(self) -> None:
        if self._found:
            while self._found:
                self._facts |= self._found.popleft()
            self._saved_config = -1  # should it fail now, the next summary saves it
            self._save_attempt()
        if self._diff and self._folder.rank == 0:
            content = self._diff.encode("utf-8", "replace")
            self._disk.write_file(self._folder.paths.git_diff, content, sync=False)
            self._diff = ""

    def _save_attempt(self) -> None:
        version = self._config.version
        record = self._folder.attempt_record(self._config.as_dict(), self._facts)
        path = self._folder.paths.attempt_json(self._folder.attempt, self._folder.rank)
        records.write_json(path, record, disk=self._disk, sync=True)
        self._saved_config = version

    def _take_transfers(self, *, wait: bool = False) -> None:
        for row, numbers in self._transfers.take(wait=wait):
            kinds = "d" * len(numbers)
            self._scalars.put(Row(row.step, row.monotonic_ns, row.names, kinds, tuple(numbers)))
        if self._transfers.num_lost:
            self.refused_values += self._transfers.num_lost
            self._transfers.num_lost = 0
            self._notices.warn("lost on device", f"values on a device were lost: {self._transfers.problem}")

    def _sample_system(self) -> None:
        if self._sampler is None:
            return
        values = self._sampler.sample()
        if self._totals.last_step is not None:
            values["system/training_step"] = float(self._totals.last_step)
        self._system.prepare()
        names, numbers = tuple(values), tuple(values.values())
        self._system.put(Row(time.time_ns() // 10**9, time.monotonic_ns(), names, "d" * len(names), numbers))
        self._system.collect()
        self._system_totals.add(self._system.take_fresh())
        self._system.seal()

    def _collect(self) -> None:
        self._scalars.collect()
        self._totals.add(self._scalars.take_fresh())

    def _seal(self) -> None:
        while self._scalars.seal():
            self._scalars.prepare()

    def _note_dropped(self) -> None:
        if self._scalars.dropped_rows:
            self._notices.warn(
                "dropped",
                "rows come faster than this machine can write them, and memory for those that wait is full: rows are "
                "dropped, and the summary's dropped_rows counts them. Log fewer metrics, or less often",
            )

    def _sync(self) -> None:
        self._scalars.sync()

    def _save_summary(self, *, sync: bool = False) -> None:
        if not self._scalars.is_here and self.state == "running":
            self._guard_folder()
        if self._saved_config != self._config.version:
            self._save_attempt()
        self._heartbeat += 1
        path = self._folder.paths.summary_json(self._folder.attempt, self._folder.rank)
        began = time.thread_time()
        write_summary(path, self._summary(), self._totals, disk=self._disk, sync=sync)
        # With very many metrics it takes a while: never more than a twentieth of a core.
        self._due["summary"] = time.monotonic() + max(SUMMARY_S, 20 * (time.thread_time() - began))

    def _summary(self) -> dict[str, Any]:
        run = self._folder.run
        duration_s = self._duration_s if self._duration_s is not None else time.monotonic() - self._began
        return {
            "format": FORMAT_VERSION,
            **{key: run.get(key) for key in ("name", "group", "tags", "notes", "created")},
            "config": self._config.as_dict(),
            "state": self.state,
            "error": self.error,
            "heartbeat": self._heartbeat,
            "heartbeat_every_s": HEARTBEAT_S,
            "started": self._folder.started,
            "updated": now(),
            "duration_s": round(duration_s, 3),
            **self._folder.process,
            "last_step": self._totals.last_step,
            "rows": self._totals.rows,
            "scalars": self._totals.scalars,
            "dropped_rows": self._scalars.dropped_rows,
            "refused_values": self.refused_values,
            "warnings": self._notices.messages,
            "overhead": self.describe_overhead(),
            **{task.name: task.describe() for task in self.tasks},
        }

    def _finish(self) -> None:
        """Write everything, with a few tries; what still fails stays in the journal, which readers read."""
        self._due.clear()
        of_tasks = {f"finish {task.name}": task.name for task in self.tasks}
        steps: list[tuple[str, Callable[[], object]]] = [
            ("transfers", lambda: self._take_transfers(wait=True)),
            *((f"finish {task.name}", task.finish) for task in self.tasks),  # before the rows: some add rows
            ("prepare", self._scalars.prepare),
            ("collect", self._collect),
            ("finish", self._finish_scalars),
            ("finish system", self._system.finish),
            ("dropped", self._note_dropped),
            ("give up", self._give_up),
            ("describe", self._save_last_facts),
            ("summary", self._last_summary),
        ]
        for what, work in steps:
            for _ in range(CLOSE_TRIES):
                self._due.pop(f"retry {what}", None)
                if self._guard(what, work):
                    break
                time.sleep(CLOSE_RETRY_S)
            else:
                if what in of_tasks:
                    lost = f"{of_tasks[what]}: what waited when the run ended could not be written and is lost"
                    self._notices.warn(f"lost {what}", lost)

    def _finish_scalars(self) -> None:
        try:
            self._scalars.finish()
        finally:
            self._totals.add(self._scalars.take_fresh())

    def _give_up(self) -> None:
        if lost := self._scalars.give_up():
            self._notices.warn("lost", f"{lost:,} rows are lost: the disk of {self._folder.run_dir} took no more")

    def _save_last_facts(self) -> None:
        from explorer.recording.environment import describe_environment, describe_seed, loaded_torch

        if self._facts_finder.ident is not None:
            self._facts_finder.join(FACTS_TIMEOUT_S)
        if not self._knew_torch and loaded_torch() is not None:  # imported after the recorder was made
            self._knew_torch = True
            self._find_each({"environment": describe_environment, "seed": describe_seed})
        self._save_facts()

    def _last_summary(self) -> None:
        self._overhead.writer_s = time.thread_time() + self._facts_s
        self._save_summary(sync=True)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an error of somebody's own, which must not keep the run from being recorded
        return "(the error has no text)"
