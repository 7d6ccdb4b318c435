"""The Metrics page: every metric of the selected runs as a curve."""

import streamlit as st

from explorer.app import metrics_options, metrics_view, shell
from explorer.app.run_empty import nothing_recorded

st.title("Metrics", anchor=False)
infos = shell.selected_runs()
if not shell.runs():
    nothing_recorded("Metrics draws the curves of runs.")
elif not infos:
    st.info("No run is selected. Select one or more in the sidebar, or in the table of the page Runs.")
else:
    running = any(info.state == "running" for info in infos)
    if not any(info.metrics for info in infos):
        st.info("The selected runs have recorded no metrics yet." + (" They appear here." if running else ""))
    options, search = metrics_options.toolbar(infos, running)
    metrics_view.charts(options, search, running)
