/* tests/unit/heap_trial.h: what the tests of each heap of mm/ that one thread calls do
 * alike: the conformance suite, a record of what is live under random operations,
 * refusals on purpose of which no byte is seen afterwards. */
#ifndef SLAT_TESTS_UNIT_HEAP_TRIAL_H
#define SLAT_TESTS_UNIT_HEAP_TRIAL_H

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "mm/heap_conformance.h"
#include "tests/unit/random.h"

#define TRIAL_KIB   ((size_t)1 << 10)
#define TRIAL_MIB   ((size_t)1 << 20)
#define TRIAL_SLOTS 256u

struct trial_slot { /* all its bytes are `fill` */
	unsigned char *at;
	size_t bytes;
	unsigned char fill;
};

struct trial_record {
	const struct heap *heap;
	struct trial_slot slot[TRIAL_SLOTS];
	uint64_t asked, live, refused;
	size_t bytes_max; /* of one */
};

/* Aligned as every heap's memory is; dirty, as memory is that had another use. */
static inline void *trial_lines(size_t bytes)
{
	void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

	ck_assert_ptr_nonnull(memory);
	memset(memory, 0xa5, bytes);
	return memory;
}

static inline void trial_conforms(const struct heap *heap, enum heap_reuse reuse, uint64_t operations)
{
	struct heap_conformance c = {
		.heap = heap, .seed = operations, .operations = operations, .cpu = 5, .reuse = reuse};
	const char *offended;
	uint64_t a, b;

	c.scratch_bytes = heap_conformance_scratch_bytes();
	c.scratch = trial_lines(c.scratch_bytes);
	for (unsigned again = 0; again < 2; again++) {
		offended = heap_conformance_run(&c, &a, &b);
		ck_assert_msg(!offended, "%s (%lu, %lu)", offended, a, b);
	}
	free(c.scratch);
}

static inline void trial_holds(const struct trial_slot *s, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += i < 64 || i + 64 > bytes ? 1 : 61)
		if (s->at[i] != s->fill)
			ck_abort_msg("byte %lu of %lu was written by somebody else", i, bytes);
}

static inline void trial_fill(struct trial_record *r, struct trial_slot *s, void *memory, size_t bytes)
{
	*s = (struct trial_slot){memory, bytes + (bytes == 0), (unsigned char)(1 + below(255))};
	memset(memory, s->fill, s->bytes);
	r->asked += s->bytes;
	r->live++;
}

static inline void trial_forget(struct trial_record *r, struct trial_slot *s)
{
	r->asked -= s->bytes;
	r->live--;
	s->at = NULL;
}

static inline void trial_step(struct trial_record *r)
{
	struct trial_slot *s = &r->slot[below(TRIAL_SLOTS)], old = *s;
	size_t bytes = below(1 + below(1 + below(r->bytes_max)));
	void *memory;

	if (!s->at) {
		memory = below(8) ? heap_alloc(r->heap, 0, bytes)
				  : heap_alloc_aligned(r->heap, 0, bytes, (size_t)16 << below(6));
		r->refused += !memory;
		if (memory)
			trial_fill(r, s, memory, bytes);
		return;
	}
	if (below(4) == 0) {
		memory = heap_realloc(r->heap, 0, s->at, s->bytes, bytes);
		r->refused += !memory;
		if (!memory) {
			trial_holds(s, s->bytes);
			return;
		}
		trial_forget(r, s);
		old.at = memory;
		trial_holds(&old, old.bytes < bytes ? old.bytes : bytes);
		trial_fill(r, s, memory, bytes);
		return;
	}
	trial_holds(s, s->bytes);
	heap_free(r->heap, 0, s->at, s->bytes);
	trial_forget(r, s);
}

static inline void trial_agrees(const struct trial_record *r)
{
	struct heap_stats s = heap_stats_read(r->heap);

	ck_assert_uint_eq(s.allocations, r->live);
	ck_assert_uint_eq(s.bytes_asked, r->asked);
	ck_assert_uint_ge(s.bytes_given, s.bytes_asked);
	ck_assert(heap_check(r->heap));
}

/* How many of them were refused. All is freed again. */
static inline uint64_t trial_random(const struct heap *heap, uint64_t operations, size_t bytes_max)
{
	struct trial_record r = {.heap = heap, .bytes_max = bytes_max};

	for (uint64_t i = 0; i < operations; i++) {
		trial_step(&r);
		if (i % 128 == 0)
			trial_agrees(&r);
	}
	for (unsigned i = 0; i < TRIAL_SLOTS; i++)
		if (r.slot[i].at) {
			heap_free(heap, 0, r.slot[i].at, r.slot[i].bytes);
			trial_forget(&r, &r.slot[i]);
		}
	trial_agrees(&r);
	return r.refused;
}

/* Each call that can be refused is, by `fail` (of the heap or of one below it), and leaves
 * `state` as it was to the byte. `old` is live, `beside` NULL or live. */
static inline void trial_refusals(const struct heap *heap, const struct heap *fail, void *old, size_t old_bytes,
				  const void *state, size_t state_bytes)
{
	void *before = trial_lines(state_bytes);

	memcpy(before, state, state_bytes);
	for (unsigned call = 0; call < 5; call++) {
		void *memory = old;

		heap_fail_after(fail, 1);
		if (call == 0)
			memory = heap_alloc(heap, 0, 100);
		else if (call == 1)
			memory = heap_alloc_aligned(heap, 0, 5000, 128);
		else if (call == 2)
			memory = heap_alloc_zeroed(heap, 0, 3, 30);
		else if (call == 3)
			memory = heap_realloc(heap, 0, old, old_bytes, heap_usable(heap, old) + 1);
		else
			memory = heap_realloc(heap, 0, NULL, 0, 3000);
		ck_assert_ptr_null(memory);
		ck_assert_int_eq(memcmp(before, state, state_bytes), 0);
		ck_assert(heap_check(heap));
	}
	free(before);
}

#endif
