#!/usr/bin/env bash
# Makes the bundled model from nothing: tokenizer, codec, decoder, checkpoint, goldens of it. Downloads nothing.
#
#   scripts/train/make.sh [OUT] [PLAN]     OUT: build/model by default; PLAN: gpu, cpu or smoke (plan.py)
#
# A stage that has begun goes on from its checkpoint; delete OUT to begin again. PYTHON names the interpreter.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-build/model}
plan=${2:-gpu}
python=${PYTHON:-python3}
stage() { "$python" "$here/$1.py" "${@:2}"; }
going() { test -e "$out/$1" && echo --resume || true; }

test -e "$out/tokenizer.json" || stage tokens "$out" --plan "$plan"
# shellcheck disable=SC2046  # no option or one
stage codec "$out" --plan "$plan" $(going codec.pt)
# Codes keep their meaning while the codec's decoder is polished, so on the second GPU that goes on beside the decoder's training.
polish=("$python" "$here/polish.py" "$out" --plan "$plan")
if ! test -e "$out/polish.json"; then
  if test "$("$python" -c 'import torch; print(torch.cuda.device_count())')" -gt 1; then
    CUDA_VISIBLE_DEVICES=1 "${polish[@]}" &
    polishing=$!
    trap 'kill "$polishing" 2>/dev/null || true' EXIT
  else
    "${polish[@]}"
  fi
fi
# shellcheck disable=SC2046
stage language "$out" --plan "$plan" $(going language.pt)
test -z "${polishing:-}" || wait "$polishing"
stage export "$out" "$out/checkpoint" --plan "$plan"
stage goldens "$out/checkpoint" "$out/golden"
echo "made $out/checkpoint; compare it with: segue verify $out/golden"
