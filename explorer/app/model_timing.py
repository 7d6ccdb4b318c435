"""The time that modules take: what this session has measured, and the button that asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import links, state
from explorer.app.device_choice import pick_device
from explorer.app.file_versions import folder_version
from explorer.app.names import esc

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_HELD: Final = "model.times"  # session: answers by run, version of its program and device
_WANTED: Final = "model.measure"
_DEVICES: Final = ("cpu", "cuda", "mps")
_ABOUT: Final = (
    "Runs the captured model on a recorded example in a process of its own, at most 25 times and for about 5 s, and "
    "tells the median for each module: by the clock on a CPU, by events on a GPU."
)


@dataclass(frozen=True, eq=False)
class Times:
    """What was measured: see `explorer.inference.timing.ModuleTimes`.

    Attributes:
        total_ms, self_ms: of modules by path.
        node_ms: of operators by name.
        about: on what, how often, and how long the whole took.
    """

    total_ms: Mapping[str, float]
    self_ms: Mapping[str, float]
    node_ms: Mapping[str, float]
    about: str


def held(info: RunInfo) -> Times | None:
    """Return what this session has measured of a run's model on the device that is chosen, if anything."""
    found: Times | None = st.session_state.get(_HELD, {}).get(_key(info))
    return found


def controls(info: RunInfo) -> None:
    """Draw the button that opens what is measured; what was measured is in `held` when the script runs again."""
    with st.popover("Time", icon=":material/timer:", help="Measure how long each module takes"):
        st.markdown(_ABOUT)
        pick_device()
        times = held(info)
        name = "Measure time" if times is None else "Measure again"
        st.button(
            name, key="model_measure", icon=":material/timer:", type="primary", on_click=_want, args=(_key(info),)
        )
        if times is not None:
            st.caption(esc(times.about, 400))


def is_wanted(info: RunInfo) -> bool:
    """Whether the button was pressed since this was asked last."""
    wanted = st.session_state.get(_WANTED) == _key(info)
    if wanted:
        del st.session_state[_WANTED]
    return wanted


def hold(info: RunInfo, times: Times) -> None:
    """Keep what was measured for this session, and paint it."""
    st.session_state.setdefault(_HELD, {})[_key(info)] = times
    state.put(links.PAINT, "time")


def device() -> str:
    """Return where models run, as PyTorch names it."""
    found = state.get(links.DEVICE)
    return found if found in _DEVICES else _DEVICES[0]


def _want(key: str) -> None:
    st.session_state[_WANTED] = key


def _key(info: RunInfo) -> str:
    return f"{info.run_id}/{hash(folder_version(str(info.path), 'program'))}/{device()}"
