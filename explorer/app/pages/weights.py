"""The Weights page: two snapshots of any runs as a diff, a tensor opened, and snapshots to take away."""

import functools

import streamlit as st

from explorer.app import live, shell, weights_choices, weights_view
from explorer.app.names import run_labels
from explorer.app.run_empty import nothing_recorded

st.title("Weights", anchor=False)
infos = shell.selected_runs()
if not shell.runs():
    nothing_recorded("Weights shows what changed between two snapshots of a model.")
elif not infos:
    st.info("No run is selected. Select one or more in the sidebar, or in the table of the page Runs.")
else:
    st.caption(weights_view.ABOUT)
    live.follow(infos, functools.partial(weights_view.weights, labels=run_labels(infos)), weights_choices.WHAT)
