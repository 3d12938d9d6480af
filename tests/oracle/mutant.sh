#!/bin/sh
# tests/oracle/mutant.sh NAME FILE: writes mm/pagetable.c with one mistake, for the
# proof that the oracles would see it; `names` lists them. A mistake must change
# one line; where the library moved on and it does not, FILE is the library as it
# is, this says so, and the case that wants red fails.
set -eu
cd "$(dirname "$0")/../.."

leaf='return out | bits'
case $1 in
names)
	echo write address reserved large eighth split link collapse protect harvest
	exit
	;;
# What each leaf is, or each 2M leaf: it may not be written; it leads 2M astray; it
# has a bit above all addresses; it is a link.
write) mistake="s/$leaf/return out | (bits \\& ~UINT64_C(2))/" ;;
address) mistake="s/$leaf/return (out ^ (level == 1) * 0x200000u) | bits/" ;;
reserved) mistake="s/$leaf/return out | bits | (level == 1) * (UINT64_C(1) << 45)/" ;;
large) mistake="s/$leaf\\(.*\\)LARGE : 0)/return out | bits\\1(level == 1 ? 0 : LARGE) : 0)/" ;;
# A run's eighth entry, and 16th, ... leads where the one before does; the parts of a
# split leaf lie twice as far apart as they should.
eighth) mistake='s/\(entry + 7, value + \)7/\16/' ;;
split) mistake='s/\(fill(table, ENTRIES, .*,\) step)/\1 2 * step)/' ;;
# Nothing below a link may be written.
link) mistake='s/\(return page\.n << FRAME_SHIFT | \)\(link_bits(pt)\)/\1(\2 \& ~UINT64_C(2))/' ;;
# Marks: a collapse makes some up; a change of rights loses them; a harvest clears another one.
collapse) mistake='s/first | LARGE | (seen/first | LARGE | mark_bits(pt) | (seen/' ;;
protect) mistake='s/\(keep = [^;]*\) | mark_bits(c->pt)/\1/' ;;
harvest) mistake='s/~h->clear,/~(h->clear >> 1),/' ;;
*)
	echo "mutant: there is no $1" >&2
	exit 2
	;;
esac
sed "$mistake" mm/pagetable.c >"$2"
changed=$(diff mm/pagetable.c "$2" | grep -c '^>') || true
if [ "$changed" != 1 ]; then
	echo "mutant: $1 changes $changed lines of mm/pagetable.c, and must change one" >&2
	cp mm/pagetable.c "$2"
fi
