"""The Layers page: what happened inside the model, layer by layer."""

import streamlit as st

from explorer.app import (
    layers_cka,
    layers_compare,
    layers_flow,
    layers_image,
    layers_overview,
    layers_path,
    layers_ratio,
    layers_spectra,
    live,
    shell,
)
from explorer.app.layers_choices import TAB, TABS, pick_run
from explorer.app.layers_read import read_layers
from explorer.app.names import run_labels
from explorer.app.run_empty import nothing_recorded

st.title("Layers", anchor=False)
infos = shell.selected_runs()
if not shell.runs():
    nothing_recorded("Layers shows how each layer of a model learns.")
elif not infos:
    st.info("No run is selected. Select one or more in the sidebar, or in the table of the page Runs.")
else:
    labels = run_labels(infos)
    info = pick_run(infos, labels)
    tabs = st.tabs(list(TABS), key=TAB, bind="query-params")
    for name, tab in zip(TABS, tabs, strict=True):
        if not tab.open:
            continue
        with tab, shell.guard(name):
            st.caption(TABS[name])
            match name:
                case "Overview":
                    live.follow(infos, lambda now: layers_overview.overview(info.run_id, now, labels), "The layers")
                case "Update ratio":
                    live.follow([info], lambda now: layers_ratio.ratio(read_layers(now[0], labels[info.run_id])), name)
                case "Gradient flow":
                    live.follow([info], lambda now: layers_flow.flow(read_layers(now[0], labels[info.run_id])), name)
                case "Compare":
                    live.follow(infos, lambda now: layers_compare.compare(info.run_id, now, labels), name)
                case "Weights":
                    live.follow([info], lambda now: layers_image.image(now[0]), name)
                case "Spectra":
                    live.follow([info], lambda now: layers_spectra.spectra(now[0]), name)
                case "Path":
                    live.follow([info], lambda now: layers_path.path(now[0]), name)
                case "CKA":
                    live.follow(infos, lambda now: layers_cka.similarity(info.run_id, now, labels), name)
