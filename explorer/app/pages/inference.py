"""The Inference page: the model of any recorded step, run again and edited, without its author's code."""

import streamlit as st

from explorer.app import inference_choices, inference_view

st.title("Inference", anchor=False)
scene = inference_choices.choose()
if scene is not None:
    inference_view.view(scene)
