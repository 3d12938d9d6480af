/* Blocks laid into a guest's RAM: each frame where it belongs, guards nowhere,
 * and exactly as many table pages as were counted. The model is a page at a time. */
#include <check.h>
#undef fail
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "vmm/layout.h"
#include "vmm/stitch.h"

Suite *stitch_suite(void);

#define BASE   (UINT64_C(1) << 28) /* the pool's first frame */
#define FRAMES 6000u
#define BLOCKS 60u
#define GIB    (UINT64_C(1) << 30)
#define MIB2   (UINT64_C(2) << 20)

struct pages {
	uint64_t next, most;
};

static enum mm_err get(void *self, struct pfn *out)
{
	struct pages *p = self;

	if (p->next == p->most)
		return MM_ENOMEM;
	*out = (struct pfn){p->next++};
	return MM_OK;
}

static void put(void *self, struct pfn page)
{
	(void)self;
	(void)page;
}

static enum mm_err build(const struct stitch *s, enum pagetable_size leaf, uint64_t pages, void *arena,
			 struct pages *source, struct pagetable *table)
{
	const struct pagetable_attr attr = {.rights = PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_USER};
	const struct pagetable_config config = {
		.format = PAGETABLE_NPT,
		.phys_bits = 46,
		.leaf_max = leaf,
		.arena = arena,
		.arena_frames = pages,
		.pages = {source, get, put},
	};
	enum mm_err err;

	*source = (struct pages){0, pages};
	err = pagetable_init(table, &config);
	return err == MM_OK ? stitch_map(s, table, attr) : err;
}

/* It is enough, and one less is not. */
static void check_pages(const struct stitch *s, enum pagetable_size leaf)
{
	const uint64_t need = stitch_table_pages(s, leaf);
	void *arena = aligned_alloc(FRAME_BYTES, need * FRAME_BYTES);
	struct pagetable table;
	struct pages source;

	ck_assert_int_eq(build(s, leaf, need, arena, &source, &table), MM_OK);
	ck_assert(pagetable_check(&table));
	ck_assert_uint_eq(source.next, need);
	ck_assert_int_eq(build(s, leaf, need - 1, arena, &source, &table), MM_ENOMEM);
	free(arena);
}

/* Frames of the pool, each once, cut at random; `mode` keeps to multiples of 512 now and then. */
static uint32_t random_blocks(struct block *block, bool aligned)
{
	uint64_t at = below(1024), unit = aligned ? 512 : 1;
	uint32_t n = 0;

	for (; n < BLOCKS && at < FRAMES; n++) {
		uint64_t frames = (1 + below(aligned ? 3 : 700)) * unit;

		block[n] = (struct block){.first = {BASE + (aligned ? (at + 511) / 512 * 512 : at)},
					  .bytes = frames * FRAME_BYTES};
		at = block[n].first.n - BASE + frames + below(2) * below(600);
	}
	for (uint32_t i = n; i > 1; i--) {
		uint32_t k = (uint32_t)below(i);
		struct block was = block[k];

		block[k] = block[i - 1];
		block[i - 1] = was;
	}
	return n;
}

static void random_ranges(struct guest_ranges *r, uint64_t frames)
{
	ck_assert_uint_gt(frames, 0);
	*r = (struct guest_ranges){0};
	for (unsigned i = 0; i < 6; i++) {
		uint64_t at = below(frames), count = 1 + below(below(2) ? 3 : 600);
		struct failure f = {0};
		char text[64];

		snprintf(text, sizeof(text), "0x%" PRIx64 "+0x%" PRIx64, at * FRAME_BYTES, count * FRAME_BYTES);
		(void)guest_ranges_add(r, below(2) ? GUEST_GUARD : GUEST_READONLY, text, &f); /* overlaps are refused */
	}
}

static const struct guest_range *range_at(const struct guest_ranges *r, uint64_t gpa)
{
	for (unsigned i = 0; i < r->count; i++)
		if (gpa >= r->range[i].gpa && gpa - r->range[i].gpa < r->range[i].bytes)
			return &r->range[i];
	return NULL;
}

static void check_frames(const struct stitch *s, const struct pagetable *table)
{
	uint64_t offset = 0;

	for (uint32_t i = 0; i < s->blocks; i++) {
		for (uint64_t in = 0; in < s->block[i].bytes; in += FRAME_BYTES, offset += FRAME_BYTES) {
			const struct guest_range *range = range_at(s->ranges, stitch_gpa(offset));
			struct pagetable_leaf leaf;
			bool mapped = pagetable_walk(table, stitch_gpa(offset), &leaf);

			ck_assert_int_eq(mapped, !range || range->kind != GUEST_GUARD);
			if (!mapped)
				continue;
			ck_assert_uint_eq(leaf.out + (stitch_gpa(offset) - leaf.in),
					  s->block[i].first.n * FRAME_BYTES + in);
			ck_assert_int_eq(!(leaf.attr.rights & PAGETABLE_WRITE), range != NULL);
		}
	}
	ck_assert(!pagetable_walk(table, stitch_gpa(offset), &(struct pagetable_leaf){0}));
}

START_TEST(every_frame_lies_where_it_belongs)
{
	static struct block block[BLOCKS];

	seed(_i + 1);
	for (unsigned round = 0; round < 40; round++) {
		const enum pagetable_size leaf = (enum pagetable_size)below(3);
		struct guest_ranges ranges;
		struct stitch s = {block, random_blocks(block, below(2)), &ranges};
		struct pagetable table;
		struct pages source;
		uint64_t need, frames = 0;
		void *arena;

		for (uint32_t i = 0; i < s.blocks; i++)
			frames += s.block[i].bytes / FRAME_BYTES;
		random_ranges(&ranges, frames);
		need = stitch_table_pages(&s, leaf);
		arena = aligned_alloc(FRAME_BYTES, need * FRAME_BYTES);
		ck_assert_int_eq(build(&s, leaf, need, arena, &source, &table), MM_OK);
		check_frames(&s, &table);
		free(arena);
	}
}
END_TEST

/* Around the hole, at its edges, with each leaf; in one block, and in extents of 2M that lie in no order. */
START_TEST(counted_pages_are_needed_pages)
{
	static const uint64_t sizes[] = {2, 3, 33, 128, 512, 1023, 1024, 3071, 3072, 3073, 5120, 70000};
	static struct block scattered[40000];
	const uint64_t bytes = (sizes[_i / 2] << 20) + (_i % 2 ? FRAME_BYTES : 0);
	const struct guest_ranges none = {0};
	struct guest_ranges ranges = {2, {{0x100000, 0x1000, GUEST_GUARD}, {0x180000, 0x3000, GUEST_READONLY}}};
	const struct block one = {.first = {BASE}, .bytes = bytes};
	uint32_t n = 0;

	for (uint64_t at = 0; at < bytes; at += MIB2, n++)
		scattered[n] = (struct block){.first = {BASE + (UINT64_C(40000) - n) * 512},
					      .bytes = bytes - at < MIB2 ? bytes - at : MIB2};
	for (unsigned leaf = 0; leaf < PAGETABLE_SIZES; leaf++) {
		check_pages(&(struct stitch){&one, 1, &none}, (enum pagetable_size)leaf);
		check_pages(&(struct stitch){&one, 1, &ranges}, (enum pagetable_size)leaf);
		check_pages(&(struct stitch){scattered, n, &none}, (enum pagetable_size)leaf);
	}
}
END_TEST

/* Guards at the first and the last frame, at the hole's both edges, and all of a block. */
START_TEST(guards_at_the_edges)
{
	const struct block block[] = {{.first = {BASE}, .bytes = 2 * GIB}, {.first = {BASE + GIB}, .bytes = 2 * GIB}};
	const struct guest_ranges ranges = {4,
					    {{0, FRAME_BYTES, GUEST_GUARD},
					     {3 * GIB - FRAME_BYTES, FRAME_BYTES, GUEST_GUARD},
					     {4 * GIB, FRAME_BYTES, GUEST_READONLY},
					     {5 * GIB - FRAME_BYTES, FRAME_BYTES, GUEST_GUARD}}};
	const struct stitch s = {block, 2, &ranges};
	struct stitch_cursor at = {0};
	uint64_t sum = 0, guarded = 0;
	struct piece p;

	while (stitch_next(&s, &at, &p)) {
		sum += p.bytes;
		guarded += p.kind == PIECE_GUARD ? p.bytes : 0;
	}
	ck_assert_uint_eq(sum, 4 * GIB);
	ck_assert_uint_eq(guarded, 3 * FRAME_BYTES);
	for (unsigned leaf = 0; leaf < PAGETABLE_SIZES; leaf++)
		check_pages(&s, (enum pagetable_size)leaf);
}
END_TEST

Suite *stitch_suite(void)
{
	Suite *s = suite_create("stitch");
	TCase *t = tcase_create("stitch");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, every_frame_lies_where_it_belongs, 0, 5);
	tcase_add_loop_test(t, counted_pages_are_needed_pages, 0, 24);
	tcase_add_test(t, guards_at_the_edges);
	suite_add_tcase(s, t);
	return s;
}
