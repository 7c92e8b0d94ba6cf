#!/usr/bin/env bash
# A study as a job of Slurm, on one node or on many:
#     export MLFLOW_TRACKING_URI=http://mlflow.lab:5000
#     sbatch deploy/slurm.sh --study phases --dataset live --data-root /data/live --storage /shared/gada
#     sbatch --nodes 4 --gpus-per-node 2 --cpus-per-task 8 --time 8:00:00 deploy/slurm.sh --study phases ... --gpus-per-trial 1
# To be submitted from the repository, whose folder and storage all nodes see. Two minutes before the time limit the study
# ends with checkpoints and a table, and the job is requeued, until the study is done.
#SBATCH --job-name=gada
#SBATCH --output=gada-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@120
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
PATH=$(realpath "${GADA_BIN:-.venv/bin}"):$PATH
# Every job has its own ports, folder and password of Ray, since other jobs and users may share its nodes. Ray's own
# symmetric-run starts only where no other Ray runs, and at its end stops the Ray of all jobs of the user on the node.
HEAD=$(hostname -I | cut -d ' ' -f 1)
PORT=$(python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
PLACE=$(mktemp -d "/tmp/gada-$SLURM_JOB_ID-XXXXXX")  # short: it is part of the paths of sockets
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export PATH HEAD PORT PLACE RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

# A node has the CPUs to which Slurm binds the task and the GPUs of the job; a third of its memory holds the images.
start_node() {
  options=(--num-cpus "$(nproc)" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" --block)
  if [ -n "${SLURM_MEM_PER_NODE:-}" ]; then options+=(--object-store-memory "$((SLURM_MEM_PER_NODE * 350000))"); fi
  if [ "$SLURM_PROCID" = 0 ]; then
    exec ray start --head --node-ip-address "$HEAD" --port "$PORT" --temp-dir "$PLACE" --include-dashboard=false "${options[@]}" 2>&1
  fi
  until (: <"/dev/tcp/$HEAD/$PORT") 2>/dev/null; do sleep 1; done
  # The port answers before the head can take a node.
  for _ in {1..5}; do
    if ray start --address "$HEAD:$PORT" "${options[@]}" 2>&1; then return; fi
    sleep 2
  done
  echo "node $SLURMD_NODENAME does not join the Ray of this job" >&2
}
export -f start_node
# srun does not take this over from sbatch; without it, every node would have one CPU.
if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi
srun --nodes "$SLURM_JOB_NUM_NODES" --ntasks "$SLURM_JOB_NUM_NODES" --ntasks-per-node 1 bash -c start_node >"$PLACE/ray.log" &
CLUSTER=$!
end() {
  kill "$CLUSTER" 2>/dev/null && wait "$CLUSTER" || true
  rm -rf "$PLACE"
}
trap end EXIT
until (: <"/dev/tcp/$HEAD/$PORT") 2>/dev/null; do
  if ! kill -0 "$CLUSTER" 2>/dev/null; then echo "Ray does not start:"; cat "$PLACE/ray.log"; exit 1; fi
  sleep 1
done

# Nodes that join later get trials when they do.
python tune.py --address "$HEAD:$PORT" "$@" &
STUDY=$!
TIME_IS_UP=
trap 'TIME_IS_UP=1; kill -TERM $STUDY 2>/dev/null || true' USR1
trap 'kill -TERM $STUDY 2>/dev/null || true' TERM
CODE=0
while kill -0 "$STUDY" 2>/dev/null; do wait "$STUDY" && CODE=0 || CODE=$?; done
# 143: the signal came before Python could take it.
if [ -n "$TIME_IS_UP" ] && { [ "$CODE" = 75 ] || [ "$CODE" = 143 ]; }; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$CODE"
