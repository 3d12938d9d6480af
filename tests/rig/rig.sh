#!/bin/bash
# tests/rig/rig.sh [COMMAND]: a KVM host with NUMA nodes, on any machine: a
# stock Debian kernel in QEMU's TCG, which emulates AMD's SVM with nested paging
# well enough for the real kvm_amd. Needs neither root nor /dev/kvm.
# Without COMMAND it is part `rig`: tests/rig/inside.sh and tests/rig/stock.sh run, side by
# side, each on a rig of its own with one CPU, then tests/rig/hosts.sh and tests/rig/numa.sh
# on every host of machine.sh, two at a time; their PASS, FAIL and SKIP lines are the result.
# With COMMAND, a line for the shell, it runs that in the tree, on the host RIG_HOST (two),
# with RIG_CPUS CPUs (one for each node that has any), shows its output and answers its exit code.
# Inside, the machine's root file system is the same, read-only; /tmp is empty
# and writable. The console's text is $BUILD/log/rig-console.log (rig-PART-console.log).
# Why one CPU: where a kernel patches its code while TCG, on another thread, translates
# that code, a translation of the half-patched code stays. The kernel then dies of an int3
# that was taken back, triple-faults, or hangs: 2 of 10 boots of a stock kernel under slat,
# and once in some hundred runs a guest that patches nothing. With one CPU there is one
# thread. On more the others are started when the rig's kernel has patched what it will, with a
# guest that waits for ever: with the first and the last on a machine KVM patches the scheduler. A rig that is lost all the same is started again. Two CPUs on
# one thread are no way out: interrupts between the CPUs of a nested guest get lost.
# Why QEMU is held on one CPU of the machine (taskset): VMRUN in QEMU 7.2 sets a bit, by an instruction that locks
# nothing, in the word in which another thread of QEMU's announces interrupts. On two CPUs an announcement is lost once
# in some minutes, and a timer with it. On one an instruction is over before another thread's begins.
# What that leaves: VMRUN keeps the vector of an interrupt that it injects in exception_index. An announcement between
# QEMU's look at interrupt_request and the next one, at exit_request, makes it deliver that vector again: at the
# first instruction of its own handler, where no CPU takes an interrupt. Mostly nothing comes of it. A stock kernel
# that was in user mode dies, with that place in its trace (one run of CI); then the part is run again.
# Not seen here: VT-x and EPT, time (TCG is slow), faults of real TLBs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD LC_ALL=C
tree=$PWD seconds=${RIG_SECONDS:-900} rig=$BUILD/rig name=rig

. tests/rig/machine.sh
lose() {
	[ $# = 1 ] || echo "FAIL rig/start: $2"
	echo "rig: $1" >&2
	exit 1
}

shape "${RIG_HOST:-two}" || lose "there is no host '$RIG_HOST'; there are: ${hosts//$'\n'/ }" "no host $RIG_HOST"
case $BUILD in
"$tree"/*) ;;
/tmp/*) lose "BUILD=$BUILD is hidden by the rig's own /tmp: choose another" "BUILD lies in /tmp" ;;
esac

said=$(tests/rig/kernel.sh 2>&1) || lose "$said" "$said"
said=$(tests/rig/initramfs.sh tests/rig/host_init "$rig/host.cpio.gz" \
	virtio_pci 9p 9pnet_virtio ccp kvm-amd tun nd_e820 nd_pmem device_dax dax_pmem 2>&1) || lose "$said" "$said"
said=$(tests/rig/initramfs.sh tests/rig/guest_init "$rig/guest.cpio.gz" \
	pvpanic-mmio button evdev 2>&1) || lose "$said" "$said"

said=$(tests/rig/initramfs.sh tests/rig/devices_init "$rig/devices.cpio.gz" virtio_mmio virtio_iommu virtio_blk ext4 \
	virtio_net virtio-rng virtio_balloon 2>&1) || lose "$said" "$said"

run=$(mktemp -d "$rig/run.XXXXXX") && chmod a+rx "$run" || exit 1
trap 'rm -rf "$run"' EXIT
mkdir -p "$BUILD/log"

# CPUs of the machine that we may use.
allowed() {
	local first last

	sed -n 's/^Cpus_allowed_list:[[:blank:]]*//p' /proc/self/status | tr , '\n' | while IFS=- read -r first last; do
		seq "$first" "${last:-$first}"
	done
}
mapfile -t pins < <(allowed | shuf)
pin=${pins[0]}

# CPUs, a line for the shell. What is left: QEMU's exit code, and the job's, empty if the rig ended before it.
once() {
	# The build directory is named from the tree: outside of it nothing is sure to be in sight.
	cat >"$run/job" <<-END
		cd '$tree' && export BUILD='$(realpath -m --relative-base="$tree" "$BUILD")' KVM=/dev/kvm HOME=/tmp LC_ALL=C
		export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		tests/rig/cpus.sh
		$2
	END
	# no_timer_check: on a busy machine QEMU's timer is late, and a kernel that waits for it panics.
	# shellcheck disable=SC2046 # machine answers words
	taskset -c "$pin" timeout -k 5 "$seconds" qemu-system-x86_64 \
		-cpu EPYC,+svm,+npt $(machine "$1") \
		-kernel "$rig/kernel/vmlinuz" -initrd "$rig/host.cpio.gz" \
		-append "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check maxcpus=1 tree=$tree job=$run/job $words" \
		-virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
		-nodefaults -display none -no-reboot -nic none \
		-serial "file:$run/console" -serial stdio </dev/null 2>"$run/qemu"
	code=$?
	cp "$run/console" "$BUILD/log/$name-console.log" 2>/dev/null
	answer=$(tr -d '\r' <"$run/console" | sed -n 's/^rig-exit: //p' | tail -n 1)
}

# As once; a rig that died under its job, or that killed a guest, is started again, and $output has the last one's alone.
job() {
	local attempt why

	for attempt in 1 2 3; do
		[ -z "$output" ] || : >"$output"
		once "$@"
		if [ -n "$answer" ]; then
			why=$(grep -m 1 -E 'RIP: 0010:asm_(sysvec_|common_)[a-z_]*\+0x0/' "${output:-/dev/null}") || break
		else
			why=$(tail -n 1 "$run/console" 2>/dev/null | tr -d '\r')
			[ $code != 124 ] || break
		fi
		cp "$BUILD/log/$name-console.log" "$BUILD/log/$name-lost.log"
		echo "rig: start $attempt was in vain: $why" >&2
	done
	[ -z "$answer" ] || return 0
	grep -v 'TCG doesn.t support' "$run/qemu" >&2
	why="the rig ended early (QEMU's code $code): $why"
	lose "$why" ${output:+"$why; see $BUILD/log/$name-console.log"}
}

if [ $# != 0 ]; then
	output=
	job "${RIG_CPUS:-$cpus}" "$*"
	exit "$answer"
fi

# name, host, CPUs if not as the host has, a line for the shell
part() {
	local name=rig-$1 output=$run/$1.output
	local run=$run/$1

	exec >>"$output"
	mkdir "$run" && chmod a+rx "$run" && shape "$2" || exit 1
	job "${3:-$cpus}" "$4"
	exit "$answer"
}
# Two rigs at a time, each on a CPU of its own if there are two: when a part has ended, hosts that nobody has begun
# take its place.
part_and_hosts() {
	local host bad=0

	(part "$@") || bad=1
	for host in $hosts; do
		mkdir "$run/of_$host" 2>/dev/null || continue
		(part "host_$host" "$host" '' "tests/rig/hosts.sh $host; tests/rig/numa.sh $host") || bad=1
	done
	return $bad
}
part_and_hosts inside two 1 tests/rig/inside.sh &
pids=($!)
pin=${pins[1]:-$pin} part_and_hosts stock hmat 1 tests/rig/stock.sh &
pids+=($!)
bad=0
for pid in "${pids[@]}"; do wait "$pid" || bad=1; done
cat "$run"/*.output
exit $bad
