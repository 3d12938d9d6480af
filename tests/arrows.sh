#!/bin/bash
# tests/arrows.sh: may each file of a room include what it includes, does each
# header compile alone, does mm/ need nothing but its port, and does the top
# level hold only what it may? Works on the tree in the current directory, so
# that the self test (tests/docs.sh) can run it on a spoiled copy.
# From make: CC, HEADER_FLAGS, FREESTANDING, and MM, a plain build's libmm.a.
# Not seen: an include hidden behind a macro's value that is itself allowed, and
# a function of another room that is declared by hand instead of included.
set -u
export LC_ALL=C
: "${CC:=gcc}" "${HEADER_FLAGS:=-std=gnu11 -D_GNU_SOURCE}" "${FREESTANDING:=-ffreestanding}" "${MM:=${BUILD:-build}/libmm.a}"
bad=0

refuse() { # reads complaints, one a line
	while IFS= read -r line; do
		echo "arrows: $1: $line"
		bad=1
	done
}

# room, the "..." it may include, the <...> it may include (extended regular expressions), a pattern of files left out
room() {
	local room=$1 quoted=$2 angled=$3 but=${4:-}
	local any='^[[:space:]]*#[[:space:]]*include'

	refuse "$room/ may not include this" < <(
		find "$room" -name '*.[chS]' -not -name "$but" -exec grep -HnE "$any" {} + |
			grep -vE "include[[:space:]]*(\"($quoted)\"|<($angled)>)"
	)
}

free='(std(arg|align|atomic|bool|def|int|noreturn)|limits|float|iso646)\.h'
room mm 'mm/[a-z0-9_]+\.h' "$free"
room devices 'devices/[a-z0-9_]+\.h' "$free|string\.h" 'iommu*'
room vmm '(vmm|devices|mm)/[a-z0-9_/]+\.h' '[a-zA-Z0-9_/-]+\.h'
room guests 'guests/[a-z0-9_/]+\.h|mm/[a-z0-9_]+\.h|vmm/abi\.h|devices/[a-z0-9_]+_regs\.h' "$free"
refuse 'devices/ may not include this' < <(
	grep -HnE '^[[:space:]]*#[[:space:]]*include' devices/iommu*.[ch] 2>/dev/null |
		grep -vE "include[[:space:]]*(\"(devices/[a-z0-9_]+\.h|mm/[a-z0-9_]+\.h)\"|<($free|string\.h)>)"
)
# What guests and devices share must be leaves, or guests would include devices by a detour.
refuse 'a header of registers is a leaf' < <(
	grep -HnE '^[[:space:]]*#[[:space:]]*include' vmm/abi.h devices/*_regs.h 2>/dev/null | grep -vE "<($free)>"
)

alone() {
	local header=$1 flags=$HEADER_FLAGS said

	case $header in
	mm/* | guests/*) flags="$flags $FREESTANDING" ;;
	esac
	# shellcheck disable=SC2086 # flags are words
	said=$(printf '#include "%s"\n' "$header" | $CC $flags -I. -x c -fsyntax-only - 2>&1) ||
		echo "$header: $(grep -m 1 error <<<"$said" || tail -n 1 <<<"$said")"
}
export -f alone
export CC HEADER_FLAGS FREESTANDING
refuse 'does not compile alone' < <(
	find mm devices vmm guests -name '*.h' | sort | xargs -P "$(nproc)" -I {} bash -c 'alone {}'
)

if [ ! -f "$MM" ]; then
	refuse 'nothing to look at' <<<"$MM is not built"
else
	own=$(nm --defined-only "$MM" 2>/dev/null | awk 'NF == 3 { print $3 }')
	refuse 'mm/ may not call this' < <(
		nm -A -u "$MM" 2>/dev/null | awk '{ print $NF, $1 }' |
			awk -v own="$own" '
				BEGIN {
					n = split(own " mm_panic mm_yield memcpy memmove memset memcmp", names)
					for (i = 1; i <= n; i++) known[names[i]]
				}
				!($1 in known) && $1 != "_GLOBAL_OFFSET_TABLE_" { print $1 " in " $2 }'
	)
	refuse 'mm/ keeps no globals' < <(
		size -A "$MM" | awk '/ex / { file = $1 } /^\.(data|bss|tdata|tbss)[ .]/ && $1 !~ /rel\.ro/ && $2 > 0 { print $2 " bytes of " $1 " in " file }'
	)
fi

top() { git ls-files 2>/dev/null || find . -mindepth 1 -maxdepth 1 -printf '%f\n'; }
refuse 'may not lie at the top level' < <(
	top | cut -d / -f 1 | sort -u | grep -vxE 'vmm|mm|devices|guests|tests|Makefile|README\.md|LICENSE|\..*|build'
)
exit "$bad"
