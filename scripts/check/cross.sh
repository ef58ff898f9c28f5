#!/usr/bin/env bash
# Builds every package for every system that segue runs on, and vets the assembly of both processors.
set -euo pipefail
cd "$(dirname "$0")/../.."

export CGO_ENABLED=0
for target in darwin/arm64 darwin/amd64 linux/amd64 linux/arm64 windows/amd64; do
	echo "build $target"
	GOOS=${target%/*} GOARCH=${target#*/} go build ./...
done
for target in linux/arm64 darwin/arm64 windows/amd64; do
	echo "vet   $target"
	GOOS=${target%/*} GOARCH=${target#*/} go vet ./...
done
