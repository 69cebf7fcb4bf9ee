"""Which names are those of secrets, and what is written in the place of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import runbus
from runbus._secrets import REDACTED, Secret, is_secret_name, redacted

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = """
    password DB_PASSWORD passwd db_pwd passphrase token hf_token HF_TOKEN github.token authToken
    access_tokens api_key apiKey openai.apiKey X-Api-Key AWS_ACCESS_KEY_ID aws_secret_access_key
    private_key clientSecret secrets credentials Authorization basic_auth wandb/api_key
"""
HARMLESS = """
    lr key keys tokens max_tokens num_tokens pad_token eos_token loss_per_token tokenizer PWD monkey
    author authors secretary PRNGKey password_file api_key_env token_type secret_name max_new_tokens
    passed keyboard_shortcut sort_key
"""


@pytest.mark.parametrize("name", SECRETS.split())
def test_the_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["", "/", *HARMLESS.split()])
def test_other_names_are_left_alone(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_are_replaced_at_any_depth_and_the_mapping_stays_as_it_is() -> None:
    values = {"lr": 0.1, "auth": {"user": "me"}, "hosts": [{"password": "x", "port": 22}]}

    assert redacted(values) == {
        "lr": 0.1,
        "auth": REDACTED,
        "hosts": [{"password": REDACTED, "port": 22}],
    }
    assert values["hosts"] == [{"password": "x", "port": 22}]


def test_whether_there_is_a_secret_is_none() -> None:
    values = {"password": None, "use_auth": True}

    assert redacted(values) == values


def test_user_and_password_in_a_url_are_a_secret() -> None:
    values = {"storage": "postgresql://me:pa%20ss@host:5432/db", "docs": "https://host/a:b@c"}

    assert redacted(values) == {
        "storage": f"postgresql://{REDACTED}@host:5432/db",
        "docs": "https://host/a:b@c",
    }


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("git clone https://ghp_abc@github.com/a/b", "git clone https://***@github.com/a/b"),
        ("ssh://git@github.com/a", "ssh://git@github.com/a"),
        ("ssh://me:pw@host and http://t@h", "ssh://***@host and http://***@h"),
        ("https://host/@me mail me@host", "https://host/@me mail me@host"),
    ],
)
def test_a_token_in_a_url_is_kept_nowhere(text: str, kept: str, tmp_path: Path) -> None:
    with runbus.init(home=tmp_path, config={"source": text}) as run:
        run.note(text)
        run.log_text("said", text)
    stored = runbus.open_run(run.id, home=tmp_path)

    assert stored.config == stored.params == {"source": kept}
    assert [note.text for note in stored.notes] == [kept]
    assert [said.text for said in stored.text("said")] == [kept]


def test_what_holds_itself_is_refused(tmp_path: Path) -> None:
    config: dict[str, object] = {}
    config["self"] = config

    with pytest.raises(ValueError, match="holds itself"):
        runbus.init(home=tmp_path, config=config)
    with (
        runbus.init(home=tmp_path) as run,
        pytest.raises(ValueError, match="holds itself"),
    ):
        run.params(config)


def test_a_secret_in_a_config_or_a_param_is_only_stood_for(tmp_path: Path) -> None:
    login = {"hub": [Secret("env:HUB_LOGIN")]}
    with runbus.init(home=tmp_path, config={"lr": 0.1, "login": login}) as run:
        run.params(where=Secret("file:/run/login"))
    stored = runbus.open_run(run.id, home=tmp_path)

    assert stored.params == {"lr": 0.1, "login/hub": [REDACTED], "where": REDACTED}
