"""References to secrets, and the rule that tells a secret by its name."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from runbus import Secret, codec
from runbus._secrets import REDACTED, is_secret_name
from runbus.errors import SecretMissing, UsageError
from runbus.events import Image, ImageTransform


@pytest.mark.parametrize(
    "name",
    ["TOKEN", "HF_TOKEN", "DB_PASSWORD", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "apiKey"],
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["HOME", "max_tokens", "pad_token", "tokenizer", "KEYBOARD", ""])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_a_variable_may_be_named_for_short() -> None:
    assert Secret("HF_TOKEN") == Secret("env:HF_TOKEN")


@pytest.mark.parametrize(
    ("content", "value"), [(b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b"\xff", "\udcff")]
)
def test_one_line_end_at_the_end_of_a_file_does_not_count(
    tmp_path: Path, content: bytes, value: str
) -> None:
    (tmp_path / "secret").write_bytes(content)

    assert Secret(f"file:{tmp_path}/secret").value() == value


def test_nothing_that_is_written_of_a_secret_holds_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CANARY", "s3cr3t")
    secret = Secret("CANARY")

    assert secret.value() == "s3cr3t"
    assert pickle.loads(pickle.dumps(secret)) == secret
    assert b"s3cr3t" not in pickle.dumps(secret) + repr(secret).encode() + str(secret).encode()


@pytest.mark.parametrize("reference", ["s3cr3t-value", "env:", "env:a b", "file:", "vault:x", ""])
def test_what_is_no_reference_is_refused_and_not_repeated(reference: str) -> None:
    with pytest.raises(UsageError) as caught:
        Secret(reference)

    assert str(caught.value) == "a secret is env:NAME or file:PATH"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("env:RUNBUS_TEST_NOT_SET", "the variable is not set"),
        ("file:/no/such/file", "no such file or directory"),
        ("file:/proc/self/environ", "there is a NUL in it"),
    ],
)
def test_a_secret_that_cannot_be_had_says_why(reference: str, reason: str) -> None:
    with pytest.raises(SecretMissing) as caught:
        Secret(reference).value()

    assert str(caught.value) == f"no secret at {reference}: {reason}"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_trace_holds_no_text_that_goes_by_a_secrets_name() -> None:
    image = Image(env={"HF_TOKEN": "s3cr3t", "A": "1"}, secrets={"B": "env:B"})

    plain = codec.event_to_plain(ImageTransform(value=image))

    assert plain["value"]["env"] == {"HF_TOKEN": REDACTED, "A": "1"}
    assert plain["value"]["secrets"] == {"B": "env:B"}
