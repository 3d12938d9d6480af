#!/bin/bash
# tests/coverage.sh: which lines and branches of mm/ its own tests reach: the
# suites tests/unit/test_X*.c and the corpora tests/fuzz/corpus/X* of each mm/X.c.
# One line a file that holds code, headers too; then what was not reached.
# Exit code: 1 iff a suite or a corpus fails, or a file has a line
# that was not reached, or more than 5 % of its branches.
# From make: BUILD, made with gcc -O0 --coverage.
#
# What is left out, in a column of the table:
# - on a line that calls MM_ASSERT, the sides not taken: a failed assertion is a
#   bug of ours, so no test can reach it; what was taken counts.
# What does not count at all:
# - what a test reaches on its way into mm_panic() or another signal: the counts
#   die with the process;
# - static assertions and tables: they are no code.
# An inline function counts once, whatever number of files include it: the
# attribute always_inline is off in this build, or each call would be one to cover.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build/coverage} LC_ALL=C
export log=$BUILD/log/coverage
lines_min=100 branches_min=95

# The lines of all calls of MM_ASSERT in the files named, one `file:line` each.
asserts() {
	awk '
		FNR == 1 { open = 0 }
		/(^|[^A-Z_a-z])MM_ASSERT\(/ && !/#define/ { open = 1 }
		open { print FILENAME ":" FNR }
		/;[ \t]*(\/\*.*)?$/ { open = 0 }' "$@"
}

# Reads gcov's JSON; writes `file lines reached branches taken left_out` for each
# file of mm/, and `- file:line what` for each place that was not reached. $1: asserts.
measure() {
	jq -n -r --rawfile asserts "$1" '
		($asserts | split("\n") | map({(.): true}) | add) as $assert |
		[inputs.files[] | select(.file | startswith("mm/")) | .file as $file | .lines[] |
			{file: $file, line: .line_number, function: (.function_name | sub("^counted_"; "pagetable_")), count,
				branches: [.branches[].count]}] |
		group_by([.file, .line, .function]) |
		map(.[0] + {count: (map(.count) | add), branches: (map(.branches) | transpose | map(add))}) |
		group_by([.file, .line]) |
		map(.[0] + {count: (map(.count) | add), branches: (map(.branches) | add),
			assert: $assert["\(.[0].file):\(.[0].line)"]}) |
		group_by(.file)[] |
		([.[] | .assert as $a | .branches[] | select($a | not)] + [.[] | select(.assert).branches[] | select(. > 0)])
			as $branches |
		(map(.branches | length) | add) as $all |
		"\(.[0].file) \(length) \(map(select(.count > 0)) | length) \($branches | length) \(
			$branches | map(select(. > 0)) | length) \($all - ($branches | length))",
		(.[] | select(.count == 0) | "- \(.file):\(.line) not reached"),
		(.[] | select(.count > 0 and (.assert | not)) | . as $at | .branches | to_entries[] | select(.value == 0) |
			"- \($at.file):\($at.line) branch \(.key) not taken")'
}

# Reads what measure() writes; prints the table, and of each file the first places that were not reached.
# Exit code 1 iff a file falls short, or there is none.
judge() {
	awk -v lines_min="$lines_min" -v branches_min="$branches_min" -v log_file="$log/measure" '
		function percent(part, all) { return all ? int(1000 * part / all) / 10 : 100 }
		$1 == "-" {
			split($2, place, ":")
			if (++misses[place[1]] <= 8)
				missed[++shown] = substr($0, 3)
			next
		}
		NF {
			short = $3 * 100 < lines_min * $2 || $5 * 100 < branches_min * $4
			verdict = short ? "SHORT" : "good"
			judged++
			bad += short
			printf "%-24s lines %5d of %5d, %5.1f %%; branches %5d of %5d, %5.1f %%; left out %3d; %s\n",
				$1, $3, $2, percent($3, $2), $5, $4, percent($5, $4), $6, verdict
		}
		END {
			for (i = 1; i <= shown; i++)
				print missed[i]
			for (file in misses)
				if (misses[file] > 8)
					printf "%s: %d more, see %s\n", file, misses[file] - 8, log_file
			exit bad > 0 || judged == 0
		}'
}

# The judge is to say no to a line that is missed, to 6 % of the branches, and to nothing at all.
judge_fails() {
	! printf '%s\n' "$@" | judge >/dev/null
}
judge_works() {
	judge_fails 'mm/a.c 1000 1000 100 100 0' 'mm/b.c 1000 999 100 100 0' &&
		judge_fails 'mm/a.h 10 10 100 94 0' &&
		judge_fails &&
		! judge_fails 'mm/a.c 10 10 100 95 3' 'mm/a.h 10 10 0 0 0'
}

suite() {
	CK_VERBOSITY=normal CK_TIMEOUT_MULTIPLIER=20 timeout 900 "$BUILD/tests/unit" "$1" >"$log/$1.out" 2>&1 ||
		echo "FAIL unit/$1: code $?: $(grep -m 1 -E ':[EF]:' "$log/$1.out" || tail -n 1 "$log/$1.out")"
}

replay() {
	timeout 900 "$BUILD/tests/replay_$1" tests/fuzz/corpus/"$1"/* >"$log/replay_$1.out" 2>&1 ||
		echo "FAIL replay/$1: $(tail -n 1 "$log/replay_$1.out")"
}
export -f suite replay

# The names X or X_... of files $1X.c and $1X_....c, where X names a file of mm/.
of_mm() {
	local file name

	for file in "$1"*.c; do
		name=${file#"$1"}
		name=${name%.c}
		for part in mm/*.[ch]; do
			part=$(basename "${part%.?}")
			case $name in "$part" | "$part"_*) echo "$name" ;; esac
		done
	done | sort -u
}

judge_works || {
	echo 'coverage: the judge does not work' >&2
	exit 1
}
rm -rf "$log" && mkdir -p "$log"
find "$BUILD/obj" -name '*.gcda' -delete
{
	of_mm tests/unit/test_ | sed 's/^/suite /'
	of_mm tests/fuzz/fuzz_ | sed 's/^/replay /'
} | xargs -P "$(nproc)" -I {} bash -c '{}' >"$log/failures"
asserts mm/*.[ch] >"$log/asserts"
# What headers have inline, tests reach in themselves, and a file of mm/ that they compile into themselves
# (test_pagetable_cost.c by other names: measure()).
for object in mm/*.c tests/unit/test_*.c; do
	gcov -b -c -j -t -o "$BUILD/obj/${object%.c}.o" "$object" 2>>"$log/gcov.err" || echo "FAIL gcov $object" >>"$log/failures"
done >"$log/gcov.json"
measure "$log/asserts" <"$log/gcov.json" >"$log/measure" || echo 'FAIL measure' >>"$log/failures"
judge <"$log/measure"
verdict=$?
cat "$log/failures"
[ ! -s "$log/failures" ] && [ "$verdict" = 0 ]
