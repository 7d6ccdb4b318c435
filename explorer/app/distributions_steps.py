"""The step that is looked at: a slider over the sampled steps, in the address, that can be played."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.app import links, state

if TYPE_CHECKING:
    from explorer.app.distributions_data import Sampled

Ints = npt.NDArray[np.int64]

# A slider sends all its options to the browser.
_MAX_OPTIONS: Final = 1_000


def nearest(one: Sampled, step: int) -> int:
    """Return the row of the sampled step that is nearest to `step`; the earlier one of two."""
    return int(np.argmin(np.abs(one.rows.step - step)))


def linked_step(steps: Ints, key: str = links.STEP) -> int:
    """Return the sampled step nearest to the one in the address; the last one when it names none."""
    text = state.get(key) or ""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        return int(steps[-1])
    return int(steps[np.argmin(np.abs(steps - int(text)))])


def options(steps: Ints, chosen: int) -> list[int]:
    """Return the steps that a slider offers: all, or evenly some of many, always with the ends and the chosen one."""
    if len(steps) <= _MAX_OPTIONS:
        return [int(step) for step in steps]
    picked = steps[np.linspace(0, len(steps) - 1, _MAX_OPTIONS).round().astype(np.int64)]
    return [int(step) for step in np.union1d(picked, [chosen])]


class StepSlider:
    """A slider over steps with buttons to go one on, one back, and to play; its state lives in the session.

    While it plays, the step is kept out of the address: each step would be one for the back button.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def playing(self) -> bool:
        """Whether the steps are being played."""
        return bool(st.session_state.get(self._key("playing"), False))

    def draw(self, steps: Ints) -> int:
        """Draw the slider and its buttons, and return the step it stands at; while playing, the next one."""
        step = self._played(steps) if self.playing else linked_step(steps)
        place = int(np.searchsorted(steps, step))
        last = place == len(steps) - 1
        with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall", width=640):
            self._slider("Step", "slider", links.STEP, steps, step)
            before, after = int(steps[max(place - 1, 0)]), int(steps[min(place + 1, len(steps) - 1)])
            self._button("back", ":material/skip_previous:", "One sampled step back", before, disabled=place == 0)
            icon = ":material/pause:" if self.playing else ":material/play_arrow:"
            st.button(
                "",
                key=self._key("play"),
                icon=icon,
                help="Pause" if self.playing else "Play the steps, from the first one when it stands at the last",
                disabled=len(steps) < 2,
                on_click=self._toggle,
                args=(step, int(steps[0]) if last else step),
            )
            self._button("on", ":material/skip_next:", "One sampled step on", after, disabled=last)
        return step

    def other(self, steps: Ints) -> int:
        """Draw a second slider, for the step that is compared with, and return where it stands; first at the first."""
        step = linked_step(steps, links.THEN) if state.get(links.THEN) else int(steps[0])
        with st.container(width=300):
            self._slider("Compared with step", "then", links.THEN, steps, step)
        return step

    def _slider(self, label: str, name: str, link: str, steps: Ints, step: int) -> None:
        offered = options(steps, step)
        if len(offered) < 2:
            st.caption(f"{label} {step:,}, the only one that was sampled")
            return
        key = self._key(name)
        st.session_state[key] = step
        st.select_slider(label, offered, key=key, format_func=_text, on_change=self._moved, args=(name, link))

    def _button(self, name: str, icon: str, help: str, step: int, *, disabled: bool) -> None:
        st.button("", key=self._key(name), icon=icon, help=help, disabled=disabled, on_click=self._go, args=(step,))

    def _played(self, steps: Ints) -> int:
        """The step after the one that was shown; playing ends at the last one."""
        shown: Any = st.session_state.get(self._key("shown"))
        place = int(np.searchsorted(steps, shown, side="right")) if isinstance(shown, int) else 0
        step = int(steps[min(place, len(steps) - 1)])
        st.session_state[self._key("shown")] = step
        if place >= len(steps) - 1:
            self._stop(step)
        return step

    def _toggle(self, step: int, start: int) -> None:
        if self.playing:
            self._stop(step)
        else:
            st.session_state[self._key("playing")] = True
            # The step before the first one that is shown, so that playing from the start shows the start.
            st.session_state[self._key("shown")] = start - 1 if start != step else start

    def _stop(self, step: int) -> None:
        st.session_state[self._key("playing")] = False
        state.put(links.STEP, str(step))

    def _moved(self, name: str, link: str) -> None:
        step = int(st.session_state[self._key(name)])
        st.session_state[self._key("shown")] = step
        state.put(link, str(step))

    def _go(self, step: int) -> None:
        st.session_state[self._key("shown")] = step
        state.put(links.STEP, str(step))

    def _key(self, name: str) -> str:
        return f"steps_{self._name}_{name}"


def _text(step: int) -> str:
    return f"{step:,}"
