#!/bin/bash
# tests/docs.sh: part `docs`: the tree keeps its own rules, the checks of those
# rules can fail, and the documents say what the program does.
# From make: as for arrows.sh and lint.sh.
# Not seen: whether a sentence is true; only names, numbers and links are compared.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} LC_ALL=C
MM=$(realpath "${MM:-$BUILD/libmm.a}")
export MM SUITES=${SUITES:-$BUILD/tests}
slat=$BUILD/slat
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

pass() { echo "PASS docs/$1"; }
fail() {
	echo "FAIL docs/$1: $2"
	failures=1
}
# name, file of complaints: passes iff there is none
judge() {
	if [ -s "$2" ]; then
		fail "$1" "$(wc -l <"$2") findings, the first: $(head -n 1 "$2")"
		sed 's/^/  /' "$2"
	else
		pass "$1"
	fi
}

run_check() { # name, command: its exit code counts, its output says why
	if "$2" >"$work/out" 2>&1; then
		pass "$1"
	else
		[ -s "$work/out" ] || echo "$2 failed and said nothing" >"$work/out"
		judge "$1" "$work/out"
	fi
}

# A violation of each kind, planted in a copy of the tree; each must be named.
arrows_see() {
	local copy=$work/tree planted

	mkdir "$copy"
	git ls-files -co --exclude-standard | while read -r f; do [ ! -f "$f" ] || echo "$f"; done |
		tar -cf - -T - | tar -xf - -C "$copy"
	(
		cd "$copy" || exit
		printf '#include <stdio.h>\nint planted_a;\n' >mm/planted_libc.c
		printf '#include "vmm/abi.h"\n' >mm/planted_up.h
		printf '#include "mm/types.h"\n' >devices/planted_mm.c
		printf '#  include <unistd.h>\n' >devices/planted_system.c
		printf '#include "devices/irq.h"\n' >devices/planted_regs.h
		printf '#include "tests/fuzz/replay.c"\n' >vmm/planted_tests.c
		printf '#include "vmm/layout.h"\n' >guests/planted_vmm.c
		printf '#include "devices/irq.h"\n' >guests/planted_device.S
		printf '#include "../vmm/layout.h"\n' >mm/planted_detour.h
		printf 'uint64_t planted(struct nobody x);\n' >vmm/planted_needy.h
		printf 'int rogue(void);\nint planted(void);\nint planted(void) { return rogue(); }\n' >planted.c
		echo stray >PLANTED.txt
		# shellcheck disable=SC2086 # flags are words
		{ cat planted.c && echo 'int planted_global = 1;'; } |
			${CC:-gcc} ${FREESTANDING:--ffreestanding} -x c -c -o planted_object.o -
		cp "$MM" planted.a && ar rs planted.a planted_object.o && rm planted.c planted_object.o
		git init -q . && git add -A
	) >"$work/plant.out" 2>&1
	if (cd "$copy" && MM=planted.a tests/arrows.sh) >"$work/arrows.out" 2>&1; then
		fail arrows_see 'arrows.sh passed a tree with planted violations'
		return
	fi
	for planted in mm/planted_libc.c mm/planted_up.h devices/planted_mm.c devices/planted_system.c \
		'leaf: devices/planted_regs.h' vmm/planted_tests.c guests/planted_vmm.c guests/planted_device.S \
		mm/planted_detour.h 'alone: vmm/planted_needy.h' 'call this: rogue in' 'of .data in planted_object.o' \
		'top level: PLANTED.txt'; do
		grep -qF "$planted" "$work/arrows.out" || echo "arrows.sh did not see: $planted"
	done >"$work/unseen"
	judge arrows_see "$work/unseen"
}

# One bad file of each kind; each must be refused for its own reason.
lint_sees() {
	local bad=$work/lint

	mkdir "$bad"
	printf 'int main(void)\n{\n    return 0;\n}\n' >"$bad/format.c"
	printf 'int main(void)\n{\n\tint *p = 0;\n\treturn *p;\n}\n' >"$bad/null.c"
	printf '#!/bin/sh\nrm %s1\n' '$' >"$bad/quote.sh"
	printf 'text \n' >"$bad/white.txt"
	printf 'text' >"$bad/newline.txt"
	printf 'see /%s/someone/x\n' home >"$bad/path.txt"
	printf '#ifndef X_H\n#define X_H\n#endif\n' >"$bad/guard.h"
	while read -r file reason; do
		if tests/lint.sh "$bad/$file" >"$work/lint.out" 2>&1; then
			echo "lint.sh passed $file"
		elif ! grep -q "$reason" "$work/lint.out"; then
			echo "lint.sh refused $file, but not for $reason: $(head -n 1 "$work/lint.out")"
		fi
	done >"$work/unseen" <<-'END'
		format.c clang-format-violations
		null.c NullDereference
		quote.sh SC2086
		white.txt white
		newline.txt newline
		path.txt machine
		guard.h guard
	END
	judge lint_sees "$work/unseen"
}

exit_codes() { # from the enum, in README's table and in the man page; of each command, in its --help
	local command code

	groff -man -Tascii -P-c vmm/slat.1 2>/dev/null | sed 's/.\x08//g' >"$work/man.txt"
	sed -nE 's/^\tEXIT_[A-Z]+ = ([0-9]+),.*/\1/p' vmm/failure.h | while read -r code; do
		grep -sqE "^\|[ \`]*${code}[ \`]*\|" README.md || echo "README.md's table lacks exit code $code"
		grep -qE "^ +$code( |\$)" "$work/man.txt" || echo "slat.1 lacks exit code $code"
	done >"$work/codes"
	# Each command can be used wrongly, and be refused by the host: it says so.
	for command in $("$slat" --help 2>/dev/null | sed -nE 's/^  ([a-z]+) .*/\1/p'); do
		for code in 0 2 6; do
			"$slat" "$command" --help 2>/dev/null | tr '\n' ' ' | grep -qE "(Exit code|own are even): ([^.]*[ ,])?${code}[ ,]" ||
				echo "the exit codes of $command --help lack $code"
		done
	done >>"$work/codes"
	judge exit_codes "$work/codes"
}

man_page() { # formats without a warning; knows every command and option that --help shows
	{
		groff -man -ww -z vmm/slat.1 2>&1
		"$slat" --help 2>/dev/null | grep -oE '^  [a-z]+' | while read -r command; do
			grep -qw -- "$command" "$work/man.txt" || echo "slat.1 lacks the command $command"
			"$slat" "$command" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u | while read -r option; do
				grep -qF -- "$option" "$work/man.txt" || echo "slat.1 lacks $command $option"
			done
		done
	} >"$work/man.out"
	judge man_page "$work/man.out"
}

readme() { # its links lead somewhere, its make targets exist, its slat options are known
	{
		[ -f README.md ] || echo 'there is no README.md'
		grep -soE '\]\([^)#]+' README.md | sed 's/^](//' | grep -vE '^[a-z]+:' | while read -r link; do
			[ -e "$link" ] || echo "README.md links to $link, which is not there"
		done
		grep -soE '`make [a-z-]+' README.md | sed 's/.* //' | sort -u | while read -r target; do
			grep -qE "^([a-z-]+ )*$target( [a-z-]+)*:" Makefile || echo "README.md names make $target"
		done
	} >"$work/readme"
	judge readme "$work/readme"
}

# Every line of README that starts with `$ ` is run, in order, and must end well.
commands() {
	local command

	if ! [ -r "${KVM:-/dev/kvm}" ] || ! [ -w "${KVM:-/dev/kvm}" ]; then
		echo "SKIP docs/commands: no usable ${KVM:-/dev/kvm}"
		return
	fi
	sed -n 's/^\$ //p' README.md | sed "s|build/|$BUILD/|g" >"$work/commands"
	[ -s "$work/commands" ] || echo 'README.md has no commands' >"$work/bad"
	: >>"$work/bad"
	while read -r command; do
		bash -c "$command" </dev/null >"$work/command.out" 2>&1 ||
			echo "'$command' ended with code $?: $(tail -n 1 "$work/command.out")" >>"$work/bad"
	done <"$work/commands"
	judge commands "$work/bad"
}

completion() { # offers what --help offers
	local got

	got=$(
		PATH=$PWD/$BUILD:$PATH
		# shellcheck source=vmm/slat.bash
		. vmm/slat.bash
		COMP_WORDS=(slat run --mem) COMP_CWORD=2 COMPREPLY=()
		_slat && echo "${COMPREPLY[*]}"
		COMP_WORDS=(slat pro) COMP_CWORD=1 COMPREPLY=()
		_slat && echo "${COMPREPLY[*]}"
	)
	if [ "$got" = $'--memory --memory-zone\nprobe' ]; then
		pass completion
	else
		fail completion "run --mem and pro became: $got"
	fi
}

run_check arrows tests/arrows.sh
arrows_see
run_check lint tests/lint.sh
lint_sees
exit_codes
man_page
readme
commands
completion
exit "$failures"
