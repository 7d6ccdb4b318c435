"""The charts of the Metrics page: sections that open, pages inside them, one zoom for all, live."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import links, shell, state
from explorer.app.colours import run_places
from explorer.app.metrics_chart import Shown, card
from explorer.app.metrics_groups import PER_PAGE, BadPattern, Section, matching, sections
from explorer.app.metrics_options import RELATIVE, Options
from explorer.app.metrics_series import relative_unit
from explorer.app.metrics_zoom import Zoom, session_zoom
from explorer.app.names import esc, metric_names, run_labels

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

# In the address: sections that the user opened or closed against the default, and pages turned to.
TOGGLED: Final = "open"
PAGES: Final = "turn"
_EVERY_S: Final = 1.0


def charts(options: Options, search: str, running: bool) -> None:
    """Draw all charts in a fragment of their own, drawn again every second while a followed run is running."""
    live = running and options.follow

    @st.fragment(key="metrics_charts", run_every=_EVERY_S if live else None)
    def draw() -> None:
        with shell.guard("The charts"):
            infos = shell.selected_runs()
            if live and not any(info.state == "running" for info in infos):
                st.rerun()
            _charts(infos, options, search)

    draw()


def _charts(infos: Sequence[RunInfo], options: Options, search: str) -> None:
    every = metric_names(infos)
    try:
        found = matching(every, search)
    except BadPattern as error:
        st.warning(
            f"{esc(search, 100)} is not a regular expression: {esc(error, 200)}. All metrics are shown. To search for "
            "a sign such as ( or \\* itself, write a backslash before it.",
            icon=":material/search_off:",
        )
        found, search = every, ""
    if not found:
        st.info(f"None of the {len(every):,} metrics matches {esc(search, 100)}.", icon=":material/search_off:")
        return
    zoom = session_zoom()
    zoom.begin(options.x, relative_unit(infos)[1] if options.x == RELATIVE else 1.0)
    _zoom_bar(zoom, len(found), len(every))
    shown = Shown(
        infos=tuple(infos),
        labels=run_labels(infos),
        places=run_places(shell.root(), infos),
        options=options,
    )
    toggled = set(links.split(state.get(TOGGLED) or ""))
    for section in sections(found, searching=bool(search)):
        _section(section, section.opened != (section.prefix in toggled), shown, zoom)


def _zoom_bar(zoom: Zoom, num_found: int, num_every: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        which = f"{num_every:,} metrics" if num_found == num_every else f"{num_found:,} of {num_every:,} metrics"
        st.caption(
            f"{which} · drag moves all charts, Ctrl or ⌘ with the wheel zooms, a double click shows everything",
            width="stretch",
        )
        st.button(
            "Reset zoom",
            key="metrics_reset_zoom",
            icon=":material/zoom_out_map:",
            type="tertiary",
            disabled=zoom.window is None,
            on_click=zoom.reset,
        )


def _section(section: Section, opened: bool, shown: Shown, zoom: Zoom) -> None:
    name = hashlib.sha256(section.prefix.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    key = f"metrics_section_{name}"
    st.session_state[key] = opened
    title = f"**{esc(section.prefix, 80)}**" if section.prefix else "**Other metrics**"
    box = st.expander(
        f"{title} :gray[{len(section.metrics):,}]", key=key, on_change=_toggle, args=(section.prefix,), type="compact"
    )
    if not box.open:
        return
    with box:
        num_pages = -(-len(section.metrics) // PER_PAGE)
        page = _page(section, name, num_pages) if num_pages > 1 else 1
        first = (page - 1) * PER_PAGE
        with st.grid(shown.options.per_row, gap="small"):
            for metric in section.metrics[first : first + PER_PAGE]:
                with shell.guard(f"The chart of {metric}"):
                    card(metric, shown, zoom)


def _toggle(prefix: str) -> None:
    toggled = links.split(state.get(TOGGLED) or "")
    toggled = [one for one in toggled if one != prefix] if prefix in toggled else [*toggled, prefix]
    state.put(TOGGLED, links.join(toggled) or None)


def _page(section: Section, name: str, num_pages: int) -> int:
    page = min(max(_pages().get(section.prefix, 1), 1), num_pages)
    # A key for each page: the address may turn it too, and a widget with a default cannot be written to.
    key = f"metrics_page_{name}_{page}"
    return st.pagination(num_pages, default=page, key=key, on_change=_turn, args=(section.prefix, key))


def _turn(prefix: str, key: str) -> None:
    pages = {**_pages(), prefix: st.session_state[key]}
    state.put(PAGES, links.join(f"{page}:{one}" for one, page in pages.items() if page != 1) or None)


def _pages() -> dict[str, int]:
    """The page that each section is turned to."""
    pages: dict[str, int] = {}
    for item in links.split(state.get(PAGES) or ""):
        number, _, prefix = item.partition(":")
        if number.isascii() and number.isdigit() and len(number) < 6:
            pages[prefix] = int(number)
    return pages
