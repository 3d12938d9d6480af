#!/bin/bash
# tests/soak.sh: what needs gigabytes or hours and so is not in `make check`:
# long fuzzing, and the rows of the guests' table that are tagged soak.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} KVM=${KVM:-/dev/kvm}
bad=0

tests/guests.sh soak || bad=1
"${MAKE:-make}" --no-print-directory fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-600}" || bad=1
exit "$bad"
