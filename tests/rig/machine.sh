# shellcheck shell=bash
# tests/rig/machine.sh, read by rig.sh: the hosts that a rig can be, and QEMU's words for them.
# A host is the MiB of each node, and where it differs: how many nodes, from the first, have CPUs
# (all), and how many CPUs are plugged in (one for each of those); MiB that are plugged into node 1, beside
# what is there at boot; the distance of neighbours
# on the ring that the nodes are (10 more for each further hop); ns to a node's own memory, by HMAT
# (to others' by distance); words for the kernel, which hands host_init those that it does not know.
# QEMU's RAM has a hole from 2 to 4 GiB: node 1 of two equal ones begins at 6 GiB.

host_one() { mib=(4096); }
host_two() { mib=(4096 4096); }
host_four() { mib=(2048 2048 2048 2048); }
host_unequal() { mib=(5120 1024); }
host_memoryless() { mib=(4096 0 2048) owners=2 dimm=256 words=memhp_default_state=offline; } # plugged into node 1
# What no CPU brings up is not there: nodes 0 and 2. Two pages of 1 GiB are sure to be had at boot alone, by a kernel that lies where none is.
host_sparse() { mib=(4096 0 2048) owners=2 cpus=1 words='hugepagesz=1G hugepages=2 nokaslr'; }
host_hmat() { mib=(4096 4096) near=20 latency=80; }
host_huge() { mib=(4096 4096) words=huge_node=1; }
host_dax() { mib=(4096 4096) words='memmap=514M!6G'; } # the first 2 MiB are the kernel's notes about it

hosts=$(compgen -A function host_)
hosts=${hosts//host_/}

# name: false if there is no such host
# shellcheck disable=SC2034 # words: for rig.sh
shape() {
	grep -qxF -- "$1" <<<"$hosts" || return 1
	mib=() owners='' cpus='' dimm='' near=21 latency='' words=''
	"host_$1"
	owners=${owners:-${#mib[@]}}
	cpus=${cpus:-$owners}
}

distance() { # node, node
	local hops=$((($2 - $1 + ${#mib[@]}) % ${#mib[@]}))

	[ $hops -le $((${#mib[@]} / 2)) ] || hops=$((${#mib[@]} - hops))
	echo $((hops == 0 ? 10 : near + 10 * (hops - 1)))
}

# number, CPUs: those go round the nodes that have some
node() {
	local cpu numa="node,nodeid=$1"

	for ((cpu = $1; $1 < owners && cpu < $2; cpu += owners)); do numa+=,cpus=$cpu; done
	if [ "${mib[$1]}" != 0 ]; then
		echo "-object memory-backend-ram,id=m$1,size=${mib[$1]}M,reserve=off"
		numa+=,memdev=m$1
	fi
	[ -z "$latency" ] || numa+=,initiator=$(($1 < owners ? $1 : 0))
	echo "-numa $numa"
}

# from, to
hmat() {
	local lb="-numa hmat-lb,initiator=$1,target=$2,hierarchy=memory"

	echo "$lb,data-type=access-latency,latency=$((latency * $(distance "$1" "$2") / 10))"
	echo "$lb,data-type=access-bandwidth,bandwidth=$((100 / $(distance "$1" "$2")))G"
}

# CPUs. One for each node that has some is known to the firmware, plugged in or not: the nodes stay the same.
machine() {
	local all=$(($1 > owners ? $1 : owners)) threads=multi from to sum=0

	[ "$1" != 1 ] || threads=single
	for from in "${!mib[@]}"; do
		node "$from" $all
		sum=$((sum + mib[from]))
	done
	echo "-M q35,hmat=${latency:+on}$([ -n "$latency" ] || echo off) -accel tcg,thread=$threads,tb-size=512"
	echo "-smp $1,maxcpus=$all,sockets=$all,cores=1,threads=1 -m ${sum}M${dimm:+,slots=1,maxmem=$((sum + dimm))M}"
	[ -z "$dimm" ] || echo "-object memory-backend-ram,id=dimm,size=${dimm}M,reserve=off -device pc-dimm,memdev=dimm,node=1"
	for from in "${!mib[@]}"; do
		for to in "${!mib[@]}"; do
			echo "-numa dist,src=$from,dst=$to,val=$(distance "$from" "$to")"
			[ -z "$latency" ] || [ "$from" -ge "$owners" ] || hmat "$from" "$to"
		done
	done
}
