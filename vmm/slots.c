/* vmm/slots.c
 *
 * S1  slots are sorted by gpa, disjoint, and their ids are distinct and below limit.
 * S2  after a sync, slot for slot, they equal the table's runs: same gpa, host
 *     address, length and right to write.
 * A slot that is as the table wants it is never touched: changing one is delete
 * and create, which costs KVM a grace period and every shadow page below it.
 * Cost: passes over the runs and the slots, whatever changes; KVM's own cost is that of the slots that change. */
#include "vmm/slots.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "mm/scoped.h"
#include "vmm/size.h"

void slots_init(struct slots *s, struct memory *memory, uint32_t limit)
{
	*s = (struct slots){.memory = memory, .limit = limit};
}

void slots_fini(struct slots *s)
{
	memory_free(s->memory, s->slot);
	*s = (struct slots){0};
}

void slots_change_free(struct slots_change *c)
{
	memory_free(c->memory, c->remove);
	memory_free(c->memory, c->add);
	*c = (struct slots_change){0};
}

static bool slot_same(const struct slot *a, const struct slot *b)
{
	return a->gpa == b->gpa && a->bytes == b->bytes && a->host == b->host && a->readonly == b->readonly;
}

static bool append(struct vec *list, const struct slot *one)
{
	struct slot *at = vec_push(list);

	if (at)
		*at = *one;
	return at;
}

/* Neighbouring runs that differ only in what a slot cannot say (the right to execute) are one slot. */
static bool next_wanted(const struct ram *ram, uint64_t *at, struct slot *out)
{
	struct pagetable_run run;
	bool any = false;

	while (pagetable_next_run(ram->table, *at, &run)) {
		struct slot piece = {
			.gpa = run.in,
			.bytes = run.bytes,
			.host = (uintptr_t)ram->host + (run.out - ram->host_base),
			.readonly = !(run.attr.rights & PAGETABLE_WRITE),
		};

		if (any && (piece.gpa != out->gpa + out->bytes || piece.host != out->host + out->bytes ||
			    piece.readonly != out->readonly))
			break;
		if (any)
			out->bytes += piece.bytes;
		else
			*out = piece;
		any = true;
		*at = run.in + run.bytes;
	}
	return any;
}

/* Ids that stay are marked; the new slots take the lowest others, those of removed slots among them. As many ids as
 * there are old and new slots always hold enough. */
static bool give_ids(const struct slots *s, const bool *stays, struct vec *add)
{
	const size_t ids = s->count + add->count;
	SCOPED_BLOCK(marks) = scoped_alloc_zeroed(memory_heap(s->memory), MEMORY_MAIN_CPU, ids, 1);
	uint8_t *used = marks.at;
	uint32_t id = 0;

	if (!used)
		return false;
	for (uint32_t i = 0; i < s->count; i++)
		if (stays[i] && s->slot[i].id < ids)
			used[s->slot[i].id] = 1;
	for (size_t i = 0; i < add->count; i++) {
		while (used[id])
			id++;
		((struct slot *)vec_at(add, i))->id = id++;
	}
	return true;
}

static int no_memory(struct failure *f)
{
	return fail(f, EXIT_HOST, "no memory for the list of memslots");
}

/* What the table wants and is not there, and what is there and not wanted; the others are marked. *wanted: all. */
static bool compare(const struct slots *s, const struct ram *ram, bool *stays, struct vec *add, struct vec *remove,
		    uint32_t *wanted)
{
	struct slot one = {0};
	uint64_t at = 0;
	uint32_t i = 0;

	for (*wanted = 0; next_wanted(ram, &at, &one); ++*wanted) {
		while (i < s->count && s->slot[i].gpa < one.gpa)
			i++;
		if (i < s->count && slot_same(&s->slot[i], &one))
			stays[i] = true;
		else if (!append(add, &one))
			return false;
	}
	for (i = 0; i < s->count; i++)
		if (!stays[i] && !append(remove, &s->slot[i]))
			return false;
	return true;
}

int slots_derive(const struct slots *s, const struct ram *ram, struct slots_change *out, struct failure *f)
{
	const struct heap *heap = memory_heap(s->memory);
	const struct vec_config lists = {.heap = heap, .cpu = MEMORY_MAIN_CPU, .element = sizeof(struct slot)};
	SCOPED_BLOCK(stays) = scoped_alloc_zeroed(heap, MEMORY_MAIN_CPU, s->count, sizeof(bool));
	SCOPED_VEC(add);
	SCOPED_VEC(remove);
	uint32_t wanted;

	*out = (struct slots_change){.memory = s->memory};
	vec_init(&add, &lists);
	vec_init(&remove, &lists);
	if (!stays.at || !compare(s, ram, stays.at, &add, &remove, &wanted))
		return no_memory(f);
	if (wanted > s->limit)
		return fail(f, EXIT_HOST,
			    "the guest's memory falls into %" PRIu32 " slots and KVM has %" PRIu32 " here", wanted,
			    s->limit);
	if (!give_ids(s, stays.at, &add))
		return no_memory(f);
	out->additions = (uint32_t)add.count;
	out->removals = (uint32_t)remove.count;
	out->add = vec_keep(&add);
	out->remove = vec_keep(&remove);
	return 0;
}

static uint32_t flags_of(const struct slots *s, const struct slot *one)
{
	if (one->readonly)
		return KVM_MEM_READONLY;
	return s->log_writes ? KVM_MEM_LOG_DIRTY_PAGES : 0;
}

static int tell(const struct slots *s, int vm, const struct slot *one, uint64_t bytes, struct failure *f)
{
	struct kvm_userspace_memory_region region = {
		.slot = one->id,
		.flags = bytes ? flags_of(s, one) : 0,
		.guest_phys_addr = one->gpa,
		.memory_size = bytes,
		.userspace_addr = one->host,
	};
	int error = kvm_vm_set_slot(vm, &region);

	if (!error)
		return 0;
	return fail(f, EXIT_KVM, "KVM refused memslot %" PRIu32 " (%s at guest address 0x%" PRIx64 "): %s", one->id,
		    size_format(bytes).s, one->gpa, strerror(-error));
}

/* Drops the first `count` of the change's removals; both lists are in gpa order. */
static void forget(struct slots *s, const struct slots_change *c, uint32_t count)
{
	uint32_t kept = 0, gone = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		if (gone < count && s->slot[i].id == c->remove[gone].id)
			gone++;
		else
			s->slot[kept++] = s->slot[i];
	}
	s->count = kept;
}

/* Merges the first `count` of the change's additions, from the end, since there is room behind. */
static void note(struct slots *s, const struct slots_change *c, uint32_t count)
{
	uint32_t at = s->count + count, old = s->count;

	s->count = at;
	while (count > 0) {
		if (old > 0 && s->slot[old - 1].gpa > c->add[count - 1].gpa)
			s->slot[--at] = s->slot[--old];
		else
			s->slot[--at] = c->add[--count];
	}
}

int slots_reserve(struct slots *s, const struct slots_change *c, struct failure *f)
{
	const uint32_t need = s->count + c->additions;
	struct slot *grown;

	if (need <= s->room)
		return 0;
	grown = memory_realloc(s->memory, s->slot, need * sizeof(*grown));
	if (!grown)
		return no_memory(f);
	s->slot = grown;
	s->room = need;
	return 0;
}

void slots_note(struct slots *s, const struct slots_change *c, uint32_t removed, uint32_t added)
{
	forget(s, c, removed);
	note(s, c, added);
}

int slots_sync(struct slots *s, int vm, const struct ram *ram, struct failure *f)
{
	uint32_t removed = 0, added = 0;
	struct slots_change change;

	if (slots_derive(s, ram, &change, f))
		return f->code;
	if (!slots_reserve(s, &change, f)) {
		while (removed < change.removals && !tell(s, vm, &change.remove[removed], 0, f))
			removed++;
		while (!f->code && added < change.additions &&
		       !tell(s, vm, &change.add[added], change.add[added].bytes, f))
			added++;
		slots_note(s, &change, removed, added);
	}
	slots_change_free(&change);
	return f->code;
}
