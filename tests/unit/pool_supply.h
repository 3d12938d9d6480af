/* tests/unit/pool_supply.h: a source of chunks that counts, and knows what it gave. */
#ifndef SLAT_TESTS_UNIT_POOL_SUPPLY_H
#define SLAT_TESTS_UNIT_POOL_SUPPLY_H

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mm/pool.h"

#define SUPPLY_CHUNKS 256u

struct supply {
	pthread_mutex_t lock;
	void *chunk[SUPPLY_CHUNKS]; /* NULL: none is out here */
	size_t bytes[SUPPLY_CHUNKS];
	uint64_t out, out_max; /* bytes, now; that there may be */
	uint64_t asked, given; /* calls */
	uint64_t refuse_at;    /* the call, from 1, that is refused; 0: none */
};

static inline void supply_open(struct supply *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->out_max = UINT64_MAX;
}

static inline enum mm_err supply_take(void *self, unsigned cpu, size_t bytes, size_t align, void **out)
{
	struct supply *s = self;
	size_t lines = (bytes + 4095) & ~(size_t)4095;
	enum mm_err err = MM_ENOMEM;
	unsigned i = 0;

	(void)cpu;
	pthread_mutex_lock(&s->lock);
	s->asked++;
	while (s->chunk[i])
		i++;
	if (i >= SUPPLY_CHUNKS - 1 || align > 4096)
		abort();
	if (s->asked != s->refuse_at && s->out + bytes <= s->out_max) {
		s->chunk[i] = aligned_alloc(4096, lines);
		s->bytes[i] = bytes;
		if (!s->chunk[i])
			abort();
		memset(s->chunk[i], 0xa5, bytes);
		s->out += bytes;
		*out = s->chunk[i];
		err = MM_OK;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

static inline void supply_give(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct supply *s = self;
	unsigned i = 0;

	(void)cpu;
	pthread_mutex_lock(&s->lock);
	while (i < SUPPLY_CHUNKS && s->chunk[i] != memory)
		i++;
	if (i == SUPPLY_CHUNKS || s->bytes[i] != bytes)
		abort();
	s->chunk[i] = NULL;
	s->given++;
	s->out -= bytes;
	pthread_mutex_unlock(&s->lock);
	free(memory);
}

static inline struct pool_source supply_source(struct supply *s)
{
	return (struct pool_source){s, supply_take, supply_give};
}

/* A supply that a thread waits for, while another one comes to the same pool. */
struct slow_supply {
	struct supply supply;
	uint32_t entered; /* 1: somebody waits; 2: and was seen to */
};

static inline enum mm_err slow_supply_take(void *self, unsigned cpu, size_t bytes, size_t align, void **out)
{
	struct slow_supply *s = self;

	__atomic_store_n(&s->entered, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&s->entered, __ATOMIC_ACQUIRE) != 2)
		sched_yield();
	usleep(100000); /* the other one calls meanwhile */
	return supply_take(&s->supply, cpu, bytes, align, out);
}

static inline void slow_supply_meet(struct slow_supply *s)
{
	while (!__atomic_load_n(&s->entered, __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_store_n(&s->entered, 2, __ATOMIC_RELEASE);
}

static inline void *lines_take(size_t bytes)
{
	void *memory = aligned_alloc(65536, (bytes + 65535) & ~(size_t)65535);

	ck_assert_ptr_nonnull(memory);
	return memory;
}

#endif
