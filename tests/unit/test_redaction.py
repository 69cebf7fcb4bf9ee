"""Which names are those of secrets, and what is written in the place of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import runbus
from runbus._secrets import REDACTED, Secret, is_secret_name, redacted, redacted_text
from runbus.codec import event_to_plain
from runbus.events import NoteAdded

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = """
    password DB_PASSWORD passwd db_pwd passphrase token hf_token HF_TOKEN github.token authToken
    access_tokens api_key apiKey openai.apiKey X-Api-Key AWS_ACCESS_KEY_ID aws_secret_access_key
    private_key clientSecret secrets credentials Authorization basic_auth wandb/api_key jwt
    session_cookie
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


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://h/d?sig=SEKRET&x=1", "https://h/d?sig=***&x=1"),
        ("https://h/d?a=b&api_key=SEKRET#top", "https://h/d?a=b&api_key=***#top"),
        (
            "s3://b/k?X-Amz-Signature=SEKRET&X-Amz-Date=1",
            "s3://b/k?X-Amz-Signature=***&X-Amz-Date=1",
        ),
        ("https://h/?max_tokens=5&page=2", "https://h/?max_tokens=5&page=2"),
        ("Authorization: Bearer SEKRET", "Authorization: Bearer ***"),
        ("authorization: Basic U0VLUkVU==", "authorization: Basic ***"),
        ("curl -H 'Authorization: token SEKRET' x", "curl -H 'Authorization: token ***' x"),
        ("Bearer SEKRET.abc", "Bearer ***"),
        ("the bearer of bad news", "the bearer of bad news"),
        ("train --hub_token SEKRET --lr 0.1", "train --hub_token *** --lr 0.1"),
        ("train --api-key=SEKRET", "train --api-key=***"),
        ("train --max_tokens 5 --verbose", "train --max_tokens 5 --verbose"),
        ("uses ghp_0123456789abcdefSEKRET here", "uses *** here"),
        ("host=h password='SEKRET a' dbname=d", "host=h password=*** dbname=d"),
        ("AWS_SECRET_ACCESS_KEY=SEKRET lr=0.1 train", "AWS_SECRET_ACCESS_KEY=*** lr=0.1 train"),
        ("KeyError: Login(user='u', token='SEKRET')", "KeyError: Login(user='u', token=***)"),
        ("use_auth=True, pad_token=5, tokens=7", "use_auth=True, pad_token=5, tokens=7"),
        ("postgres://u:SEKRET@h/db?token=SEKRET", "postgres://***@h/db?token=***"),
        ('{"password": "SEKRET", "lr": "0.1"}', '{"password": "***", "lr": "0.1"}'),
        ("{'db': {'hf_token' : 'SEKRET'}}", "{'db': {'hf_token' : '***'}}"),
        ("db:\n  password: SEKRET\n- token: 'SEKRET'\n", "db:\n  password: ***\n- token: '***'\n"),
        ("The password: it was lost. Token: none", "The password: it was lost. Token: none"),
        ('password = "SEKRET"; x == y', "password = ***; x == y"),
        ("if token == previous: stop", "if token == previous: stop"),
        ("Server=h;User Id=u;Password=SEKRET;", "Server=h;User Id=u;Password=***;"),
        ("AccountName=a;AccountKey=SEKRET==;", "AccountName=a;AccountKey=***;"),
        ("curl -H 'X-Api-Key: SEKRET' h", "curl -H 'X-Api-Key: ***' h"),
        ("Cookie: session=SEKRET; b=SEKRET", "Cookie: ***"),
        ("a cookie: chocolate", "a cookie: chocolate"),
        (
            "a -----BEGIN RSA PRIVATE KEY-----\nSEKRET\n-----END RSA PRIVATE KEY----- b",
            "a *** b",
        ),
        ("-----BEGIN PRIVATE KEY-----\nSEKRET", "***"),
        ("uses pypi-" + "SEKRET" * 10, "uses ***"),
    ],
)
def test_no_secret_in_a_text_reaches_any_record_or_trace(
    text: str, kept: str, tmp_path: Path
) -> None:
    config = {"text": text, "GH_PAT": "SEKRET"}
    with runbus.init(text, text, config, home=tmp_path) as run:
        run.note(text)
        run.tag(text)
        run.params(words=["--hub_token", "SEKRET"], other=text)
        run.log_text("t", text)
    stored = runbus.open_run(run.id, home=tmp_path)

    assert redacted_text(text) == kept
    assert (stored.name, stored.config["text"], stored.tags) == (kept, kept, [kept])
    assert [one.project for one in runbus.runs(text, home=tmp_path)] == [kept]
    assert stored.params["other"] == kept
    assert [note.text for note in stored.notes] == [kept]
    plain = event_to_plain(NoteAdded(run_id="r", experiment_id="e", job="j", time_ns=1, text=text))
    assert plain["text"] == kept
    # What git says is still on its way, in a file that is renamed when it is whole.
    for path in (path for path in tmp_path.rglob("*") if path.suffix != ".new"):
        assert "sekret" not in str(path).lower()
        assert path.is_dir() or b"SEKRET" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


ISSUED = [
    "ghp_0123456789abcdef",
    "github_pat_0123456789abcdef",
    "glpat-0123456789abcdef",
    "hf_0123456789abcdef",
    "pypi-" + "a" * 50,
    "npm_" + "a" * 36,
    "AIza" + "a" * 35,
    "ya29." + "a" * 20,
    "dckr_pat_" + "a" * 20,
    "nvapi-" + "a" * 20,
    "sk_live_0123456789abcdef",
    "sk-0123456789abcdef",
    "xoxb-0123456789",
    "AKIA0123456789ABCDEF",
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
]
PARTS = st.sampled_from([*ISSUED, "--token", "-password", "Bearer", "cookie", "PRIVATE KEY", "/"])


@pytest.mark.parametrize("token", ISSUED)
def test_a_token_that_says_whose_it_is_is_replaced_alone_and_in_a_path(token: str) -> None:
    assert redacted_text(token) == REDACTED
    assert redacted_text(f"/home/{token}/x") == f"/home/{REDACTED}/x"


@given(st.lists(PARTS | st.text(max_size=8)).map("".join))
@example("--token")
def test_a_word_is_judged_alone_as_it_is_behind_a_gap(text: str) -> None:
    word = "".join(part for part in text if not part.isspace() and part not in ":=")

    assert redacted_text(f" {word}") == f" {redacted_text(word)}"


def test_a_name_is_judged_by_itself_however_long_it_is() -> None:
    assert is_secret_name("a_" * 100 + "password")
    assert not is_secret_name("a_" * 100 + "password_file")
