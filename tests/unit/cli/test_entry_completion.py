"""The tab key behind an entrypoint: parameters, values, factories, executors, options, files."""

from __future__ import annotations

import dataclasses
import enum
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from runbus import Config
from runbus.cli import factory
from runbus.cli._entry_completion import possible_words


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Layer:
    units: int = 1


@dataclasses.dataclass
class Net:
    width: int = 1
    color: Color = Color.RED
    layers: list[Layer] = dataclasses.field(default_factory=lambda: [Layer()])


@factory
def small_net() -> Config[Net]:
    return Config(Net)


def fit(net: Net, kind: Literal["adam", "sgd"] = "adam", flag: bool | None = None) -> None: ...


POSSIBLE = [
    ([], "", ["net=", "net.", "kind=", "flag=", "executor="]),
    ([], "ne", ["net=", "net."]),
    ([], "net.", ["net.width=", "net.color=", "net.layers="]),
    ([], "net.layers[0].", ["net.layers[0].units="]),
    ([], "net=", ["net=small_net"]),
    ([], "net.color=B", ["net.color=BLUE"]),
    (["kind=sgd"], "kind=a", ["kind=adam"]),
    ([], "flag=", ["flag=true", "flag=false", "flag=none"]),
    ([], "executor=l", ["executor=local"]),
    ([], "run.e", ["run.executor="]),
    ([], "run.executor=s", ["run.executor=slurm", "run.executor=ssh"]),
    ([], "--to-j", ["--to-json"]),
    (["--factory"], "net=", ["net=small_net"]),
    ([], "gone.", []),
]


@pytest.mark.parametrize(("before", "begin", "words"), POSSIBLE)
def test_what_fits_is_offered(before: list[str], begin: str, words: list[str]) -> None:
    assert [one.value for one in possible_words(fit, before, begin)] == words


@pytest.mark.parametrize("words", [["--yaml", ""], ["--load", "a"], ["net=@a"]])
def test_files_are_left_to_the_shell(words: list[str]) -> None:
    (found,) = possible_words(fit, words[:-1], words[-1])
    assert found.type == "file"


SCRIPT = f"""#!{sys.executable}
import runbus.cli
def fit(width: int = 1, kind: str = "a", wide: bool = False) -> None: ...
if __name__ == "__main__":
    runbus.cli.main(fit)
"""


@pytest.mark.parametrize("program", ["./fit.py", f"{sys.executable} fit.py"])
def test_bash_completes_a_script_however_it_is_called(program: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.py"
    path.write_text(SCRIPT)
    path.chmod(0o755)

    def pressed(line: str) -> tuple[str, str]:
        words = shlex.split(line)
        shown = f"""
            eval "$({program} --completion bash)"
            COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_WORDS=({shlex.join(words)})
            COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
            _fitpy_completion {words[0]}
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(
            ["bash", "-c", shown], capture_output=True, text=True, cwd=tmp_path, check=False,
            env=os.environ,
        )  # fmt: skip
        return done.stdout.strip(), done.stderr.replace("compopt: not currently", "")

    assert pressed(f"{program} w")[0] == "width=\nwide="
    assert pressed(f"{program} wide=t")[0] == "true"
    assert pressed(f"{sys.executable} other.py w") == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_what_the_script_prints(shell: str, tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text(SCRIPT)
    words = [sys.executable, "fit.py", "--completion", shell]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "fit.py" in done.stdout
    assert f"_RUNBUS_ENTRY_COMPLETE={shell}_complete" in done.stdout
    if (found := shutil.which(shell)) is not None:
        (tmp_path / "completion").write_text(done.stdout)
        subprocess.run([found, "-n", tmp_path / "completion"], check=True)
