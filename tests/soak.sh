#!/bin/bash
# tests/soak.sh: what needs gigabytes or hours and so is not in `make check`:
# long fuzzing, and the guests' table with its rows for soak.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} KVM=${KVM:-/dev/kvm}
bad=0

WHERE=soak tests/guests.sh || bad=1
"${MAKE:-make}" --no-print-directory fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-600}" || bad=1
exit "$bad"
