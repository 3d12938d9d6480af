#!/bin/sh
# tests/guests.sh [PART OF A NAME]: runs the cases of tests/guests.table on this
# machine's KVM, one line each: PASS, FAIL (with what was expected and what
# came) or SKIP (with why). Exit code 1 iff a case failed.
#
# From the environment:
#   SLAT     the program (build/slat)
#   GUESTS   the folder of the guests (build/guests)
#   KVM      the device node (/dev/kvm); where it is not usable, all is skipped
#   WHERE    host or rig (host)
#   TABLE    the cases (guests.table beside this)
#   SECONDS_A_CASE  when a case is ended from outside (120; in the rig 600)
#
# What it does not assert: times, and anything that a guest does not print.
BUILD=${BUILD:-build}
SLAT=${SLAT:-$BUILD/slat}
GUESTS=${GUESTS:-$BUILD/guests}
KVM=${KVM:-/dev/kvm}
export SLAT_KVM="$KVM"
WHERE=${WHERE:-host}
if [ "$WHERE" = rig ]; then default_seconds=600; else default_seconds=120; fi
SECONDS_A_CASE=${SECONDS_A_CASE:-$default_seconds}
filter=$1
table=${TABLE:-$(dirname "$0")/guests.table}
huge=/sys/kernel/mm/hugepages/hugepages-2048kB
huge_before=
work=$(mktemp -d) || exit 1
failed=0

# shellcheck disable=SC2317 # by trap
finish() {
	[ -z "$huge_before" ] || echo "$huge_before" >"$huge/nr_hugepages"
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

trim() {
	trimmed=${1#"${1%%[! ]*}"}
	trimmed=${trimmed%"${trimmed##*[! ]}"}
}

bytes_of() {
	case $1 in
	*G) echo $((${1%G} << 30)) ;;
	*M) echo $((${1%M} << 20)) ;;
	*) echo "$1" ;;
	esac
}

memory_free() {
	while read -r key value _; do
		[ "$key" != MemAvailable: ] || echo $((value * 1024))
	done </proc/meminfo
}

huge_free() {
	[ -r $huge/free_hugepages ] && cat $huge/free_hugepages || echo 0
}

# Reserves what is missing of $1 free huge pages, if this user may; finish() gives them back.
huge_reserve() {
	[ "$(huge_free)" -lt "$1" ] || return 0
	[ -w $huge/nr_hugepages ] || return 0
	total=$(cat $huge/nr_hugepages)
	huge_before=${huge_before:-$total}
	echo $((total + $1 - $(huge_free))) 2>/dev/null >$huge/nr_hugepages
}

# Sets why to what this machine lacks of the needs given; to nothing iff it has all.
missing() {
	why=
	disks=0
	for need in "$@"; do
		case $need in
		mem=*)
			[ "$(memory_free)" -ge "$(bytes_of "${need#mem=}")" ] ||
				why="needs ${need#mem=} of free memory, and there are $(memory_free) bytes"
			;;
		module=*)
			[ -e "/sys/module/${need#module=}" ] || why="needs a host whose KVM is ${need#module=}"
			;;
		disk=*)
			rm -f "$work/disk$disks"
			truncate -s "${need#disk=}" "$work/disk$disks"
			disks=$((disks + 1))
			;;
		passt)
			command -v passt >/dev/null || why='needs passt'
			;;
		avx)
			grep -qw avx /proc/cpuinfo || why='needs a CPU with AVX'
			;;
		huge=*)
			huge_reserve "${need#huge=}"
			[ "$(huge_free)" -ge "${need#huge=}" ] ||
				why="needs ${need#huge=} free huge pages of 2M, and there are $(huge_free)"
			;;
		esac
	done
}

# Prints the first expression that no line of the output matches.
unmatched() {
	rest=$1
	while [ -n "$rest" ]; do
		trim "${rest%% && *}"
		case $rest in
		*' && '*) rest=${rest#* && } ;;
		*) rest= ;;
		esac
		cat "$work/out" "$work/err" | grep -E -q -e "$trimmed" || {
			echo "$trimmed"
			return
		}
	done
}

# The guest's name, wherever it stands, becomes its file.
run() {
	eval "set -- $1"
	guest=
	for word; do
		shift
		case $word in
		-*) ;;
		*) [ -n "$guest" ] || { guest=$word && word=$GUESTS/$word.elf; } ;;
		esac
		set -- "$@" "$word"
	done
	timeout -k 5 "$SECONDS_A_CASE" "$SLAT" run "$@" </dev/null >"$work/out" 2>"$work/err"
}

judge() {
	run "$2"
	came=$?
	lost=$(unmatched "$4")
	if [ "$came" -ne "$3" ]; then
		reason="expected exit code $3, and $came came"
	elif [ -n "$lost" ]; then
		reason="expected a line that matches '$lost', and none came"
	else
		echo "PASS guests/$1"
		return
	fi
	failed=1
	echo "FAIL guests/$1: $reason"
	sed 's/^/    out: /' "$work/out"
	sed 's/^/    err: /' "$work/err"
}

unusable=
[ -c "$KVM" ] && [ -r "$KVM" ] && [ -w "$KVM" ] || unusable="$KVM is not there, or not for this user to read and write"

while IFS='|' read -r name where needs options code lines; do
	case $name in '' | '#'*) continue ;; esac
	trim "$name" && name=$trimmed
	trim "$where" && where=$trimmed
	case $name in *"$filter"*) ;; *) continue ;; esac
	[ "$where" = all ] || [ "$where" = "$WHERE" ] || continue
	if [ -n "$unusable" ]; then
		echo "SKIP guests/$name: $unusable"
		continue
	fi
	# shellcheck disable=SC2086 # words
	missing $needs
	if [ -n "$why" ]; then
		echo "SKIP guests/$name: $why"
		continue
	fi
	trim "$code" && code=$trimmed
	trim "$lines"
	judge "$name" "$options" "$code" "$trimmed"
done <"$table"
exit $failed
