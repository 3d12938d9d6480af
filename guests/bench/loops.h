/* guests/bench/loops.h: the loops that are timed, the same code on the host and
 * inside a guest, for slat, its floors and its peers. The clock is the caller's:
 * he times a whole call.
 *
 * LOOPS(name, take, give, touch) makes `static const struct loops name`, in which
 * take, give and touch are inlined (or called straight, if they are out of
 * line): no pointer to a function inside a loop. Equal seeds and counts are
 * equal streams of operations.
 * Memory:  all of it the caller's, here and in what the loops take from.
 * Threads: a loop is one thread's; produce and consume share a ring, two threads. */
#ifndef SLAT_GUESTS_BENCH_LOOPS_H
#define SLAT_GUESTS_BENCH_LOOPS_H

#include <stdint.h>

#include "mm/port.h"

#define LOOP_NONE      UINTPTR_MAX /* what take answers when there is no more */
#define LOOP_ORDER_MAX 10u	   /* of loop_mixed() */
#define LOOP_RING      1024u	   /* items under way from producer to consumer, at most */
#define LOOP_BATCH     32u	   /* items that the ring's ends hand over at once: one line's trip for many */
#define LOOP_LINE      64u
#define LOOP_SPINS     4096u /* then whoever else wants this CPU may have it: the other end may be among them */

typedef uintptr_t loop_take(void *self, unsigned order);
typedef void loop_give(void *self, uintptr_t item, unsigned order);
typedef void loop_touch(uintptr_t item, uint64_t value);

/* One producer, one consumer. Zero is empty. */
struct loop_ring {
	uint64_t written __attribute__((aligned(LOOP_LINE))); /* the producer's */
	uint64_t read __attribute__((aligned(LOOP_LINE)));    /* the consumer's */
	uintptr_t item[LOOP_RING] __attribute__((aligned(LOOP_LINE)));
};

/* What a loop works on; each takes what it needs. */
struct loop {
	void *self;	 /* for take and give: the allocator, and who calls it */
	unsigned order;	 /* for take and give: of all items but mixed ones */
	uintptr_t *item; /* room for `count` of them */
	uint8_t *orders; /* the same, for mixed */
	uint32_t count;
	uint64_t pairs; /* of a take and a give */
	uint64_t seed;
	struct loop_ring *ring;
};

struct loops {
	void (*hot)(const struct loop *l);     /* pairs times: take one, give it back */
	void (*lifo)(const struct loop *l);    /* take `count`, give them back the last first; pairs in all */
	void (*fill)(const struct loop *l);    /* take `count` */
	void (*drain)(const struct loop *l);   /* give `count` back, in the order of item[] */
	void (*random)(const struct loop *l);  /* pairs times: give a random item back, take another in its place */
	void (*mixed)(const struct loop *l);   /* the same, the new one of a random order; items may be LOOP_NONE */
	void (*empty)(const struct loop *l);   /* gives back what mixed left */
	void (*produce)(const struct loop *l); /* pairs (a multiple of LOOP_BATCH) of takes, into the ring */
	void (*consume)(const struct loop *l); /* the gives to it */
};

#define LOOP_INLINE static inline __attribute__((always_inline))

/* Knuth's MMIX generator: one multiplication, which hides behind whatever is timed. Its high half is good. */
static inline uint32_t loop_random(uint64_t *state, uint32_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*state >> 32) * below >> 32);
}

static inline void loop_shuffle(const struct loop *l)
{
	uint64_t state = l->seed;

	for (uint32_t i = l->count; i > 1; i--) {
		uint32_t j = loop_random(&state, i);
		uintptr_t item = l->item[i - 1];

		l->item[i - 1] = l->item[j];
		l->item[j] = item;
	}
}

/* Objects are written to, as whoever asks for one does; a frame's number has nothing to write to. */
static inline void loop_write(uintptr_t item, uint64_t value)
{
	*(volatile uint64_t *)item = value;
}

static inline void loop_leave(uintptr_t item, uint64_t value)
{
	(void)item;
	(void)value;
}

/* What the item is stays unknown to the compiler, or it would leave out a malloc() and its free(). */
LOOP_INLINE uintptr_t loop_one(const struct loop *l, unsigned order, uint64_t value, loop_take *take, loop_touch *touch)
{
	uintptr_t item = take(l->self, order);

	__asm__ volatile("" : "+r"(item));
	touch(item, value);
	return item;
}

LOOP_INLINE void loop_hot(const struct loop *l, loop_take *take, loop_give *give, loop_touch *touch)
{
	for (uint64_t i = 0; i < l->pairs; i++)
		give(l->self, loop_one(l, l->order, i, take, touch), l->order);
}

LOOP_INLINE void loop_fill(const struct loop *l, loop_take *take, loop_touch *touch)
{
	for (uint32_t i = 0; i < l->count; i++)
		l->item[i] = loop_one(l, l->order, i, take, touch);
}

LOOP_INLINE void loop_drain(const struct loop *l, loop_give *give)
{
	for (uint32_t i = 0; i < l->count; i++)
		give(l->self, l->item[i], l->order);
}

LOOP_INLINE void loop_lifo(const struct loop *l, loop_take *take, loop_give *give, loop_touch *touch)
{
	for (uint64_t done = 0; done < l->pairs; done += l->count) {
		loop_fill(l, take, touch);
		for (uint32_t i = l->count; i > 0; i--)
			give(l->self, l->item[i - 1], l->order);
	}
}

LOOP_INLINE void loop_replace(const struct loop *l, loop_take *take, loop_give *give, loop_touch *touch)
{
	uint64_t state = l->seed;

	for (uint64_t i = 0; i < l->pairs; i++) {
		uintptr_t *item = &l->item[loop_random(&state, l->count)];

		give(l->self, *item, l->order);
		*item = loop_one(l, l->order, i, take, touch);
	}
}

LOOP_INLINE void loop_mixed(const struct loop *l, loop_take *take, loop_give *give)
{
	uint64_t state = l->seed;

	for (uint64_t i = 0; i < l->pairs; i++) {
		uint32_t slot = loop_random(&state, l->count);
		unsigned order = loop_random(&state, LOOP_ORDER_MAX + 1);

		if (l->item[slot] != LOOP_NONE)
			give(l->self, l->item[slot], l->orders[slot]);
		l->item[slot] = take(l->self, order);
		l->orders[slot] = (uint8_t)order;
	}
}

LOOP_INLINE void loop_empty(const struct loop *l, loop_give *give)
{
	for (uint32_t i = 0; i < l->count; i++) {
		if (l->item[i] != LOOP_NONE)
			give(l->self, l->item[i], l->orders[i]);
		l->item[i] = LOOP_NONE;
	}
}

/* Until *word is at least `least`. */
static inline void loop_wait(const uint64_t *word, uint64_t least)
{
	for (uint32_t spins = 1; __atomic_load_n(word, __ATOMIC_ACQUIRE) < least; spins++) {
		if (spins % LOOP_SPINS)
			__builtin_ia32_pause();
		else
			mm_yield();
	}
}

LOOP_INLINE void loop_produce(const struct loop *l, loop_take *take, loop_touch *touch)
{
	struct loop_ring *ring = l->ring;

	for (uint64_t i = 0; i < l->pairs; i += LOOP_BATCH) {
		if (i + LOOP_BATCH > LOOP_RING)
			loop_wait(&ring->read, i + LOOP_BATCH - LOOP_RING);
		for (uint64_t j = i; j < i + LOOP_BATCH; j++)
			ring->item[j % LOOP_RING] = loop_one(l, l->order, j, take, touch);
		__atomic_store_n(&ring->written, i + LOOP_BATCH, __ATOMIC_RELEASE);
	}
}

LOOP_INLINE void loop_consume(const struct loop *l, loop_give *give)
{
	struct loop_ring *ring = l->ring;

	for (uint64_t i = 0; i < l->pairs; i += LOOP_BATCH) {
		loop_wait(&ring->written, i + LOOP_BATCH);
		for (uint64_t j = i; j < i + LOOP_BATCH; j++)
			give(l->self, ring->item[j % LOOP_RING], l->order);
		__atomic_store_n(&ring->read, i + LOOP_BATCH, __ATOMIC_RELEASE);
	}
}

/* A copy, so that its fields are in registers: a load of one in the loop waits for
 * the allocator's last store if the two are a multiple of 4 KiB apart, and where
 * the caller's stack lies decides whether they are (slab, hot: 1.9 ns, not 1.25). */
#define LOOP_AS(name, call)                                                                                            \
	static void name(const struct loop *given)                                                                     \
	{                                                                                                              \
		const struct loop copy = *given, *const l = &copy;                                                     \
                                                                                                                       \
		call;                                                                                                  \
	}

#define LOOPS(name, take, give, touch)                                                                                 \
	LOOP_AS(name##_hot, loop_hot(l, take, give, touch))                                                            \
	LOOP_AS(name##_lifo, loop_lifo(l, take, give, touch))                                                          \
	LOOP_AS(name##_fill, loop_fill(l, take, touch))                                                                \
	LOOP_AS(name##_drain, loop_drain(l, give))                                                                     \
	LOOP_AS(name##_random, loop_replace(l, take, give, touch))                                                     \
	LOOP_AS(name##_mixed, loop_mixed(l, take, give))                                                               \
	LOOP_AS(name##_empty, loop_empty(l, give))                                                                     \
	LOOP_AS(name##_produce, loop_produce(l, take, touch))                                                          \
	LOOP_AS(name##_consume, loop_consume(l, give))                                                                 \
	static const struct loops name = {name##_hot,	name##_lifo,  name##_fill,    name##_drain,  name##_random,    \
					  name##_mixed, name##_empty, name##_produce, name##_consume}

#endif
