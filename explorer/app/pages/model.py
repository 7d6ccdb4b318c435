"""The Model page: the architecture as a graph and as a tree, with what was recorded of it."""

import streamlit as st

from explorer.app import model_view, shell
from explorer.app.names import run_labels
from explorer.app.run_empty import nothing_recorded

st.title("Model", anchor=False)
infos = shell.selected_runs()
if not shell.runs():
    nothing_recorded("Model shows the architecture of a run's model, and what was recorded of each part.")
elif not infos:
    st.info("No run is selected. Select one or more in the sidebar, or in the table of the page Runs.")
else:
    labels = run_labels(infos)
    model_view.view(model_view.pick_run(infos, labels), infos, labels)
