#!/bin/sh
# tests/oracle/mutant.sh NAME: mm/pagetable.c with one mistake, for the proof that
# the oracles would see it. Each is one that a codec or a loop could have; that
# exactly one line changes is checked, so that none is lost when the code moves.
set -eu
cd "$(dirname "$0")/../.."

leaf='return out | bits'
case $1 in
write) mistake="s/$leaf/return out | (bits \\& ~UINT64_C(2))/" ;;		# no leaf may be written
address) mistake="s/$leaf/return (out ^ (level == 1) * 0x200000u) | bits/" ;; # 2M leaves lead 2M astray
reserved) mistake="s/$leaf/return out | bits | (level == 1) * (UINT64_C(1) << 45)/" ;;
large) mistake="s/$leaf\\(.*\\)LARGE : 0)/return out | bits\\1(level == 1 ? 0 : LARGE) : 0)/" ;;
split) mistake='s/table\[i\] = first + i \* step;/table[i] = first + (i ^ 1) * step;/' ;; # its parts change places
link) mistake='s/\(return page\.n << FRAME_SHIFT | \)\(link_bits(pt)\)/\1(\2 \& ~UINT64_C(2))/' ;; # nothing below may be written
names)
	echo write address reserved large split link
	exit
	;;
*)
	echo "mutant: there is no $1" >&2
	exit 2
	;;
esac
sed "$mistake" mm/pagetable.c >"$2"
changed=$(diff mm/pagetable.c "$2" | grep -c '^>') || true
if [ "$changed" != 1 ]; then
	echo "mutant: $1 changes $changed lines of mm/pagetable.c, and must change one" >&2
	rm -f "$2"
	exit 1
fi
