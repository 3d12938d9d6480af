#!/bin/bash
# tests/rig/numa.sh HOST: inside the rig, on that host of machine.sh: where slat's guests lie there
# and where their CPUs may run, by the kernel's own count (numa_maps, pagemap, Cpus_allowed_list); what
# guests are told of it; and what is refused, each time in one sentence that leaves nothing behind.
# Each policy on each host. Guests are small: a host is 64 MiB to whoever fills a sixteenth of it.
set -u
host=$1 slat=$BUILD/slat
work=$(mktemp -d)
nodes=/sys/devices/system/node
slat_run=("$slat" run --timeout 300 --report "$work/report")
before=()

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

# The host's CPUs that the guest's may run on: "0 1" for two
confined() {
	grep -lx 'cpu [0-9]*' "/proc/$1"/task/*/comm | while read -r comm; do
		sed -n "s/^Cpus_allowed_list:\t/$(cat "$comm") /p" "${comm%comm}status"
	done | sort | cut -d ' ' -f 3 | paste -sd' '
}

# What an own command is put before. In $pid, once the guest has touched all of its RAM; else in vain.
start() {
	: >"$work/out" && : >"$work/err"
	"${before[@]}" "${slat_run[@]}" "$@" "$BUILD/guests/memtest.elf" --cmdline touch=2 >>"$work/out" 2>>"$work/err" \
		</dev/null &
	pid=$!
	until grep -q 'memtest: touched' "$work/out" || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
}
end() {
	kill "$pid" 2>/dev/null
	wait "$pid"
}

# What the report says of memory, in the words of counted()
told() {
	jq -r '.memory.bytes_by_node | to_entries | sort_by(.key | tonumber) | map("\(.key):\(.value / 1048576 | floor)") | join(" ")' \
		"$work/report"
}

# name, what is right (grep -E) of memory and CPUs, slat's options; the report is to say the same of memory as the kernel
lies() {
	local name=$1 right=$2 got

	shift 2
	start "$@"
	got="$(counted "$pid" 2>/dev/null) on $(confined "$pid" 2>/dev/null)"
	end
	if [ "$(told)" != "${got% on *}" ]; then
		fail "$name" "MiB on nodes: the report says '$(told)', and the kernel '${got% on *}': $(tail -n 1 "$work/err")"
	elif grep -qxE -- "$right" <<<"$got"; then
		pass "$name"
	else
		fail "$name" "MiB on nodes on CPUs: '$got', not '$right': $(tail -n 1 "$work/err")"
	fi
}

# What is right under local, pack, spread and interleave, --memory, more options. The contract wants to know how fast nodes are.
# The vCPUs touch the memory of half of them, and slat that of the others.
policies() {
	local memory=$5 options=("${@:6}")

	lies local "$1" "${options[@]}" --memory "$memory" --placement policy=local
	lies pack "$2" "${options[@]}" --memory "$memory,prefault=on" --placement policy=pack
	lies spread "$3" "${options[@]}" --memory "$memory" --placement policy=spread
	lies interleave "$4" "${options[@]}" --memory "$memory,prefault=on" --placement policy=interleave
}

# Huge pages of 2 MiB that are free, by node, and promised, and files in memory: what a run takes and gives back.
taken() {
	cat $nodes/node[0-9]*/hugepages/hugepages-2048kB/free_hugepages /sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages
	find /dev/shm /dev/hugepages /tmp -mindepth 1 -not -path "$work*"
}

# name, what the whole sentence says behind its "slat: " (grep -E), slat's options
refused() {
	local name=$1 right=$2 code had

	shift 2
	had=$(taken)
	rm -f "$work/report"
	"${before[@]}" "${slat_run[@]}" "$@" "$BUILD/guests/exit.elf" >"$work/out" 2>"$work/err" </dev/null
	code=$?
	if [ $code != 6 ] || ! grep -qxE -- "slat: $right" "$work/err" || [ "$(cat "$work/out" "$work/err" | wc -l)" != 1 ]; then
		fail "$name" "exit code $code: $(paste -sd'|' "$work/err")"
	elif [ -e "$work/report" ] || [ "$(taken)" != "$had" ]; then
		fail "$name" "something is left: $(diff <(echo "$had") <(taken) | paste -sd' ')"
	else
		pass "$name"
	fi
}

# name, lines of the numa guest (joined by |), slat's options
sees() {
	local name=$1 right=$2 got

	shift 2
	"${slat_run[@]}" "$@" "$BUILD/guests/numa.elf" >"$work/out" 2>"$work/err" </dev/null
	got=$(tr -d '\r' <"$work/out" | sed -n 's/^numa: //p' | paste -sd'|')
	if [ "$got" = "$right" ]; then
		pass "$name"
	else
		fail "$name" "the guest says '$got', not '$right': $(tail -n 1 "$work/err")"
	fi
}

# name, MiB by node, slat's options: what the balloon took lies where it did once it has come again.
again() {
	local name=$1 right=$2

	shift 2
	"${slat_run[@]}" --balloon size=0 "$@" -- "$BUILD/guests/balloon.elf" >"$work/out" 2>"$work/err" </dev/null
	if grep -q '^balloon: ok' "$work/out" && [ "$(told)" = "$right" ]; then
		pass "$name"
	else
		fail "$name" "MiB on nodes: '$(told)', not '$right': $(tail -n 1 "$work/err")"
	fi
}

# What probe would have measured here, in ps.
table() {
	"$slat" probe --json | jq --argjson ps "$1" '.latencies = {source: "measured", ps: $ps}' >"$work/table"
}

free_mib() { awk '$3 == "MemFree:" { print int($4 / 1024) }' "$nodes/node$1/meminfo"; }

# What has just been given back is not counted as free at once: 48 MiB more or less. So node 0 is left less than others.
fill() {
	echo 356 >$nodes/node0/hugepages/hugepages-2048kB/nr_hugepages
}

# ---- what a process is confined to

group() { # file, value, ...
	if ! mount -t cgroup2 none /sys/fs/cgroup || ! echo '+cpuset +memory' >/sys/fs/cgroup/cgroup.subtree_control ||
		! mkdir /sys/fs/cgroup/slat || ! echo "$2" >"/sys/fs/cgroup/slat/$1"; then
		fail "group_$1" 'it cannot be made'
	fi
	# shellcheck disable=SC2016 # sh expands it
	before=(sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' /sys/fs/cgroup/slat)
}
no_group() {
	before=()
	rmdir /sys/fs/cgroup/slat || fail group_left 'somebody is in it'
	umount /sys/fs/cgroup
}

in_group() {
	group memory.max 48M
	refused group_limit \
		'--memory prefault=on: 64 MiB asked, and the control group /sys/fs/cgroup/slat has room for [0-9]+ [KM]iB of its limit of 48 MiB: .*' \
		--memory size=64M,prefault=on
	no_group
	group cpuset.mems 0
	refused outside_cpuset '--memory-zone id=a: memory node 2 is outside the cpuset that slat was started in, which allows 0' \
		--memory-zone id=a,size=64M,host_numa_node=2
	refused placement_outside_cpuset '--placement: memory node 2 is outside the cpuset .*, which allows 0' \
		--memory size=64M --placement host_numa_node=0,2
	lies within_cpuset '0:64 on 0' --memory size=64M --placement policy=spread
	no_group
}

# ---- hosts

no_node='memory node [13] does not exist on this host: nodes with memory are'
no_latency='--latency: this host tells no latencies .*'
ram=size=64M
two_cpus=(--cpus boot=2)

one() {
	policies '0:64 on 0' '0:64 on 0' '0:64 on 0' '0:64 on 0' $ram
	lies strict '0:64 on 0' --memory $ram --strict --placement host_numa_node=0
	refused node "--placement: $no_node 0" --memory $ram --placement host_numa_node=1
	refused contract "$no_latency" --memory $ram --latency 100ns
	before=(prlimit --memlock=1048576 setpriv --inh-caps=-ipc_lock --bounding-set=-ipc_lock)
	refused memlock '--memory mlock=on: this process may lock 1 MiB \(RLIMIT_MEMLOCK\), not 64 MiB; raise it .*' \
		--memory size=64M,mlock=on
}

two() {
	fill
	policies '1:64 on 1 1' '0:64 on 0 0' '0:32 1:32 on 0 1' '0:32 1:32 on [01] [01]' $ram "${two_cpus[@]}"
	refused contract "$no_latency" --memory $ram --latency 100ns
	table '[[80000, 160000], [160000, 80000]]'
	lies contract_measured '0:48 1:16 on 0' --memory $ram --latency 100ns --latencies "$work/table"
	table '[[80000, null], [null, 80000]]' # 168 ns, by the distance of 21
	lies contract_scaled '0:50 1:14 on 0' --memory $ram --latency 100ns --latencies "$work/table"
	refused contract_79 '--latency 79\.000ns cannot be kept: the best that 64 MiB can have now is 80\.000ns \(latencies: measured and distances\)' \
		--memory $ram --latency 79ns --latencies "$work/table"
	lies strict '1:64 on 1' --memory "$ram,prefault=on" --placement host_numa_node=1 --strict
	lies memfd '0:32 1:32 on [01]' --memory "$ram,shared=on" --placement policy=interleave
	lies huge '0:32 1:32 on [01]' --memory "$ram,hugepages=on" --placement policy=interleave
	lies zones '0:96 1:32 on 1 0' "${two_cpus[@]}" --memory-zone id=a,size=32M,host_numa_node=1,backing=hugetlb \
		id=b,size=64M,host_numa_node=0,backing=memfd id=c,size=32M,host_numa_node=0 \
		--numa guest_numa_id=0,cpus=0,memory_zones=a guest_numa_id=1,cpus=1,memory_zones=b,c
	sees topology 'node 0 cpus 0 memory [0x0000000000,0x0002000000)|node 1 cpus 1 memory [0x0002000000,0x0004000000)|distance from 0: 10 21|distance from 1: 21 10|no HMAT|ok 2 nodes' \
		"${two_cpus[@]}" --memory $ram --placement policy=spread
	again balloon '0:32 1:32' --strict --memory-zone id=a,size=32M,host_numa_node=1,prefault=on,backing=hugetlb \
		id=b,size=32M,host_numa_node=0,prefault=on,backing=memfd
	weighted
	refused zone_node "--memory-zone id=a: $no_node 0-1" --memory-zone id=a,size=64M,host_numa_node=3
}

# Three pages of node 0 for one of node 1.
weighted() {
	local weights=/sys/kernel/mm/mempolicy/weighted_interleave

	echo 3 >$weights/node0 && echo 1 >$weights/node1
	lies weighted '0:48 1:16 on 0-1' --memory-zone id=a,size=64M,host_numa_node=0-1,weighted=on,prefault=on
	lies not_weighted '0:32 1:32 on 0-1' --memory-zone id=a,size=64M,host_numa_node=0-1,prefault=on
	echo 1 >$weights/node0
}

four() {
	fill
	policies '([1-3]):64 on \1 \1 \1 \1' '0:64 on 0 0 0 0' '0:16 1:16 2:16 3:16 on 0 1 2 3' \
		'0:16 1:16 2:16 3:16 on ([0-3]) \1 \1 \1' $ram --cpus boot=4
	lies some '1:32 3:32 on [13]' --memory $ram --placement policy=interleave,host_numa_node=1,3
	refused contract "$no_latency" --memory $ram --latency 100ns
}

# A node's huge pages are all there is to it: no spill, and a pool that two nodes fill.
unequal() {
	local more=$(($(free_mib 1) + 64))

	policies '0:64 on 0 0' '1:64 on 1 1' '0:32 1:32 on 0 1' '0:32 1:32 on 0 0' $ram "${two_cpus[@]}"
	lies pack_over '0:512 1:256 on [01]' --memory size=768M,hugepages=on,prefault=on --placement policy=pack
	refused hole '--placement policy=local: no node has 768 MiB free; the largest has 512 MiB, in huge pages; .*' \
		--memory size=768M,hugepages=on --placement policy=local
	lies spill "$(spilt $more) on 1" --memory-zone "id=a,size=${more}M,host_numa_node=1,prefault=on" --numa guest_numa_id=0,cpus=0
	refused strict '--memory-zone id=a: --strict binds 2 GiB to node 1, which has [0-9]+ KiB: ask for less, or leave --strict out' \
		--memory-zone id=a,size=2G,host_numa_node=1 --strict --
	refused contract "$no_latency" --memory $ram --latency 100ns
}
# A full node 1, to which the kernel leaves a reserve, and the rest on 0.
spilt() {
	seq 64 256 | sed "s/.*/0:& 1:$1-&/" | while IFS=: read -r a b c; do echo "$a:$b:$((c))"; done | paste -sd'|' | sed 's/^/(/; s/$/)/'
}

memoryless() {
	policies '0:64 on 0 0' '0:64 on 0 0' '0:32 2:32 on 0 0' '0:32 2:32 on 0 0' $ram "${two_cpus[@]}"
	lies zone '2:64 on 0-1' --memory-zone id=a,size=64M,host_numa_node=2
	sees topology 'node 0 cpus 0,1 memory [0x0000000000,0x0002000000)|node 1 cpus none memory [0x0002000000,0x0004000000)|distance from 0: 10 21|distance from 1: 21 10|no HMAT|ok 2 nodes' \
		"${two_cpus[@]}" --memory $ram --placement policy=spread
	refused contract "$no_latency" --memory $ram --latency 100ns
	hotplugged
}
# A module of memory is plugged into node 1: it has memory from when that is online, until it is offline.
hotplugged() {
	no_memory before
	plugged online_movable
	lies plugged '1:64 on 1' --memory size=64M,prefault=on --placement host_numa_node=1 --strict
	lies plugged_spread '0:32 1:32 2:32 on 0 1' "${two_cpus[@]}" --memory size=96M --placement policy=spread
	plugged offline
	no_memory after
}
no_memory() {
	refused "$1" '--memory-zone id=a: memory node 1 of this host has no memory: nodes with memory are 0,2' \
		--memory-zone id=a,size=64M,host_numa_node=1
}
plugged() { # what to do
	local block some=

	for block in "$nodes"/node1/memory[0-9]*; do
		[ -e "$block/state" ] || continue
		some=1
		echo "$1" >"$block/state" || fail "$1" "the kernel does not do it: $block"
	done
	[ -n "$some" ] || fail "$1" 'no memory is plugged into node 1'
}

# What no CPU brings up is no node. Control groups are here, where there is one CPU: they patch the kernel (rig.sh).
sparse() {
	policies '0:64 on 0' '0:64 on 0' '0:32 2:32 on 0' '0:32 2:32 on 0' $ram
	lies zone '2:64 on 0' --memory-zone id=a,size=64M,host_numa_node=2
	refused node "--memory-zone id=a: $no_node 0,2" --memory-zone id=a,size=64M,host_numa_node=1
	refused contract "$no_latency" --memory $ram --latency 100ns
	in_group
}

# 80 ns, and 160 to the other: so much of a guest with one CPU has to be local.
hmat() {
	fill
	policies '1:64 on 1 1' '0:64 on 0 0' '0:32 1:32 on 0 1' '0:32 1:32 on [01] [01]' $ram "${two_cpus[@]}"
	lies contract '0:48 1:16 on 0' --memory $ram --latency 100ns
	lies contract_140 '0:16 1:48 on 0' --memory "$ram,prefault=on" --latency 140ns
	lies contract_80 '0:64 on 0' --memory $ram --latency 80ns
	lies contract_huge '0:48 1:16 on 0' --memory "$ram,hugepages=on" --placement policy=contract --latency 100ns --strict
	refused contract_79 '--latency 79\.000ns cannot be kept: the best that 64 MiB can have now is 80\.000ns \(latencies: hmat\)' \
		--memory $ram --latency 79ns
	before=(taskset -c 1)
	lies contract_odd '0:11 1:36 on 1' --memory size=47M --latency 100ns # the least local is no multiple of 2M
	before=()
	table '[[50000, 100000], [100000, 50000]]'
	lies contract_measured '0:52 1:12 on 0' --memory $ram --latency 60ns --latencies "$work/table"
	sees topology 'node 0 cpus 0 memory [0x0000000000,0x0002000000)|node 1 cpus 1 memory [0x0002000000,0x0004000000)|distance from 0: 10 20|distance from 1: 20 10|latency from 0: 80 160 ns|latency from 1: 160 80 ns|bandwidth from 0: 10240 5120 MiB/s|bandwidth from 1: 5120 10240 MiB/s|ok 2 nodes' \
		"${two_cpus[@]}" --memory $ram --placement policy=spread
}

# Those of 512 pages of 2 MiB that node 1 has and node 0 has not.
huge() {
	local there='1:64 on 1 1'

	policies "$there" "$there" "$there" "$there" $ram,hugepages=on "${two_cpus[@]}"
	lies zone '1:64 on 0-1' --memory-zone id=a,size=64M,backing=hugetlb,host_numa_node=1
	refused elsewhere "--memory-zone id=a: 32 huge pages of 2 MiB asked of node 0, which has 0 free of 0; 512 are free elsewhere: write 32 to $nodes/node0/hugepages/hugepages-2048kB/nr_hugepages, or ask another node" \
		--memory-zone id=a,size=64M,backing=hugetlb,host_numa_node=0
	refused placement_elsewhere "--memory hugepages=on: 32 huge pages of 2 MiB asked of node 0, which has 0 free of 0; 512 are free elsewhere: .*" \
		--memory "$ram,hugepages=on" --placement host_numa_node=0
	refused too_many '--memory-zone id=b and those before it: 513 huge pages of 2 MiB asked of node 1, which has 512 free of 512; 0 are free elsewhere: write 513 to .*' \
		--memory-zone id=a,size=64M,backing=hugetlb,host_numa_node=1 id=b,size=962M,backing=hugetlb,host_numa_node=1 --
	refused contract "$no_latency" --memory "$ram,hugepages=on" --latency 100ns
}

# Of a page of the process, by the kernel: its physical address. pid, address
physical() {
	echo $((($(dd if="/proc/$1/pagemap" bs=8 skip=$(($2 / 4096)) count=1 2>/dev/null | od -An -tu8) & ((1 << 55) - 1)) * 4096))
}
# Behind 32 MiB of other memory lie 128 MiB of the device: where the kernel has them, and slat's table.
device() {
	local resource at want='' got='' offset

	resource=$(($(cat /sys/bus/dax/devices/dax0.0/resource)))
	start --memory-zone id=a,size=32M,host_numa_node=0 "id=d,size=128M,backing=devdax,file=/dev/dax0.0,host_numa_node=1" \
		--report "$work/device" --numa guest_numa_id=0,cpus=0,memory_zones=a guest_numa_id=1,memory_zones=d --dump-table "$work/table"
	at=$((0x$(sed -n 's/-.*dax0\.0$//p' "/proc/$pid/maps")))
	for offset in 0 4096 $((64 << 20)) $(((128 << 20) - 4096)); do
		want+=" $((resource + offset))"
		got+=" $(physical "$pid" $((at + offset)))"
	done
	is pages "$want" "$got"
	refused busy '--memory-zone id=a: /dev/dax0\.0 is in use by another slat' "${file[@]}"
	end
	got=$("$slat" table --json "$work/table" | jq -c '[.runs[] | select(.gpa >= 33554432) | [.gpa, .bytes, .hpa, (.leaves | add), .leaves."2m"]]')
	is leaves "[[$((32 << 20)),$((128 << 20)),$resource,64,64]]" "$got"
	got=$(jq -c '.zones[1] | [.bytes_by_node, .physical]' "$work/device")
	is truth "[{\"1\":$((128 << 20))},{\"runs\":1,\"largest_run_bytes\":$((128 << 20))}]" "$got"
}
is() { # name, what is right, what there is
	if [ "$3" = "$2" ]; then pass "$1"; else fail "$1" "'$3', not '$2': $(tail -n 1 "$work/err")"; fi
}

dax() {
	# shellcheck disable=SC2054 # commas are slat's
	local file=(--memory-zone id=a,size=64M,backing=devdax,file=/dev/dax0.0)

	policies '0:64 on 0 0' '1:64 on 1 1' '0:32 1:32 on 0 1' '0:32 1:32 on [01] [01]' $ram "${two_cpus[@]}"
	device
	refused missing '/dev/dax1\.0 is not a device-dax that this host has .*' "${file[@]/dax0/dax1}"
	refused alignment '--memory-zone id=a size=65 MiB: /dev/dax0\.0 is mapped in pages of 2 MiB, so ask for a multiple of that' \
		"${file[@]/64M/65M}"
	refused size '--memory-zone id=a size=514 MiB is more than /dev/dax0\.0 has: 512 MiB' "${file[@]/64M/514M}"
	refused elsewhere '--memory-zone id=a: /dev/dax0\.0 is memory of node 1, not of node 0' "${file[@]/id=a/id=a,host_numa_node=0}"
	refused contract "$no_latency" --memory $ram --latency 100ns
}

declare -F "$host" >/dev/null || fail is_known 'nothing is asked here'
"$host"
rm -rf "$work"
