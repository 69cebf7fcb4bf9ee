"""The script of an image really run: packages from indexes on this disk, by pip and by uv."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runbus import Image, PipIndex
from runbus.plugins import image_script

pytestmark = pytest.mark.services


def run(script: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = folder / "script.sh"
    path.write_text(script)
    return subprocess.run(
        ["dash", str(path), str(folder / "image")],
        env={"RUNBUS_PHASES": str(folder / "phases"), "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def wheel(index: Path, name: str, version: str, requires: str = "") -> None:
    """Put a distribution with nothing in it into a folder that serves as an index."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    file = folder / f"{module}-{version}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if requires:
        metadata += f"Requires-Dist: {requires}\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{module}.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    links = [f'<a href="{one.name}">{one.name}</a>' for one in folder.glob("*.whl")]
    (folder / "index.html").write_text("\n".join(links))


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_a_package_comes_from_its_own_index_and_its_dependencies_from_the_others(
    tool: str, tmp_path: Path
) -> None:
    public, private = tmp_path / "public", tmp_path / "private"
    wheel(private, "own-lib", "1.0", requires="helper")
    wheel(public, "own-lib", "9.9")  # of somebody who hopes to be taken for it
    wheel(public, "helper", "2.0")
    wheel(public, "other", "3.0", requires="own-lib")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    if tool == "uv":
        (tools / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    env = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "PIP_INDEX_URL": public.as_uri(),
        "PIP_EXTRA_INDEX_URL": public.as_uri(),
        "UV_DEFAULT_INDEX": public.as_uri(),
        "UV_INDEX": public.as_uri(),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "PIP_NO_CACHE_DIR": "1",
    }
    image = Image(
        pip=("other", "own_lib>=1"),
        pip_indexes=(PipIndex(private.as_uri(), ("Own-Lib",)),),
    )
    probe = '"$rb_venv/bin/python" -c "import helper, other, own_lib; print(own_lib.version)"'

    for _ in range(2):  # it may be run again
        done = run(image_script(image, probe), tmp_path, env)
        assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr


def test_a_package_that_its_index_has_not_is_not_taken_from_another(tmp_path: Path) -> None:
    public, private = tmp_path / "public", tmp_path / "private"
    wheel(public, "own-lib", "9.9")
    private.mkdir()
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "UV_DEFAULT_INDEX": public.as_uri(),
        "UV_INDEX": public.as_uri(),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }
    image = Image(pip=("own-lib",), pip_indexes=(PipIndex(private.as_uri(), ("own-lib",)),))

    done = run(image_script(image, "echo never"), tmp_path, env)

    assert done.returncode != 0
    assert done.stdout == ""
    last = json.loads((tmp_path / "phases").read_text().splitlines()[-1])
    assert (last["phase"], last["event"]) == ("pip", "failed")
