"""Where plugins are found, which one of a name counts, and what their code may do meanwhile."""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runbus.abc import PluginState
from runbus.config import INTEGRATIONS
from runbus.errors import PluginDenied, PluginNotFound, PluginNotLoadable, TargetUnusable
from runbus.kernel import Kernel
from runbus.plugins import Registry, Selection, discover, selecting
from runbus.plugins._discovery import find
from runbus.testing import FakePlugin

from .conftest import Install


def plugin(name: str) -> str:
    title = "".join(filter(str.isalpha, name)).title()
    return f"class {title}:\n    name = {name!r}\n    async def setup(self, scope): ...\n"


HERE = ("jsonl", "optuna")
"""The plugins of this repository, which are installed beside those of the tests."""

RAISES = "raise RuntimeError('it was imported')\n"


def test_entry_points_of_three_groups_are_listed_without_an_import(install: Install) -> None:
    points = (
        "[runbus.plugins]\nours = one:Ours\n[nemo_run_plugins]\nrun = one:Run\n"
        "[tracelet.plugins]\ntrace = one:Trace\n[others]\nno = one:No\n"
    )
    install("one", points, "1.2", one=RAISES)

    infos = {info.name: info for info in discover() if info.name not in HERE}

    assert [*infos] == ["ours", "run", "trace"]
    assert [info.face for info in infos.values()] == ["", "extension", "managed"]
    assert infos["ours"].origin == "entry point one 1.2"
    assert (infos["ours"].version, infos["ours"].distribution) == ("1.2", "one 1.2")
    assert {info.state for info in infos.values()} == {PluginState.DISCOVERED}
    assert "one" not in sys.modules


def test_a_folder_brings_several_plugins_a_file_in_the_order_of_the_names(folder: Path) -> None:
    (folder / "b.py").write_text(plugin("late") + plugin("later"))
    (folder / "a.py").write_text(
        "from runbus import Plugin\n_hidden = Plugin('hidden')\n"
        "early = Plugin('early').placed(after=('late',))\n"
    )
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("from .part import SIZE\n" + plugin("whole"))
    (folder / "package" / "part.py").write_text("SIZE = 3\n")
    (folder / "_left_alone.py").write_text(RAISES)
    (folder / "notes.txt").write_text("no plugin")

    registry = Registry()
    assert {*registry.infos} - {*HERE} == {"early", "late", "later", "whole"}
    loaded = registry.load_all(Selection(without=HERE))
    assert [one.name for one in loaded] == ["early", "late", "later", "whole"]
    assert registry.infos["later"].origin == f"folder {folder}/b.py"
    assert [*Registry().infos] == [*registry.infos]
    again = Registry().load("late")
    assert type(again) is type(loaded[1])


def test_folders_of_the_path_go_before_the_home_and_entry_points_before_both(
    install: Install, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for one in (first, second):
        one.mkdir()
        (one / "plugins.py").write_text(plugin("both") + plugin("dist"))
    (folder / "plugins.py").write_text(plugin("both"))
    install("toys", "[runbus.plugins]\ndist = toy_good:Dist\n", toy_good=plugin("dist"))
    monkeypatch.setenv("RUNBUS_PLUGIN_PATH", f"{first}:{second}::{first}")

    registry = Registry()

    assert registry.infos["both"].origin == f"folder {first}/plugins.py"
    assert registry.infos["dist"].origin == "entry point toys 1.0"
    told = [(info.name, info.error) for info in registry.hidden]
    assert told == [
        ("both", f"hidden by the one of folder {first}/plugins.py"),
        ("both", f"hidden by the one of folder {first}/plugins.py"),
        ("dist", "hidden by the one of entry point toys 1.0"),
        ("dist", "hidden by the one of entry point toys 1.0"),
    ]


async def test_an_object_goes_before_what_is_found_by_its_name(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "one.py").write_text(RAISES + plugin("mine"))
    mine = FakePlugin("mine")
    with caplog.at_level(logging.INFO, "runbus.plugins"):
        async with Kernel(plugins=["mine", mine]) as kernel:
            assert [host.plugin for host in kernel.hosts] == [mine]
            infos = kernel.infos()
    assert "plugin 'mine': the one that was given goes before" in caplog.text
    assert [(info.state.value, info.origin[:6]) for info in infos] == [
        ("started", ""), ("discovered", "folder"),
    ]  # fmt: skip
    assert (infos[0].face, infos[0].health) == ("plugin", "ok")
    assert infos[1].error.startswith("the one that was given goes before")


def test_two_distributions_that_offer_one_name_are_both_shown_and_neither_is_loaded(
    install: Install,
) -> None:
    install("toys", "[runbus.plugins]\ntoy = good:Toy\n", good=plugin("toy"))
    install("games", "[tracelet.plugins]\ntoy = bad:Toy\n", "2.0", bad=RAISES)

    registry = Registry()

    problem = "games 2.0 and toys 1.0 offer that name; uninstall all but one"
    assert registry.infos["toy"].state is PluginState.FAILED
    assert registry.infos["toy"].error == problem
    assert [info.name for info in registry.hidden] == ["toy"]
    with pytest.raises(PluginNotLoadable, match=problem):
        registry.load("toy")
    assert not {"good", "bad"} & {*sys.modules}


def test_a_distribution_may_offer_one_plugin_in_two_groups(install: Install) -> None:
    points = "[nemo_run_plugins]\ntoy = other:Toy\n[runbus.plugins]\ntoy = good:Toy\n"
    install("toys", points, good=plugin("toy"), other=RAISES)

    registry = Registry()

    assert registry.load("toy").name == "toy"
    assert [info.entry_point for info in registry.hidden] == ["other:Toy"]


def test_a_name_that_one_distribution_offers_twice_is_refused(install: Install) -> None:
    install("toys", "[runbus.plugins]\ntoy = a:Toy\ntoy = b:Toy\n")
    with pytest.raises(PluginNotLoadable, match=r"toys 1\.0 offers that name 2 times"):
        Registry().load("toy")


BROKEN_METADATA = {
    "a line without a sign": "[runbus.plugins]\nno sign at all\n",
    "a line before the first group": "toy = a:b\n[runbus.plugins]\nx = y:z\n",
}


@pytest.mark.parametrize("text", BROKEN_METADATA.values(), ids=BROKEN_METADATA)
def test_metadata_that_cannot_be_read_cost_their_distribution_only(
    install: Install, text: str
) -> None:
    install("broken", text)
    install("toys", "[runbus.plugins]\ntoy = good:Toy\n", good=plugin("toy"))

    assert "toy" in find().plugins
    assert Registry().load("toy").name == "toy"


def test_metadata_that_are_no_text_are_told(install: Install) -> None:
    (install("broken", "") / "entry_points.txt").write_bytes(b"[runbus.plugins]\n\xff = a:b\n")
    install("toys", "[runbus.plugins]\ntoy = good:Toy\n", good=plugin("toy"))

    found = find()

    assert "toy" in found.plugins
    assert len(found.problems) == 1
    assert "the entry points of broken 1.0 cannot be read" in found.problems[0]


def test_what_has_lost_its_metadata_is_listed_all_the_same(install: Install) -> None:
    (
        install("toys", "[runbus.plugins]\ntoy = good:Toy\n", good=plugin("toy")) / "METADATA"
    ).unlink()

    info = Registry().infos["toy"]

    assert (info.distribution, info.origin) == ("", "entry point good:Toy")
    assert Registry().load("toy").name == "toy"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("toy = not a module", "is not of the form module:name"),
        ("toy = a:b:c", "is not of the form module:name"),
        ("toy =", "is not of the form module:name"),
        ("t\x1b[31moy = good:Toy", "has control characters"),
    ],
)
def test_an_entry_point_that_refers_to_nothing_is_a_visible_failure(
    install: Install, line: str, problem: str
) -> None:
    install("toys", f"[runbus.plugins]\n{line}\n", good=plugin("toy"))

    (info,) = (one for one in discover() if one.distribution == "toys 1.0")

    assert info.state is PluginState.FAILED
    assert problem in info.error
    with pytest.raises(PluginNotLoadable, match=r"control|form"):
        Registry().load(info.name)


def test_what_a_denied_plugin_is_made_of_is_never_imported(
    install: Install, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("toys", "[runbus.plugins]\ntoy = bad:Toy\n", bad=RAISES)
    (folder / "own.py").write_text(RAISES + plugin("own"))
    monkeypatch.setenv("RUNBUS_WITHOUT_PLUGINS", ",".join(["toy", "own", *HERE]))

    registry = Registry()

    assert registry.load_all() == []
    assert registry.infos["toy"].error == "switched off: RUNBUS_WITHOUT_PLUGINS lists it"
    with pytest.raises(PluginDenied, match="'own' is switched off: RUNBUS_WITHOUT_PLUGINS lists"):
        registry.load("own")
    assert "bad" not in sys.modules


@pytest.mark.parametrize("how", ["environment", "call"])
async def test_plugins_that_are_found_are_switched_off_for_a_process_or_for_one_kernel(
    how: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "own.py").write_text(RAISES + plugin("own"))
    if how == "environment":
        monkeypatch.setenv("RUNBUS_PLUGINS", "none")
    selection = Selection.none() if how == "call" else None

    async with Kernel(plugins=["own", FakePlugin("given")], selection=selection) as kernel:
        assert [host.name for host in kernel.hosts] == ["given"]
        assert [info.name for info in kernel.infos()] == ["given", "own"]
        assert kernel.infos()[1].error.startswith("switched off: ")

    why = "the call leaves it out" if how == "call" else "RUNBUS_PLUGINS is none"
    assert f"plugin 'own' is switched off: {why}; it is left out" in caplog.text


def test_a_name_that_is_not_found_is_no_plugin_that_is_switched_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own.py").write_text(plugin("own"))
    monkeypatch.setenv("RUNBUS_PLUGINS", "none")
    with pytest.raises(PluginNotFound) as caught:
        Kernel(plugins=["onw"])
    assert caught.value.similar == ("own",)


BAD_CODE = {
    "raises": "raise KeyError('x')",
    "exits": "import sys; sys.exit(3)",
    "raises what Ctrl-C raises": "raise KeyboardInterrupt",
    "is no Python": "def :",
    "recurses for ever": "def f(): f()\nf()",
    "raises its own kind": "class Odd(BaseException): pass\nraise Odd",
    "generator exit": "raise GeneratorExit",
}


@pytest.mark.parametrize("code", BAD_CODE.values(), ids=BAD_CODE)
def test_a_file_whose_code_fails_is_a_visible_failure_and_its_neighbors_load(
    folder: Path, code: str
) -> None:
    (folder / "a.py").write_text(plugin("bad") + code + "\n")
    (folder / "b.py").write_text(plugin("good"))

    registry = Registry()
    loaded = registry.load_all(Selection(without=HERE))

    assert [one.name for one in loaded] == ["good"]
    (failed,) = (info for info in registry.infos.values() if info.state is PluginState.FAILED)
    assert failed.error
    assert failed.origin == f"folder {folder}/a.py"
    assert not any("runbus_plugin_a_" in name for name in sys.modules)


def test_a_file_that_no_parser_bears_is_a_visible_failure(folder: Path) -> None:
    (folder / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    (folder / "long.py").write_text(
        f"class P:\n    def __init__(self, a={'+'.join('1' * 9000)}): ...\n"
        "    async def setup(self, scope): ...\n"
    )
    (folder / "null.py").write_bytes(b"x = 1\0\n")

    infos = Registry().infos

    assert {name: infos[name].state.value for name in ("deep", "long", "null")} == dict.fromkeys(
        ("deep", "long", "null"), "failed"
    )


def test_ctrl_c_of_a_person_ends_an_import_in_the_main_thread_only(folder: Path) -> None:
    (folder / "a.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n" + plugin("slow")
    )
    with pytest.raises(KeyboardInterrupt):
        Registry().load("slow")
    (folder / "a.py").write_text("raise KeyboardInterrupt\n" + plugin("slow"))
    told: list[str] = []

    def load() -> None:
        try:
            Registry().load("slow")
        except PluginNotLoadable as error:
            told.append(error.problem)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join(120)
    assert told == ["KeyboardInterrupt"]


def test_a_plugin_that_changes_the_folder_is_brought_back(folder: Path) -> None:
    (folder / "a.py").write_text("import os\nos.chdir('/')\n" + plugin("wanders"))
    before = os.getcwd()
    assert Registry().load("wanders").name == "wanders"
    assert os.getcwd() == before


def test_data_classes_and_pickle_find_the_module_of_a_file(folder: Path) -> None:
    (folder / "own.py").write_text(
        "from __future__ import annotations\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass Own:\n    size: int = 3\n    name: str = 'own'\n"
        "    async def setup(self, scope): ...\n"
    )
    own = Registry().load("own")
    assert pickle.loads(pickle.dumps(own)) == own == dataclasses.replace(own)
    code = "from runbus.plugins import Registry; print(type(Registry().load('own')).__module__)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == type(own).__module__


def linked_to_what_others_may_write(folder: Path) -> None:
    target = folder.parent / "elsewhere.py"
    (folder / "own.py").rename(target)
    target.chmod(0o666)
    (folder / "own.py").symlink_to(target)


def package_that_others_may_write(folder: Path) -> None:
    (folder / "own").mkdir()
    (folder / "own.py").rename(folder / "own" / "__init__.py")
    (folder / "own").chmod(0o777)


def replaced(folder: Path) -> Path:
    (folder / "own.py").unlink()
    return folder / "own.py"


def endless(folder: Path) -> None:
    with (folder / "own.py").open("r+b") as file:
        file.truncate(1 << 40)


def too_many(folder: Path) -> None:
    for number in range(1001):
        (folder / f"p{number}.py").touch()


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file that others may write": (
        lambda folder: (folder / "own.py").chmod(0o646),
        "others may write {folder}/own.py: chmod o-w it",
    ),
    "a folder that others may write": (
        lambda folder: folder.chmod(0o777),
        "others may write {folder}: chmod o-w it",
    ),
    "a folder that everybody may put files into": (
        lambda folder: folder.chmod(0o1777),
        "others may write {folder}: chmod o-w it",
    ),
    "a folder above that others may write": (
        lambda folder: folder.parent.chmod(0o777),
        "others may write {folder.parent}: chmod o-w it",
    ),
    "a pipe": (lambda folder: os.mkfifo(replaced(folder)), "it is a pipe"),
    "a dangling link": (
        lambda folder: replaced(folder).symlink_to("nowhere.py"),
        "no such file or directory",
    ),
    "a link to what others may write": (
        linked_to_what_others_may_write,
        "others may write {folder.parent}/elsewhere.py",
    ),
    "a package that others may write": (
        package_that_others_may_write,
        "others may write {folder}/own: chmod o-w it",
    ),
    "an endless file": (endless, "1,048,576 are the most that are read"),
    "too many files": (too_many, "it holds 1,002 files of plugins, and 1,000 are the most"),
}


@pytest.mark.parametrize(("make", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_what_others_could_have_put_there_is_refused_with_the_reason(
    folder: Path, make: Callable[[Path], object], reason: str
) -> None:
    (folder / "own.py").write_text(RAISES + plugin("own"))
    make(folder)

    registry = Registry()

    told = [*registry.problems, *(info.error for info in registry.infos.values() if info.error)]
    assert len(told) == 1
    assert reason.format(folder=folder) in told[0]
    with pytest.raises((PluginNotFound, PluginNotLoadable)):
        registry.load("own")


@pytest.mark.parametrize(
    "name", ["a b.py", "new\nline.py", "esc\x1b[31m.py", "ünï-code.py", "1.py"]
)
def test_a_file_whose_name_is_no_module_is_a_visible_failure(folder: Path, name: str) -> None:
    (folder / name).write_text(RAISES + plugin("own"))

    (info,) = (one for one in discover() if one.name not in HERE)

    assert info.state is PluginState.FAILED
    assert "is not the name of a module" in info.error
    assert info.error.isprintable()


def test_a_plugin_with_control_characters_in_its_name_is_refused(folder: Path) -> None:
    (folder / "own.py").write_text(plugin("o\nwn"))
    with pytest.raises(PluginNotLoadable, match="its name has control characters"):
        Registry().load("o\nwn")


def test_a_link_to_a_file_of_ones_own_is_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(plugin("own"))
    (folder / "own.py").symlink_to(tmp_path / "elsewhere.py")
    assert Registry().load("own").name == "own"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_group_of_the_user_alone_may_write_and_nobody_else(folder: Path) -> None:
    (folder / "own.py").write_text(plugin("own"))
    (folder / "own.py").chmod(0o664)
    assert not Registry().infos["own"].error
    os.chown(folder / "own.py", 0, 12345)
    assert "its group may write" in Registry().infos["own"].error
    os.chown(folder / "own.py", 12345, 0)
    assert "belongs to another user (uid 12345)" in Registry().infos["own"].error


def test_a_folder_that_cannot_be_listed_is_told_and_the_others_are_searched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own.py").write_text(plugin("own"))
    monkeypatch.setenv("RUNBUS_PLUGIN_PATH", f"{tmp_path}/nothing:{folder}/own.py")

    found = find()

    assert "own" in found.plugins
    assert [*map(str, found.problems)] == [
        f"{tmp_path}/nothing: no such file or directory",
        f"{folder}/own.py: not a directory",
    ]


def test_a_plugin_that_is_switched_off_is_not_imported_for_a_name_in_data_either(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("bomb", "[runbus.plugins]\nbomb = bomb:Bomb\n", bomb="raise SystemExit('imported')\n")
    parts = INTEGRATIONS.fresh()
    monkeypatch.setenv("RUNBUS_WITHOUT_PLUGINS", "bomb")
    with pytest.raises(TargetUnusable, match=r"'bomb'.*RUNBUS_WITHOUT_PLUGINS lists it"):
        parts.find("bomb")
    monkeypatch.delenv("RUNBUS_WITHOUT_PLUGINS")
    with selecting(Selection.none()), pytest.raises(TargetUnusable, match="the call leaves it out"):
        parts.find("bomb")
    assert "bomb" not in sys.modules


BACKEND = """
from runbus.plugins import BackendPlugin, PluginMetadata

class Backend(BackendPlugin):
    def get_metadata(self):
        return PluginMetadata(name="backend", version="1.2.0", plugin_type="backend")
    def initialize(self, config): ...
    def start(self): ...
    def stop(self): ...
    def log_metric(self, name, value, iteration=None): ...
    def log_params(self, params): ...
    def log_artifact(self, local_path, artifact_path=None): ...
    def get_status(self): return {}
"""


def test_a_plugin_that_is_adapted_keeps_its_own_face_and_version(folder: Path) -> None:
    (folder / "mine.py").write_text(BACKEND)
    registry = Registry()
    registry.load("backend")
    info = registry.info("backend")
    assert (info.face, info.version, info.state) == ("backend", "1.2.0", PluginState.LOADED)
