#!/bin/bash
# tests/rig/inside.sh: what is tested inside the rig: that the rig is the host
# it claims to be, the guests' table on real KVM and NPT, and a stock Debian
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

# name, wanted exit code, end=, slat's options...
stock() {
	local name=$1 wanted=$2 end=$3 out=$work/$1 code

	shift 3
	"$slat" run "$@" --initramfs "$rig/guest.cpio.gz" --timeout 200 --report "$out.json" \
		--cmdline "console=ttyS0 quiet mitigations=off end=$end" </dev/null >"$out" 2>&1
	code=$?
	tr -d '\r' <"$out" >"$out.txt"
	sed "s/^/  $name: /" "$out.txt"
	if [ "$code" = "$wanted" ]; then
		pass "$name"
	else
		fail "$name" "exit code $code, not $wanted: $(tail -n 1 "$out.txt")"
	fi
}

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

host
guests
stock poweroff 0 poweroff --kernel "$rig/kernel/vmlinuz" --cpus boot=2 --memory size=5G
said poweroff kernel "$(cat "$rig/kernel/VERSION")"
said poweroff processors 2
total poweroff $((5 << 20))
# 3 GiB lie below the hole, so that 2 GiB continue at 4 GiB: the last range ends with the 6th GiB.
said poweroff ram 100000000-17fffffff
block poweroff $((5 << 30))
stock reboot 12 reboot --kernel "$rig/kernel/vmlinuz" --memory size=512M
stock panic 14 panic --kernel "$rig/kernel/vmlinuz" --memory size=512M
stock pvh 0 poweroff --kernel "$rig/kernel/vmlinux" --cpus boot=2 --memory size=512M
said pvh processors 2
rm -rf "$work"
