import json

import pytest

from explorer.recording.redaction import REDACTED, is_secret_name, redact, redact_argv, redact_code, redact_text

SECRET = "d41d8cd98f00b204"


@pytest.mark.parametrize(
    "name", ["key", "api_key", "apiKey", "WANDB_API_KEY", "token", "hf_token", "password", "passwd", "client_secret"]
)
def test_names_of_secrets_are_recognised(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["lr", "tokenizer", "max_tokens", "num_key_value_heads", "pad_token", "keypoints", "sort_key", "key_dim"]
)
def test_names_that_every_language_model_has_are_no_secrets(name):
    assert not is_secret_name(name)


def test_a_secret_is_found_at_any_depth():
    config = {"logger": [{"wandb": {"api_key": SECRET, "project": "digits"}}], "keys": {"api_keys": [SECRET, SECRET]}}
    assert SECRET not in json.dumps(redact(config))
    assert redact(config)["logger"][0]["wandb"]["project"] == "digits"


def test_numbers_under_the_name_of_a_token_are_kept_and_numeric_passwords_are_not():
    assert redact({"eos_token_id": 2, "key": 7, "use_token": True, "password": 1234}) == {
        "eos_token_id": 2,
        "key": 7,
        "use_token": True,
        "password": REDACTED,
    }


def test_values_without_secrets_come_back_equal():
    config = {"lr": 1e-3, "layers": [1, 2, {"name": "conv"}], "note": None, "url": "https://example.org/a?page=2"}
    assert redact(config) == config


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://me:pa55@example.org/data.git", "https://example.org/data.git"),
        ("https://ghp_token@example.org/data.git", "https://example.org/data.git"),
        ("git@example.org:team/code.git", "git@example.org:team/code.git"),
        ("s3://bucket/data?access_key=abcdef&x=1", f"s3://bucket/data?access_key={REDACTED}&x=1"),
        ("use hf_" + "a" * 34, f"use {REDACTED}"),
        ("AKIA" + "A" * 16, REDACTED),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", f"{REDACTED}\nrest"),
    ],
)
def test_a_secret_is_recognised_by_its_shape(text, kept):
    assert redact_text(text) == kept


def test_a_command_line_keeps_everything_but_its_secrets():
    argv = ["train.py", "--api-key", SECRET, f"--token={SECRET}", f"logger.secret={SECRET}", "--lr", "0.1", "--verbose"]
    assert redact_argv(argv) == [
        "train.py",
        "--api-key",
        REDACTED,
        f"--token={REDACTED}",
        f"logger.secret={REDACTED}",
        "--lr",
        "0.1",
        "--verbose",
    ]


def test_source_code_loses_the_secrets_it_assigns_and_nothing_else():
    diff = f"+API_KEY = \"{SECRET}\"\n+    'password': '{SECRET}',\n+tokenizer = \"gpt2-medium\"\n-lr = 0.1\n"
    redacted = redact_code(diff)
    assert SECRET not in redacted
    assert '+tokenizer = "gpt2-medium"\n-lr = 0.1\n' in redacted
