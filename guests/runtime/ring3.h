/* guests/runtime/ring3.h: run a function in ring 3.
 *
 * For speed, and to prove the USER bit; not a boundary of trust. On a host
 * whose KVM is nested without hardware help ring 0 is interpreted at some
 * 300 ns an instruction and ring 3 runs at native speed, so all heavy work goes
 * there. SYSRET leads down. An invalid instruction at the one place that
 * ring3_invalid() knows leads back: soft interrupts fail on such hosts, and
 * SYSCALL arrives there still in ring 3 (seen with kvm_pvm on Linux 6.18). */
#ifndef SLAT_GUESTS_RUNTIME_RING3_H
#define SLAT_GUESTS_RUNTIME_RING3_H

#include <stddef.h>
#include <stdint.h>

/* fn(arg) in ring 3, on this CPU's ring-3 stack (16 KiB), interrupts off; what
 * it returns. fn may read and write what is not private, so arg points at static
 * data or RAM, never at the stack of its caller; it has no ports, no console.
 * Ring 0 only; does not nest. */
uint64_t ring3_call(uint64_t (*fn)(void *), void *arg);

/* The gate of the invalid-instruction exception: back from ring 3, or on to
 * trap_report(). */
void ring3_invalid(void);

#endif
