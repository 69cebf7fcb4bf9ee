"""Law: every answer is the same with an index, without one, and with one that is damaged."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.settled import index_when_settled

import runbus
from runbus._home import Home
from runbus._ids import run_id_of
from runbus.catalog import RunRecord, rebuild_index, runs, survey
from runbus.catalog._index import Index
from runbus.errors import FileUnreadable
from runbus.events import JobEnded, JobIntended, JobStarted
from runbus.jobs import JobStore
from runbus.metrics import RunInfo, make_run_folder

CONFIGS: list[dict[str, Any]] = [
    {},
    {"lr": 0.1},
    {"nan": float("nan")},
    {"big": 2**70},
    {"text": "ü\ud800"},
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("new", "plain", "end", "late", "edit", "tag", "spoil", "forget", "away", "back"),
                *("index", "flip", "cut", "junk", "keep", "older"),
            ]
        ),
        st.integers(0, 2**32),
    ),
    max_size=20,
)


def told(home: Home) -> list[str]:
    """Return everything that `runbus ls` and `show` would say of the runs of a home."""
    listed = map(repr, survey(home=home))
    return [*listed, *(repr((one.folder, one.info, one.job, one.state)) for one in runs(home=home))]


class House:
    """A home in which things happen."""

    def __init__(self, path: str) -> None:
        self.home = Home(path)
        self.index = Path(path, "index.db")
        self.kept = Path(path, "kept.db")

    def do(self, step: str, chance: random.Random) -> None:
        folders = list(self.home.experiment_folders())
        if step == "new":
            self.new(chance)
        elif step == "plain":
            with runbus.init(chance.choice("ab"), home=self.home.path) as run:
                run.tag("a")
        elif step == "back":
            for folder in Path(self.home.path, "away").glob("*/*"):
                folder.rename(Path(self.home.experiments, folder.parent.name, folder.name))
        elif step in {"index", "flip", "cut", "junk", "keep", "older"}:
            self.harm(step, chance)
        elif folders:
            self.change(step, chance.choice(folders), chance)

    def new(self, chance: random.Random) -> None:
        project = chance.choice("ab")
        experiment_id, folder = self.home.new_experiment(project)
        store = JobStore(folder)
        for number in range(1, chance.randrange(2, 5)):
            run_id = run_id_of(experiment_id, number)
            info = RunInfo.new(run_id, f"j{number}", project, chance.choice(CONFIGS), f"j{number}")
            make_run_folder(folder, info)
            store.record(JobIntended(**self.about(run_id, f"j{number}"), executor="l", folder="f"))
        store.close()

    def change(self, step: str, folder: str, chance: random.Random) -> None:
        records = [Path(run, "run.json") for run in self.home.runs_of(folder)]
        if step == "forget":
            shutil.rmtree(folder)
        elif step == "away":
            project, name = folder.rsplit("/", 2)[1:]
            os.makedirs(os.path.join(self.home.path, "away", project), exist_ok=True)
            os.rename(folder, os.path.join(self.home.path, "away", project, name))
        elif step == "tag" and records:
            try:
                RunRecord(str(chance.choice(records).parent)).tag(f"t{chance.random()}")
            except FileUnreadable:
                return
        elif step in {"end", "late"}:
            state = "SUCCEEDED" if step == "end" else "LOST"
            store = JobStore(folder)
            for name, job in list(store.jobs.items()):
                about = self.about(job.run_id, name)
                store.record(JobStarted(**about, host="h", pid=1))
                rest: dict[str, Any] = {
                    "exit_code": 0,
                    "signal": None,
                    "reason": "",
                    "duration_s": 0.1,
                }
                store.record(JobEnded(**about, state=state, **rest))
            store.close()
        elif records and step == "spoil":
            chance.choice(records).write_text("{")
        elif records:
            record = chance.choice(records)
            try:
                info = RunInfo.read(str(record.parent))
            except FileUnreadable:
                return
            info._replace(name=f"n{chance.random()}").write(str(record.parent))

    def harm(self, step: str, chance: random.Random) -> None:
        if step == "index":
            index_when_settled(Path(self.home.path))
            return
        if step == "older" and self.kept.exists():
            shutil.copy(self.kept, self.index)
        if not self.index.exists() or step == "older":
            return
        if step == "keep":
            shutil.copy(self.index, self.kept)
            return
        data = bytearray(self.index.read_bytes())
        if step == "junk":
            data = bytearray(b"no database")
        elif data and step == "cut":
            del data[chance.randrange(len(data)) :]
        elif data:
            for _ in range(chance.randrange(1, 50)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        self.index.write_bytes(data)

    def about(self, run_id: str, job: str) -> dict[str, Any]:
        return {"experiment_id": "e", "job": job, "run_id": run_id, "attempt": 1, "time_ns": 5}


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_no_answer_depends_on_the_index(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as path:
        house = House(path)
        # Most of what can go wrong needs experiments that are in the index.
        for step, seed in [("new", 1), ("new", 2), ("late", 1), ("end", 3), ("index", 0), *steps]:
            house.do(step, random.Random(seed))
            with_it = told(house.home)
            hidden = house.index.with_suffix(".hidden")
            if house.index.exists():
                os.rename(house.index, hidden)
            assert with_it == told(house.home)
            if hidden.exists():
                os.rename(hidden, house.index)


def test_the_index_is_used_and_extended() -> None:
    with tempfile.TemporaryDirectory() as path:
        house = House(path)
        for seed in range(20):
            house.new(random.Random(seed))
        for folder in house.home.experiment_folders():
            house.change("end", folder, random.Random(0))
        known = index_when_settled(Path(path))
        assert known == 20

        index = Index(house.home)
        for folder in house.home.experiment_folders():
            index.experiment(folder)

        assert index.save(worth=0) == 0, "an experiment was read from its folder again"
        (tmp := Path(path, "index.db")).write_bytes(b"no database")
        assert rebuild_index(house.home) == known
        assert tmp.read_bytes().startswith(b"SQLite format 3")
