"""Experiment Explorer, the app: `streamlit run streamlit_app.py -- --root logs`."""

import streamlit as st

from explorer.app import shell

shell.configure()
shell.show(st.navigation(shell.pages()))
