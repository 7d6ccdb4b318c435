"""Secrets stay out of what is recorded: by the name they are stored under, and by their own shape."""

import re
from collections.abc import Sequence
from typing import Any

REDACTED = "<redacted>"

_SECRET_NAME = re.compile(r"(?i)key|token|secret|passw|credential")
# Whatever its type, a value under these names is a secret; under the others only text is: `max_tokens` is a number.
_ALWAYS_SECRET = re.compile(r"(?i)secret|passw|credential")
# Everyday names of a training that hold a word of the pattern above.
_HARMLESS = re.compile(
    r"(?i)tokeni[sz]\w*|tokens\b|(?<![a-z])(?:pad|eos|bos|unk|sep|cls|mask|image|stop)_token\b|token_type\w*"
    r"|key_?(?:points?|frames?|words?|board|values?|padding\w*|dim|size)|(?:sort|primary|metric|monitor)_key\b|monkey|turkey"
)
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@'\"]+@")
_QUERY_SECRET = re.compile(r"(?i)([?&][\w.-]*(?:key|token|secret|passw|credential|signature)[\w.-]*=)[^&\s'\"]+")
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}"
    r"|glpat-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35})"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_ASSIGNMENT = re.compile(
    r"(?i)([\w.-]*(?:key|token|secret|passw|credential)[\w.-]*['\"]?\s*[:=]\s*)(['\"])(?:(?!\2).){6,}\2"
)
# A line without any of these holds nothing that the patterns find, and most lines are without.
_SIGNS = ("key", "token", "secret", "passw", "credential", "://", "hf_", "sk-", "gh", "glpat-", "xox", "akia", "aiza")


def is_secret_name(name: str) -> bool:
    """Whether a value stored under ``name`` is to be kept out of the files.

    Example:
        >>> [is_secret_name(name) for name in ("api_key", "HF_TOKEN", "tokenizer", "max_tokens", "lr")]
        [True, True, False, False, False]
    """
    return _SECRET_NAME.search(_HARMLESS.sub("", name)) is not None


def redact_text(text: str) -> str:
    """Replace what has the shape of a secret: the user part of a URL, tokens of well-known services, private keys.

    Example:
        >>> redact_text("https://me:pa55@example.org/data.git")
        'https://example.org/data.git'
    """
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    return _SHAPES.sub(REDACTED, _QUERY_SECRET.sub(rf"\g<1>{REDACTED}", _USERINFO.sub(r"\1", text)))


def redact_code(text: str) -> str:
    """Like `redact_text`, and also the quoted text that source code assigns to a secret's name.

    Example:
        >>> redact_code('+API_KEY = "d41d8cd98f00"')
        '+API_KEY = "<redacted>"'
    """
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    return "".join(_redact_line(line) for line in text.splitlines(keepends=True))


def redact(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A copy of nested dicts, lists and plain values without secrets.

    Text under a secret's name becomes ``"<redacted>"`` at any depth, numbers only under names of passwords; other text
    goes through `redact_text`.

    Example:
        >>> redact({"lr": 0.1, "wandb": {"api_key": "d41d8cd98f", "max_tokens": 2048}})
        {'lr': 0.1, 'wandb': {'api_key': '<redacted>', 'max_tokens': 2048}}
    """
    if isinstance(value, dict):
        return {name: _redact_under(str(name), item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line without secrets: ``--token=x``, ``--token x``, ``api_key=x`` and secrets by shape.

    Example:
        >>> redact_argv(["train.py", "--hf-token", "abc", "--lr=0.1", "logger.api_key=abc"])
        ['train.py', '--hf-token', '<redacted>', '--lr=0.1', 'logger.api_key=<redacted>']
    """
    redacted = []
    follows_secret = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        if follows_secret and not argument.startswith("--"):
            redacted.append(REDACTED)
        elif equals and is_secret_name(name):
            redacted.append(f"{name}={REDACTED}")
        else:
            redacted.append(redact_text(argument))
        follows_secret = not equals and argument.startswith("-") and is_secret_name(name)
    return redacted


def _redact_under(name: str, value: Any) -> Any:  # noqa: ANN401
    if not is_secret_name(name):
        return redact(value)
    if isinstance(value, dict):
        return redact(value)
    if isinstance(value, (list, tuple)):
        return [_redact_under(name, item) for item in value]
    if isinstance(value, str):
        return REDACTED if value else value
    return value if value is None or isinstance(value, bool) or not _ALWAYS_SECRET.search(name) else REDACTED


def _redact_line(line: str) -> str:
    lower = line.lower()
    if not any(sign in lower for sign in _SIGNS):
        return line
    return redact_text(_ASSIGNMENT.sub(_redact_assignment, line))


def _redact_assignment(match: "re.Match[str]") -> str:
    name, quote = match.group(1), match.group(2)
    return f"{name}{quote}{REDACTED}{quote}" if is_secret_name(name) else match.group(0)
