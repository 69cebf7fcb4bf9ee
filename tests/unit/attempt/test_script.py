from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from runbus.abc import JobSpec, Resources
from runbus.attempt import redacted_job, render_script, secret_environment
from runbus.errors import UsageError
from runbus.events import Image

GOLDEN = Path(__file__).parents[2] / "golden" / "scripts"

JOB = JobSpec(
    experiment_id="20260101-000000-abcde",
    name="lr=0.1; rm -rf ~",
    run_id="20260101-000000-abcde-1",
    executor="local",
    argv=("python", "train.py", "--lr=0.1", "it's $HOME"),
    cwd="/home/user/my project",
    env={"lower": "a\nb", "A": "$(id)"},
    folder="/f",
    run_folder="/r",
    attempt=2,
    image=Image(env={"FROM_IMAGE": "1"}),
    bootstrap=("module load cuda", "ulimit -c 0"),
)


def test_a_script_looks_as_it_should() -> None:
    assert render_script(JOB) == (GOLDEN / "local.sh").read_text()


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=40)
@given(st.lists(TEXT, max_size=4), TEXT, TEXT)
def test_every_argument_and_value_arrives_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, arguments: list[str], value: str, name: str
) -> None:
    folder = tmp_path_factory.mktemp("job")
    show = "import os, sys; print(repr((sys.argv[1:], os.environ['lower_case'])), end='')"
    job = JobSpec(
        experiment_id="e",
        name=name,
        run_id="e-1",
        executor="local",
        argv=(sys.executable, "-X", "utf8", "-c", show, *arguments),
        cwd=str(folder),
        env={"lower_case": value},
        folder=str(folder),
        run_folder=str(folder),
    )

    script = folder / "script"
    script.write_text(render_script(job))
    done = subprocess.run(["sh", str(script)], capture_output=True, check=True)

    assert done.stdout.decode() == repr((arguments, value))


@pytest.mark.parametrize(("name", "value"), [("A B", ""), ("x;id", ""), ("é", ""), ("A", "\0")])
def test_what_a_shell_cannot_set_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match="cannot be set"):
        render_script(replace(JOB, env={name: value}))


def test_what_no_shell_can_set_a_command_can(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"env 'a\.b=…' PROGRAM"):
        render_script(replace(JOB, env={"a.b": "1"}))
    program = (sys.executable, "-c", "import os; print(os.environ['a.b'])")
    job = replace(JOB, argv=("env", "a.b=1", *program), cwd="/", env={}, bootstrap=())

    done = subprocess.run(["sh", "-c", render_script(job)], capture_output=True, check=True)

    assert done.stdout == b"1\n"


@pytest.mark.parametrize("job", [replace(JOB, argv=("a\0b",)), replace(JOB, cwd="/a\0b")])
def test_a_nul_is_refused_and_not_left_out(job: JobSpec) -> None:
    with pytest.raises(UsageError, match="NUL"):
        render_script(job)


def test_no_variable_of_the_job_parts_the_words_that_start_it() -> None:
    job = replace(JOB, argv=("echo", "hello"), cwd="/", env={"IFS": "x"}, bootstrap=())
    script = "rb_alone=/usr/bin/setsid\n" + render_script(job)

    done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=120, check=False)

    assert (done.stdout, done.stderr) == (b"hello\n", b"")


def ran(job: JobSpec, before: str = "", **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the script of a job, with lines before it."""
    script = f"{before}\n{render_script(job, **options)}"  # type: ignore[arg-type]
    return subprocess.run(["sh", "-c", script], capture_output=True, timeout=120, check=False)


def test_a_program_is_run_by_what_gives_it_a_session_with_what_limits_it() -> None:
    job = replace(
        JOB,
        argv=("train", "a b"),
        cwd="/",
        env={},
        bootstrap=(),
        resources=Resources(nice=5, cpus="0-3"),
    )

    assert ran(job, "rb_alone=echo").stdout == b"-- nice -n 5 taskset -c 0-3 train a b\n"
    assert render_script(job).splitlines()[-1].endswith(" nice -n 5 taskset -c 0-3 train 'a b'")


def test_whose_folder_is_not_there_is_told_what_to_do() -> None:
    job = replace(JOB, cwd="/no/such/folder", env={}, bootstrap=())

    silent, advised = ran(job), ran(job, advice="it's elsewhere; look $there")

    assert silent.returncode == advised.returncode == 126
    assert b"look" not in silent.stderr
    assert advised.stderr.endswith(b"\nit's elsewhere; look $there\n")


def test_what_is_given_to_a_program_lies_in_the_folder_of_its_job(tmp_path: Path) -> None:
    given = '{"text": "it\'s $HOME\\n", "%s": "é"}'
    folder = tmp_path / "a b"
    folder.mkdir()
    job = replace(
        JOB, argv=("cat", "given"), cwd=str(folder), env={}, bootstrap=(), folder=str(folder),
        given=given,
    )  # fmt: skip

    assert ran(job).stdout.decode() == given
    assert ran(replace(job, folder="/no/such/folder")).returncode == 126


def test_a_variable_is_either_plain_or_a_secret() -> None:
    job = replace(JOB, env={"A": "1", "B": "2"}, secrets={"B": "env:B"})

    with pytest.raises(UsageError, match="'B' is both a plain value and a secret"):
        render_script(job)


def test_secrets_are_handed_over_under_names_that_no_shell_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINE", "s3cret")
    job = replace(JOB, secrets={"TOKEN": "env:MINE"})

    assert secret_environment(job) == {"RUNBUS_SECRET_TOKEN": "s3cret"}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ('{"api_key": "canary", "n": 1}', '{"api_key":"***","n":1}'),
        ('{"nested": [{"api_key": "canary"}]}', '{"nested":[{"api_key":"***"}]}'),
        ("plain text", "plain text"),
        ("api_key=canary", "api_key=***"),
    ],
)
def test_what_is_given_is_shown_without_its_secrets(given: str, shown: str) -> None:
    assert redacted_job(replace(JOB, given=given)).given == shown
