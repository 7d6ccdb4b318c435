"""Texts with a recorded tokenizer: read and typed on the page, and a strange tokenizer told while the page lives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

import explorer
from explorer.inference.edits.recipe import from_text, parse_recipe, to_text
from explorer.inference.sandbox.session import Sandbox
from tests.app.inference_runs import record
from tests.app.page_texts import assert_drawn, metric, said
from tests.small_tokenizer import SIZE, small_tokenizer

OpenApp = Callable[..., AppTest]
TEXT = "The import statement is used"


class NextToken(nn.Module):
    """The next token of each of a text."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, 8)
        self.head = nn.Linear(8, size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [N, T, size]."""
        logits: torch.Tensor = self.head(self.embedding(tokens))
        return logits


def record_text(root: Path, tokenizer: Any, size: int = SIZE) -> str:
    torch.manual_seed(0)
    tokens = torch.tensor([small_tokenizer().encode(TEXT).ids] * 2)
    return record(root, "text", NextToken(size), tokens, tokenizer=tokenizer, kind="tokens")


def query(app: AppTest, key: str) -> str:
    found = app.query_params[key]
    return found[0] if isinstance(found, list) else found


def test_the_recorded_text_is_read_and_a_typed_one_is_what_the_model_sees(root: Path, open_app: OpenApp) -> None:
    run_id = record_text(root, small_tokenizer())
    app = open_app("inference", look="Python")
    assert_drawn(app)
    assert app.text_area[0].value == TEXT
    typed = "The import statement was used <|end|> twice"
    app.text_area[0].set_value(typed).run()
    assert_drawn(app)
    assert app.text_area[0].value == typed
    recipe = from_text(query(app, "recipe"))
    run = explorer.open_run(root / run_id)
    model = explorer.load_model(run, 0)
    edited = explorer.apply_recipe(recipe, model, run, example=0)
    wanted = small_tokenizer().encode(typed).ids
    assert edited.inputs["args[0]"].tolist() == [wanted]
    found: dict[str, Any] = {}
    exec(app.code[-1].value, found)
    assert torch.equal(found["after"][""], model.run({"args[0]": torch.tensor([wanted])}).outputs[""])
    app.button(key="inference.clear").click().run()
    assert app.text_area[0].value == TEXT


def test_a_token_that_is_changed_in_the_table_is_read_in_the_text(root: Path, open_app: OpenApp) -> None:
    record_text(root, small_tokenizer())
    new = small_tokenizer().encode(" import").ids[0]
    recipe = to_text(parse_recipe([{"edit": "replace_token", "position": 0, "token": new}]))
    app = open_app("inference", recipe=recipe)
    assert_drawn(app)
    tokens = [new, *small_tokenizer().encode(TEXT).ids[1:]]
    assert app.text_area[0].value == small_tokenizer().decode(tokens, skip_special_tokens=False)


def test_the_text_goes_on_in_words(root: Path, open_app: OpenApp) -> None:
    run_id = record_text(root, small_tokenizer())
    app = open_app("inference")
    next(found for found in app.toggle if found.label == "Continue the text").set_value(True).run()
    assert_drawn(app)
    model = explorer.load_model(explorer.open_run(root / run_id), 0)
    tokens = small_tokenizer().encode(TEXT).ids
    for _ in range(40):
        tokens.append(int(model.run({"args[0]": torch.tensor([tokens])}).outputs[""][0, -1].argmax()))
    whole = small_tokenizer().decode(tokens[-80:], skip_special_tokens=False)
    assert f"{TEXT} ⟶ {whole.removeprefix(TEXT)}" in [str(code.value) for code in app.code]


def test_a_short_text_can_be_typed_over_a_long_one(root: Path, open_app: OpenApp) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(0, 5, (2, 300))
    run_id = record(root, "letters", NextToken(5), tokens, vocabulary=list("abcde"), kind="tokens")
    app = open_app("inference")
    app.text_area[0].set_value("decade").run()
    assert_drawn(app)
    assert not app.warning
    assert app.text_area[0].value == "decade"
    (edit,) = from_text(query(app, "recipe"))
    assert f"{edit.describe()} :gray[· 'decade']" in said(app)
    model = explorer.load_model(explorer.open_run(root / run_id), 0)
    scores = model.run({"args[0]": torch.tensor([[3, 4, 2, 0, 3, 4]])}).outputs[""][0, -1]
    assert metric(app, "Next token, edited").replace("\\", "").startswith(repr("abcde"[int(scores.argmax())]))
    app.button(key="inference.undo").click().run()
    assert app.text_area[0].value == "".join("abcde"[token] for token in tokens[0])


def test_classes_of_every_token_have_their_names_and_are_no_text_that_goes_on(root: Path, open_app: OpenApp) -> None:
    torch.manual_seed(0)
    tagger = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 3))
    tokens = torch.tensor([[0, 1, 2], [3, 4, 0]])
    run_id = record(root, "tags", tagger, tokens, vocabulary=list("abcde"), class_names=["noun", "verb", "other"])
    scores = explorer.load_model(explorer.open_run(root / run_id), 0).run().outputs[""][0]
    wanted = ["noun", "verb", "other"][int(scores[-1].argmax())]
    for look in ("Where it matters", "Attribution", "Sweep"):
        app = open_app("inference", look=look)
        assert_drawn(app)
        assert next(str(found.value) for found in app.metric if found.label == "Class at the end").startswith(wanted)
        assert not [found for found in app.toggle if found.label == "Continue the text"]
    assert set(app.dataframe[-1].value["prediction"]) <= {"noun", "verb", "other"}


def test_pieces_of_a_large_vocabulary_are_found_by_what_they_hold(root: Path, open_app: OpenApp) -> None:
    document = json.loads(small_tokenizer().to_str())
    document["model"]["vocab"] |= {f"unused{number}": SIZE + number for number in range(2_500)}
    tokenizer = root.parent / "tokenizer.json"
    tokenizer.write_text(json.dumps(document))
    record_text(root, tokenizer, SIZE + 2_500)
    app = open_app("inference")
    assert_drawn(app)
    app.text_input(key="inference.find_token").set_value("unused24").run()
    assert_drawn(app)
    assert f"{SIZE + 24}: 'unused24'" in said(app)
    assert "and 81 more" in said(app)


def test_without_a_tokenizer_tokens_of_several_letters_are_changed_one_by_one(root: Path, open_app: OpenApp) -> None:
    torch.manual_seed(0)
    pieces = [f"piece {number}" for number in range(6)]
    record(root, "pieces", NextToken(6), torch.tensor([[0, 1, 5]] * 2), vocabulary=pieces, kind="tokens")
    app = open_app("inference")
    assert_drawn(app)
    assert not app.text_area
    assert "A run that records its tokenizer" in said(app)
    assert "3 tokens" in [found.label for found in app.expander]


def doubling() -> dict[str, Any]:
    """Makes 2 ** 60 letters of a tilde."""
    twice = {"type": "Replace", "pattern": {"String": "~"}, "content": "~~"}
    return {**json.loads(small_tokenizer().to_str()), "normalizer": {"type": "Sequence", "normalizers": [twice] * 60}}


def test_a_tokenizer_that_cannot_be_read_leaves_the_table_of_pieces(root: Path, open_app: OpenApp) -> None:
    document = json.loads(small_tokenizer().to_str())
    path = root.parent / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": document["model"]["vocab"], "type": "strange"}}))
    record_text(root, path)
    app = open_app("inference")
    assert "The text cannot be shown" in [found.proto.title for found in app.info]
    assert "the recorded tokenizer cannot be read" in said(app)
    assert not app.text_area
    assert not app.exception
    assert not app.error
    assert f"{len(small_tokenizer().encode(TEXT).ids)} tokens" in [found.label for found in app.expander]


def test_a_tokenizer_that_takes_all_memory_ends_the_child_and_the_next_question_is_answered(root: Path) -> None:
    path = root.parent / "tokenizer.json"
    path.write_text(json.dumps(doubling()))
    run_id = record_text(root, path)
    with Sandbox(memory_bytes=2**30, time_limit_s=60) as box:
        box.add_model("0", lambda: {"run": str(root / run_id), "step": 0})
        with pytest.raises(explorer.ExplorerError):
            box.request("tokenise", {"key": "0", "text": "~"})
        tokens = small_tokenizer().encode(TEXT).ids
        assert box.request("tokenise", {"key": "0", "tokens": tokens})["text"] == TEXT


def test_a_text_that_the_tokenizer_dies_of_is_told_and_the_page_lives(
    root: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.app.shell.limits", lambda: (60.0, 2**30))
    path = root.parent / "tokenizer.json"
    path.write_text(json.dumps(doubling()))
    record_text(root, path)
    app = open_app("inference")
    assert_drawn(app)
    app.text_area[0].set_value("~").run()
    assert_drawn(app)
    assert "The model still sees the text before this one" in said(app)
    assert "recipe" not in app.query_params
    app.text_area[0].set_value(TEXT.replace("is", "was")).run()
    assert_drawn(app)
    assert "The model still sees" not in said(app)
