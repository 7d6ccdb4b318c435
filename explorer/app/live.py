"""A part of a page that follows runs while they are running, without drawing the rest of the page again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import shell

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_EVERY_S: Final = 2.0


def follow(infos: Sequence[RunInfo], draw: Callable[[list[RunInfo]], None], what: str) -> None:
    """Call `draw` with the runs as they are now; while one of them is running, again every two seconds.

    When a run is gone or has changed its state, the whole page is drawn again.

    Args:
        infos: the runs, in the order in which `draw` gets them.
        draw: draws the part; its widgets draw this part again, not the page.
        what: names the part in messages.
    """

    def part() -> None:
        now = {info.run_id: info for info in shell.runs()}
        found = [now[info.run_id] for info in infos if info.run_id in now]
        if [info.state for info in found] != [info.state for info in infos]:
            st.rerun()
        draw(found)

    running = any(info.state == "running" for info in infos)
    st.fragment(shell.guarded(what)(part), run_every=_EVERY_S if running else None)()
