/* vmm/slots.h: KVM's memslots, derived from the second-level table's runs and
 * never edited by hand. A range that the table does not map has no slot; a run
 * without WRITE becomes a read-only slot. Ids of slots that went are used again.
 * Threads: one, and no vCPU is inside the guest while slots change. */
#ifndef SLAT_VMM_SLOTS_H
#define SLAT_VMM_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/failure.h"
#include "vmm/kvm.h"
#include "vmm/memory.h"
#include "vmm/ram.h"

struct slot {
	uint32_t id;
	uint64_t gpa, bytes;
	uint64_t host; /* hva */
	bool readonly;
};

struct slots {		       /* live ones, in gpa order */
	struct memory *memory; /* that the lists are taken from */
	struct slot *slot;
	uint32_t count, room;
	uint32_t limit;	 /* how many KVM takes */
	bool log_writes; /* of those that are not read-only, from the next sync on (vmm/dirty_log.h) */
};

struct slots_change { /* what to tell KVM: first every removal, then every addition */
	struct memory *memory;
	struct slot *remove, *add;
	uint32_t removals, additions;
};

void slots_init(struct slots *s, struct memory *memory, uint32_t limit);
void slots_fini(struct slots *s);

/* The least change that brings `s` to what the table says. Pure: `s` stays as it
 * is. The change is freed by slots_change_free(). EXIT_HOST iff the table needs
 * more slots than the limit, or memory ran out. */
int slots_derive(const struct slots *s, const struct ram *ram, struct slots_change *out, struct failure *f);
void slots_change_free(struct slots_change *c);

/* Makes room for the change; then slots_note() takes note of as many of its removals and additions as KVM took, from
 * the first on, and cannot fail. EXIT_HOST iff memory ran out. */
int slots_reserve(struct slots *s, const struct slots_change *c, struct failure *f);
void slots_note(struct slots *s, const struct slots_change *c, uint32_t removed, uint32_t added);

/* Derives, tells KVM, and takes note. On failure the slots that KVM took are noted. */
int slots_sync(struct slots *s, int vm, const struct ram *ram, struct failure *f);

#endif
