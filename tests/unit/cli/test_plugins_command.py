"""`runbus plugins`: what is found, whether it loads, what it is made from, and what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus import Command, Job
from runbus.experiment import ExperimentDraft
from runbus.jobs import note_settings, read_settings
from runbus.testing._waiting import wait_until

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")

TRACKER = """
import atexit, os
print("noise"); os.write(1, b"raw noise\\n"); atexit.register(print, "bye")
class Tracker:
    '''Sends what runs measure to a tracker.

    And more.
    '''
    name = "tracker"
    def __init__(self, url: str = "https://a:hunter2@b/", *, token: str = "", retries: int = 3): ...
    async def setup(self, scope): ...
class Needy:
    name = "needy"
    def __init__(self, url: str, retries: int = 3): ...
    async def setup(self, scope): ...
"""
BROKEN = """
class Broken:
    name = "broken"
    async def setup(self, scope): ...
raise RuntimeError("it needs a driver that is not there, and to say so it takes a long line")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a runbus.yaml, and a home with plugins of all states."""
    folder = tmp_path / "home" / "plugins"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUNBUS_WITHOUT_PLUGINS", "denied")
    (folder / "tracker.py").write_text(TRACKER)
    (folder / "broken.py").write_text(BROKEN)
    (folder / "other.py").write_text(
        "raise SystemExit(3)\n"
        "class D:\n    name = 'denied'\n    async def setup(self, scope): ...\n"
        "class JsonLines:\n    name = 'jsonl'\n    async def setup(self, scope): ...\n"
    )
    path = tmp_path / "here"
    (path / ".git").mkdir(parents=True)
    (path / "runbus.yaml").write_text(
        "plugins:\n  tracker:\n    token: hunter2\n    url: https://a:hunter2@b/\n"
    )
    monkeypatch.chdir(path)
    return path


def said(*words: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [RUNBUS, *words], capture_output=True, text=True, env={**os.environ, **variables}
    )
    return done.returncode, done.stdout, done.stderr


def listed(*words: str, **variables: str) -> dict[str, dict[str, Any]]:
    _, out, _ = said("plugins", "--json", *words, **variables)
    return {f"{one['name']} {one['state']}": one for one in json.loads(out)}


def test_all_that_is_found_is_listed_with_its_state_and_what_plugins_print_is_kept_out(
    here: Path,
) -> None:
    found = listed()

    assert [*found] == [
        "broken failed", "denied off", "jsonl loaded", "jsonl hidden", "needy discovered",
        "optuna discovered", "tracker loaded",
    ]  # fmt: skip
    assert found["broken failed"]["why_not"].startswith("RuntimeError: it needs a driver")
    assert found["denied off"]["why_not"] == "switched off: RUNBUS_WITHOUT_PLUGINS lists it"
    assert found["jsonl hidden"]["why_not"] == "hidden by the one of entry point runbus-jsonl 0.1.0"
    assert found["jsonl loaded"]["entry_point"] == "runbus_jsonl:JsonLines"
    assert found["needy discovered"]["why_not"] == "needs url"
    tracker = found["tracker loaded"]
    assert (tracker["face"], tracker["health"]) == ("plugin", "ok")
    assert tracker["arguments"][1] == "token: str = ''"
    status, out, err = said("plugins")
    assert (status, "noise" in out, "bye" in out) == (1, False, False)
    assert "error: broken: RuntimeError: it needs a driver" in err


def test_what_a_thread_of_a_plugin_prints_meanwhile_is_kept_out_too(here: Path) -> None:
    (here.parent / "home" / "plugins" / "chatter.py").write_text(
        "import threading, time\ndef chat():\n    while True:\n"
        "        print('chatter', flush=True)\n        time.sleep(0.0005)\n"
        "threading.Thread(target=chat, daemon=True).start()\n"
        "class Chatter:\n    name = 'chatter'\n    async def setup(self, scope): ...\n"
    )
    assert "chatter loaded" in listed()


def write_between(here: Path) -> None:
    """Write a plugin that prints whenever standard output has become another."""
    (here.parent / "home" / "plugins" / "between.py").write_text(
        "import os\nreal = os.dup2\n"
        "def dup2(*files):\n    real(*files)\n    print('between', flush=True)\n"
        "os.dup2 = dup2\n"
        "class Between:\n    name = 'between'\n    async def setup(self, scope): ...\n"
    )


def test_what_is_printed_just_after_the_result_is_kept_out_too(here: Path) -> None:
    write_between(here)
    assert "between loaded" in listed()
    assert isinstance(json.loads(said("plugins", "show", "between", "--json")[1]), dict)


def test_nothing_is_imported_if_that_is_not_wanted(here: Path) -> None:
    status, out, err = said("plugins", "--no-load")
    assert (status, "failed" in out, "noise" in err) == (0, False, False)
    status, out, err = said("plugins", "show", "tracker", "--no-load")
    assert (status, "discovered" in out, "noise" in err) == (0, True, False)


def test_what_each_cost_is_shown_the_dearest_first(here: Path) -> None:
    (Path(os.environ["RUNBUS_HOME"]) / "plugins" / "slow.py").write_text(
        "import time\ntime.sleep(0.3)\nclass Slow:\n    name = 'slow'\n"
        "    async def setup(self, scope): ...\n"
    )
    rows = [*listed("--timing").values()]
    costs = [one["load_s"] or 0.0 for one in rows]
    assert costs == sorted(costs, reverse=True)
    assert [one["load_s"] > 0.3 for one in rows if one["name"] == "slow"] == [True]
    (row,) = (line for line in said("plugins", "--timing")[1].splitlines() if "slow" in line)
    assert " ms  ok" in row


def test_one_is_shown_with_who_said_each_value_and_no_secret(here: Path) -> None:
    status, out, err = said("plugins", "show", "tracker", RUNBUS_PLUGIN_TRACKER_RETRIES="5")
    assert status == 0
    assert "Sends what runs measure to a tracker." in out
    assert "hunter2" not in out + err
    told = [line.split() for line in out.splitlines() if line.startswith(("token", "retries"))]
    assert told == [
        ["token", "***", f"{here}/runbus.yaml:3"],
        ["retries", "5", "RUNBUS_PLUGIN_TRACKER_RETRIES"],
    ]  # fmt: skip
    status, out, _ = said("plugins", "show", "--json", "needy")
    assert status == 0
    assert json.loads(out)["settings"]["url"]["origin"] == "needed"
    (here / "runbus.yaml").unlink()
    assert "url      'https://***@b/'  default" in said("plugins", "show", "tracker")[1]
    assert "hunter2" not in said("plugins", "--json")[1]


def test_what_is_wrong_with_one_is_told_with_its_place(here: Path) -> None:
    (here / "runbus.yaml").write_text("plugins:\n  tracker:\n    tokn: a\n")
    status, _, err = said("plugins", "show", "tracker")
    assert status == 1
    assert f"error: {here}/runbus.yaml:3: tokn: unknown key 'tokn'; did you mean 'token'" in err
    status, _, err = said("plugins", "show", "trackr")
    assert (status, "hint: did you mean 'tracker'" in err) == (1, True)
    _, _, err = said("plugins", RUNBUS_PLUGIN_TRACKR_TOKEN="a")
    assert "RUNBUS_PLUGIN_TRACKR_TOKEN: there is no such plugin, so this sets nothing" in err
    (here.parent / "home" / "plugins").chmod(0o777)
    status, _, err = said("plugins", "--no-load")
    assert (status, "others may write" in err) == (1, True)


MANAGED = """
from runbus.plugins import BackendPlugin, PluginMetadata, PluginType
class Sender(BackendPlugin):
    @classmethod
    def get_metadata(cls):
        return PluginMetadata(
            name="sender", version="1", description="", author="", plugin_type=PluginType.BACKEND,
            config_schema={
                "server": {"type": "string", "required": True},
                "timeout": {"type": "number", "default": 30},
                "pin": {"type": "integer", "secret": True, "default": 4711},
            },
        )
    def initialize(self, config): raise RuntimeError
    def start(self): ...
    def stop(self): ...
    def get_status(self): return {}
    def log_metric(self, name, value, iteration): ...
    def log_params(self, params): ...
    def log_artifact(self, name, path): ...
"""


def test_the_settings_of_a_managed_plugin_are_checked(here: Path) -> None:
    (here.parent / "home" / "plugins" / "sender.py").write_text(MANAGED)
    status, _, err = said("plugins", "show", "sender")
    assert status == 1
    assert "server" in err
    status, _, err = said("plugins", "show", "sender", RUNBUS_PLUGIN_SENDER_SERVER="a")
    assert (status, err) == (0, "")


def test_the_fields_of_a_managed_plugin_are_listed_without_their_secrets(here: Path) -> None:
    (here.parent / "home" / "plugins" / "sender.py").write_text(MANAGED)
    _, out, err = said("plugins", "show", "sender")
    assert [line.split() for line in out.splitlines()[-3:]] == [
        ["server", "string", "needed"],
        ["timeout", "number", "30", "default"],
        ["pin", "integer", "***", "default"],
    ]
    assert "4711" not in out + err
    set_one = {"RUNBUS_PLUGIN_SENDER_SERVER": "a", "RUNBUS_PLUGIN_SENDER_PIN": "4712"}
    status, out, err = said("plugins", "show", "sender", **set_one)
    assert (status, "4712" in out + err) == (0, False)
    assert ["pin", "integer", "***", "RUNBUS_PLUGIN_SENDER_PIN"] in map(str.split, out.splitlines())


def test_the_names_are_offered_to_a_shell_without_an_import(here: Path) -> None:
    asked = {"_RUNBUS_COMPLETE": "bash_complete", "COMP_LINE": "runbus run --plugin t"}
    _, out, err = said(**asked)
    assert (out, err) == ("plain,tracker\n", "")


def test_help_names_plugins_and_their_arguments_without_an_import(here: Path) -> None:
    _, out, err = said("run", "--help")
    text = " ".join(out.split())
    assert "There are broken(), jsonl(path), needy(url, retries), optuna(goal, space, " in text
    assert " tracker(url, token, " in text
    assert "noise" not in err
    assert "There are" not in said("run", "--help", RUNBUS_PLUGINS="none")[1]


def test_a_result_for_a_program_holds_nothing_that_plugins_print(here: Path) -> None:
    (here / "s.py").write_text("pass\n")
    status, out, _ = said("run", "s.py", "--plugin", "tracker", "--json")
    assert (status, json.loads(out)[0]["state"]) == (0, "SUCCEEDED")


@pytest.mark.parametrize(
    "words",
    [
        ["run", "said.py"],
        ["run", "said.py:main"],
        ["submit", "b.yaml"],
        ["submit", "b.yaml", "--detach"],
        ["submit", "b.yaml", "--dry-run"],
        ["plan", "b.yaml"],
    ],
    ids=" ".join,
)
def test_nor_what_is_printed_around_the_run(words: list[str], here: Path) -> None:
    write_between(here)
    (here / "said.py").write_text("import os\nos.write(1, b'raw')\ndef main(): ...\n")
    task = "{type: function, target: said.main, folder: .}"
    (here / "b.yaml").write_text(f"project: p\njobs: [{{name: a, task: {task}}}]\n")
    (here / "runbus.yaml").write_text("plugins: [between]\n")

    status, out, err = said(*words, "--json")

    assert (status, bool(json.loads(out)), "between" in err) == (0, True, True), err
    for again in ("attach", "rerun") if "--detach" in words else ():
        _, out, err = said(again, "p", "--json")
        assert isinstance(json.loads(out), list), err


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 50)])
@pytest.mark.parametrize("name", ["plugins", "plugins-show"])
def test_a_screen_is_the_one_that_was_looked_at(
    name: str, columns: int, rows: int, here: Path
) -> None:
    words = ["plugins", "show", "tracker"] if name == "plugins-show" else ["plugins"]
    _, screen, _ = watch([RUNBUS, *words], columns, rows)
    check_golden(f"{name}-{columns}x{rows}", screen)


TYPED = """
class Typed:
    name = "typed"
    def __init__(self, url: str, n: int = 1):
        self.told = f"{url} {n}"
    async def setup(self, scope):
        import sys
        print("made of", self.told, file=sys.stderr)
"""


@pytest.fixture
def typed(here: Path) -> Path:
    """Return a folder with a script, a batch, and a plugin that tells its values."""
    (here / "runbus.yaml").unlink()
    (here.parent / "home" / "plugins" / "typed.py").write_text(TYPED)
    (here / "q.py").write_text("pass\n")
    (here / "b.yaml").write_text("project: b\njobs:\n  - {name: j, script: q.py}\n")
    return here


def recorded(here: Path) -> list[Path]:
    return [*(here.parent / "home").glob("experiments/*/*/experiment.json")]


def test_values_for_several_fields_of_a_plugin_come_together_and_the_last_of_a_field_counts(
    typed: Path,
) -> None:
    words = [f"--plugin=typed.{one}" for one in ("n=4", "url=u", "n=5")]
    status, _, err = said("run", "q.py", *words)
    assert (status, "made of u 5\n" in err) == (0, True), err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "q.py", "--plugin=typed"], "error: plugin 'typed': the key 'url' is missing"),
        (["run", "q.py", "--plugin=typed.url=u", "--plugin=typed.n=x"], "n: "),
        (["run", "q.py", "--plugin=typed.n=x", "--plugin=broken"], "a driver that is not there"),
        (["run", "q.py", "--plugin=typed.=x", "--plugin=.n=x"], "typed.=x, .n=x are not"),
        (
            ["submit", "b.yaml", "--detach", "--plugin=typed.url=https://u:pw@h/"],
            "--plugin typed.url.secret=env:VARIABLE",
        ),
        (["submit", "b.yaml", "--detach", "--plugin=typed"], "'url' is missing"),
    ],
    ids=["missing", "wrong", "two", "forms", "secret", "detached-wrong"],
)
def test_a_mistake_about_plugins_is_told_before_anything_is_recorded(
    words: list[str], told: str, typed: Path
) -> None:
    status, _, err = said(*words)
    assert (status, told in err, "runbus.yaml:" in err) == (2, True, False), err
    assert recorded(typed) == []


def test_what_was_not_read_is_named_when_a_plugin_is_not_found(typed: Path) -> None:
    folder = typed.parent / "home" / "plugins"
    (folder / "typed.py").chmod(0o646)
    assert f"others may write {folder}/typed.py" in said("run", "q.py", "--plugin=hk")[2]
    folder.chmod(0o757)
    assert f"others may write {folder}: chmod" in said("run", "q.py", "--plugin=hk")[2]


@pytest.mark.parametrize("words", [["run", "q.py"], ["submit", "b.yaml"]], ids=["run", "submit"])
def test_a_run_whose_plugin_cannot_be_set_up_ends_with_the_reason(
    words: list[str], typed: Path
) -> None:
    (typed.parent / "home" / "plugins" / "dead.py").write_text(
        "class Dead:\n    name = 'dead'\n"
        "    async def setup(self, scope): raise OSError('no peer')\n"
    )
    status, _, err = said(*words, "--plugin=dead")
    assert (status != 0, "no peer" in err) == (True, True), err
    (job,) = json.loads(said("status", "--json")[1])
    assert job["state"] == "CANCELLED"
    assert "plugin 'dead'" in job["reason"]
    assert "no peer" in job["reason"]


def test_values_of_plugins_are_with_a_detached_batch_and_secrets_by_their_places(
    typed: Path,
) -> None:
    words = ["--plugin=typed.url.secret=env:PLACE", "--plugin=typed.n=5"]
    status, _, err = said("submit", "b.yaml", "--detach", *words, PLACE="s3cret")
    assert status == 0, err
    log = typed.parent / "home" / "supervisor.log"
    wait_until(lambda: "made of s3cret 5\n" in log.read_text())
    (described,) = recorded(typed)
    settings = json.loads(described.read_text())["settings"]
    assert settings == {"typed": {"url": {"secret": "env:PLACE"}, "n": "5"}}
    assert not any(b"s3cret" in one.read_bytes() for one in described.parent.rglob("*.json"))


def test_values_that_attach_is_given_are_there_for_whoever_leads_next(typed: Path) -> None:
    stored = ExperimentDraft(
        "p",
        [Job(name="j", task=Command(("true",)))],
        plugins=["typed"],
        settings={"typed": {"url": "first", "n": "3"}},
        home=typed.parent / "home",
    ).prepare()
    note_settings(stored.folder, {"typed": {"n": "7"}})

    status, _, err = said("attach", stored.id)

    assert (status, "made of first 7\n" in err) == (0, True), err
    assert said("rerun", stored.id, "--plugin=typed.url=last")[2].count("made of last 7\n") == 1


def test_attach_records_the_values_that_it_is_given_but_no_secret(typed: Path) -> None:
    job = Job(name="j", task=Command(("true",)))
    stored = ExperimentDraft("p", [job], plugins=["typed"], home=typed.parent / "home").prepare()

    _, _, err = said(
        "attach", stored.id, "--plugin=typed.url=https://u:pw@h/", "--plugin=typed.n=2"
    )

    assert "made of https://u:pw@h/ 2\n" in err
    assert "warning: --plugin typed.url: a secret is recorded nowhere" in err
    assert read_settings(stored.folder) == {"typed": {"n": "2"}}


def test_status_and_why_say_why_a_detached_batch_is_not_led(
    typed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = typed.parent / "home" / "plugins"
    (plugins / "dead.py").write_text(
        "class Dead:\n    name = 'dead'\n"
        "    async def setup(self, scope): raise OSError('no peer')\n"
    )
    status, _, err = said("submit", "b.yaml", "--detach", "--plugin=dead")
    assert status == 0, err
    (described,) = recorded(typed)
    wait_until((described.parent / "unled").exists)
    for words in (["status"], ["why", "latest"]):
        assert "plugin 'dead': setup" in "".join(said(*words)[1:]).replace("\n", " ")
