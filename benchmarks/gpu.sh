#!/usr/bin/env bash
# All GPU numbers of benchmarks/README.md, written into its table: about 20 minutes on one GPU. With real photographs:
# benchmarks/gpu.sh --data-root FOLDER. Without a GPU, to see that everything runs: benchmarks/gpu.sh --device cpu --quick
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
make --quiet -C "$root" setup
write=--write
for option in "$@"; do [[ $option == --quick ]] && write=; done
PYTHONPATH=$root exec "$root/.venv/bin/python" -m benchmarks.gpu $write "$@"
