"""Params, tags, notes, texts and histograms: recorded, merged, read while they are written."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbus
from runbus._core import Journal
from runbus.errors import RecordNotFound


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_params_are_the_config_and_what_was_set_since() -> None:
    with runbus.init(config={"lr": 0.1, "opt": {"name": "sgd"}}) as run:
        run.params({"opt": {"momentum": 0.9}, "layers": [1, 2]}, seed=np.int64(3), root=Path("/d"))

        assert runbus.open_run(run.id).params == {
            "lr": 0.1,
            "opt/name": "sgd",
            "opt/momentum": 0.9,
            "layers": [1, 2],
            "seed": 3,
            "root": "/d",
        }


def test_a_param_that_changes_keeps_all_its_values_and_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with runbus.init(config={"lr": 0.1}) as run, caplog.at_level(logging.WARNING):
        run.params(lr=0.1, seed=1)
        assert caplog.messages == []
        run.params(lr=0.2)
        run.params(seed=True)

    stored = runbus.open_run(run.id)
    assert stored.params == {"lr": 0.2, "seed": True}
    values = stored.param_values()
    assert [value.value for value in values["lr"]] == [0.1, 0.2]
    assert [repr(value.value) for value in values["seed"]] == ["1", "True"]
    assert values["lr"][0].time_ns <= values["lr"][1].time_ns
    assert ["'lr' was 0.1 and is now 0.2" in message for message in caplog.messages] == [
        True,
        False,
    ]


def test_no_secret_of_config_or_params_reaches_the_disk() -> None:
    config = {"api_key": "hidden-1", "db": {"password": "hidden-2"}}
    with runbus.init(config=config) as run:
        run.params(hf_token="hidden-3", url="http://me:hidden-4@host/")
        assert run.config == config

    for path in Path(run.folder).rglob("*"):
        assert path.is_dir() or b"hidden" not in path.read_bytes(), path
    assert runbus.open_run(run.id).params == {
        "api_key": "***",
        "db/password": "***",
        "hf_token": "***",
        "url": "http://***@host/",
    }


def test_who_attaches_with_a_secret_has_it_and_writes_it_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with runbus.init(config={"api_key": "hidden-1"}) as made:
        monkeypatch.setenv("RUNBUS_RUN", made.folder)
        with runbus.init(config={"api_key": "hidden-2", "depth": 3}) as attached:
            assert attached.config == {"api_key": "hidden-2", "depth": 3}

    assert runbus.open_run(made.id).config == {"api_key": "***", "depth": 3}


def test_tags_come_and_go_and_notes_stay() -> None:
    with runbus.init() as run:
        run.tag("baseline", "slow")
        run.untag("slow", "never given")
        run.tag("baseline", "v2")
        run.note("first\nline")
        run.note("second")

        stored = runbus.open_run(run.id)
        assert stored.tags == ["baseline", "v2"]
        assert [note.text for note in stored.notes] == ["first\nline", "second"]


def test_texts_are_read_back_whatever_their_length() -> None:
    texts = ["", "short\r\n\0é", "x" * 200_000, "lone \ud800 surrogate"]
    with runbus.init() as run:
        for step, text in enumerate(texts):
            run.log_text("generated", text, step)

    found = runbus.open_run(run.id).text("generated")
    assert [(text.step, text.text) for text in found] == [
        *enumerate(texts[:3]),
        (3, "lone ? surrogate"),
    ]


def test_a_histogram_counts_what_is_finite_and_says_what_is_not() -> None:
    with runbus.init() as run:
        run.log_histogram("w", np.array([[0.0, 1.0], [math.nan, math.inf]]), step=7, bins=2)
        run.log_histogram("w", ([1, 2.5], [0, 1, 2]))

    first, second = runbus.open_run(run.id).histograms("w")
    assert (first.step, first.counts, first.edges, first.not_finite) == (7, [1, 1], [0, 0.5, 1], 2)
    assert (second.step, second.counts, second.edges) == (None, [1, 2.5], [0, 1, 2])


@pytest.mark.parametrize("bins", [1, 64, 4096])
@pytest.mark.parametrize(
    "values",
    [
        [0.3, 0.1 + 0.2],
        [1e17, 1e17],
        [5e-324, 0.0],
        [-1e308, 1e308, 5.0],
        [sys.float_info.max, sys.float_info.max],
    ],
)
def test_a_histogram_takes_any_finite_values(values: list[float], bins: int) -> None:
    with runbus.init() as run:
        run.log_histogram("w", values, bins=bins)

    (found,) = runbus.open_run(run.id).histograms("w")
    assert sum(found.counts) == len(values)
    assert len(found.edges) == bins + 1
    assert all(a < b for a, b in pairwise(found.edges))
    assert found.edges[0] <= min(values) <= max(values) <= found.edges[-1]


def test_what_numpy_makes_a_histogram_of_is_what_is_kept() -> None:
    values = np.random.default_rng(3).normal(size=1000)
    counts, edges = np.histogram(values, bins=10)
    with runbus.init() as run:
        run.log_histogram("w", values, bins=10)
        run.log_histogram("w", (counts, edges))

    for histogram in runbus.open_run(run.id).histograms("w"):
        assert histogram.counts == counts.tolist()
        assert histogram.edges == edges.tolist()


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda run: run.params(model=object()), TypeError, "'model'"),
        (lambda run: run.params({"a": {"b": 1}, "a/b": 2}), ValueError, "'a/b' occurs twice"),
        (lambda run: run.params({"": 1}), ValueError, "name of a param"),
        (lambda run: run.tag("fine", 3), TypeError, "name of a tag"),
        (lambda run: run.untag(""), ValueError, "name of a tag"),
        (lambda run: run.note(3), TypeError, "a note must be a str"),
        (lambda run: run.log_text("t", b"x"), TypeError, "a text must be a str"),
        (lambda run: run.log_text("t\ud800", "x"), ValueError, "lone surrogate"),
        (lambda run: run.log_text("t", "x", 1.5), TypeError, "step"),
        (lambda run: run.log_text("t", "x", 2**63), OverflowError, "step"),
        (lambda run: run.log_histogram("h", []), ValueError, "at least one value"),
        (lambda run: run.log_histogram("h", ["a"]), TypeError, "real numbers"),
        (lambda run: run.log_histogram("h", [1.0], bins=0), ValueError, "bins"),
        (lambda run: run.log_histogram("h", ([1], [0])), ValueError, "1 counts and 1 edges"),
        (lambda run: run.log_histogram("h", ([1, -1], [0, 1, 2])), ValueError, "negative"),
        (lambda run: run.log_histogram("h", ([1], [1, 0])), ValueError, "ascend"),
        (lambda run: run.log_histogram("h", ([1], [0, math.nan])), ValueError, "ascend"),
        (lambda run: run.log_histogram("h", (["a"], [0, 1])), TypeError, "counts"),
    ],
)
def test_a_wrong_argument_raises_names_it_and_records_nothing(
    call: Any, error: type[Exception], named: str
) -> None:
    with runbus.init() as run:
        with pytest.raises(error, match=named):
            call(run)
        assert run.lost_records == 0

    stored = runbus.open_run(run.id)
    assert (stored.params, stored.tags, stored.text(), stored.histograms()) == ({}, [], [], [])


def test_an_unknown_name_is_told_with_its_near_matches() -> None:
    with runbus.init() as run:
        run.log_text("generated", "x")
        run.log_histogram("weights", ([1], [0, 1]))
    stored = runbus.open_run(run.id)

    with pytest.raises(RecordNotFound) as caught:
        stored.text("generate")
    assert (caught.value.kind, caught.value.similar) == ("text", ("generated",))
    with pytest.raises(RecordNotFound, match="no histogram named 'w'"):
        stored.histograms("w")
    with pytest.raises(RecordNotFound, match="no image named 'generated'"):
        stored.images("generated")


def test_recording_to_a_finished_run_says_so() -> None:
    run = runbus.init()
    run.tag("a")
    run.finish()

    for call in (lambda: run.tag("b"), lambda: run.log_text("t", "x"), lambda: run.params(a=1)):
        with pytest.raises(ValueError, match="finished"):
            call()
    run.finish()


def test_a_run_that_records_nothing_has_no_index() -> None:
    with runbus.init() as run:
        run.log("loss", 1.0)
        run.params()
        run.tag()

    assert not (Path(run.folder) / "records").exists()
    assert not (Path(run.folder) / "artifacts").exists()


def test_recording_loads_no_more_than_logging_does() -> None:
    done = python(
        """
        import sys, runbus
        run = runbus.init(config={"a": 1})
        run.params(b=2), run.tag("t"), run.note("n"), run.log_text("x", "y")
        heavy = {"asyncio", "msgspec", "numpy", "hashlib", "shutil", "threading", "logging"}
        print(*heavy & set(sys.modules))
        """
    )

    assert (done.stdout, done.stderr) == ("\n", "")


def test_a_reader_sees_what_comes_and_reads_nothing_twice() -> None:
    run = runbus.init()
    stored = runbus.open_run(run.id)
    assert stored.tags == []
    for number in range(5):
        run.tag(str(number))
        run.note(str(number))
        assert stored.tags == [str(n) for n in range(number + 1)]
        assert [note.text for note in stored.notes] == stored.tags
    run.finish()
    assert stored.tags == runbus.open_run(run.id).tags


def test_a_torn_or_damaged_index_keeps_what_is_whole() -> None:
    with runbus.init() as run:
        for number in range(10):
            run.tag(f"tag-{number}")
    (index,) = (Path(run.folder) / "records").iterdir()
    whole = index.read_bytes()

    index.write_bytes(whole[: whole.index(b"tag-7") + 3])
    assert runbus.open_run(run.id).tags == [f"tag-{n}" for n in range(7)]
    index.write_bytes(whole.replace(b"tag-4", b"tag-x"))
    stored = runbus.open_run(run.id)
    assert stored.tags == [f"tag-{n}" for n in range(10) if n != 4]
    assert list(stored.damage()) == [f"records/{index.name}"]


def test_what_no_writer_of_ours_wrote_is_passed_over() -> None:
    with runbus.init() as run:
        run.tag("ours")
    blobs = [
        b"\xff",
        b"[]",
        b'{"time_ns":1}',
        b'{"what":"tags"}',
        b'{"what":"tags","time_ns":1,"added":3,"removed":[]}',
        b'{"what":"new in a later version","time_ns":1}',
        b'{"what":"artifact","time_ns":1,"name":"x","kind":"file","size":1,"sha256":"'
        + b"a" * 64
        + b'","file":"../../../run.json","is_folder":false}',
    ]
    with Journal(Path(run.folder) / "records" / "other.journal", append=False) as journal:
        for blob in blobs:
            journal.append(blob)

    stored = runbus.open_run(run.id)
    assert stored.tags == ["ours"]
    assert stored.artifacts() == []
    assert [len(stretches) for stretches in stored.damage().values()] == [5]


def test_threads_share_one_index() -> None:
    done = python(
        """
        import threading, runbus
        with runbus.init() as run:
            def work(number):
                for count in range(50):
                    run.note(f"{number}/{count}")
                    run.log_text("long", f"{number}/{count}" * 20_000)
            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert run.lost_records == 0
        """
    )

    assert (done.returncode, done.stderr) == (0, "")
    (run,) = runbus.runs()
    assert len(os.listdir(os.path.join(run.folder, "records"))) == 1
    expected = {f"{number}/{count}" for number in range(8) for count in range(50)}
    assert {note.text for note in run.notes} == expected
    assert {text.text[: len(text.text) // 20_000] for text in run.text("long")} == expected


def test_a_pickled_run_records_in_the_other_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing, runbus

            def work(run, number):
                run.tag(f"tag-{number}")
                run.log_text("work", str(number), number)

            if __name__ == "__main__":
                with runbus.init() as run:
                    with multiprocessing.get_context("spawn").Pool(2) as pool:
                        pool.starmap(work, [(run, n) for n in range(8)], chunksize=1)
                        pool.close()
                        pool.join()
                    run.tag("parent")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=150, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    (run,) = runbus.runs()
    assert sorted(run.tags) == ["parent", *(f"tag-{n}" for n in range(8))]
    assert sorted(text.text for text in run.text("work")) == [str(n) for n in range(8)]


def test_what_starts_a_run_records_params_of_it_with_secrets_left_out(tmp_path: Path) -> None:
    with runbus.init(project="p", home=tmp_path, config={"lr": 1}) as run:
        stored = runbus.open_run(run.id, home=tmp_path)
        stored.set_params({"lr": 0.5, "model": {"width": 3}, "api_token": "hunter2"})

    params = runbus.open_run(run.id, home=tmp_path).params
    assert params == {"lr": 0.5, "model/width": 3, "api_token": "***"}
