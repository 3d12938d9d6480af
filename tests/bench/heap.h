/* tests/bench/heap.h: the parts of the heaps' figures. Theory: top of heap.c.
 *
 * Threads: the main thread and the one of bench_pair(). */
#ifndef SLAT_TESTS_BENCH_HEAP_H
#define SLAT_TESTS_BENCH_HEAP_H

#include "mm/heap.h"
#include "mm/pool.h"
#include "tests/bench/bench.h"
#include "tests/bench/objects.h"

enum heap_kind {
	HEAP_POOL, /* no heap: objects of one size */
	HEAP_VARIABLE,
	HEAP_SEGREGATED,
	HEAP_SIZECLASS,
	HEAP_SIZECLASS_KEEPS,
	HEAP_FREELIST,
	HEAP_FREELIST_APART,
	HEAP_BUDDY,
	HEAP_ARENA,
	HEAP_KINDS,
};

const char *heap_kind_name(enum heap_kind kind);

/* A new one over memory of its own. */
void heap_make(enum heap_kind kind, size_t bytes, struct heap *out);
struct pool *heap_make_pool(uint32_t bytes, uint32_t most, const void *pattern, struct pool_config config);

/* Columns beyond slat's and the floor's, as heap.c names them. */
#define HEAP_PEERS   5u
#define HEAP_COLUMNS (BENCH_PEER + HEAP_PEERS)

int heap_serve(const char *name); /* one kind, as objects_serve() */

/* Their rows. */
void heap_flaws(struct bench *b);
void heap_vec(struct bench *b);
void heap_bulk(struct bench *b);
void heap_worst(struct bench *b);

#endif
