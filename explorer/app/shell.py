"""The frame around every page: root, checks at start, navigation, guard against tracebacks, live refresh."""

from __future__ import annotations

import argparse
import functools
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import links, selection, state
from explorer.app.caching import listing
from explorer.app.colours import register
from explorer.app.names import esc
from explorer.errors import ExplorerError
from explorer.inference.factory import Factory

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

    from explorer.reading.catalogue import RunInfo

_LOG: Final = logging.getLogger(__name__)
_PAGES: Final = Path(__file__).parent / "pages"
_ICON: Final = Path(__file__).parent / "icon.svg"

# What keeps the app on this machine. .streamlit/config.toml sets it; a flag or variable could loosen it.
HARDENED: Final[dict[str, object]] = {
    "server.address": "127.0.0.1",
    "server.allowedHosts": ["localhost", "127.0.0.1"],
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.enableStaticServing": False,
    "server.enableAgentApi": False,
    "browser.gatherUsageStats": False,
    "client.showErrorLinks": False,
    "client.showErrorDetails": "type",
}


def root() -> str:
    """Return the folder of runs: `--root` after `--` on the command line, else EXPLORER_ROOT, else `logs`."""
    return _options().root or os.environ.get("EXPLORER_ROOT") or "logs"


def factory() -> Factory | None:
    """The user's own code that makes models: `--factory` after `--` on the command line, and nowhere else."""
    name = _options().factory
    return None if name is None else Factory(name, _options().factory_folder or os.getcwd())


def limits() -> tuple[float, int | None]:
    """Seconds that one answer of a model may take and bytes of memory: `--time-limit` and `--memory-limit` (GiB).

    None is as the sandbox sees fit.
    """
    options = _options()
    return options.time_limit, None if options.memory_limit is None else int(options.memory_limit * 2**30)


def runs() -> list[RunInfo]:
    """Return all runs of the root, newest first, as of this script run.

    Raises:
        RootError: the root cannot be read; the frame has said so already when a page asks.
    """
    # A root that the first recording is yet to make holds no runs; that is no error.
    return listing(root()).runs() if os.path.lexists(root()) else []


def selected_runs() -> list[RunInfo]:
    """Return the runs that the user has selected, newest first; the newest eight when nothing was chosen."""
    infos = runs()
    wanted = set(selection.selected_ids(infos))
    return [info for info in infos if info.run_id in wanted]


def refresh() -> None:
    """Look at the disk again at the next `runs()`, after something was edited, archived or deleted."""
    listing(root()).forget()


@contextmanager
def guard(what: str) -> Iterator[None]:
    """Turn an error into a message on the page that names `what` could not be shown; details go to the log."""
    try:
        yield
    except ExplorerError as error:
        _LOG.warning("%s: %s", what, error)
        st.error(esc(error, 1000), title=f"{what} cannot be shown", icon=":material/error:")
    except Exception as error:
        _LOG.exception("%s failed", what)
        st.error(
            f"{esc(type(error).__name__)}: {esc(error, 600)}\n\nThe rest of the app works on; the details are in the "
            "terminal that runs the app. Reload the page, and report this if it comes back.",
            title=f"{what} cannot be shown",
            icon=":material/error:",
        )


def guarded(what: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Decorate a function without arguments with `guard`; put it under `st.fragment`, which runs on its own."""

    def decorate(function: Callable[[], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def call() -> None:
            with guard(what):
                function()

        return call

    return decorate


def configure() -> None:
    """Set title, icon and width, and stop when the server is open to others without `--expose`."""
    st.set_page_config(page_title="Experiment Explorer", page_icon=str(_ICON), layout="wide", initial_sidebar_state=270)
    st.logo(str(_ICON), size="large")
    loose = [name for name, wanted in HARDENED.items() if st.get_option(name) != wanted]
    if loose and not (_options().expose or os.environ.get("EXPLORER_EXPOSE") == "1"):
        st.error(
            "These settings are not the ones this app ships with: "
            + ", ".join(f"`{name}`" for name in loose)
            + ".\n\nWith them, others could reach the app or what it shows. Start it with the `.streamlit/config.toml` "
            "beside `streamlit_app.py`, or, if this is what you want, with `-- --expose` at the end of the command.",
            title="The app is less closed than it should be",
            icon=":material/lock_open:",
        )
        st.stop()


def pages() -> dict[str, list[StreamlitPage]]:
    """Return the pages by section, in the order of the sidebar; the first one opens by default."""
    return {
        "": [
            st.Page(_PAGES / "runs.py", title="Runs", icon=":material/table_rows:", default=True),
            _page("metrics", "Metrics", "show_chart"),
            _page("run", "Run", "description"),
            _page("compare", "Compare", "compare_arrows"),
        ],
        "Inside the model": [
            _page("layers", "Layers", "layers"),
            _page("weights", "Weights", "difference"),
            _page("distributions", "Distributions", "bar_chart"),
            _page("drift", "Drift", "grid_on"),
            _page("model", "Model", "account_tree"),
            _page("inference", "Inference", "tune"),
        ],
    }


def _page(name: str, title: str, icon: str) -> StreamlitPage:
    return st.Page(_PAGES / f"{name}.py", title=title, icon=f":material/{icon}:", url_path=links.PAGES[name])


def show(page: StreamlitPage) -> None:
    """Draw the sidebar, then the page; an error becomes a message, never a traceback."""
    with guard(f"The page {page.title}"):
        state.enter(page.url_path)
        try:
            _show(page)
        finally:
            state.leave()


def _show(page: StreamlitPage) -> None:
    try:
        infos = runs()
    except ExplorerError as error:
        _unreadable(error)
        return
    register(root(), infos)
    _sidebar(infos)
    _say_missing(infos)
    try:
        page.run()
    finally:
        _freeze(page.url_path)


def go(page: str, **values: links.Value) -> None:
    """Open another page with this state in its address; call it at the end of a script run, not in a callback."""
    st.switch_page(_PAGES / f"{page}.py", query_params=links.params(**values))


def _sidebar(infos: list[RunInfo]) -> None:
    with st.sidebar:
        if infos:
            selection.panel(root(), infos)
            st.divider()
        num_running = sum(info.state == "running" for info in infos)
        counts = f"{len(infos):,} runs" if len(infos) != 1 else "1 run"
        st.caption(f"{counts} in {esc(root(), 80)}" + (f" · {num_running} running" if num_running else ""))


def _say_missing(infos: list[RunInfo]) -> None:
    missing = selection.missing_ids(infos)
    if not missing:
        return
    named = ", ".join(esc(run_id, 60) for run_id in missing[:3]) + (" and others" if len(missing) > 3 else "")
    with st.container(border=False):
        st.warning(
            f"{named}: not in {esc(root(), 80)}. It may have been deleted (Runs, Trash), or the link was made for "
            "another root: start the app with `-- --root FOLDER`. The other runs are shown.",
            title="1 selected run is not here" if len(missing) == 1 else f"{len(missing)} selected runs are not here",
            icon=":material/link_off:",
        )
        st.button("Forget them", key="forget_missing", on_click=selection.forget_missing, args=(infos,))


def _unreadable(error: ExplorerError) -> None:
    _LOG.warning("root: %s", error)
    st.error(
        f"{esc(error, 1000)}\n\nCheck that the folder exists and that you may read it, or start the app on another "
        "one: `streamlit run streamlit_app.py -- --root FOLDER`.",
        title=f"The folder {esc(root(), 80)} cannot be read",
        icon=":material/folder_off:",
    )


@st.cache_resource(show_spinner=False)
def _freeze(page: str) -> None:
    """Leave what `page` imported out of every later collection: a rerun costs 20 ms instead of 110.

    Streamlit collects all generations after every script run; once for each page and process is enough.
    """
    gc.collect()
    gc.freeze()


@functools.lru_cache(maxsize=1)
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--root", default=None)
    parser.add_argument("--expose", action="store_true")
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--memory-limit", type=float, default=None)
    parser.add_argument("--factory", default=None)
    parser.add_argument("--factory-folder", default=None)
    return parser


def _options() -> argparse.Namespace:
    return _parser().parse_known_args(sys.argv[1:])[0]
