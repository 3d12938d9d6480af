#!/bin/bash
# tests/rig/inside.sh: what is tested inside the rig: that the rig is the host
# it claims to be, a debugger's session, the guests' table on real KVM and NPT, and a stock Debian
# kernel under slat, whose own view of its machine is compared with what was
# asked for.
set -u
slat=$BUILD/slat rig=$BUILD/rig
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

# TCG can lose the race of Linux's code patching: a guest that dies of an int3
# that was already taken back is started again.
lost_race() { grep -q 'Oops: int3' "$1"; }

# The command line of a stock run. name, end=, slat's options...
boot() {
	local out=$work/$1 end=$2

	shift 2
	"$slat" run "$@" --initramfs "$rig/guest.cpio.gz" --timeout 200 --report "$out.json" \
		--cmdline "console=ttyS0 quiet mitigations=off end=$end" >"$out" 2>&1
}

# name, wanted exit code, its exit code
ended() {
	tr -d '\r' <"$work/$1" >"$work/$1.txt"
	sed "s/^/  $1: /" "$work/$1.txt"
	if [ "$3" = "$2" ]; then
		pass "$1"
	else
		fail "$1" "exit code $3, not $2: $(tail -n 1 "$work/$1.txt")"
	fi
}

# name, wanted exit code, end=, slat's options...
stock() {
	local name=$1 wanted=$2 code

	for _ in 1 2 3; do
		boot "$name" "${@:3}" </dev/null
		code=$?
		lost_race "$work/$name" || break
	done
	ended "$name" "$wanted" "$code"
}

# The guest waits; then this is done to it: a line is typed, or slat gets SIGINT. name, end=, what to do
poked() {
	local name=$1 end=$2 poke=$3 code pid

	for _ in 1 2 3; do
		rm -f "$work/keys" "$work/$name" && mkfifo "$work/keys" && : >"$work/$name"
		boot "$name" "$end" --kernel "$rig/kernel/vmlinuz" --memory size=512M <"$work/keys" &
		pid=$!
		exec 7>"$work/keys"
		until grep -q 'guest: waits' "$work/$name" || ! kill -0 $pid 2>/dev/null; do sleep 0.3; done
		sleep 1
		"$poke" $pid
		wait $pid
		code=$?
		exec 7>&-
		lost_race "$work/$name" || break
	done
	ended "$name" 0 "$code"
}
type_line() { echo 'typed by the rig' >&7; }
press_button() { pkill -INT -x slat; }

# name of a stock run, key, what is right
said() {
	local got

	got=$(sed -n "s/^guest: $2 //p" "$work/$1.txt" | tail -n 1)
	if [ "$got" = "$3" ]; then
		pass "$1/$2"
	else
		fail "$1/$2" "the guest says ${got:-nothing}, not $3"
	fi
}

# A kernel keeps a few per cent of its RAM for itself before it counts MemTotal.
total() {
	local got asked=$2

	got=$(sed -n 's/^guest: total_kib //p' "$work/$1.txt")
	if [ -n "$got" ] && [ "$got" -le "$asked" ] && [ "$got" -ge $((asked * 94 / 100)) ]; then
		pass "$1/total"
	else
		fail "$1/total" "MemTotal is ${got:-unknown} KiB of $asked asked"
	fi
}

# One block of the pool, seen by the guest as two ranges.
block() {
	local got

	got=$(jq -c '[(.blocks | length), .blocks[0].bytes, (.ranges | length)]' "$work/$1.json")
	if [ "$got" = "[1,$2,2]" ]; then
		pass "$1/block"
	else
		fail "$1/block" "blocks, bytes and ranges are ${got:-unknown}"
	fi
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
stock poweroff 0 poweroff --kernel "$rig/kernel/vmlinuz" --cpus boot=2 --memory size=5G
said poweroff kernel "$(cat "$rig/kernel/VERSION")"
said poweroff processors 2
total poweroff $((5 << 20))
# 3 GiB lie below the hole, so that 2 GiB continue at 4 GiB: the last range ends with the 6th GiB.
said poweroff ram 100000000-17fffffff
block poweroff $((5 << 30))
# A guard where the kernel would like to lie, RAM in pieces: it goes elsewhere, knows of the guard, and does not touch it.
stock guarded 0 poweroff --kernel "$rig/kernel/vmlinuz" --memory size=512M,contiguous=scatter,extent_size=16M \
	--guard 16M+4K --guard 0x1fff0000+64K --ro 0x8000000+1M
said guarded ram 08100000-1ffeffff
if [ "$(jq -c '[.faults[]]' "$work/guarded.json")" = '[0,0,0]' ]; then
	pass guarded/untouched
else
	fail guarded/untouched "faults: $(jq -c .faults "$work/guarded.json")"
fi
# Larger than what one node has free: the rest comes from the other.
free_kib() { awk '/MemFree/ { print $4 }' "/sys/devices/system/node/node$1/meminfo"; }
over_kib=$(($(free_kib 0) > $(free_kib 1) ? $(free_kib 0) : $(free_kib 1)))
over_mib=$((over_kib / 1024 + 300))
if "$slat" run --memory "size=${over_mib}M,prefault=on" --exit-zero 0 "$BUILD/guests/exit.elf" >"$work/over" 2>&1; then
	pass two_nodes
else
	fail two_nodes "exit code $? for $over_mib MiB over two nodes: $(tail -n 1 "$work/over")"
fi
stock reboot 12 reboot --kernel "$rig/kernel/vmlinuz" --memory size=512M
stock panic 14 panic --kernel "$rig/kernel/vmlinuz" --memory size=512M
poked typed typed type_line
said typed line 'typed by the rig'
poked button button press_button
if grep -q 'slat: asked the guest to power off' "$work/button"; then
	pass button/asked
else
	fail button/asked 'slat did not say so'
fi
stock pvh 0 poweroff --kernel "$rig/kernel/vmlinux" --cpus boot=2 --memory size=512M
said pvh processors 2
tests/rig/devices.sh
[ $? -le 1 ] || fail devices 'tests/rig/devices.sh ended badly'
rm -rf "$work"
