/* vmm/fault_find.c
 *
 * What it is. KVM tells an access to where no slot is, or a write to a read-only
 * slot, as an MMIO exit with its address, if its emulator knows the instruction.
 * Else it tells that it could not emulate, with no address at all: an AVX or SSE
 * instruction that it lacks, a fetch from there, an exception whose frame has no
 * stack. What such an exit leaves are the registers. So the accesses of the
 * instruction at rip are tried one by one, in the order in which a CPU makes
 * them, through the guest's own tables and then ours:
 *
 *   1  the fetch of its first byte,
 *   2  the fetch of the first byte that is missing, iff it does not end before,
 *   3  its memory operand, and that operand's part in the next page,
 *   4  the stack: what a push, a call or an exception would write, a pop would read.
 *
 * Each may end in an entry of the guest's own tables that is not there (a walk
 * through a guard), or in a byte that is not there, or may not be written. The
 * first that does is the answer. What is outside the guest's RAM is none: an
 * access where neither RAM nor a device is has another answer.
 *
 * What it is not. Proof: the guest's other CPUs may have changed its tables
 * meanwhile, and an instruction may have failed for a reason of its own while
 * its stack happens to end at a guard.
 *
 * Cost: some 20 walks, once a run. Bounded by that, whatever the guest wrote. */
#include "vmm/fault_find.h"

#include "vmm/guest_walk.h"
#include "vmm/operand.h"

#define CODE_BYTES 15u
#define WORD	   8u

static bool forbidden(const struct fault_scene *s, uint64_t gpa, enum fault_access access)
{
	struct pagetable_leaf leaf;

	if (!s->is_ram(s->self, gpa))
		return false;
	if (!pagetable_walk(s->ram->table, gpa, &leaf))
		return true;
	return access == FAULT_WRITE && !(leaf.attr.rights & PAGETABLE_WRITE);
}

static enum guest_walk_end walk(const struct fault_scene *s, uint64_t linear, uint64_t *gpa)
{
	const struct guest_paging paging = {s->sregs->cr0, s->sregs->cr3, s->sregs->cr4, s->sregs->efer};

	return guest_walk(s->ram, &paging, linear, gpa, NULL);
}

static bool tried(const struct fault_scene *s, uint64_t linear, enum fault_access access, struct fault *out)
{
	uint64_t gpa = 0;
	enum guest_walk_end end = walk(s, linear, &gpa);

	if (end == GUEST_WALK_ABSENT)
		return false;
	if (end == GUEST_WALK_LOST)
		access = FAULT_READ;
	if (!forbidden(s, gpa, access))
		return false;
	out->access = access;
	out->walk = end == GUEST_WALK_LOST;
	out->gpa = gpa;
	out->has_linear = true;
	out->linear = linear;
	return true;
}

/* Byte by byte, as far as they are there. */
static size_t read_code(const struct fault_scene *s, uint64_t linear, uint8_t *code)
{
	size_t got = 0;
	uint64_t gpa;

	while (got < CODE_BYTES && walk(s, linear + got, &gpa) == GUEST_WALK_DONE &&
	       ram_read(s->ram, gpa, code + got, 1))
		got++;
	return got;
}

static bool try_operand(const struct fault_scene *s, const struct operand *o, struct fault *out)
{
	const enum fault_access access = o->write ? FAULT_WRITE : FAULT_READ;
	const uint64_t next = (o->linear | (FRAME_BYTES - 1)) + 1;

	if (tried(s, o->linear, access, out))
		return true;
	return next - o->linear < o->bytes && tried(s, next, access, out);
}

bool fault_find(const struct fault_scene *s, struct fault *out)
{
	const uint64_t rip = s->sregs->cs.base + s->regs->rip, stack = s->sregs->ss.base + s->regs->rsp;
	uint8_t code[CODE_BYTES];
	struct operand operand;
	size_t bytes;

	out->rip = s->regs->rip;
	out->ring = s->sregs->ss.dpl;
	out->rip_past = false;
	out->bytes = 0;
	if (tried(s, rip, FAULT_FETCH, out))
		return true;
	bytes = read_code(s, rip, code);
	switch (operand_find(code, bytes, s->regs, s->sregs, &operand)) {
	case OPERAND_FOUND:
		if (try_operand(s, &operand, out))
			return true;
		break;
	case OPERAND_CUT:
		if (tried(s, rip + bytes, FAULT_FETCH, out))
			return true;
		break;
	case OPERAND_NONE:
		break;
	}
	return tried(s, stack - WORD, FAULT_WRITE, out) || tried(s, stack, FAULT_READ, out);
}
