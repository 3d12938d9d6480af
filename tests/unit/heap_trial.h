/* tests/unit/heap_trial.h: what the tests of several heaps of mm/ do alike: the
 * conformance suite, a record of what is live under random operations, refusals on
 * purpose of which no byte is seen afterwards, wrong calls, two threads at once. */
#ifndef SLAT_TESTS_UNIT_HEAP_TRIAL_H
#define SLAT_TESTS_UNIT_HEAP_TRIAL_H

#include <check.h>
#include <pthread.h>
#include <sched.h>
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

static inline void *trial_take(const struct heap *heap, size_t bytes)
{
	void *memory = heap_alloc(heap, 0, bytes);

	ck_assert_ptr_nonnull(memory);
	return memory;
}

/* The whole conformance suite, twice. Of `c` the scratch is filled in here. */
static inline void trial_suite(struct heap_conformance c)
{
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

static inline void trial_conforms(const struct heap *heap, enum heap_reuse reuse, uint64_t operations)
{
	trial_suite((struct heap_conformance){
		.heap = heap, .seed = operations, .operations = operations, .cpu = 5, .reuse = reuse});
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

/* Takes `bytes` again and again until there is no room, then frees all: how many they were. */
static inline uint64_t trial_flood(const struct heap *heap, size_t bytes)
{
	void *list = NULL, *memory;
	uint64_t n = 0;

	for (; (memory = heap_alloc(heap, 0, bytes)); n++) {
		*(void **)memory = list;
		list = memory;
	}
	while ((memory = list)) {
		list = *(void **)memory;
		heap_free(heap, 0, memory, bytes);
	}
	ck_assert_uint_eq(heap_stats_read(heap).allocations, 0);
	return n;
}

/* Each call that can be refused is, by `fail` (of the heap or of one below it), and leaves
 * `state` as it was to the byte. `old` is live. */
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

/* Of a heap that lives in one piece of memory: from the start of a line, of 4 KiB to `bytes_max`. */
static inline void trial_init_refuses(enum mm_err (*init)(void *memory, size_t bytes, struct heap *out),
				      size_t bytes_max)
{
	unsigned char *memory = trial_lines(8192);
	struct heap out;

	ck_assert_int_eq(init(NULL, 8192, &out), MM_EINVAL);
	ck_assert_int_eq(init(memory + 32, 4096, &out), MM_EINVAL);
	ck_assert_int_eq(init(memory, 4095, &out), MM_EINVAL);
	ck_assert_int_eq(init(memory, bytes_max + 1, &out), MM_EINVAL);
	ck_assert_int_eq(init(memory, 4097, &out), MM_OK);
	ck_assert_uint_le(heap_stats_read(&out).bytes_total, 4097);
	ck_assert(heap_check(&out));
	free(memory);
}

/* Internal fragmentation is a figure: 136 B in 144 and a header, 4,097 in 4,112 and one. */
static inline void trial_given_beside_headers(const struct heap *heap)
{
	struct heap_stats none = heap_stats_read(heap), s;

	trial_take(heap, 136);
	s = heap_stats_read(heap);
	ck_assert(s.bytes_asked == 136 && s.bytes_given == 144);
	ck_assert_uint_eq(s.bytes_held - none.bytes_held, 160);
	trial_take(heap, 4097);
	s = heap_stats_read(heap);
	ck_assert(s.bytes_asked == 4233 && s.bytes_given == 144 + 4112);
	ck_assert_uint_eq(s.bytes_held - none.bytes_held, 160 + 4128);
}

/* Those that every heap sees, but for the first; a test's own are numbered from TRIAL_WRONGS. */
enum trial_wrong {
	TRIAL_USABLE_FREED, /* not seen where the heap below holds the block still */
	TRIAL_TWICE,
	TRIAL_TWICE_ALL_FREE,
	TRIAL_INSIDE,
	TRIAL_ODD,
	TRIAL_TOO_LONG,
	TRIAL_REALLOC_TOO_LONG,
	TRIAL_WRONGS
};

/* A call that panics. `memory` and `other`, of `bytes` each, were taken in this order. */
static inline void trial_wrong(const struct heap *heap, enum trial_wrong how, unsigned char *memory, void *other,
			       size_t bytes)
{
	size_t usable = heap_usable(heap, memory);

	switch (how) {
	case TRIAL_USABLE_FREED:
		heap_free(heap, 0, memory, bytes);
		heap_usable(heap, memory);
		break;
	case TRIAL_TWICE:
		heap_free(heap, 0, memory, bytes);
		heap_free(heap, 0, memory, bytes);
		break;
	case TRIAL_TWICE_ALL_FREE: /* what said whose it was is merged, or gone, by then */
		heap_free(heap, 0, memory, bytes);
		heap_free(heap, 0, other, bytes);
		heap_free(heap, 0, other, bytes);
		break;
	case TRIAL_INSIDE:
		heap_free(heap, 0, memory + 16, 0);
		break;
	case TRIAL_ODD:
		heap_free(heap, 0, memory + 1, 0);
		break;
	case TRIAL_TOO_LONG:
		heap_free(heap, 0, memory, usable + 1);
		break;
	default: /* in place: nothing that is freed on the way sees it instead */
		heap_realloc(heap, 0, memory, usable + 1, usable);
	}
}

/* ---- two threads ---- */

struct trial_pair {
	const struct heap *heap;
	size_t (*trim)(const struct heap *heap, unsigned cpu); /* called now and then; NULL: never */
	unsigned entered;
};

static inline void trial_mine(const unsigned char *at, size_t bytes, unsigned cpu)
{
	if (at[0] != cpu + 1 || at[bytes - 1] != cpu + 1)
		abort();
}

/* Writes all that it takes, and sees that it stays so until it is freed. */
static inline void *trial_churn(void *self)
{
	struct trial_pair *pair = self;
	unsigned cpu = __atomic_fetch_add(&pair->entered, 1, __ATOMIC_RELAXED), n;
	uint64_t random = cpu + 1;
	unsigned char *mine[64] = {NULL};
	size_t bytes[64];

	while (__atomic_load_n(&pair->entered, __ATOMIC_RELAXED) < 2)
		sched_yield(); /* or one is done before the other starts */
	for (unsigned i = 0; i < 1000000; i++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		n = (random >> 40) % 64;
		if (pair->trim && i % 1000 == 0)
			pair->trim(pair->heap, cpu);
		if (!mine[n]) {
			bytes[n] = 1 + (random >> 50) % 3000;
			mine[n] = heap_alloc(pair->heap, cpu, bytes[n]);
			if (mine[n])
				memset(mine[n], (int)cpu + 1, bytes[n]);
			continue;
		}
		trial_mine(mine[n], bytes[n], cpu);
		if (i % 5 == 0) {
			mine[n] = heap_realloc(pair->heap, cpu, mine[n], bytes[n], bytes[n]);
			trial_mine(mine[n], bytes[n], cpu);
		}
		heap_free(pair->heap, cpu, mine[n], bytes[n]);
		mine[n] = NULL;
	}
	for (n = 0; n < 64; n++)
		heap_free(pair->heap, cpu, mine[n], 0);
	return NULL;
}

static inline void trial_threads(const struct heap *heap, size_t (*trim)(const struct heap *heap, unsigned cpu))
{
	struct trial_pair pair = {.heap = heap, .trim = trim};
	pthread_t thread[2];

	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, trial_churn, &pair), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}

#endif
