#!/bin/bash
# tests/bench/start.sh: `make bench-start`. ROUNDS (21) runs each, interleaved.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
if ! [ -r /dev/kvm ] || ! [ -w /dev/kvm ]; then
	echo 'bench-start needs a usable /dev/kvm' >&2
	exit 1
fi
mkdir -p "$BUILD/bench"
exec "$BUILD/bench/start" "$BUILD/bench/floor" "$BUILD/slat" "$BUILD/guests/exit.elf" "${ROUNDS:-21}" \
	"$BUILD/bench/start.json"
