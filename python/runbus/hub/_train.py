"""What the job of a training does, and the files that go in and come out."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from typing import Any

from runbus._files import read_file
from runbus._home import ENV_ATTEMPT, ENV_RUN
from runbus.config import import_target, make
from runbus.errors import HomeUnusable
from runbus.hub._plain import plain_json

__all__ = ["MODEL", "read_data", "same_form", "train", "write_data"]

MODEL = "model"
"""What a run calls the folder of its model."""

_ARRAY, _JSON = "data.npy", "data.json"
_MOST_BYTES = 1 << 30


def same_form(data: Any) -> Any:
    """Return data as a job gets it: an array as it is, all else as JSON holds it.

    Raises:
        FieldInvalid: JSON cannot hold it.
    """
    return data if _is_array(data) else json.loads(plain_json(data, "data"))


def write_data(folder: str, data: Any) -> None:
    """Write data to a folder.

    Raises:
        FieldInvalid: JSON cannot hold it.
        OSError: It cannot be written.
    """
    if _is_array(data):
        import numpy as np

        with open(os.path.join(folder, _ARRAY), "xb") as array:
            np.save(array, data, allow_pickle=False)
        return
    text = plain_json(data, "data")
    with open(os.path.join(folder, _JSON), "x", encoding="utf-8") as file:
        file.write(text)


def read_data(folder: str) -> Any:
    """Return the data that lies in a folder.

    Raises:
        FileUnreadable: It is no regular file, or larger than 1 GiB.
        OSError: It is not there.
    """
    array = os.path.join(folder, _ARRAY)
    if os.path.exists(array):
        import numpy as np

        return np.load(array, allow_pickle=False)
    return json.loads(read_file(os.path.join(folder, _JSON), limit=_MOST_BYTES))


def _is_array(data: Any) -> bool:
    """Whether data is an array of numbers."""
    dtype = getattr(data, "dtype", None)
    return hasattr(data, "__array__") and getattr(dtype, "kind", "O") in "biuf"


def train(kind: str, target: str, settings: dict[str, Any], log_level: str) -> dict[str, float]:
    """Train an experiment in the job that was made for it, and keep the model with its run.

    Args:
        kind: What the hub calls the type.
        target: The import path of the type's class.
        settings: What its constructor takes.
        log_level: From which level on its logging is printed.

    Returns:
        What was logged.
    """
    import runbus

    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("runbus.hub").info("training %s (%s)", kind, target)
    experiment_folder = os.path.dirname(os.path.dirname(os.environ[ENV_RUN]))
    experiment: Any = make(import_target(target), settings)
    data = experiment.format_data(read_data(experiment_folder))
    experiment.create_model()
    found = {name: float(value) for name, value in dict(experiment.run(data) or {}).items()}
    found["score"] = float(experiment.score(data))
    with runbus.init() as run, tempfile.TemporaryDirectory(dir=os.environ[ENV_ATTEMPT]) as folder:
        run.log(found)
        experiment.save(folder)
        if run.log_artifact(folder, name=MODEL, kind=MODEL) is None:
            raise HomeUnusable(run.folder, "the model could not be kept: is the disk full?")
    return found
