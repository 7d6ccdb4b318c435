"""The top of the Inference page: which run, which step's weights, which recorded example, where it runs."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import streamlit as st

from explorer.app import (
    inference_empty,
    inference_rung,
    inference_session,
    inference_weights_file,
    linked,
    links,
    shell,
    state,
)
from explorer.app.device_choice import asked_device, pick_device
from explorer.app.inference_scene import Scene
from explorer.app.inference_session import plain_model
from explorer.app.names import esc, plain, run_labels
from explorer.app.runnable import can_be_run, has_model
from explorer.reading.runs import open_run

if TYPE_CHECKING:
    from explorer.inference.plain_model import PlainModel
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.snapshots import SnapshotInfo

_MAX_STOPS: Final = 500
_MAX_EXAMPLES: Final = 1_000


def choose() -> Scene | None:
    """Draw the choices; None when there is nothing to run, which the page then has said."""
    infos = shell.runs()
    with_program = [info for info in infos if has_model(info)]
    # The page opens on a run that has weights to run with.
    with_program.sort(key=lambda info: not can_be_run(info))
    asked = linked.unknown(links.RUN, {info.run_id for info in infos})
    if asked is not None:
        st.warning(
            f"There is no run {esc(asked, 80)} in {esc(shell.root(), 80)}: it may have been deleted, or the link was "
            "made for another root. Another run is shown.",
            title="The run of the link is not here",
            icon=":material/link_off:",
        )
    named = next((info for info in infos if info.run_id == state.get(links.RUN)), None)
    if named is not None and named not in with_program:
        with_program = [named, *with_program]
    if not with_program:
        inference_empty.no_program(infos)
        return None
    columns = st.columns([3, 4, 3, 2], vertical_alignment="bottom")
    with columns[0]:
        info = _run(with_program)
    inference_session.prepare(asked_device(), str(info.path), _asked_step())
    run = open_run(info)
    version = _version(info)
    stamp = f"{zlib.crc32(repr(version).encode()):08x}"
    model = inference_rung.choose(str(info.path), stamp, asked_device(), plain_model(str(info.path), version))
    if model is None:
        inference_empty.not_captured(info, run.program_problems)
        return None
    found = [one for one in run.snapshots if one.rank == 0]
    steps = tuple(sorted({one.step for one in found if one.problem is None}))
    if not steps:
        inference_empty.no_snapshot(info, [one.problem for one in found if one.problem])
        return None
    if not model.num_examples:
        taken = {found.path for found in model.program.inputs}
        inference_empty.no_examples(model.problems, [path for path in model.left_out if path in taken])
        return None
    with columns[1]:
        step = pick_step(steps)
    with columns[2]:
        example = _example(model)
    with columns[3]:
        device = pick_device()
    _say_other_step(step, steps, [one for one in found if one.problem is not None])
    snapshot = next(one for one in found if one.step == step and one.problem is None)
    made = f"{stamp}.{snapshot.attempt}.{snapshot.size_bytes}"
    shown = state.get(links.INPUT) or ""
    return inference_weights_file.choose(Scene(info, run, model, step, steps, example, device, made, shown=shown))


def pick_step(steps: Sequence[int]) -> int:
    """Draw the slider over snapshots, opened on the last one or on the one nearest to the link's."""
    if len(steps) < 2:
        st.text_input("Step", f"{steps[0]:,} (the only snapshot)", disabled=True)
        return steps[0]
    stops = list(steps)
    if len(steps) > _MAX_STOPS:  # every one of them would travel to the browser
        stops = [steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, _MAX_STOPS).astype(int))]
    asked = _asked_step()
    at = stops[-1] if asked is None else min(stops, key=lambda step: abs(step - asked))
    key = f"inference.step.{len(stops)}"
    st.session_state[key] = at
    return int(
        st.select_slider(
            "Weights of step",
            stops,
            key=key,
            format_func=lambda step: f"{step:,}",
            on_change=_write_step,
            args=(key, stops[-1]),
            help="The snapshots of this run; no other steps have weights.",
        )
    )


def _say_other_step(step: int, steps: Sequence[int], unusable: Sequence[SnapshotInfo]) -> None:
    """Say so where the link asks for a step whose weights cannot be had, and why."""
    asked = _asked_step()
    if asked is None or asked in steps:
        return
    found = next((one for one in unusable if one.step == asked), None)
    if found is None:
        st.caption(f"Step {asked:,} has no snapshot; the nearest one, of step {step:,}, is shown.")
        return
    st.warning(
        f"The file {esc(f'params/{found.step:012}/{found.attempt:04}-{found.rank:05}.parquet')} "
        f"{esc(found.problem, 300)}. The nearest snapshot, of step {step:,}, is shown.",
        title=f"The snapshot of step {asked:,} cannot be read",
        icon=":material/broken_image:",
    )


def _asked_step() -> int | None:
    asked = state.get(links.STEP)
    return int(asked) if asked is not None and asked.isascii() and asked.isdigit() and len(asked) < 20 else None


def class_name(model: PlainModel, index: int) -> str:
    """The name of a class as plain text, or its number."""
    return plain(model.class_names[index], 60) if 0 <= index < len(model.class_names) else str(index)


def _write_step(key: str, default: int) -> None:
    chosen = int(st.session_state[key])
    state.put(links.STEP, None if chosen == default else str(chosen))


def _run(infos: Sequence[RunInfo]) -> RunInfo:
    labels = run_labels(infos)
    by_id = {info.run_id: info for info in infos}
    run_id = linked.select("Run", links.RUN, {found: labels[found] for found in by_id}, infos[0].run_id)
    return by_id[run_id]


def _example(model: PlainModel) -> int:
    count = min(model.num_examples, _MAX_EXAMPLES)
    labels = model.labels
    whole = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"

    def title(number: str) -> str:
        place = int(number)
        right = f" · {class_name(model, int(labels[place]))}" if whole and labels is not None else ""
        return f"{place + 1} of {model.num_examples}{right}"

    options = [str(place) for place in range(count)]
    return int(linked.select("Recorded example", links.EXAMPLE, options, "0", format_func=title))


def _version(info: RunInfo) -> tuple[tuple[str, int, int], ...]:
    """Changes when the files of the program or of its examples do."""
    found = []
    for folder in ("program", "samples"):
        path = os.path.join(info.path, folder)
        if os.path.isdir(path):
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                stat = entry.stat(follow_symlinks=False)
                found.append((f"{folder}/{entry.name}", stat.st_size, stat.st_mtime_ns))
    return tuple(found)
