#!/bin/bash
# tests/bench/table.sh: puts the figures of $BUILD/bench/*.json into README.md,
# between the lines `<!-- bench NAME -->` and `<!-- end -->`. Figures are never typed.
# Rows that know all their peers get a column for each; slat's median and that of
# the best peer stand beside the minima, and below the table how many rounds there were.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}

# shellcheck disable=SC2016 # $peers is jq's
rows='
	def line: "| " + (map(. // "" | tostring) | join(" | ")) + " |";
	def with($median): if . and $median then "\(.) (\($median))" else . end;
	def cell($row; $peer): $row.peers[$peer].min? | if . and $row.best_peer_ratio and $row.best_peer == $peer then
		"**\(with($row.best_peer_median))**" else . end;
	([.[].peers // {} | keys_unsorted] | max_by(length)) as $peers
	| if ($peers | length) == 0 then
		["case", "unit", "slat", "floor", "slat / floor", "best peer", "peer", "slat / peer", "rounds"],
		[range(9) | "---"],
		(.[] | [.case, .unit, .slat, .floor, .floor_ratio, .best_peer, .best_peer_value, .best_peer_ratio, .rounds])
	else
		["case", "unit", "slat (median)", "floor", "slat / floor"] + $peers + ["slat / best peer"],
		[range(6 + ($peers | length)) | "---"],
		(.[] | . as $row | (.slat_median as $m | .slat | with($m)) as $slat
			| [.case, .unit, $slat, .floor, .floor_ratio] + [$peers[] | cell($row; .)] + [.best_peer_ratio])
	end | line'

# shellcheck disable=SC2016
rounds='
	map(.rounds | select(. > 0)) | unique | map(tostring) | select(length > 0) | join(" or ")
	| "\nMinimum (and median) of \(.) rounds in which all take turns; the best peer is in bold."'

for json in "$BUILD"/bench/*.json; do
	name=$(basename "$json" .json)
	jq -r "$rows" "$json" >"$BUILD/bench/$name.md"
	jq -r "if any(.[]; .peers) then $rounds else empty end" "$json" >>"$BUILD/bench/$name.md"
	awk -v name="$name" -v table="$BUILD/bench/$name.md" '
		/^<!-- end -->$/ { inside = 0 }
		!inside { print }
		$0 == "<!-- bench " name " -->" { inside = 1; while ((getline line < table) > 0) print line }
	' README.md >"$BUILD/bench/README.md"
	cat "$BUILD/bench/README.md" >README.md
done
