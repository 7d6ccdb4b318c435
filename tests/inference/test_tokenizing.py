"""Texts to tokens and back with a recorded tokenizer: as its own package does it, and strange files told."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from explorer.errors import UsageError
from explorer.inference.tokenizing import MAX_CHARS, load_tokenizer, text_of, tokens_of
from tests.small_tokenizer import small_tokenizer

CONTENT = small_tokenizer().to_str().encode()


@pytest.mark.parametrize("text", ["The import statement", "naïve ☕\n\tif x:", "<|end|>again<|end|>"])
def test_tokens_are_those_of_the_package_and_read_as_the_same_text(text: str) -> None:
    tokenizer = load_tokenizer(CONTENT)
    tokens = tokens_of(tokenizer, text)
    assert tokens == small_tokenizer().encode(text).ids
    assert text_of(tokenizer, tokens) == text
    assert (0 in tokens) == ("<|end|>" in text)


def test_no_text_and_too_long_a_text_are_refused() -> None:
    tokenizer = load_tokenizer(CONTENT)
    with pytest.raises(UsageError, match="1 to 100,000 tokens"):
        tokens_of(tokenizer, "")
    with pytest.raises(UsageError, match="at most 100,000 letters"):
        tokens_of(tokenizer, "a" * (MAX_CHARS + 1))
    with pytest.raises(UsageError, match="this one has"):
        text_of(tokenizer, tokens_of(tokenizer, "The statement") * 20_000)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"model": 1}', b"[" * 100_000, CONTENT[:-5]])
def test_what_is_no_tokenizer_is_told(content: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_tokenizer(content)


def test_a_panic_of_native_code_is_told() -> None:
    PanicException = type("PanicException", (BaseException,), {})

    class Panics:
        def encode(self, text: str, **options: Any) -> None:
            raise PanicException("index out of bounds")

    with pytest.raises(UsageError, match="its native code failed"):
        tokens_of(Panics(), "text")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="pip install tokenizers"):
        load_tokenizer(CONTENT)
