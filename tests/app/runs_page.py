"""What the tests of the Runs page look at."""

import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

from explorer.app.caching import listing

TABLE = "runs_table"


def table(app: AppTest):
    return app.get_by_key(TABLE).value


def names(app: AppTest) -> list[str]:
    return list(table(app)["name"])


def selected(app: AppTest) -> list[int]:
    return list(app.session_state[TABLE]["selection"]["rows"])


def link(app: AppTest, key: str) -> str | None:
    values = app.query_params.get(key)
    return values if values is None or isinstance(values, str) else values[0]


def again(app: AppTest, root: Path) -> AppTest:
    listing(str(root)).forget()
    return app.run()


def select_rows(app: AppTest, *rows: int) -> AppTest:
    app.session_state[TABLE] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return app.run()


def texts(app: AppTest) -> str:
    parts = [*app.title, *app.markdown, *app.caption, *app.error, *app.warning, *app.info, *app.code]
    titles = [alert.proto.title for alert in (*app.error, *app.warning, *app.info)]
    return "\n".join([*(part.value for part in parts), *titles]).replace("\\", "")


def wait_until(condition, timeout_s: float = 20.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
