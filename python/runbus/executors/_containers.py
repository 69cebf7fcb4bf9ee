"""Jobs in containers where no engine runs them: a program starts the job's command in an image.

The wrapper stays outside, so that records, logs and signals are those of any job. The folder below
which everything of the jobs lies is in the container where it lies on the machine.

Facts this rests on, seen with Charliecloud 0.31: it needs `USER`; a folder is mounted only where
the image has one; the variables of an image are used only if it is asked to; a storage that another
process uses is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec.structs import replace

from runbus._listed import listed
from runbus.errors import FieldInvalid, JobNotStarted, UsageError
from runbus.executors._paths import marked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import JobSpec

__all__ = ["ContainerRuntime", "Containers", "image_of"]

ContainerRuntime = Literal["charliecloud", "apptainer"]
"""What makes containers out of a user's own rights, on any machine that has it."""


class Containers(NamedTuple):
    """What the containers of an executor have in common.

    Attributes:
        runtime: What makes them; None for no containers.
        image: The image of jobs that ask for none by themselves.
        mounts: Folders that they see, outside and inside, besides those of the job.
    """

    runtime: ContainerRuntime | None = None
    image: str = ""
    mounts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls, runtime: ContainerRuntime | None, image: str | None, mounts: Sequence[str]
    ) -> Containers:
        """Return what options ask for.

        Raises:
            FieldInvalid: A mount is not of its form.
            UsageError: An image or a mount has no container to be of.
        """
        given = listed(mounts, "container_mounts")
        if runtime is not None:
            return cls(runtime, image or "", tuple(_mount_of(one, runtime) for one in given))
        if image or given:
            name = "container_image is" if image else "container_mounts are"
            raise UsageError(f"{name} of a container: give container_runtime, too")
        return cls()

    def with_command(
        self, job: JobSpec, base: str, argv: Sequence[str], *, has_gpus: bool = False
    ) -> JobSpec:
        """Return a job that starts a command in its container, and has its folder there.

        Args:
            job: The job, with its paths as they are on the machine.
            base: The folder of the machine below which everything of it lies.
            argv: The command.
            has_gpus: Whether it gets GPUs although it does not say so by itself.

        Raises:
            JobNotStarted: Nothing says which image.
        """
        if self.runtime is None:
            return replace(job, argv=tuple(argv))
        image = image_of(job, self.image)
        mounts = [(base, base), *self.mounts]
        if self.runtime == "charliecloud":
            words = _charliecloud(image, mounts, job)
        else:
            words = _apptainer(image, mounts, job.cwd, has_gpus or job.resources.gpus > 0)
        return replace(
            job,
            argv=(*words, *argv),
            env={**job.env, "RUNBUS_IMAGE": image},
            # There it may be a folder of the image, which the machine need not have.
            cwd=job.folder,
        )


def image_of(job: JobSpec, usual: str) -> str:
    """Return the image that a job runs in.

    Args:
        job: The job.
        usual: The image of jobs that ask for none by themselves.

    Raises:
        JobNotStarted: Nothing says which.
    """
    if not (image := job.image.base or usual):
        reason = f"executor {job.executor!r} has no container_image, and the job asks for none"
        raise JobNotStarted(job.name, reason, "give either of them an image")
    return image


def _mount_of(text: str, runtime: ContainerRuntime) -> tuple[str, str]:
    """Return the two folders of `outside:inside`: the former marked, the latter with its options.

    Raises:
        FieldInvalid: It has not that form.
    """
    outside, _, inside = text.partition(":")
    folder, options, _ = inside.partition(":")
    if not outside or not folder.startswith("/") or (options and runtime != "apptainer"):
        advice = "write OUTSIDE:INSIDE, with an absolute INSIDE"
        raise FieldInvalid("container_mounts", repr(text), f"{runtime} does not read that", advice)
    return marked(outside), inside


def _charliecloud(image: str, mounts: list[tuple[str, str]], job: JobSpec) -> list[str]:
    own = " ".join({**job.image.env, **job.env, **job.image.secrets, **job.secrets})
    points = [inside for _, inside in mounts]
    return [
        "sh", "-c", _PREPARE, "sh", _place(image), f" {own} ", str(len(points)), *points,
        *(f"--bind={outside}:{inside}" for outside, inside in mounts),
        f"--cd={job.cwd}", _place(image), "--",
    ]  # fmt: skip


def _apptainer(image: str, mounts: list[tuple[str, str]], cwd: str, has_gpus: bool) -> list[str]:
    is_named = "://" not in image and image[0] not in "/.~$"
    return [
        "apptainer", "exec", *(["--nv"] if has_gpus else []),
        *(f"--bind={outside}:{inside}" for outside, inside in mounts),
        f"--pwd={cwd}", f"docker://{image}" if is_named else _place(image),
    ]  # fmt: skip


def _place(image: str) -> str:
    """Return an image that is a file or folder with a mark in the place of a home."""
    return marked(image) if image[0] in "~$" else image


# An image that is there is used as it is. One that is not is fetched by the first of the jobs that
# begin at once, which the others wait for; a mark tells of a fetch that was cut off, whose image
# would look like any other. The job's own variables win over those of the image.
_PREPARE = """\
USER=${USER:-$(id -un)}; export USER
rb_image=$1 rb_own=$2 rb_points=$3; shift 3
case $rb_image in
/* | ./* | ../*) rb_place=$rb_image ;;
*)
    rb_storage=${CH_IMAGE_STORAGE:-/var/tmp/$USER.ch}
    rb_name=$(printf %s "$rb_image" | tr /: %+)
    rb_place=$rb_storage/img/$rb_name
    flock "$rb_storage.lock" sh -c '
        [ -d "$2" ] && [ ! -e "$3" ] || { : >"$3" && ch-image pull "$1" && rm "$3"; }
    ' sh "$rb_image" "$rb_place" "$rb_storage.$rb_name" >&2 || {
        echo "runbus: there is no image $rb_image" >&2; exit 125
    } ;;
esac
while [ "$rb_points" -gt 0 ]; do
    [ ! -d "$rb_place" ] || mkdir -p "$rb_place$1" 2>/dev/null || :
    rb_points=$((rb_points - 1)); shift
done
if [ -f "$rb_place/ch/environment" ]; then
    while IFS= read -r rb_line || [ -n "$rb_line" ]; do
        case "$rb_own" in
        *" ${rb_line%%=*} "*) ;;
        *) case $rb_line in *=*) set -- "--set-env=$rb_line" "$@" ;; esac ;;
        esac
    done <"$rb_place/ch/environment"
fi
exec ch-run "$@\""""
