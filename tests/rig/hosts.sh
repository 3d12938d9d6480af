#!/bin/bash
# tests/rig/hosts.sh HOST: inside the rig, on that host of machine.sh: what the kernel here says of
# its nodes is what was to be built. What slat makes of them is not asked here.
set -u
host=$1
cd /sys/devices/system/node || exit 1

# what, what is right, what the kernel says
is() {
	if [ "$3" = "$2" ]; then
		echo "PASS rig/host_$host/$1"
	else
		echo "FAIL rig/host_$host/$1: the kernel says '$3', not '$2'"
	fi
}

# For each node: a line of its own makes a word or more, between commas.
nodes() {
	local node said=''

	for node in node[0-9]*; do said+=", $("$1" "${node#node}")"; done
	echo "${said#, }"
}
cpus() { cat "node$1/cpulist"; }
distances() { cat "node$1/distance"; }
# All RAM that the node has, however it is used: the kernel's own, and firmware's last bytes, too.
mib() { awk -v n="$1," '/^Node/ { mine = $2 == n } mine && $1 == "present" { p += $2 } END { print int((p + 255) / 256) }' /proc/zoneinfo; }
huge() { cat "node$1/hugepages/hugepages-2048kB/"{nr,free}_hugepages | paste -sd' '; }
# The nearest node with CPUs, and ns to read from there; `access1` is the nearest of those whose CPUs were up at boot: 0.
near() { echo "$(nearest "$1" access0) $(nearest "$1" access1)"; }
nearest() {
	[ ! -d "node$1/$2" ] || echo "$(cd "node$1/$2/initiators" && ls -d node*) $(cat "node$1/$2/initiators/read_latency")"
}
hmat() { dmesg | sed -n "s/.*Initiator-Target\[$1-[0-9]*\]:\([0-9]*\) nsec.*/\1/p" | paste -sd' '; }
dax() { cat "/sys/bus/dax/devices/dax0.0/$1"; }

# online, with CPUs, with memory; then for each node that is online: CPUs, MiB, distances, huge pages and free ones
shape() {
	is online "$1" "$(cat online)"
	is has_cpu "$2" "$(cat has_cpu)"
	is has_memory "$3" "$(cat has_memory)"
	is cpus "$4" "$(nodes cpus)"
	is mib "$5" "$(nodes mib)"
	is distances "$6" "$(nodes distances)"
	is huge_pages "$7" "$(nodes huge)"
}

case $host in
one) shape 0 0 0 0 4096 10 '512 512' ;;
two) shape 0-1 0-1 0-1 '0, 1' '4096, 4096' '10 21, 21 10' '256 256, 256 256' ;;
four)
	shape 0-3 0-3 0-3 '0, 1, 2, 3' '2048, 2048, 2048, 2048' '10 21 31 21, 21 10 21 31, 31 21 10 21, 21 31 21 10' \
		'128 128, 128 128, 128 128, 128 128'
	;;
unequal) shape 0-1 0-1 0-1 '0, 1' '5120, 1024' '10 21, 21 10' '256 256, 256 256' ;;
memoryless) shape 0-2 0-1 0,2 '0, 1, ' '4096, 0, 2048' '10 21 21, 21 10 21, 21 21 10' '256 256, 0 0, 256 256' ;;
sparse) shape 0,2 0 0,2 '0, ' '4096, 2048' '10 21, 21 10' '256 256, 256 256' ;;
hmat) shape 0-1 0-1 0-1 '0, 1' '4096, 4096' '10 20, 20 10' '256 256, 256 256' ;;
huge) shape 0-1 0-1 0-1 '0, 1' '4096, 4096' '10 21, 21 10' '0 0, 512 512' ;;
dax) shape 0-1 0-1 0-1 '0, 1' '4096, 3582' '10 21, 21 10' '256 256, 256 256' ;;
*) is known 'a host that is asked about here' none ;;
esac

if [ "$host" = hmat ]; then
	is near 'node0 80 node0 80, node1 80 node0 160' "$(nodes near)"
	is latencies '80 160, 160 80' "$(nodes hmat)"
else
	is near '' "$(nodes near | tr -d ', ')"
fi
if [ "$host" = dax ]; then
	is dax 'character special file' "$(stat -c %F /dev/dax0.0)"
	is dax/resource 0x180200000 "$(dax resource)"
	is dax/size $((512 << 20)) "$(dax size)"
	is dax/align $((2 << 20)) "$(dax align)"
	is dax/target_node 1 "$(dax target_node)"
	is dax/numa_node 1 "$(dax numa_node)"
	is dax/iomem '180200000-1a01fffff' "$(sed -n 's/^ *\([^ ]*\) : dax0.0/\1/p' /proc/iomem)"
else
	is dax none "$(ls -d /dev/dax* 2>/dev/null || echo none)"
fi
