#!/bin/bash
# tests/bench/table.sh: puts the figures of $BUILD/bench/*.json into README.md,
# between the lines `<!-- bench NAME -->` and `<!-- end -->`. Figures are never typed.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
for json in "$BUILD"/bench/*.json; do
	name=$(basename "$json" .json)
	{
		echo '| case | unit | slat | floor | slat / floor | best peer | peer | slat / peer | rounds |'
		echo '|---|---|---|---|---|---|---|---|---|'
		jq -r '.[] | "| \(.case) | \(.unit) | \(.slat) | \(.floor) | \(.floor_ratio) | \(.best_peer) | \(.best_peer_value) | \(.best_peer_ratio) | \(.rounds) |"' "$json"
	} >"$BUILD/bench/$name.md"
	awk -v name="$name" -v table="$BUILD/bench/$name.md" '
		/^<!-- end -->$/ { inside = 0 }
		!inside { print }
		$0 == "<!-- bench " name " -->" { inside = 1; while ((getline line < table) > 0) print line }
	' README.md >"$BUILD/bench/README.md"
	cat "$BUILD/bench/README.md" >README.md
done
