#!/bin/bash
# tests/unit.sh: part `unit`: every suite in a process of its own, then each
# fuzz target over its corpus of regressions, and some cases of tests/preload.c. All run on all cores.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} LC_ALL=C
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-3} # a limit is there to end what hangs, also on a busy machine
export tap=$BUILD/log/unit
rm -rf "$tap" && mkdir -p "$tap"

# What a suite cannot try here it says itself: SKIP case: why.
# A suite's TAP lines are `ok 1 - file:case:test: text`; without its plan line `1..n` it died half way.
suite() {
	local name=$1 file=$tap/$1.tap code

	CK_VERBOSITY=silent CK_TAP_LOG_FILE_NAME=$file "$BUILD/tests/unit" "$name" >"$tap/$name.out" 2>&1
	code=$?
	[ -f "$file" ] || : >"$file"
	sed -nE \
		-e "s|^ok [0-9]+ - [^:]*:([^:]*):([^:]*):.*|PASS unit/$name/\1/\2|p" \
		-e "s|^not ok [0-9]+ - ([^:]*):([^:]*):([^:]*): *(.*)|FAIL unit/$name/\2/\3: \1: \4|p" "$file"
	sed -n "s|^SKIP |SKIP unit/$name/|p" "$tap/$name.out"
	if ! grep -q '^1\.\.[1-9]' "$file"; then
		echo "FAIL unit/$name: the suite ended early, with code $code: $(tail -n 1 "$tap/$name.out")"
	elif [ "$code" != 0 ] && ! grep -q '^not ok' "$file"; then
		echo "FAIL unit/$name: code $code without a failed test: $(tail -n 1 "$tap/$name.out")"
	fi
}

replay() {
	local name=$1 out=$tap/replay_$1.out
	local corpus=(tests/fuzz/corpus/"$name"/*)

	if [ ! -e "${corpus[0]}" ]; then
		echo "FAIL replay/$name: tests/fuzz/corpus/$name has no files"
	elif "$BUILD/tests/replay_$name" "${corpus[@]}" >"$out" 2>&1; then
		echo "PASS replay/$name"
	else
		echo "FAIL replay/$name: code $?: $(grep -m 1 -E 'ERROR|error|bug at' "$out" || tail -n 1 "$out")"
	fi
}
# libslatmalloc.so's files under other names, as a sanitizer watches them.
static() {
	local out=$tap/preload_$1.out

	if "$BUILD/tests/preload_static" "$1" >"$out" 2>&1; then
		echo "PASS preload_static/$1"
	else
		echo "FAIL preload_static/$1: code $?: $(grep -m 1 -E 'ERROR|WARNING|preload' "$out" || tail -n 1 "$out")"
	fi
}
export -f suite replay static

{
	printf 'static %s\n' model threads crowd aligned edges
	sed -n 's/^SUITE(\(.*\))$/suite \1/p' "$BUILD/tests/suites.h"
	for target in tests/fuzz/fuzz_*.c; do
		[ ! -e "$target" ] || basename "$target" .c | sed 's/^fuzz_/replay /'
	done
} | xargs -P "$(nproc)" -I {} bash -c '{}' >"$tap/results"
sort "$tap/results"
! grep -q '^FAIL' "$tap/results"
