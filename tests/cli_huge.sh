# shellcheck shell=bash disable=SC2034,SC2154 # of cli_base.sh
# tests/cli_huge.sh, read by cli.sh and by the rig: cases that want huge pages of the host's, or a control group of them. Most
# hosts have none: the rig has (tests/rig/numa.sh), and there no case is skipped.

# More huge pages than a node has, and than the host has.
huge=$(($(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages 2>/dev/null || echo 0) + 1))
huge_free=$(cat "/sys/devices/system/node/node$first_node/hugepages/hugepages-2048kB/free_hugepages" 2>/dev/null || echo none)
if [ "$huge_free" = none ]; then
	echo "SKIP $part/zone_huge_node: this kernel has no huge pages of 2M by node"
elif [ $((huge_free * 2)) -ge $((ram_mib - 64)) ]; then
	echo "SKIP $part/zone_huge_node: nearly all of this host's memory is huge pages"
else
	others='; [0-9]+ are free elsewhere'
	[ "$no_node" != 1 ] || others=''
	zones_refuse zone_huge_node 6 "^slat: --memory-zone id=a: $((huge_free + 1)) huge pages of 2 MiB asked of node $first_node, which has $huge_free free of [0-9]+$others: write [0-9]+ to .*/node$first_node/hugepages/hugepages-2048kB/nr_hugepages" \
		--memory-zone "id=a,size=$(((huge_free + 1) * 2))M,backing=hugetlb,host_numa_node=$first_node"
	zones_refuse placement_huge_node 6 "^slat: --memory hugepages=on: $((huge_free + 1)) huge pages of 2 MiB asked of node $first_node, which has $huge_free free of [0-9]+$others: write [0-9]+ to .*/node$first_node/hugepages/hugepages-2048kB/nr_hugepages" \
		--memory "size=$(((huge_free + 1) * 2))M,hugepages=on" --placement "host_numa_node=$first_node"
	[ $huge -ge $((ram_mib / 2)) ] || zones_refuse zone_huge_host 6 "^slat: --memory-zone id=a asks for $huge huge pages of 2 MiB and $((huge - 1)) are available; get more as root: sysctl vm.nr_hugepages=" \
		--memory-zone "id=a,size=$((huge * 2))M,backing=hugetlb"
fi
# Each would fit: what the first has is not free for the second, though nothing is touched yet.
if [ "$huge_free" = none ] || [ "$huge_free" = 0 ]; then
	echo "SKIP $part/zones_huge_node: no free huge page of 2M"
else
	zones_refuse zones_huge_node 6 "^slat: --memory-zone id=b and those before it: $((huge_free + 1)) huge pages of 2 MiB asked of node $first_node, which has $huge_free free of " \
		--memory-zone "id=a,size=$((huge_free * 2))M,backing=hugetlb,host_numa_node=$first_node" "id=b,size=2M,backing=hugetlb,host_numa_node=$first_node"
fi
if ! cgroup hugetlb; then
	echo "SKIP $part/group_limit_huge: no control group of huge pages can be made here"
else
	group=$(cat "$work/group")
	limit=hugetlb.2MB.max
	[ -e "$group/$limit" ] || limit=hugetlb.2MB.limit_in_bytes
	echo 4M >"$group/$limit"
	confined=("${in_group[@]}" "$group")
	sentence="of huge pages of 2 MiB asked, and the control group $group has room for 4 MiB of its limit of 4 MiB: raise that, or ask for less$"
	zones_refuse group_limit_huge 6 "^slat: --memory hugepages=on: 64 MiB $sentence" --memory size=64M,hugepages=on
	zones_refuse group_limit_huge_zones 6 "^slat: --memory-zone id=b and those before it: 6 MiB $sentence" \
		--memory-zone id=a,size=4M,backing=hugetlb id=b,size=2M,backing=hugetlb
fi
confined=()
for size in 2M:2048 1G:1048576; do
	pages=$(cat "/sys/kernel/mm/hugepages/hugepages-${size#*:}kB/free_hugepages" 2>/dev/null || echo 0)
	if [ "$pages" -ge 1 ]; then
		dumped "huge_${size%:*}" '.[1].runs[0].dirty == 1' --memory "size=${size%:*},hugepages=on,hugepage_size=${size%:*}" "$guests/exit.elf"
	else
		echo "SKIP $part/dump_huge_${size%:*}: no free huge page of ${size%:*}"
	fi
done
