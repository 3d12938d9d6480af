#!/bin/bash
# tests/rig/stock.sh: stock Debian kernels under slat, in the rig: the guest's own
# view of its machine is compared with what was asked for; then with devices (devices.sh).
set -u
slat=$BUILD/slat rig=$BUILD/rig
work=$(mktemp -d)

pass() { echo "PASS rig/$1"; }
fail() { echo "FAIL rig/$1: $2"; }

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
		fail "$1" "exit code $3, not $2: $(tests/rig/last_words.sh "$work/$1.txt")"
	fi
}

# name, wanted exit code, end=, slat's options...
stock() {
	local name=$1 wanted=$2

	boot "$name" "${@:3}" </dev/null
	ended "$name" "$wanted" $?
}

# The guest waits; then this is done to it: a line is typed, or slat gets SIGINT. name, end=, what to do
poked() {
	local name=$1 end=$2 poke=$3 code pid

	rm -f "$work/keys" && mkfifo "$work/keys" && : >"$work/$name"
	boot "$name" "$end" --kernel "$rig/kernel/vmlinuz" --memory size=512M <"$work/keys" &
	pid=$!
	exec 7>"$work/keys"
	until grep -q 'guest: waits' "$work/$name" || ! kill -0 $pid 2>/dev/null; do sleep 0.3; done
	sleep 1
	"$poke" $pid
	wait $pid
	code=$?
	exec 7>&-
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

stock poweroff 0 poweroff --kernel "$rig/kernel/vmlinuz" --cpus boot=2 --memory size=5G
said poweroff kernel "$(cat "$rig/kernel/VERSION")"
said poweroff processors 2
said poweroff node0 'cpus 0-1 mib 5120 distances 10'
said poweroff srat ''
total poweroff $((5 << 20))
# 3 GiB lie below the hole, so that 2 GiB continue at 4 GiB: the last range ends with the 6th GiB.
said poweroff ram 100000000-17fffffff
block poweroff $((5 << 30))
# A guard where the kernel would like to lie, RAM in pieces: it goes elsewhere, knows of the guard, and does not touch it.
stock guarded 0 poweroff --kernel "$rig/kernel/vmlinuz" --memory size=512M,contiguous=scatter,extent_size=16M \
	--guard 16M+4K --guard 0x1fff0000+64K --ro 0x8000000+1M \
	--numa guest_numa_id=0,memory_zones=mem0 guest_numa_id=1,cpus=0,distances=0@17
said guarded ram 08100000-1ffeffff
# Linux gives the first number to the node that has a CPU.
said guarded srat '1 is 0: 0x00000000-0x1fffffff'
said guarded node0 'cpus 0 mib 0 distances 10 17'
said guarded node1 'cpus none mib 512 distances 17 10'
if [ "$(jq -c '[.faults[]]' "$work/guarded.json")" = '[0,0,0]' ]; then
	pass guarded/untouched
else
	fail guarded/untouched "faults: $(jq -c .faults "$work/guarded.json")"
fi
# What the guest sees of a host that tells latencies. This rig has one CPU, so there is none on node 1.
stock reboot 12 reboot --kernel "$rig/kernel/vmlinuz" --cpus boot=2 --memory size=512M --placement policy=spread
said reboot srat '0 is 0: 0x00000000-0x0fffffff;1 is 1: 0x10000000-0x1fffffff'
said reboot node0 'cpus 0-1 mib 256 distances 10 20'
said reboot node1 'cpus none mib 256 distances 20 10'
said reboot node0_access0 'from node0 80 ns 10240 MiB/s'
said reboot node1_access0 'from node0 160 ns 5120 MiB/s'
said reboot hmat '[0-0]:80 nsec;[0-1]:160 nsec;[0-0]:10240 MB/s;[0-1]:5120 MB/s'
stock panic 14 panic --kernel "$rig/kernel/vmlinuz" --memory size=512M
poked typed typed type_line
said typed line 'typed by the rig'
poked button button press_button
if grep -q 'slat: asked the guest to power off' "$work/button"; then
	pass button/asked
else
	fail button/asked 'slat did not say so'
fi
# Nodes as asked for, and a way back that is not as far.
stock pvh 0 poweroff --kernel "$rig/kernel/vmlinux" --cpus boot=2 \
	--memory-zone id=a,size=384M,host_numa_node=0 id=b,size=128M,host_numa_node=1 \
	--numa guest_numa_id=0,cpus=1,memory_zones=a,distances=1@31 guest_numa_id=1,cpus=0,memory_zones=b,distances=0@25
said pvh processors 2
said pvh srat '0 is 0: 0x00000000-0x17ffffff;1 is 1: 0x18000000-0x1fffffff'
said pvh node0 'cpus 1 mib 384 distances 10 31'
said pvh node1 'cpus 0 mib 128 distances 25 10'
tests/rig/devices.sh
[ $? -le 1 ] || fail devices 'tests/rig/devices.sh ended badly'
rm -rf "$work"
