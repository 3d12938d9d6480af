#!/bin/bash
# tests/bench/table.sh: puts the figures of $BUILD/bench/*.json into README.md,
# between the lines `<!-- bench NAME -->` and `<!-- end -->`. Figures are never typed.
# Rows that know all their peers get a column for each, and slat's median.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}

# shellcheck disable=SC2016 # $peers is jq's
rows='
	def line: "| " + (map(. // "" | tostring) | join(" | ")) + " |";
	def median: if .slat and .slat_median then "\(.slat) (\(.slat_median))" else .slat end;
	([.[].peers // {} | keys_unsorted] | max_by(length)) as $peers
	| if ($peers | length) == 0 then
		["case", "unit", "slat", "floor", "slat / floor", "best peer", "peer", "slat / peer", "rounds"],
		[range(9) | "---"],
		(.[] | [.case, .unit, .slat, .floor, .floor_ratio, .best_peer, .best_peer_value, .best_peer_ratio, .rounds])
	else
		["case", "unit", "slat (median)", "floor", "slat / floor"] + $peers + ["slat / best peer"],
		[range(6 + ($peers | length)) | "---"],
		(.[] | . as $row | [.case, .unit, median, .floor, .floor_ratio] + [$peers[] | $row.peers[.].min?] + [.best_peer_ratio])
	end | line'

for json in "$BUILD"/bench/*.json; do
	name=$(basename "$json" .json)
	jq -r "$rows" "$json" >"$BUILD/bench/$name.md"
	awk -v name="$name" -v table="$BUILD/bench/$name.md" '
		/^<!-- end -->$/ { inside = 0 }
		!inside { print }
		$0 == "<!-- bench " name " -->" { inside = 1; while ((getline line < table) > 0) print line }
	' README.md >"$BUILD/bench/README.md"
	cat "$BUILD/bench/README.md" >README.md
done
