"""What is said to a machine, tried on the shells that are here, and what its answers mean."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from runbus.attempt import WRAPPER, wrapper_program
from runbus.executors._look import Answer, Look, look_script, parse_look
from runbus.executors._paths import at_home, marked
from runbus.executors._placement import Placement
from runbus.executors._shell import (
    Wrapper,
    files_script,
    install_script,
    parse_files,
    parse_prepared,
    prepare_script,
    quote,
)
from runbus.executors._submission import submit_script
from runbus.testing._waiting import wait_until

SHELLS = [
    pytest.param(["dash"], id="dash"),
    pytest.param(["bash"], id="bash"),
    pytest.param(["busybox", "sh"], id="busybox", marks=pytest.mark.services),
]


def said(shell: list[str], script: bytes) -> bytes:
    done = subprocess.run(
        [*shell, "-s"], input=script, capture_output=True, timeout=120, check=True
    )
    return done.stdout


def placed(folder: Path) -> Placement:
    return Placement(
        host="h", folder=str(folder / "job"), run_folder=str(folder / "run"), local_run_folder="."
    )


@settings(max_examples=50)
@given(st.binary(max_size=60).filter(lambda text: b"\0" not in text))
def test_any_word_arrives_as_it_is(text: bytes) -> None:
    assert said(["sh"], b"printf %s " + quote(text)) == text


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", ["plain", "a b", "it's", "$(id)", "new\nline", "-x", "ünï"])
def test_a_look_tells_what_lies_there(shell: list[str], tmp_path: Path, name: str) -> None:
    place = placed(tmp_path / name)
    (tmp_path / name / "job").mkdir(parents=True)
    (tmp_path / name / "run" / "metrics").mkdir(parents=True)
    (tmp_path / name / "job" / "stdout.log").write_bytes(b"12345")
    (tmp_path / name / "job" / "stderr.log").touch()
    (tmp_path / name / "job" / "exit.json").write_text('{"status":0}\n')
    (tmp_path / name / "run" / "metrics" / "00ab-1.journal").write_bytes(b"123")
    (tmp_path / name / "run" / "metrics" / "odd\nname.journal").write_bytes(b"1")
    (tmp_path / name / "run" / "records").mkdir()
    (tmp_path / name / "run" / "records" / "00ab-1.journal").write_bytes(b"1234")
    missing = placed(tmp_path / "missing")

    answer = parse_look(said(shell, look_script([missing, place, missing])), 3)

    assert answer.looks == [
        Look(),
        Look(
            there=True,
            exit=b'{"status":0}',
            files={
                "stdout.log": 5,
                "metrics/00ab-1.journal": 3,
                "records/00ab-1.journal": 4,
            },
        ),
        Look(),
    ]
    assert answer.uptime > 0
    assert answer.boot


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", ["a b", "it's", "new\nline", "ünï", "-x"])
def test_the_files_of_a_folder_are_listed(shell: list[str], tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    (folder / name).mkdir(parents=True)
    (folder / name / name).touch()
    (folder / "top").touch()
    (folder / "link").symlink_to("/etc/passwd")
    path = os.fsencode(folder)

    assert sorted(parse_files(said(shell, files_script(path)), path)) == sorted(
        [f"{name}/{name}", "top"]
    )


@pytest.mark.parametrize("lie", [b"/p/./../x\0", b"/etc/passwd\0", b"/p/./a/../../b\0", b"\0"])
def test_files_that_lie_outside_are_refused(lie: bytes) -> None:
    with pytest.raises(ValueError, match="outside"):
        parse_files(lie, b"/p")


@pytest.mark.parametrize("shell", SHELLS)
def test_many_jobs_are_told_apart(shell: list[str], tmp_path: Path) -> None:
    places = [placed(tmp_path / str(number)) for number in range(150)]
    for number in range(0, 150, 3):
        (tmp_path / str(number) / "job").mkdir(parents=True)
        (tmp_path / str(number) / "job" / "stderr.log").write_bytes(b"x" * (number + 1))

    answer = parse_look(said(shell, look_script(places)), 150)

    sizes = [look.files.get("stderr.log") for look in answer.looks]
    assert sizes == [number + 1 if number % 3 == 0 else None for number in range(150)]


def test_an_answer_about_other_jobs_is_none() -> None:
    with pytest.raises(ValueError, match="0 jobs of 1"):
        parse_look(b"=boot 1.0\nZ\n", 1)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("base", ["~", "~/a b", "/abs/it's"])
def test_the_home_is_found(shell: list[str], tmp_path: Path, base: str) -> None:
    home = str(tmp_path / "a\nline")
    machine = parse_prepared(said(shell, b"HOME=" + quote(home) + prepare_script(base, "w.sh")))

    assert machine.base == base.replace("~", home)
    assert machine.home == home
    assert machine.machine == os.uname().machine
    assert machine.detach in {"setsid", "nohup"}
    assert (machine.has_script, machine.has_program, machine.version) == (False, False, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_machine_tells_whether_it_has_what_samples_beside_jobs(
    shell: list[str], tmp_path: Path
) -> None:
    asked = prepare_script(str(tmp_path), "w.sh", sampler="it's s")
    assert not parse_prepared(said(shell, asked)).has_sampler
    (tmp_path / "it's s").write_bytes(b"")
    assert parse_prepared(said(shell, asked)).has_sampler


SAYS = b"#!/bin/sh\necho 1.2\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (None, 0, (False, "")),
        (SAYS, 0o700, (True, "1.2")),
        (SAYS, 0o600, (True, "")),
        (SAYS[:-1], 0o700, (False, "")),
    ],
    ids=["missing", "whole", "not to be started", "damaged"],
)
def test_a_machine_tells_what_of_the_wrapper_it_has(
    shell: list[str],
    tmp_path: Path,
    content: bytes | None,
    mode: int,
    expected: tuple[bool, str],
) -> None:
    if content is not None:
        (tmp_path / "it's w").write_bytes(content)
        (tmp_path / "it's w").chmod(mode)
    sha256 = hashlib.sha256(SAYS).hexdigest()

    machine = parse_prepared(said(shell, prepare_script(str(tmp_path), "w.sh", "it's w", sha256)))

    assert (machine.has_program, machine.version) == expected


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("content", [SAYS, SAYS[:-1]], ids=["whole", "damaged"])
def test_a_program_is_put_in_its_place_only_if_it_is_whole(
    shell: list[str], tmp_path: Path, content: bytes
) -> None:
    part, path = tmp_path / "a b.part-1", tmp_path / "a b"
    part.write_bytes(content)
    script = install_script(str(part), str(path), hashlib.sha256(SAYS).hexdigest())

    answer = subprocess.run([*shell, "-s"], input=script, capture_output=True, timeout=120).stdout

    assert answer == (b"1.2\n" if content == SAYS else b"")
    assert os.listdir(tmp_path) == (["a b"] if content == SAYS else [])


@pytest.mark.parametrize(
    "answer",
    [b"", b"/b\0", b"b\0/h\0nohup\0022\0x\0\0\0\0\0", b"/b\0/h\0evil\0022\0x\0\0\0\0\0",
     b"/b\0/h\0env\0rm\0x\0\0\0\0\0", b"/b\0/h\0env\0022\0x\0yes\0\0\0\0"],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"shell|path"):
        parse_prepared(answer)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~/a", "/h/a"),
        ("~", "/h"),
        ("$HOME/a", "/h/a"),
        ("a", "/h/a"),
        ("/a", "/a"),
        ("~ann/a", None),
    ],
)
def test_a_home_is_put_in_without_a_shell_where_it_is_the_login_s(
    path: str, expected: str | None
) -> None:
    assert at_home(marked(path), "/h") == expected
    assert at_home(marked("~/a"), "") is None


@pytest.mark.parametrize("shell", SHELLS)
def test_a_submit_that_is_repeated_starts_one_job(shell: list[str], tmp_path: Path) -> None:
    place = placed(tmp_path / "a'b")
    wrapper = tmp_path / "w.sh"
    os.mkfifo(tmp_path / "done")  # it continues by itself: nobody could wait for it otherwise
    wrapper.write_text(f'echo "$1 $2" >>"$2/ran"; echo >"{tmp_path / "done"}"\n')
    words = Wrapper(words=b"sh " + quote(str(wrapper)), is_program=False, detach="nohup", pipe="")
    files = {"request.sh": b"the script", "request": b"the\n\xfffields"}
    script = submit_script(place, files, b"{}", words, "022")

    first, second = (said(shell, script) for _ in range(2))

    assert (first, second) == (b"\nstarted\n", b"\nexists\n")
    assert (tmp_path / "done").read_text() == "\n"
    folder = tmp_path / "a'b" / "job"
    assert (folder / "request.sh").read_text() == "the script"
    assert (folder / "request").read_bytes() == b"the\n\xfffields"
    # What was started outlives the shell, so nobody can wait for it but by what it writes.
    wait_until(lambda: (folder / "ran").exists() and (folder / "ran").read_text())
    assert (folder / "ran").read_text() == f"run {folder}\n"


def wrapper_there(kind: str, tmp_path: Path) -> Wrapper:
    """Return what a shell starts: the program, or the script."""
    if kind == "script":
        return Wrapper(words=b"sh " + quote(WRAPPER), is_program=False, detach="setsid", pipe="")
    program = wrapper_program(tmp_path / "it's home")
    assert program is not None
    pipe = str(tmp_path / ("it's a pipe" if kind == "program" else "no folder/pipe"))
    return Wrapper(words=quote(program), is_program=True, detach="nohup", pipe=pipe)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("kind", ["program", "program without a pipe", "script"])
def test_a_job_goes_on_in_a_session_that_is_not_the_shell_s(
    shell: list[str], kind: str, tmp_path: Path
) -> None:
    place = placed(tmp_path / "a'b")
    os.mkfifo(tmp_path / "done")
    job = f"cut -d' ' -f6 /proc/$PPID/stat >'{tmp_path}/session'; echo >'{tmp_path}/done'\n"
    wrapper = wrapper_there(kind, tmp_path)
    script = submit_script(place, {"request.sh": job.encode()}, b"{}", wrapper, "022")

    with subprocess.Popen(
        [*shell, "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        first, _ = process.communicate(script, timeout=120)
    assert first == b"\nstarted\n"
    assert (tmp_path / "done").read_text() == "\n"
    assert int((tmp_path / "session").read_text()) != process.pid
    assert said(shell, script) == b"\nexists\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("kind", ["program", "program without a pipe", "script"])
def test_a_folder_that_cannot_be_made_is_said_and_nothing_runs(
    shell: list[str], kind: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    place = placed(tmp_path / "file" / "below")

    answer = said(shell, submit_script(place, {}, b"{}", wrapper_there(kind, tmp_path), "022"))

    assert answer.rpartition(b"\n")[0].rpartition(b"\n")[2].startswith(b"failed")
    assert b"not a directory" in answer.lower()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("kind", ["program", "program without a pipe", "script"])
def test_a_file_that_cannot_be_written_leaves_nothing_of_the_job(
    shell: list[str], kind: str, tmp_path: Path
) -> None:
    place = placed(tmp_path / "a'b")
    (tmp_path / "a'b" / "run" / "run.json").mkdir(parents=True)
    files = {"limit": b"1.000 10\n", "request.sh": b"exit 0"}

    answer = said(shell, submit_script(place, files, b"{}", wrapper_there(kind, tmp_path), "022"))

    assert answer.rpartition(b"\n")[0].rpartition(b"\n")[2].startswith(b"failed")
    assert b"is a directory" in answer.lower()
    assert not Path(place.folder).exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_program_that_somebody_has_removed_is_said_and_nothing_runs(
    shell: list[str], tmp_path: Path
) -> None:
    place, wrapper = placed(tmp_path / "a'b"), wrapper_there("program", tmp_path)
    gone = replace(wrapper, words=quote(str(tmp_path / "gone")))

    answer = said(shell, submit_script(place, {}, b"{}", gone, "022"))

    assert answer == b"\nfailed the wrapper program there cannot be run any more\n"
    assert not Path(place.folder).exists()
    # Of what was submitted before, that nothing runs would not be true.
    Path(place.folder).mkdir(parents=True)
    assert said(shell, submit_script(place, {}, b"{}", gone, "022")) == b"\nexists\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("kind", ["program", "program without a pipe"])
def test_a_machine_without_files_or_processes_to_spare_is_busy(
    shell: list[str], kind: str, tmp_path: Path
) -> None:
    place, wrapper = placed(tmp_path / "a'b"), wrapper_there(kind, tmp_path)
    files = {"request.sh": b"exit 0"}
    # Its own three files, two more, and none for the job.
    poor = b'sh -c \'ulimit -n 5; exec "$0" "$@"\' %s' % wrapper.words

    answer = said(shell, submit_script(place, files, b"{}", replace(wrapper, words=poor), "022"))

    verdict = answer.rpartition(b"\n")[0].rpartition(b"\n")[2]
    assert verdict == b"busy cannot write %s/submitted: too many open files" % place.folder.encode()
    assert not Path(place.folder).exists()
    assert said(shell, submit_script(place, files, b"{}", wrapper, "022")) == b"\nstarted\n"


BEGAN = b'{"pid":7,"start":500,"boot":"b","host":"h","uptime":1.0}'
STAT = b"7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 500 0"


@pytest.mark.parametrize(
    ("look", "gone"),
    [
        (Look(there=True, pid=BEGAN, stat=STAT), False),
        (Look(there=True, pid=BEGAN, stat=STAT.replace(b" 500 ", b" 501 ")), True),
        (Look(there=True, pid=BEGAN, stat=STAT.replace(b") S", b") Z")), True),
        (Look(there=True, pid=BEGAN), True),
        (Look(there=True, pid=BEGAN.replace(b'"b"', b'"c"'), stat=STAT), True),
        (Look(there=True, pid=BEGAN, stat=b"7 (torn"), False),
        (Look(there=True, pid=BEGAN[:20], submitted=b"b 99.5"), False),
        (Look(there=True, submitted=b"b 99.5"), False),
        (Look(there=True, submitted=b"b 20.5"), True),
        (Look(there=True, submitted=b"c 99.5"), True),
        (Look(), True),
    ],
)
def test_only_what_cannot_be_alive_is_gone(look: Look, gone: bool) -> None:
    assert look.is_gone(Answer(uptime=100.0, boot="b", looks=[])) is gone
