"""What the pages Run and Compare show while there is nothing to show."""

import streamlit as st

from explorer.app import shell
from explorer.app.names import esc


def nothing_recorded(purpose: str) -> None:
    """Say what the page is for, that the root holds no runs, and where to begin."""
    st.info(
        f"{purpose} There are no runs in {esc(shell.root(), 120)} yet: record a training with three lines, or start "
        "the demo with one button, on the page Runs.",
        title="Nothing recorded yet",
        icon=":material/science:",
    )
    if st.button("How to start", icon=":material/arrow_back:", type="primary"):
        shell.go("runs")
