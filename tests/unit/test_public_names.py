"""What `import runbus` offers is decided here, on purpose."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

import runbus

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "public.md").read_text()
PUBLIC = re.findall(r"^\| `(runbus[.\w]*)` \|", PAGE, re.MULTILINE)

PACKAGES = [
    "abc",
    "attempt",
    "bus",
    "catalog",
    "config",
    "events",
    "executors",
    "experiment",
    "hub",
    "jobs",
    "kernel",
    "metrics",
    "packaging",
    "plugins",
    "supervisor",
    "transports",
]


def test_every_public_name_can_be_had() -> None:
    assert sorted(runbus.__all__) == runbus.__all__
    for name in runbus.__all__:
        assert getattr(runbus, name) is not None


def test_every_public_name_can_be_had_without_the_extras() -> None:
    code = """
import sys
from runbus.errors import UsageError
sys.modules["asyncssh"] = None
from runbus import *
try:
    SSHTunnel("host")
except UsageError as error:
    print(error, error.hint)
"""
    code = code.replace("import sys", "import sys\nfrom runbus.errors import UsageError")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == (
        "SSH needs the package asyncssh, which is not installed pip install 'runbus[ssh]'\n"
    ), done.stderr


LAZY = [
    "", "abc", "api", "bus", "config", "errors", "events", "executors", "hub", "kernel", "metrics",
    "transports",
]  # fmt: skip


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_see_the_names_that_are_imported_on_use(package: str) -> None:
    module = importlib.import_module(f"runbus.{package}".rstrip("."))
    tree = ast.parse(Path(str(module.__file__)).read_text())
    checked = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        (alias.name, str(node.module))
        for block in checked
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy_names"
    )
    lazy = {
        (name, resolve_name(home, module.__name__))
        for home, names in ast.literal_eval(call.args[1]).items()
        for name in names
    }

    assert lazy == imported
    modules = {name for name, home in lazy if home == module.__name__}
    assert {name for name, _ in lazy} - modules <= {*module.__all__} <= {*dir(module)}
    # What a star imports are no modules: a script has a `config` of its own.
    assert modules.isdisjoint(module.__all__)


def test_the_packages_that_the_docs_call_public_are_attributes_that_nobody_has_to_import() -> None:
    told = re.findall(r"^\| `runbus\.(\w+)` \|", PAGE, re.MULTILINE)
    code = "import runbus, sys; print(len([m for m in sys.modules if m.startswith('runbus')]))\n"
    code += "".join(f"runbus.{name}.__name__\n" for name in told)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (len(told), done.stdout, done.stderr) == (16, "2\n", "")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'runbus' has no attribute 'nothing'"):
        _ = runbus.nothing


def test_a_name_is_looked_for_once() -> None:
    module = importlib.import_module("runbus.transports")
    vars(module).pop("LocalTunnel", None)
    assert module.LocalTunnel is module.LocalTunnel
    assert "LocalTunnel" in vars(module)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_of_a_package_are_sorted_and_there(package: str) -> None:
    module = importlib.import_module(f"runbus.{package}")
    names = module.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(module, name) is not None


FOR_PLUGINS = {"runbus", *(f"runbus.{name}" for name in
    ("abc", "attempt", "errors", "events", "plugins", "testing"))}  # fmt: skip


def imports(code: str) -> set[tuple[str, str]]:
    """Return what code takes from runbus: modules and names."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return {
        (str(node.module), alias.name)
        for node in nodes
        for alias in node.names
        if str(node.module).partition(".")[0] == "runbus"
    }


def test_the_docs_import_only_what_is_public() -> None:
    for page in [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").iterdir(),
    ]:
        text = page.read_text() if page.is_file() else ""
        fences = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for code in [text] if page.suffix == ".py" else fences:
            for module, name in imports(code):
                assert module in PUBLIC, f"{page.name}: {module}"
                assert name in importlib.import_module(module).__all__, f"{page.name}: {name}"


def test_our_plugins_import_only_what_a_third_party_may() -> None:
    files = list((ROOT / "plugins").glob("*/src/**/*.py"))
    assert files
    taken = {one for file in files for one in imports(file.read_text())}
    assert {module for module, _ in taken} <= FOR_PLUGINS <= {*PUBLIC}
    for module, name in taken:
        assert name in importlib.import_module(module).__all__
