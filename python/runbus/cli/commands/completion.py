"""`runbus completion`."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, runs, projects and metrics.

    For bash: runbus completion bash >> ~/.bashrc. For zsh the same with ~/.zshrc. For fish:
    runbus completion fish > ~/.config/fish/completions/runbus.fish.
    """
    from runbus.cli._completion import completer

    click.echo(completer(shell, ctx.find_root().command).source())
