"""Measure the time that modules take, in the process that runs models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from explorer.app import inference_session, model_timing
from explorer.app.file_versions import folder_version
from explorer.app.inference_refusal import refusal
from explorer.app.inference_scene import Scene
from explorer.app.inference_session import plain_model
from explorer.reading.runs import open_run

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_COUNT: Final = "model.measured"  # session: how often; each time is another question


def measure(info: RunInfo) -> None:
    """Measure a run's model and draw the page again, or say what prevents it."""
    scene = _scene(info)
    if scene is None:
        return
    st.session_state[_COUNT] = st.session_state.get(_COUNT, 0) + 1
    times = None
    with refusal("time"), st.spinner("Starting the process that runs the model, and measuring …", show_time=True):
        inputs = scene.inputs()
        answer = inference_session.ask(scene, "times", inputs=inputs, round=st.session_state[_COUNT])
        times = made(answer, inputs[scene.path].shape)
    if times is not None:
        model_timing.hold(info, times)
        st.rerun()


def _scene(info: RunInfo) -> Scene | None:
    """The model with the weights of its last snapshot and its first example; None, which is said, without one."""
    version = folder_version(str(info.path), "program", "samples")
    with refusal("model"):
        model, run = plain_model(str(info.path), version), open_run(info)
        found = [one for one in run.snapshots if one.rank == 0 and one.problem is None]
        if model is not None and found and model.num_examples:
            steps = tuple(sorted({one.step for one in found}))
            return Scene(info, run, model, steps[-1], steps, 0, model_timing.device(), f"time{hash(version)}")
        what = "a snapshot of its weights (`rec.snapshot(model, step)`)" if not found else "a recorded example"
        st.warning(f"Time is measured by running the model, which needs {what}.", icon=":material/timer_off:")
    return None


def made(answer: Mapping[str, Any], shape: tuple[int, ...]) -> model_timing.Times:
    """Return what the process answered (see `explorer.inference.timing.ModuleTimes`), with how it was measured."""
    threads = answer["num_threads"]
    about = (
        f"Median of {answer['num_runs']} runs on {answer['device']}"
        + (f" with {threads} thread{'s' if threads != 1 else ''}" if threads else "")
        + f", input {' × '.join(map(str, shape))}; a whole run takes {answer['whole_ms']:.3g} ms when nothing in it is "
        "measured."
    )
    return model_timing.Times(answer["total_ms"], answer["self_ms"], answer["node_ms"], about)
