"""Texts to tokens and back with a recorded `tokenizer.json`. Of anybody's making: it is read where a crash may happen.

The package `tokenizers` is optional. A file can make it panic, take all memory or loop; only the process that runs
models, which has limits and may die, calls this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from explorer.errors import UsageError

T = TypeVar("T")

MAX_CHARS: Final = 100_000
MAX_TOKENS: Final = 100_000


def load_tokenizer(content: bytes) -> Any:  # noqa: ANN401 - a tokenizers.Tokenizer
    """The tokenizer of a file.

    Raises:
        UsageError: the package is not installed, or the file is no tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UsageError(
            "typed text needs the package tokenizers, which is not installed here: `pip install tokenizers`, then "
            "start the app again"
        ) from error
    return _tried(lambda: Tokenizer.from_str(content.decode()), "the recorded tokenizer cannot be read")


def tokens_of(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401
    """The ids of a text. Special tokens are those that stand in it; none is added.

    Raises:
        UsageError: the text is too long or has no tokens, or the tokenizer fails.
    """
    if len(text) > MAX_CHARS:
        raise UsageError(f"a text of at most {MAX_CHARS:,} letters is tokenised; found {len(text):,}")
    found: list[int] = _tried(
        lambda: tokenizer.encode(text, add_special_tokens=False).ids, "the recorded tokenizer failed with this text"
    )
    if not 0 < len(found) <= MAX_TOKENS:
        raise UsageError(f"a text of 1 to {MAX_TOKENS:,} tokens was expected; this one has {len(found):,}")
    return found


def text_of(tokenizer: Any, tokens: Sequence[int]) -> str:  # noqa: ANN401
    """The text of ids, special tokens included. Raises UsageError: the tokenizer fails, or the text is too long."""
    found: str = _tried(
        lambda: tokenizer.decode(list(tokens), skip_special_tokens=False),
        "the recorded tokenizer failed with these tokens",
    )
    if len(found) > MAX_CHARS:
        raise UsageError(f"a text of at most {MAX_CHARS:,} letters is shown; this one has {len(found):,}")
    return found


def _tried(call: Callable[[], T], what: str) -> T:
    try:
        return call()
    except MemoryError:
        raise
    except Exception as error:  # the package raises nothing more special
        raise UsageError(f"{what}: {type(error).__name__}: {str(error)[:300]}") from error
    except BaseException as error:  # a panic of its native code, which is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise UsageError(f"{what}: its native code failed ({str(error)[:300]})") from error
