"""The Compare page: how the selected runs differ from each other, and from one reference run."""

import streamlit as st

from explorer.app import (
    compare_choices,
    compare_curves,
    compare_metrics,
    compare_overview,
    compare_settings,
    live,
    shell,
)
from explorer.app.names import run_labels
from explorer.app.run_empty import nothing_recorded

st.title("Compare", anchor=False)
infos = shell.selected_runs()
labels = run_labels(infos)
if not shell.runs():
    nothing_recorded("Compare shows how runs differ.")
elif not infos:
    st.info("No run is selected. Select two or more in the sidebar, or in the table of the page Runs.")
else:
    st.caption("How the selected runs differ: settings, metrics against a reference run, code and environment.")
    choices = compare_choices.choose(infos, labels)
    if len(infos) == 1:
        st.info("Only one run is selected. Select another one in the sidebar, and what differs is shown.")
    infos = compare_choices.limit(infos, choices.reference)
    overview, metrics = compare_overview.overview, compare_metrics.metrics
    live.follow(infos, lambda now: overview(now, labels, choices.reference), "The list of runs")
    with shell.guard("The config"):
        compare_settings.config(infos, labels)
    live.follow(infos, lambda now: metrics(now, labels, choices), "The table of metrics")
    with shell.guard("The curves"):
        compare_curves.curves(infos, labels)
    with shell.guard("Code and environment"):
        compare_settings.code_and_environment(infos, labels)
