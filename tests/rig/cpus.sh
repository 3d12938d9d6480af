#!/bin/bash
# tests/rig/cpus.sh: inside the rig: starts the CPUs behind the first, once a guest is there that stays
# (rig.sh says why). It waits for a debugger that does not come.
cpus=(/sys/devices/system/cpu/cpu[1-9]*/online)
[ -e "${cpus[0]}" ] || exit 0
"$BUILD/slat" run --gdb unix:/tmp/held --wait "$BUILD/guests/hello.elf" >/dev/null 2>&1 </dev/null &
until [ -e /tmp/held ] || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
for cpu in "${cpus[@]}"; do echo 1 >"$cpu"; done
