#!/bin/bash
# tests/heap_bugs.sh: each bug of tests/heap_bugs.c under libslatmalloc.so: with
# SLAT_MALLOC=checked it is told by its name, with the lines that allocated, freed and
# were at it; without, a wrong free ends the program. A line a case; of part `preload`.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
library=$BUILD/libslatmalloc.so program=$BUILD/tests/heap_bugs
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

line_of() { grep -n "/\* $1 \*/" tests/heap_bugs.c | cut -d : -f 1; }

run() { # words of SLAT_MALLOC, case
	timeout 60 env LD_PRELOAD="$library" SLAT_MALLOC="$1" "$program" "$2" >/dev/null 2>"$said/err"
}

# The report's sentence; each mark of the case in the source is a line of it.
checked() { # case, expression of the sentence
	local name=$1 wrong='' what line

	run checked "$name" || wrong="code $?"
	grep -qE "^slat: heap: $2" "$said/err" || wrong='not told'
	[ "$(grep -c '^slat: heap: ' "$said/err")" = 1 ] || wrong='not told once'
	for what in allocated freed seen; do
		line=$(line_of "$name $what")
		[ -z "$line" ] || grep -qE "^  $what in +$name \(heap_bugs.c:$line\)$" "$said/err" ||
			wrong="no line '$what in $name (heap_bugs.c:$line)'"
	done
	verdict "checked_$name" "$wrong"
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
checked foreign 'free of foreign memory: 0x'

run checked nothing
verdict checked_nothing "$([ ! -s "$said/err" ] || echo 'it tells of what is not there')"

run "leak=$said/tree" leak
verdict leak_tree "$(grep -qE "^ +100000 +100 +leak \(heap_bugs.c:$(line_of 'leak allocated')\)$" "$said/tree" ||
	echo "the tree does not name the line: $(tr '\n' '|' <"$said/tree" | cut -c 1-300)")"
run "leak=$said/x.folded" leak
verdict leak_folded "$(grep -qE "(^|;)leak \(heap_bugs.c:$(line_of 'leak allocated')\) 100000$" "$said/x.folded" ||
	echo 'the folded stacks do not name the line')"

plain double_free
plain double_free_large
plain middle_later # seen where it reaches its slab
plain foreign
exit "$failed"
