#!/bin/bash
# tests/rig/inside.sh: what is tested inside the rig: that the rig is the
# host it claims to be, that KVM's pages are the table's leaves, the guests' table on
# real KVM and NPT, a debugger's session, a guest larger than a node. Stock kernels: stock.sh.
set -u
slat=$BUILD/slat
work=$(mktemp -d)

pass() { echo "PASS rig/$1"; }
fail() { echo "FAIL rig/$1: $2"; }

host() {
	local nodes=(/sys/devices/system/node/node[0-9]*)

	if [ ! -w /dev/kvm ]; then
		fail host 'there is no /dev/kvm'
	elif [ "$(cat /sys/module/kvm_amd/parameters/npt)" != Y ]; then
		fail host 'kvm_amd is without nested paging'
	elif [ ${#nodes[@]} != 2 ] || [ "$(cat /sys/devices/system/node/node0/distance)" != '10 21' ]; then
		fail host "not two nodes at distance 21: ${#nodes[@]}, $(cat /sys/devices/system/node/node0/distance)"
	else
		pass host
	fi
}

# The table's results become ours. This host has all that a guest may need: a skip is a failure.
guests() {
	WHERE=rig tests/guests.sh >"$work/guests" 2>&1
	local code=$?

	sed -E -e 's#^(PASS|FAIL) #\1 rig/#' -e 's#^SKIP ([^:]*)#FAIL rig/\1: skipped in the rig#' "$work/guests"
	grep -q '^PASS' "$work/guests" || fail guests "the table ended with code $code: $(tail -n 1 "$work/guests")"
}

# KVM maps what was touched by the largest pages that slot, gpa, hva and backing allow. Once a guest has touched every
# frame, that is what the table says, leaf for leaf: the difference is 0, with guards, read-only memory and scattered
# extents too. A guard, touched, has no page in either. name, options...
leaves() {
	local name=leaves_$1 want got pid

	shift
	"$slat" run --timeout 100 --cmdline touch=1 --on-fault report "$@" "$BUILD/guests/memtest.elf" >"$work/touched" \
		2>"$work/leaves" </dev/null &
	pid=$!
	until grep -q 'memtest: touched' "$work/touched" || ! kill -0 $pid 2>/dev/null; do sleep 0.2; done
	got=$(cat /sys/kernel/debug/kvm/$pid-*/pages_{1g,2m,4k} | tr '\n' ' ')
	want=$(sed -n 's/^slat: NPT: \([0-9]*\) leaves of 1G, \([0-9]*\) of 2M, \([0-9]*\) of 4K in .*/\1 \2 \3 /p' "$work/leaves")
	kill $pid
	wait $pid
	if [ -n "$want" ] && [ "$got" = "$want" ] && [ "$want" != '0 0 0 ' ]; then
		pass "$name"
	else
		fail "$name" "KVM has ${got:-no} pages of 1G, 2M, 4K, the table ${want:-no} leaves: $(tail -n 1 "$work/leaves")"
	fi
}

host
echo 1 >/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages
cut=(--guard 16M+4K --guard 24M+2M --ro 32M+4K)
leaves 4k --memory size=64M,thp=off
leaves thp --memory size=64M
leaves 2m --memory size=64M,hugepages=on
leaves 1g --memory size=1G,hugepages=on,hugepage_size=1G
leaves memfd --memory size=64M,shared=on
leaves odd --memory size=33564K
leaves thp_cut --memory size=64M "${cut[@]}"
leaves 2m_cut --memory size=64M,hugepages=on "${cut[@]}"
leaves 1g_cut --memory size=1G,hugepages=on,hugepage_size=1G "${cut[@]}"
leaves scatter_64k --memory size=64M,contiguous=scatter,extent_size=64K
leaves scatter_2m --memory size=64M,contiguous=scatter "${cut[@]}"
leaves prefer --memory size=64M,contiguous=prefer --pool size=96M,taken=1M+4K,taken=40M+1M
guests
WHERE=rig tests/gdb.sh || fail gdb 'tests/gdb.sh ended badly'
# Larger than what one node has free: the rest comes from the other.
free_kib() { awk '/MemFree/ { print $4 }' "/sys/devices/system/node/node$1/meminfo"; }
over_kib=$(($(free_kib 0) > $(free_kib 1) ? $(free_kib 0) : $(free_kib 1)))
over_mib=$((over_kib / 1024 + 300))
if "$slat" run --memory "size=${over_mib}M,prefault=on" --exit-zero 0 "$BUILD/guests/exit.elf" >"$work/over" 2>&1; then
	pass two_nodes
else
	fail two_nodes "exit code $? for $over_mib MiB over two nodes: $(tail -n 1 "$work/over")"
fi
rm -rf "$work"
