#!/usr/bin/env bash
# Puts a trained model into the binary: bundle, the reference's results on it, figures, card.
#
#   scripts/train/bundle.sh [MODEL]        MODEL: what make.sh made, build/model by default; PYTHON names the interpreter
set -euo pipefail
model=$(realpath "${1:-build/model}")
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

go run ./scripts/bundled pack "$model/checkpoint" weights/bundled
go run ./scripts/bundled unpack weights/bundled "$model/unpacked"
"$python" scripts/train/goldens.py "$model/unpacked" "$model/golden-bundled"
mkdir -p testdata/goldens/bundled
install -m 644 "$model"/golden-bundled/golden.{json,safetensors} testdata/goldens/bundled

CGO_ENABLED=0 go build -trimpath -o segue ./cmd/segue
./segue verify weights/bundled --golden testdata/goldens/bundled/golden.safetensors
"$python" scripts/bench/continuation/continuation.py --model weights/bundled --json "$model/continuation.json"
"$python" scripts/train/facts.py "$model" weights/bundled >"$model/facts.json"
"$python" scripts/train/card.py "$model/facts.json" "$model/continuation.json" weights/bundled
