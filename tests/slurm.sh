#!/usr/bin/env bash
# deploy/slurm.sh on a Slurm of two nodes of one CPU that this machine plays.
#     sudo tests/slurm.sh [PYTHON]        (needs Debian's slurm-wlm and munge, and the packages of the lock)
# A job of two tasks trains a smoke study; a job whose time is up before its study's puts itself back, goes on, and ends
# with the same table; two jobs run at a time. Takes about ten minutes: Slurm holds a job that was put back for two.
# Afterwards nothing is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath --no-symlinks "${1:-.venv/bin/python}")
PLACE=$(mktemp -d /tmp/slurm-XXXXXX)
export GADA_BIN=$(dirname "$PYTHON") SLURM_CONF=$PLACE/slurm.conf MLFLOW_TRACKING_URI=
HOST=$(hostname -s)
PROCESSES=()
end() {
  local result=$?
  if [ $result != 0 ]; then tail -n 30 "$PLACE"/*.log; fi
  scancel --user root 2>/dev/null || true
  sleep 3
  kill "${PROCESSES[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  if [ -z "${MUNGE_RAN:-}" ]; then kill "$(cat /run/munge/munged.pid)" 2>/dev/null || true; fi
  rm -rf "$PLACE"
}
trap end EXIT

if munge -n >/dev/null 2>&1; then MUNGE_RAN=1; else
  if [ ! -e /etc/munge/munge.key ]; then mungekey; chown munge /etc/munge/munge.key; fi
  mkdir -p /run/munge && chown munge /run/munge
  runuser -u munge -- munged
fi
mkdir -p "$PLACE"/{state,spool-n1,spool-n2}
cat >"$SLURM_CONF" <<CONF
ClusterName=played
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/pgid
TaskPlugin=task/affinity
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=$PLACE/state
SlurmdSpoolDir=$PLACE/spool-%n
SlurmctldPidFile=$PLACE/slurmctld.pid
SlurmdPidFile=$PLACE/slurmd-%n.pid
SlurmctldLogFile=$PLACE/slurmctld.log
SlurmdLogFile=$PLACE/slurmd-%n.log
KillWait=10
NodeName=n1 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=17001 CPUs=1 RealMemory=4000
NodeName=n2 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=17002 CPUs=1 RealMemory=4000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld -D -f "$SLURM_CONF" >/dev/null 2>&1 &
PROCESSES+=($!)
for node in n1 n2; do
  slurmd -D -N $node -f "$SLURM_CONF" >/dev/null 2>&1 &
  PROCESSES+=($!)
done
until [ "$(sinfo --noheader --format %T --Node 2>/dev/null | grep -c idle)" = 2 ]; do sleep 1; done
sinfo

"$PYTHON" -c "from pathlib import Path; from tests.helpers_manifest import make_manifest; make_manifest(Path('$PLACE/data'), references=8)"
submit() {  # name, options of sbatch, then -- and those of the study
  local name=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  sbatch --parsable --output "$PLACE/$name.log" "${options[@]}" deploy/slurm.sh --preset smoke --dataset manifest \
    --data-root "$PLACE/data" --storage "$PLACE/$name" "$@"
}
done_with() {  # until a job's study is done
  until grep -q '^MLflow: ' "$PLACE/$2.log" 2>/dev/null && [ -z "$(squeue --noheader --jobs "$1" 2>/dev/null)" ]; do
    case "$(scontrol show job "$1" | grep -o 'JobState=[A-Z_]*')" in
      *FAILED | *CANCELLED | *TIMEOUT | *NODE_FAIL) echo "job $1 ($2) has failed"; cat "$PLACE/$2.log"; exit 1 ;;
    esac
    sleep 2
  done
}
table() { cut --delimiter , --fields 1-7,9-99 "$PLACE/$1/tables/normalisation-smoke-manifest.csv" | "$PYTHON" -c "
import sys, pandas; print(pandas.read_csv(sys.stdin, dtype=str).drop(columns='device_hours', errors='ignore').to_csv())"; }
LONG=(--study normalisation --set phases.gan.steps="${STEPS:-500}" --set phases.augmentation.steps=60 --set phases.finetuning.steps=60)

one=$(submit two-tasks --nodes 2 -- --study patch_size)
done_with "$one" two-tasks
grep 'trials at a time' "$PLACE/two-tasks.log"
echo "a job of two tasks: done"

first=$(submit quiet --nodes 1 -- "${LONG[@]}")
second=$(submit short --nodes 1 --time 4 --signal B:USR1@60 -- "${LONG[@]}")
until [ "$(squeue --noheader --states running --format %i | grep -c -e "^$first\$" -e "^$second\$")" = 2 ]; do sleep 1; done
echo "two jobs at a time: $(squeue --noheader --format '%j %T %N' | paste -sd ,)"
done_with "$first" quiet
done_with "$second" short
grep -h 'ended the study' "$PLACE/short.log"
diff <(table quiet) <(table short)
echo "a job that was put back $(grep -c 'ended the study' "$PLACE/short.log") times: the same table"
