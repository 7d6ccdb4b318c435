"""What the Runs page shows before there are runs: how to record one, and a demo with one button."""

from __future__ import annotations

import os
from typing import Final

import streamlit as st

from explorer.app import shell
from explorer.app.names import esc
from explorer.app.runs_demo import demo_job

_EXAMPLE: Final = """\
from explorer import Recorder

with Recorder("my-model", config={{"lr": 1e-3}}{root}) as run:
    for step, loss in enumerate(training()):
        run.log({{"train/loss": loss}}, step=step)
"""


def welcome(root: str) -> None:
    """Draw the page of an empty root."""
    where = esc(root, 120)
    st.title("Nothing recorded yet", anchor=False)
    if os.path.isdir(root):
        st.caption(f"{where} holds no runs. They appear here as soon as a training writes its first row.")
    else:
        st.caption(f"There is no folder {where} yet; the first recording makes it.")
    left, right = st.columns([3, 2], gap="medium")
    with left.container(border=True, height="stretch"):
        st.markdown("**Record your own training**")
        st.code(_EXAMPLE.format(root="" if root == "logs" else f", root={root!r}"), language="python", wrap_lines=True)
        st.markdown(
            ":gray[Metrics, settings, the machine and the state of the code are kept in plain Parquet and JSON files. "
            "Runs of another folder:] `streamlit run streamlit_app.py -- --root FOLDER`"
        )
    with right.container(border=True, height="stretch"):
        st.markdown("**Or look at a demo first**")
        st.markdown(
            ":gray[Trains a few small networks on scikit-learn's digits on this machine: a healthy sweep, a learning "
            "rate far too high, and a run that is killed and resumed. Under a minute on two cores; you can watch the "
            "curves grow.]"
        )
        running = demo_job(root).progress().phase == "running"
        st.button(
            "Record the demo",
            key="demo_start",
            type="primary",
            icon=":material/play_arrow:",
            disabled=running,
            on_click=demo_job(root).start,
        )


def watch(root: str) -> None:
    """Draw nothing, and open the table as soon as the first run is there."""
    st.fragment(shell.guarded("The folder of runs")(_watch), run_every=2.0)()


def _watch() -> None:
    if shell.runs():
        st.rerun()


def demo_strip(root: str) -> None:
    """Draw how far the demo is while it records, and how it ended; nothing when it never ran."""
    job = demo_job(root)
    phase = job.progress().phase
    if phase == "idle":
        return
    st.fragment(shell.guarded("The progress of the demo")(_strip), run_every=0.7 if phase == "running" else None)()


def _strip() -> None:
    root = shell.root()
    job = demo_job(root)
    now = job.progress()
    drawn = st.session_state.get("demo_phase", now.phase)
    st.session_state["demo_phase"] = now.phase
    if now.phase != "running" and drawn == "running":
        shell.refresh()
        st.rerun()
    if now.phase == "running":
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(now.share, text=f"Recording the demo · {esc(now.what, 120)}")
            st.button("Stop", key="demo_stop", icon=":material/stop:", on_click=job.stop)
    elif now.phase == "failed":
        st.error(
            "What it printed last is below; what it had recorded is kept.",
            title="The demo ended before it was done",
            icon=":material/error:",
        )
        st.code("\n".join(now.lines) or "It printed nothing.", language=None)
        st.button("Dismiss", key="demo_dismiss", on_click=job.forget)
    elif now.phase == "done":
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            st.markdown(":material/check: The demo is recorded.", width="content")
            if st.button("See its curves", key="demo_curves", type="primary", icon=":material/show_chart:"):
                job.forget()
                shell.go("metrics")
            st.button("Dismiss", key="demo_dismiss", type="tertiary", on_click=job.forget)
    elif now.phase == "stopped":
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info("The demo was stopped; what it had recorded is kept.", icon=":material/stop_circle:")
            st.button("Dismiss", key="demo_dismiss", on_click=job.forget)
