"""Parts of a page that follow runs while they are running, without drawing the rest of the page again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import shell

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_EVERY_S: Final = 2.0
_HELD: Final = "live_held"  # session: the last step that each part which is costly to follow has drawn


def follow(
    infos: Sequence[RunInfo], draw: Callable[[list[RunInfo]], None], what: str, *, every_s: float | None = None
) -> None:
    """Call `draw` with the runs as they are now; while one of them is running, again every two seconds.

    When a run is gone or has changed its state, the whole page is drawn again.

    Args:
        infos: the runs, in the order in which `draw` gets them.
        draw: draws the part; its widgets draw this part again, not the page.
        what: names the part in messages.
        every_s: draws the part again and again at this distance, whether a run is running or not.
    """
    kept: dict[tuple[str, str], int] = st.session_state.setdefault(_HELD, {})
    for key in [key for key in kept if key[0] == what]:
        del kept[key]

    def part() -> None:
        now = {info.run_id: info for info in shell.runs()}
        found = [now[info.run_id] for info in infos if info.run_id in now]
        if [info.state for info in found] != [info.state for info in infos]:
            st.rerun()
        draw(found)

    running = any(info.state == "running" for info in infos)
    st.fragment(shell.guarded(what)(part), run_every=every_s or (_EVERY_S if running else None))()


def held(what: str, steps: Sequence[int], *, cheap: bool, part: str = "") -> list[int]:
    """Return the steps that a part draws: all while they are cheap to follow, else those there were when it was opened.

    What came since then is told, with a button that draws it. Everything else that draws the whole page does so, too.

    Args:
        what: names the part, as `follow` knows it.
        steps: all that there are now, at least one, ascending.
        cheap: whether drawing a new one takes well below the two seconds after which the next one may be there.
        part: tells several choices of steps in it apart.
    """
    kept: dict[tuple[str, str], int] = st.session_state.setdefault(_HELD, {})
    key = (what, part)
    if cheap or kept.setdefault(key, steps[-1]) not in steps:
        kept[key] = steps[-1]
    shown = [step for step in steps if step <= kept[key]]
    if num := len(steps) - len(shown):
        st.button(
            f"Draw {num:,} newer {'snapshot' if num == 1 else 'snapshots'}",
            key=f"live_held_{what}_{part}",
            icon=":material/update:",
            help="They take a while to read, so they are not followed by themselves",
            on_click=kept.__setitem__,
            args=(key, steps[-1]),
        )
    return shown
