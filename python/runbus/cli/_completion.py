"""What a shell is told when somebody presses the tab key.

Nothing but words is ever printed: whatever else is, lands in the line that is being typed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

import click
from click import shell_completion
from click.shell_completion import get_completion_class, split_arg_string

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem, ShellComplete

__all__ = ["VARIABLE", "BashComplete", "answer_shell", "completer"]

VARIABLE = "_RUNBUS_COMPLETE"
"""The environment variable that says what a shell asks for, such as `bash_complete`."""

# Bash has split the words at "=" and ":" by now, as COMP_WORDBREAKS says; the line is whole.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$(printf %%q "$value")") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


def completer(shell: str, root: click.Command) -> ShellComplete:
    """Return what completes the words of a command for a shell."""
    made = BashComplete if shell == "bash" else get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for {shell!r}")
    return made(root, {}, "runbus", VARIABLE)


def answer_shell(root: click.Command) -> None:
    """Print the words that fit what was typed so far; nothing where something is wrong."""
    shell, _, _ = os.environ[VARIABLE].partition("_")
    with suppress(Exception):
        click.echo(completer(shell, root).complete())


class BashComplete(shell_completion.BashComplete):
    """Completes words of bash, which has split them at some characters."""

    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = words.pop() if not line[-1:].isspace() else ""
        is_quoted = line.split(" ")[-1][:1] in {'"', "'"}
        breaks = "" if is_quoted else os.environ.get("COMP_WORDBREAKS", "")
        # Bash replaces only what follows the last of these.
        self._told = 1 + max((incomplete.rfind(one) for one in "=:" if one in breaks), default=-1)
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value[self._told :]}"
