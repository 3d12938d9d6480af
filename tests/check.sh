#!/bin/bash
# tests/check.sh [part...]: runs the parts, all by default, and counts.
# A part is tests/PART.sh or tests/PART/PART.sh. It prints one line for each
# test, `PASS name`, `FAIL name: why` or `SKIP name: why`; anything else it
# prints is for its log, $BUILD/log/PART.log. A part that says nothing, or that
# ends badly without naming a failure, is a failure itself.
# Exit code: 1 iff something failed. What to test is built before (make check).
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} KVM=${KVM:-/dev/kvm} LC_ALL=C
all='unit guests strangers preload rig oracle cli docs'
part_seconds=${PART_SECONDS:-1200}
passed=0 failed=0 skipped=0
mkdir -p "$BUILD/log"

script_of() {
	if [ -f "tests/$1.sh" ]; then
		echo "tests/$1.sh"
	elif [ -f "tests/$1/$1.sh" ]; then
		echo "tests/$1/$1.sh"
	fi
}

count() { grep -c "^$1 " "$2"; }

# On a terminal the names of tests pass by on one line, until process $2 ends.
progress() {
	[ -t 1 ] || return 0
	tail -n +1 -s 0.2 -f --pid="$2" "$1" | awk '
		/^(PASS|FAIL|SKIP) / { printf "\r\033[K%.78s", $2; fflush() }
		END { printf "\r\033[K" }'
}

# Skips are one line a reason, with the names of all that it cost.
show_skips() {
	sed -n 's/^SKIP \([^:]*\): *\(.*\)/\2\t\1/p' "$1" | sort | awk -F '\t' '
		$1 != why { if (names) print "SKIP (" n ") " why ":" names; why = $1; names = ""; n = 0 }
		{ names = names " " $2; n++ }
		END { if (names) print "SKIP (" n ") " why ":" names }'
}

run_part() {
	local part=$1 script=$2 log=$BUILD/log/$1.log start=$EPOCHREALTIME code p f s seconds complaint=

	timeout -k 10 "$part_seconds" "$script" >"$log" 2>&1 </dev/null &
	running=$!
	progress "$log" "$running"
	wait "$running"
	code=$?
	running=
	p=$(count PASS "$log") f=$(count FAIL "$log") s=$(count SKIP "$log")
	if [ "$code" = 124 ]; then
		complaint="FAIL $part: not done after $part_seconds s"
	elif [ $((p + f + s)) = 0 ] || { [ "$code" != 0 ] && [ "$f" = 0 ]; }; then
		complaint="FAIL $part: ended with code $code and named no failure: see $log"
	fi
	if [ -n "$complaint" ]; then
		f=$((f + 1))
		printf '\n%s\n' "$complaint" >>"$log"
	fi
	grep '^FAIL ' "$log"
	show_skips "$log"
	seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
	printf '%-9s %4d passed, %d failed, %d skipped, %s s\n' "$part" "$p" "$f" "$s" "$seconds"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# A part has a process group of its own (timeout makes it): it must not survive us.
running=
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap '[ -z "$running" ] || kill "$running"' EXIT

named=$#
# shellcheck disable=SC2086 # one word is one part
[ $# != 0 ] || set -- $all
for part; do
	case " $all " in
	*" $part "*) ;;
	*)
		echo "FAIL $part: no such part; there are: $all"
		failed=$((failed + 1))
		continue
		;;
	esac
	script=$(script_of "$part")
	if [ -n "$script" ]; then
		run_part "$part" "$script"
	elif [ "$named" != 0 ]; then
		echo "FAIL $part: this tree has no such part yet"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
