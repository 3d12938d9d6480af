#!/bin/bash
# tests/fuzz.sh target...: runs each fuzz target for FUZZ_SECONDS, on all cores.
# What it learns stays in $BUILD/fuzz/corpus; a finding is kept in
# $BUILD/fuzz/found/TARGET-* and named at the end. A finding that is mended
# belongs in tests/fuzz/corpus/TARGET/ from then on.
# Exit code: 1 iff there is a finding.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} FUZZ_SECONDS=${FUZZ_SECONDS:-30} LC_ALL=C

fuzz() {
	local name=$1 learnt=$BUILD/fuzz/corpus/$1 log=$BUILD/log/fuzz_$1.log

	mkdir -p "$learnt"
	if "$BUILD/fuzz/fuzz_$name" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=3072 \
		-artifact_prefix="$BUILD/fuzz/found/$name-" "$learnt" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
		echo "$name: no finding; $(grep -E '^Done' "$log")"
	else
		echo "$name: FINDING: $(grep -m 1 -E 'ERROR|runtime error|bug at' "$log" || tail -n 1 "$log"); see $log"
		grep -o "$BUILD/fuzz/found/[^ ]*" "$log" | sed 's/^/  /'
		return 1
	fi
}
export -f fuzz

[ $# != 0 ] || {
	echo 'fuzz: no targets' >&2
	exit 1
}
mkdir -p "$BUILD/fuzz/found" "$BUILD/log"
# xargs answers 123 when a target had a finding.
printf '%s\n' "$@" | xargs -P "$(nproc)" -I {} bash -c 'fuzz {}' || exit 1
