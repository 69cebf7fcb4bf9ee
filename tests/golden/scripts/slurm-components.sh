#!/bin/bash
#SBATCH --job-name=train-it-ftv3ehfuydm5
#SBATCH --output=/dev/null
#SBATCH --chdir=/
#SBATCH --no-requeue
#SBATCH --account=lab
#SBATCH --partition=gpu
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --mail-type=END
#SBATCH --time=3
#SBATCH --signal=B:USR1@90
#SBATCH hetjob
#SBATCH --job-name=train-it-ftv3ehfuydm5
#SBATCH --chdir=/
#SBATCH --no-requeue
#SBATCH --account=lab
#SBATCH --partition=cpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --mem=256G
#SBATCH --mail-type=END
#SBATCH --time=3

trap : TERM USR2
rb_folder=''"$HOME"'/.runbus/remote/20260101-000000-ab/jobs/1-train/1'
cd "$rb_folder" || exit 73
exec >>slurm.log 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV
if [ -f secrets ]; then . ./secrets && rm -f secrets || exit 74; fi
if [ -z "${CUDA_VISIBLE_DEVICES-}${ROCR_VISIBLE_DEVICES-}${SLURM_JOB_GPUS-}" ] ||
    { command -v nvidia-smi >/dev/null && ! timeout 60 nvidia-smi -L >/dev/null; }
then echo "no GPU is seen on ${SLURMD_NODENAME-}"; exit 76; fi
unset ${!SLURM_MEM_PER_@}
rb_nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST_HET_GROUP_0-},${SLURM_JOB_NODELIST_HET_GROUP_1-}" | tr '\n' ,)
export RUNBUS_NNODES=$((SLURM_JOB_NUM_NODES_HET_GROUP_0 + SLURM_JOB_NUM_NODES_HET_GROUP_1))
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
export RUNBUS_NOTICE_SIGNAL=USR1
trap 'rb_pass USR1' USR1
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
export lr='0.1 $x'
cd /code || { echo 'runbus: this machine has no such folder; give its executor a packager or a workdir' >&2; exit 126; }
exec ${rb_alone:+"$rb_alone"} ${rb_alone:+--} srun --kill-on-bad-exit=1 --export=ALL --het-group=0,1 sh -c 'RUNBUS_NODE_RANK=$SLURM_NODEID; export RUNBUS_NODE_RANK
export RUNBUS_HET_GROUP=$(((SLURM_NODEID >= 2))) RUNBUS_GPUS_PER_NODE="${SLURM_GPUS_ON_NODE:-0}"
export RANK="$SLURM_PROCID" WORLD_SIZE="$SLURM_NTASKS" LOCAL_RANK="$SLURM_LOCALID"
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
rb_keep() {
    command -v tee >/dev/null && rb_pipes=$(mktemp -d) &&
        mkfifo "$rb_pipes/stdout" "$rb_pipes/stderr" || rb_beside "$@"
    rb_log=$RUNBUS_ATTEMPT/node$RUNBUS_NODE_RANK
    (trap '"'"''"'"' HUP INT QUIT TERM USR1 USR2
        exec tee -a "$rb_log.stdout.log" <"$rb_pipes/stdout") & rb_out=$!
    (trap '"'"''"'"' HUP INT QUIT TERM USR1 USR2
        exec tee -a "$rb_log.stderr.log" <"$rb_pipes/stderr" >&2) & rb_err=$!
    rb_sampler=
    rb_sample
    trap : HUP INT QUIT TERM USR1 USR2
    "$@" >"$rb_pipes/stdout" 2>"$rb_pipes/stderr"
    rb_status=$?
    [ -z "$rb_sampler" ] || rb_sampled
    rm -rf "$rb_pipes"
    (sleep 5; kill -KILL "$rb_out" "$rb_err") >/dev/null 2>&1 & rb_last=$!
    wait "$rb_out"; wait "$rb_err"
    kill "$rb_last"
    exit "$rb_status"
}
rb_keep "$@"' sh python train.py
