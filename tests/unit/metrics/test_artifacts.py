"""Files, folders, images and tables: kept by content, whole or not at all, never changed."""

from __future__ import annotations

import hashlib
import importlib
import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import runbus
from runbus.errors import ArtifactUnreadable, ExtraMissing, RecordNotFound
from runbus.metrics import Artifact, Run

duckdb: Any = importlib.import_module("duckdb")
pd: Any = importlib.import_module("pandas")


@pytest.fixture
def run() -> Any:
    with runbus.init(project="p") as run:
        yield run


def kept(run: Run) -> list[Artifact]:
    return runbus.open_run(run.id).artifacts()


def files_of(run: Run) -> list[str]:
    root = Path(run.folder) / "artifacts"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_file_is_kept_as_it_was(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "model.tar.gz"
    source.write_bytes(b"first")

    made = run.log_artifact(source, "best", "model", step=3, caption="of epoch 3")
    source.write_bytes(b"other")

    assert made is not None
    assert kept(run) == [made]
    assert (made.name, made.kind, made.step, made.caption) == ("best", "model", 3, "of epoch 3")
    assert (made.size, made.sha256) == (5, hashlib.sha256(b"first").hexdigest())
    assert Path(made.path).read_bytes() == b"first"
    assert Path(made.path).name == "model.tar.gz"
    assert Path(made.path).stat().st_mode & 0o222 == 0
    assert made.is_whole()


def test_a_name_logged_again_keeps_both_contents(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "model"
    for step in range(3):
        source.write_text(str(step))
        run.log_artifact(source, step=step)

    found = runbus.open_run(run.id).artifacts("model")
    assert [(one.step, Path(one.path).read_text()) for one in found] == [
        (0, "0"),
        (1, "1"),
        (2, "2"),
    ]


def test_the_same_content_is_stored_once_under_any_name(run: Run, tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(b"same")
        run.log_artifact(tmp_path / name)
    run.log_artifact(tmp_path / "a.bin", "third")

    found = kept(run)
    assert [one.name for one in found] == ["a.bin", "b.bin", "third"]
    assert len({one.path for one in found}) == len(files_of(run)) == 1
    assert all(one.is_whole() for one in found)


def test_a_folder_is_kept_with_what_its_links_lead_to(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "deep" / "er" / "w.bin").write_bytes(b"weights")
    (folder / "config.json").symlink_to(tmp_path / "shared.json")
    (tmp_path / "shared.json").write_text("{}")
    (folder / os.fsdecode(b"not-utf8-\xff")).write_text("x")

    made = run.log_artifact(f"{folder}/")
    (folder / "deep" / "er" / "w.bin").write_bytes(b"later")

    assert made is not None
    assert (made.name, made.kind, made.size) == ("checkpoint", "folder", 10)
    copy = Path(made.path)
    assert sorted(os.listdir(copy)) == ["config.json", "deep", os.fsdecode(b"not-utf8-\xff")]
    assert (copy / "deep" / "er" / "w.bin").read_bytes() == b"weights"
    assert not (copy / "config.json").is_symlink()
    assert made.is_whole()
    listing = subprocess.run(
        "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum",
        shell=True,
        cwd=copy,
        capture_output=True,
        check=True,
    )
    assert listing.stdout.split()[0].decode() == made.sha256


def test_an_equal_folder_is_stored_once(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("same")
        run.log_artifact(tmp_path / name)

    assert len(files_of(run)) == 1
    assert [one.is_whole() for one in kept(run)] == [True, True]


def loop(folder: Path) -> Path:
    (folder / "loop").mkdir()
    (folder / "loop" / "again").symlink_to(folder / "loop")
    return folder / "loop"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def dangling(folder: Path) -> Path:
    (folder / "there").mkdir()
    (folder / "there" / "link").symlink_to("nowhere")
    return folder / "there"


def nested(folder: Path) -> Path:
    deepest = folder.joinpath("nested", *["d"] * 300)
    deepest.mkdir(parents=True)
    (deepest / "file").touch()
    return folder / "nested"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "missing", "no such file"),
        (nested, "lie within each other"),
        (loop, "leads back"),
        (pipe, "neither a file nor a folder"),
        (dangling, "no such file"),
        (lambda folder: (folder / "empty").mkdir() or folder / "empty", "holds no file"),
    ],
)
def test_what_cannot_be_read_raises_and_leaves_nothing(
    run: Run, tmp_path: Path, make: Any, reason: str
) -> None:
    with pytest.raises(ArtifactUnreadable, match=reason):
        run.log_artifact(make(tmp_path))

    assert kept(run) == []
    assert os.listdir(Path(run.folder) / "artifacts") == []
    assert run.lost_records == 0


def test_a_folder_that_holds_the_run_is_refused(run: Run, home: Path) -> None:
    with pytest.raises(ArtifactUnreadable, match="run itself"):
        run.log_artifact(home)


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/passwd", "..", ".", "-rf", "a b\n\0c", "日本語/é.png", "x" * 5000, ".hidden"],
)
def test_no_name_leads_out_of_the_folder(run: Run, name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    run.log_artifact(source, name)
    run.log_table(name, [{"a": 1}])
    run.log_text(name, "y" * 100_000)

    found = runbus.open_run(run.id)
    root = os.path.realpath(os.path.join(run.folder, "artifacts"))
    assert [one.name for one in found.artifacts()] == [name, name]
    for one in found.artifacts():
        assert os.path.realpath(one.path).startswith(f"{root}/{one.sha256}/")
    assert found.text(name)[0].text == "y" * 100_000
    assert len(files_of(run)) == 3


def test_what_a_power_failure_cut_short_is_put_right_when_it_comes_again(
    run: Run, tmp_path: Path
) -> None:
    source = tmp_path / "model"
    source.write_text("content")
    made = run.log_artifact(source)
    assert made is not None
    os.chmod(made.path, 0o644)
    os.truncate(made.path, 3)
    assert not made.is_whole()

    source = source.rename(tmp_path / "other")
    again = run.log_artifact(source, "again")

    assert again is not None
    assert again.path == made.path
    assert made.is_whole()
    assert len(files_of(run)) == 1


def test_sealing_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    with runbus.init() as run:
        run.log_text("t", "x" * 100_000)
    left = Path(run.folder) / "artifacts" / ".new-writer-0"
    left.mkdir()
    (left / "half").write_text("half")

    runbus.open_run(run.id).seal()

    assert not left.exists()
    assert len(runbus.open_run(run.id).text("t")[0].text) == 100_000


def test_sync_and_finish_bring_many_files_to_the_disk(run: Run) -> None:
    for number in range(150):
        run.log_text("long", f"{number}-" * 40_000)
        if number == 10:
            run.sync()
    run.finish()

    assert len(runbus.open_run(run.id).text("long")) == 150
    assert run.lost_records == 0


# --- Images ---------------------------------------------------------------------------------------


def pixels_of(one: Artifact) -> np.ndarray[Any, Any]:
    with Image.open(one.path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4), (3, 5, 7)])
def test_an_array_becomes_the_same_pixels(run: Run, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    run.log_image("image", array, 4, caption="noise")

    (one,) = runbus.open_run(run.id).images("image")
    expected = np.moveaxis(array, 0, 2) if shape == (3, 5, 7) else array
    assert (pixels_of(one) == (expected[:, :, 0] if expected.shape[2:] == (1,) else expected)).all()
    assert (one.kind, one.step, one.caption) == ("image", 4, "noise")
    assert one.path.endswith("/image.png")


def test_floats_bools_and_wide_ints_are_scaled_as_they_mean(run: Run) -> None:
    run.log_image("floats", np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    run.log_image("bools", np.array([[True, False]]))
    run.log_image("ints", np.array([[0, 128, 255]], dtype=np.int64))

    found = [pixels_of(one).tolist() for one in runbus.open_run(run.id).images()]
    assert found == [[[0, 128, 255]], [[255, 0]], [[0, 128, 255]]]


def test_values_beyond_are_cut_and_told(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run.log_image("cut", np.array([[-1.0, 2.0, np.nan, np.inf]]))

    assert pixels_of(kept(run)[0]).tolist() == [[0, 255, 0, 255]]
    (message,) = caplog.messages
    assert "beyond 0 to 1" in message


class Tensor:
    """Has what a tensor on a device has: numpy cannot read it where it is."""

    def __init__(self, array: Any, *, here: bool = False) -> None:
        self.array, self.here, self.dtype = array, here, array.dtype

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return Tensor(self.array, here=True)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        assert self.here, "numpy was given a tensor that is on a device"
        return self.array


def test_a_tensor_is_fetched_from_its_device(run: Run) -> None:
    run.log_image("tensor", Tensor(np.zeros((3, 4, 5))))
    run.log_histogram("tensor", Tensor(np.arange(4.0)), bins=2)

    assert pixels_of(kept(run)[0]).shape == (4, 5, 3)
    assert runbus.open_run(run.id).histograms()[0].counts == [2, 2]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "CMYK", "F", "P"])
def test_a_picture_of_pillow_becomes_a_png(run: Run, mode: str) -> None:
    run.log_image("picture", Image.new(mode, (4, 3)))

    with Image.open(kept(run)[0].path) as image:
        assert (image.format, image.size) == ("PNG", (4, 3))


class Figure:
    """Has what a figure of matplotlib has."""

    def savefig(self, file: io.BytesIO, *, format: str) -> None:
        Image.new("RGBA", (6, 4)).save(file, format=format)


def test_a_figure_becomes_a_png(run: Run) -> None:
    run.log_image("curve", Figure())

    with Image.open(kept(run)[0].path) as image:
        assert (image.format, image.size) == ("PNG", (6, 4))


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp", "tiff"])
def test_a_file_of_an_image_and_its_bytes_are_kept_as_they_are(
    run: Run, tmp_path: Path, kind: str
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3)).save(buffer, format=kind)
    (tmp_path / f"picture.{kind}").write_bytes(buffer.getvalue())

    run.log_image("bytes", buffer.getvalue())
    run.log_image("file", tmp_path / f"picture.{kind}")

    first, second = runbus.open_run(run.id).images()
    assert Path(first.path).read_bytes() == buffer.getvalue()
    assert first.path == second.path
    with Image.open(first.path) as image:
        assert image.format == kind.upper()


@pytest.mark.parametrize(
    ("image", "error", "named"),
    [
        (np.zeros((5, 3, 6)), ValueError, r"shape \(5, 3, 6\)"),
        (np.zeros(4), ValueError, r"shape \(4,\)"),
        (np.zeros((0, 3)), ValueError, r"shape \(0, 3\)"),
        (np.array([["a"]]), TypeError, "real numbers"),
        (np.array([[1j]]), TypeError, "real numbers"),
        (b"no image", ValueError, "no image file"),
        ("no/such/file.png", ArtifactUnreadable, "no such file"),
        (object(), TypeError, "real numbers"),
    ],
)
def test_what_is_no_image_is_refused(
    run: Run, image: Any, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        run.log_image("image", image)

    assert kept(run) == []


@pytest.mark.parametrize(
    ("missing", "extra", "call"),
    [
        ("PIL", "image", lambda run: run.log_image("i", np.zeros((2, 2)))),
        ("numpy", "numpy", lambda run: run.log_histogram("h", [1.0])),
        ("pyarrow", "arrow", lambda run: run.log_table("t", pl.DataFrame({"a": [1]}))),
    ],
)
def test_a_missing_package_is_told_with_the_extra_that_brings_it(
    run: Run, missing: str, extra: str, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)

    with pytest.raises(ExtraMissing) as caught:
        call(run)

    assert extra in (caught.value.hint or "")


# --- Tables ---------------------------------------------------------------------------------------

ROWS = [{"word": "a", "score": 0.5, "n": 1}, {"word": 'b\n"', "score": float("inf"), "n": 2}]


@pytest.mark.parametrize(
    "arguments",
    [
        {"data": ROWS},
        {"data": [list(row.values()) for row in ROWS], "columns": ["word", "score", "n"]},
        {"data": {name: [row[name] for row in ROWS] for name in ROWS[0]}},
        {
            "data": {
                "word": np.array(["a", 'b\n"']),
                "score": np.array([0.5, np.inf], dtype=np.float32),
                "n": range(1, 3),
            }
        },
        {"data": pl.DataFrame(ROWS)},
        {"data": pd.DataFrame(ROWS)},
        {"data": pa.Table.from_pylist(ROWS)},
    ],
    ids=["mappings", "lists", "columns", "arrays", "polars", "pandas", "arrow"],
)
def test_duckdb_reads_a_table_as_it_lies(run: Run, arguments: dict[str, Any]) -> None:
    run.log_table("scores", **arguments, step=2)

    (one,) = runbus.open_run(run.id).tables("scores")
    rows = duckdb.sql(f"SELECT word, score, n FROM '{one.path}'").fetchall()
    assert rows == [tuple(row.values()) for row in ROWS]
    assert one.step == 2


def test_a_table_of_metrics_is_a_table(run: Run) -> None:
    run.log("loss", 0.5)
    run.log_table("history", runbus.open_run(run.id).metrics(["*"]))

    (one,) = runbus.open_run(run.id).tables()
    assert pq.read_table(one.path).column("value").to_pylist() == [0.5]


@pytest.mark.parametrize(
    ("data", "columns", "error", "named"),
    [
        ([[1, 2]], None, TypeError, "row 0 .* name the columns"),
        ([[1, 2]], ["a"], ValueError, "row 0 .* 2 cells for 1 columns"),
        ({"a": [1], "b": []}, None, ValueError, "differ in length"),
        ([{"a": 1}, {"a": object()}], None, TypeError, "row 1"),
        ({"a": 3}, None, TypeError, "column 'a'"),
        ({3: [1]}, None, TypeError, "name of a column"),
        ("text", None, TypeError, "the table"),
        (3, None, TypeError, "the table"),
        (pd.DataFrame({"mixed": [1, "a"]}), None, TypeError, "table cannot become Parquet.*mixed"),
    ],
)
def test_what_is_no_table_is_refused(
    run: Run, data: Any, columns: Any, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        run.log_table("table", data, columns=columns)

    assert kept(run) == []


def test_artifacts_are_found_by_name_and_kind(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    run.log_artifact(tmp_path / "file", "a", "model")
    run.log_artifact(tmp_path / "file", "b", "model")
    run.log_image("a", np.zeros((2, 2)))
    stored = runbus.open_run(run.id)

    assert [one.kind for one in stored.artifacts("a")] == ["model", "image"]
    assert [one.name for one in stored.artifacts(kind="model")] == ["a", "b"]
    assert [one.kind for one in stored.artifacts("a", kind="image")] == ["image"]
    with pytest.raises(RecordNotFound, match="no model named 'c'"):
        stored.artifacts("c", kind="model")
