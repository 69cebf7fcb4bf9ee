"""Configurations beside those of other libraries: imports, changes, building, help, batches."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benches.row import Row
from benches.scratch import scratch
from runbus import codec
from runbus.config import Config, apply_overrides, load_batch, parse_override

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 9
PARAMETERS, FIELDS, CHANGES, NODES, JOBS = 50, 200, 50, 1_000, 10_000


def main() -> list[Row]:
    with scratch() as folder:
        return [
            *imports_and_helps(folder),
            changes(folder),
            building(),
            batch(folder),
        ]


def imports_and_helps(folder: str) -> list[Row]:
    """Return what a parse costs with its imports, and what a help page does."""
    signature = ", ".join(f"p{at}: int = {at}" for at in range(PARAMETERS))
    programs = {
        "bare": "pass",
        "ours": (
            f"import runbus.cli\ndef train({signature}): pass\n"
            "if __name__ == '__main__': runbus.cli.main(train)"
        ),
        "click": (
            "import click\n@click.command()\n"
            + "".join(f"@click.option('--p{at}', default={at})\n" for at in range(PARAMETERS))
            + f"def train({', '.join(f'p{at}' for at in range(PARAMETERS))}): pass\n"
            "if __name__ == '__main__': train()"
        ),
        "tyro": (
            f"import tyro\ndef train({signature}): pass\nif __name__ == '__main__': tyro.cli(train)"
        ),
        "jsonargparse": (
            f"import jsonargparse\ndef train({signature}): pass\n"
            "if __name__ == '__main__': jsonargparse.auto_cli(train)"
        ),
        "hydra": (
            "import hydra\nfrom dataclasses import make_dataclass\n"
            "from hydra.core.config_store import ConfigStore\n"
            f"Own = make_dataclass('Own', [(f'p{{at}}', int, at) for at in range({PARAMETERS})])\n"
            "ConfigStore.instance().store(name='own', node=Own)\n"
            "@hydra.main(version_base=None, config_name='own')\ndef train(cfg): pass\n"
            "if __name__ == '__main__': train()"
        ),
        "fiddle": "import fiddle\ndef train(p3=3): pass\nfiddle.Config(train).p3 = 5",
    }
    words = {"click": ["--p3=5"], "tyro": ["--p3=5"], "jsonargparse": ["--p3=5"]}
    present = {"ours", "bare"} | {name for name in programs if importlib.util.find_spec(name)}
    times: dict[tuple[str, str], list[float]] = {}
    for name in present:
        Path(folder, f"{name}_program.py").write_text(programs[name])
    for _ in range(ROUNDS):
        for name in sorted(present):
            program = str(Path(folder, f"{name}_program.py"))
            for what, given in (("parse", words.get(name, ["p3=5"])), ("help", ["--help"])):
                times.setdefault((name, what), []).append(cpu_ms([program, *given], folder))
    best = {key: min(values) for key, values in times.items()}

    def beside(what: str) -> dict[str, float]:
        rivals = sorted(present - {"ours", "bare", "fiddle" if what == "help" else ""})
        return {name: best[name, what] - best["bare", what] for name in rivals}

    helps = beside("help")
    return [
        Row(
            "import runbus.cli and one parse, over a bare interpreter",
            best["ours", "parse"] - best["bare", "parse"], "ms", 60, beside("parse"),
        ),
        Row(
            f"--help of an entrypoint with {PARAMETERS} parameters",
            best["ours", "help"] - best["bare", "help"], "ms", None, helps,
            ratios={"click": 1.5},
        ),
    ]  # fmt: skip


def cpu_ms(words: list[str], folder: str) -> float:
    """Return the processor time that a program takes."""
    before = os.times()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True
    )
    after = os.times()
    return 1e3 * (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def best_ms(work: Callable[[], object]) -> float:
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return 1e3 * min(found)


def changes(folder: str) -> Row:
    """Return what changes of a nested configuration cost, beside OmegaConf and jsonargparse."""
    leaf = dataclasses.make_dataclass(
        "Leaf", [(f"f{at}", int, dataclasses.field(default=at)) for at in range(10)]
    )
    root = dataclasses.make_dataclass(
        "Root",
        [
            (f"part{at}", leaf, dataclasses.field(default_factory=leaf))
            for at in range(FIELDS // 10)
        ],
    )
    words = [f"part{at % 20}.f{at % 10}={at}" for at in range(CHANGES)]

    def ours() -> None:
        config = Config(root)
        apply_overrides(config, map(parse_override, words))

    ours()
    beside = {}
    if importlib.util.find_spec("omegaconf"):
        omegaconf = importlib.import_module("omegaconf").OmegaConf
        base = omegaconf.structured(root)
        beside["OmegaConf"] = best_ms(lambda: omegaconf.merge(base, omegaconf.from_dotlist(words)))
    if importlib.util.find_spec("jsonargparse"):
        parser = importlib.import_module("jsonargparse").ArgumentParser()
        parser.add_argument("--root", type=root, default=root())
        options = [f"--root.{word}" for word in words]
        beside["jsonargparse"] = best_ms(lambda: parser.parse_args(options))
    return Row(
        f"{CHANGES} overrides onto a nested config of {FIELDS} fields",
        best_ms(ours), "ms", 3, beside,
    )  # fmt: skip


@dataclasses.dataclass
class Node:
    """A part."""

    number: int = 0
    rate: float = 0.5
    name: str = "x"


@dataclasses.dataclass
class Tree:
    """What holds the parts."""

    nodes: list[Node] = dataclasses.field(default_factory=list)


def building() -> Row:
    """Return what it costs to build a configuration of many parts, beside fiddle."""
    values = [{"number": at, "rate": 0.5, "name": "y"} for at in range(NODES - 1)]
    ours: Any = Config(Tree, nodes=[Config(Node, **one) for one in values])
    beside = {"the objects themselves": best_ms(lambda: Tree([Node(**one) for one in values]))}  # type: ignore[arg-type]
    if importlib.util.find_spec("fiddle"):
        fiddle = importlib.import_module("fiddle")
        theirs = fiddle.Config(Tree, nodes=[fiddle.Config(Node, **one) for one in values])
        beside["fiddle"] = best_ms(lambda: fiddle.build(theirs))
    return Row(f"building a config of {NODES:,} nodes", best_ms(ours.build), "ms", 5, beside)


def batch(folder: str) -> Row:
    """Return what it costs to read and check a large batch in YAML, beside msgspec on its data."""
    jobs = [
        {"name": f"job-{at}", "command": ["train", "--seed", str(at)], "retries": 2}
        for at in range(JOBS)
    ]
    path = Path(folder, "batch.yaml")
    path.write_text(
        "project: bench\njobs:\n"
        + "".join(
            textwrap.dedent(f"""\
                - name: {job["name"]}
                  command: {json.dumps(job["command"])}
                  retries: 2
                """)
            for job in jobs
        )
    )

    class Job(msgspec.Struct, forbid_unknown_fields=True):
        name: str
        command: list[str]
        retries: int = 0

    alone = statistics.median([best_ms(lambda: codec.convert(jobs, list[Job])) for _ in range(3)])
    return Row(
        f"a batch file of {JOBS:,} jobs, read and checked",
        best_ms(lambda: load_batch(str(path))) / 1e3, "s", 1.0,
        {"msgspec alone, on the data": alone / 1e3},
    )  # fmt: skip
