#!/bin/bash
# tests/bench/scatter.sh: scattered RAM against one block, on this machine's KVM where there is one, and in the rig
# (tests/rig/rig.sh), whose rows say so. Both tables become $BUILD/bench/scatter.json. ROUNDS as scatter.c has it.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build}
parts=$BUILD/bench/scatter_parts
words=("$BUILD/bench/scatter" "$BUILD/slat" "$BUILD/guests/exit.elf" "$BUILD/guests/chase.elf")
mkdir -p "$parts" && rm -f "$parts"/*

if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
	"${words[@]}" host "$parts/1.json" || exit
else
	echo 'bench-table: without a usable /dev/kvm only the rig can tell what scattered RAM costs' >&2
fi
# Nothing can be written there but output: its last part is the JSON.
tests/rig/rig.sh "echo 2 >/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages
	${ROUNDS:+ROUNDS=$ROUNDS} ${words[*]} rig /tmp/rig.json && cat /tmp/rig.json" | tr -d '\r' >"$parts/output"
[ "${PIPESTATUS[0]}" = 0 ] || {
	cat "$parts/output" >&2
	exit 1
}
sed '/^\[$/,$d' "$parts/output"
sed -n '/^\[$/,$p' "$parts/output" >"$parts/2.json"
jq -s add "$parts"/*.json >"$BUILD/bench/scatter.json"
