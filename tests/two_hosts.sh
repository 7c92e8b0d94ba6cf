#!/usr/bin/env bash
# A study on two simulated hosts: network namespaces of this machine, joined by `ray start`.
#     sudo tests/two_hosts.sh [PYTHON]        (needs iproute2, nftables and the packages of the lock)
# The near host has the driver, the photographs, MLflow and an S3 server (moto), and trains nothing. The far host has
# another name and sees only the shared folder; its firewall lets out only traffic to Ray and S3.
# The same study runs once with its storage in the shared folder and once on S3. Everything is removed afterwards.
set -euo pipefail
if [ -z "${IN_NAMESPACE:-}" ]; then exec env IN_NAMESPACE=1 unshare --mount --propagation private "$0" "$@"; fi
cd "$(dirname "$0")/.."
PYTHON=$(realpath --no-symlinks "${1:-.venv/bin/python}")
NEAR=10.77.0.1 FAR=10.77.0.2 RAY=6399 S3=5555 MLFLOW=5000
PLACE=$(mktemp -d)
PATH=$(dirname "$PYTHON"):$PATH
export PATH PYTHONPATH=$PWD RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
export AWS_ENDPOINT_URL=http://$NEAR:$S3 AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=us-east-1
PORTS="--node-manager-port 6380 --object-manager-port 6381 --min-worker-port 20000 --max-worker-port 20999"

near() { ip netns exec near "$@"; }
far() { ip netns exec far "$@"; }
reaches() { timeout 5 bash -c "</dev/tcp/$NEAR/$1" 2>/dev/null; }
export -f reaches
export NEAR
wait_for() { for _ in $(seq 240); do if near bash -c "reaches $1"; then return; fi; sleep 0.5; done; echo "no $2"; exit 1; }
end() {
  local result=$?
  if [ $result != 0 ]; then find "$PLACE" -name '*.log' -exec tail -n 20 {} +; fi
  for host in near far; do
    ip netns pids $host | xargs --no-run-if-empty kill -9 2>/dev/null || true
    ip netns del $host
  done
  sleep 1
  rm -rf "$PLACE"
}
trap end EXIT

mkdir -p /tmp/ray /run/netns "$PLACE"/{near,shared}
mount -t tmpfs tmpfs /tmp/ray
mount -t tmpfs tmpfs /run/netns
ip netns add near
ip netns add far
ip link add near0 netns near type veth peer name far0 netns far
near ip addr add $NEAR/24 dev near0
far ip addr add $FAR/24 dev far0
for host in near far; do ip -n $host link set lo up; ip -n $host link set ${host}0 up; done
far nft -f - <<END
table inet wall {
  chain out {
    type filter hook output priority 0; policy drop;
    oif lo accept
    ct state established accept
    ip daddr $NEAR tcp dport { $RAY, 6380, 6381, 20000-20999, $S3 } accept
    counter drop
  }
}
END

python -c "from pathlib import Path; from tests.helpers_manifest import make_manifest; make_manifest(Path('$PLACE/near/data'))"
near ray start --head --node-ip-address $NEAR --port $RAY $PORTS --num-cpus 0 --object-store-memory 200000000 \
  --include-dashboard=false >"$PLACE/near/ray.log" 2>&1
export HIDDEN="$PLACE/near" JOIN="ray start --address $NEAR:$RAY --node-ip-address $FAR $PORTS --num-cpus 2"
far unshare --uts --mount bash -c '
  hostname far
  mount -t tmpfs tmpfs "$HIDDEN"
  mount -t tmpfs tmpfs /tmp/ray
  $JOIN --object-store-memory 200000000' >"$PLACE/far.log" 2>&1
near python -m moto.server -H $NEAR -p $S3 >"$PLACE/near/s3.log" 2>&1 &
near mlflow server --host $NEAR --port $MLFLOW --allowed-hosts "$NEAR:$MLFLOW" --workers 1 \
  --backend-store-uri "sqlite:///$PLACE/near/mlflow.db" --artifacts-destination "$PLACE/near/files" \
  >"$PLACE/near/mlflow.log" 2>&1 &
wait_for $S3 "S3 server"
wait_for $MLFLOW "MLflow server"
near python -c "import boto3; boto3.client('s3').create_bucket(Bucket='studies')"

for port in $RAY $S3; do far bash -c "reaches $port" || { echo "the far host does not reach port $port"; exit 1; }; done
if far bash -c "reaches $MLFLOW"; then echo "the far host reaches MLflow"; exit 1; fi
echo "from the far host: Ray and S3 answer, MLflow at $NEAR:$MLFLOW does not"

cat >"$PLACE/check.py" <<'END'
"""All trials of a storage ran on the far host, and MLflow has them."""
import sys

from mlflow import MlflowClient

from gada_ray.trials.store import Store

storage, uri = sys.argv[1:]
store = Store(storage)
results = [store.result(folder.name) for folder in (store.root / "trials").iterdir()]
assert len(results) == 3 and {result.status for result in results} == {"finished"}, results
assert {result.run.host for result in results} == {"far"} and all(result.run.node for result in results), results
client = MlflowClient(uri)
runs = client.search_runs([client.get_experiment_by_name("normalisation").experiment_id], "tags.kind = 'split'")
tracked = {run.data.tags["signature"] for run in runs if run.info.status == "FINISHED"}
assert {result.signature for result in results} <= tracked, tracked
print(f"{storage}: 3 trials, all trained on the far host and in MLflow, which it does not reach")
END
for storage in "$PLACE/shared/runs" s3://studies/runs; do
  since=$(date +%s)
  near python tune.py --study normalisation --preset smoke --dataset manifest --data-root "$PLACE/near/data" \
    --address $NEAR:$RAY --storage "$storage" --tracking-uri http://$NEAR:$MLFLOW --seed "${#storage}"
  near python "$PLACE/check.py" "$storage" "http://$NEAR:$MLFLOW"
  echo "$(($(date +%s) - since)) s"
done
echo "packets that the far host's firewall dropped: $(far nft list chain inet wall out | grep -o 'packets [0-9]*')"
