"""The tokenizer of a model of texts: its `tokenizer.json`, plain data, and the vocabulary that it names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from explorer.errors import UsageError

MAX_BYTES: Final = 32 * 2**20
_FILE: Final = "tokenizer.json"
_EXPECTED: Final = (
    "tokenizer should be the path of a tokenizer.json or of a folder that holds one, a tokenizers.Tokenizer or a fast "
    "tokenizer of transformers"
)


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer as it is recorded.

    Attributes:
        content: the JSON document in UTF-8.
        vocabulary: texts by token id, as the document has them; "" where an id has none.
    """

    content: bytes
    vocabulary: list[str]


def check_tokenizer(found: Any) -> Tokenizer | None:  # noqa: ANN401 - whatever the user has
    """What the user gave as a tokenizer; None stays None. Nothing of it is run.

    Raises:
        UsageError: it is none of what is expected, cannot be read, or is larger than `MAX_BYTES`.
    """
    if found is None:
        return None
    content = _content(found)
    if len(content) > MAX_BYTES:
        raise UsageError(f"a tokenizer of at most {MAX_BYTES:,} bytes is recorded; found {len(content):,}")
    try:
        document = json.loads(content)
        texts = _texts(document)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{_EXPECTED}; what was found is no tokenizer.json ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    return Tokenizer(content, texts)


def _content(found: Any) -> bytes:  # noqa: ANN401
    if isinstance(found, str | os.PathLike):
        path = Path(found)
        path = path / _FILE if path.is_dir() else path
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise UsageError(f"{_EXPECTED}; {path} cannot be read ({error.strerror})") from error
    # A fast tokenizer of transformers holds the other kind.
    to_str = getattr(getattr(found, "backend_tokenizer", found), "to_str", None)
    if not callable(to_str):
        raise UsageError(f"{_EXPECTED}; found {type(found).__name__}")
    return str(to_str()).encode()


def _texts(document: dict[str, Any]) -> list[str]:
    """The vocabulary of a document. Raises KeyError, TypeError, AttributeError, ValueError: it has none."""
    vocabulary = document["model"]["vocab"]
    # A mapping of texts to ids, or (Unigram) pairs of text and score by id.
    by_id = {int(number): str(text) for text, number in vocabulary.items()} if isinstance(vocabulary, dict) else {
        number: str(text) for number, (text, _) in enumerate(vocabulary)
    }  # fmt: skip
    by_id |= {int(added["id"]): str(added["content"]) for added in document.get("added_tokens") or ()}
    if not by_id or min(by_id) < 0 or max(by_id) >= 10 * len(by_id) + 1_000:
        raise ValueError("its vocabulary has no ids, or strange ones")
    return [by_id.get(number, "") for number in range(max(by_id) + 1)]
