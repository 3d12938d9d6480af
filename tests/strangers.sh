#!/bin/bash
# tests/strangers.sh [PART OF A NAME]: our guests' virtio drivers against devices
# that nobody here wrote, QEMU's, by the lines of tests/strangers.table: one line
# each, PASS or FAIL (with what was expected and what came). QEMU emulates the
# CPU too (TCG), so that this runs anywhere; without QEMU all is skipped. Exit
# code 1 iff a case failed.
#
# From the environment: GUESTS, the folder of the guests (build/guests);
# SECONDS_A_CASE, when a case is ended from outside (60).
#
# What it does not assert: times, and that QEMU refuses what only a strict device
# refuses (the guests' word "strict"). QEMU 7.2's virtio-mmio offers RING_RESET
# but has no such register, so that a queue is reset over PCI alone.
set -u
BUILD=${BUILD:-build}
GUESTS=${GUESTS:-$BUILD/guests}
SECONDS_A_CASE=${SECONDS_A_CASE:-60}
filter=${1-}
table=$(dirname "$0")/strangers.table
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

# microvm plugs devices from its last window down (24 of 512 bytes), and tells a Multiboot guest nothing of them.
MMIO_LAST=0xfeb02e00
MMIO_STEP=0x200

trim() {
	trimmed=${1#"${1%%[! ]*}"}
	trimmed=${trimmed%"${trimmed##*[! ]}"}
}

# Its bytes do not repeat at any power of two.
disk_make() { # file
	yes 'what was there before' | head -c 1000003 >"$1"
	truncate -s 16M "$1"
}

# Adds to `args` what one word of the devices means, to `windows` what the guest must be told of it.
device_add() { # machine, word, number, network
	local kind=${2%%,*} properties='' drive='' suffix=device property

	for property in $(tr , ' ' <<<"${2#"$kind"}"); do
		if [ "$property" = ro ]; then drive=,readonly=on; else properties+=,$property; fi
	done
	if [ "$1" = q35 ]; then
		suffix=pci
		case $kind,$devices in
		iommu,*) ;;
		*,iommu*) properties+=,disable-legacy=on,iommu_platform=on ;;
		*) properties+=,disable-legacy=on ;;
		esac
	else
		windows+=" virtio_mmio.device=512@$(printf '0x%x' $((MMIO_LAST - $3 * MMIO_STEP))):$((23 - $3))"
	fi
	case $kind in
	blk)
		disk_make "$work/disk$disks"
		args+=(-drive "if=none,id=d$3,format=raw,discard=unmap,file=$work/disk$disks$drive")
		disks=$((disks + 1))
		properties+=,drive=d$3
		;;
	net)
		args+=(-netdev "$4,id=n$3")
		properties+=,netdev=n$3
		;;
	esac
	args+=(-device "virtio-$kind-$suffix$properties")
}

# Runs a guest; what it prints is in $work/NAME.
run() { # machine, "guest and words", name, network
	local args=() windows='' number=0 disks=0 word machine=$1

	[ "$1" = two ] && machine=microvm
	for word in $devices; do
		device_add "$machine" "$word" "$number" "$4"
		number=$((number + 1))
	done
	timeout -k 1 "$SECONDS_A_CASE" qemu-system-x86_64 -M "$machine" -accel tcg -m 64 -global virtio-mmio.force-legacy=false \
		-display none -nodefaults -no-user-config -no-reboot -kernel "$GUESTS/${2%% *}.elf" \
		-append "${2#* }$windows" -serial "file:$work/$3" -device isa-debug-exit,iobase=0xf4 "${args[@]}" \
		</dev/null >"$work/$3.qemu" 2>&1
}

# The first is there when its socket is.
run_two() { # "guest and words // guest and words"
	local first code tries=0

	rm -f "$work/wire"
	run two "${1%% // *}" first "stream,server=on,addr.type=unix,addr.path=$work/wire" &
	first=$!
	while [ ! -S "$work/wire" ] && [ $((tries += 1)) -lt 100 ]; do sleep 0.1; done
	run two "${1##* // }" out "stream,server=off,addr.type=unix,addr.path=$work/wire"
	code=$?
	if wait "$first"; then first=0; else first=$?; fi
	grep -q '^net_echo: ok' "$work/first" || { [ "$code" != 1 ] || code=$first; }
	return "$code"
}

# Prints the first expression that no line of the output matches.
unmatched() {
	local rest=$1 sum

	if [[ $rest = *SUM* ]]; then
		sum=$(head -c 1M "$work/disk0" | od -An -v -tu1 | awk '{ for (i = 1; i <= NF; i++) s += $i } END { print s }')
		rest=${rest//SUM/$sum}
	fi
	while [ -n "$rest" ]; do
		trim "${rest%% && *}"
		case $rest in
		*' && '*) rest=${rest#* && } ;;
		*) rest= ;;
		esac
		tr -d '\r' <"$work/out" | grep -E -q -e "$trimmed" || {
			echo "$trimmed"
			return
		}
	done
}

judge() { # name, machine, "guest and words", code, lines
	local came lost reason file

	rm -f "$work"/*
	touch "$work/out"
	if [ "$2" = two ]; then run_two "$3"; else run "$2" "$3" out user; fi
	came=$?
	lost=$(unmatched "$5")
	if [ "$came" -ne "$4" ]; then
		reason="expected exit code $4, and $came came"
	elif [ -n "$lost" ]; then
		reason="expected a line that matches '$lost', and none came"
	else
		echo "PASS strangers/$1"
		return
	fi
	failed=1
	echo "FAIL strangers/$1: $reason"
	for file in "$work"/out "$work"/out.qemu "$work"/first "$work"/first.qemu; do
		[ ! -f "$file" ] || tr -d '\r' <"$file" | sed "s/^/    ${file##*/}: /"
	done
}

unusable=
command -v qemu-system-x86_64 >/dev/null || unusable='QEMU is not there'

while IFS='|' read -r name machine devices words code lines; do
	case $name in '' | '#'*) continue ;; esac
	trim "$name" && name=$trimmed
	case $name in *"$filter"*) ;; *) continue ;; esac
	if [ -n "$unusable" ]; then
		echo "SKIP strangers/$name: $unusable"
		continue
	fi
	trim "$machine" && machine=$trimmed
	trim "$devices" && devices=$trimmed
	trim "$words" && words=$trimmed
	trim "$code" && code=$trimmed
	trim "$lines"
	judge "$name" "$machine" "$words" "$code" "$trimmed"
done <"$table"
exit $failed
