"""The Runs page: every run of the root, newest first."""

import streamlit as st

from explorer.app import shell

st.title("Runs")
st.dataframe([{"run": info.name, "state": info.state} for info in shell.runs()], hide_index=True)
