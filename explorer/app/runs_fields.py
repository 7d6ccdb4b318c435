"""What the runs table can show, sort and filter by: a field is one value of every run, named by a short token.

Tokens: `state`, `name`, ... (see `PLAIN`), `config.<dotted key>`, and `last.<metric>`, `best.<metric>`,
`min.<metric>`, `max.<metric>`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, cast

from explorer.analysis.settings import STATISTICS, Direction, Statistic, better_direction, pick_statistic
from explorer.reading.catalogue import RunInfo

Kind = Literal["text", "number", "count", "duration", "time", "list", "flag", "setting"]

STATES: Final = ("running", "finished", "failed", "killed", "stale")
MAX_DEFAULT_SETTINGS: Final = 5
MAX_DEFAULT_METRICS: Final = 2
_SAMPLE: Final = 60  # runs that are looked at to choose the columns to begin with


@dataclass(frozen=True)
class Field:
    """One value of every run: its `token`, the `label` of its column, its `kind`, and how to `get` it."""

    token: str
    label: str
    kind: Kind
    get: Callable[[RunInfo], object]
    about: str = ""


PLAIN: Final[Mapping[str, Field]] = {
    f.token: f
    for f in (
        Field("state", "State", "text", lambda run: run.state, "running, finished, failed, killed or stale"),
        Field("name", "Run", "text", lambda run: run.name or run.run_id),
        Field("id", "Run id", "text", lambda run: run.run_id, "The name of the run's folder"),
        Field("group", "Group", "text", lambda run: run.group),
        Field("tags", "Tags", "list", lambda run: list(run.tags)),
        Field("notes", "Notes", "text", lambda run: run.notes),
        Field("created", "Created", "time", lambda run: run.created),
        Field("updated", "Updated", "time", lambda run: run.updated, "When the run last wrote"),
        Field("duration", "Duration", "duration", lambda run: run.duration_s, "Time recorded, over all attempts"),
        Field("steps", "Last step", "count", lambda run: run.last_step),
        Field("rows", "Rows", "count", lambda run: run.rows, "Rows recorded"),
        Field("attempts", "Attempts", "count", lambda run: run.num_attempts, "Starts of the process; a resume is one"),
        Field("host", "Host", "text", lambda run: run.host, "The machine that recorded it"),
        Field("error", "Error", "text", lambda run: f"{run.error.type}: {run.error.message}" if run.error else None),
        Field("problems", "Problems", "count", lambda run: len(run.problems), "Files that cannot be used"),
        Field("archived", "Archived", "flag", lambda run: run.archived),
    )
}
ABOUT: Final[Mapping[Statistic, str]] = {
    "last": "The newest value",
    **dict.fromkeys(
        ("best", "min", "max"),
        "Over all values of all attempts, also of steps that an attempt after them recorded anew",
    ),
}
FIRST: Final = ("name", "state")
LAST: Final = ("created", "duration", "steps", "tags", "notes")


@lru_cache(maxsize=4096)
def find_field(token: str) -> Field | None:
    """Return the field of `token`, None when no run could have it (`config.x` and `last.x` always can)."""
    if token in PLAIN:
        return PLAIN[token]
    kind, _, name = token.partition(".")
    if not name:
        return None
    if kind == "config":
        return Field(token, name, "setting", lambda run: run.flat_config.get(name), f"Setting {name}")
    if kind in STATISTICS:
        statistic: Statistic = kind
        better = better_direction(name)
        label, about = f"{name} · {kind}", ABOUT[statistic]
        return Field(token, label, "number", lambda run: _metric_value(run, statistic, name, better), about)
    return None


def _metric_value(run: RunInfo, statistic: Statistic, metric: str, better: Direction | None) -> float | None:
    found = run.metrics.get(metric)
    if found is None:
        return None
    return pick_statistic(statistic, last=found.last, low=found.min, high=found.max, better=better)


class Tokens(Collection[str]):
    """The tokens of all fields that at least one run has: plain ones, settings, metrics by name.

    Iterating yields them in this order; whether one is there costs one look, however many metrics there are.
    """

    def __init__(self, infos: Iterable[RunInfo]) -> None:
        settings: set[str] = set()
        metrics: set[str] = set()
        for info in infos:
            settings.update(info.flat_config)
            metrics.update(info.metrics)
        self.settings: Final = frozenset(settings)
        self.metrics: Final = frozenset(metrics)

    def __contains__(self, token: object) -> bool:
        if not isinstance(token, str):
            return False
        kind, _, name = token.partition(".")
        return token in PLAIN or name in (
            self.settings if kind == "config" else self.metrics if kind in STATISTICS else ()
        )

    def __iter__(self) -> Iterator[str]:
        yield from PLAIN
        yield from (f"config.{key}" for key in sorted(self.settings))
        for metric in sorted(self.metrics):
            kinds = STATISTICS if better_direction(metric) is not None else [s for s in STATISTICS if s != "best"]
            yield from (f"{kind}.{metric}" for kind in kinds)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def list_metrics(infos: Iterable[RunInfo]) -> list[str]:
    """Return the names of all metrics of these runs, sorted."""
    return sorted({metric for info in infos for metric in info.metrics})


def default_tokens(infos: Sequence[RunInfo]) -> list[str]:
    """Return the columns to begin with: the settings that differ most, and the metrics that tell most.

    Settings that are another text in every run (an output folder) come only after others. Metrics are those that say
    which way is better, validation before training.
    """
    sample = infos[:_SAMPLE]
    values: dict[str, list[object]] = {}
    for info in sample:
        for key, value in info.flat_config.items():
            values.setdefault(key, []).append(value)
    weights = {key: _num_kinds(found, len(sample)) for key, found in values.items()}
    most = sorted((key for key in values if weights[key]), key=lambda key: -weights[key])[:MAX_DEFAULT_SETTINGS]
    best = sorted((m for m in list_metrics(sample) if better_direction(m) is not None), key=_telling)
    return [
        *FIRST,
        *(f"config.{key}" for key in values if key in most),
        *(f"best.{metric}" for metric in best[:MAX_DEFAULT_METRICS]),
        *LAST,
    ]


def default_trend(infos: Sequence[RunInfo]) -> str | None:
    """Return the metric to draw in the trend column: the training loss where there is one."""
    names = list_metrics(infos[:_SAMPLE])
    losses = [name for name in names if better_direction(name) == "lower"]
    trains = [name for name in losses if "train" in name.lower()]
    return next(iter([*trains, *losses, *names]), None)


def sort_runs(infos: Sequence[RunInfo], field: Field, descending: bool) -> list[RunInfo]:
    """Return the runs in the order of `field`; those without a value come last either way, ties keep their order.

    Numbers come before texts where a setting has both; states sort from running to stale.
    """
    keyed = [(sort_key(field, field.get(info)), info) for info in infos]
    have = [(key, info) for key, info in keyed if key is not None]
    missing = [info for key, info in keyed if key is None]
    have.sort(key=lambda pair: pair[0], reverse=descending)
    return [info for _, info in have] + missing


def sort_key(field: Field, value: object) -> tuple[int, float, str] | None:
    """Return what orders `value` among the values of its field; None when it is missing or NaN."""
    if value is None or value == [] or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if field.token == "state":
        return (0, STATES.index(cast("Literal['running']", value)), "")
    if field.kind == "time":
        return (0, value.timestamp(), "")  # type: ignore[attr-defined]
    number = as_float(value)
    if number is not None:
        return (0, number, "")
    if isinstance(value, list):
        return (1, 0.0, ", ".join(str(item) for item in value).casefold())
    return (1, 0.0, str(value).casefold())


def as_float(value: object) -> float | None:
    """Return a number or a boolean as a double, infinite where it is larger than any; None for anything else."""
    if not isinstance(value, bool | int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _num_kinds(found: Sequence[object], num_runs: int) -> float:
    """Return how many different values a setting has, one for being absent; 0 when all runs agree."""
    kinds = len({repr(value) for value in found})
    if kinds == num_runs > 2 and any(isinstance(value, str) for value in found):
        return 0.5
    kinds += len(found) < num_runs
    return kinds if kinds > 1 else 0


def _telling(metric: str) -> tuple[bool, bool, str]:
    name = metric.lower()
    return ("train" in name, better_direction(metric) == "lower", metric)
