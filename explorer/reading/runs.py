"""One run, opened: what it was and what it logged, as a user of pandas expects it."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from explorer.errors import DamagedFile, FileError, MetricNotFound, TensorNotFound
from explorer.reading.attempts import Attempt as Attempt, read_attempt
from explorer.reading.catalogue import METRICS_DAMAGED, read_info
from explorer.reading.info import RunInfo
from explorer.reading.model_record import ModelRecord, read_model
from explorer.reading.programs import program_problems, read_program_of
from explorer.reading.snapshots import Snapshot, SnapshotInfo, list_snapshots, open_snapshot
from explorer.reading.tables import metric_names, raw_rows, read_frame
from explorer.reading.tensor_frames import statistics_frame
from explorer.reading.tensors import TensorStore
from explorer.storage.layout import RunPaths, list_process_files
from explorer.storage.records import Record, read_json, read_record

if TYPE_CHECKING:
    import pandas as pd

    from explorer.storage.bins import Histograms
    from explorer.storage.program import Program

_MAX_DIFF_BYTES: Final = 4 * 2**20
_MAX_NEAREST: Final = 5


class Run:
    """A run on disk. Facts are read when asked for and then kept; scalars are read anew at each call.

    Attributes:
        path: the run's folder.
        info: its entry in the catalogue, when it was opened.
    """

    def __init__(self, info: RunInfo) -> None:
        self.path, self.info = info.path, info

    def __repr__(self) -> str:
        shown = self.info
        return f"<Run {shown.run_id} {shown.name!r}: {shown.state}, {shown.rows:,} rows, {len(self.metrics)} metrics>"

    @property
    def config(self) -> Mapping[str, Any]:
        """Nested, with later keys merged in."""
        return self.info.config

    @cached_property
    def metrics(self) -> list[str]:
        """Names of all metrics, sorted."""
        return sorted(self.info.metrics) or metric_names(self.path, "scalars")

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Every start of every process, by attempt and rank. Damaged records are left out; `problems` names them."""
        return [read_attempt(self.path, *found) for found in self._records]

    @property
    def environment(self) -> Mapping[str, Any]:
        """Versions, devices, machine: of the newest attempt that says."""
        return _mapping(self._newest("environment"))

    @property
    def git(self) -> Mapping[str, Any] | None:
        """`commit`, `branch`, `dirty`, `remote` of the newest attempt that says; None outside a repository."""
        return _mapping(self._newest("git")) or None

    @property
    def seed(self) -> Mapping[str, Any] | None:
        """Seeds of the newest attempt that says; None when none does."""
        return _mapping(self._newest("seed")) or None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line of the newest attempt that says."""
        found = self._newest("argv")
        return tuple(word for word in found if isinstance(word, str)) if isinstance(found, list) else ()

    @cached_property
    def git_diff(self) -> str:
        """Uncommitted changes when the run began; empty when there were none."""
        try:
            return _read_text(RunPaths(self.path).git_diff)
        except (OSError, FileError):
            return ""

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """Small files that cannot be used, by name and reason; those of series come with the series."""
        found = list(self.info.problems)
        if len(self.info.metrics) == 0 and getattr(self.info.metrics, "is_damaged", False):
            found.append(METRICS_DAMAGED)
        try:
            read_record(RunPaths(self.path).run_json)
        except FileError as error:
            found.append(f"run.json: {error.reason}")
        except FileNotFoundError:
            found.append("run.json: is missing")
        for _, _, path in list_process_files(self.path, "attempts"):
            try:
                read_json(path)
            except FileError as error:
                found.append(f"attempts/{path.name}: {error.reason}")
            except FileNotFoundError:
                continue
        return tuple(dict.fromkeys(found))

    def scalars(
        self, metrics: str | Iterable[str] | None = None, *, rank: int | None = None, all_attempts: bool = False
    ) -> pd.DataFrame:
        """Logged values as a table.

        Args:
            metrics: a name or several; None is all of them.
            rank: whose values; None is rank 0, or the lowest rank that recorded anything.
            all_attempts: keep every row as it was logged, of every attempt and rank (or of `rank` alone).

        Returns:
            Columns `step` (int64), `wall_time` (datetime64[us], UTC, without a zone), then one for each metric, float64
            with NaN where it was not logged (int64 or Int64 for metrics with integers beyond 2**53; a metric
            called `step` or `wall_time` has the column `metric:step`). Rows where none of the metrics was logged are
            left out. Sorted by step, each step once. Of each metric, all from a newer attempt's first step of it on is
            that attempt's: what the run had gone through before it was resumed from an earlier step is left out. With
            `all_attempts` also `attempt` and `rank`, sorted by step, attempt and rank. What could
            not be read is in `frame.attrs["problems"]`.

        Raises:
            MetricNotFound: the run has no such metric; the message names those that come near.
        """
        return self._table("scalars", metrics, self.metrics, rank, all_attempts)

    def system(self, metrics: str | Iterable[str] | None = None, *, rank: int | None = None) -> pd.DataFrame:
        """What the machine did, as `scalars` gives it; the names begin with `system/`."""
        return self._table("system", metrics, metric_names(self.path, "system"), rank, False)

    def tensors(self, kind: str | None = None) -> pd.DataFrame:
        """Statistics of the watched tensors as a table.

        Args:
            kind: `param`, `grad`, `update`, `activation` or `labels`; None is all of them.

        Returns:
            A row for each name, kind and step, sorted by these, the newest attempt's where several have one. Columns
            as in the format's description, without bins and counts; whole numbers that can be missing are Int64. What
            could not be read is in `frame.attrs["problems"]`. No rows when nothing was watched.
        """
        return statistics_frame(self._tensors.statistics(self.path, kind), self._tensors.problems(self.path))

    def histogram(self, name: str, kind: str = "param") -> Histograms:
        """The histograms of one tensor at all its steps, ascending; counts are int64.

        Raises:
            TensorNotFound: the tensor was not watched; the message names those that come near.
        """
        found = self._tensors.histograms(self.path, name, kind)
        if not len(found):
            known = [key.name for key in self._tensors.names(self.path) if key.kind == kind]
            raise TensorNotFound(_not_found(self.info, name, known, f"tensor of kind {kind}"))
        return replace(found, counts=found.counts.astype(np.int64))

    @property
    def snapshots(self) -> list[SnapshotInfo]:
        """Steps at which parameter values were kept, by step and rank; the newest attempt's where several have one."""
        return list_snapshots(self.path)

    def snapshot(self, step: int, rank: int | None = None) -> Snapshot:
        """The parameter values of a step; see `open_snapshot`. Raises SnapshotNotFound."""
        return open_snapshot(self.path, step, rank)

    @property
    def model(self) -> ModelRecord | None:
        """What was watched and what could not be; None when nothing was."""
        return read_model(self.path)

    @property
    def program(self) -> Program | None:
        """What the model computes, as the newest attempt that captured it has it; None when none did."""
        return read_program_of(self.path)

    @property
    def program_problems(self) -> tuple[str, ...]:
        """Why a model could not be captured, and which programs cannot be read."""
        return program_problems(self.path)

    @cached_property
    def _tensors(self) -> TensorStore:
        return TensorStore(fresh_s=0.0)

    def _table(
        self, table: str, metrics: str | Iterable[str] | None, known: Sequence[str], rank: int | None, raw: bool
    ) -> pd.DataFrame:
        names = list(known) if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise MetricNotFound(_not_found(self.info, unknown[0], known, "metric"))
        return (raw_rows if raw else read_frame)(self.path, table, list(dict.fromkeys(names)), rank)

    @cached_property
    def _records(self) -> list[tuple[int, int, Record]]:
        found = []
        for attempt, rank, path in list_process_files(self.path, "attempts"):
            try:
                found.append((attempt, rank, read_json(path)))
            except (FileError, FileNotFoundError):
                continue
        return found

    def _newest(self, key: str) -> object:
        """A fact of the newest attempt's lowest rank that has it, else of run.json."""
        for _, _, record in sorted(self._records, key=lambda found: (-found[0], found[1])):
            if record.get(key):
                return record[key]
        return self._identity.get(key)

    @cached_property
    def _identity(self) -> Record:
        try:
            return read_record(RunPaths(self.path).run_json)
        except (FileError, FileNotFoundError):
            return {}


def open_run(path: str | Path | RunInfo | Run) -> Run:
    """Open a run for reading: a folder such as `logs/digits-cnn-3kq8w2mz`, or an entry of the catalogue.

    Raises:
        RunNotFound: there is no run in this folder.
    """
    if isinstance(path, Run):
        return path
    return Run(path if isinstance(path, RunInfo) else read_info(path))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_text(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise DamagedFile(path, "is not a regular file")
        return file.read(_MAX_DIFF_BYTES).decode("utf-8", "replace")


def _not_found(info: RunInfo, name: str, known: Sequence[str], what: str) -> str:
    if not known:
        return (
            f"run {info.run_id} has no {what} {name!r}: nothing has been {'logged' if what == 'metric' else 'watched'}"
        )
    lower = {each.casefold(): each for each in known}
    near = [lower[each] for each in difflib.get_close_matches(name.casefold(), lower, _MAX_NEAREST, 0.5)]
    near += [each for each in known if each not in near and name.casefold() in each.casefold()]
    shown = near[:_MAX_NEAREST] or list(known[:_MAX_NEAREST])
    return f"run {info.run_id} has no {what} {name!r}; it has {', '.join(map(repr, shown))}" + (
        f" and {len(known) - len(shown):,} more" if len(known) > len(shown) else ""
    )
