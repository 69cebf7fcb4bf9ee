"""What a shell is told when somebody presses the tab key behind an entrypoint."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import click
from click.shell_completion import CompletionItem, FishComplete, ZshComplete

from runbus.cli._arguments import FLAGS, VALUED
from runbus.cli._completion import BashComplete
from runbus.cli._factories import factories_for
from runbus.config import (
    Partial,
    begun_at,
    fields_of,
    members_of,
    parse_override,
    target_of,
    type_at,
)
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["VARIABLE", "answer_entry_shell", "completion_script", "possible_words"]

VARIABLE = "_RUNBUS_ENTRY_COMPLETE"
"""The environment variable that says what a shell asks an entrypoint for."""

_RUN = ("run.executor=", "run.plugins=", "run.name=", "run.project=", "run.detach=", "run.dryrun=")


def possible_words(function: Any, before: Sequence[str], begin: str) -> list[CompletionItem]:
    """Return the words that fit what was typed so far of a command line.

    Args:
        function: The entrypoint.
        before: The words before.
        begin: The beginning of the word.
    """
    config: Any = Partial(function)
    option = before[-1] if before else ""
    if option == "--factory":
        return _items(begin, _factories(function))
    if option in VALUED:
        return [CompletionItem(begin, type="file")]
    if begin.startswith("-"):
        return _items(begin, [*FLAGS, *VALUED])
    path, equals, value = begin.partition("=")
    if not equals:
        return _items(begin, _paths(config, path))
    if value.startswith("@"):
        return [CompletionItem(begin, type="file")]
    return _items(begin, (f"{path}={one}" for one in _values(config, path.rstrip("+-*/|&"))))


def _items(begin: str, words: Any) -> list[CompletionItem]:
    return [CompletionItem(one) for one in words if one.startswith(begin)]


def _paths(config: Any, path: str) -> Iterator[str]:
    """Yield the paths one step further than what was typed; those that end have an "="."""
    own = members_of(config)
    if path.startswith("run") and "run" not in own:
        yield from _RUN
    owner, dot, _ = path.rpartition(".")
    for name in _below(config, owner) if dot else own:
        whole = f"{owner}{dot}{name}"
        yield f"{whole}="
        if members_of(type_at(config, _steps(whole))):
            yield f"{whole}."
    if not dot and "executor" not in own:
        yield "executor="


def _below(config: Any, owner: str) -> list[str]:
    try:
        found = members_of(begun_at(config, _steps(owner)))
    except LookupError:  # nothing is there
        return []
    return found or members_of(type_at(config, _steps(owner)))


def _factories(function: Any) -> Iterator[str]:
    yield from factories_for(function)
    for name, field in fields_of(function).items():
        yield from (f"{name}={one}" for one in factories_for(field.type, function, name))


def _steps(path: str) -> Any:
    return parse_override(f"{path}=").path


def _values(config: Any, path: str) -> Iterator[str]:
    if path in ("executor", "run.executor") and path not in members_of(config):
        from runbus.config import ExecutorNames

        yield from ExecutorNames().known()
        return
    steps = _steps(path)
    hint = type_at(config, steps)
    yield from factories_for(hint, target_of(config), str(steps[-1]))
    yield from members_of(hint, values=True)


def _completer(shell: str, function: Any, program: str) -> Any:
    bases: dict[str, Any] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}
    if shell not in bases:
        raise UsageError(f"there is no completion for {shell!r}: write bash, zsh or fish")

    base = bases[shell]

    class Completer(base):  # type: ignore[misc, valid-type]
        def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
            return possible_words(function, args, incomplete)

    return Completer(click.Command(program), {}, program, VARIABLE)


def completion_script(shell: str, function: Any, program: str) -> str:
    """Return what makes a shell complete the words of an entrypoint.

    Raises:
        UsageError: It is not `bash`, `zsh` or `fish`.
    """
    script: str = _completer(shell, function, program).source()
    return script


def answer_entry_shell(function: Any, program: str) -> None:
    """Print the words that fit what was typed so far; nothing where something is wrong."""
    shell, _, _ = os.environ[VARIABLE].partition("_")
    with suppress(Exception):
        click.echo(_completer(shell, function, program).complete())


# A script is called by its name, by a path to it, or as the first word behind python.
class _Bash(BashComplete):
    source_template: ClassVar[str] = """\
%(complete_func)s() {
    local IFS=$'\\n' type value line="${COMP_LINE:0:COMP_POINT}"
    local -a program=("$1")
    COMPREPLY=()
    if [ "${1##*/}" != %(prog_name)s ]; then
        [ "${COMP_WORDS[1]##*/}" = %(prog_name)s ] || return
        program+=("${COMP_WORDS[1]}")
        line="${line#*"${COMP_WORDS[0]}"}"
        line="${line#"${line%%%%[![:space:]]*}"}"
    fi
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                case $value in *[=.]) compopt -o nospace ;; esac
                COMPREPLY+=("$(printf %%q "$value")")
                ;;
        esac
    done < <(COMP_LINE="$line" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "${program[@]}" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
complete -o nosort -o default -F %(complete_func)s python python3
"""


class _Zsh(ZshComplete):
    source_template: ClassVar[str] = """\
%(complete_func)s() {
    local -a program=("${words[1]}") typed=("${words[@]}") response
    local at=$((CURRENT - 1)) type key about
    if [[ ${words[1]:t} != %(prog_name)s ]]; then
        [[ ${words[2]:t} == %(prog_name)s ]] || { _default; return; }
        program+=("${words[2]}"); typed=("${words[@]:1}"); at=$((at - 1))
    fi
    response=("${(@f)$(env COMP_WORDS="${typed[*]}" COMP_CWORD=$at \\
        %(complete_var)s=zsh_complete "${program[@]}" 2>/dev/null)}")
    for type key about in ${response}; do
        case $type in
            file) _path_files -f ;;
            plain) case $key in
                *[=.]) compadd -U -S '' -- "$key" ;;
                *) compadd -U -- "$key" ;;
            esac ;;
        esac
    done
}

compdef %(complete_func)s %(prog_name)s python python3
"""


class _Fish(FishComplete):
    source_template: ClassVar[str] = """\
function %(complete_func)s
    set -l typed (commandline -opc)
    set -l line (commandline -cp)
    if test (basename -- $typed[1]) != %(prog_name)s
        set line (string replace -- $typed[1] '' $line | string trim --left)
        set program $typed[1..2]
    else
        set program $typed[1]
    end
    for one in (env %(complete_var)s=fish_complete COMP_WORDS="$line" \\
            COMP_CWORD=(commandline -t) $program 2>/dev/null)
        set -l parts (string split -m 1 ',' -- $one)
        if test $parts[1] = file
            __fish_complete_path $parts[2]
        else
            echo $parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
for one in python python3
    complete --command $one --arguments '(%(complete_func)s)' \\
        --condition 'string match -q -- "*%(prog_name)s" (commandline -opc)[2]'
end
"""
