#!/bin/bash
# tests/soak.sh: what needs gigabytes or hours and so is not in `make check`:
# long fuzzing, a minute of redis-server and more of Python's own tests on slat's heap,
# gigabytes on a stock kernel's disk, the guests' table with its rows for soak, and the oracles on
# tables that are new each time (a seed that fails is named; ORACLE_SEED repeats it).
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} KVM=${KVM:-/dev/kvm}
bad=0

WHERE=soak tests/guests.sh || bad=1
ORACLE_RUNS=${ORACLE_RUNS:-10} ORACLE_SEED=${ORACLE_SEED:-$(date +%s)} tests/oracle/oracle.sh bochs-ept bochs-npt qemu-npt || bad=1
LONG=1 tests/preload.sh || bad=1
RIG_CPUS=1 RIG_SECONDS=3600 tests/rig/rig.sh 'DEVICES_SOAK=2048 tests/rig/devices.sh' || bad=1
"${MAKE:-make}" --no-print-directory fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-600}" || bad=1
exit "$bad"
