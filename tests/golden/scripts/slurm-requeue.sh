#!/bin/bash
#SBATCH --job-name=train-it-ftv3ehfuydm5
#SBATCH --output=/dev/null
#SBATCH --chdir=/
#SBATCH --requeue
#SBATCH --nodes=1

trap : TERM USR2
rb_folder=''"$HOME"'/.runbus/remote/20260101-000000-ab/jobs/1-train/1'
cd "$rb_folder" || exit 73
rb_first=$rb_folder
rb_id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
rb_id=${rb_id:-$SLURM_JOB_ID}
rb_goes_on() {
    rb_end=
    read -r rb_end <exit.json
    case $rb_end in
    '{'*'"signal":15,"reason":"",'* | '{'*'"signal":9,"reason":"",'*) ;;
    '{'*'"reason":"its wrapper was told to end'*) ;;
    '{'*) return 1 ;;
    esac
    [ ! -e cancel ]
}
rb_make() (
    if [ -g . ]; then umask 007; else umask 077; fi
    rm -rf "$1.new" && mkdir "$1.new" || exit
    for rb_file in request request.sh limit; do
        [ ! -e "$rb_file" ] || cp "$rb_file" "$1.new/" || exit
    done
    echo "$rb_id" >"$1.new/owner" && cp "$1.new/owner" "$1.new/slurm.id" && mv -T "$1.new" "$1"
)
(umask 077; set -C; echo "$rb_id" >owner) 2>/dev/null
while
    rb_owner=
    read -r rb_owner <owner
    [ "$rb_owner" = "$rb_id" ] || exit 75
    [ -e exit.json ]
do
    rb_goes_on || exit 75
    rb_folder=${rb_folder%/*}/$((${rb_folder##*/} + 1))
    [ -d "$rb_folder" ] || rb_make "$rb_folder" || exit 77
    cd "$rb_folder" || exit 73
done
exec >>slurm.log 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV
[ ! -f secrets ] || mv -f secrets kept || exit 74
[ ! -f "$rb_first/kept" ] || . "$rb_first/kept" || exit 74
rb_nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST-}" | tr '\n' ,)
export RUNBUS_NNODES=${SLURM_JOB_NUM_NODES:-1}
export RUNBUS_NODE_RANK=${SLURM_NODEID:-0}
export RUNBUS_NODE_IPS=${rb_nodes%,}
export RUNBUS_MASTER_ADDR=${RUNBUS_NODE_IPS%%,*}
export RUNBUS_MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))
export RUNBUS_GPUS_PER_NODE=${SLURM_GPUS_ON_NODE:-0}
export MASTER_ADDR=${RUNBUS_NODE_IPS%%,*}
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))
rb_ns=$(readlink /proc/self/ns/pid)
rb_end() {
    read -r rb_grace <grace || rb_grace=30
    runbus-wrapper cancel "$rb_folder" "$rb_grace" "$rb_ns" &
}
rb_pass() {
    read -r rb_pid <pid.json || return
    rb_pid=${rb_pid#*\"pid\":}
    kill -s "$1" -- "-${rb_pid%%,*}"
}
trap rb_end USR2
set -m
runbus-wrapper run "$rb_folder" "$rb_ns" &
rb_wrapper=$!
while kill -0 "$rb_wrapper" 2>/dev/null; do wait "$rb_wrapper"; rb_status=$?; done
read -r rb_exit <exit.json
rb_exit=${rb_exit#*\"status\":}
rb_exit=${rb_exit%%[!0-9]*}
rb_goes_on || rm -f "$rb_first/kept"
exit "${rb_exit:-$rb_status}"

# request.sh
# runbus: 'Train it!' of 20260101-000000-ab, attempt 1
# TOKEN is 'env:TOKEN'
export TOKEN="${RUNBUS_SECRET_TOKEN?}"; unset RUNBUS_SECRET_TOKEN
export RUNBUS_IMAGE=/images/train.sqsh
export lr='0.1 $x'
printf %s values >''"$RUNBUS_ATTEMPT"'/given' || exit 126
cd ''"$RUNBUS_ATTEMPT"'' || { echo 'runbus: this machine has no such folder; give its executor a packager or a workdir' >&2; exit 126; }
exec ${rb_alone:+"$rb_alone"} ${rb_alone:+--} srun --kill-on-bad-exit=1 --export=ALL --nodes=1 --ntasks=1 --ntasks-per-node=1 --container-image=/images/train.sqsh '--container-mounts='"$HOME"'/.runbus/remote:'"$HOME"'/.runbus/remote' --container-workdir=/code sh -c 'RUNBUS_NODE_RANK=$SLURM_NODEID; export RUNBUS_NODE_RANK
rb_sample() {
    [ "$SLURM_LOCALID" = 0 ] && [ "${RUNBUS_SYSTEM-}" != 0 ] || return
    [ -x "${RUNBUS_SAMPLER-}" ] || return
    (trap '"'"''"'"' HUP INT QUIT USR1 USR2
        exec "$RUNBUS_SAMPLER" tasks "$$") >/dev/null 2>&1 & rb_sampler=$!
}
rb_sampled() {
    rb_looks=20
    kill "$rb_sampler" || return
    while kill -0 "$rb_sampler" && [ "$rb_looks" -gt 0 ]; do
        rb_looks=$((rb_looks - 1))
        sleep 0.01
    done
    kill -KILL "$rb_sampler"
} 2>/dev/null
rb_beside() {
    rb_sample || exec "$@"
    trap : HUP INT QUIT TERM USR1 USR2
    "$@"
    rb_status=$?
    rb_sampled
    exit "$rb_status"
}
rb_beside "$@"' sh python train.py
