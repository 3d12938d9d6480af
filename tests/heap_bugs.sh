#!/bin/bash
# tests/heap_bugs.sh: each bug of tests/heap_bugs.c, and of C++ in tests/heap_bugs.cc, under libslatmalloc.so: with
# SLAT_MALLOC=checked it is told by its name, with the lines that allocated, freed and
# were at it; without, a wrong free ends the program. A line a case; of part `preload`.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
library=$BUILD/libslatmalloc.so program=$BUILD/tests/heap_bugs source=heap_bugs.c
said=$(mktemp -d) || exit 1
trap 'rm -rf "$said"' EXIT
failed=0

verdict() { # case, what is wrong or nothing
	if [ -z "$2" ]; then
		echo "PASS preload/bugs/$1"
	else
		echo "FAIL preload/bugs/$1: $2: $(tr '\n' '|' <"$said/err" | cut -c 1-300)"
		failed=1
	fi
}

line_of() { grep -nE "/(\*|/) $1( \*/)?$" "tests/$source" | cut -d : -f 1; }

run() { # words of SLAT_MALLOC, case
	timeout 60 env LD_PRELOAD="$library" SLAT_MALLOC="$1" "$program" "$2" >/dev/null 2>"$said/err"
}

# The report's sentence; each mark of the case in the source is a line of it.
checked() { # case, expression of the sentence
	local name=$1 function=$1 wrong='' what line

	[ "$source" = heap_bugs.c ] || function="_ZL${#name}${name}v"

	run checked "$name" || wrong="code $?"
	grep -qE "^slat: heap: $2" "$said/err" || wrong='not told'
	[ "$(grep -c '^slat: heap: ' "$said/err")" = 1 ] || wrong='not told once'
	for what in allocated freed seen; do
		line=$(line_of "$name $what")
		[ -z "$line" ] || grep -qE "^  $what in +$function \($source:$line\)$" "$said/err" ||
			wrong="no line '$what in $name ($source:$line)'"
	done
	line=$(line_of "$name by") # libc's own call is named first
	[ -z "$line" ] || grep -A 9 '^  allocated in ' "$said/err" | grep -qE "^ {16}$function \($source:$line\)$" ||
		wrong="no line '$name ($source:$line)' of the allocation"
	verdict "checked_$name" "$wrong"
}

# It ends well, and nothing is told.
quiet() { # words of SLAT_MALLOC, case, name of the test, what is wrong if not
	if run "$1" "$2" && [ ! -s "$said/err" ]; then
		verdict "$3" ''
	else
		verdict "$3" "$4"
	fi
}

# Without the mode: a wrong free does not go unseen.
plain() {
	run '' "$1"
	case $? in
	134) verdict "plain_$1" "$(grep -q 'wrong or second free' "$said/err" || echo 'it does not say why')" ;;
	*) verdict "plain_$1" 'the program went on' ;;
	esac
}

checked overrun 'overrun: 1 byte at offset 24 of a block of 24 bytes at 0x'
checked underrun 'underrun: 1 byte at offset -1 of a block of 40 bytes at 0x'
checked use_after_free 'use after free: 1 byte at offset 7 of a block of 100 bytes at 0x'
checked double_free 'double free: all of a block of 64 bytes at 0x'
checked double_free_large 'double free: all of a block of 3145728 bytes at 0x'
checked double_realloc 'double free: all of a block of 64 bytes at 0x'
checked middle 'free of a middle: 1 byte at offset 16 of a block of 100 bytes at 0x'
checked by_strdup 'overrun: 1 byte at offset 11 of a block of 11 bytes at 0x'
checked by_getline 'overrun: 1 byte at offset 120 of a block of 120 bytes at 0x'
checked by_posix_memalign 'overrun: 1 byte at offset 50 of a block of 50 bytes at 0x'
checked by_calloc 'overrun: 1 byte at offset 50 of a block of 50 bytes at 0x'
checked foreign 'free of foreign memory: 0x'

run checked use_after_free
verdict checked_seen_at_the_end "$(grep -q '^  seen at the end$' "$said/err" && ! grep -q 'seen in' "$said/err" ||
	echo 'a call is named that did not see it')"

run checked nothing
verdict checked_nothing "$([ ! -s "$said/err" ] || echo 'it tells of what is not there')"

run "leak=$said/tree" leak
verdict leak_tree "$(grep -qE "^ +100000 +100 +leak \(heap_bugs.c:$(line_of 'leak allocated')\)$" "$said/tree" ||
	echo "the tree does not name the line: $(tr '\n' '|' <"$said/tree" | cut -c 1-300)")"
run "leak=$said/x.folded" leak
verdict leak_folded "$(grep -qE "(^|;)leak \(heap_bugs.c:$(line_of 'leak allocated')\) 100000$" "$said/x.folded" ||
	echo 'the folded stacks do not name the line')"

# 48 calls are recorded: of main, deeper and 46 of deep() all; of one more all but main; where there are
# more, nobody but what says so is a root. 19 blocks of 100 bytes.
run "leak=$said/tree" deeper
verdict leak_deep "$(grep -qE '^ +1800 +18  \(deeper calls not recorded\)$' "$said/tree" &&
	grep -qE '^ +100 +1  main \(' "$said/tree" && grep -qE '^ +100 +1    deeper \(' "$said/tree" &&
	[ "$(grep -cE '^ +[0-9]+ +[0-9]+  [^ ]' "$said/tree")" = 2 ] ||
	echo "the roots are $(grep -E '^ +[0-9]+ +[0-9]+  [^ ]' "$said/tree" | tr '\n' '|')")"
run "leak=$said/x.folded" deeper
verdict leak_deep_folded "$(awk '!/^main/ && !/^\(deeper calls not recorded\);/ { wrong = 1 } { sum += $NF } END {
	exit wrong || sum != 1900 }' "$said/x.folded" || cut -c 1-60 "$said/x.folded" | tr '\n' '|')"

plain double_free
plain double_free_large
plain middle
plain middle_at_once
plain realloc_freed
plain realloc_freed_here
plain realloc_middle
plain foreign
# Needs a compiler that programs need, and slat does not.
if ! command -v g++ >/dev/null; then
	echo 'SKIP preload/bugs/new: g++ is not there'
	exit "$failed"
fi
source=heap_bugs.cc
g++ -std=c++17 -O2 -g -w -o "$said/new" tests/heap_bugs.cc && g++ -std=c++17 -O2 -g -w -DREPLACED -o "$said/replaced" tests/heap_bugs.cc || exit 1
program=$said/new
checked new_array 'overrun: 1 byte at offset 40 of a block of 40 bytes at 0x'
checked new_aligned 'double free: all of a block of 256 bytes at 0x'
checked new_nothrow 'overrun: 1 byte at offset 33 of a block of 33 bytes at 0x'
checked new_string 'overrun: 1 byte at offset 101 of a block of 101 bytes at 0x'
for modes in '' checked leak=/dev/null; do
	program=$said/new
	quiet "$modes" refused "new_refused${modes:+_${modes%=*}}" 'no bad_alloc'
	program=$said/replaced
	quiet "$modes" replaced "new_replaced${modes:+_${modes%=*}}" 'not by its own'
done
# Each new is refused in turn, once; what the runtime asks for itself before, never.
program=$said/new
asked=$(env LD_PRELOAD="$library" SLAT_MALLOC=fail=0 "$program" refusals 2>&1 | sed -n 's/.*: 0 of \([0-9]*\) allocations.*/\1/p')
for ((n = 1; n <= ${asked:-0}; n++)); do
	timeout 60 env LD_PRELOAD="$library" SLAT_MALLOC=fail=$n "$program" refusals 2>"$said/err" || echo "code $?"
done | sort | uniq -c >"$said/refusals"
verdict new_refusals "$(awk '{ seen[$2] = $1; kinds++ } END { exit !(seen["01"] == 40 && seen["00"] <= 2 && kinds <= 2) }' "$said/refusals" ||
	echo "of 40, not each was refused once: $(tr '\n' '|' <"$said/refusals")")"
exit "$failed"
