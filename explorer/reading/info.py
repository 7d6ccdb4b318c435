"""What is known of a run without touching its series, and the table of many runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from explorer.storage.records import decode_number

if TYPE_CHECKING:
    import pandas as pd

State = Literal["running", "finished", "failed", "killed", "stale"]
STATISTICS: Final = ("last", "min", "max")
_PLAIN: Final = frozenset({int, float, type(None)})
EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


class MetricSummary(NamedTuple):
    """The totals of one metric over all attempts, also of steps that a later attempt recorded anew.

    `min` and `max` are over finite values and None when there is none. What counts of each attempt the series tell.
    """

    n: int
    last: float | int | None
    last_step: int | None
    min: float | int | None
    min_step: int | None
    max: float | int | None
    max_step: int | None
    num_nan: int
    num_inf: int


class RunError(NamedTuple):
    """What ended a failed run."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True)
class RunInfo:
    """One run as its small files tell it.

    Attributes:
        run_id: the name of its folder.
        path: its folder.
        name, group, tags, notes, archived: as recorded, or as the user changed them later.
        created: when the run began; UTC.
        state: `running`, `finished`, `failed` (with `error`), `killed` (its process is gone and never said so), or
            `stale` (it says that it runs, but nothing has been heard of it for a while).
        updated: when it last wrote its totals; UTC by the clock of the recording machine.
        duration_s: seconds recorded, summed over attempts.
        last_step: the step of the newest row of the newest attempt; None before the first row.
        rows: rows recorded by the rank that is shown, over all attempts.
        num_attempts, num_ranks: how many starts of the process, and how many ranks, left totals.
        config: nested, with later keys merged in.
        metrics: totals by metric name, over everything recorded by the rank that is shown.
        problems: files that cannot be used, each with its reason.
        host: the machine that recorded it.
        error: what ended it, when `state` is `failed`.
        warnings: what the recorder warned of.
        dropped_rows, refused_values: rows that did not reach the disk, values that were no numbers.
        overhead: what recording cost, as the recorder measured it.
    """

    run_id: str
    path: Path
    name: str = ""
    group: str | None = None
    tags: tuple[str, ...] = ()
    notes: str = ""
    archived: bool = False
    created: datetime = EPOCH
    state: State = "finished"
    updated: datetime = EPOCH
    duration_s: float = 0.0
    last_step: int | None = None
    rows: int = 0
    num_attempts: int = 1
    num_ranks: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, MetricSummary] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    host: str = ""
    error: RunError | None = None
    warnings: tuple[str, ...] = ()
    dropped_rows: int = 0
    refused_values: int = 0
    overhead: Mapping[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Path:
        # A list of a thousand runs gives `folder` instead of `path`: making the Paths is a twentieth of its time.
        if name != "path" or "folder" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        self.__dict__["path"] = path = Path(self.__dict__["folder"])
        return path

    @cached_property
    def flat_config(self) -> dict[str, Any]:
        """The config with dotted keys: `{"model": {"width": 32}}` is `{"model.width": 32}`."""
        return flatten(self.config)


class LazyMetrics(Mapping[str, MetricSummary]):
    """Totals by metric name, decoded when asked for: of a list of a thousand runs, most are not.

    Takes the `metrics` of the summaries of one rank, oldest attempt first, decoded or as JSON. Of several attempts the
    last value is the newest attempt's; `n`, extremes and counters cover everything recorded.

    Attributes:
        is_damaged: whether JSON could not be decoded; known once it has been asked for.
    """

    def __init__(self, recorded: Sequence[Mapping[str, Any] | bytes]) -> None:
        self._recorded = recorded
        self.is_damaged = False

    @cached_property
    def _decoded(self) -> dict[str, MetricSummary]:
        merged: dict[str, MetricSummary] = {}
        for found in self._recorded:
            for name, row in (self._decode(found) if isinstance(found, bytes) else found).items():
                summary = _metric_summary(row)
                if summary is not None:
                    merged[name] = _merge(merged[name], summary) if name in merged else summary
        self._recorded = ()
        return merged

    def _decode(self, text: bytes) -> Mapping[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            self.is_damaged = True
            return {}
        return found if isinstance(found, dict) else {}

    def __getitem__(self, name: str) -> MetricSummary:
        return self._decoded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded)

    def __len__(self) -> int:
        return len(self._decoded)


def _metric_summary(row: object) -> MetricSummary | None:
    if not isinstance(row, list) or len(row) != len(MetricSummary._fields):
        return None
    n, last, last_step, low, low_step, high, high_step, num_nan, num_inf = row
    if _PLAIN.issuperset(map(type, row)) and type(n) is type(num_nan) is type(num_inf) is int:
        return MetricSummary._make(row)
    return MetricSummary(
        _integer(n) or 0,
        decode_number(last),
        _integer(last_step),
        decode_number(low),
        _integer(low_step),
        decode_number(high),
        _integer(high_step),
        _integer(num_nan) or 0,
        _integer(num_inf) or 0,
    )


def _integer(value: object) -> int | None:
    return value if type(value) is int else None


def _merge(old: MetricSummary, new: MetricSummary) -> MetricSummary:
    low = old if new.min is None or (old.min is not None and old.min < new.min) else new
    high = old if new.max is None or (old.max is not None and old.max > new.max) else new
    last = new if new.n else old
    return MetricSummary(
        old.n + new.n,
        last.last,
        last.last_step,
        low.min,
        low.min_step,
        high.max,
        high.max_step,
        old.num_nan + new.num_nan,
        old.num_inf + new.num_inf,
    )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys, in the order of the mapping; an empty one inside stays as `{}`.

    >>> flatten({"lr": 0.1, "model": {"width": 32, "act": {}}})
    {'lr': 0.1, 'model.width': 32, 'model.act': {}}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def runs_table(infos: Iterable[RunInfo]) -> pd.DataFrame:
    """One row per run, in the order given, indexed by run id.

    Columns: name, group, state, created, updated (UTC), duration_s, last_step, rows, num_attempts, tags (tuple), notes,
    archived, host; then `config.<dotted key>` for every key of any run, and `last.<metric>`, `min.<metric>`,
    `max.<metric>` (float64; NaN where a run has none), each group sorted by name.
    """
    import pandas as pd

    infos = list(infos)
    plain = ("name", "group", "state", "created", "updated", "duration_s", "last_step", "rows", "num_attempts")
    columns: dict[str, Any] = {
        key: [getattr(info, key) for info in infos] for key in (*plain, "tags", "notes", "archived", "host")
    }
    columns["last_step"] = pd.array(columns["last_step"], dtype="Int64")
    for key in sorted({key for info in infos for key in info.flat_config}):
        columns[f"config.{key}"] = [info.flat_config.get(key) for info in infos]
    names = sorted({name for info in infos for name in info.metrics})
    for statistic in STATISTICS:
        for name in names:
            values = (getattr(info.metrics[name], statistic) if name in info.metrics else None for info in infos)
            columns[f"{statistic}.{name}"] = [float("nan") if value is None else float(value) for value in values]
    return pd.DataFrame(columns, index=pd.Index([info.run_id for info in infos], name="run_id", dtype="str"))
