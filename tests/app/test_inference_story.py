"""The guided path on models of small digits, from a drawing to the channel that it hangs on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from streamlit.testing.v1 import AppTest

import explorer
from explorer.inference.edits.recipe import from_text
from tests.app.inference_runs import record_digits, record_images
from tests.app.page_texts import assert_drawn, said

OpenApp = Callable[..., AppTest]


def query(app: AppTest, key: str) -> str:
    found = app.query_params[key]
    return found[0] if isinstance(found, list) else found


def test_other_models_have_no_path_of_digits(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", guide="true")
    assert_drawn(app)
    assert not [found for found in app.expander if found.label.startswith("Try this")]


def test_the_path_goes_from_a_drawing_over_the_steps_to_a_channel(root: Path, open_app: OpenApp) -> None:
    run_id = record_digits(root)
    app = open_app("inference", guide="true")
    assert_drawn(app)
    assert "**2.**" not in said(app)
    app.button(key="inference.story.draw").click().run()
    assert_drawn(app)
    assert query(app, "ink")

    run = explorer.open_run(root / run_id)
    models = {step: explorer.load_model(run, step) for step in (0, 3, 9)}
    rows = ["....##..", "...###..", "..#.##..", ".#..##..", ".######.", "....##..", "....##..", "....##.."]
    four = torch.tensor([[[[float(mark == "#") for mark in row] for row in rows]]])
    read = {step: int(model.run({"args[0]": four}).outputs[""].argmax()) for step, model in models.items()}
    told = re.search(r"At step (\d+) it is read as a \*\*(\d)\*\*; from step (\d+) on as a \*\*(\d)\*\*", said(app))
    assert told is not None
    misread = max(step for step in (0, 3) if read[step] != read[9])
    assert [int(part) for part in told.groups()] == [misread, read[misread], {0: 3, 3: 9}[misread], read[9]]

    app.button(key="inference.story.ablate").click().run()
    assert_drawn(app)
    (edit,) = from_text(query(app, "recipe"))
    channel = int(str(edit.to_dict()["part"]).removeprefix("channel:"))
    assert f"hangs most on channel {channel} of" in said(app)
    assert app.button(key="inference.story.ablate").disabled

    app.button(key=f"inference.story.step.{misread}").click().run()
    assert_drawn(app)
    assert query(app, "at") == str(misread)
    named = re.search(r"hangs most on channel (\d+) of (\S+)", said(app))
    assert named is not None
    app.button(key="inference.story.units").click().run()
    assert_drawn(app)
    assert query(app, "look") == "Units"
    assert f"**Channel {named[1]}** of {named[2]}" in said(app)


def test_an_edit_of_a_value_says_which_module_it_is_the_output_of(root: Path, open_app: OpenApp) -> None:
    record_digits(root)
    app = open_app("inference", guide="true")
    app.button(key="inference.story.draw").click().run()
    app.button(key="inference.story.ablate").click().run()
    named = re.search(r"hangs most on channel (\d+) of (\S+) ", said(app))
    assert named is not None
    listed = next(found.value for found in app.markdown if found.value.startswith("1. ablate"))
    assert listed.endswith(f":gray[· output of {named[2]}]")
