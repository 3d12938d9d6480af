/* tests/unit/heap_bed.h: what tests of wrappers wrap: a general heap over an arena of
 * its own, and stacks that the test makes up. */
#ifndef SLAT_TESTS_UNIT_HEAP_BED_H
#define SLAT_TESTS_UNIT_HEAP_BED_H

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/call_stack.h"
#include "mm/general_heap.h"

#define BED_ALIGN (UINT64_C(1) << 26)

struct bed {
	struct frames frames;
	struct heap heap;
	unsigned char *map, *arena;
	size_t bytes;
	void *frames_meta, *heap_meta;
};

/* 64-byte aligned, zeroed. */
static inline void *bed_lines(size_t bytes)
{
	void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

	ck_assert_ptr_nonnull(memory);
	memset(memory, 0, bytes);
	return memory;
}

static inline void bed_open(struct bed *b, size_t bytes, unsigned cpus)
{
	struct frames_config frames = {.frame_count = bytes >> FRAME_SHIFT, .cpus = cpus};
	struct general_heap_config heap = {.frames = &b->frames, .frame_count = bytes >> FRAME_SHIFT, .cpus = cpus};
	size_t frames_bytes = frames_meta_bytes(frames.frame_count, cpus);
	size_t heap_bytes = general_heap_meta_bytes(frames.frame_count, cpus);

	b->bytes = bytes;
	b->map = mmap(NULL, bytes + BED_ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	ck_assert_ptr_ne(b->map, MAP_FAILED);
	b->arena = b->map + (-(uintptr_t)b->map & (BED_ALIGN - 1));
	heap.arena = b->arena;
	b->frames_meta = bed_lines(frames_bytes);
	b->heap_meta = bed_lines(heap_bytes);
	ck_assert_int_eq(frames_init(&b->frames, b->frames_meta, frames_bytes, &frames), MM_OK);
	ck_assert_int_eq(frames_donate(&b->frames, (struct pfn){0}, frames.frame_count), MM_OK);
	ck_assert_int_eq(general_heap_init(b->heap_meta, heap_bytes, &heap, &b->heap), MM_OK);
}

static inline void bed_close(struct bed *b)
{
	free(b->frames_meta);
	free(b->heap_meta);
	munmap(b->map, b->bytes + BED_ALIGN);
}

static inline struct call_stacks *bed_stacks(uint32_t stacks)
{
	size_t bytes = call_stacks_meta_bytes(stacks, (uint64_t)stacks * CALL_STACK_MAX);
	struct call_stacks *t;

	ck_assert_int_eq(call_stacks_init(bed_lines(bytes), bytes, stacks, (uint64_t)stacks * CALL_STACK_MAX, &t),
			 MM_OK);
	return t;
}

/* The stack that the next call is made from, each thread's own. */
static __thread struct call_stack bed_now;

static inline unsigned bed_take(void *self, uint64_t *pc, unsigned max)
{
	(void)self;
	ck_assert_uint_le(bed_now.count, max);
	memcpy(pc, bed_now.pc, bed_now.count * sizeof(*pc));
	return bed_now.count;
}

/* From main through `outer` in `inner`. */
static inline void bed_at(uint64_t inner, uint64_t outer)
{
	bed_now = (struct call_stack){.count = 3, .pc = {inner, outer, 0x1000}};
}

#endif
