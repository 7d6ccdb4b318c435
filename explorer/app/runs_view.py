"""What the runs table shows right now: columns, order, filter and search, all of it in the link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from explorer.app import links, state
from explorer.app.runs_conditions import FilterError
from explorer.app.runs_fields import Field, Tokens, default_tokens, default_trend, find_field, sort_runs
from explorer.app.runs_filter import parse_filter
from explorer.reading.catalogue import RunInfo

DEFAULT_SORT: Final = "-created"
NO_TREND: Final = "none"
MAX_COLUMNS: Final = 40
MAX_ROWS: Final = 2_000


@dataclass(frozen=True)
class View:
    """What is shown.

    Attributes:
        runs: The rows in order, at most `MAX_ROWS`.
        fields: The columns in order.
        trend: The metric of the sparklines.
        sort: The token of the column that orders the rows, with a minus for descending.
        num_found: How many runs match search and filter.
        num_listed: How many runs there are, archived ones only when they are asked for.
        error: Why the filter was not understood; None when it was.
        unknown: Columns that the link names and no run has.
    """

    runs: list[RunInfo]
    fields: list[Field]
    trend: str | None
    sort: str
    num_found: int
    num_listed: int
    error: str | None
    unknown: list[str]


def make_view(infos: Sequence[RunInfo]) -> View:
    """Return what to show of `infos` (newest first), as the link and this session ask for."""
    known = Tokens(infos)
    wanted, unknown = columns(infos, known)
    with_archived = state.get(links.ARCHIVED) == "true"
    words = (state.get(links.FIND) or "").casefold().split()
    listed = [info for info in infos if with_archived or not info.archived]
    shown = [info for info in listed if found(info, words)] if words else listed
    error = None
    try:
        matches = parse_filter(state.get(links.FILTER) or "", known)
        shown = [info for info in shown if matches(info)]
    except FilterError as problem:
        error = str(problem)
    sort = state.get(links.SORT) or DEFAULT_SORT
    by = find_field(sort.removeprefix("-"))
    if by is None:
        sort, by = DEFAULT_SORT, find_field(DEFAULT_SORT[1:])
    if by is not None:
        shown = sort_runs(shown, by, descending=sort.startswith("-"))
    fields = [field for token in wanted if (field := find_field(token)) is not None]
    return View(shown[:MAX_ROWS], fields, trend(infos), sort, len(shown), len(listed), error, unknown)


def columns(infos: Sequence[RunInfo], known: Tokens) -> tuple[list[str], list[str]]:
    """Return the tokens of the columns to show, and those that the link names but no run has."""
    text = state.get(links.COLUMNS)
    if text is None:
        return default_tokens(infos), []
    wanted = links.split(text)[:MAX_COLUMNS]
    return [token for token in wanted if token in known], [token for token in wanted if token not in known]


def trend(infos: Sequence[RunInfo]) -> str | None:
    """Return the metric of the trend column, None when it is switched off or no run has a metric."""
    text = state.get(links.TREND)
    if text is None:
        return default_trend(infos)
    return None if text == NO_TREND else text


def sort_by(token: str) -> None:
    """Sort by a column; once more by the same one turns the order around. Numbers and times begin with the largest."""
    now = state.get(links.SORT) or DEFAULT_SORT
    field = find_field(token)
    falling = field is not None and field.kind in ("count", "duration", "time")
    if now.removeprefix("-") == token:
        sort = token if now.startswith("-") else f"-{token}"
    else:
        sort = f"-{token}" if falling else token
    state.put(links.SORT, None if sort == DEFAULT_SORT else sort)


def found(info: RunInfo, words: Sequence[str]) -> bool:
    """Return whether every one of `words` (in lower case) stands in the name, id, group, tags, notes or state."""
    body = "\n".join((info.name, info.run_id, info.group or "", *info.tags, info.notes, info.state)).casefold()
    return all(word in body for word in words)
