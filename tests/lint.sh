#!/bin/bash
# tests/lint.sh [file...]: format, static analysis and house-keeping over the
# files named, by default all of the tree that git does not ignore. Says one
# line for each finding. Exit code: 1 iff there is one.
# From make: HEADER_FLAGS and SUITES, the directory of the generated suites.h.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
export TIDY_FLAGS="${HEADER_FLAGS:--std=gnu11 -D_GNU_SOURCE} -I. -I${SUITES:-${BUILD:-build}/tests} -I${BUILD:-build}/include"
export PASSED=${BUILD:-build}/lint
mkdir -p "$PASSED"
found=$(mktemp)
trap 'rm -f "$found"' EXIT

if [ $# = 0 ]; then
	mapfile -t files < <(git ls-files -co --exclude-standard | while read -r f; do [ ! -f "$f" ] || echo "$f"; done)
else
	files=("$@")
fi

text=() c=() h=() shell=()
for file in "${files[@]}"; do
	case $file in
	*/corpus/*) continue ;; # fuzz input is bytes, not text
	*.c) c+=("$file") ;;
	*.h) h+=("$file") ;;
	*.sh | *.bash) shell+=("$file") ;;
	*) head -n 1 "$file" | grep -qE '^#!.*sh' && shell+=("$file") ;;
	esac
	text+=("$file")
done

each() { # command, how many files at a time, files
	local command=$1 batch=$2

	shift 2
	[ $# = 0 ] || printf '%s\0' "$@" | xargs -0 -n "$batch" -P "$(nproc)" bash -c "$command" lint 2>&1
}

tidy() {
	# What compilers warn of is theirs to refuse. The analyzer follows a function for a third of the states that it
	# would by default: half of the time is in the rest.
	local flags="$TIDY_FLAGS -Wno-error -Xclang -analyzer-config -Xclang max-nodes=75000" checks="" said key

	case $1 in
	mm/* | guests/*) flags="$flags -ffreestanding" ;;
	# Only `make bench-mm` installs the headers that it includes: looked at where they are.
	*_dpdk.c)
		pkg-config --exists libdpdk 2>/dev/null || return 0
		flags="$flags $(pkg-config --cflags libdpdk | sed 's/-I/-isystem /g')"
		;;
	esac
	case $1 in
	# Tests compare whole structures to prove that nothing changed. The analyzer, which takes nine tenths of
	# the time, does not know that a failed test is left by longjmp: what it would find there, sanitizers do.
	tests/*) checks='-bugprone-suspicious-memory-comparison,-clang-analyzer-*' ;;
	esac
	# A file that passed is not looked at again until it, what it includes, or a rule changes.
	# shellcheck disable=SC2086 # flags are words
	key=$PASSED/$({
		echo "$1 $flags $checks"
		clang $flags -MM "$1" | sed 's/\\$//' | sed 's/^[^ ]*: //' | xargs cat .clang-tidy
	} 2>&1 | sha256sum | cut -c 1-40)
	[ ! -f "$key" ] || return 0
	# shellcheck disable=SC2086
	if said=$(clang-tidy --config-file=.clang-tidy --checks="$checks" --quiet "$1" -- $flags 2>&1); then
		: >"$key"
	else
		grep -E '(error|warning):' <<<"$said" || echo "$1: clang-tidy: $(tail -n 1 <<<"$said")"
	fi
}
export -f tidy

{
	# shellcheck disable=SC2016 # these run in another shell
	{
		each 'clang-format --style=file:.clang-format --dry-run -Werror "$@" 2>&1 | grep error:' 8 "${c[@]}" "${h[@]}"
		each 'tidy "$1"' 1 "${c[@]}"
		each 'shellcheck -x -e SC2317 -f gcc "$@"' 4 "${shell[@]}"
	}
	grep -InE '[[:blank:]]+$' /dev/null "${text[@]}" | sed 's/$/ <- white space at the end/'
	grep -InE '/(home|work|Users)/' /dev/null "${text[@]}" | sed 's/$/ <- a path of one machine/'
	for file in "${text[@]}"; do
		[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo "$file: no newline at the end"
	done
	for file in "${h[@]}"; do
		guard=$(tr 'a-z/.' 'A-Z__' <<<"SLAT_${file#./}")
		grep -qx "#ifndef $guard" "$file" || echo "$file: the include guard is not $guard"
	done
} | sort -u >"$found"
cat "$found"
[ ! -s "$found" ]
