"""The recorder: what a training calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from explorer.errors import RootError, UsageError
from explorer.recording import exits, values as cleaning
from explorer.recording.clock import WallClock
from explorer.recording.config import MAX_CONFIG_BYTES, MAX_CUT_NAMED, Config
from explorer.recording.fast_path import make_log
from explorer.recording.journal_file import can_map
from explorer.recording.notices import Notices
from explorer.recording.overhead import Overhead
from explorer.recording.probing.methods import ProbeMethods
from explorer.recording.program.methods import ProgramMethods, ProgramPlug
from explorer.recording.run_folder import Identity, open_folder
from explorer.recording.snapshots.methods import SnapshotMethods, SnapshotPlug
from explorer.recording.stream import Row, Stream, split_wide
from explorer.recording.transfer import Transfers
from explorer.recording.watching.methods import WatchMethods, WatchPlug
from explorer.recording.writer import Writer
from explorer.storage.disk import Disk
from explorer.storage.journal import Header

CLOSE_TIMEOUT_S = 30.0
MAX_WAITING_TRANSFERS = 16_384


class Recorder(WatchMethods, SnapshotMethods, ProbeMethods, ProgramMethods):
    """Records one process's part of a run. Use it as a context manager, or call `close()`.

    A call of `log()` puts one row into memory that survives the process (on a local disk) and returns: it waits for no
    disk, no device and no lock, and never raises because something could not be recorded. What could not be recorded is
    said once as a RecorderWarning, counted, and kept in the run's summary.

    Args:
        name: what the run is called; any text.
        config: settings, nested; a dict, a dataclass or an `argparse.Namespace`. Secrets are left out by name.
        root: folder of runs; made if missing.
        group: runs of one group are drawn together (seeds of one configuration).
        tags: short labels.
        notes: free text.
        run_id: id of the run; made from the name if not given. All processes of one run pass the same.
        resume: "never" starts a new run; "allow" goes on with `run_id` if it exists; "must" requires it.
            Steps go on from the last recorded one. After a resume from an earlier checkpoint pass `step=` to `log` and
            to `watch`; steps that are recorded again replace those of the attempt before.
        enabled: False records nothing and touches no file; every method still works.
        rank: number of this process within the run; by default from the launcher's RANK, else 0.
        system_every_s: seconds between samples of CPU, memory, disk and GPU; None for none.
        quiet: do not print the line at the end.

    Raises:
        UsageError: an argument is wrong.
        RunNotFound: `resume="must"` and there is no such run.
        RootError: the root cannot be written.

    Example:
        >>> import tempfile
        >>> with Recorder("doc", root=tempfile.mkdtemp(), quiet=True) as rec:
        ...     for step in range(3):
        ...         rec.log({"train/loss": 1.0 / (1 + step), "train/lr": 0.1}, step=step)
    """

    def __init__(
        self,
        name: str = "run",
        *,
        config: object = None,
        root: str | os.PathLike[str] = "logs",
        group: str | None = None,
        tags: Iterable[str] = (),
        notes: str = "",
        run_id: str | None = None,
        resume: Literal["never", "allow", "must"] = "never",
        enabled: bool = True,
        rank: int | None = None,
        system_every_s: float | None = 10.0,
        quiet: bool = False,
        disk: Disk | None = None,
    ) -> None:
        identity = _check_identity(name, group, tags, notes)
        if resume not in ("never", "allow", "must"):
            raise UsageError(f'resume should be "never", "allow" or "must"; found {resume!r}')
        if system_every_s is not None and not system_every_s > 0:
            raise UsageError(f"system_every_s should be a positive number of seconds or None; found {system_every_s!r}")
        self._notices = Notices()
        self._writer: Writer | None = None
        self._quiet = quiet
        self._pid = os.getpid()
        self._last_step: int | None = None
        self._heard: dict[str, list[Callable[[float], None]]] = {}
        self.config = Config(config, self._on_text, self._on_cut)
        self.run_id = ""
        self.path: Path | None = None
        if enabled:
            self._open(identity, Path(root), run_id, resume, rank, system_every_s, disk or Disk())
        else:
            self.log = _log_nothing  # type: ignore[method-assign]

    def _open(
        self,
        identity: Identity,
        root: Path,
        run_id: str | None,
        resume: Literal["never", "allow", "must"],
        rank: int | None,
        system_every_s: float | None,
        disk: Disk,
    ) -> None:
        folder = open_folder(
            root.absolute(), identity, self.config.as_dict(), run_id=run_id, resume=resume, rank=rank, disk=disk
        )
        self.run_id, self.path, self._last_step = folder.run_dir.name, folder.run_dir, folder.earlier_step
        self.config.put_under(folder.earlier_config)
        for problem in folder.problems:
            self._notices.warn(problem, problem)
        mapped = can_map(folder.run_dir)
        clock = WallClock()
        header = Header(clock.offset_ns, folder.attempt, folder.rank, 1)
        try:
            self._stream = stream = Stream(folder.run_dir, "scalars", header, mapped=mapped, disk=disk, small=False)
            system = Stream(folder.run_dir, "system", header, mapped=mapped, disk=disk, small=True)
        except OSError as error:
            what = f"cannot record into {folder.run_dir}: {error.strerror or error}. Choose another root="
            raise RootError(what) from error
        self._transfers = Transfers()
        # Shadows the method: a closure costs the training half of what a method with attributes does.
        self.log, self._use, self._leave, self._interrupt, self._resume = make_log(self._log_carefully)  # type: ignore[method-assign]
        self._overhead = Overhead(self._interrupt)
        self._writer = Writer(
            folder, self._stream, system, self.config, self._notices, self._transfers, self._overhead, disk,
            clock, mapped=mapped, system_every_s=system_every_s,
        )  # fmt: skip
        shared = (
            folder.run_dir, folder.attempt, folder.rank, disk, self._notices, self._overhead, self._writer.tasks
        )  # fmt: skip
        self._snapshot_plug = SnapshotPlug(*shared, lambda: self.last_step, self._writer.attend, self._listen)
        self._watch_plug = WatchPlug(
            *shared, lambda: stream.current.step, clock.offset_at, self._stream.put,
            0 if folder.earlier_step is None else folder.earlier_step + 1,
        )  # fmt: skip
        self._program_plug = ProgramPlug(*shared, lambda: self.last_step, self._quiet, self._interrupt)
        self._exits = exits.ExitHooks(self)
        self._writer.start()

    def log(self, values: Mapping[str, object], step: int | None = None) -> None:
        """Record some metrics of one step.

        Args:
            values: metric name to number: float, int, bool, or a numpy or torch value of one element on any device.
                A tensor on an accelerator is copied without waiting for it. Read at once, never kept.
            step: the optimizer step; by default one more than the last. Any order and repeated steps are fine.

        Raises:
            UsageError: `values` is not a mapping, or `step` is not an integer.
        """
        self._log_carefully(values, step)  # an open recorder has a faster `log` of its own: see `fast_path`

    def _log_carefully(self, values: Mapping[str, object], step: int | None) -> None:
        writer = self._writer
        if os.getpid() != self._pid:  # a forked worker of a data loader: it records nothing
            return
        if writer is None:
            self._notices.warn("closed", "log() was called after close(): these values are not recorded")
            return
        plug = self._program_plug
        if plug is not None and plug.is_followed_here():  # a model that logs within its forward, which is no training's
            return
        if self._overhead.wanted and not (plug is not None and plug.is_waiting):
            self._overhead.wanted = False
            self._time_one(values, step)
            return
        if not isinstance(values, Mapping):
            raise UsageError(f'log() expects a mapping such as {{"train/loss": 0.5}}; found {type(values).__name__}')
        number = self._next_step() if step is None else cleaning.clean_step(step)
        now = time.monotonic_ns()
        cleaned = cleaning.clean_row(values)
        self._report(cleaned)
        if cleaned.device:
            if deaf := self._heard.keys() & cleaned.device.keys():
                what = f"the best {min(deaf)!r} is not known, since it was logged as a tensor on a device: log a float"
                self._notices.warn(f"heard {min(deaf)}", what)
            self._send(number, now, cleaned.device)
        if cleaned.names:
            row = Row(number, now, tuple(cleaned.names), "".join(cleaned.kinds), tuple(cleaned.values))
            # A tensor must not get there: the fast path adds the values up, which would run operations on it.
            plain = cleaned.plain and "q" not in row.kinds
            if self._heard:
                plain = self._tell(row) and plain
            if not plain:
                self._leave(values)
            for part in split_wide(row):
                journal = self._stream.current
                shape = self._stream.put(part)
                if plain and part is row and shape is not None and journal is self._stream.current:
                    self._use(shape, journal)
        self._stream.current.step = number
        if plug is not None:
            plug.at_log()

    def _listen(self, name: str, listener: Callable[[float], None]) -> None:
        """Have each value of a metric told from now on, in the thread that logs it. Rows with it go the careful way."""
        self._heard.setdefault(name, []).append(listener)
        self._interrupt()
        self._interrupt()  # for good, as in `close`

    def _tell(self, row: Row) -> bool:
        """Tell who listens; whether nobody does."""
        heard = self._heard.keys() & row.names
        for name in heard:
            value = row.values[row.names.index(name)]
            for listener in self._heard[name]:
                listener(value)
        return not heard

    def _time_one(self, values: Mapping[str, object], step: int | None) -> None:
        self._resume()
        began = time.perf_counter_ns()
        self.log(values, step)
        self._overhead.add(time.perf_counter_ns() - began)

    def _next_step(self) -> int:
        last = self.last_step
        return 0 if last is None else last + 1

    def _send(self, step: int, now: int, tensors: dict[str, Any]) -> None:
        room = self._transfers.num_waiting < MAX_WAITING_TRANSFERS
        try:
            sent = room and self._transfers.start(step, now, tensors)
        except Exception as error:  # the device's own errors, and those of special tensors
            sent = False
            self._notices.warn("device", f"values on a device could not be copied ({error})")
        if not sent:
            self._count_refused(len(tensors))
            self._notices.warn(
                "transfer",
                "values on a device were left out: a CUDA graph was being captured, or too many were waiting",
            )

    def _report(self, cleaned: cleaning.Cleaned) -> None:
        for name, what in cleaned.refused:
            self._count_refused(1)
            self._notices.warn(f"value {name}", f"metric {name[:80]!r} was left out: {what}", of_many=True)
        for name, what in cleaned.changed:
            self._notices.warn(f"name {name}", f"metric {name[:80]!r} was changed: {what}", of_many=True)

    def _count_refused(self, count: int) -> None:
        if self._writer is not None:
            self._writer.refused_values += count

    def _on_text(self, key: str, kind: str) -> None:
        what = f"config {key} is a {kind}, which JSON cannot hold: its text is kept. Pass numbers, text, lists or dicts"
        self._notices.warn(f"config {key}", what, of_many=True)

    def _on_cut(self, left_out: list[str]) -> None:
        named = ", ".join(key[:80] for key in left_out[:MAX_CUT_NAMED])
        more = f" and {len(left_out) - MAX_CUT_NAMED:,} more" if len(left_out) > MAX_CUT_NAMED else ""
        what = f"the config is larger than {MAX_CONFIG_BYTES / 2**20:.0f} MiB as JSON: {named}{more} left out. "
        self._notices.warn("config size", what + "Keep large settings in a file of their own, and its name here")

    def update_config(self, more: object) -> None:
        """Add settings found out later, nested; the same as `config.update`."""
        self.config.update(more)

    @property
    def last_step(self) -> int | None:
        """The step of the newest row, of an earlier attempt too; None in a new run."""
        if self._writer is not None and self._stream.current.step is not None:
            self._last_step = self._stream.current.step
        return self._last_step

    @property
    def overhead(self) -> dict[str, Any]:
        """What recording has cost so far; see `Overhead.describe`. Empty when disabled."""
        return self._writer.describe_overhead() if self._writer is not None else {}

    def close(self, *, state: str | None = None, error: BaseException | None = None) -> None:
        """Write everything and end. Waits at most 30 s; what is not in a segment by then stays in the journal.

        Args:
            state: "finished", "failed" or "killed"; by default what the error says: "finished" without one.
            error: what ended the training.

        Raises:
            UsageError: `state` is another word.
        """
        state = exits.state_after(error) if state is None else state
        if state not in ("finished", "failed", "killed"):
            raise UsageError(f'state should be "finished", "failed" or "killed"; found {state!r}')
        writer, self._writer = self._writer, None
        if writer is None or os.getpid() != self._pid:
            return
        self._last_step = self._stream.current.step if self._stream.current.step is not None else self._last_step
        self._end_program()
        self._interrupt()
        self._interrupt()  # for good: a call that is being timed may not take it back
        self._exits.remove()
        self._end_watching()
        self._unplug_snapshots(take_best=state == "finished")
        writer.finish_as(state, error)
        writer.join(CLOSE_TIMEOUT_S)
        if writer.is_alive():
            waiting = self._stream.num_waiting
            lost = f", but for {waiting:,} that are dropped if the process ends before" if waiting else ""
            what = (
                f"writing {self.path} takes longer than the {CLOSE_TIMEOUT_S:.0f} s that close() waits: very many "
                "metrics, a busy CPU, or a disk that does not answer. It goes on in the background; the journal holds "
                f"the rows{lost}"
            )
            self._notices.warn("close", what)
        elif not self._quiet:
            writer.print_line()

    def stop_in_child(self) -> None:
        """A forked process shares the journal's memory with its parent: from here on it writes no row."""
        self._interrupt()

    def __copy__(self) -> Recorder:
        """Itself: a copy of a model or trainer that holds a recorder goes on recording the same run."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Recorder:
        """Itself, as for `copy.copy`."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, for another process or a checkpoint: a recorder that is off, as in a forked process."""
        return _make_off, (self.run_id, self.path, self.config.as_dict())

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error=error)


def _log_nothing(values: Mapping[str, object], step: int | None = None) -> None:
    """What `log` is when recording is off."""


def _make_off(run_id: str, path: Path | None, config: dict[str, Any]) -> Recorder:
    recorder = Recorder(config=config, enabled=False)
    recorder.run_id, recorder.path = run_id, path
    return recorder


def _check_identity(name: object, group: object, tags: object, notes: object) -> Identity:
    for what, value in (("name", name), ("group", group), ("notes", notes)):
        if not isinstance(value, str) and not (what == "group" and value is None):
            raise UsageError(f"{what} should be text; found {type(value).__name__}")
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise UsageError(f'tags should be a list of texts such as ["baseline"]; found {tags!r}')
    texts = [cleaning.clean_text(str(tag)) for tag in tags]
    clean = cleaning.clean_text
    return Identity(
        clean(str(name)) or "run", None if group is None else clean(str(group)), tuple(texts), clean(str(notes))
    )
