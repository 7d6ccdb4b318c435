"""Waiting for an answer: short ones draw nothing, and whatever ends the script ends a long one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest


class Job:
    """What the scripts below work on; a module's own, since a script is run from its text."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.calls: list[str] = []


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    found = Job()
    monkeypatch.setattr("tests.app.test_inference_waiting.JOB", found)
    return found


JOB: Job = Job()


def run(script: Callable[[], None]) -> AppTest:
    return AppTest.from_function(script, default_timeout=30).run()


def test_a_quick_answer_draws_nothing_else(job: Job) -> None:
    def script() -> None:
        import streamlit as st

        from explorer.app.inference_waiting import waited

        found = waited(lambda told, wanted: 7, lambda: None, lambda: "Running", on_stop=lambda: None, key="k")
        st.markdown(f"answer {found}")

    app = run(script)
    assert [element.value for element in app.markdown] == ["answer 7"]
    assert not app.button
    assert not app.caption


def test_an_error_of_the_job_is_raised_on_the_page(job: Job) -> None:
    def script() -> None:
        import streamlit as st

        from explorer.app.inference_waiting import waited
        from explorer.errors import SandboxError

        def fails(told: object, wanted: object) -> None:
            raise SandboxError("it took more than 60 s")

        try:
            waited(fails, lambda: None, lambda: "Running", on_stop=lambda: None, key="k")
        except SandboxError as error:
            st.markdown(str(error))

    assert [element.value for element in run(script).markdown] == ["it took more than 60 s"]


def test_a_long_answer_tells_its_progress_and_leaves_nothing_behind(job: Job) -> None:
    def script() -> None:
        import streamlit as st

        from explorer.app.inference_waiting import waited
        from tests.app import test_inference_waiting as here

        def slow(told: object, wanted: object) -> str:
            told(3, 10)  # type: ignore[operator]
            here.JOB.ended.wait(20)
            return "done"

        def shown(done: int, total: int | None) -> None:
            here.JOB.calls.append(f"{done} of {total}")
            here.JOB.ended.set()

        st.markdown(waited(slow, lambda: None, lambda: "Running", on_stop=lambda: None, key="k", on_progress=shown))

    app = run(script)
    assert [element.value for element in app.markdown] == ["done"]
    assert job.calls[0] == "3 of 10"
    assert not app.button


def test_a_click_meanwhile_ends_the_job_and_is_served(job: Job) -> None:
    def script() -> None:
        import threading

        import streamlit as st
        from streamlit.runtime.scriptrunner import get_script_run_ctx
        from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

        from explorer.app.inference_waiting import waited
        from tests.app import test_inference_waiting as here

        if here.JOB.calls:  # the run that the click asked for
            st.markdown("served")
            return
        requests = get_script_run_ctx().script_requests  # type: ignore[union-attr]
        threading.Timer(0.6, lambda: requests.request_rerun(RerunData())).start()

        def endless(told: object, wanted: object) -> None:
            here.JOB.ended.wait(20)
            here.JOB.calls.append(f"wanted: {wanted()}")  # type: ignore[operator]

        def cancel() -> None:
            here.JOB.calls.append("cancelled")
            here.JOB.ended.set()

        waited(endless, cancel, lambda: "Running", on_stop=lambda: None, key="k")
        st.markdown("never")

    app = run(script)
    assert [element.value for element in app.markdown] == ["served"]
    assert job.calls[0] == "cancelled"
    assert "wanted: True" not in job.calls
