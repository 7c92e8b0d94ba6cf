#!/usr/bin/env bash
# Ten minutes on one GPU: all GPU numbers of benchmarks/README.md, into its table. Without a GPU, to see that it runs:
# benchmarks/gpu.sh --device cpu --quick
set -euo pipefail
cd "$(dirname "$0")/.."
make --quiet setup
write=--write
for option in "$@"; do [[ $option == --quick ]] && write=; done
exec .venv/bin/python -m benchmarks.gpu $write "$@"
