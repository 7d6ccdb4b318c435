"""The Run page: everything about one run that is no curve of a metric."""

import streamlit as st

from explorer.app import (
    live,
    run_attempts,
    run_code,
    run_files,
    run_header,
    run_recorder,
    run_system,
    run_tables,
    shell,
)
from explorer.app.run_empty import nothing_recorded
from explorer.reading.runs import open_run

infos = shell.runs()
if not infos:
    st.title("Run", anchor=False)
    nothing_recorded("Run shows one training in full.")
else:
    info = run_header.pick_run(infos)
    live.follow([info], lambda now: run_header.head(now[0]), "The head of the page")
    run = open_run(info)
    run_header.trouble(run)
    tabs = st.tabs(run_header.TABS, key=run_header.TAB, bind="query-params")
    for name, tab in zip(run_header.TABS, tabs, strict=True):
        if not tab.open:
            continue
        with tab, shell.guard(name):
            match name:
                case "Metrics":
                    live.follow([info], lambda now: run_tables.metrics(now[0]), "The metrics")
                case "Config":
                    run_tables.settings(info.config)
                case "Environment":
                    run_tables.environment(run.environment, run.seed, run.argv)
                case "Code":
                    run_code.code(run.git, run.git_diff, info.run_id)
                case "System":
                    run_system.system(run)
                case "Attempts":
                    run_attempts.attempts(run)
                case "Files":
                    run_files.files(info)
                case "Recorder":
                    run_recorder.recorder(info)
