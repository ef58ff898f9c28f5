#!/usr/bin/env bash
# Makes the folders of testdata/goldens again. The seeds are ones without near ties: see near_ties in golden.json.
#
#   scripts/golden/make.sh [OUT] [PYTHON]     OUT: build/goldens by default, so that nothing is replaced unasked
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-build/goldens}
python=${2:-python3}

known="$here/../../testdata/goldens" # tokenizers stay as they are: engine/t5/testdata has vectors of them
golden() { "$python" "$here/golden.py" --frames 12 --set audio_encoder.num_filters=4 "$@"; }

golden "$out/mono" --seed 104 --tokenizer "$known/mono" --audiocraft "$out/mono-audiocraft"
golden "$out/stereo" --variant stereo --seed 203 --dtype float32 --entries 64 --tokenizer "$known/stereo" \
	--sharded "$out/stereo-sharded" --audiocraft "$out/stereo-audiocraft"
golden "$out/melody" --variant melody --seed 301 --dtype bfloat16 --tokenizer "$known/melody"
chmod -R u=rwX,go=rX "$out"
