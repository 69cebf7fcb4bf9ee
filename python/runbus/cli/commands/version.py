"""`runbus version`."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("version")
@click.option("-v", "--verbose", is_flag=True, help="Print what a bug report needs.")
def command(verbose: bool) -> None:
    """Print the version."""
    import runbus

    click.echo(f"runbus {runbus.__version__}")
    if not verbose:
        return
    import platform
    import sys
    from importlib.metadata import PackageNotFoundError, version

    from runbus._home import Home
    from runbus.metrics import BUILD_PROFILE

    facts = {
        "build": BUILD_PROFILE,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "home": Home().path,
    }
    for name in ("anyio", "click", "msgspec", "rich", "numpy", "plotille"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    click.echo("\n".join(f"{label:<10}{text}" for label, text in facts.items()))
