/* vmm/operand.h: where the memory operand of one x86 instruction lies. Theory: top of operand.c. Pure; any thread. */
#ifndef SLAT_VMM_OPERAND_H
#define SLAT_VMM_OPERAND_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum operand_end {
	OPERAND_FOUND,
	OPERAND_NONE, /* of memory; or the instruction is not one that this knows */
	OPERAND_CUT,  /* the instruction does not end within the bytes given */
};

struct operand {
	uint64_t linear;
	unsigned bytes; /* at most so many */
	bool write;	/* as far as the opcode tells */
};

/* code: what lies at rip, 15 bytes are enough. *out is written on OPERAND_FOUND. */
enum operand_end operand_find(const uint8_t *code, size_t bytes, const struct kvm_regs *regs,
			      const struct kvm_sregs *sregs, struct operand *out);

#endif
