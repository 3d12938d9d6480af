#!/bin/bash
# tests/cli.sh: part `cli`: the command as a user types it. Every refusal is read:
# its sentence and its exit code, and that nothing is left behind.
# Not seen: an Intel host without unrestricted guest; a KVM without a split
# interrupt controller; a host whose memory runs out under a guest.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/cli_base.sh

# name, arguments of slat: what a command prints and nobody can have is a failure, of one sentence
full() {
	# shellcheck disable=SC2016 # sh expands it
	expect "$1" 6 '^slat: standard output cannot be written: No space left' sh -c 'exec "$@" >/dev/full' - "$slat" "${@:2}"
}

sanitizer=$(readelf -d "$slat" | grep -o 'lib[at]san')
is_sanitized() { [ -n "$sanitizer" ]; }
# What vmm/host.h has room for.
too_much=' is more than the host has: [0-9]+ MiB of RAM' phys_bits=46
if [ "$sanitizer" = libtsan ]; then
	too_much=': a pool holds 8 GiB at most' phys_bits=39
fi

# A Multiboot image without ELF around it, loaded to 1 MiB: name, code bytes in hex, end of its zeroed memory.
flat() {
	local code=$2 end=${3:-0} bytes=''
	word() { printf '%02x%02x%02x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
	bytes=$(word 0x1badb002)$(word 0x10000)$(word $((-(0x1badb002 + 0x10000) & 0xffffffff)))
	bytes+=$(word 0x100000)$(word 0x100000)$(word 0)$(word "$end")$(word 0x100020)$code
	# shellcheck disable=SC2001 # every two characters
	printf '%b' "$(sed 's/../\\x&/g' <<<"$bytes")" >"$work/$1"
}

# --- options
expect help 0 '^slat run \[options\] IMAGE' "$slat" run --help
expect probe_help 0 '^slat probe' "$slat" probe --help
expect help_top 0 'slat COMMAND' "$slat" --help
expect no_command 2 'slat COMMAND' "$slat"
expect version 0 '^slat [0-9]+\.[0-9]+\.[0-9]+$' "$slat" --version
full help_full_top --help
full version_full --version
for command in run probe table pack sweep; do full "help_full_$command" "$command" --help; done
expect unknown_command 2 '^slat: unknown command frobnicate; the commands are: run, probe, table, pack, sweep ' "$slat" frobnicate
expect unknown_option 2 '^slat: unknown option --frob;' "$slat" run --frob x
expect unknown_key 2 "^slat: --memory: unknown key 'sise'; the keys are: size, hugepages," "$slat" run --memory sise=1 x
expect size_zero 2 '^slat: --memory size=0: a guest needs 2 MiB at least' "$slat" run --memory size=0 x
expect size_odd 2 '^slat: --memory size=3000001: not a multiple of 4K' "$slat" run --memory size=3000001 x
expect no_image_named 2 '^slat: no image to boot' "$slat" run
expect probe_option 2 '^slat: unknown option --x;' "$slat" probe --x
expect table_help 0 '^slat table \[options\] FILE' "$slat" table --help
expect table_option 2 '^slat: unknown option --x;' "$slat" table --x
expect table_no_file 2 '^slat: no table to show' "$slat" table --json
expect table_two_files 2 '^slat: two tables: a and b' "$slat" table a b
expect table_gpa_missing 2 '^slat: --gpa needs a value' "$slat" table x --gpa
expect table_gpa_no_number 2 '^slat: --gpa 1Q: not an address; write a number, such as 0x100000 or 3G' "$slat" table --gpa 1Q x
expect table_gpa_too_high 2 '^slat: --gpa 256T: a table of 4 levels has 48 bits, up to 0xffffffffffff$' "$slat" table --gpa=256T x
expect table_tables_json 2 '^slat: --tables: not with --json or --gpa$' "$slat" table --tables --json x

# --- images (judged before KVM is opened)
printf 'hello\n' >"$work/text"
: >"$work/empty"
head -c 300 "$guests/hello.elf" >"$work/truncated"
head -c 100000 /bin/bash >"$work/dynamic"
printf '\037\213\010\0\0\0\0\0\0\0\0\0' >"$work/gzip"
expect no_such_image 4 '^slat: cannot open the image /nonexistent: No such file' "$slat" run /nonexistent
expect directory 4 '^slat: the image /tmp is not a regular file' "$slat" run /tmp
expect empty_image 4 '^slat: the image .*/empty has 0 bytes' "$slat" run "$work/empty"
expect text_image 4 "^slat: $work/text: .*text" "$slat" run "$work/text"
expect gzip_image 4 "^slat: $work/gzip: .*gzip" "$slat" run "$work/gzip"
expect truncated_image 4 "^slat: $work/truncated: " "$slat" run "$work/truncated"
expect program_image 4 "^slat: $work/dynamic: " "$slat" run "$work/dynamic"
expect no_initramfs 4 '^slat: cannot open the initramfs /nonexistent: ' "$slat" run --initramfs /nonexistent "$guests/hello.elf"

# One byte of a good ELF32 changed: name, offset, octal bytes, sentence.
lie() {
	cp "$guests/hello.elf" "$work/$1"
	printf '%b' "$3" | dd of="$work/$1" bs=1 seek="$2" conv=notrunc status=none
	expect "$1" 4 "^slat: $work/$1: $4" "$slat" run "$work/$1"
}
lie lying_phoff 28 '\0377\0377\0377\0177' '.*0x7fffffff'
lie lying_phnum 44 '\0377\0377' ''
phoff=$(od -An -tu4 -j28 -N4 "$guests/hello.elf" | tr -d ' ')
lie lying_filesz $((phoff + 16)) '\0377\0377\0377\0177' ''
second_paddr=$((phoff + 32 + 12))
first_paddr=$(od -An -to1 -j$((phoff + 12)) -N4 -v "$guests/hello.elf" | tr -d '\n' | sed 's/ /\\0/g')
lie overlapping_segments $second_paddr "$first_paddr" '.*overlap'

lie lying_entry 24 '\0001\0002\0003\0004' '.*entry'

# --- the host refuses
expect no_kvm 8 '^slat: there is no /nonexistent/kvm: load KVM' env SLAT_KVM=/nonexistent/kvm "$slat" run "$guests/exit.elf"
expect not_kvm 8 '^slat: /dev/null is not KVM' env SLAT_KVM=/dev/null "$slat" run "$guests/exit.elf"
cp "$slat" "$guests/exit.elf" "$work" && touch "$work/node" && chmod 0600 "$work/node"
if [ "$(id -u)" = 0 ]; then
	as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
else
	as_nobody=()
	chmod 0 "$work/node"
fi
expect no_permission 8 "^slat: no permission to open $work/node: it belongs to [a-z]+:[a-z]+ with mode 0[06]00, so only" \
	"${as_nobody[@]}" env SLAT_KVM="$work/node" "$work/slat" run "$work/exit.elf"
[ "$(id -u)" != 0 ] || chgrp daemon "$work/node"
if [ "$(id -u)" = 0 ]; then
	chmod 0660 "$work/node"
	expect no_permission_group 8 'mode 0660; join the group daemon \(as root: usermod -aG daemon NAME' \
		"${as_nobody[@]}" env SLAT_KVM="$work/node" "$work/slat" run "$work/exit.elf"
fi
expect_kvm too_much_memory 6 "^slat: --memory size=1000 GiB$too_much" \
	"$slat" run --memory size=1000G "$guests/exit.elf"
huge=$(($(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages 2>/dev/null || echo 0) + 1))
if [ $((huge * 2)) -lt "$ram_mib" ]; then
	expect_kvm no_huge_pages 6 "asks for $huge huge pages of 2 MiB and $((huge - 1)) are available; .*vm.nr_hugepages=" \
		"$slat" run --memory "size=$((huge * 2))M,hugepages=on" "$guests/exit.elf"
else
	echo "SKIP cli/no_huge_pages: nearly all of this host's memory is huge pages"
fi
expect too_many_cpus 2 '^slat: --cpus boot=256: not a number of CPUs from 1 to 255' "$slat" run --cpus boot=256 x
flat big ebfe 0x4000000
expect_kvm image_bigger_than_ram 4 "^slat: $work/big: .*--memory" "$slat" run --memory size=32M "$work/big"
expect_kvm report_unwritable 6 '^slat: --report /nonexistent/r: cannot be written: No such file' \
	"$slat" run --report /nonexistent/r "$guests/exit.elf"
expect refused_leaves_no_report 8 'there is no /nonexistent' \
	env SLAT_KVM=/nonexistent "$slat" run --report "$work/r.json" "$guests/exit.elf"
if [ -e "$work/r.json" ]; then fail no_report_left 'the report file was left'; else pass no_report_left; fi

# --- how a run ends
flat s5 '66ba040666b8003466ef'
flat cf9 '66baf90cb006eefb'
flat kbd 'b0fee664'
flat panic '66ba0505b001ee'
flat jump 'b8000000d0ffe0'
flat spin 'ebfe'
flat echo '66bafd03eca80174fb66baf803ece6f4'
expect_kvm power_off 0 'the guest powered off' "$slat" run --timeout 20 "$work/s5"
expect_kvm reset_cf9 12 'asked for a reset' "$slat" run --timeout 20 "$work/cf9"
expect_kvm reset_keyboard 12 'asked for a reset' "$slat" run --timeout 20 "$work/kbd"
expect_kvm panic 14 "kernel panicked" "$slat" run --timeout 20 "$work/panic"
expect_kvm timeout 16 'longer than --timeout' "$slat" run --timeout 0.2 "$work/spin"
expect_kvm internal_error 10 '^slat: .*cpu 0 at rip 0x' "$slat" run --timeout 20 "$work/jump"
expect_kvm internal_error_registers 10 '^  rip 00000000d0000000 .* 32-bit protected mode, ring 0' "$slat" run --timeout 20 "$work/jump"
expect_kvm exit_7 7 'left with value 3' "$slat" run "$guests/exit.elf" --cmdline 3
expect_kvm exit_zero 0 'left with value 3' "$slat" run --exit-zero 3 --cmdline 3 "$guests/exit.elf"
expect_kvm trace 1 '^slat: cpu 0: port write 0xf4, [124] bytes: 0x0' "$slat" run --trace exits "$guests/exit.elf"

if needs_kvm signal; then
	timeout -k 5 60 "$slat" run "$work/spin" >"$work/out" 2>"$work/err" &
	pid=$!
	until grep -q memslot "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
	sleep 0.3
	pkill -INT -P $pid
	wait $pid
	ended signal 18 'ended by signal 2' $?
fi

if needs_kvm serial_input; then
	printf A | timeout -k 5 60 "$slat" run "$work/echo" >/dev/null 2>&1
	code=$?
	if [ $code = 131 ]; then pass serial_input; else fail serial_input "exit code $code, not 131"; fi
fi

# On a terminal: raw while the guest runs, Ctrl-A x ends it, and then as before.
if needs_kvm terminal; then
	{
		sleep 2
		printf '\001x'
		sleep 2
	} | timeout -k 5 60 script -qec "stty -a >$work/before; $slat run $work/spin; echo code=\$?; stty -a >$work/after" \
		/dev/null >"$work/out" 2>&1
	if ! grep -q 'code=18' "$work/out"; then
		fail terminal "Ctrl-A x did not end it: $(tail -n 1 "$work/out")"
	elif ! cmp -s "$work/before" "$work/after"; then
		fail terminal 'the terminal is not as it was'
	else
		pass terminal
	fi
fi

# --- the report
report() { # name, jq expression that must be true, options...
	local name=$1 expression=$2
	shift 2
	needs_kvm "$name" || return
	rm -f "$work/r.json"
	timeout -k 5 60 "$slat" run --report "$work/r.json" "$@" >"$work/out" 2>"$work/err" </dev/null
	if jq -e "$expression" "$work/r.json" >"$work/jq" 2>&1; then
		pass "$name"
	else
		fail "$name" "not so: $expression: $(tr -d '\n' <"$work/jq") $(tail -n 1 "$work/err")"
	fi
}
report report_one_block '.blocks | length == 1' --memory size=64M "$guests/exit.elf"
report report_two_ranges \
	'(.ranges | length == 2) and .ranges[0].bytes == 3221225472 and .ranges[1].gpa == 4294967296
		and .ranges[1].first_frame == .ranges[0].first_frame + 786432 and (.memslots | length == 2)
		and ([.blocks[].bytes] == [5368709120])' --memory size=5G "$guests/exit.elf"
report report_end '.end == {"how": "debug-exit", "value": 3, "code": 7} and .exits.io >= 1' --cmdline 3 "$guests/exit.elf"
report report_small_leaves '.table.leaves == {"4k": 16384, "2m": 0, "1g": 0} and .memory.page_bytes == 4096' \
	--memory size=64M,thp=off "$guests/exit.elf"
report report_prefault '.memory.resident_bytes == 67108864' --memory size=64M,prefault=on "$guests/exit.elf"
report report_resident '.memory | .resident_bytes > 0 and .resident_bytes < 67108864 and .huge_bytes <= .resident_bytes and .shared_bytes == 0
	and (.bytes_by_node | add) == .resident_bytes and .resident_bytes_max >= .resident_bytes' \
	--memory size=64M "$guests/exit.elf"
# A huge page is the size of the whole, and what was only read is nothing.
report report_huge '.memory | .page_bytes == 4096 or (.huge_bytes == 67108864 and .resident_bytes_max >= 67108864)' \
	--memory size=64M,prefault=on "$guests/exit.elf"
report report_times '.times_ms.to_first_instruction > 0 and .times_ms.to_end >= .times_ms.to_first_instruction' \
	"$guests/exit.elf"
report report_name '.name == "one" and .image.format == "Multiboot" and .cpus == 2' --name one --cpus boot=2 "$guests/exit.elf"
if needs_kvm json_on_stdout; then
	timeout 60 "$slat" run --json "$guests/hello.elf" 2>"$work/err" </dev/null >"$work/out"
	if jq -e '.end.how == "debug-exit"' "$work/out" >/dev/null && grep -q hello "$work/err"; then
		pass json_on_stdout
	else
		fail json_on_stdout 'stdout is not the report alone, or the console is not on stderr'
	fi
fi
if needs_kvm closed_stdout; then
	timeout 60 "$slat" run "$guests/hello.elf" --exit-zero 0 2>"$work/err" </dev/null | true
	code=${PIPESTATUS[0]}
	if [ "$code" = 0 ]; then pass closed_stdout; else fail closed_stdout "exit code $code"; fi
fi

# --- guards, read-only memory, and pools with a history
expect guard_outside 2 "^slat: --guard 0x20000000\+0x1000 is not inside the guest's RAM, 0x0\.\.0x20000000$" "$slat" run --guard 512M+4K x
expect guard_overlap 2 '^slat: --ro 16M\+4K overlaps --guard 0x1000000\+0x1000$' "$slat" run --guard 16M+4K --ro 16M+4K x
expect_kvm guard_on_image 4 "^slat: .*/hello.elf: segment 0, .* would lie on a guard: --guard leaves nothing at 0x101000\.\.0x102000$" \
	"$slat" run --guard 0x101000+4K "$guests/hello.elf"
expect_kvm guard_on_boot_data 4 '^slat: .*: the boot structures, .* would lie on a guard: --guard leaves nothing at 0x90000' \
	"$slat" run --guard 0x90000+4K "$guests/hello.elf"
expect_kvm guard_on_acpi 4 '^slat: the ACPI tables, .* would lie on a guard' "$slat" run --guard 0xe0000+4K "$guests/hello.elf"
# A guard where a module would go: the module goes elsewhere.
expect_kvm guard_beside_module 1 '^hello: 1 modules$' \
	"$slat" run --guard 0x140000+512K --initramfs LICENSE "$guests/hello.elf"
report report_guard \
	'.memslots == [{"id": 0, "gpa": 0, "bytes": 16777216, "readonly": false}, {"id": 1, "gpa": 16781312, "bytes": 16773120, "readonly": false},
		{"id": 2, "gpa": 33554432, "bytes": 4096, "readonly": true}, {"id": 3, "gpa": 33558528, "bytes": 33550336, "readonly": false}]
		and .table.leaves == {"4k": 1023, "2m": 30, "1g": 0} and (.ranges | map(.readonly) == [false, false, true, false])' \
	--memory size=64M --guard 16M+4K --ro 32M+4K "$guests/exit.elf"
# The guard has no frame, whatever the pages: all else is touched before the guest starts.
report report_guard_resident '.memory.resident_bytes == 67104768' --memory size=64M,prefault=on --guard 16M+4K "$guests/exit.elf"
report report_guard_resident_4k '.memory.resident_bytes == 67104768' --memory size=64M,prefault=on,thp=off --guard 16M+4K "$guests/exit.elf"
report report_fault '.end.how == "fault" and .end.code == 20 and (.end.why | test("data write of 8 bytes at guest address 0x1000000"))
	and .faults == {"reads": 0, "writes": 1, "fetches": 0}' --memory size=64M --guard 16M+4K --cmdline case=1 "$guests/guard.elf"
report report_faults_counted '.end.code == 1 and .faults == {"reads": 1, "writes": 1, "fetches": 0} and .strays == 0' \
	--memory size=64M --guard 16M+4K --on-fault report --cmdline case=1 "$guests/guard.elf"
# A flood of faults: some lines a second, all of them counted. MOV EAX, [16M] for ever.
flat fault_flood 'a100000001ebf9'
if needs_kvm fault_flood; then
	rm -f "$work/r.json"
	timeout -k 5 60 "$slat" run --memory size=64M --guard 16M+4K --on-fault report --timeout 1.5 --report "$work/r.json" "$work/fault_flood" \
		>"$work/out" 2>"$work/err" </dev/null
	code=$?
	lines=$(grep -c 'answered with ones' "$work/err")
	if [ $code = 16 ] && [ "$lines" -ge 8 ] && [ "$lines" -le 24 ] && jq -e '.faults.reads > 1000' "$work/r.json" >/dev/null; then
		pass fault_flood
	else
		fail fault_flood "exit code $code, $lines lines: $(tail -n 1 "$work/err")"
	fi
fi
history=size=1296M,taken=256M+4M,taken=516M+4M,taken=776M+4M,taken=1036M+4M # five holes of 256 MiB
expect_kvm require_names_the_hole 6 'no contiguous block of 1 GiB in the pool of node [0-9]+: its largest hole is 256 MiB of 1280 MiB free in 5 holes$' \
	"$slat" run --memory size=1G --pool $history "$guests/exit.elf"
report prefer_pieces '.memory.extents == 4 and ([.blocks[].bytes] | all(. == 268435456)) and .end.code == 1' \
	--memory size=1G,contiguous=prefer --pool $history "$guests/exit.elf"
if needs_kvm prefer_memtest; then
	free_kib=$(sed -n 's/MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
	if [ "$free_kib" -lt $((1300 << 10)) ]; then
		echo "SKIP cli/prefer_memtest: needs 1300M of free memory, and there are $free_kib KiB"
	else
		expect prefer_memtest 1 '^memtest: ok [0-9]+ bytes in 2 ranges$' \
			"$slat" run --memory size=1G,contiguous=prefer --pool $history "$guests/memtest.elf"
	fi
fi
expect_kvm prefer_too_little 6 '^slat: no 1281 MiB in the pool of node [0-9]+, in however many pieces: 1280 MiB are free in 5 holes$' \
	"$slat" run --memory size=1281M,contiguous=prefer --pool $history "$guests/exit.elf"
expect_kvm pool_taken_twice 2 '^slat: --pool taken=0x100000\+0x1000: not free in a pool of 64 MiB$' \
	"$slat" run --memory size=32M --pool size=64M,taken=1M+4K,taken=1M+4K "$guests/exit.elf"
expect_kvm scatter_too_many 6 '^slat: --memory contiguous=scatter,extent_size=4 KiB makes 262144 extents of 1 GiB, and KVM has [0-9]+ memslots here' \
	"$slat" run --memory size=1G,contiguous=scatter,extent_size=4K "$guests/exit.elf"
report scatter_pieces '.memory.extents == 32 and (.memslots | length == 32) and .table.leaves == {"4k": 0, "2m": 32, "1g": 0}
	and .table.tlb_reach_bytes == 67108864' --memory size=64M,contiguous=scatter "$guests/exit.elf"
report scatter_small '.table.leaves."4k" == 4096 and .table.tlb_reach_bytes == 4194304' \
	--memory size=16M,contiguous=scatter,extent_size=64K "$guests/exit.elf"

# --- memory nodes: what a host of one node can be asked for, and each refusal in one sentence
zones_refuse zone_no_node 6 "^slat: --memory-zone id=a: memory node $no_node does not exist on this host: nodes with memory are [0-9]" \
	--memory-zone "id=a,size=64M,host_numa_node=$no_node"
zones_refuse placement_no_node 6 "^slat: --placement: memory node $no_node does not exist on this host: " --placement "host_numa_node=$no_node"
zones_refuse zone_list_no_node 6 "^slat: --memory-zone id=b: memory node $no_node does not exist" \
	--memory-zone id=a,size=32M "id=b,size=32M,host_numa_node=$first_node,$no_node"
zones_refuse zone_file_missing 6 '^slat: --memory-zone id=a: file=/dev/dax99\.9 is not a device-dax that this host has' \
	--memory-zone id=a,size=64M,backing=devdax,file=/dev/dax99.9
zones_refuse zone_file_is_none 6 '^slat: --memory-zone id=a: file=/dev/null is not a device-dax that this host has' --memory-zone id=a,size=64M,backing=devdax,file=/dev/null
zones_refuse zone_needs_file 2 '^slat: --memory-zone id=a: backing=devdax needs a file, as in file=/dev/dax0\.0$' --memory-zone id=a,size=64M,backing=devdax
zones_refuse zone_size_4k 2 "^slat: --memory-zone size=3000001: not a size that is a multiple of 4K" --memory-zone id=a,size=3000001
zones_refuse zone_size_huge 2 '^slat: --memory-zone id=a,size=3 MiB: with huge pages, a multiple of 2M$' --memory-zone id=a,size=3M,backing=hugetlb
zones_refuse zone_too_large 6 "^slat: --memory-zone id=a size=1000 GiB$too_much" --memory-zone id=a,size=1000G
zones_refuse zone_and_size 2 '^slat: --memory size=64 MiB: with --memory-zone, which have the sizes, size=0 or none$' \
	--memory size=64M --memory-zone id=a,size=64M
zones_refuse zones_pool 2 '^slat: --pool: not with --memory-zone, each of which has a pool of its own$' --pool size=128M --memory-zone id=a,size=64M
zones_refuse zones_balloon_large 2 '^slat: --balloon asks for 129 MiB of a guest that has 128 MiB of RAM$' \
	--memory-zone id=a,size=64M id=b,size=64M --balloon size=129M
zones_refuse zones_latency 2 '^slat: --latency: not with --memory-zone, which have nodes of their own' --latency 100ns --memory-zone id=a,size=64M --
zones_refuse zones_policy 2 '^slat: --placement policy: not with --memory-zone' --placement policy=spread --memory-zone id=a,size=64M --
zones_refuse numa_no_zone 2 '^slat: --numa guest_numa_id=0: there is no --memory-zone id=c' --memory-zone id=a,size=64M --numa guest_numa_id=0,memory_zones=c
zones_refuse numa_no_cpu 2 '^slat: --numa guest_numa_id=0: there is no CPU 2; --cpus boot=2 has 0 to 1$' --cpus boot=2 --numa guest_numa_id=0,cpus=0-2
zones_refuse numa_gap 2 '^slat: --numa: no guest_numa_id=0; 1 nodes have the numbers 0 to 0' --numa guest_numa_id=1,cpus=0
zones_refuse contract_without 2 '^slat: --placement policy=contract: a latency is missing' --placement policy=contract
. tests/cli_huge.sh
# Where firmware tells latencies, 1 ns is what none keeps.
if compgen -G '/sys/devices/system/node/node*/access*/initiators/read_latency' >/dev/null; then
	zones_refuse latency_too_low 6 '^slat: --latency 1\.000ns cannot be kept: the best that 512 MiB can have now is [0-9.]+ns \(latencies: hmat\)$' --latency 1ns
else
	zones_refuse latency_without_hmat 6 '^slat: --latency: this host tells no latencies of its nodes \(HMAT\); have them measured \(slat probe --latency --json >FILE\) and give --latencies FILE$' --latency 100ns
fi
# A table of latencies: what probe wrote here is taken, and what was done to it since is refused.
"$slat" probe --latency --json >"$work/table" 2>/dev/null
slowest=$(jq '[.latencies.ps[][] | values] | max // 1000 | . / 1000 | ceil' "$work/table")
fastest=$(jq '[.latencies.ps[][] | values] | min // 2000000 | . / 1000 - 1 | floor' "$work/table")
report latencies_contract ".end.code == 1 and (.latency.source | startswith(\"measured\")) and .latency.mean_ps <= ${slowest}000
	and ([.zones[].bytes_by_node | add] | add == 67108864)" \
	--memory size=64M,prefault=on --latency "${slowest}ns" --latencies "$work/table" "$guests/exit.elf"
report latencies_policy '.latency.mean_ps > 1000 and (.latency.source | startswith("measured"))' \
	--memory size=64M --placement policy=local --latencies "$work/table" "$guests/exit.elf"
report latencies_none '.latency == null' "$guests/exit.elf"
zones_refuse latencies_too_low 6 "^slat: --latency $fastest\.000ns cannot be kept: the best that 64 MiB can have now is [0-9.]+ns \(latencies: measured" \
	--memory size=64M --latency "${fastest}ns" --latencies "$work/table"
zones_refuse latencies_alone 2 "^slat: --latencies $work/table: nothing is placed by them without --latency or --placement$" --latencies "$work/table"
zones_refuse latencies_zones 2 '^slat: --latencies: not with --memory-zone' --latencies "$work/table" --memory-zone id=a,size=64M --
# name, code, sentence after the file's name, jq's filter for the table
spoilt() {
	jq "$4" "$work/table" >"$work/spoilt" 2>/dev/null
	zones_refuse "latencies_$1" "$2" "^slat: --latencies $work/spoilt: $3$" --latency 200ns --latencies "$work/spoilt"
}
probes='not what slat probe --latency --json writes'
spoilt no_json 4 "$probes: it is cut short" empty
spoilt other_json 4 "$probes: nodes is no list of 1 to 64 nodes" '.slat_would'
spoilt no_node 6 "it has memory node $no_node, and this host has [0-9]+[-0-9,]*: measure again" \
	".nodes[-1].id = $no_node"
spoilt other_distance 4 "$probes: the distance from node [0-9]+ to [0-9]+ is no number from 10 to 255, 10 from a node to itself" '.distances[0][0] = 11'
spoilt ragged 4 "$probes: ps of latencies has not one row and one column for each node" '.latencies.ps[0] += [80000]'
spoilt absurd 4 "$probes: the latency from node [0-9]+ to [0-9]+ is neither null nor picoseconds from 1000 to 1000000000" '.latencies.ps[0][0] = 1000000001'
spoilt negative 4 "$probes: the latency from node [0-9]+ to [0-9]+ is neither .*" '.latencies.ps[0][0] = -1'
spoilt nothing 4 'nothing is measured in it: .*' '.latencies.ps |= map(map(null))'
spoilt not_measured 4 'its latencies are not measured: slat probe --latency --json does that' '.latencies.source = "hmat"'
head -c 200 "$work/table" >"$work/spoilt"
zones_refuse latencies_cut 4 "^slat: --latencies $work/spoilt: $probes: it is cut short$" --latency 200ns --latencies "$work/spoilt"
zones_refuse latencies_missing 6 '^slat: --latencies /nonexistent: cannot be opened: No such file or directory$' --latency 200ns --latencies /nonexistent
mkfifo "$work/pipe"
zones_refuse latencies_pipe 6 "^slat: --latencies $work/pipe: not a regular file$" --latency 200ns --latencies "$work/pipe"
# Addresses: each sentence names who asked, how much, and the limit.
addresses() { # name, limit in MiB, who and how much, command
	if is_sanitized; then
		echo "SKIP cli/$1: a sanitizer takes most addresses"
	else
		expect "$1" 6 "^slat: $3 cannot be mapped, for the limit of this process is $2 MiB of addresses \(RLIMIT_AS\), of which [0-9]+ [KM]iB are taken: raise it" \
			prlimit --as=$(($2 << 20)) "${@:4}"
	fi
}
if needs_kvm addresses; then
	addresses addresses 500 '--memory: 600 MiB' "$slat" run --memory size=600M "$guests/exit.elf"
	addresses addresses_pool 500 '--pool: 600 MiB' "$slat" run --memory size=64M --pool size=600M "$guests/exit.elf"
	addresses addresses_zone 500 '--memory-zone id=a: 600 MiB' "$slat" run --memory-zone id=a,size=600M -- "$guests/exit.elf"
	addresses addresses_placed 500 '--memory on node [0-9]+: 600 MiB' "$slat" run --memory size=600M --placement host_numa_node="$first_node" "$guests/exit.elf"
	addresses addresses_zones 500 'several zones of memory: [0-9]+ TiB' "$slat" run --memory-zone id=a,size=64M id=b,size=64M -- "$guests/exit.elf"
fi
addresses addresses_latency 50 '--latency: [0-9]+ [MG]iB' "$slat" probe --latency
# What may be locked: by a user that has no right to more.
confined=(prlimit --memlock=1048576 setpriv --inh-caps=-ipc_lock --bounding-set=-ipc_lock)
[ "$(id -u)" = 0 ] || confined=(prlimit --memlock=1048576)
if "${confined[@]}" true 2>/dev/null; then
	zones_refuse lock_limit 6 '^slat: .*: this process may lock 1 MiB \(RLIMIT_MEMLOCK\), not [0-9]+ MiB; raise it' --memory mlock=on
	sentence='cannot be locked \(mlock=on\), for the limit of this process is 1 MiB \(RLIMIT_MEMLOCK\), of which 0 bytes are locked: raise it'
	zones_refuse lock_limit_zone 6 "^slat: --memory-zone id=a: 64 MiB $sentence" --memory mlock=on --memory-zone id=a,size=64M
	zones_refuse lock_limit_placed 6 "^slat: --memory on node $first_node: 64 MiB $sentence" --memory size=64M,mlock=on --placement "host_numa_node=$first_node"
	zones_refuse lock_limit_zones 6 "^slat: --memory-zone id=b and those before it: 2 MiB $sentence" \
		--memory mlock=on --memory-zone id=a,size=1M id=b,size=1M
else
	echo 'SKIP cli/lock_limit: no limit on what may be locked can be set here'
fi
if ! cgroup memory; then
	echo 'SKIP cli/group_limit: no control group of memory can be made here'
else
	group=$(cat "$work/group")
	limit=memory.max
	[ -e "$group/$limit" ] || limit=memory.limit_in_bytes
	echo 64M >"$group/$limit"
	confined=("${in_group[@]}" "$group")
	sentence="asked, and the control group $group has room for [0-9]+ [KM]iB of its limit of 64 MiB: raise that, or ask for less$"
	zones_refuse group_limit 6 "^slat: --memory prefault=on: 128 MiB $sentence" --memory size=128M,prefault=on
	zones_refuse group_limit_zone 6 "^slat: --memory-zone id=b: 128 MiB $sentence" --memory-zone id=a,size=64M id=b,size=128M,prefault=on
	# Each would fit, also beside what a sanitizer takes.
	zones_refuse group_limit_zones 6 "^slat: --memory-zone id=b and those before it: 68 MiB $sentence" \
		--memory-zone id=a,size=34M,prefault=on id=b,size=34M,prefault=on
	expect_kvm group_limit_kept 1 'left with value 0' "${confined[@]}" "$slat" run --memory size=16M,prefault=on "$guests/exit.elf"
fi
# A node that is there, and not for us: needs two.
second_node=$(sed 's/.*[-,]//' /sys/devices/system/node/has_memory 2>/dev/null || echo 0)
if [ "$second_node" = "$first_node" ]; then
	echo 'SKIP cli/outside_cpuset: this host has memory on one node; a cpuset cannot leave it out'
elif ! cgroup cpuset; then
	echo 'SKIP cli/outside_cpuset: no control group of CPUs and nodes can be made here'
else
	group=$(cat "$work/group")
	cat "${group%/*}"/cpuset.cpus{.effective,} 2>/dev/null | head -n 1 >"$group/cpuset.cpus"
	echo "$first_node" >"$group/cpuset.mems"
	confined=("${in_group[@]}" "$group")
	zones_refuse outside_cpuset 6 "^slat: --memory-zone id=a: memory node $second_node is outside the cpuset that slat was started in, which allows $first_node$" \
		--memory-zone "id=a,size=64M,host_numa_node=$second_node"
	zones_refuse placement_outside_cpuset 6 "^slat: --placement: memory node $second_node is outside the cpuset" --placement "host_numa_node=$second_node"
	# Without a word of nodes: however much is free on the other.
	for node in $first_node $second_node; do
		echo "$node" >"$group/cpuset.mems"
		expect_kvm "within_cpuset_$node" 1 "of anonymous memory on node $node\$" "${confined[@]}" "$slat" run --memory size=16M "$guests/exit.elf"
	done
fi
confined=()
for group in "${groups[@]}"; do rmdir "$group" || fail group_left "$group"; done
groups=()
# What is had. verified_by_node is what move_pages said before the guest's start, bytes_by_node is at the end.
one_place='(.zones | length == 1) and .zones[0].nodes != null and (.zones[0].bytes_by_node | to_entries | map(.value) | add == 67108864)
	and .zones[0].verified_by_node == .zones[0].bytes_by_node and .zones[0].elsewhere_bytes == 0
	and .memory.resident_bytes == 67108864 and .memory.bytes_by_node == .zones[0].bytes_by_node and .end.code == 1'
for policy in local pack spread; do
	report "place_$policy" "$one_place and .zones[0].bytes_by_node == {\"$first_node\": 67108864} and .zones[0].policy == \"preferred\"" \
		--memory size=64M,prefault=on --placement "policy=$policy,host_numa_node=$first_node" "$guests/exit.elf"
done
# One node alone: what asks for several says that it comes to nothing, and nothing else does.
for policy in pack spread interleave; do
	expect_kvm "one_node_$policy" 1 "^slat: --placement policy=$policy: there is nothing to choose or to share out, for node $first_node is the only one that may be used$" \
		"$slat" run --memory size=64M --placement "policy=$policy,host_numa_node=$first_node" "$guests/exit.elf"
done
if needs_kvm one_node_local; then
	"$slat" run --memory size=64M --placement "policy=local,host_numa_node=$first_node" "$guests/exit.elf" >"$work/out" 2>"$work/err" </dev/null
	if grep -q 'nothing to choose' "$work/err"; then fail one_node_local "$(head -n 1 "$work/err")"; else pass one_node_local; fi
fi
report strict "$one_place and .zones[0].policy == \"bind\" and .zones[0].bytes_by_node == {\"$first_node\": 67108864}" \
	--memory size=64M,prefault=on --placement "host_numa_node=$first_node" --strict "$guests/exit.elf"
report zone_strict "$one_place and .zones[0].id == \"a\" and .zones[0].policy == \"bind\" and .zones[0].backing == \"memfd\"
	and .zones[0].bytes_by_node == {\"$first_node\": 67108864}" \
	--memory-zone "id=a,size=64M,backing=memfd,prefault=on,host_numa_node=$first_node" --strict "$guests/exit.elf"
report zones_each '[.zones[] | [.id, .bytes, .backing, .policy]] == [["a", 33554432, "anonymous", "preferred"], ["b", 16777216, "memfd", null],
	["c", 16777216, "anonymous", null]] and (.zones[0].bytes_by_node | add == 33554432) and (.zones[0].verified_by_node | add == 33554432)
	and ([.zones[] | .verified_by_node, .elsewhere_bytes][2:] == [null, null, null, null])
	and ([.zones[] | .bytes_by_node | add // 0] == [.zones[].resident_bytes]) and ([.zones[].resident_bytes] | add) == .memory.resident_bytes
	and (.blocks | length == 3) and .memory.bytes == 67108864 and (.ranges | map(.gpa) == [0, 33554432, 50331648])' \
	--memory-zone "id=a,size=32M,prefault=on,host_numa_node=$first_node" id=b,size=16M,backing=memfd id=c,size=16M,reserve=on -- "$guests/exit.elf"
# The report's figures are those that the kernel shows of the mappings while the guest runs; each has a size of its own.
# Name, slat's options...
shown() {
	local name=$1 pid kernel told

	shift
	needs_kvm "$name" || return
	rm -f "$work/r.json"
	"$slat" run --timeout 20 --report "$work/r.json" "$@" "$work/spin" >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until grep -q memslot "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
	sleep 0.3
	kernel=$(awk '/^[0-9a-f]+-/ { size = 0 } /^Size:/ { size = $2 } size == 10240 || size == 16384 || size == 20480 {
		if (/^Rss:/) resident[size] += $2
		if (/^(AnonHugePages|ShmemPmdMapped):/) huge[size] += $2
		if (/^Shared_(Clean|Dirty):/) shared[size] += $2
	} END { for (i = split("10240 16384 20480", by); i; i--) printf "%d %d %d ", resident[by[i]], huge[by[i]], shared[by[i]] }' \
		"/proc/$pid/smaps")
	kill $pid
	wait $pid
	told=$(jq -r '.zones | sort_by(-.bytes) | map((.resident_bytes, .huge_bytes, .shared_bytes) / 1024) | map("\(.) ") | add' "$work/r.json")
	if [ "$kernel" = "$told" ] && [ "$told" != '0 0 0 0 0 0 0 0 0 ' ]; then
		pass "$name"
	else
		fail "$name" "resident, huge and shared KiB: '$told', and the kernel showed '$kernel': $(tail -n 1 "$work/err")"
	fi
}
shown resident_shown --memory-zone id=a,size=16M,prefault=on id=b,size=10M,prefault=on,backing=memfd id=c,size=20M --
shown resident_shown_4k --memory thp=off --memory-zone id=a,size=20M id=b,size=16M,backing=memfd id=c,size=10M,prefault=on --
# Frames are for those who may know them: CAP_SYS_ADMIN.
if [ $((16#$(sed -n 's/^CapEff:\s*//p' /proc/self/status) >> 21 & 1)) = 1 ]; then
	# shellcheck disable=SC2016 # the variable is jq's
	report frames_known '.memory.physical as $all | [.zones[] | .physical.runs * 4096 <= .resident_bytes and .physical.largest_run_bytes <= .resident_bytes
		and .physical.runs * .physical.largest_run_bytes >= .resident_bytes] == [true, true] and $all.runs == ([.zones[].physical.runs] | add)
		and $all.largest_run_bytes == ([.zones[].physical.largest_run_bytes] | max)' \
		--memory-zone id=a,size=32M,prefault=on id=b,size=16M,prefault=on,backing=memfd -- "$guests/exit.elf"
	slat_was=$slat slat=$work/less
	printf '#!/bin/sh\nexec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "%s" "$@"\n' "$slat_was" >"$slat" && chmod 755 "$slat"
	report frames_hidden '.memory.physical == null and .memory.resident_bytes == 67108864 and (.memory.bytes_by_node | add == 67108864) and .end.code == 1' \
		--memory size=64M,prefault=on "$guests/exit.elf"
	slat=$slat_was
else
	report frames_hidden '.memory.physical == null and .memory.resident_bytes == 67108864 and .end.code == 1' --memory size=64M,prefault=on "$guests/exit.elf"
fi
report zones_none '.zones == null' "$guests/exit.elf"
report zone_one_balloon '.end.code == 1 and .zones[0].id == "a"' --memory-zone id=a,size=64M --balloon size=0 "$guests/exit.elf"
# What goes back of each zone, and what is there of it while the guest holds it.
report zones_balloon '.devices[0].balloon | .returned_bytes == 33554432 and .absent_bytes == 0 and .absent_bytes_max == 16777216 and .refused == 0
	and .strays == 0' --memory-zone id=a,size=24M id=b,size=20M,backing=memfd id=c,size=20M --balloon size=0 "$guests/balloon.elf"
report zones_locked_balloon '.devices[0].balloon | .returned_bytes == 33554432 and .refused == 0' --memory mlock=on \
	--memory-zone id=a,size=24M id=b,size=20M,backing=memfd id=c,size=20M --balloon size=0 "$guests/balloon.elf"
# What came again lies by its zone's rule, by the kernel's own figures at the end: all that was touched before.
report zones_balloon_rule "(.zones | map(.elsewhere_bytes == 0 and .policy == \"bind\" and .bytes_by_node == {\"$first_node\": .bytes}) | all)
	and .devices[0].balloon.returned_bytes == 33554432" --strict --memory-zone "id=a,size=24M,prefault=on,host_numa_node=$first_node" \
	"id=b,size=40M,backing=memfd,prefault=on,host_numa_node=$first_node" --balloon size=0 "$guests/balloon.elf"
# shellcheck disable=SC2016 # $page is jq's
# Each zone has leaves of its own pages; the table's are their sum, in its file too.
report zones_leaves '(.zones | map(.page_bytes as $page | .bytes == (.leaves."4k" * 4096 + .leaves."2m" * 2097152) and
	(if $page == 4096 then .leaves."2m" == 0 else .leaves."4k" == 0 end)) | all) and .zones[1].page_bytes == 4096
	and .table.leaves."4k" == (.zones | map(.leaves."4k") | add) and .table.leaves."2m" == (.zones | map(.leaves."2m") | add)' \
	--dump-table "$work/table" --memory-zone id=a,size=32M id=b,size=16M,backing=memfd id=c,size=16M -- "$guests/exit.elf"
if needs_kvm zones_leaves_dump; then
	dumped=$("$slat" table --json "$work/table" | jq -c .leaves)
	if [ -n "$dumped" ] && [ "$dumped" = "$(jq -c .table.leaves "$work/r.json")" ]; then
		pass zones_leaves_dump
	else
		fail zones_leaves_dump "the file has '$dumped', the report $(jq -c .table.leaves "$work/r.json")"
	fi
fi
# A history lies where it was asked from.
report placed_pool '.memory.extents == 2 and .zones[0].bytes == 67108864 and .end.code == 1' \
	--memory size=64M,contiguous=prefer --pool size=96M,taken=40M+8M --placement "host_numa_node=$first_node" "$guests/exit.elf"
report numa_pool '.memory.extents == 2 and .end.code == 1' --memory size=64M,contiguous=prefer --pool size=96M,taken=40M+8M \
	--numa guest_numa_id=0 -- "$guests/exit.elf"
report lock '.end.code == 1' --memory size=64M,mlock=on,dontdump=on "$guests/exit.elf"

# --- the report on demand: SIGUSR1
begin() { # slat's options...: its number is in $pid, and the guest about to run
	: >"$work/err"
	"$slat" run "$@" >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until grep -q memslot "$work/err" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
}
# A report that came after the signal: $1, the milliseconds of the last one.
look() {
	kill -USR1 "$pid"
	for _ in $(seq 200); do
		now=$(jq -e .times_ms.to_report "$work/r.json" 2>/dev/null) && [ "$now" != "$1" ] && return 0
		sleep 0.02
	done
	return 1
}
# Name, expression of the report while the guest runs, its exit code, options...
looked() {
	local name=$1 expression=$2 code=$3 pid now=none tries=0

	shift 3
	needs_kvm "$name" || return
	printf '%100000s' '' >"$work/r.json" # longer than any
	begin --timeout 20 --report "$work/r.json" "$@"
	# On a busy host the guest may not have come to its first line yet.
	until { look "$now" && jq -e "$expression" "$work/r.json" >"$work/jq" 2>&1; } || [ $((tries += 1)) = 20 ]; do sleep 0.2; done
	if [ $tries -lt 20 ]; then
		pass "$name"
	else
		fail "$name" "not so: $expression: $(tr -d '\n' <"$work/jq") $(tail -n 1 "$work/err")"
	fi
	kill "$pid"
	wait "$pid"
	ended "${name}_end" "$code" '^slat: ended by signal 15' $?
	if jq -e '.end.how == "signal" and .times_ms.to_end > 0' "$work/r.json" >"$work/jq" 2>&1; then pass "${name}_last"; else fail "${name}_last" "$(cat "$work/jq")"; fi
}
looked look_running '.end == {"how": "running", "code": null} and .times_ms.to_end == null and .times_ms.to_report > .times_ms.to_first_instruction
	and .name == "one" and .exits.io > 0 and .table.leaves."4k" == 16384' 18 --memory size=64M,thp=off --name one "$guests/spin.elf"
looked look_memory '.memory | .resident_bytes > 0 and .huge_bytes <= .resident_bytes and .shared_bytes == 0 and (.bytes_by_node | add) == .resident_bytes
	and .resident_bytes_max >= .resident_bytes' 18 --memory size=64M "$guests/spin.elf"
looked look_zones '[.zones[] | [.resident_bytes, .shared_bytes, (.bytes_by_node | add), (.verified_by_node // {} | add)]][1:]
	== [[16777216, 0, 16777216, null], [8388608, 0, 8388608, 8388608]]' 18 \
	--memory-zone id=a,size=32M id=b,size=16M,backing=memfd,prefault=on "id=c,size=8M,prefault=on,host_numa_node=$first_node" -- "$guests/spin.elf"
looked look_devices '[.devices[] | [.kind, .virtio.broken, .dma.hits]] == [["iommu", 0, 0], ["rng", 0, 0], ["balloon", 0, 0]]
	and (.devices[2].balloon | .absent_bytes == 0 and .target_bytes == 8388608)' 18 --iommu --rng --balloon size=8M "$guests/spin.elf"
looked look_debugged '.end.how == "running" and .memory.resident_bytes > 0 and .exits == {}' 18 --gdb "unix:$work/look.gdb" --wait "$guests/spin.elf"

# While a guest takes its memory, each reader has one whole report, and none has less than the one before.
if needs_kvm look_grows; then
	rm -f "$work/r.json"
	begin --timeout 60 --memory size=128M,thp=off --report "$work/r.json" --cmdline touch=2 "$guests/memtest.elf"
	now=none
	: >"$work/grown"
	while look "$now"; do
		jq .memory.resident_bytes "$work/r.json" >>"$work/grown"
		if grep -q 'memtest: touched' "$work/out" || [ "$(wc -l <"$work/grown")" -gt 500 ]; then break; fi
	done
	look "$now" && jq .memory.resident_bytes "$work/r.json" >>"$work/grown"
	if [ "$(head -n 1 "$work/grown")" -lt "$(tail -n 1 "$work/grown")" ] && [ "$(tail -n 1 "$work/grown")" -gt 130000000 ] && sort -nc "$work/grown" 2>"$work/jq"; then
		pass look_grows
	else
		fail look_grows "resident: $(tr '\n' ' ' <"$work/grown") $(tail -n 1 "$work/err")"
	fi
	# What is whole stays, also where slat is killed.
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	if jq -e '.end.how == "running"' "$work/r.json" >"$work/jq" 2>&1; then pass look_killed; else fail look_killed "$(cat "$work/jq")"; fi
fi

# Where there is no file to write to, a line; as many signals as come.
told='^slat: of 64 MiB [0-9]+ [KM]iB are resident, [0-9]+ (bytes|[KM]iB) huge, 0 bytes shared; node [0-9]+: [^;]*; at most [0-9]+ [KM]iB, '
lines() { # name, lines at least and at most, options...
	local name=$1 least=$2 most=$3 count code

	shift 3
	needs_kvm "$name" || return
	begin --timeout 2 --memory size=64M "$@"
	for _ in $(seq 20); do
		kill -USR1 "$pid"
		sleep 0.04
	done
	wait "$pid"
	code=$?
	count=$(grep -cE "$told" "$work/err")
	if [ "$count" -ge "$least" ] && [ "$count" -le "$most" ]; then
		ended "$name" 16 '^slat: the guest ran longer' $code
	else
		fail "$name" "$count lines: $(tail -n 1 "$work/err")"
	fi
}
lines look_line 2 20 "$guests/spin.elf"
lines look_json 2 20 --json "$guests/spin.elf"
if needs_kvm look_json_last; then
	if jq -e '.end.how == "timeout"' "$work/out" >"$work/jq" 2>&1; then pass look_json_last; else fail look_json_last "$(cat "$work/jq")"; fi
fi
lines look_twenty 0 0 --report "$work/r.json" "$guests/spin.elf"
mkfifo "$work/fifo"
cat "$work/fifo" >"$work/piped" &
lines look_pipe 2 20 --report "$work/fifo" "$guests/spin.elf"
wait $!
if needs_kvm look_pipe_last; then
	if jq -es 'map(.end.how) == ["timeout"]' "$work/piped" >"$work/jq" 2>&1; then pass look_pipe_last; else fail look_pipe_last "$(cat "$work/jq")"; fi
fi
if needs_kvm numa_seen; then
	timeout -k 5 60 "$slat" run --cpus boot=3 --memory-zone id=a,size=64M id=b,size=32M \
		--numa guest_numa_id=0,cpus=0,2,memory_zones=a,distances=1@30 guest_numa_id=1,cpus=1,memory_zones=b "$guests/numa.elf" \
		>"$work/out" 2>"$work/err" </dev/null
	cat >"$work/wanted" <<-'END'
		numa: node 0 cpus 0,2 memory [0x0000000000,0x0004000000)
		numa: node 1 cpus 1 memory [0x0004000000,0x0006000000)
		numa: distance from 0: 10 30
		numa: distance from 1: 30 10
		numa: no HMAT
		numa: ok 2 nodes
	END
	if cmp -s "$work/out" "$work/wanted"; then pass numa_seen; else fail numa_seen "the guest saw: $(diff "$work/wanted" "$work/out" | grep -m 1 '^[<>]') $(tail -n 1 "$work/err")"; fi
fi

# --- devices: each refusal is one sentence, and nothing is left behind
expect disk_without_path 2 '^slat: --disk readonly=on: a path is missing' "$slat" run --disk readonly=on x
expect disk_unknown_key 2 "^slat: --disk: unknown key 'file'; the keys are: path, readonly, direct, serial, num_queues, iommu, packed$" "$slat" run --disk file=a x
expect iommu_absent 2 '^slat: --disk iommu=on: there is no IOMMU; give --iommu, too$' "$slat" run --disk path=a,iommu=on x
expect net_of_what 2 '^slat: --net mac=52:54:00:12:34:56: write tap=NAME or user, one of the two$' "$slat" run --net mac=52:54:00:12:34:56 x
# shellcheck disable=SC2046 # words
expect too_many_devices 2 'make 15 virtio devices; a guest has 14 at most$' "$slat" run --rng $(printf -- '--disk path=d %.0s' $(seq 14)) x
truncate -s 1M "$work/disk" && : >"$work/disk.empty" && head -c 700 /dev/zero >"$work/disk.odd"
rm -f "$work/r.json"
expect_kvm disk_missing 6 '^slat: --disk path=/nonexistent/d: No such file' \
	"$slat" run --report "$work/r.json" --rng --disk "path=$work/disk" --disk path=/nonexistent/d "$guests/exit.elf"
if [ -e "$work/r.json" ]; then fail disk_missing_left 'the report file was left'; else pass disk_missing_left; fi
expect_kvm disk_is_directory 6 "^slat: --disk path=/tmp" "$slat" run --disk path=/tmp "$guests/exit.elf"
expect_kvm disk_is_empty 6 "^slat: --disk path=$work/disk.empty is empty; give it a size" "$slat" run --disk "path=$work/disk.empty" "$guests/exit.elf"
expect_kvm disk_is_odd 6 "^slat: --disk path=$work/disk.odd has 700 bytes, and a disk has sectors of 512" \
	"$slat" run --disk "path=$work/disk.odd" "$guests/exit.elf"
if needs_kvm disk_locked; then
	timeout -k 5 60 "$slat" run --disk "path=$work/disk" "$work/spin" >/dev/null 2>"$work/spin.err" &
	pid=$!
	until grep -q memslot "$work/spin.err" || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
	expect disk_locked 6 "^slat: --disk path=$work/disk: another program has it open; end that one first" \
		"$slat" run --disk "path=$work/disk" "$guests/exit.elf"
	kill -TERM $pid
	wait $pid 2>/dev/null
	expect disk_free_again 1 'left with value 0' "$slat" run --disk "path=$work/disk" "$guests/exit.elf"
fi
# Twice in one run, under two names; a report in its place.
ln -f "$work/disk" "$work/disk.link"
expect_kvm disk_twice 2 "^slat: --disk path=$work/disk and --disk path=$work/disk.link are one disk; two can share it with readonly=on only$" \
	"$slat" run --disk "path=$work/disk" --disk "path=$work/disk.link,readonly=on" "$guests/exit.elf"
expect_kvm disk_twice_read 1 'left with value 0' \
	"$slat" run --disk "path=$work/disk,readonly=on" --disk "path=$work/disk.link,readonly=on" "$guests/exit.elf"
for option in --report --dump-table; do
	expect_kvm "disk_is_${option#--}" 2 "^slat: $option $work/disk.link and --disk path=$work/disk are one file" \
		"$slat" run --disk "path=$work/disk" "$option" "$work/disk.link" "$guests/exit.elf"
done
if [ "$(stat -c %s "$work/disk")" = 1048576 ]; then pass disk_unharmed; else fail disk_unharmed 'the disk was cut'; fi
# As many disks as a guest can have, with all the queues that a disk can have.
disks=()
for i in $(seq 14); do
	truncate -s 1M "$work/disk.$i"
	disks+=(--disk "path=$work/disk.$i,num_queues=16")
done
report report_most_disks '[.devices[] | select(.kind == "disk")] | length == 14' "${disks[@]}" "$guests/hello.elf"
expect_kvm balloon_too_large 2 '^slat: --balloon' "$slat" run --memory size=64M --balloon size=128M "$guests/exit.elf"
all_devices=(--iommu --disk "path=$work/disk" --console virtio --rng --balloon "size=4M,free_page_reporting=on")
report report_devices '[.devices[] | [.name, .kind, .slot, .behind_iommu]] == [["iommu", "iommu", 0, false], ["disk 0", "disk", 1, true],
	["console", "console", 2, true], ["rng", "rng", 3, true], ["balloon", "balloon", 4, false]]
	and ([.devices[].virtio | .status, .broken, .resets] | all(. == 0)) and (.blocks[0] | has("pinned_bytes_max") | not)' \
	"${all_devices[@]}" "$guests/exit.elf"
report report_no_devices '.devices == []' "$guests/exit.elf"
report report_pinned '.blocks[0].pinned_bytes_max >= 512' --disk "path=$work/disk" --cmdline rounds=1 "$guests/blk.elf"
report report_disk '.devices[0].disk | .locked and (.way == "io_uring") == (has("io_uring_error") | not)' \
	--disk "path=$work/disk" "$guests/exit.elf"
report report_pieces_devices '.blocks | length == 32256' \
	--memory size=126M,contiguous=scatter,extent_size=4K --rng "$guests/exit.elf"
# A register of each window answers, behind the last one nothing does: MOV EAX, [0xd0000000 + slot * 0x1000]; OUT 0xf4, AL.
flat window_last 'a1004000d0e6f4'
flat window_none 'a1005000d0e6f4'
expect_kvm device_window 237 'left with value 118' "$slat" run "${all_devices[@]}" "$work/window_last" # 'v' of "virt"
expect_kvm device_window_none 255 'left with value 255' "$slat" run "${all_devices[@]}" "$work/window_none"
# Keys go to the virtio console; there is no driver, so they wait, and nothing else does.
if needs_kvm console_keys_wait; then
	printf 'abc' | timeout -k 5 60 "$slat" run --console virtio --timeout 0.5 "$work/spin" >"$work/out" 2>"$work/err"
	ended console_keys_wait 16 'longer than --timeout' $?
fi

# --- a table in a file
expect table_no_such_file 4 '^slat: cannot open the table /nonexistent: No such file' "$slat" table /nonexistent
expect table_directory 4 '^slat: the table /tmp is not a regular file' "$slat" table /tmp
expect table_empty 4 '^slat: the table .*/empty is not a regular file with something in it' "$slat" table "$work/empty"
expect table_text 4 "^slat: $work/text: not a table that slat run --dump-table wrote: it does not begin as one" "$slat" table "$work/text"
expect_kvm dump_unwritable 6 '^slat: --dump-table /nonexistent/t: cannot be written: No such file' \
	"$slat" run --dump-table /nonexistent/t "$guests/exit.elf"
expect_kvm dump_full 6 '^slat: --dump-table /dev/full: the table cannot be written: No space left' "$slat" run --dump-table /dev/full "$guests/exit.elf"
# The table that fails takes no report with it that is whole.
rm -f "$work/r.json"
expect_kvm dump_full_report 6 '^slat: --dump-table /dev/full: the table cannot be written: No space left' \
	"$slat" run --report "$work/r.json" --dump-table /dev/full "$guests/exit.elf"
if needs_kvm dump_full_report_kept; then
	if jq -e '.end.code == 1' "$work/r.json" >"$work/jq" 2>&1; then pass dump_full_report_kept; else fail dump_full_report_kept "$(cat "$work/jq")"; fi
fi
rm -f "$work/r.json"
expect dump_is_report 2 "^slat: --report $work/r.json and --dump-table $work/./r.json are one file, and it can hold one of the two$" \
	"$slat" run --report "$work/r.json" --dump-table "$work/./r.json" "$guests/exit.elf"
if [ -e "$work/r.json" ]; then fail dump_is_report_left 'the file was left'; else pass dump_is_report_left; fi
echo kept >"$work/kept" && ln "$work/kept" "$work/kept.2"
expect dump_is_report_linked 2 "are one file, and it can hold one of the two$" \
	"$slat" run --report "$work/kept" --dump-table "$work/kept.2" "$guests/exit.elf"
if [ "$(cat "$work/kept")" = kept ]; then pass dump_is_report_kept; else fail dump_is_report_kept 'the file that was there is gone'; fi
rm -f "$work/t"
expect refused_leaves_no_dump 8 'there is no /nonexistent' \
	env SLAT_KVM=/nonexistent "$slat" run --dump-table "$work/t" "$guests/exit.elf"
if [ -e "$work/t" ]; then fail no_dump_left 'the file was left'; else pass no_dump_left; fi
dumped plain '.[1].bytes == 536870912 and .[1].runs[0].dirty >= 1 and .[1].runs[0].dirty < 16' "$guests/hello.elf"
dumped two_ranges '.[1].runs | length == 2 and .[1].gpa == 4294967296 and .[1].dirty == 0' --memory size=5G "$guests/exit.elf"
dumped cut '(.[1].runs | length == 4) and .[1].bytes == 67104768 and .[1].name == "cut" and .[1].runs[2].dirty == 0' \
	--name cut --memory size=64M --guard 16M+4K --ro 32M+4K "$guests/hello.elf"
if kvm_works; then
	expect table_text_form 0 "^cut: (EPT|NPT), $phys_bits address bits, root at hpa 0x[0-9a-f]+, 5 table pages: 0 leaves of 1G, 30 of 2M, 1023 of 4K map 65532 KiB$" \
		"$slat" table "$work/t"
	expect table_text_unknown 0 "^A: not known, KVM walks tables of its own; D: KVM's log of writes, where a page may be that was only read$" "$slat" table "$work/t"
	expect table_text_run 0 '^\[0x2000000, 0x2001000\) -> hpa 0x[0-9a-f]+  r-xu?  write-back  1 of 4K  A \?  D 0$' "$slat" table "$work/t"
	expect table_text_tree 0 '^        \[0x1001000, 0x1200000\) -> hpa 0x[0-9a-f]+  rwxu?  write-back  511 of 4K  A \?  D 0$' \
		"$slat" table --tables "$work/t"
	expect table_walk_leaf 0 '^gpa 0x100010 -> hpa 0x[0-9a-f]+00010  rwxu?  write-back$' "$slat" table --gpa 0x100010 "$work/t"
	expect table_walk_guard 0 '^gpa 0x1000000 is not mapped: absent at level 1$' "$slat" table --gpa 16M "$work/t"
	expect table_walk_step 0 '^  level 2: table at hpa 0x[0-9a-f]+, entry 0: 0x[0-9a-f]{16}: leaf of 2M: .*  A \?  D 1$' "$slat" table --gpa 1M "$work/t"
	expect table_walk_hole 0 '^\{"gpa": 4294967296, "steps": .*"index": 4, .*"kind": "absent"\}\], "hpa": null\}$' \
		"$slat" table --json --gpa 4G "$work/t"
	head -c 9000 "$work/t" >"$work/t.short"
	expect table_cut_short 4 "^slat: $work/t.short: cut short, or not the table that it says: 5 pages would be" "$slat" table "$work/t.short"
	cp "$work/t" "$work/t.bad" && printf '\0001' | dd of="$work/t.bad" bs=1 seek=9000 conv=notrunc status=none
	expect table_damaged 4 "^slat: $work/t.bad: the table is damaged: its sum is another$" "$slat" table "$work/t.bad"
	full table_full table "$work/t"
	full table_full_json table --json "$work/t"
	full table_full_walk table --gpa 1M "$work/t"
	# shellcheck disable=SC2016 # sh expands it
	expect table_reader_gone 0 '^0$' bash -c '{ sleep 0.2 && "$1" table "$2"; echo $? >&2; } | true' - "$slat" "$work/t"
fi
dumped scatter '.[1].runs | length == 16' --memory size=64M,contiguous=scatter,extent_size=4M "$guests/exit.elf"
dumped small_leaves '.[1].leaves."4k" == 16384 and ([.[1].runs[].dirty] | add) < 1024' --memory size=64M,thp=off "$guests/exit.elf"
dumped all_written '([.[1].runs[].dirty] | add) == .[1].leaves."2m"' --memory size=64M --cmdline passes=1 "$guests/memtest.elf"
dumped after_timeout '.[0].end.how == "timeout"' --memory size=16M --timeout 0.2 "$work/spin"
# What does not begin as a table is refused without reading it to its end, and so is what no table can be as large as.
if truncate -s 1T "$work/huge" 2>/dev/null; then
	expect table_huge_text 4 "^slat: $work/huge: not a table that slat run --dump-table wrote: it does not begin as one" "$slat" table "$work/huge"
	printf 'slattab\n' | dd of="$work/huge" conv=notrunc status=none
	expect table_huge 4 "^slat: the table $work/huge has 1099511627776 bytes; the largest has 17213423752$" "$slat" table "$work/huge"
	rm -f "$work/huge"
fi
# The file is emptied while its text is waited for, which is longer than a pipe holds: what was checked is what is told.
if needs_kvm table_emptied; then
	"$slat" run --memory size=2G,thp=off --dump-table "$work/t" "$guests/exit.elf" >/dev/null 2>&1 </dev/null
	"$slat" table --tables "$work/t" >"$work/t.text" 2>"$work/err"
	"$slat" table --tables "$work/t" 2>>"$work/err" | {
		head -c 1
		: >"$work/t"
		cat
	} >"$work/out"
	code=${PIPESTATUS[0]}
	if [ "$(wc -c <"$work/t.text")" -le 100000 ]; then
		fail table_emptied 'its text is too short to wait'
	elif [ "$code" = 0 ] && [ ! -s "$work/err" ] && cmp -s "$work/t.text" "$work/out"; then
		pass table_emptied
	else
		fail table_emptied "exit code $code: $(tail -n 1 "$work/err")"
	fi
fi
if needs_kvm table_closed_pipe; then
	"$slat" run --memory size=1G,thp=off --dump-table "$work/t" "$guests/exit.elf" >/dev/null 2>&1 </dev/null
	"$slat" table --tables "$work/t" 2>"$work/err" | head -n 1 >"$work/out"
	code=${PIPESTATUS[0]}
	if [ "$code" = 0 ] && [ ! -s "$work/err" ] && [ "$(wc -l <"$work/out")" = 1 ]; then
		pass table_closed_pipe
	else
		fail table_closed_pipe "exit code $code: $(tail -n 1 "$work/err")"
	fi
fi

# --- guests that mean harm
flat flood '66baf803b041eeebfd'
flat pit_storm 'b034e643b002e640b000e640ebfe'
# Another CPU's code goes to 0x8000; INIT and SIPI to all but this one.
start_others='c7050003e0fe00450c00c7050003e0fe08460c00'
flat two_ends "c70500800000b007e6f4${start_others}b005e6f4ebfe"
flat other_faults "c705008000000f011e00c70504800000000f0b00${start_others}ebfe"
flat init_storm "c70500800000ebfeebfe${start_others}ebea"
expect_kvm timer_storm 16 'longer than --timeout' "$slat" run --timeout 0.5 "$work/pit_storm"
expect_kvm init_storm 16 'longer than --timeout' "$slat" run --cpus boot=4 --timeout 0.5 "$work/init_storm"
if needs_kvm other_cpu_faults; then
	# 10: a host that interprets real mode does not get as far as the triple fault.
	timeout -k 5 60 "$slat" run --cpus boot=4 --timeout 20 "$work/other_faults" >"$work/out" 2>"$work/err" </dev/null
	code=$?
	if { [ $code = 12 ] && grep -q 'triple-faulted' "$work/err"; } || { [ $code = 10 ] && grep -q '^slat: KVM ' "$work/err"; }; then
		pass other_cpu_faults
	else
		fail other_cpu_faults "exit code $code: $(tail -n 1 "$work/err")"
	fi
fi
if needs_kvm two_ends; then
	wrong=
	for _ in $(seq 20); do
		timeout -k 5 60 "$slat" run --cpus boot=8 --timeout 20 "$work/two_ends" >"$work/out" 2>"$work/err" </dev/null
		code=$?
		[ $code = 11 ] || [ $code = 15 ] || wrong="exit code $code, neither 11 nor 15"
		! grep -qE "$complaints" "$work/err" || wrong=$(grep -m 1 -E "$complaints" "$work/err")
	done
	if [ -z "$wrong" ]; then pass two_ends; else fail two_ends "$wrong"; fi
fi
most=$("$slat" probe --json 2>/dev/null | jq '[.kvm.cpus_max, 255] | min')
report report_all_cpus ".cpus == ${most:-1}" --cpus "boot=${most:-1}" "$guests/exit.elf"

# --- whoever started it, and whoever reads
# A reader that has stopped: the pipe is held open, full, and never read.
mkfifo "$work/pipe"
exec 8<>"$work/pipe"
dd if=/dev/zero bs=4096 oflag=nonblock of="$work/pipe" 2>/dev/null
# shellcheck disable=SC2016 # sh expands it
expect_kvm stuck_reader_timeout 16 'longer than --timeout' \
	sh -c '"$1" run --timeout 0.5 "$2" >"$3"' - "$slat" "$work/flood" "$work/pipe"
# In the background and sent a signal once it runs: name, what the last line says, code, signals, command...
signalled() {
	local name=$1 sentence=$2 code=$3 signals=$4 pid got
	shift 4
	needs_kvm "$name" || return
	"$@" 2>"$work/err" </dev/null &
	pid=$!
	until grep -q memslot "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
	sleep 0.3
	for signal in $signals; do kill "-$signal" $pid; done
	for _ in $(seq 200); do
		kill -0 $pid 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	got=$?
	if [ $got = "$code" ] && grep -q "$sentence" "$work/err"; then
		pass "$name"
	else
		fail "$name" "exit code $got, not $code: $(tail -n 1 "$work/err")"
	fi
}
# shellcheck disable=SC2016 # sh expands it
signalled stuck_reader_signal 'ended by signal 15' 18 TERM \
	sh -c 'exec "$1" run "$2" >"$3"' - "$slat" "$work/flood" "$work/pipe"
signalled console_resized 'ended by signal 15 ' 18 'WINCH WINCH TERM' "$slat" run --console virtio "$work/spin"
signalled hangup 'ended by signal 1 ' 18 HUP "$slat" run "$work/spin"
# shellcheck disable=SC2016 # sh expands it
signalled nohup 'ended by signal 15' 18 'HUP TERM' sh -c 'trap "" HUP; exec "$1" run "$2"' - "$slat" "$work/spin"
exec 8>&-
if needs_kvm slow_reader; then
	flat many 'b9204e000066baf803b041eee2fdb000e6f4'
	got=$(timeout -k 5 60 "$slat" run "$work/many" 2>/dev/null </dev/null | {
		sleep 0.5
		wc -c
	})
	if [ "$got" = 20000 ]; then pass slow_reader; else fail slow_reader "$got of 20000 bytes came"; fi
fi
closed() { # name, redirections
	needs_kvm "$1" || return
	rm -f "$work/r.json"
	timeout -k 5 60 sh -c "exec \"\$@\" $2" - "$slat" run --report "$work/r.json" "$guests/hello.elf" >/dev/null 2>&1
	if jq -e '.end.code == 1' "$work/r.json" >"$work/jq" 2>&1 && [ "$(head -c 1 "$work/r.json" | tr '\0' '?')" = '{' ]; then
		pass "$1"
	else
		fail "$1" "other output is in the report: $(head -c 200 "$work/jq")"
	fi
}
closed closed_descriptors '<&- >&- 2>&-'
closed closed_stdout_descriptor '>&-'
if needs_kvm lost_stderr; then
	rm -f "$work/r.json"
	{
		sleep 0.3 # the reader has gone by then
		timeout -k 5 60 "$slat" run --report "$work/r.json" "$guests/exit.elf" >/dev/null </dev/null
	} 2>&1 | true
	if [ -s "$work/r.json" ] && jq -e '.end.code == 1' "$work/r.json" >/dev/null 2>&1; then pass lost_stderr; else fail lost_stderr 'no whole report'; fi
fi
expect image_is_a_pipe 4 'pipe is not a regular file' "$slat" run "$work/pipe"
! needs_kvm json_full || full json_full run --json "$guests/exit.elf"
expect_kvm report_full 6 '^slat: --report /dev/full: the report cannot be written: No space left' "$slat" run --report /dev/full "$guests/exit.elf"
cp "$guests/exit.elf" "$work/"$'caf\xe9'
report report_foreign_path '.image.path | endswith("/caf?")' "$work/"$'caf\xe9'
if needs_kvm report_into_pipe; then
	jq .end.code "$work/pipe" >"$work/jq" &
	timeout -k 5 60 "$slat" run --report "$work/pipe" "$guests/exit.elf" >/dev/null 2>"$work/err" </dev/null
	wait $!
	if [ "$(cat "$work/jq")" = 1 ]; then pass report_into_pipe; else fail report_into_pipe "$(cat "$work/jq")"; fi
fi

# --- the host fails: each system call, once. Counted a thread, as strace does.
# What a run makes is judged in the order of its calls, so the vCPU's own come late: `level` leaves the guest often first.
flat level 'b94000000066baff03eee2fdbb0000c0fec70318000000c7431031800000b000e6f4'
needs_faults() {
	needs_kvm "$1" || return 1
	if readelf -d "$slat" | grep -q 'lib[atu][a-z]*san'; then
		echo "SKIP cli/$1: a sanitizer does not take this from strace"
	elif ! strace -o /dev/null true 2>/dev/null; then
		echo "SKIP cli/$1: strace cannot trace here"
	else
		return 0
	fi
	return 1
}
run_traced() { # strace's options, then ... -- more options of slat run
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	rm -f "$work/r.json"
	timeout -k 5 60 strace -f -o "$work/trace" "${options[@]}" "$slat" run --cpus boot=2 --memory size=16M --timeout 20 \
		--report "$work/r.json" "$@" "$work/level" >"$work/out" 2>"$work/err" </dev/null
}
# Which of its thread's calls of a name is the first that comes after, or has, some text.
call_number() { # name, text
	awk -v name="$1(" -v text="$2" '
		index($2, name) == 1 { n[$1]++ }
		index($0, text) { found = 1 }
		found && index($2, name) == 1 { print n[$1]; exit }' "$work/trace"
}
# All calls of a name by the main thread from its image on: whatever fails, either the guest still ends as it does, or one
# sentence and a code of slat's own tell, and no report is left unless the guest ran.
every() { # name, error, more options of slat run...
	local name=fault_$1_$2${3:+_devices} first count i code options=("${@:3}") wrong=
	needs_faults "$name" || return
	run_traced -e "trace=openat,$1" -- "${options[@]}"
	first=$(call_number "$1" "\"$work/level\"")
	count=$(awk -v name="$1(" 'NR == 1 { main = $1 } $1 == main && index($2, name) == 1 { n++ } END { print n + 0 }' "$work/trace")
	[ "$count" != 0 ] || wrong="the trace has no $1"
	for ((i = ${first:-1}; i <= count && i < 64; i++)); do
		run_traced -e "trace=$1" -e "inject=$1:error=$2:when=$i" -- "${options[@]}"
		code=$?
		case $code in
		1) ;;
		4 | 6 | 8) [ ! -e "$work/r.json" ] || wrong="call $i: a report was left" ;;
		10) grep -q '^slat: KVM' "$work/err" || wrong="call $i: no sentence" ;;
		*) wrong="call $i: exit code $code" ;;
		esac
		[ $code = 1 ] || [ $code = 10 ] || tail -n 1 "$work/err" | grep -q '^slat: .' || wrong="call $i: no sentence"
		! grep -qE "$complaints" "$work/err" || wrong="call $i: $(grep -m 1 -E "$complaints" "$work/err")"
	done
	if [ -z "$wrong" ]; then pass "$name"; else fail "$name" "$wrong"; fi
}
if needs_faults fault_own_memory; then
	run_traced -e trace=mmap --
	run_traced -e trace=mmap -e "inject=mmap:error=ENOMEM:when=$(call_number mmap MAP_NORESERVE)" --
	ended fault_own_memory 6 '^slat: the host cannot map 128 MiB of address space for slat itself: Cannot allocate' $?
fi
every ioctl ENOMEM
every mmap ENOMEM
every openat EMFILE
every madvise ENOMEM
every ftruncate EIO
every eventfd2 EMFILE
every signalfd4 EMFILE
every clone3 EAGAIN
every ioctl ENOMEM "${all_devices[@]}"
every eventfd2 EMFILE "${all_devices[@]}"
every mmap ENOMEM "${all_devices[@]}"
every clone3 EAGAIN "${all_devices[@]}"
# The image is cut short after slat has mapped it and before it is loaded: KVM's first ioctl comes between.
if needs_faults fault_image_cut; then
	cp "$guests/exit.elf" "$work/cut.elf"
	timeout -k 5 60 strace -o /dev/null -e trace=ioctl -e inject=ioctl:delay_exit=2000000:when=1 \
		"$slat" run --memory size=16M "$work/cut.elf" >"$work/out" 2>"$work/err" </dev/null &
	sleep 1
	: >"$work/cut.elf"
	wait $!
	ended fault_image_cut 6 '^slat: mapped memory is gone' $?
fi
# A table's file that ends early, or has grown, while it is read: name, what read() gives, sentence.
fault_table() {
	needs_faults "$1" || return
	timeout -k 5 60 strace -o /dev/null -P "$work/t" -e trace=read -e "inject=read:$2" "$slat" table "$work/t" >"$work/out" 2>"$work/err"
	ended "$1" 6 "$3" $?
}
if kvm_works; then "$slat" run --memory size=16M --dump-table "$work/t" "$guests/exit.elf" >/dev/null 2>&1 </dev/null; fi
fault_table fault_table_cut retval=0:when=1 "^slat: the table $work/t was cut short while it was read$"
fault_table fault_table_grew retval=1:when=2 "^slat: the table $work/t grew while it was read$"
fault_table fault_table_read error=EIO:when=1 "^slat: cannot read the table $work/t: Input/output error$"
if needs_faults fault_routes; then
	run_traced -e trace=ioctl --
	run_traced -e trace=ioctl -e "inject=ioctl:error=ENOMEM:when=$(call_number ioctl KVM_SET_GSI_ROUTING)" --
	ended fault_routes 10 '^slat: KVM refused a table of 1 interrupt routes: Cannot allocate' $?
fi
# A signal while it starts: the report tells it, or is not left.
if needs_faults signal_at_start; then
	run_traced -e trace=eventfd2 -e inject=eventfd2:signal=TERM --
	code=$?
	if [ $code = 18 ] && [ -s "$work/r.json" ] && jq -e '.end.how == "signal"' "$work/r.json" >/dev/null 2>&1; then
		pass signal_at_start
	else
		fail signal_at_start "exit code $code: $(tail -n 1 "$work/err")"
	fi
	run_traced -e trace=sysinfo -e inject=sysinfo:signal=TERM:when=1 -- --memory prefault=on
	code=$?
	if [ $code = 18 ] && [ ! -e "$work/r.json" ] && grep -q '^slat: ended by a signal before' "$work/err"; then
		pass signal_at_prefault
	else
		fail signal_at_prefault "exit code $code: $(tail -n 1 "$work/err")"
	fi
fi

# --- privilege: what is left of it while a guest runs, in every thread
# name, value of Seccomp, options: the run's threads, of which the kernel's own (KVM has one) and a sanitizer's do not count.
stepped_down() {
	local name=sandbox_$1 pid lines
	needs_kvm "$name" || return
	if [ "$2" = 2 ] && is_sanitized; then
		echo "SKIP cli/$name: a sanitizer's build has no filter"
		return
	fi
	timeout -k 5 60 "$slat" run --timeout 30 --cpus boot=3 "${@:3}" "$work/spin" >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until grep -qx 'cpu 0' /proc/"$(pgrep -P $pid)"/task/*/comm 2>/dev/null || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
	lines=$(cat /proc/"$(pgrep -P $pid)"/task/*/status 2>/dev/null | awk '
		$1 == "Name:" { ours = !/kvm-|vhost-|iou-/ }
		ours && /^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Seccomp):/ { line = line $1 $2 " " }
		$1 == "Seccomp:" { if (ours) print line; line = "" }' | sort | uniq -c)
	pkill -INT -P $pid
	wait $pid
	if [[ $lines =~ ^\ +4\ CapInh:0+\ CapPrm:0+\ CapEff:0+\ CapAmb:0+\ NoNewPrivs:1\ Seccomp:$2\ $ ]] ||
		{ is_sanitized && [[ $lines =~ [4-9]\ CapInh:0+\ CapPrm:0+\ CapEff:0+\ CapAmb:0+\ NoNewPrivs:1 ]]; }; then
		pass "$name"
	else
		fail "$name" "the threads are: $(tr -s ' \n' ' ' <<<"$lines") $(tail -n 1 "$work/err")"
	fi
}
stepped_down on 2
stepped_down off 0 --sandbox off
expect sandbox_value 2 '^slat: --sandbox yes: the value is on or off$' "$slat" run --sandbox yes x
# A kernel without filters: refused, and nothing is left of it; off runs.
for sandbox in on off; do
	needs_faults sandbox_refused_$sandbox || continue
	run_traced -e trace=seccomp -e inject=seccomp:error=EINVAL -- --sandbox $sandbox
	code=$?
	case $sandbox in
	on)
		ended sandbox_refused_on 6 "^slat: this host's kernel takes no filter .*: Invalid argument; --sandbox off runs" $code
		if [ -e "$work/r.json" ]; then fail sandbox_refused_left 'a report was left'; else pass sandbox_refused_left; fi
		;;
	off) ended sandbox_refused_off 1 'left with value' $code ;;
	esac
done
# Killed: what it made for the run goes all the same.
if needs_kvm sandbox_killed; then
	rm -f "$work/socket" "$work/r.json"
	"$slat" run --gdb "unix:$work/socket" --report "$work/r.json" "$work/spin" >"$work/out" 2>"$work/err" </dev/null &
	pid=$!
	until [ "$(cat /proc/$pid/task/*/comm 2>/dev/null | grep -cx 'cpu 0')" = 1 ] || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
	[ -S "$work/socket" ] && [ -e "$work/r.json" ] || echo 'they were never there' >>"$work/err"
	kill -KILL $pid
	wait $pid 2>/dev/null
	for ((i = 0; i < 100; i++)); do
		[ -e "$work/socket" ] || [ -e "$work/r.json" ] || break
		sleep 0.05
	done
	if [ $i = 100 ] || grep -q 'never there' "$work/err"; then
		fail sandbox_killed "socket or report: $(find "$work" -name socket -o -name r.json) $(tail -n 1 "$work/err")"
	else
		pass sandbox_killed
	fi
fi

# --- libc's heap: not one call from the first guest instruction to the last
counter=$PWD/$BUILD/tests/heap_count.so
needs_counter() {
	needs_kvm "$1" || return 1
	readelf -d "$slat" | grep -q 'lib[atu][a-z]*san' || return 0
	echo "SKIP cli/$1: a sanitizer has a heap of its own"
	return 1
}
counted() { # timeout's options and seconds, command...: sets calls, before, returns and code
	local limit=$1
	shift
	rm -f "$work/heap"
	# shellcheck disable=SC2086 # words
	timeout $limit env HEAP_COUNT="$work/heap" LD_PRELOAD="$counter" "$@" >"$work/out" 2>"$work/err"
	code=$?
	calls=none before=0 returns=0
	[ ! -s "$work/heap" ] || read -r calls before returns <"$work/heap"
}
no_heap() { # name, code wanted, exits to slat at least, command...
	local name=no_heap_$1
	needs_counter "$name" || return
	counted '-k 5 60' "${@:4}" </dev/null
	if [ "$calls" != 0 ]; then
		fail "$name" "$calls calls of libc's heap while the guest ran"
	elif [ $code != "$2" ] || [ "$returns" -lt "$3" ]; then
		fail "$name" "exit code $code, not $2, or $returns exits, not $3: $(tail -n 1 "$work/err")"
	else
		pass "$name"
	fi
}
# The counter sees: calls before the guest (each thread is one), and those that it makes itself at each exit.
if needs_counter heap_counter_sees; then
	HEAP_COUNT_SPOIL=1 counted '-k 5 60' "$slat" run --cpus boot=2 "$guests/hello.elf" </dev/null
	if [ "$before" -ge 2 ] && [ "$returns" -ge 10 ] && [ "$calls" != none ] && [ "$calls" -ge "$returns" ]; then
		pass heap_counter_sees
	else
		fail heap_counter_sees "$calls calls and $before before them, in $returns exits, each of which made two"
	fi
fi
no_heap hello 1 100 "$slat" run "$guests/hello.elf"
no_heap hello_pvh 1 100 "$slat" run --cmdline 'one two' --initramfs LICENSE "$guests/hello_pvh.elf"
no_heap memtest 1 50 "$slat" run --memory size=64M --cmdline limit=1M "$guests/memtest.elf"
no_heap smp 1 20 "$slat" run --cpus boot=4 "$guests/smp.elf"
no_heap many_cpus 1 100 "$slat" run --cpus "boot=$((${most:-1} < 64 ? ${most:-1} : 64))" "$guests/hello.elf"
no_heap hostile 1 2500 "$slat" run "$guests/hostile.elf"
no_heap hostile_traced 1 2500 "$slat" run --trace exits "$guests/hostile.elf"
no_heap hole 1 20 "$slat" run --memory size=128M "$guests/hole.elf"
no_heap trap 5 100 "$slat" run "$guests/trap.elf"
no_heap trap_panic 7 10 "$slat" run --cmdline case=4 "$guests/trap.elf"
no_heap guard 20 10 "$slat" run --guard 16M+4K "$guests/guard.elf"
no_heap guard_found 20 10 "$slat" run --guard 16M+4K --cmdline case=7 "$guests/guard.elf"
no_heap guard_report 1 10 "$slat" run --guard 16M+4K --on-fault report --cmdline case=9 "$guests/guard.elf"
no_heap fault_flood 16 1000 "$slat" run --guard 16M+4K --on-fault report --timeout 0.5 "$work/fault_flood"
no_heap triple_fault 12 10 "$slat" run "$guests/triple_fault.elf"
no_heap power_off 0 1 "$slat" run "$work/s5"
no_heap panic 14 1 "$slat" run "$work/panic"
no_heap reset 12 1 "$slat" run "$work/kbd"
no_heap level 1 3 "$slat" run --cpus boot=2 "$work/level"
no_heap internal_error 10 1 "$slat" run "$work/jump"
no_heap timers 16 4 "$slat" run --timeout 0.5 "$work/pit_storm"
no_heap flood 16 100 "$slat" run --timeout 0.5 "$work/flood"
no_heap init_storm 16 1 "$slat" run --cpus boot=4 --timeout 0.5 "$work/init_storm"
no_heap dump 1 100 "$slat" run --dump-table "$work/t" "$guests/hello.elf"
no_heap devices 1 100 "$slat" run "${all_devices[@]}" "$guests/hello.elf"
no_heap report 1 100 "$slat" run --report "$work/r.json" --json "$guests/hello.elf"
if needs_counter no_heap_input; then
	counted '-k 5 60' "$slat" run "$work/echo" < <(printf A)
	if [ "$calls" = 0 ] && [ $code = 131 ]; then pass no_heap_input; else fail no_heap_input "exit code $code, $calls calls"; fi
fi
if needs_counter no_heap_signal; then
	counted '-s TERM 0.5' "$slat" run "$work/spin" </dev/null
	if [ "$calls" = 0 ] && [ "$code" = 124 ] && grep -q 'ended by signal' "$work/err"; then pass no_heap_signal; else fail no_heap_signal "exit code $code, $calls calls"; fi
fi

# Stopped, looked at, stepped, watched: by a debugger that comes while it waits.
if needs_counter no_heap_gdb; then
	rm -f "$work/gdb"
	{
		until [ -e "$work/gdb" ]; do sleep 0.02; done
		timeout -k 5 50 gdb -nx -batch -ex "target remote $work/gdb" -ex 'break guest_main' -ex continue -ex backtrace -ex stepi \
			-ex 'watch boot_info.rsdp' -ex next -ex 'monitor table 0x100000' -ex delete -ex continue "$guests/hello.elf64"
	} >"$work/gdb.out" 2>&1 </dev/null &
	counted '-k 5 60' "$slat" run --gdb "unix:$work/gdb" --wait "$guests/hello.elf" </dev/null
	wait $!
	if [ "$calls" = 0 ] && [ $code = 1 ] && grep -q 'Breakpoint 1, guest_main' "$work/gdb.out"; then
		pass no_heap_gdb
	else
		fail no_heap_gdb "exit code $code, $calls calls: $(tail -n 1 "$work/gdb.out")"
	fi
fi

# --- a debugger
tests/gdb.sh || failures=1

# --- probe
if kvm_works; then code=0; else code=8; fi
expect probe $code '^KVM ' "$slat" probe
for topic in KVM CPUs memory 'huge pages' device-dax limits; do
	grep -q "^$topic  " "$work/out" || echo "no line of $topic"
done >"$work/topics"
if [ ! -s "$work/topics" ] && [ "$(grep -c '^  slat would   [a-z]' "$work/out")" = 7 ]; then
	pass probe_topics
else
	fail probe_topics "$(head -n 1 "$work/topics") $(grep -c '^  slat would' "$work/out") of 7 lines of what slat would do"
fi
"$slat" probe --json >"$work/out" 2>/dev/null
if jq -e '.kvm.module and .memory.nodes and (.table.format == "ept" or .table.format == "npt") and
	(.slat_would | length == 7 and all(length > 0)) and (.limits | has("lock_bytes")) and
	(.nodes | length) as $n | .distances | length == $n and all(length == $n)' "$work/out" >/dev/null; then
	pass probe_json
else
	fail probe_json 'not the JSON that it should be'
fi
# What the kernel says of nodes and CPUs, read without slat.
ids() { tr ',' '\n' <"$1" | awk -F- 'NF { for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i }' | jq -cs .; }
if [ ! -r /sys/devices/system/node/online ]; then
	echo 'SKIP cli/probe_nodes: this kernel shows no nodes'
else
	for node in $(ids /sys/devices/system/node/online | jq '.[]'); do
		at=/sys/devices/system/node/node$node
		kib=$(awk '/MemTotal/ { print $4 }' "$at/meminfo")
		jq -e --argjson id "$node" --argjson cpus "$(ids "$at/cpulist")" --argjson bytes $((kib * 1024)) \
			'.nodes | map(select(.id == $id)) | length == 1 and .[0].cpus == $cpus and .[0].bytes == $bytes' \
			"$work/out" >/dev/null || echo "node $node"
	done >"$work/nodes"
	if [ -s "$work/nodes" ]; then
		fail probe_nodes "not what the kernel has: $(head -n 1 "$work/nodes")"
	else
		pass probe_nodes
	fi
fi
# A pair of nodes takes half a second, on an idle machine; memory is between 5 ns and 50 us away.
timeout -k 5 120 "$slat" probe --latency --json >"$work/out" 2>/dev/null
if jq -e '.latencies | .source == "measured" and ([.ps[][] | values] | all(. > 5000 and . < 50000000))' \
	"$work/out" >/dev/null; then
	pass probe_latency
else
	fail probe_latency "$(jq -c .latencies "$work/out" 2>&1)"
fi
(
	ulimit -l 2048
	"${as_nobody[@]}" "$work/slat" probe --json 2>/dev/null
) >"$work/out" </dev/null
if [ "$(id -u)" != 0 ]; then
	echo 'SKIP cli/probe_lock_limit: only root can be somebody else'
elif jq -e '.limits.lock_bytes == 2097152 and (.slat_would.limits | contains("lock guests of up to 2 MiB"))' "$work/out" >/dev/null; then
	pass probe_lock_limit
else
	fail probe_lock_limit "$(jq -c .limits "$work/out" 2>&1)"
fi
full probe_full probe
full probe_full_json probe --json
expect probe_no_kvm 8 'there is no /nonexistent' env SLAT_KVM=/nonexistent "$slat" probe

# --- pack
trace=tests/packing/azure_v1_dev.csv
expect pack_help 0 '^slat pack \[options\] TRACE' "$slat" pack --help
expect pack_no_trace 2 '^slat: no trace to play' "$slat" pack
expect pack_two_traces 2 '^slat: two traces: a and b' "$slat" pack a b
expect pack_option 2 '^slat: unknown option --x;' "$slat" pack --x
expect pack_no_value 2 '^slat: --fit needs a value' "$slat" pack --fit
expect pack_a_value 2 '^slat: --json has no value' "$slat" pack --json=1
expect pack_fit 2 '^slat: --fit: frob is none of first, best, worst, next, buddy, segregated, scatter$' "$slat" pack --fit=frob x
expect pack_choose 2 '^slat: --choose: x is none of first, best, worst, global, random, dot, two$' "$slat" pack --choose x x
expect pack_node 2 '^slat: --node: x is none of local, pack, spread, interleave, contract, first, balance$' "$slat" pack --node x x
expect pack_contract 2 '^slat: --node contract needs --latency' "$slat" pack --node contract --host memory=1T x
expect pack_latency 2 '^slat: --latency: --host needs local= and remote=' "$slat" pack --latency 100ns --host nodes=2,memory=1T x
expect pack_hosts 2 '^slat: --hosts: 0 is no whole number from 1 to 1048576$' "$slat" pack --hosts 0 x
expect pack_hosts_alone 2 '^slat: --hosts 3: --host memory=SIZE says what each' "$slat" pack --hosts 3 x
expect pack_hosts_last 2 '^slat: --hosts 4: no --host behind it' "$slat" pack --host memory=1T --hosts 4 x
expect pack_host_key 2 '^slat: --host: memroy is none of nodes=, cpus=, memory=' "$slat" pack --host memroy=1T x
expect pack_host_memory 2 '^slat: --host: it needs memory=SIZE' "$slat" pack --host nodes=2 x
expect pack_host_nodes 2 '^slat: --host nodes=: 65 is no whole number from 1 to 64$' "$slat" pack --host nodes=65,memory=1T x
expect pack_host_small 2 '^slat: --host: 2 MiB over 2 nodes is less than a granule of 2 MiB each' "$slat" pack --host nodes=2,memory=2M x
expect pack_host_reserve 2 '^slat: --host reserve=2 GiB of memory=1 GiB: nothing is left' "$slat" pack --host memory=1G,reserve=2G x
expect pack_unbounded 2 '^slat: unbounded memory is for one host' "$slat" pack --hosts 2 --host memory=unbounded $trace
expect pack_host_huge 2 '^slat: --host huge=1 GiB of memory=3 GiB, less reserve=2 GiB: nothing is left for other guests$' \
	"$slat" pack --host memory=3G,huge=1G,reserve=2G --huge-above 1G x
expect pack_host_huge_small 2 '^slat: --host huge=1 GiB over 3 nodes is less than a granule of 512 MiB each' \
	"$slat" pack --host memory=3G,huge=1G,nodes=3 --granule 512M --huge-above 1G x
expect pack_unbounded_huge 2 '^slat: --host huge=1 GiB: of unbounded memory no part' "$slat" pack --host memory=unbounded,huge=1G --huge-above 1G x
expect pack_huge_alone 2 '^slat: --host huge=SIZE and --huge-above SIZE, .* need each other$' "$slat" pack --host memory=3G,huge=1G x
expect pack_huge_above_alone 2 '^slat: --host huge=SIZE and --huge-above SIZE, .* need each other$' "$slat" pack --host memory=3G --huge-above 1G x
expect pack_huge_largest 4 '^slat: .*dev\.csv, line 2: guest "0" asks for 14 GiB of huge pages; the largest host has 1 GiB$' \
	"$slat" pack --host memory=300G,huge=1G --huge-above 1G $trace
expect pack_lifetimes 2 '^slat: --lifetimes: x is none of unknown, known$' "$slat" pack --lifetimes x x
expect pack_lifetimes_stdin 2 '^slat: --lifetimes known: standard input has no column life_s, and is no file' \
	sh -c "'$slat' pack --lifetimes known - <$trace"
expect pack_balance_choose 2 '^slat: --node balance chooses the host, too: it goes without --choose best$' "$slat" pack --node balance --choose best x
expect pack_overcommit 2 '^slat: --overcommit: 100 is no whole number from 0 to 99$' "$slat" pack --overcommit 100 x
expect pack_compact 2 '^slat: --compact continuous and --compact-budget SIZE, of bytes a second, need each' "$slat" pack --compact continuous $trace
expect pack_compact_what 2 '^slat: --compact refused: only with --contiguous require' "$slat" pack --compact refused --contiguous prefer $trace
expect pack_split_above 2 '^slat: --split-above 1 MiB is less than the granule of 2 MiB' "$slat" pack --split-above 1M $trace
expect pack_compact_budget 2 '^slat: --compact-budget 1 MiB a second is less than the granule of 2 MiB' "$slat" pack --compact continuous --compact-budget 1M $trace
expect pack_moved 0 '^moved  +[0-9]+ guests' "$slat" pack --compact refused --fit worst --hosts 3 --host memory=256G $trace
printf '%s\n' time_s,event,vm_id,mem_gib 0,arrive,a,12 1,arrive,b,2 2,arrive,c,2 5,depart,b, 9,depart,a, >"$work/hopeless.csv"
expect pack_wait_hopeless 0 '^accepted +2, 2048 units of 2 MiB$' "$slat" pack --host nodes=2,memory=16G --on-refuse wait "$work/hopeless.csv"
# A guest between two holes, both shorter than it, cannot be moved: it would have to slide.
printf '%s\n' time_s,event,vm_id,size 0,arrive,x,2 0,arrive,a,6 0,arrive,y,2 10,depart,x, 11,depart,y, 20,arrive,n,4 30,depart,n, >"$work/slide.csv"
expect pack_no_slide 0 '^  \.\.\. and the holes +1, [0-9]+ units$' "$slat" pack --granule 1 --host memory=10 --compact refused "$work/slide.csv"
expect pack_no_slide_continuous 0 '^  \.\.\. and the holes +1, [0-9]+ units$' \
	"$slat" pack --granule 1 --host memory=10 --compact continuous --compact-budget 1000 "$work/slide.csv"
# CPUs that are no limit are not used by a share.
for cpus in '' ,cpus=64; do
	"$slat" pack --hosts 3 --host "memory=256G$cpus" $trace >"$work/out" 2>"$work/err"
	lines=$(grep -c '^CPUs used ' "$work/out")
	share=$("$slat" pack --json --hosts 3 --host "memory=256G$cpus" $trace 2>>"$work/err" | jq '.cpu_mean_ppm != null')
	if [ "$lines $share" = "$([ "$cpus" ] && echo 1 true || echo 0 false)" ]; then
		pass "pack_cpus_used$cpus"
	else
		fail "pack_cpus_used$cpus" "$lines lines, $share: $(tail -n 1 "$work/err")"
	fi
done
expect pack_format 2 '^slat: --format: x is none of slat, azure-v1' "$slat" pack --format x x
expect pack_machine 2 '^slat: --format azure-packing-2020 has shares of a machine' "$slat" pack --format azure-packing-2020 x
# A guest larger than any host is a bad line of the trace, of memory as of CPUs; of a workload its number is all there is.
expect pack_too_big 4 '^slat: .*dev\.csv, line 2: guest "0" asks for 14 GiB; the largest host has 1 GiB$' "$slat" pack --host memory=1G $trace
printf '%s\n' time_s,event,vm_id,cpu,mem_mib 0,arrive,a,99,1024 1,arrive,b,1,1024 2,arrive,c,1.5,2000000 9,depart,a,, 10,depart,b,, 11,depart,c,, \
	12,arrive,a,4,1 13,depart,a,, >"$work/big.csv"
expect pack_too_many_cpus 4 '^slat: .*big\.csv, line 2: guest "a" asks for 99 CPUs; the largest host has 4$' "$slat" pack --host cpus=4,memory=16G "$work/big.csv"
expect pack_skip_large 0 '^guests  +2 over .* s; 2 bad lines passed over$' "$slat" pack --skip-bad --host cpus=4,memory=16G --on-refuse wait "$work/big.csv"
expect pack_skip_large_json 0 '^    "larger than any host": 2$' "$slat" pack --json --skip-bad --host cpus=4,memory=16G "$work/big.csv"
expect pack_large_not_played 0 '^guests  +1 over' "$slat" pack --from 1 --count 1 --host cpus=4,memory=16G "$work/big.csv"
expect pack_skip_large_kept 0 '^guests  +2 over' "$slat" pack --skip-bad --host cpus=4,memory=16G --save-trace "$work/large.csv" "$work/big.csv"
expect pack_large_kept 0 '^guests  +4 over' "$slat" pack --host memory=2T "$work/large.csv"
expect pack_too_big_lives 4 '^slat: .*minimalloc\.csv, line [0-9]+: guest "[^"]+" asks for .*; the largest host has 1 bytes$' \
	"$slat" pack --format minimalloc --granule 1 --host memory=1 tests/packing/minimalloc.csv
expect pack_skip_large_lives 0 '^accepted +0, 0 units of 1 bytes$' \
	"$slat" pack --skip-bad --format minimalloc --granule 1 --host memory=1 tests/packing/minimalloc.csv
expect pack_too_big_made 4 '^slat: guest [0-9]+ \(from 0\) asks for [0-9]+ metres; the largest host has 30 metres$' \
	"$slat" pack --workload cargo --size-min 10 --size-max 50 --host memory=30
expect pack_skip_large_made 0 '; [0-9]+ bad lines passed over$' \
	"$slat" pack --skip-bad --workload cargo --size-min 10 --size-max 50 --host memory=30
expect pack_no_file 6 '/nonexistent' "$slat" pack /nonexistent
expect pack_other_file 4 'hello.elf' "$slat" pack "$guests/hello.elf"
{ head -n 3 $trace && echo '7,depart,nobody,,'; } >"$work/bad.csv"
expect pack_bad_line 4 '4.*nobody' "$slat" pack "$work/bad.csv"
expect pack_skip_bad 0 '^guests .* 2 over .*; 1 bad lines passed over$' "$slat" pack --skip-bad "$work/bad.csv"
gzip -c $trace | head -c 2000 >"$work/cut.csv.gz"
expect pack_cut_gzip 4 'cut.csv.gz' "$slat" pack --csv "$work/series" "$work/cut.csv.gz"
# A fleet by file is the same as by options, and judged as strictly.
fleet() { echo "$1" >"$work/fleet.json"; }
fleet '[{"hosts": 2, "nodes": 2, "cpus": 64, "memory": "128G", "reserve": "8G", "latency": [[80, 160], [160, 80]], "distance": [[10, 20], [20, 10]]}, {"memory": "256G"}]'
for node in local spread contract; do
	latency=()
	[ $node != contract ] || latency=(--latency 130ns)
	"$slat" pack --node $node "${latency[@]}" --json --fleet "$work/fleet.json" $trace 2>"$work/err" | jq 'del(.experiment.hosts)' >"$work/one"
	"$slat" pack --node $node "${latency[@]}" --json --hosts 2 --host nodes=2,cpus=64,memory=128G,reserve=8G,local=80ns,remote=160ns \
		--hosts 1 --host memory=256G,local=80ns,remote=160ns $trace 2>>"$work/err" | jq 'del(.experiment.hosts)' >"$work/two"
	if [ $node = contract ]; then
		if grep -q '^slat: --latency: --host needs local= and remote=' "$work/err"; then pass pack_fleet_contract; else fail pack_fleet_contract "$(cat "$work/err")"; fi
	elif [ -s "$work/one" ] && cmp -s "$work/one" "$work/two"; then
		pass pack_fleet_$node
	else
		fail pack_fleet_$node "$(diff "$work/one" "$work/two" | head -n 3 | paste -sd' '); $(tail -n 1 "$work/err")"
	fi
done
expect pack_fleet_none 6 '^slat: --fleet: /nonexistent:' "$slat" pack --fleet /nonexistent x
while IFS='|' read -r name says text; do
	fleet "$text"
	expect "pack_fleet_$name" 2 "^slat: --fleet: .*$says" "$slat" pack --fleet "$work/fleet.json" x
done <<-'END'
	json|line 2:|[
	twice|duplicate|[{"hosts": 1, "hosts": 2}]
	list|is no list of kinds|{}
	empty|is no list of kinds|[]
	object|kind 1 .from 0.: it is no object|[{"memory": "1G"}, 3]
	key|kind 0 .*: --host: frob is none of nodes=|[{"frob": 1, "memory": "1G"}]
	memory|kind 0 .*: --host: it needs memory=SIZE|[{"nodes": 2}]
	hosts|hosts is no whole number from 1 to 1048576|[{"hosts": 0, "memory": "1G"}]
	word|nodes is neither a word nor a whole number|[{"nodes": 1.5, "memory": "1G"}]
	comma|memory is neither a word nor a whole number|[{"memory": "1G,nodes=4"}]
	rows|latency has 2 rows, and the host 1 nodes|[{"memory": "1G", "latency": [[80, 160], [160, 80]]}]
	row|distance has 2 rows, and row 1 is no list of as many|[{"memory": "1G", "nodes": 2, "distance": [[10, 20], [20]]}]
	value|latency, row 0: what is at 1 is no whole number from 1 to 4000000|[{"memory": "1G", "nodes": 2, "latency": [[80, 0], [160, 80]]}]
	both|latency says what local and remote do|[{"memory": "1G", "local": "80ns", "latency": [[80]]}]
END
fleet "[$(printf '{"memory": "1G"}, %.0s' {1..16}){\"memory\": \"1G\"}]"
expect pack_fleet_many 2 'there are 16 kinds of hosts at most' "$slat" pack --fleet "$work/fleet.json" x
fleet '[{"memory": "1G"}]'
expect pack_fleet_hosts 2 '^slat: --hosts 3: a --host comes behind it, not --fleet' "$slat" pack --hosts 3 --fleet "$work/fleet.json" x
expect pack_unbounded_reserve 2 '^slat: --host reserve=1 GiB: of unbounded memory' "$slat" pack --host memory=unbounded,reserve=1G x
expect pack_unbounded_twice 2 '^slat: unbounded memory is for one host' "$slat" pack --host memory=4G,memory=unbounded,nodes=2 $trace
expect pack_same_file 2 '^slat: --csv and --save-trace: y cannot be both$' "$slat" pack --csv y --save-trace y $trace
expect pack_same_page 2 '^slat: --save-trace and --report: y cannot be both$' "$slat" pack --report y --save-trace y $trace
expect pack_same_output 2 '^slat: --save-trace and --json: standard output cannot be both$' "$slat" pack --json --save-trace - $trace
expect pack_same_series 2 '^slat: --csv and --json: standard output cannot be both$' "$slat" pack --json --csv - $trace
# What is kept on standard output is alone there.
# Nothing that is read is written over, whatever leads to it: each option, over the trace and over a fleet's file, by its
# name, another one of the same, a symbolic link and a hard one.
mkdir "$work/own"
cp $trace "$work/own/t.csv"
echo '[{"memory": "384G"}]' >"$work/own/fl.json"
ln -s t.csv "$work/own/soft.csv" && ln "$work/own/t.csv" "$work/own/hard.csv"
ln -s fl.json "$work/own/soft.json" && ln "$work/own/fl.json" "$work/own/hard.json"
before=$(cd "$work/own" && ls -i && cat ./*)
for option in --csv --report --log --save-trace; do
	for name in t.csv ./t.csv soft.csv hard.csv fl.json ./fl.json soft.json hard.json; do
		case $name in *.csv) input=TRACE file=t.csv ;; *) input=--fleet file=fl.json ;; esac
		case $name in "$file") says="$name cannot be both" ;; *) says="($file and $name|$name and $file) are one file" ;; esac
		expect "pack_spares${option#-}_$name" 2 "^slat: ($input and $option|$option and $input): $says\$" \
			env -C "$work/own" "$slat" pack --fleet fl.json $option $name t.csv
	done
done
expect pack_spares_stdin 2 '^slat: TRACE and --csv: standard input and t.csv are one file$' \
	sh -c "cd '$work/own' && '$slat' pack --csv t.csv - <t.csv"
expect pack_spares_stdout 2 '^slat: --csv and --save-trace: standard output and new are one file$' \
	sh -c "cd '$work' && '$slat' pack --csv - --save-trace new own/t.csv >new"
expect pack_same_new 2 '^slat: --csv and --save-trace: ./y and own/../y are one file$' \
	env -C "$work" "$slat" pack --csv ./y --save-trace own/../y own/t.csv
ln -s ../new "$work/own/link"
expect pack_same_link 2 '^slat: --csv and --report: new and own/link are one file$' env -C "$work" "$slat" pack --csv new --report own/link own/t.csv
rm "$work/own/link"
echo '{"options": ["--fleet", "fl.json", "t.csv"], "cross": {"fit": ["first"]}}' >"$work/own.json"
cp "$work/own.json" "$work/own/s.json"
(cd "$work/own" && "$slat" sweep --out ../own.points s.json)
ln "$work/own.points/rank-1-of-1.jsonl" "$work/own.points/hard.html"
for name in s.json t.csv soft.csv hard.csv fl.json hard.json ../own.points/rank-1-of-1.jsonl ../own.points/hard.html; do
	expect "sweep_spares_${name##*/}" 2 "^slat: (FILE|TRACE or --fleet|--out) and --report: .* (are one file|cannot be both)\$" \
		env -C "$work/own" "$slat" sweep --out ../own.points --merge --report $name s.json
done
expect sweep_spares_out 2 '^slat: FILE and --out: s.json cannot be both$' env -C "$work/own" "$slat" sweep --out s.json s.json
mkdir "$work/ranks" && ln "$work/own/t.csv" "$work/ranks/rank-1-of-1.jsonl"
expect sweep_spares_rank 2 '^slat: TRACE or --fleet and --out: t.csv and .*/rank-1-of-1.jsonl are one file$' \
	env -C "$work/own" "$slat" sweep --out "$work/ranks" s.json
rm -r "$work/ranks" "$work/own/s.json"
if [ "$(cd "$work/own" && ls -i && cat ./*)" = "$before" ]; then
	pass pack_spared
else
	fail pack_spared "$(ls -li "$work/own")"
fi
for keep in save-trace csv log report; do
	"$slat" pack --$keep "$work/kept" $trace >"$work/one" 2>/dev/null
	"$slat" pack --$keep - $trace >"$work/out" 2>"$work/err"
	sed -i 's|--report [^ ]* |--report x |' "$work/kept" "$work/out" # the command is in the page
	if [ -s "$work/kept" ] && cmp -s "$work/kept" "$work/out" && cmp -s "$work/one" "$work/err" && grep -q ^accepted "$work/err"; then
		pass "pack_output_$keep"
	else
		fail "pack_output_$keep" "$(cmp "$work/kept" "$work/out" 2>&1); $(tail -n 1 "$work/err")"
	fi
	rm -f "$work/kept"
done

# What is bad leaves nothing behind: name, code, sentence, arguments.
refuse() {
	expect "$1" "$2" "$3" "$slat" pack --csv "$work/left.csv" --save-trace "$work/left.trace" "${@:4}"
	if [ -n "$(find "$work" -name 'left.*')" ]; then
		fail "$1_left" "$(find "$work" -name 'left.*' | head -n 1)"
		rm -f "$work"/left.*
	else
		pass "$1_left"
	fi
}
refuse pack_bad_cut 4 'cut.csv.gz' "$work/cut.csv.gz"
printf 'time_s,event,name,cpu\n0,arrive,a,1\n' >"$work/columns.csv"
refuse pack_bad_columns 4 'columns.csv: the header has no column for the' "$work/columns.csv"
printf 'time_s,event,vm_id,cpu,mem_mib\n0,arrive,a,1,1024\n1,arrive,b,1,-5\n' >"$work/negative.csv"
refuse pack_bad_negative 4 'negative.csv, line 3: the size is negative: "1,arrive,b,1,-5"' "$work/negative.csv"
refuse pack_bad_large 4 'line 2: guest "0" asks for 14 GiB' --host memory=1G $trace
printf 'time_s,event,vm_id,cpu,mem_mib\n' >"$work/header.csv"
refuse pack_bad_header 4 'header.csv has no event' "$work/header.csv"
: >"$work/empty.csv"
refuse pack_bad_empty 4 'empty.csv is empty: a trace begins with a header' "$work/empty.csv"
gzip -c "$work/empty.csv" >"$work/empty.gz"
refuse pack_bad_empty_gzip 4 'empty.gz is empty' "$work/empty.gz"
# CREATE TABLE t (a), by sqlite3, in pages of 512 bytes.
base64 -d <<-END | gzip -d >"$work/other.sqlite"
	H4sIAAAAAAACAwsO9MksSVVIyy/KTSxRMGZgYmBkZHBQUGBgYGAEYiYGBADxWdD4hAAjg14yIy+IwXiPAYhGAV2BAiObOD8/o2FJ
	YlJOakkJk3OQq2OIq0KIo5OPq0KJgkaiJihuUGJ5FIwoAADqDVD/AAQAAA==
END
refuse pack_bad_schema 4 'other.sqlite is not the SQLite file of AzureTracesForPacking2020' \
	--format azure-packing-2020 --host memory=64G "$work/other.sqlite"
refuse pack_bad_sqlite 4 'bad.csv is not the SQLite file' --format azure-packing-2020 --host memory=64G "$work/bad.csv"
# azure_packing_2020.sql, likewise. All ask for shares of one machine; who does not run on it is left out.
base64 -d <<-END | gzip -d >"$work/azure.sqlite"
	H4sIAAAAAAACAwsO9MksSVVIyy/KTSxRMGZgYmBkZHBQUGBgYOAFYmYGBACxWZD4jAyEAS+DXjIjyCAmhscMjFVAgv6gUYSJXVxSkrGJuSQxKSe1LDeksgBK
	MjsHuTqGuCqEODr5uCpAxBQ0MlMUPP1CXN1dg3SgYp5IIrmJyRmZeShCyflFqQpAk3yAsqm5+UWVUE5GSgqUVVwMY+VlJoNZmo3MjOzigoKMjYVQZ5XlMqE5
	R0GjLBfZnpLUvMS8Ek+8zisoyswvyiypRIgUlyQWlZRk5sKcmJqXAudpguKGjTGfgfEJ4wXGLYwzGGuAnFFAK8DNxs7IyMjBwZjJwRUlxQrmsLNncHDZP4Ao
	gNFSLFC5dKDcBYiYAzj3hX+TYgbJcbKzp3HwwPW9gNBCTBA5hlR27gMqDRCzGKFmpbBz7f+Bag8o/lkYoxgYLzMuY6wAMkYBlYAMCycoJjgZ2NlZeJjg8bRz
	JgjM0mEGybKzA2WZuZntr4aCgf1TKI2mWpuJExzhQNVMXDBBOI2uGGgp1GguZvR0ha4YAOgm3YYABgAA
END
azure=(--format azure-packing-2020 --host 'memory=64G,cpus=64' "$work/azure.sqlite")
expect pack_machine_common 0 '^left out  +1 guests, whose types machine 3 has not$' "$slat" pack "${azure[@]}"
expect pack_machine_one 0 '^left out  +2 guests, whose types machine 1 has not$' "$slat" pack --machine 1 "${azure[@]}"
expect pack_machine_any 0 '^guests  +6 over' "$slat" pack --machine any "${azure[@]}"
expect pack_machine_bad 2 '^slat: --machine: x is none of common, any, and no machineId' "$slat" pack --machine x "${azure[@]}"
expect pack_machine_for 2 '^slat: --machine is for --format azure-packing-2020$' "$slat" pack --machine 3 $trace
for words in '' '--machine=3' '--machine=any'; do
	# shellcheck disable=SC2086 # nothing is no word
	"$slat" pack --json $words "${azure[@]}" | jq -c '[.experiment.machine, .machine, .left_out, .guests]'
done >"$work/one" 2>&1
if [ "$(paste -sd' ' "$work/one")" = '["common",3,1,5] [3,3,1,5] ["any",null,0,6]' ]; then pass pack_machine_json; else fail pack_machine_json "$(paste -sd' ' "$work/one")"; fi
"$slat" pack --save-trace "$work/named.csv" "${azure[@]}" >"$work/out" 2>"$work/err"
if [ "$(awk -F, '$2 == "arrive" { print $3 }' "$work/named.csv" | paste -sd' ')" = '101 100 105 103 104' ]; then pass pack_names_sqlite; else fail pack_names_sqlite "$(cut -d, -f3 "$work/named.csv" | paste -sd' ')"; fi
expect pack_series_unmade 6 '^slat: /nonexistent/x cannot be written' "$slat" pack --csv /nonexistent/x $trace
if [ -n "$(find "$work" -name 'series*')" ]; then fail pack_cut_series 'a file is left'; else pass pack_cut_series; fi
# 66 guests of the first 900 s fit two hosts: counted apart from slat, by CPUs alone, for memory never runs out.
expect pack_table 0 '^accepted +66, 103808 units of 2 MiB$' "$slat" pack --hosts 2 --host nodes=2,cpus=32,memory=128G $trace
expect pack_stdin 0 '^accepted +66,' sh -c "gzip -c $trace | '$slat' pack --hosts 2 --host nodes=2,cpus=32,memory=128G -"
full pack_full pack $trace
full pack_full_json pack --json $trace
for option in --csv --save-trace --report; do
	expect "pack_full_${option#--}" 6 'cannot be written: No space left' sh -c "'$slat' pack $option - $trace >/dev/full"
done
# Huge pages are a part of their own: as two fleets, of the large guests and of the others, where nothing else is short.
"$slat" pack --json --hosts 3 --host nodes=2,memory=512G,huge=256G --huge-above 8G $trace 2>"$work/err" | jq .accepted >"$work/one"
awk -F, 'NR == 1 || $5 == "" || $5 > 8192' $trace >"$work/large.csv"
awk -F, 'NR == 1 || $5 == "" || $5 <= 8192' $trace >"$work/small.csv"
for part in large small; do # without the departures of the others
	awk -F, 'NR == 1 || $2 == "arrive" { there[$3] = 1; print; next } there[$3]' "$work/$part.csv" >"$work/part.csv"
	"$slat" pack --json --hosts 3 --host nodes=2,memory=256G "$work/part.csv" 2>>"$work/err" | jq .accepted
done | awk '{ n += $1 } END { print n }' >"$work/two"
if [ "$(cat "$work/one")" -gt 0 ] && cmp -s "$work/one" "$work/two"; then pass pack_huge; else fail pack_huge "$(paste -sd' ' "$work/one" "$work/two"); $(tail -n 1 "$work/err")"; fi
# Lifetimes that only departures tell are those that a column has; known, they leave more hosts empty.
lives() { # name, more options: empty hosts
	"$slat" pack --json --hosts 60 --host nodes=2,cpus=64,memory=384G --workload vm --arrivals 5000 --interval 3 "${@:2}" 2>"$work/err" >"$work/$1"
	jq .hosts_empty_mean_milli "$work/$1"
}
unknown=$(lives unknown)
known=$(lives known --lifetimes known --save-trace "$work/lives.csv")
keys='del(.experiment, .lines, .bad_lines)'
awk -F, -v OFS=, '{ $NF = ""; if (NR == 1) $NF = "other"; print }' "$work/lives.csv" >"$work/no_lives.csv"
for file in lives no_lives; do
	"$slat" pack --json --hosts 60 --host nodes=2,cpus=64,memory=384G --lifetimes known "$work/$file.csv" 2>"$work/err" | jq "$keys" >"$work/one"
	jq "$keys" "$work/known" >"$work/two"
	if [ "$known" -gt "$unknown" ] && cmp -s "$work/one" "$work/two"; then
		pass "pack_known_$file"
	else
		fail "pack_known_$file" "$known, $unknown, $(diff "$work/one" "$work/two" | head -n 3 | paste -sd' '); $(tail -n 1 "$work/err")"
	fi
done
# The same figures whatever the way in, and from run to run; refused ones by why sum to all.
for choose in first best worst global random dot two; do
	"$slat" pack --json --choose $choose --hosts 3 --host nodes=2,cpus=64,memory=128G $trace >"$work/one" 2>"$work/err"
	"$slat" pack --json --choose $choose --hosts 3 --host nodes=2,cpus=64,memory=128G $trace >"$work/two" 2>"$work/err"
	if cmp -s "$work/one" "$work/two" && jq -e '.guests == 682 and .accepted + .refused.total == .guests and
		(.refused | .no_memory + .no_cpu + .no_hole + .no_contract == .total) and .accepted > 100' "$work/one" >/dev/null; then
		pass pack_json_$choose
	else
		fail pack_json_$choose "$(head -c 200 "$work/one"; head -n 1 "$work/err")"
	fi
done
"$slat" pack --csv "$work/series" --csv-step 100 --hosts 3 --host memory=1T $trace >"$work/out" 2>"$work/err"
if [ "$(awk -F, 'NR > 1 && NF == 20 && $1 >= last && $11 <= $5 * 2097152 && $11 > ($5 - $2) * 2097152 { last = $1 + 0; n++ } END { print n }' "$work/series")" -gt 4 ] &&
	[ "$(find "$work" -name 'series*')" = "$work/series" ]; then pass pack_series; else fail pack_series "$(tail -n 1 "$work/series" "$work/err")"; fi
# Its columns, as the manual has them; and what they say at the end is what --json does.
head -n 1 "$work/series" | tr , '\n' >"$work/one"
sed -n '/^Columns of the time series/,/^\.TP/p' vmm/slat.1 | grep -oE '^[a-z_]+:' | tr -d : >"$work/two"
if [ -s "$work/one" ] && cmp -s "$work/one" "$work/two"; then pass pack_series_columns; else fail pack_series_columns "$(diff "$work/one" "$work/two" | paste -sd' ')"; fi
for wait in drop wait; do
	"$slat" pack --json --csv "$work/series.csv" --csv-step 1 --on-refuse $wait --compact refused --fit worst --granule 256M --workload vm \
		--hosts 2 --host nodes=2,cpus=40,memory=64G --arrivals 3000 --interval 100 --seed 3 2>"$work/err" >"$work/out"
	jq -r '(.refused | [.total, .no_memory, .no_cpu, .no_hole, .no_contract, .units]) + [.moves, .units_moved] | join(",")' "$work/out" >"$work/one"
	tail -n 1 "$work/series.csv" | cut -d, -f10,13-17,19,20 >"$work/two"
	awk -F, 'NR > 1 && ($12 > 80000 || $10 != $13 + $14 + $15 + $16 || ($3 > 0) != ($18 > 0) || $12 < 700 * $2) { print }' "$work/series.csv" >>"$work/two"
	awk -F, 'NR > 1 { seen[12] += $12; seen[3] += $3 } END { exit !(seen[12] > 0) }' "$work/series.csv" || echo none >>"$work/two"
	if [ "$(wc -l <"$work/series.csv")" -gt 1000 ] && cmp -s "$work/one" "$work/two"; then
		pass pack_series_figures_$wait
	else
		fail pack_series_figures_$wait "$(head -n 3 "$work/one" "$work/two" | paste -sd' '); $(tail -n 1 "$work/err")"
	fi
done
rm "$work/series.csv"
# What is no regular file is written to, and not replaced.
mkfifo "$work/pipe"
cat "$work/pipe" >"$work/piped" &
"$slat" pack --csv "$work/pipe" --csv-step 100 --hosts 3 --host memory=1T $trace >"$work/out" 2>"$work/err"
[ -p "$work/pipe" ] || kill $! # nobody wrote to it
wait $!
if [ -p "$work/pipe" ] && cmp -s "$work/series" "$work/piped"; then pass pack_series_pipe; else fail pack_series_pipe "$(ls -l "$work/pipe"; tail -n 1 "$work/err")"; fi
# shellcheck disable=SC2016 # for the inner shell
expect pack_series_full 6 'full.csv cannot be written: File too large' sh -c 'trap "" XFSZ; ulimit -f 8; exec "$@"' - \
	"$slat" pack --csv "$work/full.csv" --csv-step 1 --workload uniform --arrivals 2000
if [ -n "$(find "$work" -name 'full.csv*')" ]; then fail pack_series_full_left 'a file is left'; else pass pack_series_full_left; fi

# The log of decisions: played by itself, no unit is two guests' at a time, who leaves or is moved was there, and what is
# counted is as of --json.
logged() { # name, arguments...
	"$slat" pack --json --log "$work/log.gz" "${@:2}" >"$work/out" 2>"$work/err"
	jq -r '"\(.accepted) \(.departed) \(.refused.total) \(.moves) \(.units_moved)"' "$work/out" >"$work/two"
	"$slat" pack --log - "${@:2}" 2>/dev/null >"$work/log"
	gzip -dc "$work/log.gz" | cmp -s - "$work/log" && awk -F, '
		function pool() { return $4 "," $5 "," $6 }
		function put(to) { for (u = $7; u < $7 + $8; u++) { if (owner[pool(), u] != "") bad++; owner[pool(), u] = $3 } }
		function take(from, u) { for (u = from; u < from + $8; u++) { if (owner[pool(), u] != $3) bad++; delete owner[pool(), u] } }
		NR == 1 { if ($0 != "time_s,event,vm_id,host,node,huge,first,units,from,reason") bad++; next }
		$1 + 0 < now + 0 { bad++ }
		{ now = $1; if (NF != 10) bad++ }
		$2 == "place" { put(); if (!($3 in there)) { accepted++; delete waits[$3] } there[$3]++ }
		$2 == "leave" { take($7); if (--there[$3] == 0) { departed++; delete there[$3] } }
		$2 == "move" { take($9); put(); moves++; moved += $8 }
		$2 == "wait" { waits[$3] = 1; if ($10 !~ /^(queue|no_(memory|cpu|hole))$/) bad++ }
		$2 == "refuse" { refused++; delete waits[$3]; if ($10 !~ /^no_(memory|cpu|hole)$/) bad++ }
		END { for (w in waits) refused++; print accepted, departed, refused + 0, moves + 0, moved + 0; if (bad) print bad, "bad" }' \
		"$work/log" >"$work/one"
	if [ "$(wc -l <"$work/log")" -gt 100 ] && cmp -s "$work/one" "$work/two"; then
		pass "pack_log_$1"
	else
		fail "pack_log_$1" "$(paste -sd' ' "$work/one" "$work/two"); $(tail -n 1 "$work/err")"
	fi
}
two=(--granule 256M --hosts 2 --host 'nodes=2,cpus=64,memory=128G')
logged plain "${two[@]}" $trace
logged wait --on-refuse wait "${two[@]}" --workload vm --arrivals 400 --life 300
logged spread --node spread --contiguous prefer "${two[@]}" $trace
logged huge --huge-above 4G --granule 256M --hosts 2 --host nodes=2,memory=256G,huge=128G $trace
logged moves --granule 256M --hosts 2 --host nodes=2,memory=64G --compact refused --fit worst --workload vm --arrivals 3000 --interval 100 --seed 3
if [ "$(jq .moves "$work/out")" -gt 0 ]; then pass pack_log_moved; else fail pack_log_moved 'nothing was'; fi
logged continuous --granule 256M --hosts 2 --host nodes=2,memory=64G --compact continuous --compact-budget 1G --fit worst --workload vm --arrivals 3000 --interval 100

# Whatever ends it from outside, but for KILL: no draft is left.
for signal in INT TERM HUP; do
	timeout --preserve-status -s $signal 0.7 "$slat" pack --workload vm --arrivals 100000000 --csv "$work/ended.csv" \
		--report "$work/ended.html" --save-trace "$work/ended.gz" --log "$work/ended.log" --csv-step 1 2>"$work/err"
	code=$?
	if [ $code = $((128 + $(kill -l $signal))) ] && [ -z "$(find "$work" -name 'ended*')" ]; then
		pass pack_ended_$signal
	else
		fail pack_ended_$signal "exit code $code; $(cd "$work" && echo ended*); $(cat "$work/err")"
	fi
done
"$slat" pack --workload vm --arrivals 1000000 --csv - --csv-step 1 --save-trace "$work/ended.gz" 2>"$work/err" | head -n 1 >"$work/out"
if [ -s "$work/out" ] && [ -z "$(find "$work" -name 'ended*')" ]; then pass pack_ended_PIPE; else fail pack_ended_PIPE "$(cd "$work" && echo ended*)"; fi

# A workload by its seed; kept as a trace, which plays as it did with no more said than the hosts, and may be gzip.
expect pack_workload 2 '^slat: --workload: x is none of vm, tasks' "$slat" pack --workload x
expect pack_workload_and 2 '^slat: a trace or --workload, not both' "$slat" pack --workload vm $trace
expect pack_workload_only 2 '^slat: --arrivals, --interval, --life and --size-... are for --workload' "$slat" pack --life 5 $trace
expect pack_life 2 '^slat: --life: -3 is no number of seconds' "$slat" pack --workload vm --life -3
expect pack_size 2 'has no mean size$' "$slat" pack --workload vm --size-mean 3
for workload in vm tasks spectrum cargo uniform exponential; do
	keys='del(.experiment, .lines, .bad_lines)'
	case $workload in vm | tasks) memory=256G ;; cargo) memory=1500 ;; *) memory=9000 ;; esac
	"$slat" pack --workload $workload --arrivals 2000 --seed 7 --host memory=$memory --json --save-trace "$work/$workload.gz" 2>"$work/err" >"$work/out"
	jq "$keys" "$work/out" >"$work/one"
	"$slat" pack --host memory=$memory --json "$work/$workload.gz" 2>>"$work/err" | jq "$keys" >"$work/two"
	"$slat" pack --host memory=$memory --json - <"$work/$workload.gz" 2>>"$work/err" | jq "$keys" | diff -q - "$work/one" >>"$work/err"
	if [ "$(jq .guests "$work/one")" = 2000 ] && cmp -s "$work/one" "$work/two" && [ ! -s "$work/err" ]; then
		pass pack_workload_$workload
	else
		fail pack_workload_$workload "$(diff "$work/one" "$work/two" | head -n 3 | paste -sd' '); $(tail -n 1 "$work/err")"
	fi
done

# The unit is named, and what follows from it: whoever loads a hold leaves long holes, unless he is told to do otherwise.
expect pack_metres 0 '^accepted  +100, [0-9]+ metres$' "$slat" pack --workload cargo --arrivals 100
expect pack_mhz 0 '^accepted  +100, [0-9]+ units of 5 MHz$' "$slat" pack --workload spectrum --arrivals 100 --granule 5
expect pack_metres_small 2 '^slat: --host: 1 metre over 2 nodes is less than a granule of 1 metre each' "$slat" pack --workload cargo --host memory=1,nodes=2
for fit in '' --fit=best; do
	"$slat" pack --workload cargo --arrivals 100 --json $fit | jq -r '.experiment.fit, .unit'
	"$slat" pack --json $fit "$work/cargo.gz" | jq -r '.experiment.fit, .unit'
done 2>&1 | paste -sd' ' >"$work/one"
if [ "$(cat "$work/one")" = 'worst metre worst metre best metre best metre' ]; then pass pack_metres_fit; else fail pack_metres_fit "$(cat "$work/one")"; fi
# Guests keep their names: of events, of lives in CSV, of SQLite.
named() { # name, names, arguments...
	"$slat" pack --save-trace "$work/named.csv" --host memory=1T "${@:3}" >"$work/out" 2>"$work/err"
	tail -n +2 "$work/named.csv" | cut -d, -f3 | sort | uniq -c | awk '{print $2, $1 < 2 ? "stays" : ""}' >"$work/one"
	if [ -s "$work/one" ] && cut -d' ' -f1 "$work/one" | cmp -s - "$2"; then
		pass "pack_names_$1"
	else
		fail "pack_names_$1" "$(cut -d' ' -f1 "$work/one" | diff - "$2" | head -n 3 | paste -sd' '); $(tail -n 1 "$work/err")"
	fi
}
tail -n +2 $trace | cut -d, -f3 | sort -u >"$work/names"
named events "$work/names" $trace
cut -d, -f1 tests/packing/azure_v1_vmtable.csv | sort -u >"$work/names"
named lives "$work/names" --format azure-v1 tests/packing/azure_v1_vmtable.csv

# --json has all that it takes to play it again: its options, and a fleet file; what comes out is the same bytes.
again() { # name, arguments...
	local words

	"$slat" pack --json "${@:2}" >"$work/one" 2>"$work/err"
	jq .experiment.hosts "$work/one" >"$work/again.json"
	mapfile -t words < <(jq -r '.experiment | del(.hosts) | to_entries[] | select(.value != null and .value != false) |
		if .key == "trace" then .value elif .value == true then "--" + .key else "--\(.key)=\(.value)" end' "$work/one" |
		sed -E ':dash; s/^(--[a-z-]*)_/\1-/; t dash')
	"$slat" pack --json --fleet "$work/again.json" "${words[@]}" >"$work/two" 2>>"$work/err"
	if [ -s "$work/one" ] && cmp -s "$work/one" "$work/two"; then
		pass "pack_again_$1"
	else
		fail "pack_again_$1" "$(diff "$work/one" "$work/two" | head -n 3 | paste -sd' '); $(tail -n 1 "$work/err")"
	fi
}
{ cat $trace && echo '7,depart,nobody,,'; } >"$work/bad_end.csv"
again plain $trace
again many --skip-bad --from 20 --count 500 --choose two --fit worst --granule 1M --compact continuous --compact-budget 1G \
	--split-above 64G --overcommit 20 --on-refuse wait --seed 7 --node spread --hosts 2 --host nodes=3,cpus=64,memory=128G,reserve=3M \
	--host memory=256G,cpus=17 "$work/bad_end.csv"
again latency --node local --latency 130ns --contiguous prefer --host nodes=2,memory=900G,cpus=96,local=80ns,remote=160ns $trace
again node --latency 130ns --node pack --host nodes=2,memory=900G,cpus=96,local=80ns,remote=160ns $trace
fleet '[{"hosts": 2, "nodes": 2, "memory": "300G", "latency": [[80, 160], [170, 80]], "distance": [[10, 31], [20, 10]]}, {"memory": "256G"}]'
again lifetimes --lifetimes known --huge-above 20G --hosts 3 --host nodes=2,memory=300G,huge=120G --host memory=512G $trace
again balance --node balance --hosts 3 --host nodes=2,memory=300G,cpus=96 $trace
again fleet --fleet "$work/fleet.json" --node spread --compact refused --fit worst $trace
again minimalloc --format minimalloc --granule 1K tests/packing/minimalloc.csv
again azure_packing "${azure[@]}"
again azure_machine --machine 1 "${azure[@]}"
again azure --format azure-v1 --host memory=256G tests/packing/azure_v1_vmtable.csv
again vm --workload vm --arrivals 3000 --interval 0.25 --life 700.000001 --seed 3 --hosts 9 --host memory=100G --choose random
again tasks --workload tasks --arrivals 3000 --size-min 100M --size-max 5G
again exponential --workload exponential --arrivals 3000 --size-mean 7
# No option is forgotten: what --help has is there, but for where the figures go, and hosts, which are a list.
"$slat" pack --json --workload vm --arrivals 1 >"$work/one" 2>"$work/err"
missing=$("$slat" pack --help | grep -oE -- '--[a-z][a-z-]*' | sort -u |
	grep -vxE -- '--(help|json|csv|csv-step|report|log|save-trace|host|fleet|placement)' | sed 's/^--//; s/-/_/g' |
	while read -r key; do jq -e --arg key "$key" '.experiment | has($key)' "$work/one" >/dev/null || echo "$key"; done | paste -sd' ')
if [ -s "$work/one" ] && [ -z "$missing" ]; then pass pack_json_options; else fail pack_json_options "the experiment lacks: $missing"; fi

# --- sweep
cat >"$work/sweep.json" <<-END
	{"options": ["--hosts", 3, "--host", "nodes=2,cpus=64,memory=128G", "$trace"],
	 "cross": {"fit": ["first", "best", "worst", "buddy"], "choose": ["first", "best", "random"], "seed": [1, 2, 3]}}
END
expect sweep_help 0 '^slat sweep \[options\] FILE' "$slat" sweep --help
expect sweep_no_file 2 '^slat: no file to sweep' "$slat" sweep
expect sweep_shard 2 '^slat: --shard: 5/4 is not I/N' "$slat" sweep --shard 5/4 x
expect sweep_jobs 2 '^slat: --jobs: 0 is no whole number' "$slat" sweep --jobs 0 x
expect sweep_no_such_file 6 '/nonexistent' "$slat" sweep /nonexistent
echo '{"options": []}' >"$work/bad.json"
expect sweep_bad_keys 2 'bad.json: it needs these two keys' "$slat" sweep "$work/bad.json"
echo '{"options": ["x"], "cross": {"fit": []}}' >"$work/bad.json"
expect sweep_bad_values 2 'bad.json: each key of cross has a list' "$slat" sweep "$work/bad.json"
echo '{"options": ["x"], "cross": {"fit": ["a b"]}}' >"$work/bad.json"
expect sweep_bad_words 2 'bad.json: what is crossed are words' "$slat" sweep "$work/bad.json"
echo '{"options": ["x"], "cross": {"fit": ["first", "frob"]}}' >"$work/bad.json"
expect sweep_bad_point 2 '^slat: --fit: frob is none of .* \(point x --fit=frob\)$' "$slat" sweep "$work/bad.json"
echo '{"options": ["/nonexistent"], "cross": {}}' >"$work/bad.json"
expect sweep_bad_trace 6 '/nonexistent' "$slat" sweep "$work/bad.json"
echo '{' >"$work/bad.json"
expect sweep_no_json 2 'bad.json: line 2:' "$slat" sweep "$work/bad.json"
echo '{"options": ["x"], "cross": {"seed": [1, 2, "1"]}}' >"$work/bad.json"
expect sweep_twice 2 'bad.json: two points are the same: x --seed=1$' "$slat" sweep "$work/bad.json"
{ printf '{"options": ["x"'; printf ', "--json"%.0s' {1..140}; echo '], "cross": {}}'; } >"$work/bad.json"
expect sweep_many_words 2 'bad.json: a point has 128 options at most, not 141$' "$slat" sweep "$work/bad.json"
expect sweep_array_id 2 '^slat: SLURM_ARRAY_TASK_ID=5 is none of 3 from 1 in steps of 1:' \
	env SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_COUNT=3 "$slat" sweep "$work/sweep.json"
expect sweep_missing 6 '^slat: 36 of 36 points are missing' "$slat" sweep --merge "$work/sweep.json"
if "$slat" sweep "$work/sweep.json" >"$work/out" 2>&1 && [ ! -s "$work/out" ]; then pass sweep; else fail sweep "$(cat "$work/out")"; fi
"$slat" sweep --merge "$work/sweep.json" >"$work/whole"
full sweep_full sweep --merge "$work/sweep.json"
# As one by one by slat pack; and by any number of ranks, of which one was cut off and played again.
jq -c '.[] | [.experiment.fit, .experiment.choose, .experiment.seed, .accepted, .refused]' "$work/whole" >"$work/swept"
for fit in first best worst buddy; do
	for choose in first best random; do
		for seed in 1 2 3; do
			"$slat" pack --json --hosts 3 --host nodes=2,cpus=64,memory=128G --fit $fit --choose $choose --seed $seed $trace |
				jq -c '[.experiment.fit, .experiment.choose, .experiment.seed, .accepted, .refused]'
		done
	done
done >"$work/packed"
if [ "$(wc -l <"$work/packed")" = 36 ] && cmp -s "$work/packed" "$work/swept"; then
	pass sweep_is_pack
else
	fail sweep_is_pack "$(diff "$work/packed" "$work/swept" | head -n 2 | paste -sd' ')"
fi
# A disk that is full says so once, of all that are at work. One at a time may work on a rank's file.
(trap '' XFSZ && ulimit -f 8 && exec "$slat" sweep --jobs 4 --out "$work/ranks" "$work/sweep.json") 2>"$work/err"
ended sweep_full 6 '^slat: a point cannot be written to .*/ranks: (No space left on device|File too large)$' $?
if [ "$(wc -l <"$work/err")" = 1 ]; then pass sweep_full_once; else fail sweep_full_once "$(cat "$work/err")"; fi
expect sweep_locked 6 '^slat: .*/rank-1-of-1.jsonl: another slat sweep is at work on it' \
	flock "$work/ranks/rank-1-of-1.jsonl" "$slat" sweep --out "$work/ranks" "$work/sweep.json"
flock "$work/ranks/rank-1-of-1.jsonl" "$slat" sweep --out "$work/ranks" --shard 1/1000 "$work/sweep.json" 2>"$work/err"
ended sweep_not_locked 0 '' $? /dev/null "$work/sweep.json"
"$slat" sweep --out "$work/ranks" "$work/sweep.json" && "$slat" sweep --out "$work/ranks" --merge "$work/sweep.json" >"$work/merged" 2>&1
if cmp -s "$work/whole" "$work/merged"; then pass sweep_after_full; else fail sweep_after_full "$(head -c 200 "$work/merged")"; fi
rm -r "$work/ranks"
for id in 10 13 16; do # an array job of Slurm's, in steps
	SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_MIN=10 SLURM_ARRAY_TASK_STEP=3 SLURM_ARRAY_TASK_COUNT=3 \
		"$slat" sweep --out "$work/ranks" "$work/sweep.json"
done
"$slat" sweep --out "$work/ranks" --merge "$work/sweep.json" >"$work/merged" 2>&1
if cmp -s "$work/whole" "$work/merged" && [ -e "$work/ranks/rank-3-of-3.jsonl" ]; then pass sweep_array; else fail sweep_array "$(head -c 200 "$work/merged")"; fi
rm -r "$work/ranks"
# Which part this is, by the environment alone: name, file that is written, variables.
rank_is() {
	env "${@:3}" "$slat" sweep --out "$work/ranks" "$work/one.json" 2>"$work/err"
	if [ "$(cd "$work/ranks" && echo *)" = "$2.jsonl" ]; then pass "sweep_rank_$1"; else fail "sweep_rank_$1" "$(cd "$work/ranks" && echo *), not $2; $(cat "$work/err")"; fi
	rm -r "$work/ranks"
}
echo '{"options": ["--workload", "vm", "--arrivals", 1], "cross": {}}' >"$work/one.json"
array=(SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_MIN=3 SLURM_ARRAY_TASK_STEP=2 SLURM_ARRAY_TASK_COUNT=5) # the third
batch=(SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_LOCALID=0)
rank_is none rank-1-of-1 A=
rank_is batch rank-1-of-1 "${batch[@]}"
rank_is batch_step rank-1-of-1 "${batch[@]}" SLURM_STEP_ID=4294967291
rank_is batch_named rank-1-of-1 "${batch[@]}" SLURM_STEP_ID=batch
rank_is interactive rank-1-of-1 "${batch[@]}" SLURM_STEP_ID=4294967290 SLURM_STEP_NUM_TASKS=1
rank_is srun rank-3-of-4 SLURM_STEP_ID=0 SLURM_PROCID=2 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4
rank_is srun_fewer rank-2-of-2 SLURM_STEP_ID=1 SLURM_PROCID=1 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=2
rank_is srun_old rank-3-of-4 SLURM_STEP_ID=0 SLURM_PROCID=2 SLURM_NTASKS=4
rank_is srun_one rank-1-of-1 SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_STEP_NUM_TASKS=1
rank_is array rank-3-of-5 "${array[@]}"
rank_is array_batch rank-3-of-5 "${array[@]}" "${batch[@]}"
rank_is array_srun rank-11-of-20 "${array[@]}" SLURM_STEP_ID=0 SLURM_PROCID=2 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4
rank_is array_mpi rank-8-of-15 "${array[@]}" "${batch[@]}" OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3
rank_is mpi_in_srun rank-2-of-3 SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3
rank_is nonsense rank-1-of-1 SLURM_STEP_ID=0 SLURM_PROCID=4 SLURM_STEP_NUM_TASKS=4 SLURM_NTASKS=9
expect sweep_ranks_many 2 '^slat: an array of 100000 jobs of 20 ranks: 1000000 are as many as may be$' env SLURM_ARRAY_TASK_COUNT=100000 \
	OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=20 "$slat" sweep --out "$work/ranks" "$work/one.json"
# All parts of an array of two jobs that srun starts two processes in each are the whole.
for id in 0 1; do
	for process in 0 1; do
		SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_COUNT=2 SLURM_STEP_ID=0 SLURM_PROCID=$process \
			SLURM_STEP_NUM_TASKS=2 "$slat" sweep --out "$work/ranks" "$work/sweep.json"
	done
done
"$slat" sweep --out "$work/ranks" --merge "$work/sweep.json" >"$work/merged" 2>&1
if cmp -s "$work/whole" "$work/merged" && [ "$(cat "$work"/ranks/*.jsonl | grep -c .)" = 36 ]; then
	pass sweep_array_srun
else
	fail sweep_array_srun "$(head -c 200 "$work/merged")"
fi
rm -r "$work/ranks"
for ranks in 2 4; do
	for rank in $(seq $ranks); do "$slat" sweep --out "$work/ranks" --shard "$rank/$ranks" "$work/sweep.json"; done
	truncate -s -50 "$work/ranks/rank-1-of-$ranks.jsonl"
	expect sweep_cut_$ranks 6 '^slat: 1 of 36 points are missing' "$slat" sweep --out "$work/ranks" --merge "$work/sweep.json"
	OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=$ranks "$slat" sweep --out "$work/ranks" "$work/sweep.json"
	"$slat" sweep --out "$work/ranks" --merge "$work/sweep.json" >"$work/merged" 2>&1
	if cmp -s "$work/whole" "$work/merged"; then pass sweep_ranks_$ranks; else fail sweep_ranks_$ranks "$(head -c 200 "$work/merged")"; fi
	rm -r "$work/ranks"
done

# A point is of what its files hold, whatever their size, time and name: played anew, and never joined with others.
cp $trace "$work/changing.csv"
echo '[{"hosts": 3, "memory": "128G"}]' >"$work/fleet.json"
cat >"$work/changing.json" <<-END
	{"options": ["--fleet", "$work/fleet.json", "$work/changing.csv"], "cross": {"fit": ["first", "best"], "seed": [1, 2]}}
END
changing() { "$slat" sweep --out "$work/ranks" "$@" "$work/changing.json"; }
changing && changing --merge >"$work/before"
change() { # name, shell command
	bash -c "cd '$work' && $2"
	expect "sweep_change_$1" 6 '^slat: 4 of 4 points in .* are of other contents .* than these files have now, and 0 are missing:' \
		"$slat" sweep --out "$work/ranks" --merge "$work/changing.json"
	changing --shard 1/2
	expect "sweep_mixed_$1" 6 '^slat: [1-3] of 4 points in .* are of other contents' \
		"$slat" sweep --out "$work/ranks" --merge "$work/changing.json"
	changing && changing --merge >"$work/after" 2>"$work/err"
	"$slat" sweep --out "$work/fresh" "$work/changing.json" && "$slat" sweep --out "$work/fresh" --merge "$work/changing.json" >"$work/merged"
	if [ "$(jq length "$work/after")" = 4 ] && cmp -s "$work/after" "$work/merged" && ! cmp -s "$work/before" "$work/after"; then
		pass "sweep_anew_$1"
	else
		fail "sweep_anew_$1" "$(diff "$work/merged" "$work/after" | head -n 3 | paste -sd' '); $(tail -n 1 "$work/err")"
	fi
	rm -r "$work/fresh"
}
change trace 'touch -r changing.csv time && sed -i "4s/3584/7168/" changing.csv && touch -r time changing.csv'
change fleet 'sed -i s/128/129/ fleet.json'
cp $trace "$work/changing.csv"
echo '[{"hosts": 3, "memory": "128G"}]' >"$work/fleet.json"
changing --merge >"$work/after" 2>"$work/err"
if cmp -s "$work/before" "$work/after"; then pass sweep_as_before; else fail sweep_as_before "$(tail -n 1 "$work/err")"; fi
rm -r "$work/ranks"
mkfifo "$work/pipe.csv"
echo "{\"options\": [\"$work/pipe.csv\"], \"cross\": {}}" >"$work/bad.json"
expect sweep_pipe 6 'pipe.csv is no regular file' "$slat" sweep "$work/bad.json"
echo '{"options": ["-"], "cross": {}}' >"$work/bad.json"
expect sweep_stdin 2 '^slat: a trace on standard input is for one experiment .point -.$' "$slat" sweep "$work/bad.json"
echo '{"options": ["--save-trace", "y", "x"], "cross": {}}' >"$work/bad.json"
expect sweep_save 2 '^slat: --help, --json, --csv, --report, --log and --save-trace are for one experiment' "$slat" sweep "$work/bad.json"

# By a launcher: nothing is linked, and what a kill cuts off is played again.
if command -v mpirun >/dev/null; then
	mpi() { # ranks
		OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm_rsh_agent=false \
			timeout -k 5 100 mpirun --oversubscribe -n "$1" "$slat" sweep --out "$work/ranks" "$work/sweep.json"
	}
	for ranks in 1 2 4; do
		mpi $ranks >"$work/out" 2>&1
		"$slat" sweep --out "$work/ranks" --merge "$work/sweep.json" >"$work/merged" 2>&1
		if cmp -s "$work/whole" "$work/merged" && [ -e "$work/ranks/rank-$ranks-of-$ranks.jsonl" ]; then
			pass sweep_mpi_$ranks
		else
			fail sweep_mpi_$ranks "$(head -c 200 "$work/merged"; tail -n 2 "$work/out")"
		fi
		rm -rf "$work/ranks"
	done
	mpi 2 >"$work/out" 2>&1 &
	for _ in {1..500}; do
		[ "$(cat "$work/ranks/"*.jsonl 2>/dev/null | grep -c point)" -lt 4 ] || break
		sleep 0.01
	done
	pkill -KILL -P $! 2>/dev/null # mpirun, below timeout; its ranks end with it
	wait $!
	mpi 2 >"$work/out" 2>&1
	"$slat" sweep --out "$work/ranks" --merge "$work/sweep.json" >"$work/merged" 2>&1
	if cmp -s "$work/whole" "$work/merged"; then pass sweep_mpi_killed; else fail sweep_mpi_killed "$(head -c 200 "$work/merged")"; fi
	rm -rf "$work/ranks"
else
	for name in 1 2 4 killed; do echo "SKIP cli/sweep_mpi_$name: no mpirun (Debian: openmpi-bin, 19 MB)"; done
fi

# --- reports, in a browser
expect report_unmade 6 '/nonexistent/x.* cannot be written' "$slat" pack --report /nonexistent/x $trace
mkdir "$work/folder"
expect report_folder 6 '^slat: .*/folder.* cannot be written: ' "$slat" pack --report "$work/folder" $trace
expect report_cut 4 'cut.csv.gz' "$slat" pack --report "$work/page.html" "$work/cut.csv.gz"
expect report_merge 2 '^slat: --report: of a sweep it is made by --merge$' "$slat" sweep --report x "$work/sweep.json"
expect report_merge_unmade 6 '/nonexistent/x.* cannot be written' "$slat" sweep --merge --report /nonexistent/x "$work/sweep.json"
expect means_merge 2 '^slat: --means: of a sweep it is made by --merge$' "$slat" sweep --means "$work/sweep.json"
# shellcheck disable=SC2016 # sh expands them
expect means_unwritten 6 'standard output cannot be written' sh -c '"$0" sweep --merge --means "$1" >/dev/full' "$slat" "$work/sweep.json"
expect means 0 '^"","fit=buddy choose=best",refused,count,1,[0-9]+,,,$' "$slat" sweep --merge --means "$work/sweep.json"
expect means_chance 0 '^"","fit=buddy choose=random",refused,count,3,[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+$' "$slat" sweep --merge --means "$work/sweep.json"
if compgen -G "$work/page.html*" >/dev/null || compgen -G "$work/folder?*" >/dev/null; then
	fail report_none 'a file is left'
else
	pass report_none
fi
mkdir "$work/pages"
page() { # name, command...: the same page twice, and nothing beside it
	"${@:2}" --report "$work/pages/$1.html" >"$work/out" 2>"$work/err" && mv "$work/pages/$1.html" "$work/first.html" &&
		"${@:2}" --report "$work/pages/$1.html" >"$work/out" 2>"$work/err"
	if cmp -s "$work/first.html" "$work/pages/$1.html" && ! compgen -G "$work/pages/$1.html.*" >/dev/null; then
		pass "report_$1"
	else
		fail "report_$1" "two runs, two pages: $(tail -n 1 "$work/err")"
	fi
}
page fleet "$slat" pack --hosts 30 --host nodes=2,cpus=32,memory=128G $trace
page pool "$slat" pack --fit worst $trace
page waits "$slat" pack --hosts 3 --host cpus=64,memory=256G --on-refuse wait --contiguous prefer $trace
page scatter "$slat" pack --hosts 3 --host memory=1T --fit scatter $trace
page cargo "$slat" pack --workload cargo --arrivals 3000
page metres "$slat" pack --workload cargo --hosts 3 --host memory=500 --arrivals 3000
page megahertz "$slat" pack --workload spectrum --host memory=900
page units "$slat" pack --workload uniform --host memory=2000 --size-max 2000 --arrivals 40000
page one "$slat" pack --host memory=64G --count 1 $trace
page none "$slat" pack --host memory=64G --from 999999 $trace
page fits "$slat" sweep --merge "$work/sweep.json"
cat >"$work/names.json" <<-END
	{"options": ["--hosts", 6, "--host", "nodes=2,cpus=64,memory=128G,local=80,remote=160", "--arrivals", 1000, "--workload", "vm"],
	 "cross": {"compact": ["never", "refused"], "on-refuse": ["drop", "wait"], "node": ["local", "interleave"], "seed": [1, 2, 3]}}
END
"$slat" sweep "$work/names.json" || fail sweep_names 'it fails'
page names "$slat" sweep --merge "$work/names.json"
for words in 'metres the last guest came after' 'fleet even an empty host of 2 nodes has about 50 %' 'none No guest was played'; do
	if grep -q "${words#* }" "$work/pages/${words%% *}.html"; then pass "report_words_${words%% *}"; else fail "report_words_${words%% *}" "not there: $words"; fi
done
if "$slat" pack --json --hosts 2 --host nodes=2,cpus=32,memory=128G $trace |
	jq -e '.refused | .no_memory_units + .no_cpu_units + .no_hole_units + .no_contract_units == .units and .no_hole_units > 0' >/dev/null; then
	pass pack_refused_units
else
	fail pack_refused_units 'they are not the sum'
fi
tests/browser.sh "$work/pages"/*.html || failures=1

# --- what `slat run` loads: libc and nothing else; each library more is start-up time
libraries=$(readelf -d "$slat" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^lib(asan|ubsan|tsan)\.' | tr '\n' ' ')
case $libraries in
'libc.so.6 ' | 'libm.so.6 libc.so.6 ' | 'libm.so.6 libdl.so.2 libpthread.so.0 libc.so.6 ') pass libraries ;;
*) fail libraries "it links $libraries" ;;
esac

exit $failures
