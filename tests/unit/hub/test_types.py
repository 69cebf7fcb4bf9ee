"""Types of experiments: ours and a user's pass the same tests, on data that was measured."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas  # type: ignore[import-untyped]
import polars
import pytest

from runbus.config import make
from runbus.errors import ConfigInvalid, ModelUnreadable
from runbus.hub import ExperimentHub
from runbus.hub._train import same_form
from runbus.hub.experiments import (
    ExperimentType,
    FaultDetectionExperiment,
    TimeSeriesExperiment,
    load_state,
)

from .test_experiments_of_a_hub import TYPES


class Case(NamedTuple):
    """A type, what it is made with, what it learns from, and what it cannot use."""

    make: Callable[[], Any]
    data: Any
    wrong: list[Any]


def temperatures() -> Any:
    """Return the hourly temperature of Seattle in 2010, (8759,), in °F."""
    from vega_datasets import local_data

    return local_data.seattle_temps()["temp"].to_numpy()


def cells() -> dict[str, Any]:
    """Return the features of cells, and which are malignant: UCI, Breast Cancer Wisconsin."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    return {"values": found.data, "faults": found.target == 0}


def users_own() -> Any:
    module: dict[str, Any] = {}
    exec(TYPES, module)
    return module["Mean"]()


CASES = {
    "time_series": lambda: Case(
        lambda: TimeSeriesExperiment(window=24, horizon=3),
        temperatures(),
        [[], [1.0] * 5, [[1.0], [2.0]], ["warm"] * 30, [float("nan")] * 30],
    ),
    "pca": lambda: Case(
        lambda: FaultDetectionExperiment(components=0.9),
        cells(),
        [
            [],
            [1.0],
            [["a"]],
            [[float("inf")]],
            {"values": [[1.0], [2.0]], "faults": [True]},
            {"a": [1.0], "b": [1.0, 2.0]},
        ],
    ),
    "ee": lambda: Case(
        lambda: FaultDetectionExperiment(model="ee"), cells(), [[], [1.0], {"values": []}]
    ),
    "own": lambda: Case(users_own, [1.0, 2.0, 3.0], [[], ["a"]]),
}


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture(scope="module")
def trained(case: Case) -> tuple[Any, Any, Any]:
    """Return a trained experiment, its data, and what it logged."""
    experiment = case.make()
    data = experiment.format_data(case.data)
    experiment.create_model()
    return experiment, data, experiment.run(data)


def test_it_offers_what_the_port_says(case: Case) -> None:
    assert isinstance(case.make(), ExperimentType)


def test_what_it_logs_are_finite_numbers(trained: tuple[Any, Any, Any]) -> None:
    _, _, logged = trained
    assert logged
    assert all(np.isfinite(float(value)) for value in logged.values())


def test_its_predictions_and_its_score_are_data(trained: tuple[Any, Any, Any]) -> None:
    experiment, data, _ = trained
    json.dumps(experiment.predict(data))
    assert 0 <= experiment.score(data) <= 1


def test_what_was_saved_predicts_the_same(
    case: Case, trained: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    experiment, data, _ = trained
    experiment.save(str(tmp_path))
    other = case.make()
    other.load(str(tmp_path))

    assert other.predict(data) == experiment.predict(data)
    assert other.score(data) == experiment.score(data)


def test_no_file_of_it_is_a_pickle(trained: tuple[Any, Any, Any], tmp_path: Path) -> None:
    experiment, _, _ = trained
    experiment.save(str(tmp_path))

    for file in tmp_path.iterdir():
        assert file.suffix in (".npz", ".json")
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype.kind == "f" for name in arrays)


def test_data_that_it_cannot_use_is_a_value_error(case: Case) -> None:
    for wrong in case.wrong:
        with pytest.raises(ValueError):  # noqa: PT011 - each says it in its own words
            case.make().format_data(wrong)


def test_a_forecast_of_the_next_hours_is_nearer_than_the_last_one_seen() -> None:
    series = temperatures()
    experiment = TimeSeriesExperiment(window=48)
    data = experiment.format_data(series)
    experiment.create_model()
    logged = experiment.run(data)

    assert logged["test/r2"] > 0.97
    rest = data[-1000:]
    naive = 1 - ((rest[1:] - rest[:-1]) ** 2).sum() / ((rest[1:] - rest[1:].mean()) ** 2).sum()
    assert experiment.score(rest) > naive


@pytest.mark.parametrize("model", ["pca", "ee"])
def test_malignant_cells_are_found_by_what_was_learned_of_the_others(model: Any) -> None:
    known = cells()
    half = np.arange(len(known["faults"])) % 2 == 0
    first = {name: one[half] for name, one in known.items()}
    experiment = FaultDetectionExperiment(model=model)
    data = experiment.format_data(first)
    experiment.create_model()
    experiment.run(data)
    rest = experiment.format_data({name: one[~half] for name, one in known.items()})

    assert experiment.score(rest) > 0.7
    assert len(experiment.predict(rest)) == (~half).sum()


def test_a_data_frame_is_its_columns() -> None:
    columns = {"vibration": [0.1, 0.2, 0.3], "temperature": [20.0, 21.0, 22.0]}
    for frame in pandas.DataFrame(columns), polars.DataFrame(columns), columns:
        for data in frame, {"values": frame, "faults": [False, False, True]}:
            found = FaultDetectionExperiment().format_data(same_form(data))
            assert found.values.tolist() == [[0.1, 20.0], [0.2, 21.0], [0.3, 22.0]]
    for series in pandas.Series([1.0, 2.0]), polars.Series([1.0, 2.0]):
        assert TimeSeriesExperiment(window=1).format_data(same_form(series)).tolist() == [1.0, 2.0]


def test_samples_of_another_width_are_a_value_error() -> None:
    experiment = FaultDetectionExperiment()
    experiment.create_model()
    experiment.run(experiment.format_data(np.eye(5)))
    with pytest.raises(ValueError, match="expected 5 features, found 3"):
        experiment.predict(experiment.format_data(np.eye(3)))


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (TimeSeriesExperiment, {"window": 0}, "expected at least 1"),
        (TimeSeriesExperiment, {"holdout": 1.0}, "expected less than 1"),
        (FaultDetectionExperiment, {"model": "svm"}, "one of 'pca', 'ee'"),
        (FaultDetectionExperiment, {"contamination": 0.7}, "expected less than 0.5"),
        (FaultDetectionExperiment, {"treshold": 1}, "unknown key"),
    ],
    ids=range(5),
)
def test_settings_out_of_their_range_are_refused(
    kind: Any, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigInvalid, match=reason):
        make(kind, settings)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    experiment = TimeSeriesExperiment(window=2)
    experiment.create_model()
    experiment.run(experiment.format_data(np.arange(50.0)))
    folder = tmp_path / "model"
    folder.mkdir()
    experiment.save(str(folder))
    return folder


def pickled(folder: Path) -> None:
    np.savez(folder / "arrays.npz", coefficients=np.array([print], dtype=object))


def bomb(folder: Path) -> None:
    """Write an archive that claims to unpack to 2 GiB."""
    with zipfile.ZipFile(folder / "arrays.npz", "w") as archive:
        archive.writestr("coefficients.npy", b"x")
        archive.filelist[0].file_size = 2 << 30


def linked(folder: Path) -> None:
    (folder / "values.json").rename(folder / "elsewhere")
    (folder / "values.json").symlink_to("elsewhere")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no arrays": lambda folder: (folder / "arrays.npz").unlink(),
    "no values": lambda folder: (folder / "values.json").unlink(),
    "cut": lambda folder: (folder / "arrays.npz").write_bytes(b"PK\3\4"),
    "pickled": pickled,
    "no json": lambda folder: (folder / "values.json").write_text("{"),
    "a list": lambda folder: (folder / "values.json").write_text("[]"),
    "other kind": lambda folder: (folder / "values.json").write_text('{"format": 1, "kind": "x"}'),
    "other name": lambda folder: np.savez(folder / "arrays.npz", other=np.zeros(2)),
    "nan": lambda folder: np.savez(folder / "arrays.npz", coefficients=np.array([1, np.nan])),
    "other shape": lambda folder: np.savez(folder / "arrays.npz", coefficients=np.zeros((2, 2))),
    "a link": linked,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_model_that_is_damaged_is_refused(damage: str, saved: Path) -> None:
    DAMAGE[damage](saved)
    with pytest.raises(ModelUnreadable):
        TimeSeriesExperiment(window=2).load(str(saved))


def test_a_model_of_other_settings_is_refused(saved: Path) -> None:
    with pytest.raises(ModelUnreadable, match="not of a window of 3"):
        TimeSeriesExperiment(window=3).load(str(saved))
    with pytest.raises(ModelUnreadable, match="of 'time_series', not of 'fault_detection'"):
        FaultDetectionExperiment().load(str(saved))


def test_arrays_that_unpack_to_more_than_is_read_are_refused(saved: Path) -> None:
    bomb(saved)
    with pytest.raises(ModelUnreadable, match="more than"):
        load_state(str(saved), "time_series", "coefficients")


def test_a_hub_trains_both_on_arrays(capfd: pytest.CaptureFixture[str]) -> None:
    assert "sklearn" in sys.modules
    with ExperimentHub() as hub:
        hub.create_experiment("seattle", "time_series", {"window": 24, "horizon": 2})
        hub.create_experiment("cells", "fault_detection")
        hub.train("seattle", temperatures(), wait=False)
        hub.train("cells", cells(), wait=False)
        run = hub.wait_trained("seattle")
        assert run.summaries()["test/r2"].last > 0.9
        hub.wait_trained("cells")
        assert len(hub.predict("seattle", temperatures())) == 2
        assert sum(hub.predict("cells", cells())) > 100
    assert capfd.readouterr().err == ""
