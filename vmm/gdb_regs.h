/* vmm/gdb_regs.h: a vCPU's registers as GDB counts them: one block of bytes, the
 * order of target.xml, little endian. Pure.
 * It is the 64-bit machine whatever mode the guest is in: GDB takes a target's
 * description once, a guest changes its mode. In 16 and 32-bit code GDB therefore
 * shows the right registers and disassembles them wrongly, unless it is told
 * (`set architecture i386`, before it connects).
 * Threads: any. */
#ifndef SLAT_VMM_GDB_REGS_H
#define SLAT_VMM_GDB_REGS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_REGS_BYTES 600u
#define GDB_REGS_RIP   16u /* its number */

struct gdb_regs {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
};

/* x87 and SSE out of XSAVE's area, and into it; what else it has stays. */
void gdb_regs_from_xsave(const struct kvm_xsave *from, struct kvm_fpu *to);
void gdb_regs_to_xsave(const struct kvm_fpu *from, struct kvm_xsave *to);

/* Where register `number` lies in the block; false iff there is none. */
bool gdb_regs_place(uint64_t number, size_t *offset, size_t *bytes);

void gdb_regs_pack(const struct gdb_regs *from, uint8_t *block);
/* Changes in *to what the block says; the hidden parts of segments stay, but the bases of FS and GS. */
void gdb_regs_unpack(const uint8_t *block, struct gdb_regs *to);

/* target.xml's bytes from `offset` on, `room` at most; 0: that is its end. */
size_t gdb_regs_xml(size_t offset, char *to, size_t room);

#endif
