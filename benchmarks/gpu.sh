#!/bin/sh
# Every figure of one GPU, a line of JSON each, in less than ten minutes: benchmarks/gpu.sh [--device cpu --quick].
set -eu
cd "$(dirname "$0")/.."
exec "${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}" benchmarks/gpu.py "$@"
