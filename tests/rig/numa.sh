#!/bin/bash
# tests/rig/numa.sh HOST: inside the rig, on that host of machine.sh: where slat's guests lie there,
# by the kernel's own count of their pages (numa_maps), and what is refused.
set -u
host=$1 slat=$BUILD/slat
work=$(mktemp -d)
slat_run=("$slat" run --cpus boot=2 --timeout 100 --report "$work/report")

pass() { echo "PASS rig/numa_$host/$1"; }
fail() { echo "FAIL rig/numa_$host/$1: $2"; }

# MiB of the guest on each node, by mappings of 8 MiB and more: "0:64 1:64"
counted() {
	awk '{
		size = 4
		for (i = 1; i <= NF; i++)
			if ($i ~ /^kernelpagesize_kB=/) size = substr($i, 19)
		pages = 0
		delete here
		for (i = 1; i <= NF; i++)
			if ($i ~ /^N[0-9]+=/) {
				split(substr($i, 2), part, "=")
				here[part[1]] = part[2] * size
				pages += part[2] * size
			}
		if (pages >= 8192)
			for (n in here) all[n] += here[n]
	} END { for (n = 0; n < 64; n++) if (n in all) printf "%s%d:%d", sep++ ? " " : "", n, all[n] / 1024 }' "/proc/$1/numa_maps"
}

# name, what is right, slat's options: memory is touched before the guest starts
lies() {
	local name=$1 right=$2 pid got

	shift 2
	"${slat_run[@]}" "$@" "$BUILD/guests/memtest.elf" --cmdline touch=1 >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until grep -q 'memtest: touched' "$work/out" || ! kill -0 $pid 2>/dev/null; do sleep 0.2; done
	got=$(counted $pid 2>/dev/null)
	kill $pid 2>/dev/null
	wait $pid
	if [ "$got" = "$right" ]; then
		pass "$name"
	else
		fail "$name" "MiB on nodes: '$got', not '$right': $(tail -n 1 "$work/err")"
	fi
}

# name, what the sentence says (grep -E), slat's options
refused() {
	local name=$1 right=$2 code

	shift 2
	"${slat_run[@]}" "$@" "$BUILD/guests/exit.elf" >"$work/out" 2>"$work/err" </dev/null
	code=$?
	if [ $code = 6 ] && grep -qE -- "$right" "$work/err"; then
		pass "$name"
	else
		fail "$name" "exit code $code: $(tail -n 1 "$work/err")"
	fi
}

# name, lines of the numa guest (joined by |), slat's options
sees() {
	local name=$1 right=$2 got

	shift 2
	"${slat_run[@]}" "$@" "$BUILD/guests/numa.elf" >"$work/out" 2>"$work/err" </dev/null
	got=$(tr -d '\r' <"$work/out" | sed -n 's/^numa: //p' | grep -v '^no ' | paste -sd'|')
	if [ "$got" = "$right" ]; then
		pass "$name"
	else
		fail "$name" "the guest says '$got', not '$right': $(tail -n 1 "$work/err")"
	fi
}

size=--memory
touched=size=256M,prefault=on
# shellcheck disable=SC2054 # commas are slat's
zones=(--memory-zone id=a,size=64M,host_numa_node=1,prefault=on
	--memory-zone id=b,size=128M,host_numa_node=0,prefault=on,backing=memfd)
case $host in
one)
	lies local 0:256 $size $touched --placement policy=local
	lies strict 0:256 $size $touched --strict
	refused node 'memory node 1 does not exist' $size $touched --placement host_numa_node=1
	refused latency 'tells no latencies' $size $touched --latency 100ns
	;;
two)
	lies local 1:256 $size $touched --placement policy=local,host_numa_node=1
	lies strict 1:256 $size $touched --placement host_numa_node=1 --strict
	lies pack 0:256 $size $touched --placement policy=pack,host_numa_node=0
	lies spread '0:128 1:128' $size $touched --placement policy=spread
	lies interleave '0:128 1:128' $size $touched --placement policy=interleave
	lies zones '0:128 1:64' "${zones[@]}"
	sees topology 'node 0 cpus 0 memory [0x0000000000,0x0008000000)|node 1 cpus 1 memory [0x0008000000,0x0010000000)|distance from 0: 10 21|distance from 1: 21 10|ok 2 nodes' \
		$size $touched --placement policy=spread
	;;
four)
	lies spread '0:64 1:64 2:64 3:64' --cpus boot=4 $size $touched --placement policy=spread
	lies some '1:128 3:128' $size $touched --placement policy=interleave,host_numa_node=1,3
	;;
unequal)
	lies local 0:2048 $size size=2G,prefault=on --placement policy=local
	refused hole 'no node has' $size size=5G --placement policy=local
	;;
memoryless)
	lies spread '0:128 2:128' $size $touched --placement policy=spread
	refused node 'node 1' --memory-zone id=a,size=64M,host_numa_node=1
	;;
hmat)
	lies contract '0:192 1:64' $size $touched --placement host_numa_node=0-1 --latency 100ns
	refused latency 'the best .* is 80\.' $size $touched --latency 79ns
	;;
huge)
	lies there 1:256 $size $touched,hugepages=on --placement policy=local
	refused elsewhere 'node 0' $size $touched,hugepages=on --placement policy=local,host_numa_node=0
	;;
dax)
	"${slat_run[@]}" --memory-zone id=a,size=256M,backing=devdax,file=/dev/dax0.0 "$BUILD/guests/memtest.elf" >"$work/out" \
		2>"$work/err" </dev/null
	if grep -q 'guest \[0x0, 0x10000000) at host frame 0x180200$' "$work/err"; then
		pass resource
	else
		fail resource "$(grep 'host frame' "$work/err" | paste -sd';'); $(tail -n 1 "$work/err")"
	fi
	;;
esac
rm -rf "$work"
