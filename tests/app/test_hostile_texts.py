"""Every page on a run in which every text is a stranger's: wherever Markdown is read, the text is shown, not obeyed."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from google.protobuf.json_format import MessageToDict
from streamlit.testing.v1 import AppTest
from torch import nn

from explorer import Recorder
from tests.hostile_files import NAMES

OpenApp = Callable[..., AppTest]

EVIL = '![i](http://evil.example/x.png) [a](javascript:alert(1)) <img src=x> :red[ok] $x$ `c` www.evil.example "]; DROP'
MODULE = EVIL.replace(".", "_")
# What a browser would make something of; `esc` puts a backslash or a joiner into each of them.
OBEYED = re.compile(
    r"\]\(http|\]\(javascript|(?<!\\)<img|(?<!\\)<script|(?<!\\)<svg|:red\[|:streamlit:|://evil|www\.evil"
)
PLAIN = {"code", "text", "arrowDataFrame", "arrowVegaLiteChart", "vegaLiteChart", "textArea", "textInput", "json"}
# Of other elements: what is compared, sent or shown as it is, and never read as Markdown.
PLAIN_FIELDS = {
    "id",
    "default",
    "value",
    "rawValue",
    "rawValues",
    "options",
    "url",
    "queryString",
    "placeholder",
    "page",
    "json",
}
MARKDOWN_OPTIONS = {"radio", "buttonGroup"}


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of two runs whose every name, note, error and line is hostile."""
    folder = tmp_path_factory.mktemp("evil")
    for seed in (0, 1):
        record(folder, seed)
    return folder


def record(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential()
    for place in range(3):
        model.add_module(f"{MODULE} {place}", nn.Linear(4, 4))
    model.add_module(MODULE, nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    config = {EVIL: EVIL, **dict.fromkeys(NAMES[:14], 1)}
    texts: dict[str, Any] = {"config": config, "tags": [EVIL, *NAMES[:5]], "notes": EVIL, "group": EVIL}
    with Recorder(EVIL, root=folder, quiet=True, system_every_s=None, **texts) as rec:
        rec.watch(model, optimizer, schedule=1)
        x = torch.randn(8, 4)
        for step in range(3):
            loss = model(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rec.log(
                {EVIL: float(step), f"{EVIL}/loss": 1.0 / (1 + step), "train/loss": float(loss.detach())}, step=step
            )
            rec.snapshot(model, step=step)
        rec.program(
            model, x, labels=torch.arange(8) % 4, class_names=[EVIL, *NAMES[:3]], feature_names=[EVIL, *NAMES[3:6]],
            kind="table",
        )  # fmt: skip
    rewrite(rec.path)


def rewrite(run: Path) -> None:
    """Put into the run's files what the recorder itself would not write."""
    (path,) = (run / "program").glob("*.json.gz")
    document = json.loads(gzip.decompress(path.read_bytes()))
    document["torch"], document["why"] = EVIL, [["export", EVIL]]
    document["route"] = "tape"
    for module in document["modules"]:
        module["type"] = EVIL
    for node in document["graph"]["nodes"]:
        node["source"] = f"{EVIL}.py:3"
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    (path,) = (run / "summary").glob("*.json")
    summary = json.loads(path.read_text())
    summary |= {"state": "failed", "error": {"type": EVIL, "message": EVIL, "traceback": EVIL}, "host": EVIL}
    summary |= {"warnings": [EVIL]}
    path.write_text(json.dumps(summary))
    for path in (run / "run.json", *(run / "attempts").glob("*.json")):
        found = json.loads(path.read_text())
        found |= {"git": {"commit": EVIL, "branch": EVIL, "dirty": True, "remote": EVIL}, "argv": [EVIL], "host": EVIL}
        found["environment"] = {"python": EVIL, "platform": EVIL, "versions": {EVIL: EVIL}, "devices": [EVIL]}
        path.write_text(json.dumps(found))
    for path in (run / "model").glob("*.json"):
        found = json.loads(path.read_text())
        found["skipped"] = [{"name": EVIL, "kind": EVIL, "reason": EVIL}]
        found["watch"] = EVIL
        path.write_text(json.dumps(found))


def obeyed(app: AppTest) -> Iterator[str]:
    """Texts that a browser would read as more than text, with where they are."""
    for element in (*app.main, *app.sidebar):
        proto = getattr(element, "proto", None)
        if proto is None:
            continue
        kind = str(getattr(element, "type", ""))
        name = re.sub("_(.)", lambda match: match[1].upper(), kind)
        if kind == "dataframe":  # the cells and heads of a table are plain; what is told of a column is not
            columns = json.loads(proto.columns or "{}").values()
            told = [str(column.get("help", "")) for column in columns]
            yield from (f"{kind} help: {text}" for text in told if OBEYED.search(text))
        elif name not in PLAIN:
            found = MessageToDict(proto)
            yield from (f"{kind} {where}: {text}" for where, text in texts_of(found, name) if OBEYED.search(text))


def texts_of(found: Any, kind: str, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(found, str):
        yield where, found
    elif isinstance(found, list):
        for part in found:
            yield from texts_of(part, kind, where)
    elif isinstance(found, dict):
        for name, part in found.items():
            if name in PLAIN or (name in PLAIN_FIELDS and not (name == "options" and kind in MARKDOWN_OPTIONS)):
                continue
            yield from texts_of(part, kind, f"{where}.{name}")


VIEWS: dict[str, tuple[dict[str, str], ...]] = {
    "runs": ({}, {"filter": EVIL}, {"find": EVIL}, {"cols": EVIL, "sort": EVIL}, {"runs": EVIL}),
    "metrics": ({}, {"q": EVIL}, {"x": EVIL}, {"q": "loss"}),
    "run": tuple({"tab": tab} for tab in ("Overview", "Config", "Environment", "Code", "Files", "Recorder", EVIL)),
    "compare": ({}, {"ref": EVIL}),
    "layers": ({}, {"tensor": EVIL, "with": EVIL}),
    "weights": ({}, {"tensor": EVIL, "before": EVIL, "after": EVIL}, {"tensor": f"{MODULE}.weight"}),
    "model": ({}, {"part": "Tree"}, {"module": MODULE}, {"node": "linear"}, {"module": EVIL, "opened": EVIL}),
    "distributions": ({}, {"tensor": EVIL, "kind": EVIL, "at": EVIL}, {"view": "ridges", "scale": "quantile"}),
    "drift": ({}, {"measure": EVIL, "against": EVIL}, {"tensor": EVIL}),
    "inference": ({}, {"recipe": EVIL}, {"at": EVIL, "device": EVIL, "example": EVIL}, {"look": "Python"}),
}


@pytest.mark.parametrize(("page", "query"), [(page, query) for page, found in VIEWS.items() for query in found])
def test_no_text_of_a_stranger_is_obeyed(
    page: str, query: dict[str, str], evil: Path, monkeypatch: pytest.MonkeyPatch, open_app: OpenApp
) -> None:
    monkeypatch.setenv("EXPLORER_ROOT", str(evil))
    app = open_app(page, **query)
    assert not app.exception
    assert list(obeyed(app)) == []


def test_a_text_that_is_obeyed_is_found_by_this_test() -> None:
    app = AppTest.from_string(
        "import streamlit as st\nfrom explorer.app.names import esc\n"
        f"evil = {EVIL!r}\nst.markdown(esc(evil))\nst.code(evil)\nst.selectbox('x', [evil])\n"
        "st.dataframe({'a': [1]}, column_config={'a': st.column_config.Column(evil, help=evil)})\n"
        "st.button('a', help=evil)\nst.caption(evil)\nst.metric(evil, 1)\nst.expander(evil).write('x')\n"
        "st.radio('r', [evil])\nst.tabs([evil])\nst.warning('x', title=evil)"
    ).run()
    assert len(list(obeyed(app))) == 8
