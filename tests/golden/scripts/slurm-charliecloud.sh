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
export RUNBUS_IMAGE=registry/train@sha256:ab
export lr='0.1 $x'
cd ''"$HOME"'/.runbus/remote/20260101-000000-ab/jobs/1-train/1' || { echo 'runbus: this machine has no such folder; give its executor a packager or a workdir' >&2; exit 126; }
exec ${rb_alone:+"$rb_alone"} ${rb_alone:+--} sh -c 'USER=${USER:-$(id -un)}; export USER
rb_image=$1 rb_own=$2 rb_points=$3; shift 3
case $rb_image in
/* | ./* | ../*) rb_place=$rb_image ;;
*)
    rb_storage=${CH_IMAGE_STORAGE:-/var/tmp/$USER.ch}
    rb_name=$(printf %s "$rb_image" | tr /: %+)
    rb_place=$rb_storage/img/$rb_name
    flock "$rb_storage.lock" sh -c '"'"'
        [ -d "$2" ] && [ ! -e "$3" ] || { : >"$3" && ch-image pull "$1" && rm "$3"; }
    '"'"' sh "$rb_image" "$rb_place" "$rb_storage.$rb_name" >&2 || {
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
exec ch-run "$@"' sh registry/train@sha256:ab ' lr ' 1 ''"$HOME"'/.runbus/remote' '--bind='"$HOME"'/.runbus/remote:'"$HOME"'/.runbus/remote' --cd=/code registry/train@sha256:ab -- python train.py
