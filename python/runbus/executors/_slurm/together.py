"""The batch script of attempts that begin together: one job of Slurm, a component for each."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from runbus.abc import GRACE_S
from runbus.errors import UsageError
from runbus.executors._shell import quote
from runbus.executors._slurm.options import components, taken_over
from runbus.executors._slurm.script import Batch, asked_of, meeting, of_component, own_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import JobSpec
    from runbus.executors._slurm.options import SlurmOptions

__all__ = ["Part", "group_script"]


class Part(NamedTuple):
    """An attempt that begins together with others, as a component of one job of Slurm.

    Attributes:
        options: What is asked of Slurm.
        job: The job.
        name: What Slurm calls the component.
        folder: The attempt's folder on the cluster.
    """

    options: SlurmOptions
    job: JobSpec
    name: str
    folder: str


def group_script(parts: Sequence[Part], run: bytes) -> Batch:
    """Return what Slurm gets for attempts that begin together: a component for each.

    Args:
        parts: The attempts.
        run: The words that run the wrapper.

    Raises:
        UsageError: The options and what a job asks for contradict each other, or sbatch would take
            what one says for what others say as well.
    """
    ordered = sorted(
        ((one, asked_of(one.options, components(one.options)[0], one.job)) for one in parts),
        key=lambda each: len(taken_over(each[1], ())),
    )
    for (one, before), (other, after) in pairwise(ordered):
        if missing := taken_over(before, after):
            raise UsageError(
                f"group {other.job.group!r} cannot be one job of Slurm: {other.job.name!r} would "
                f"get the {missing[0]!r} of {one.job.name!r}: say it for both, or for neither"
            )
    asked = [[*of_component(one.name), *options] for one, options in ordered]
    asked[0].insert(1, ("output", "/dev/null"))
    starts, last = [], b""
    for number, (one, _) in enumerate(ordered):
        script = own_script(one.options, one.job, run, _PART, meeting(1, _OWN_ID))
        if script != last:
            end = b"rb_script_ends"
            while end in script:
                end += b"_"
            starts.append(b"read -rd '' rb_script <<'%s'\n%s%s\n" % (end, script, end))
        starts.append(b"rb_start %d\n" % number)
        last = script
    folders = b"".join(b"%s\n" % quote(one.folder) for one, _ in ordered)
    grace = f"{GRACE_S:g}".encode()
    words = {b"folders": folders, b"starts": b"".join(starts), b"run": run, b"grace": grace}
    return Batch(asked, _GROUP % words)


_OWN_ID = "(SLURM_JOB_ID + RUNBUS_HET_GROUP)"

# What a component's own script begins with. It is started by srun, with the variables of that step:
# they are made what they would be if the component were a job of its own, but for the number of the
# job, by which srun finds all of it.
_PART = b"""rb_folder=$2
for rb_x in ${!SLURM_@}; do
    case $rb_x in
    SLURM_JOB* | SLURM_SUBMIT* | SLURM_*_ON_NODE | *_HET_GROUP_*) ;;
    SLURM_CONF | SLURM_CLUSTER_NAME | SLURM_HET_SIZE) ;;
    *) unset "$rb_x" ;;
    esac
done
for rb_x in ${!SLURM_@}; do
    case $rb_x in
    SLURM_JOB_ID_*) ;;
    *_HET_GROUP_"$1") export "${rb_x%_HET_GROUP_*}=${!rb_x}" ;;
    esac
done
export RUNBUS_HET_GROUP=$1 SLURM_NNODES=$SLURM_JOB_NUM_NODES
export SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0"""

# It starts each component's script on the first machine of that, with all that the component has
# there, which what the script starts with srun has as well, and ends with the first status that is
# not 0. USR2 says that the end of some is asked for: their folders tell of which. It is looked for
# now and then in any case: a file takes time to be seen on another machine, and not every server
# sends the signal. Who leads the batch ends the others once one has failed, and says why; if nobody
# does, this does.
_GROUP = b"""trap : TERM USR2
rb_folders=(
%(folders)s)
[ -d "${rb_folders[0]}" ] || exit 73
exec >>"${rb_folders[0]}/slurm.log" 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV ${!SLURM_MEM_PER_@}
rb_on() {
    srun --het-group="$1" --overlap --nodes=1 --ntasks=1 --ntasks-per-node=1 --relative=0 \\
        --cpu-bind=none --mpi=none --input=none --export=ALL \\
        bash -c "$2" rb "$1" "${rb_folders[$1]}" "$3" \\
        >>"${rb_folders[$1]}/slurm.log" 2>&1
}
rb_stop() {
    read -r rb_grace <"${rb_folders[$1]}/grace" || rb_grace=%(grace)s
    [ "${rb_told[$1]-}" != "$rb_grace" ] || return
    rb_told[$1]=$rb_grace
    rb_on "$1" "$rb_cancel" "$rb_grace" &
}
rb_look() {
    local rb_k
    for rb_k in "${!rb_folders[@]}"; do
        [ ! -e "${rb_folders[rb_k]}/cancel" ] || rb_stop "$rb_k"
    done
}
rb_is_over() {
    rb_end=
    [ -e "${rb_folders[$1]}/cancel" ] || read -r rb_end <"${rb_folders[$1]}/exit.json"
    [ -e "${rb_folders[$1]}/cancel" ] || [ -n "$rb_end" ]
} 2>/dev/null
rb_end_others() {
    for rb_try in {1..20}; do
        sleep 1
        rb_others=()
        for rb_k in "${!rb_folders[@]}"; do
            [ "$rb_k" = "$1" ] || rb_is_over "$rb_k" || rb_others+=("$rb_k")
        done
        [ "${#rb_others[@]}" -gt 0 ] || return
    done
    for rb_k in "${rb_others[@]}"; do
        (umask 077; echo %(grace)s | tee "${rb_folders[rb_k]}/grace" >"${rb_folders[rb_k]}/cancel")
    done
    kill -USR2 "$$"
}
rb_run() {
    trap : TERM USR2
    rb_on "$1" "$rb_script"
    rb_status=$?
    rb_end=
    read -r rb_end 2>/dev/null <"${rb_folders[$1]}/exit.json"
    # 75 and an empty record: another job of Slurm runs the same attempt.
    case $rb_status$rb_end in
    0 | '0{'* | 75) ;;
    *) [ -e "${rb_folders[$1]}/cancel" ] || rb_end_others "$1" ;;
    esac
    echo "$rb_status" >"${rb_folders[$1]}/ended"
}
rb_start() {
    rb_run "$1" &
    rb_pids[$1]=$!
}
read -rd '' rb_cancel <<'rb_cancel_ends'
%(run)s cancel "$2" "$3" "$(readlink /proc/self/ns/pid)"
rb_cancel_ends
trap rb_look USR2
%(starts)swhile sleep 5; do kill -USR2 "$$"; done &
rb_clock=$!
rb_first=0
for rb_k in "${!rb_pids[@]}"; do
    while kill -0 "${rb_pids[rb_k]}" 2>/dev/null; do wait "${rb_pids[rb_k]}"; done
    # What wait says may be the number of a signal that came as it ended.
    read -r rb_status <"${rb_folders[rb_k]}/ended" || rb_status=1
    [ "$rb_first" != 0 ] || rb_first=$rb_status
done
kill "$rb_clock" 2>/dev/null
exit "$rb_first"
"""
