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

# Suites of the unit tests, or of one the case, that know more than one node: "zones nodes"
units() {
	local got

	got=$(env "CK_RUN_SUITE=$1" ${2:+"CK_RUN_CASE=$2"} CK_VERBOSITY=normal timeout 120 "$BUILD/tests/unit" 2>&1)
	if grep -q '^100%: Checks: [1-9]' <<<"$got"; then
		pass "units_$1"
	else
		fail "units_$1" "$(grep -v '^slat: ' <<<"$got" | tail -n 3 | paste -sd'|')"
	fi
}

# name, MiB on nodes, slat's options: each thread of slat's, by name, where it may run.
threads() {
	local name=$1 right=$2 got

	shift 2
	start "$@"
	got=$(for task in "/proc/$pid/task"/*; do
		sed -n "s/^Cpus_allowed_list:\t/$(cat "$task/comm"): /p" "$task/status"
	done | grep -v '^kvm' | sort | paste -sd'|')
	end
	if [ "$got" = "$right" ]; then pass "$name"; else fail "$name" "'$got', not '$right'"; fi
}

# What touches a zone of node 1 runs there as long as it does, and where it did before once it is done.
touching() {
	local seen='' now

	"${slat_run[@]}" --memory-zone id=a,size=640M,host_numa_node=1,prefault=on -- "$BUILD/guests/spin.elf" >"$work/out" 2>"$work/err" \
		</dev/null &
	pid=$!
	until grep -q 'in 1 zone' "$work/err" || ! kill -0 $pid 2>/dev/null; do
		now=$(sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$pid/status")
		[ "$now" = "${seen##* }" ] || seen+=" $now"
	done
	now=$(sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$pid/status")
	end
	if [[ "$seen $now" =~ ^(' 0-1')?' 1'(' 0-1')+$ ]]; then
		pass touching
	else
		fail touching "slat ran on CPUs$seen, then on $now: $(tail -n 1 "$work/err")"
	fi
}

# What has just been given back is not counted as free at once: 48 MiB more or less. So node 0 is left less than others.
fill() {
	echo 356 >$nodes/node0/hugepages/hugepages-2048kB/nr_hugepages
}

# ---- a node that is nearly full

# MiB that slat finds on node 1 of two
room() {
	"$slat" run --memory size=1024G --placement host_numa_node=1 -- "$BUILD/guests/exit.elf" 2>&1 |
		sed -n 's/.* have \([0-9]*\) MiB free together.*/\1/p'
}

# Some 200 MiB of node 1 are free. What the kernel keeps of that back is not promised, and what is left holds but for 4 MiB,
# which others may take meanwhile.
full() {
	local pages=$nodes/node1/hugepages/hugepages-2048kB/nr_hugepages had free contract

	had=$(cat "$pages")
	echo 3 >/proc/sys/vm/drop_caches
	echo $((had + ($(free_mib 1) - 200) / 2)) >"$pages"
	echo 3 >/proc/sys/vm/drop_caches
	free=$(($(free_mib 1) - 4))
	table '[[80000, 160000], [160000, 80000]]'
	contract=(--latency 80ns --latencies "$work/table")
	before=(taskset -c 1)
	refused contract_full "--latency 80\.000ns cannot be kept: the best that $free MiB can have now is (8[1-9]|9|1).*ns \(latencies: measured\)" \
		--memory "size=${free}M,prefault=on" "${contract[@]}"
	refused strict_full "--placement: the nodes that may be used have [0-9]+ MiB free together, not $free MiB; [0-9]+ MiB more are kept back for the kernel, .*" \
		--memory "size=${free}M,prefault=on" --strict --placement host_numa_node=1
	refused strict_zone_full "--memory-zone id=a: --strict binds $free MiB to node 1, which can give [0-9]+ [KM]iB now .*" \
		--memory-zone "id=a,size=${free}M,prefault=on,host_numa_node=1" --strict --
	refused strict_shares "--memory-zone id=a: --strict binds $free MiB to node 1, which can give [0-9]+ MiB now .*" \
		--memory-zone "id=a,size=$((free * 2))M,prefault=on,host_numa_node=0-1" --strict --
	free=$(($(room) - 4))
	lies contract_room "1:$free on 1" --memory "size=${free}M,prefault=on" "${contract[@]}"
	free=$(($(room) - 4))
	lies strict_room "1:$free on 1" --memory "size=${free}M,prefault=on" --strict --placement host_numa_node=1
	before=()
	unequal_shares
	echo "$had" >"$pages"
}
# Interleaved, what node 1 has not got comes from node 0: said, and no reason to end the run.
unequal_shares() {
	local free got

	free=$(($(free_mib 1) + 128)) # whatever the kernel drops of files
	"${slat_run[@]}" --memory-zone "id=a,size=$((free * 2))M,prefault=on,host_numa_node=0-1" -- "$BUILD/guests/exit.elf" \
		>"$work/out" 2>"$work/err" </dev/null
	got=$(jq -r '.zones[0] | "\(.elsewhere_bytes) \(.asked_by_node == {"0": (.bytes / 2), "1": (.bytes / 2)}) \(.verified_by_node."1" < .verified_by_node."0")"' "$work/report")
	is shares '0 true true 1' "$got $(grep -c 'interleave, node 0-1, but [0-9]* [KM]iB on another of these than asked' "$work/err")"
}

# ---- what a process is confined to

group() { # file, value, ...
	if ! mount -t cgroup2 none /sys/fs/cgroup || ! echo '+cpuset +memory +hugetlb' >/sys/fs/cgroup/cgroup.subtree_control ||
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
	group hugetlb.2MB.max 64M
	hold --memory size=64M,hugepages=on --cmdline touch=1
	echo 16M >/sys/fs/cgroup/slat/hugetlb.2MB.max
	let_go
	is huge_gone '6 slat: --memory hugepages=on: the host, or the control group, has no huge page of 2 MiB left for what the guest touched: prefault=on has all of them before it starts' \
		"$? $(tail -n 1 "$work/err")"
	is huge_gone_report '"refused" 6' "$(jq -c '.end | .how, .code' "$work/report" | paste -sd' ')"
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
	truncate -s 1M "$work/disk"
	threads threads 'cpu 0: 1|disk 0: 1|rng: 1|slat: 1' --memory $ram --placement policy=local,host_numa_node=1 --rng \
		--disk "path=$work/disk"
	touching
	units zones nodes
	units where where
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
	held
	refused zone_node "--memory-zone id=a: $no_node 0-1" --memory-zone id=a,size=64M,host_numa_node=3
}

# As start(), but the guest waits for a debugger; let_go lets it on, and waits for its end.
hold() {
	: >"$work/out" && : >"$work/err"
	"${before[@]}" "${slat_run[@]}" --gdb tcp:1234 --wait "$@" "$BUILD/guests/memtest.elf" >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until grep -q '^slat: NPT: ' "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
}
let_go() {
	exec 8<>/dev/tcp/127.0.0.1/1234
	printf "\$D#44" >&8
	cat <&8 >/dev/null
	exec 8<&-
	wait "$pid"
}

# Huge pages of a node are a guest's before it runs: nobody has been promised the same ones, and it can take what it was told.
# Those that another program was promised, of whichever node, are not counted on.
held() {
	# shellcheck disable=SC2054 # commas are slat's
	local asker=(--memory-zone id=b,size=440M,backing=hugetlb,host_numa_node=1 --strict --) free

	free=$(cat $nodes/node1/hugepages/hugepages-2048kB/free_hugepages)
	hold --memory-zone id=a,size=80M,backing=hugetlb,host_numa_node=1,prefault=off --strict --cmdline passes=1
	is held "$((free - 40)) 0" "$(cat $nodes/node1/hugepages/hugepages-2048kB/free_hugepages) $(cat /sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages)"
	refused held_by_another '--memory-zone id=b: 220 huge pages of 2 MiB asked of node 1, which has 216 free of 256; [0-9]+ are free elsewhere: .*' "${asker[@]}"
	let_go
	is held_and_had 1 $?
	hold --memory size=80M,hugepages=on --cmdline passes=1
	refused promised "--memory-zone id=b: 220 huge pages of 2 MiB asked of node 1, which has 25[0-9] free, but of the [0-9]+ free on this host [34][0-9] are promised to others, who may take them there: add [0-9] to .*" "${asker[@]}"
	let_go
	is promised_and_had 1 $?
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
	full
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
	giant
	commands
}

# Two pages of 1 GiB: the file of --dump-table has the addresses that the kernel has, however leaves are cut; of one that
# the guest never touched, too. Who may not know them is told whose numbers there are.
giant() {
	local at gpa want='physical' got giants=size=2G,hugepages=on,hugepage_size=1G dump=(--dump-table "$work/table")

	hold --memory "$giants,prefault=on" --guard 1030M+4K --cmdline 'passes=1 limit=4K' "${dump[@]}"
	at=$((0x$(sed -n 's/-.*anon_hugepage.*//p' "/proc/$pid/maps")))
	for gpa in 0 $((1 << 30)) $((1030 << 20 | 8192)) $((1040 << 20)); do want+=" $(physical "$pid" $((at + gpa)))"; done
	let_go
	got=$("$slat" table --json "$work/table" | jq -r .huge_1g)
	for gpa in 0 1G $((1030 << 20 | 8192)) 1040M; do got+=" $("$slat" table --json --gpa "$gpa" "$work/table" | jq .hpa)"; done
	is giant "$want" "$got"
	"${slat_run[@]}" --memory $giants "${dump[@]}" "$BUILD/guests/exit.elf" >/dev/null 2>"$work/err" </dev/null
	is giant_untouched '["physical",2,true]' "$("$slat" table --json "$work/table" | jq -c '[.huge_1g, .leaves."1g", (.runs | all(.hpa < 8589934592))]')"
	setpriv --inh-caps=-sys_admin --bounding-set=-sys_admin \
		"${slat_run[@]}" --memory $giants "${dump[@]}" "$BUILD/guests/exit.elf" >/dev/null 2>"$work/err" </dev/null
	is giant_numbered '1 numbered' \
		"$(grep -cx "slat: --dump-table $work/table: --memory hugepages=on: the addresses of its 1 GiB pages are slat's numbers: only root .*" "$work/err") $("$slat" table --json "$work/table" | jq -r .huge_1g)"
}

# What other hosts skip for want of huge pages is not skipped here.
commands() {
	mount -t cgroup2 none /sys/fs/cgroup && echo +hugetlb >/sys/fs/cgroup/cgroup.subtree_control
	part=rig/numa_$host bash -c '. tests/cli_base.sh && . tests/cli_huge.sh' | sed -E 's/^SKIP ([^:]*)/FAIL \1: skipped in the rig/'
	umount /sys/fs/cgroup
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
	stock
}

# Of a stock kernel, whose nodes both have CPUs: its own table of latencies, and what its sysfs makes of them: of the nearest
# CPUs (access0), and of the nearest that are up (access1). The second stays down, so that the kernel patches itself where one thread
# of TCG's runs it (rig.sh says why).
stock() {
	"${slat_run[@]}" "${two_cpus[@]}" --memory size=512M --placement policy=spread --kernel "$BUILD/rig/kernel/vmlinuz" \
		--initramfs "$BUILD/rig/guest.cpio.gz" --cmdline 'console=ttyS0 quiet mitigations=off maxcpus=1 end=poweroff' \
		>"$work/out" 2>"$work/err" </dev/null
	is stock_hmat '[0-0]:80 nsec;[0-1]:160 nsec;[1-0]:160 nsec;[1-1]:80 nsec;[0-0]:10240 MB/s;[0-1]:5120 MB/s;[1-0]:5120 MB/s;[1-1]:10240 MB/s' \
		"$(guest_said hmat)"
	is stock_near 'node0 80 ns 10240 MiB/s, node0 80 ns 10240 MiB/s' "$(guest_said node0_access0 from), $(guest_said node0_access1 from)"
	is stock_far 'node1 80 ns 10240 MiB/s, node0 160 ns 5120 MiB/s' "$(guest_said node1_access0 from), $(guest_said node1_access1 from)"
}
guest_said() { tr -d '\r' <"$work/out" | sed -n "s/^guest: $* //p"; }

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
	probed_huge
}

# name, huge pages of 2 MiB that probe says can be had, and why not more, of a sentence about one more than these: a run takes
# so many, and no more.
probed() {
	local name=$1 pages=$2 why=$3 said

	said=$("${before[@]}" "$slat" probe --json | jq -r .slat_would.huge_pages)
	if [ "$pages" = 0 ]; then
		is "$name" yes "$([[ $said = *'; refuse hugepages=on, as those that are free are'* ]] && echo yes || echo "$said")"
	else
		is "$name" "take hugepages=on up to $pages of 2M, 0 of 1G" "${said##*; }"
		is "${name}_taken" 1 "$("${before[@]}" "${slat_run[@]}" --memory "size=$((pages * 2))M,hugepages=on" "$BUILD/guests/exit.elf" \
			>"$work/out" 2>"$work/err" </dev/null; echo $?)"
	fi
	refused "${name}_more" "$why" --memory "size=$(((pages + 1) * 2))M,hugepages=on"
}

# Free, promised, within the cpuset, and as a control group leaves room.
probed_huge() {
	local waits pages=/sys/kernel/mm/hugepages/hugepages-2048kB

	"$slat" run --memory size=1016M,hugepages=on --gdb "unix:$work/gdb" --wait "$BUILD/guests/exit.elf" >/dev/null 2>&1 </dev/null &
	waits=$!
	until [ $(($(cat $pages/free_hugepages) - $(cat $pages/resv_hugepages))) = 4 ] || ! kill -0 $waits; do sleep 0.1; done
	probed promised 4 '--memory hugepages=on asks for 5 huge pages of 2 MiB and 4 are available; .*'
	kill $waits
	wait $waits
	group cpuset.mems 0
	probed cpuset 0 '--memory hugepages=on: 1 huge pages of 2 MiB asked, and nodes 0, which are the cpuset .*, have 0 free; this host has 512: .*'
	no_group
	group cpuset.mems 0-1
	echo +hugetlb >/sys/fs/cgroup/cgroup.subtree_control
	echo 6M >/sys/fs/cgroup/slat/hugetlb.2MB.max
	probed group 3 '--memory hugepages=on: 8 MiB of huge pages of 2 MiB asked, and the control group /sys/fs/cgroup/slat has room for 6 MiB of its limit of 6 MiB: .*'
	no_group
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
	refused missing '--memory-zone id=a: file=/dev/dax1\.0 is not a device-dax that this host has .*' "${file[@]/dax0/dax1}"
	refused alignment '--memory-zone id=a size=65 MiB: /dev/dax0\.0 is mapped in pages of 2 MiB, so ask for a multiple of that' \
		"${file[@]/64M/65M}"
	refused size '--memory-zone id=a size=514 MiB is more than /dev/dax0\.0 has: 512 MiB' "${file[@]/64M/514M}"
	refused elsewhere '--memory-zone id=a: /dev/dax0\.0 is memory of node 1, not of node 0' "${file[@]/id=a/id=a,host_numa_node=0}"
	refused contract "$no_latency" --memory $ram --latency 100ns
}

declare -F "$host" >/dev/null || fail is_known 'nothing is asked here'
"$host"
rm -rf "$work"
