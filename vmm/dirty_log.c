/* vmm/dirty_log.c
 *
 * KVM keeps one bit a page of 4K for each slot that has KVM_MEM_LOG_DIRTY_PAGES
 * from the start: set when the guest writes, or KVM for it. What slat itself wrote
 * (the loaders did, before the guest ran) is not in it, as no D bit of a CPU's
 * table would be. No write is missing. But where KVM maps by EPT or NPT, a read
 * maps the page writable if the host has it already and may write to it, and that
 * sets the bit: after prefault=on all that was touched counts as written to. (Seen
 * with kvm_amd of Linux 6.12; kvm_pvm, with shadow tables, counts writes alone.)
 * A read-only slot has no log: nobody writes there.
 *
 * Cost. Of the log, to the guest: KVM maps by 4K and faults once a page. Here: 1
 * bit a page, and one step a slot and leaf. */
#include "vmm/dirty_log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/types.h"

#define WORD_BITS 64u

static size_t words_of(const struct slot *s)
{
	return (s->bytes / FRAME_BYTES + WORD_BITS - 1) / WORD_BITS;
}

static int fetch(struct dirty_log *d, int vm, struct failure *f)
{
	size_t word = 0;

	for (uint32_t i = 0; i < d->slots->count; i++) {
		const struct slot *s = &d->slots->slot[i];
		const struct kvm_dirty_log log = {.slot = s->id, .dirty_bitmap = d->bits + word};
		int error = s->readonly ? 0 : kvm_vm_dirty_log(vm, &log);

		if (error)
			return fail(f, EXIT_KVM, "KVM does not tell what the guest wrote to: %s", strerror(-error));
		word += words_of(s);
	}
	return 0;
}

int dirty_log_read(struct dirty_log *d, int vm, const struct slots *slots, struct failure *f)
{
	size_t words = 0;
	void *bits;

	for (uint32_t i = 0; i < slots->count; i++)
		words += words_of(&slots->slot[i]);
	*d = (struct dirty_log){.slots = slots, .bytes = words * sizeof(*d->bits)};
	bits = mmap(NULL, d->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bits == MAP_FAILED)
		return fail(f, EXIT_HOST, "no memory for what the guest wrote to (%zu bytes): %s", d->bytes,
			    strerror(errno));
	d->bits = bits;
	return fetch(d, vm, f);
}

void dirty_log_free(struct dirty_log *d)
{
	if (d->bits)
		munmap(d->bits, d->bytes);
	d->bits = NULL;
}

bool dirty_log_any(struct dirty_log *d, uint64_t gpa, uint64_t bytes)
{
	const struct slot *s;
	uint64_t first, end;

	while (d->at < d->slots->count && d->slots->slot[d->at].gpa + d->slots->slot[d->at].bytes <= gpa)
		d->at_word += words_of(&d->slots->slot[d->at++]);
	if (d->at == d->slots->count || d->slots->slot[d->at].gpa > gpa)
		return false;
	s = &d->slots->slot[d->at];
	first = (gpa - s->gpa) / FRAME_BYTES;
	end = first + bytes / FRAME_BYTES;
	for (uint64_t page = first; page < end; page++)
		if (d->bits[d->at_word + page / WORD_BITS] >> (page % WORD_BITS) & 1)
			return true;
	return false;
}
