"""The Weights page: two snapshots of any runs as a diff, a tensor opened, and snapshots to take away."""

import streamlit as st

from explorer.app import shell, weights_choices, weights_diff, weights_layer
from explorer.app.names import run_labels
from explorer.app.run_empty import nothing_recorded

st.title("Weights", anchor=False)
infos = shell.selected_runs()
if not shell.runs():
    nothing_recorded("Weights shows what changed between two snapshots of a model.")
elif not infos:
    st.info("No run is selected. Select one or more in the sidebar, or in the table of the page Runs.")
else:
    chosen = weights_choices.choose(infos, run_labels(infos))
    if chosen is not None:
        before, after = chosen
        opened = None
        with shell.guard("The comparison"):
            opened = weights_diff.draw(weights_diff.compare(before, after), before, after)
        if opened is not None:
            weights_layer.draw(before, after, *opened)
