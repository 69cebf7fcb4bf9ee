"""What is private to a package stays there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "python"


def taken(path: Path) -> Iterator[str]:
    """Yield what a module takes from another package of ours although its name is private."""
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    package = module.split(".")[1]
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            root, *parts = name.split(".")
            if root != "runbus" or not parts or parts[0] == package:
                continue
            # The modules beside the packages, such as `runbus._files`, are there for all of them.
            if any(part.startswith("_") and not part.endswith("__") for part in parts[1:]):
                yield f"{module}: {name}"


def test_no_private_name_is_imported_across_packages() -> None:
    files = list((SOURCE / "runbus").rglob("*.py"))
    assert len(files) > 200

    found = sorted(one for path in files for one in taken(path))

    assert found == []


def test_a_private_name_of_another_package_would_be_found(tmp_path: Path) -> None:
    module = SOURCE / "runbus" / "jobs" / "_made_up.py"

    class Made(type(module)):  # type: ignore[misc]
        def read_text(self, *_: object, **__: object) -> str:
            return (
                "from runbus.bus._bus import check_bus\nfrom runbus.abc import _grace\n"
                "import runbus.attempt._logs\nfrom runbus._files import write_file\n"
                "from runbus.jobs._state import fold\nfrom runbus import __version__\n"
            )

    assert [one.partition(": ")[2] for one in taken(Made(module))] == [
        "runbus.bus._bus.check_bus", "runbus.abc._grace", "runbus.attempt._logs",
    ]  # fmt: skip
