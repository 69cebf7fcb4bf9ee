"""Distributions and folders with plugins, as installers and people leave them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return what puts a distribution on `sys.path`: its entry points, as text, and its modules."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    before = {*sys.modules}

    def put(name: str, points: str, version: str = "1.0", **modules: str) -> Path:
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(points)
        for module, code in modules.items():
            (site / f"{module}.py").write_text(code)
        return info

    yield put
    for name in {*sys.modules} - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def folder(install: Install, tmp_path: Path) -> Path:
    """Return the folder of plugins in the home."""
    path = tmp_path / "home" / "plugins"
    path.mkdir(parents=True)
    return path
