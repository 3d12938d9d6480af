#!/bin/bash
# tests/oracle/oracle.sh [CASE ...]: do two CPUs that nobody here wrote walk the
# library's second-level tables as the manuals say?
#
# What runs. Bochs with VMX and EPT, Bochs with SVM and NPT, QEMU's TCG with SVM
# and NPT, each an emulated machine of 256 MiB that boots the small hypervisor
# guests/hv from a disk. The disk (tests/oracle/image.c) has random tables and
# probes (plan.c) and the answer to each by a naive model (model.c); hv lets an
# inner guest read, write and fetch, and says what differs. No /dev/kvm is needed
# and no root; nothing here is ever skipped.
#
# Cases. ORACLE alone, as in bochs-ept: ORACLE_RUNS plans of ORACLE_PROBES probes
# or more, and no difference. ORACLE/spoil/BIT: one wrong bit of one entry must be
# seen by what the CPU does. ORACLE/mutant/NAME: so must a library with a mistake
# (mutant.sh), on both sides. ORACLE/hang: a machine that never ends is a failure.
#
# What is excluded, as known of the versions in Debian 12, and where:
#   Bochs 2.7: bit 12 of a 2M or 1G EPT leaf is not seen as reserved, so nobody
#     asks (model.h, ignores_12); a fault of an inner walk with A and D on tells
#     of the write but not of the read, so bit 0 of its qualification is not
#     compared (hides_read).
#   QEMU 7.2: a fault by a reserved bit lacks EXITINFO1's bit 0, which then is not
#     compared (hides_present).
#   Both: they forget all at each entry, so that a missing flush goes unseen;
#     4 levels and 40 bits of physical address are all they have; a memory type
#     shows only where it is reserved, or by the entry's bits. In a value beyond
#     RAM, and in what a walk that ends in a fault marks on its way, hv compares
#     nothing (the manuals leave the latter open).
#
# How a run ends. hv writes to the serial port, which is a file; then Shutdown to
# Bochs's port 0x8900, whose exit code is 1 whatever came, or QEMU's exit port. So
# a run is judged by hv's last line alone. Whoever has not ended after
# ORACLE_SECONDS is killed, by force: a hung Bochs does not hear SIGTERM.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build} LC_ALL=C
export ORACLE_PROBES=${ORACLE_PROBES:-30000} ORACLE_RUNS=${ORACLE_RUNS:-1} ORACLE_SEED=${ORACLE_SEED:-1}
export ORACLE_SECONDS=${ORACLE_SECONDS:-60}
export ROMS=${ROMS:-/usr/share/bochs}
oracles='bochs-ept bochs-npt qemu-npt'
spoils='write exec present large address reserved mark link'
work=$(mktemp -d) || exit 1
export work
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# The machines: each takes a directory that has a disk, and leaves `serial` there.
bochs_run() { # directory, CPU
	cat >"$1/rc" <<-END
		cpu: model=$2
		memory: guest=256, host=256
		romimage: file=$ROMS/BIOS-bochs-latest
		vgaromimage: file=$ROMS/VGABIOS-lgpl-latest
		ata0-master: type=disk, path=$1/disk, mode=flat
		boot: disk
		display_library: term
		com1: enabled=1, mode=file, dev=$1/serial
		log: $1/log
		panic: action=fatal
	END
	echo c >"$1/debugger"
	TERM=dumb timeout -k 1 "$ORACLE_SECONDS" bochs -q -f "$1/rc" -rc "$1/debugger" </dev/null >"$1/out" 2>&1
}

qemu_run() { # directory
	timeout -k 1 "$ORACLE_SECONDS" qemu-system-x86_64 -accel tcg -cpu EPYC -m 256 -display none -nodefaults \
		-no-reboot -drive "format=raw,file=$1/disk" -serial "file:$1/serial" \
		-device isa-debug-exit,iobase=0xf4 </dev/null >"$1/out" 2>&1
}

machine_run() { # oracle, directory; 124 or more: it had to be killed
	case $1 in
	bochs-ept) bochs_run "$2" corei7_haswell_4770 ;;
	bochs-npt) bochs_run "$2" ryzen ;;
	qemu-npt) qemu_run "$2" ;;
	esac
}

# One run: sets asked, probes and differences, or why it has none of them.
run() { # oracle, seed, probes, spoil, image, hv, directory
	local code last

	asked='' probes='' differences='' why=''
	mkdir -p "$7"
	if ! "$5" "$1" "$2" "$3" "$4" "$BUILD/guests/hv_boot.bin" "$6" "$7/disk" >"$7/plan" 2>&1; then
		why="no disk: $(tail -n 1 "$7/plan")"
		return 1
	fi
	asked=$(sed -n '1s/ .*//p' "$7/plan")
	machine_run "$1" "$7"
	code=$?
	rm -f "$7/disk"
	last=$(sed -n 's/^hv: .*: \([0-9]*\) probes, \([0-9]*\) differences.*/\1 \2/p' "$7/serial" 2>/dev/null | tail -n 1)
	probes=${last% *} differences=${last#* }
	[ -n "$last" ] && return 0
	why="no result after $ORACLE_SECONDS s at most (code $code)"
	return 1
}

# What a failure shows besides: the last that the machine said.
show() { # directory
	sed 's/^/    plan: /' "$1/plan" | head -n 20
	[ ! -f "$1/serial" ] || tr -d '\r' <"$1/serial" | tail -n 20 | sed 's/^/    serial: /'
	[ ! -f "$1/out" ] || tail -n 5 "$1/out" | sed 's/^/    machine: /'
}

judge_plain() { # oracle
	local d=$work/$1 sum=0 wrong=0

	for ((i = 0; i < ORACLE_RUNS; i++)); do
		if ! run "$1" $((ORACLE_SEED + i)) "$ORACLE_PROBES" none "$BUILD/oracle/image" "$BUILD/guests/hv.elf" "$d"; then
			echo "FAIL oracle/$1: seed $((ORACLE_SEED + i)): $why"
			show "$d"
			return
		fi
		sum=$((sum + probes)) wrong=$((wrong + differences))
		[ "$differences" = 0 ] && [ "$probes" = "$asked" ] && continue
		echo "FAIL oracle/$1: seed $((ORACLE_SEED + i)): $differences differences, $probes of $asked probes"
		show "$d"
		echo "oracle $1: $sum probes, $wrong differences"
		return
	done
	echo "PASS oracle/$1"
	echo "oracle $1: $sum probes, $wrong differences"
	sed 's/^/    /' "$d/plan"
}

judge_wrong() { # case, oracle, probes, spoil, image, hv
	local d=$work/${1//\//_}

	if ! run "$2" "$ORACLE_SEED" "$3" "$4" "$5" "$6" "$d"; then
		echo "FAIL oracle/$1: $why"
	elif [ "$differences" = 0 ]; then
		echo "FAIL oracle/$1: nobody saw it in $probes probes"
	else
		echo "PASS oracle/$1"
		return
	fi
	show "$d"
}

# In the place of image.c: a disk whose boot sector jumps to itself.
hang_image() {
	printf '\353\376' >"${*: -1}"
	truncate -s 510 "${*: -1}"
	printf '\125\252' >>"${*: -1}"
	truncate -s 516096 "${*: -1}"
	echo 1
}

judge_hang() { # case, oracle
	local d=$work/$2_hang

	if ORACLE_SECONDS=3 run "$2" 0 1 none hang_image - "$d"; then
		echo "FAIL oracle/$1: a machine that hangs gave a result"
	elif [[ $why = *'code 124)' || $why = *'code 137)' ]]; then
		echo "PASS oracle/$1"
		return
	else
		echo "FAIL oracle/$1: expected that it is killed: $why"
	fi
	show "$d"
}

judge() { # case
	local oracle=${1%%/*} rest=${1#*/}

	case $rest in
	"$oracle") judge_plain "$oracle" ;;
	spoil/*) judge_wrong "$1" "$oracle" 1 "${rest#*/}" "$BUILD/oracle/image" "$BUILD/guests/hv.elf" ;;
	mutant/*) judge_wrong "$1" "$oracle" 8000 library "$BUILD/oracle/${rest#*/}/image" "$BUILD/oracle/${rest#*/}/hv.elf" ;;
	hang) judge_hang "$1" "$oracle" ;;
	*) echo "FAIL oracle/$1: there is no such case" ;;
	esac
}

cases() {
	local oracle name

	for oracle in $oracles; do
		echo "$oracle"
	done
	for oracle in $oracles; do
		for name in $spoils; do
			echo "$oracle/spoil/$name"
		done
		for name in $(tests/oracle/mutant.sh names); do
			echo "$oracle/mutant/$name"
		done
		echo "$oracle/hang"
	done
}

export -f bochs_run qemu_run machine_run run show judge_plain judge_wrong hang_image judge_hang judge
if [ $# = 0 ]; then
	mapfile -t todo < <(cases)
	set -- "${todo[@]}"
fi
# shellcheck disable=SC2016 # it runs in another shell
# A case says all it has to say at once, so that those that run beside it do not mix with it.
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" bash -c 'said=$(judge "$1"); printf "%s\n" "$said"' oracle >"$work/said"
cat "$work/said"
! grep -q '^FAIL ' "$work/said"
