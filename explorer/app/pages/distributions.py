"""The Distributions page: the values of one tensor over the steps and at one step, in one run or several."""

import streamlit as st

from explorer.app import distributions_choices, distributions_data, distributions_view, shell
from explorer.app.run_empty import nothing_recorded
from explorer.app.tensor_kinds import not_recorded

st.title("Distributions", anchor=False)
infos = shell.selected_runs()
if not shell.runs():
    nothing_recorded("Distributions shows the values of parameters, gradients and activations over a training.")
elif not infos:
    st.info("No run is selected. Select one or more in the sidebar, or in the table of the page Runs.")
else:
    st.caption(
        "The values of one tensor over the steps, and at the step of the slider, side by side in up to "
        f"{distributions_data.MAX_RUNS} runs."
    )
    choices = distributions_choices.choose(infos)
    if choices is None:
        not_recorded(infos, "Distributions")
    else:
        distributions_view.distributions(infos, choices)
