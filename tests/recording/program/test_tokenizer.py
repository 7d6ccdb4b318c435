"""A tokenizer given to `Recorder.program`: its file is recorded whole, with the vocabulary that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from explorer import Recorder, UsageError
from explorer.inference.plain_model import read_plain_model
from explorer.recording.program import tokenizer as module
from explorer.recording.program.tokenizer import check_tokenizer
from explorer.storage.verify import verify_run
from tests.small_tokenizer import SIZE, small_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tokenizer"
    made.mkdir()
    small_tokenizer().save(str(made / "tokenizer.json"))
    return made


def recorded(root: Path, **about: Any) -> Path:
    model = nn.Sequential(nn.Embedding(SIZE, 4), nn.Linear(4, SIZE))
    with Recorder("t", root=root, quiet=True, system_every_s=None) as rec:
        rec.snapshot(model, step=0)
        rec.program(model, torch.randint(0, SIZE, (2, 5)), kind="tokens", **about)
    return rec.path


def test_a_file_is_recorded_byte_for_byte_with_its_vocabulary(tmp_path: Path, folder: Path) -> None:
    path = recorded(tmp_path / "logs", tokenizer=folder / "tokenizer.json")
    model = read_plain_model(path)
    assert model is not None
    assert model.tokenizer is not None
    assert model.tokenizer.tobytes() == (folder / "tokenizer.json").read_bytes()
    assert list(model.vocabulary) == [small_tokenizer().id_to_token(number) for number in range(SIZE)]
    assert verify_run(path) == []


def test_a_vocabulary_that_is_given_wins_and_without_a_tokenizer_there_is_none(tmp_path: Path, folder: Path) -> None:
    given = [f"piece {number}" for number in range(SIZE)]
    model = read_plain_model(recorded(tmp_path / "logs", tokenizer=folder, vocabulary=given))
    assert model is not None
    assert list(model.vocabulary) == given
    without = read_plain_model(recorded(tmp_path / "logs"))
    assert without is not None
    assert without.tokenizer is None


def test_folders_and_objects_of_both_packages_give_the_same(folder: Path) -> None:
    ways = [
        folder,
        str(folder / "tokenizer.json"),
        small_tokenizer(),
        PreTrainedTokenizerFast(tokenizer_object=small_tokenizer()),
    ]
    found = [check_tokenizer(way) for way in ways]
    assert all(one is not None for one in found)
    assert len({json.dumps(json.loads(one.content), sort_keys=True) for one in found if one is not None}) == 1


def test_a_list_of_pieces_with_scores_and_added_tokens_is_a_vocabulary(tmp_path: Path) -> None:
    document = {"model": {"vocab": [["a", -1.0], ["b", -2.0]]}, "added_tokens": [{"id": 3, "content": "<x>"}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    found = check_tokenizer(tmp_path)
    assert found is not None
    assert found.vocabulary == ["a", "b", "", "<x>"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"model": {"vocab": {}}}',
        '{"model": {"vocab": {"a": -1}}}',
        '{"model": {"vocab": {"a": 1000000000}}}',
        '{"model": {"vocab": [1, 2]}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_tokenizer_is_refused_at_once(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="tokenizer should be the path"):
        check_tokenizer(path)


def test_no_file_another_object_and_too_large_a_file_are_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        check_tokenizer(tmp_path / "nowhere.json")
    with pytest.raises(UsageError, match="found dict"):
        check_tokenizer({"a": 0})
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)
    with pytest.raises(UsageError, match="at most 1,000 bytes"):
        check_tokenizer(folder)
