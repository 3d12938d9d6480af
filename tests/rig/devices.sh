#!/bin/bash
# tests/rig/devices.sh: a stock Debian kernel with all of slat's devices, inside the
# rig: disk, network, entropy, console and balloon, with the IOMMU, without it, and
# through bounce buffers. The guest (devices_init) says what it sees; here it is judged.
# DEVICES_SOAK=MIB: a file of so many MiB as well.
set -u
slat=$BUILD/slat rig=${rig:-$BUILD/rig}
work=$(mktemp -d)
listeners='' bad=0
host=10.0.5.1

pass() { echo "PASS rig/$1"; }
fail() {
	echo "FAIL rig/$1: $2"
	bad=1
}

# What the guest said: key, what is right (a pattern of grep -E, whole)
said() {
	local got

	got=$(sed -n "s/^guest: $1 //p" "$text" | tail -n 1)
	if printf '%s\n' "$got" | grep -qxE -- "$2"; then
		pass "$name/${1// /_}"
	else
		fail "$name/${1// /_}" "the guest says '${got:-nothing}', not '$2'"
	fi
}
# The guest has said that it waits for this, and slat runs.
waits() {
	local left=300

	until grep -q "guest: waits $1" "$text"; do
		left=$((left - 1))
		[ $left -gt 0 ] && kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.3
	done
}
go_on() { echo >&7; }
resident() { awk '/^Rss/ { print $2 }' "/proc/$pid/smaps_rollup"; } # KiB

listen() {
	: >"$work/back"
	timeout 400 busybox httpd -f -p $host:9001 -h "$work/www" &
	listeners=$!
	sleep 400 | timeout 400 busybox nc -l -p 9002 >"$work/back" & # its end of input would end the connection
	listeners="$listeners $!"
}

# At least nine tenths of what a program touched and freed go back.
freed_pages() {
	local touched left=100 now

	waits touched || return
	touched=$(resident)
	go_on
	waits freed || return
	until now=$(resident) && [ $((touched - now)) -ge $((320 * 1024 * 9 / 10)) ]; do
		left=$((left - 1))
		if [ $left = 0 ]; then
			fail "$name/reporting" "of 320 MiB that were freed only $(((touched - now) / 1024)) MiB came back"
			go_on
			return
		fi
		sleep 0.5
	done
	pass "$name/reporting"
	go_on
}

# name, tasks, more words for the kernel, slat's options...
start() {
	name=$1 text=$work/$1
	local tasks=$2 words=$3

	shift 3
	rm -f "$work/keys" && mkfifo "$work/keys"
	: >"$text"
	"$slat" run --kernel "$rig/kernel/vmlinuz" --initramfs "$rig/devices.cpio.gz" --cpus boot=2 --memory size=512M \
		--timeout 400 "$@" \
		--cmdline "console=ttyS0 quiet panic=-1 mitigations=off tasks=$tasks $words" <"$work/keys" >"$text" 2>&1 &
	pid=$!
	exec 7>"$work/keys"
}
finish() {
	wait "$pid"
	local code=$?

	exec 7>&-
	# shellcheck disable=SC2086 # numbers are words
	kill $listeners 2>/dev/null
	tr -d '\r' <"$text" >"$text.txt"
	text=$text.txt
	sed "s/^/  $name: /" "$text"
	if [ $code = 0 ]; then
		pass "$name"
	else
		fail "$name" "exit code $code: $(tests/rig/last_words.sh "$text")"
	fi
}

judge_image() {
	if e2fsck -fn "$work/disk.img" >"$work/fsck" 2>&1; then
		pass "$name/e2fsck"
	else
		fail "$name/e2fsck" "$(tail -n 1 "$work/fsck")"
	fi
}

judge_devices() { # group pattern, type pattern
	local id

	for id in 0x0001 0x0002 0x0004; do
		said "device $id" "group $1 type $2"
	done
	said 'disk bytes' '[0-9]{8,} bad 0'
	said 'disk flushed' 1
	said 'disk discarded' 1
	said 'disk serial' 'rig-1 queues 2'
	said 'disk readonly' "1 $(md5sum <"$work/ro.img" | cut -c -32)"
	judge_image
	said 'net ping' 3
	said 'net got' "$(md5sum <"$work/www/file" | cut -c -32)"
	if cmp -s "$work/www/file" "$work/back"; then
		pass "$name/net_sent"
	else
		fail "$name/net_sent" "$(wc -c <"$work/back") bytes came back of $(wc -c <"$work/www/file")"
	fi
	said rng 'virtio_rng.[0-9]* 1000'
	# In the middle of a serial line, at times: both ways end at one terminal.
	if grep -q 'guest: console over hvc0' "$text"; then
		pass "$name/console"
	else
		fail "$name/console" 'nothing came over hvc0'
	fi
}

# name, whether a driver strays: yes or no, more words for the kernel, more of slat's options...
all_devices() {
	local what=$1 words=$3 tasks=disk,net,rng,console,bounced

	truncate -s 0 "$work/disk.img" && truncate -s 256M "$work/disk.img" && mkfs.ext4 -q -F "$work/disk.img"
	[ "$2" = no ] || tasks=$tasks,stray
	shift 3
	listen
	start "$what" "$tasks" "$words" --disk "path=$work/disk.img,serial=rig-1,num_queues=2" \
		--disk "path=$work/ro.img,readonly=on" --net tap=tap5 --rng --console virtio "$@"
	finish
}

behind() {
	judge_devices '[0-9]+' 'DMA(-FQ)?'
	said 'stray status' '0x0000004[0-9A-Fa-f]'
	said 'stray log' 'fault from EP [0-9]+ at 0x1100[0-2][0-9a-f]* .*'
	said 'stray then' 500
	if grep -q 'waits for a reset' "$text"; then
		pass "$name/stray_told"
	else
		fail "$name/stray_told" 'slat did not say it'
	fi
}

memory() {
	start memory balloon,reporting '' --balloon size=0,size=256M@15,size=0@60
	freed_pages
	finish
	said 'balloon inflated' yes
	said 'balloon deflated' yes
	said 'balloon worked' yes
}

# A file as large as asked, behind the IOMMU.
soak() {
	truncate -s $((DEVICES_SOAK + DEVICES_SOAK / 4))M "$work/disk.img" && mkfs.ext4 -q -F "$work/disk.img"
	start soak big "mib=$DEVICES_SOAK" --iommu --disk "path=$work/disk.img" --timeout 3000
	finish
	said 'big same' $((DEVICES_SOAK << 20))
	judge_image
}

# A stock kernel, with two CPUs, and all devices.
everything() {
	mkdir "$work/www"
	head -c 8M /dev/urandom >"$work/www/file"
	head -c 1M /dev/urandom >"$work/ro.img"
	mkdir -p /dev/net
	[ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200
	ip tuntap add tap5 mode tap
	ip link set tap5 up
	ip addr add $host/24 dev tap5 || fail devices 'no tap interface'
	all_devices iommu yes '' --iommu
	behind
	all_devices no_iommu no ''
	judge_devices none none
	said bounced 0
	# What the IOMMU spares: with identity domains, and all of it through bounce buffers.
	all_devices bounce no 'iommu.passthrough=1 swiotlb=force' --iommu
	judge_devices '[0-9]+' identity
	said bounced '[1-9][0-9]*'
	memory
}

if [ -n "${DEVICES_SOAK-}" ]; then soak; else everything; fi
rm -rf "$work"
exit $bad
