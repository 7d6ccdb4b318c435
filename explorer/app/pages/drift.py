"""The Drift page: how far the distribution of each layer has moved, at every sampled step."""

import functools

import streamlit as st

from explorer.app import drift_choices, drift_view, live, shell
from explorer.app.names import run_labels
from explorer.app.run_empty import nothing_recorded
from explorer.app.tensor_kinds import not_recorded

st.title("Drift", anchor=False)
infos = shell.selected_runs()
if not shell.runs():
    nothing_recorded("Drift shows which layers of a model changed, and when.")
elif not infos:
    st.info("No run is selected. Select one or more in the sidebar, or in the table of the page Runs.")
else:
    st.caption("How far the values of each layer have moved from a reference, at every sampled step.")
    choices = drift_choices.choose(infos, run_labels(infos))
    if choices is None:
        not_recorded(infos, "Drift")
    else:
        live.follow(infos, functools.partial(drift_view.drift, choices=choices), "The drift")
