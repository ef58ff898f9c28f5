#!/usr/bin/env bash
# Fails when a generated file is not what its generator makes. The files are then already renewed: look and commit.
set -euo pipefail
cd "$(dirname "$0")/../.."

before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
generated=(testdata/tiny rpc/openrpc.json)
while IFS= read -r file; do generated+=("$file"); done < <(git grep -l '^// Code generated .* DO NOT EDIT\.$' -- '*.go' '*.s')

tar cf - "${generated[@]}" | tar xf - -C "$before"
make --no-print-directory -s generate
stale=0
for file in "${generated[@]}"; do
	diff -rq "$before/$file" "$file" || stale=1
done
if ((stale)); then
	echo "check: generated files were stale and have been renewed; commit them" >&2
	exit 1
fi
