"""The Metrics page."""

import streamlit as st

st.title("Metrics")
