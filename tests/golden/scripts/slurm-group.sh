#!/bin/bash
#SBATCH --job-name=watch-2zxkiv5fefky
#SBATCH --output=/dev/null
#SBATCH --chdir=/
#SBATCH --no-requeue
#SBATCH --partition=cpu
#SBATCH --nodes=1
#SBATCH --gpus-per-node=1
#SBATCH hetjob
#SBATCH --job-name=train-qroo6dfe455o
#SBATCH --chdir=/
#SBATCH --no-requeue
#SBATCH --partition=gpu
#SBATCH --nodes=2
#SBATCH --gpus-per-node=a100:8
#SBATCH --time=2:00:00
#SBATCH hetjob
#SBATCH --job-name=serve-wyifoqvco74r
#SBATCH --chdir=/
#SBATCH --no-requeue
#SBATCH --partition=cpu
#SBATCH --nodes=1
#SBATCH --time=3

trap : TERM USR2
rb_folders=(
''"$HOME"'/.runbus/remote/20260101-000000-ab/jobs/watch/1'
''"$HOME"'/.runbus/remote/20260101-000000-ab/jobs/train/1'
''"$HOME"'/.runbus/remote/20260101-000000-ab/jobs/serve/1'
)
[ -d "${rb_folders[0]}" ] || exit 73
exec >>"${rb_folders[0]}/slurm.log" 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV ${!SLURM_MEM_PER_@}
rb_on() {
    srun --het-group="$1" --overlap --nodes=1 --ntasks=1 --ntasks-per-node=1 --relative=0 \
        --cpu-bind=none --mpi=none --input=none --export=ALL \
        bash -c "$2" rb "$1" "${rb_folders[$1]}" "$3" \
        >>"${rb_folders[$1]}/slurm.log" 2>&1
}
rb_stop() {
    read -r rb_grace <"${rb_folders[$1]}/grace" || rb_grace=10
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
        (umask 077; echo 10 | tee "${rb_folders[rb_k]}/grace" >"${rb_folders[rb_k]}/cancel")
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
runbus-wrapper cancel "$2" "$3" "$(readlink /proc/self/ns/pid)"
rb_cancel_ends
trap rb_look USR2
read -rd '' rb_script <<'rb_script_ends'
trap : TERM USR2
rb_folder=$2
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
export SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
cd "$rb_folder" || exit 73
exec >>slurm.log 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV
if [ -f secrets ]; then . ./secrets && rm -f secrets || exit 74; fi
if [ -z "${CUDA_VISIBLE_DEVICES-}${ROCR_VISIBLE_DEVICES-}${SLURM_JOB_GPUS-}" ] ||
    { command -v nvidia-smi >/dev/null && ! timeout 60 nvidia-smi -L >/dev/null; }
then echo "no GPU is seen on ${SLURMD_NODENAME-}"; exit 76; fi
rb_nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST-}" | tr '\n' ,)
export RUNBUS_NNODES=${SLURM_JOB_NUM_NODES:-1}
export RUNBUS_NODE_RANK=${SLURM_NODEID:-0}
export RUNBUS_NODE_IPS=${rb_nodes%,}
export RUNBUS_MASTER_ADDR=${RUNBUS_NODE_IPS%%,*}
export RUNBUS_MASTER_PORT=$((20000 + (SLURM_JOB_ID + RUNBUS_HET_GROUP) % 12000))
export RUNBUS_GPUS_PER_NODE=${SLURM_GPUS_ON_NODE:-0}
export MASTER_ADDR=${RUNBUS_NODE_IPS%%,*}
export MASTER_PORT=$((20000 + (SLURM_JOB_ID + RUNBUS_HET_GROUP) % 12000))
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
rb_script_ends
rb_start 0
read -rd '' rb_script <<'rb_script_ends'
trap : TERM USR2
rb_folder=$2
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
export SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
cd "$rb_folder" || exit 73
exec >>slurm.log 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV
if [ -f secrets ]; then . ./secrets && rm -f secrets || exit 74; fi
{ module load cuda/12
} || exit
if [ -z "${CUDA_VISIBLE_DEVICES-}${ROCR_VISIBLE_DEVICES-}${SLURM_JOB_GPUS-}" ] ||
    { command -v nvidia-smi >/dev/null && ! timeout 60 nvidia-smi -L >/dev/null; }
then echo "no GPU is seen on ${SLURMD_NODENAME-}"; exit 76; fi
rb_nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST-}" | tr '\n' ,)
export RUNBUS_NNODES=${SLURM_JOB_NUM_NODES:-1}
export RUNBUS_NODE_RANK=${SLURM_NODEID:-0}
export RUNBUS_NODE_IPS=${rb_nodes%,}
export RUNBUS_MASTER_ADDR=${RUNBUS_NODE_IPS%%,*}
export RUNBUS_MASTER_PORT=$((20000 + (SLURM_JOB_ID + RUNBUS_HET_GROUP) % 12000))
export RUNBUS_GPUS_PER_NODE=${SLURM_GPUS_ON_NODE:-0}
export MASTER_ADDR=${RUNBUS_NODE_IPS%%,*}
export MASTER_PORT=$((20000 + (SLURM_JOB_ID + RUNBUS_HET_GROUP) % 12000))
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
rb_script_ends
rb_start 1
read -rd '' rb_script <<'rb_script_ends'
trap : TERM USR2
rb_folder=$2
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
export SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
cd "$rb_folder" || exit 73
exec >>slurm.log 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV
if [ -f secrets ]; then . ./secrets && rm -f secrets || exit 74; fi
rb_nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST-}" | tr '\n' ,)
export RUNBUS_NNODES=${SLURM_JOB_NUM_NODES:-1}
export RUNBUS_NODE_RANK=${SLURM_NODEID:-0}
export RUNBUS_NODE_IPS=${rb_nodes%,}
export RUNBUS_MASTER_ADDR=${RUNBUS_NODE_IPS%%,*}
export RUNBUS_MASTER_PORT=$((20000 + (SLURM_JOB_ID + RUNBUS_HET_GROUP) % 12000))
export RUNBUS_GPUS_PER_NODE=${SLURM_GPUS_ON_NODE:-0}
export MASTER_ADDR=${RUNBUS_NODE_IPS%%,*}
export MASTER_PORT=$((20000 + (SLURM_JOB_ID + RUNBUS_HET_GROUP) % 12000))
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
rb_script_ends
rb_start 2
while sleep 5; do kill -USR2 "$$"; done &
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

# request.sh
# runbus: 'train' of 20260101-000000-ab, attempt 1
export lr='0.1 $x'
cd /code || { echo 'runbus: this machine has no such folder; give its executor a packager or a workdir' >&2; exit 126; }
exec ${rb_alone:+"$rb_alone"} ${rb_alone:+--} sh -c 'exec srun ${SLURM_HET_SIZE:+--het-group="$RUNBUS_HET_GROUP"} "$@"' sh --kill-on-bad-exit=1 --export=ALL --nodes=2 --ntasks=2 --ntasks-per-node=1 sh -c 'RUNBUS_NODE_RANK=$SLURM_NODEID; export RUNBUS_NODE_RANK
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
rb_keep torchrun --nnodes="$RUNBUS_NNODES" \
--nproc-per-node="$((RUNBUS_GPUS_PER_NODE ? RUNBUS_GPUS_PER_NODE : 1))" \
--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" \
--rdzv-endpoint="$RUNBUS_MASTER_ADDR:$RUNBUS_MASTER_PORT" --no-python "$@"' sh python train.py
# a component of the job of Slurm that is shown for train

# request.sh
# runbus: 'serve' of 20260101-000000-ab, attempt 1
export lr='0.1 $x'
cd /code || { echo 'runbus: this machine has no such folder; give its executor a packager or a workdir' >&2; exit 126; }
exec ${rb_alone:+"$rb_alone"} ${rb_alone:+--} python train.py
# a component of the job of Slurm that is shown for train

# request.sh
# runbus: 'watch' of 20260101-000000-ab, attempt 1
export lr='0.1 $x'
cd /code || { echo 'runbus: this machine has no such folder; give its executor a packager or a workdir' >&2; exit 126; }
exec ${rb_alone:+"$rb_alone"} ${rb_alone:+--} python train.py
