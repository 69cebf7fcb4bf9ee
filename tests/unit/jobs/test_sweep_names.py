"""What the names of a sweep's jobs have in common, and which of its points each job is."""

from __future__ import annotations

import pytest

from runbus.jobs import SweepAsked, SweepPoint, common_name, own_name


@pytest.mark.parametrize(
    ("job", "common", "own"),
    [
        ("train-lr=0.1", "train", "lr=0.1"),
        ("fine-tune-lr=0.1,bs=2", "fine-tune", "lr=0.1,bs=2"),
        ("train-lr=1e-3,bs=2", "train", "lr=1e-3,bs=2"),
        ("lr=0.1", "lr", "lr=0.1"),
        ("train-12", "train", "12"),
        ("train_3", "train", "3"),
        ("train.3", "train", "3"),
        ("train#3", "train", "3"),
        ("train 3", "train", "3"),
        ("v2-train", "v2-train", "v2-train"),
        ("train", "train", "train"),
        ("12", "12", "12"),
    ],
)
def test_a_name_is_what_jobs_share_and_what_each_has_beside(
    job: str, common: str, own: str
) -> None:
    assert (common_name(job), own_name(job)) == (common, own)


def test_a_sweep_knows_which_of_its_points_a_job_is() -> None:
    sweep = SweepAsked(
        name="", space={"lr": [1, 2]}, total=3, jobs={"train-lr=1": "a", "train-lr=2": "b"},
        done={"c": "e-9"}, goal="min:loss",
    )  # fmt: skip

    assert sweep.title == "train"
    assert sweep.point("train-lr=2") == SweepPoint(
        sweep="", space={"lr": [1, 2]}, total=3, key="b", done={"c": "e-9"}, goal="min:loss"
    )
