# shellcheck shell=bash disable=SC2034 # what others read
# tests/cli_base.sh, read by cli.sh and by the rig (part=): how a case of the command line is tried and judged, and
# what several of them need.
part=${part:-cli}
export BUILD=${BUILD:-build} LC_ALL=C SLAT_KVM=${KVM:-/dev/kvm}
slat=$PWD/$BUILD/slat
guests=$BUILD/guests
work=$(mktemp -d)
chmod 755 "$work"
groups=() # control groups that were made
trap 'rm -rf "$work"; rmdir "${groups[@]}" 2>/dev/null' EXIT
failures=0
complaints='ERROR: |runtime error|WARNING: ThreadSanitizer|^slat: bug at'

pass() { echo "PASS $part/$1"; }
fail() {
	echo "FAIL $part/$1: $2"
	failures=1
}

kvm_works() { [ -r "$SLAT_KVM" ] && [ -w "$SLAT_KVM" ]; }
needs_kvm() {
	kvm_works && return 0
	echo "SKIP $part/$1: no usable $SLAT_KVM"
	return 1
}

# name, code wanted, sentence (extended regex for a line of $work/err), code that it had, more files to look in
ended() {
	if [ "$4" != "$2" ]; then
		fail "$1" "exit code $4, not $2: $(tail -n 1 "$work/err")"
	elif ! grep -qE -- "$3" "$work/err" "${@:5}"; then
		fail "$1" "no line like '$3': $(tail -n 1 "$work/err")"
	elif grep -qE "$complaints" "$work/err"; then
		fail "$1" "$(grep -m 1 -E "$complaints" "$work/err")"
	else
		pass "$1"
	fi
}

# name, code, sentence, command...
expect() {
	timeout -k 5 60 "${@:4}" >"$work/out" 2>"$work/err" </dev/null
	ended "$1" "$2" "$3" $? "$work/out"
}
expect_kvm() { ! needs_kvm "$1" || expect "$@"; }

# A refusal leaves neither the report nor a pool's file: name, code, sentence, options... $confined is put before it.
zones_refuse() {
	needs_kvm "$1" || return
	rm -f "$work/r.json"
	expect "$1" "$2" "$3" "${confined[@]}" "$slat" run --report "$work/r.json" "${@:4}" "$guests/exit.elf"
	if [ -e "$work/r.json" ]; then fail "$1_left" 'the report file was left'; else pass "$1_left"; fi
}
confined=()
ram_mib=$(($(sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))
# The first node with memory, and the first number of none.
first_node=$(sed 's/[-,].*//' /sys/devices/system/node/has_memory 2>/dev/null || echo 0)
no_node=$(($(sed 's/.*[-,]//' /sys/devices/system/node/online 2>/dev/null || echo 0) + 1))

# A control group with a limit, of v2 or v1: its directory, or nothing. cgroup CONTROLLER
cgroup() {
	local at
	for at in /sys/fs/cgroup "/sys/fs/cgroup/$1"; do
		{ grep -qw "$1" "$at/cgroup.subtree_control" || [ -e "$at/$1.limit_in_bytes" ] || [ -e "$at/$1.2MB.limit_in_bytes" ] || [ -e "$at/$1.mems" ]; } 2>/dev/null || continue
		at+=/slat-cli.$$
		mkdir "$at" 2>/dev/null || continue
		groups+=("$at")
		echo "$at" >"$work/group"
		return 0
	done
	return 1
}
# shellcheck disable=SC2016 # sh expands it
in_group=(sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"')

# What the run says of its table and what its file says, the latter of 1G pages by their physical addresses: name, more that must be true of [report, table], options...
dumped() {
	local name=dump_$1 expression=$2
	shift 2
	needs_kvm "$name" || return
	rm -f "$work/r.json" "$work/t"
	timeout -k 5 60 "$slat" run --timeout 20 --report "$work/r.json" --dump-table "$work/t" "$@" >"$work/out" 2>"$work/err" </dev/null
	"$slat" table --json "$work/t" >"$work/t.json" 2>>"$work/err"
	if grep -q 'D is not in it' "$work/err"; then
		fail "$name" "$(grep 'D is not in it' "$work/err")"
	elif jq -es ".[0].table.leaves == .[1].leaves and .[0].table.bytes == .[1].tables * 4096 and .[0].table.format == .[1].format
		and .[1].odd == 0 and .[1].unlinked == 0 and ([.[1].runs[].accessed] | all(. == null))
		and (.[1].huge_1g == \"physical\" or (.[0].ranges | map([.gpa, .bytes, .first_frame * 4096, .readonly]))
			== (.[1].runs | map([.gpa, .bytes, .hpa, (.rights | contains(\"w\") | not)]))) and ($expression)" \
		"$work/r.json" "$work/t.json" >"$work/jq" 2>&1; then
		pass "$name"
	else
		fail "$name" "not so: $(tr -d '\n' <"$work/jq") $(tail -n 1 "$work/err")"
	fi
}
