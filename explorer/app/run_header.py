"""The head of the Run page: which run, how it is doing, its key numbers, what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

import streamlit as st

from explorer.analysis.settings import better_direction, pick_statistic
from explorer.app import linked, links, shell
from explorer.app.names import esc, plain, run_labels
from explorer.app.run_text import ago_text, block_text, duration_text, moment_text, number_text, value_text
from explorer.app.runnable import can_be_run

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.info import MetricSummary
    from explorer.reading.runs import Run

_Colour = Literal["red", "orange", "blue", "green", "gray"]
# State to icon, colour and what it means.
STATES: Final[Mapping[str, tuple[str, _Colour, str]]] = {
    "running": (":material/play_circle:", "blue", "Its process is alive and has been heard of just now."),
    "finished": (":material/check_circle:", "green", "Its process closed it."),
    "failed": (":material/error:", "red", "An exception ended it; see below."),
    "killed": (":material/cancel:", "red", "Its process is gone and never said why: killed, or the machine went down."),
    "stale": (":material/hourglass_empty:", "orange", "It says that it runs, but nothing has been heard of it lately."),
}
TAB: Final = "tab"  # key of the address
TABS: Final = ("Metrics", "Config", "Environment", "Code", "System", "Attempts", "Files", "Recorder")
_MAX_KEY_METRICS: Final = 3
_MAX_PROBLEMS: Final = 5
_MAX_TRACEBACK: Final = 50_000  # characters, from its end
_HELD_OUT: Final = ("val", "valid", "validation", "test", "eval", "dev")


def pick_run(infos: Sequence[RunInfo]) -> RunInfo:
    """Draw the choice of the run, with the ways to other pages, and return the run; the newest one by default."""
    labels = run_labels(infos)
    by_id = {info.run_id: info for info in infos}
    asked = linked.unknown(links.RUN, by_id)
    if asked is not None:
        st.warning(
            f"There is no run {esc(asked, 80)} in {esc(shell.root(), 80)}. It may have been deleted (Runs, Trash), or "
            "the link was made for another root. The newest run is shown; choose another one below.",
            title="The run of the link is not here",
            icon=":material/link_off:",
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run_id = linked.select(
            "Run",
            links.RUN,
            {run_id: _option(info, labels[run_id]) for run_id, info in by_id.items()},
            infos[0].run_id,
            hide_label=True,
        )
        if st.button("Metrics", icon=":material/show_chart:", help="The curves of this run alone"):
            shell.go("metrics", runs=[run_id])
        if st.button("Compare", icon=":material/compare_arrows:", help="The selected runs against this one"):
            shell.go("compare", runs=_with(run_id), ref=run_id)
        if can_be_run(by_id[run_id]) and st.button(
            "Inference", icon=":material/tune:", help="Run its model again, with the weights of the last snapshot"
        ):
            shell.go("inference", run=run_id)
    return by_id[run_id]


def _option(info: RunInfo, label: str) -> str:
    return f"{label}  ·  {info.state}  ·  {moment_text(info.created)[:16]}"


def _with(run_id: str) -> list[str]:
    return list(dict.fromkeys([run_id, *(info.run_id for info in shell.selected_runs())]))


def head(info: RunInfo) -> None:
    """Draw name, state, tags, notes and key numbers of a run."""
    _title(info)
    _key_numbers(info)


def _title(info: RunInfo) -> None:
    """Draw the name, state, tags and notes of a run."""
    icon, colour, meaning = STATES[info.state]
    st.title(esc(info.name or info.run_id), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(info.state, icon=icon, color=colour, help=meaning)
        for tag in info.tags:
            st.markdown(f":gray-badge[{esc(tag, 60)}]", width="content")
        if info.archived:
            st.badge("archived", icon=":material/inventory_2:", color="gray")
        parts = [plain(info.run_id, 90)]
        parts += [f"group {info.group}"] if info.group else []
        parts += [f"started {moment_text(info.created)} ({ago_text(info.created)})"]
        parts += [f"on {info.host}"] if info.host else []
        st.caption(" · ".join(esc(part) for part in parts))
    if info.notes.strip():
        st.text(block_text(info.notes, 10_000))


def _key_numbers(info: RunInfo) -> None:
    """Draw the numbers that one looks for first, and the best value of up to three metrics."""
    best = [(name, _best(info.metrics[name], name), info.metrics[name]) for name in key_metrics(info.metrics)]
    columns = iter(st.columns(4 + len(best)))
    next(columns).metric("Duration", duration_text(info.duration_s), help="Recorded time, summed over attempts")
    next(columns).metric("Last step", number_text(info.last_step))
    next(columns).metric(
        "Rows",
        number_text(info.rows),
        help="Calls of log() that were recorded, over all attempts; calls of one step may share a row",
    )
    ranks = f"{info.num_ranks} processes each" if info.num_ranks > 1 else None
    next(columns).metric("Attempts", info.num_attempts, help=ranks or "Starts of the process; a resume is a new one")
    for name, value, summary in best:
        next(columns).metric(
            f"Best {esc(name, 60)}",
            value_text(value),
            delta=f"last {value_text(summary.last)}",
            delta_color="off",
            delta_arrow="off",
            help=f"The {'smallest' if better_direction(name) == 'lower' else 'largest'} value so far; "
            "which way is better is guessed from the name.",
        )


def key_metrics(names: Mapping[str, MetricSummary]) -> list[str]:
    """Up to three metrics that a reader most likely asks for: those of held-out data first, then by name.

    Only metrics whose name tells which way is better, and that have a finite value.
    """

    def rank(name: str) -> tuple[bool, str]:
        return (not any(word in name.lower().split("/")[0].split("_") for word in _HELD_OUT), name)

    telling = [name for name in names if better_direction(name) and names[name].min is not None]
    return sorted(telling, key=rank)[:_MAX_KEY_METRICS]


def _best(summary: MetricSummary, name: str) -> float | None:
    return pick_statistic("best", last=summary.last, low=summary.min, high=summary.max, better=better_direction(name))


def trouble(run: Run) -> None:
    """Say what ended a run, which of its files are damaged and what the recorder lost; nothing when all is well."""
    info = run.info
    if info.error is not None:
        st.error(esc(info.error.message, 2000) or "No message.", title=esc(info.error.type), icon=":material/error:")
        traceback = block_text(info.error.traceback[-_MAX_TRACEBACK:].strip("\n"), _MAX_TRACEBACK)
        if traceback:
            with st.expander(
                "Traceback", icon=":material/subject:", expanded=st.session_state.get(TAB) in (None, TABS[0])
            ):
                st.code(traceback, language=None, height="content" if traceback.count("\n") < 16 else 360)
    elif info.state in ("killed", "stale"):
        st.warning(
            f"{STATES[info.state][2]} Last heard of {ago_text(info.updated)}, at step {number_text(info.last_step)}. "
            'Every row logged until then is here; resume it with `Recorder(..., run_id=..., resume="allow")`.',
            icon=STATES[info.state][0],
        )
    if run.problems:
        more = len(run.problems) - _MAX_PROBLEMS
        lines = [f"- {esc(problem, 400)}" for problem in run.problems[:_MAX_PROBLEMS]]
        st.warning(
            "\n".join(lines) + (f"\n- and {more} more, see Files" if more > 0 else ""),
            title="1 file cannot be used" if len(run.problems) == 1 else f"{len(run.problems)} files cannot be used",
            icon=":material/broken_image:",
        )
    if info.dropped_rows or info.refused_values:
        st.warning(
            f"{info.dropped_rows:,} rows could not be written and {info.refused_values:,} values were no numbers. "
            "The tab Recorder tells why.",
            icon=":material/report:",
        )
