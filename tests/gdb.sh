#!/bin/bash
# tests/gdb.sh: `slat run --gdb`, driven by Debian's gdb. Called by tests/cli.sh and,
# with WHERE=rig, by tests/rig/inside.sh: what this host's KVM does of debugging
# differs (vmm/gdb_ways.c), what a user sees must not.
# Not seen: int3 in memory (no host here leads it to slat), a client elsewhere.
# shellcheck disable=SC2016 # $ is of gdb's words, and of its packets
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} LC_ALL=C SLAT_KVM=${KVM:-/dev/kvm}
where=${WHERE:-cli}
slat=$PWD/$BUILD/slat
guests=$BUILD/guests
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$work"' EXIT
failures=0
complaints='ERROR: |runtime error|WARNING: ThreadSanitizer|^slat: bug at'

pass() { echo "PASS $where/gdb_$1"; }
fail() {
	echo "FAIL $where/gdb_$1: $2"
	failures=1
}

# slat in the background: its options. Returns when it listens.
start() {
	rm -f "$work/socket"
	"$slat" run --gdb "unix:$work/socket" --timeout 100 "$@" >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until grep -q '^slat: gdb: ' "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
}

# gdb's commands; GUEST names whose symbols, WORDS more words of gdb's own. One that fails does not end the session.
debug() {
	local command words=()

	for command in 'set pagination off' 'set width 0' "target remote $work/socket" "$@"; do words+=(-ex "$command"); done
	timeout -k 5 60 gdb -nx -batch "${words[@]}" ${GUEST:+"$guests/$GUEST.elf64"} >"$work/gdb" 2>&1 </dev/null
}

# name, slat's exit code, extended regular expressions of which each must match a line of gdb's or slat's, in any order
judge() {
	local name=$1 wanted=$2 code line
	shift 2
	wait $pid
	code=$?
	pid=
	sed "s/^/  $name: /" "$work/gdb"
	for line; do
		grep -qE -- "$line" "$work/gdb" "$work/out" "$work/err" || break
		line=
	done
	if [ $code != "$wanted" ]; then
		fail "$name" "exit code $code, not $wanted: $(tail -n 1 "$work/err")"
	elif [ -n "$line" ]; then
		fail "$name" "no line like '$line': $(tail -n 1 "$work/gdb")"
	elif grep -qE "$complaints" "$work/err"; then
		fail "$name" "$(grep -m 1 -E "$complaints" "$work/err")"
	elif [ -e "$work/socket" ]; then
		fail "$name" 'the socket file was left'
	else
		pass "$name"
	fi
}

session() {
	GUEST=hello
	start --wait "$guests/hello.elf"
	debug 'info threads' 'break guest_main' continue backtrace 'info registers rip eflags cr3 fs_base' \
		'print/x $rip - (long)guest_main' 'watch boot_source.magic' 'delete 2' stepi stepi 'print $rip != (long)guest_main' \
		'print boot_info.ranges' 'x/1xw 0x100000' 'set var boot_info.rsdp = 0x12345678' 'print/x boot_info.rsdp' \
		'set var boot_info.rsdp = 0' 'print *(int *)0xfee00000' 'set var $r15 = 0x1234' 'print $r15' \
		'print/x $mxcsr' 'set var $mxcsr = 0x1fa0' 'set var $xmm15.v2_int64[1] = 77' stepi 'print/x $mxcsr' \
		'print $xmm15.v2_int64[1]' \
		'monitor table 0x100000' 'monitor help' delete continue
	judge session 1 '\(cpu 0, ring 0\)' '^Breakpoint 1, guest_main \(boot=' '^#1 .* runtime_start' \
		'^rip +0x[0-9a-f]+ +0x[0-9a-f]+ <guest_main' '^eflags .*\[ ' '^cr3 ' '^\$2 = 1' '^\$3 = 3' '^\$4 = 0x12345678' \
		'0x100000.*:.0x1badb002' 'Cannot access memory at address 0xfee00000' '^\$5 = 4660' \
		'^\$6 = 0x1f80' '^\$7 = 0x1fa0' '^\$8 = 77' \
		'^gva 0x100000, cpu 0, cr3 ' '^  PML4E at gpa ' '^gpa 0x100000 -> hpa .* a leaf of ' 'exited with code 01' '^hello: ok'
}

# Where KVM has no debug registers: until the first return from ring 3, stepping sees all (vmm/gdb_points.c).
stepped() {
	GUEST=smp
	start --wait --cpus boot=2 "$guests/smp.elf"
	debug 'info threads' 'break runtime_start' continue backtrace 'info registers rip eflags cr3' stepi stepi \
		'print (long)$rip - (long)runtime_start' 'x/1xw 0x100000' 'set var shared.counter = 1' 'print shared.counter' \
		'set var shared.counter = 0' 'watch boot_source.info' continue 'print boot_source.info != 0' \
		'monitor table 0x100000' delete continue
	judge stepped 1 'Thread 2 \(cpu 1, not started\)' 'hit Breakpoint 1, runtime_start \(magic=' '^#1 .* boot_cpu_64' \
		'^rip .*<runtime_start' '^cr3 ' '^\$1 = [1-9]' '0x100000.*:.0x1badb002' '^\$2 = 1$' 'atchpoint 2: boot_source.info' \
		'^New value = ' '^\$3 = 1' '^gpa 0x100000 -> hpa .* a leaf of ' 'exited with code 01' '^smp: ok 2 CPUs'
}

watch() {
	GUEST=hello
	start --wait "$guests/hello.elf"
	debug 'watch boot_source.magic' continue 'print/x boot_source.magic' 'info symbol $rip' delete continue
	judge watch 1 '^(Hardware w|W)atchpoint 1: boot_source.magic' '^New value = ' '^\$1 = 0x2badb002' 'runtime_start' \
		'exited with code 01' '^hello: ok'
}

threads() {
	GUEST=smp
	start --wait --cpus boot=2 "$guests/smp.elf"
	debug 'info threads' 'break smp_join' continue 'info threads' 'thread 2' 'print $_thread' 'thread apply all print $cs != 0' \
		delete continue
	judge threads 1 'Thread 2 \(cpu 1, not started\)' 'Thread 1 \(cpu 0, ring 0\)' 'Thread 2 \(cpu 1, ring [03]' \
		'^\$1 = 2' '^\$3 = 1' 'exited with code 01' '^smp: ok 2 CPUs, counter 200000'
}


# The guest runs when gdb comes: it stops, goes on after a detach, stops again, by Ctrl-C too, and is killed.
interrupt() {
	local gdb

	GUEST=spin
	start "$guests/spin.elf"
	until grep -q '^spin: for ever' "$work/out"; do sleep 0.02; done
	debug 'print (long)$rip >= (long)spin && (long)$rip < (long)spin + 16' detach
	mv "$work/gdb" "$work/first"
	debug 'print $_thread' "shell echo \$PPID >$work/gdb.pid" continue 'print $_thread + 6' kill &
	gdb=$!
	until [ -s "$work/gdb.pid" ] || ! kill -0 $gdb 2>/dev/null; do sleep 0.05; done
	sleep 0.5
	kill -INT "$(cat "$work/gdb.pid")"
	wait $gdb
	cat "$work/first" >>"$work/gdb"
	judge interrupt 18 '^\[Inferior 1 \(Remote target\) detached' '^\$1 = 1' 'received signal SIGINT' '^\$2 = 7' "ended by gdb's kill"
}

# gdb may look at what cannot go on; then it ends as it would have.
crash() {
	GUEST=triple_fault
	start --wait "$guests/triple_fault.elf"
	debug continue 'info threads' continue
	judge crash 12 'received signal SIGSEGV' 'cpu 0, ring' 'exited with code 014' 'triple-faulted'
}

# Four debug registers: a fifth is refused.
registers() {
	GUEST=hello
	start --wait "$guests/hello.elf"
	debug 'hbreak runtime_start' 'hbreak show_cpus' 'hbreak console_init' 'hbreak guest_exit' 'hbreak cpu_stop' continue \
		delete kill
	judge registers 18 '^Cannot insert hardware breakpoint [1-5]\.' 'too many hardware' "ended by gdb's kill"
}

# --- clients that lie, over TCP: slat goes on, and serves the next one
lie() { # name, what it says (for printf), the answer (regular expression), how many bytes of it
	local name=lie_$1 got

	exec 7<>"/dev/tcp/127.0.0.1/$port" || {
		fail "$name" 'it does not listen any more'
		return
	}
	# shellcheck disable=SC2059 # a format it is
	printf "$2" >&7
	got=$(timeout 1 head -c "${4:-1}" <&7 | tr -d '\0')
	exec 7>&- 7<&-
	if [[ $got =~ ^($3)$ ]]; then pass "$name"; else fail "$name" "the answer is '${got:0:40}'"; fi
}

packet() { # payload
	local i sum=0

	for ((i = 0; i < ${#1}; i++)); do sum=$((sum + $(printf '%d' "'${1:i:1}"))); done
	printf '$%s#%02x' "$1" $((sum & 255))
}

lies() {
	local long port

	printf -v long '%5000s' ''
	"$slat" run --gdb tcp:0 --timeout 100 "$guests/spin.elf" >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until grep -q '^spin' "$work/out" || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
	port=$(sed -n 's/^slat: gdb: target remote 127.0.0.1://p' "$work/err")
	lie checksum '$?#00' '-'
	lie oversized "\$m${long}#00" '-'
	lie noise '\xff\xfe++--hello$?#3f' '\+\$T05thread:1;#d7' 17
	lie half '$m0,ff' ''
	lie length "$(packet 'm0,ffffffffffffffff')" '\+\$[0-9a-f]{4096}#..' 4101
	lie nothing_there "$(packet 'md0000000,10')" '\+\$E0e#..' 8
	lie thread "$(packet 'Hgffff')" '\+\$E16#..' 8
	lie register "$(packet 'pffff')" '\+\$E16#..' 8
	lie values "$(packet 'G00')" '\+\$E16#..' 8
	lie unknown "$(packet 'vMustReplyEmpty')" '\+\$#00' 5
	# One that is there and says nothing keeps others out, and neither the console nor a signal.
	exec 8<>"/dev/tcp/127.0.0.1/$port"
	printf '$?#3f' >&8 && head -c 16 <&8 >/dev/null
	lie second_client '$?#3f' ''
	kill -TERM $pid
	: >"$work/gdb"
	judge lie_mute 18 'ended by signal 15'
	exec 8>&- 8<&-
}

# name, code, sentence, slat's options
refused() {
	local name=$1 wanted=$2 line=$3 code

	timeout -k 5 60 "$slat" run "${@:4}" "$guests/spin.elf" >"$work/out" 2>"$work/err" </dev/null
	code=$?
	if [ $code != "$wanted" ]; then
		fail "$name" "exit code $code, not $wanted: $(tail -n 1 "$work/err")"
	elif grep -qE -- "$line" "$work/err"; then
		pass "$name"
	else
		fail "$name" "no line like '$line': $(tail -n 1 "$work/err")"
	fi
}

refusals() {
	refused kind 2 '^slat: --gdb 1234: write tcp:PORT or unix:PATH' --gdb 1234
	refused port 2 '^slat: --gdb tcp:65536: not a port from 0 .* to 65535' --gdb tcp:65536
	refused path_empty 2 '^slat: --gdb unix: a path has 1 to 107 bytes, this one 0' --gdb unix:
	refused path_long 2 '^slat: --gdb unix: a path has 1 to 107 bytes, this one 108' --gdb "unix:$(printf '%108s' x | tr ' ' y)"
	refused wait_alone 2 '^slat: --wait waits for a debugger: give --gdb' --wait
	: >"$work/taken"
	refused path_taken 6 '^slat: --gdb unix:.*/taken: cannot listen there: Address already in use: remove it' \
		--gdb "unix:$work/taken"
	if [ -e "$work/taken" ]; then pass path_kept; else fail path_kept 'a file that is not ours was removed'; fi
	refused no_directory 6 '^slat: --gdb unix:/nonexistent/s: cannot listen there: No such file' --gdb unix:/nonexistent/s
}

refusals_later() {
	local port

	refused wait_timeout 16 'longer than --timeout' --gdb tcp:0 --wait --timeout 0.3
	"$slat" run --gdb tcp:0 --timeout 100 "$guests/spin.elf" >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until grep -q '^spin' "$work/out" || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
	port=$(sed -n 's/^slat: gdb: target remote 127.0.0.1://p' "$work/err")
	refused port_taken 6 "^slat: --gdb tcp:$port: cannot listen there: Address already in use: take another" --gdb "tcp:$port"
	kill -TERM $pid
	wait $pid
	pid=
}

[ "$where" != cli ] || refusals
if ! [ -r "$SLAT_KVM" ] || ! [ -w "$SLAT_KVM" ]; then
	echo "SKIP $where/gdb: no usable $SLAT_KVM"
	exit 0
fi
stepped
if [ "$where" = cli ]; then
	session
	watch
	threads
	interrupt
	crash
	registers
	lies
	refusals_later
fi
exit $failures
