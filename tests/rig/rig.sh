#!/bin/bash
# tests/rig/rig.sh [COMMAND]: a KVM host with two NUMA nodes, on any machine: a
# stock Debian kernel in QEMU's TCG, which emulates AMD's SVM with nested paging
# well enough for the real kvm_amd. Needs neither root nor /dev/kvm.
# Without COMMAND it is part `rig`: tests/rig/inside.sh runs there, and its
# PASS, FAIL and SKIP lines are the result. With COMMAND, a line for the shell,
# it runs that in the tree, shows its output and answers its exit code.
# Inside, the machine's root file system is the same, read-only; /tmp is empty
# and writable. The console's text is $BUILD/log/rig-console.log.
# A thread for each CPU (thread=multi): with one for both, interrupts between the
# CPUs of a nested guest get lost (its boot hangs, under any VMM). With two, TCG may
# lose the race of Linux's code patching: the rig's own kernel then dies of an int3
# that was already taken back. That start is done again.
# Not seen here: VT-x and EPT, time (TCG is slow), faults of real TLBs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD LC_ALL=C
tree=$PWD seconds=${RIG_SECONDS:-900} rig=$BUILD/rig

lose() {
	[ $# = 1 ] || echo "FAIL rig/start: $2"
	echo "rig: $1" >&2
	exit 1
}

case $BUILD in
"$tree"/*) ;;
/tmp/*) lose "BUILD=$BUILD is hidden by the rig's own /tmp: choose another" "BUILD lies in /tmp" ;;
esac

said=$(tests/rig/kernel.sh 2>&1) || lose "$said" "$said"
said=$(tests/rig/initramfs.sh tests/rig/host_init "$rig/host.cpio.gz" \
	virtio_pci 9p 9pnet_virtio ccp kvm-amd tun 2>&1) || lose "$said" "$said"
said=$(tests/rig/initramfs.sh tests/rig/guest_init "$rig/guest.cpio.gz" \
	pvpanic-mmio button evdev 2>&1) || lose "$said" "$said"

said=$(tests/rig/initramfs.sh tests/rig/devices_init "$rig/devices.cpio.gz" virtio_mmio virtio_iommu virtio_blk ext4 \
	virtio_net virtio-rng virtio_balloon 2>&1) || lose "$said" "$said"

run=$(mktemp -d "$rig/run.XXXXXX") && chmod a+rx "$run" || exit 1
trap 'rm -rf "$run"' EXIT
mkdir -p "$BUILD/log"
# The build directory is named from the tree: outside of it nothing is sure to be in sight.
cat >"$run/job" <<END
cd '$tree' && export BUILD='$(realpath -m --relative-base="$tree" "$BUILD")' KVM=/dev/kvm HOME=/tmp LC_ALL=C
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
${*:-tests/rig/inside.sh}
END

node() { # number, cpu
	echo "-object memory-backend-ram,id=m$1,size=4G,reserve=off -numa node,nodeid=$1,cpus=$2,memdev=m$1"
}
start() {
	# shellcheck disable=SC2046 # node answers words
	timeout -k 5 "$seconds" qemu-system-x86_64 \
		-M q35 -accel tcg,thread=multi,tb-size=512 -cpu EPYC,+svm,+npt -smp 2 -m 8G \
		$(node 0 0) $(node 1 1) -numa dist,src=0,dst=1,val=21 \
		-kernel "$rig/kernel/vmlinuz" -initrd "$rig/host.cpio.gz" \
		-append "console=ttyS0 quiet panic=-1 mitigations=off tree=$tree job=$run/job" \
		-virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
		-nodefaults -display none -no-reboot -nic none \
		-serial "file:$run/console" -serial stdio </dev/null 2>"$run/qemu"
	code=$?
	cp "$run/console" "$BUILD/log/rig-console.log" 2>/dev/null
}

for attempt in 1 2 3; do
	if [ $# = 0 ]; then start >"$run/output"; else start; fi # a part's results count once
	grep -q 'Oops: int3' "$run/console" || break
	echo "rig: start $attempt lost TCG's race of code patching" >&2
done
[ $# != 0 ] || cat "$run/output"
answer=$(tr -d '\r' <"$run/console" | sed -n 's/^rig-exit: //p' | tail -n 1)
if [ -z "$answer" ]; then
	grep -v 'TCG doesn.t support' "$run/qemu" >&2
	why="the rig ended early (QEMU's code $code): $(tail -n 1 "$run/console" 2>/dev/null | tr -d '\r')"
	if [ $# = 0 ]; then
		lose "$why" "$why; see $BUILD/log/rig-console.log"
	fi
	lose "$why"
fi
exit "$answer"
