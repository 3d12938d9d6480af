/* vmm/explain.h: why KVM could not go on with a vCPU, in words.
 * Threads: the vCPU's own, out of the guest. */
#ifndef SLAT_VMM_EXPLAIN_H
#define SLAT_VMM_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/failure.h"

struct vcpu;

/* error: what KVM_RUN answered (-errno), or 0 and the exit reason tells. Stores
 * one sentence, and in dump the registers and the code at rip. */
void explain(const struct vcpu *c, int error, struct failure *why, char *dump, size_t size);

/* The registers and the code at rip, as explain() has them. */
void explain_registers(const struct vcpu *c, char *dump, size_t size);

/* The instruction at `code` iff it is one of those that the emulator of a host
 * without hardware help is known to lack; else NULL. long_mode tells REX prefixes from INC. Pure. */
const char *explain_instruction(const uint8_t *code, size_t bytes, int long_mode);

#endif
