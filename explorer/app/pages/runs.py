"""The Runs page: every run of the root in one table, to search, sort, select, edit and delete."""

import streamlit as st

from explorer.app import runs_edit, runs_grid, shell
from explorer.app.runs_controls import view_bar
from explorer.app.runs_start import demo_strip, watch, welcome

runs_edit.take_stale()  # this script run draws everything
infos = shell.runs()
if infos:
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    left.title("Runs", anchor=False)
    with right:
        runs_edit.notice()
    demo_strip(shell.root())
    runs_edit.failures()
    view_bar(infos)
    runs_grid.draw(infos)
else:
    runs_edit.notice()
    runs_edit.failures()
    welcome(shell.root())
    demo_strip(shell.root())
    watch(shell.root())
runs_edit.drawers(infos)
