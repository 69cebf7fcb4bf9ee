#!/bin/bash
#SBATCH --job-name=train-it-ftv3ehfuydm5
#SBATCH --output=/dev/null
#SBATCH --chdir=/
#SBATCH --no-requeue
#SBATCH --nodes=1

trap : TERM USR2
rb_folder=''"$HOME"'/.runbus/remote/20260101-000000-ab/jobs/1-train/1'
cd "$rb_folder" || exit 73
exec >>slurm.log 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV
if [ -f secrets ]; then . ./secrets && rm -f secrets || exit 74; fi
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
exit "${rb_exit:-$rb_status}"

# request.sh
# runbus: 'Train it!' of 20260101-000000-ab, attempt 1
export RUNBUS_IMAGE='nvcr.io#nvidia/pytorch:24.05-py3'
export lr='0.1 $x'
cd ''"$HOME"'/.runbus/remote/20260101-000000-ab/jobs/1-train/1' || { echo 'runbus: this machine has no such folder; give its executor a packager or a workdir' >&2; exit 126; }
exec ${rb_alone:+"$rb_alone"} ${rb_alone:+--} srun --kill-on-bad-exit=1 --export=ALL --nodes=1 --ntasks=1 --ntasks-per-node=1 '--container-image=nvcr.io#nvidia/pytorch:24.05-py3' '--container-mounts='"$HOME"'/.runbus/remote:'"$HOME"'/.runbus/remote' --container-workdir=/code sh -c 'RUNBUS_NODE_RANK=$SLURM_NODEID; export RUNBUS_NODE_RANK
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
