/* tests/unit/test_frames.c: mm/frames against a map of owners, alone and from many threads.
 * What it does not see: time, and a membarrier(2) that does not do what it says. */
#include <check.h>
#undef fail
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mm/buddy.h"
#include "mm/frames_impl.h"
#include "tests/unit/random.h"

Suite *frames_suite(void);

#define REGION FRAMES_REGION
#define NOBODY UINT64_MAX

/* ck_assert() writes to a pipe under a lock even when all is well: too slow for each frame, and it makes threads queue.
 */
#define MUST(expression)                                                                                               \
	do {                                                                                                           \
		if (!(expression))                                                                                     \
			ck_abort_msg("%s", #expression);                                                               \
	} while (0)

struct run {
	uint64_t first;
	unsigned order;
};

struct world {
	struct frames f;
	struct frames_shared *s;
	void *before; /* a copy of the state */
	size_t bytes;
	uint64_t frames, given, free; /* given: frames below this were donated */
	unsigned cpus;
	uint8_t *owned; /* a byte a frame: 1, somebody has it, or nobody ever gave it */
	struct run *live;
	uint64_t lives;
};

static unsigned barriers;

static void no_barrier_needed(void *self)
{
	(void)self;
	barriers++;
}

static void world_open(struct world *w, uint64_t frames, unsigned cpus, bool barrier)
{
	struct frames_config config = {frames, cpus, barrier ? no_barrier_needed : NULL, NULL, false};

	memset(w, 0, sizeof(*w));
	w->bytes = frames_meta_bytes(frames, cpus);
	ck_assert_uint_gt(w->bytes, 0);
	w->s = aligned_alloc(64, w->bytes);
	w->before = aligned_alloc(64, w->bytes);
	w->owned = malloc(frames);
	w->live = calloc(frames, sizeof(*w->live));
	w->frames = frames;
	w->cpus = cpus;
	memset(w->s, 0xa5, w->bytes);
	memset(w->owned, 1, frames);
	ck_assert_int_eq(frames_init(&w->f, w->s, w->bytes, &config), MM_OK);
	ck_assert(frames_check(&w->f));
}

static void world_give(struct world *w, uint64_t first, uint64_t frames)
{
	ck_assert_int_eq(frames_donate(&w->f, (struct pfn){first}, frames), MM_OK);
	memset(w->owned + first, 0, frames);
	w->free += frames;
}

static void world_full(struct world *w, uint64_t frames, unsigned cpus, bool barrier)
{
	world_open(w, frames, cpus, barrier);
	world_give(w, 0, frames);
	w->given = frames;
}

static void world_close(struct world *w)
{
	free(w->s);
	free(w->before);
	free(w->owned);
	free(w->live);
}

static void drain_all(struct world *w)
{
	for (unsigned cpu = 0; cpu < w->cpus; cpu++)
		frames_drain(&w->f, cpu);
}

static uint64_t *word_of_chunk(struct world *w, uint64_t chunk)
{
	return (uint64_t *)(void *)((char *)w->s + w->s->layout.chunks_at) + chunk;
}

static uint64_t *word_of_area(struct world *w, uint64_t area)
{
	return (uint64_t *)(void *)((char *)w->s + w->s->layout.areas_at) + area;
}

static uint64_t *map_word(struct world *w, unsigned class)
{
	return (uint64_t *)(void *)((char *)w->s + w->s->layout.maps_at) + class * w->s->layout.map_words;
}

static struct frames_region *region_at(struct world *w, uint64_t region)
{
	return (struct frames_region *)(void *)((char *)w->s + w->s->layout.regions_at) + region;
}

static struct frames_cpu *cpu_at(struct world *w, unsigned cpu)
{
	return (struct frames_cpu *)(void *)((char *)w->s + sizeof(*w->s) + (size_t)cpu * w->s->layout.cpu_bytes);
}

static uint64_t get(struct world *w, unsigned cpu, unsigned order)
{
	struct pfn out = {NOBODY};
	enum mm_err err = frames_alloc(&w->f, cpu, order, &out);

	MUST(err == MM_OK);
	MUST(out.n % (UINT64_C(1) << order) == 0);
	return out.n;
}

static enum mm_err put(struct world *w, unsigned cpu, uint64_t first, unsigned order)
{
	return frames_free(&w->f, cpu, (struct pfn){first}, order);
}

/* ---- the model ---- */

static bool all_are(const struct world *w, uint64_t first, uint64_t n, uint8_t what)
{
	for (uint64_t i = first; i < first + n; i++)
		if (w->owned[i] != what)
			return false;
	return true;
}

static bool any_run(const struct world *w, unsigned order)
{
	uint64_t n = UINT64_C(1) << order;

	for (uint64_t first = 0; first + n <= w->frames; first += n)
		if (all_are(w, first, n, 0))
			return true;
	return false;
}

static void paint(struct world *w, uint64_t first, unsigned order, uint8_t what)
{
	uint64_t n = UINT64_C(1) << order;

	MUST(first + n <= w->frames);
	MUST(all_are(w, first, n, !what));
	memset(w->owned + first, what, n);
	w->free = what ? w->free - n : w->free + n;
}

static void compare(struct world *w)
{
	struct frames_stats stats = frames_stats_read(&w->f);
	uint64_t in_runs = 0;

	for (unsigned order = 0; order <= FRAMES_ORDER_MAX; order++)
		in_runs += stats.runs_free[order] << order;
	MUST(frames_check(&w->f));
	MUST(stats.frames_free == w->free);
	MUST(stats.frames_free == in_runs + stats.frames_cached);
	MUST(stats.frames_free_min <= stats.frames_free);
	MUST(stats.meta_bytes == w->bytes);
}

/* Nothing is left in stacks: the maximal aligned runs are the model's. */
static void compare_runs(struct world *w)
{
	struct frames_stats stats;
	uint64_t want[FRAMES_ORDER_MAX + 1] = {0}, n;

	drain_all(w);
	stats = frames_stats_read(&w->f);
	ck_assert_uint_eq(stats.frames_cached, 0);
	for (uint64_t first = 0; first < w->frames; first += n) {
		unsigned order = 0;

		n = 1;
		if (w->owned[first])
			continue;
		while (order < FRAMES_ORDER_MAX && first % (2 * n) == 0 && first + 2 * n <= w->frames &&
		       all_are(w, first + n, n, 0)) {
			order++;
			n *= 2;
		}
		want[order]++;
	}
	ck_assert_mem_eq(want, stats.runs_free, sizeof(want));
}

static void do_alloc(struct world *w, unsigned cpu, unsigned order)
{
	struct pfn out = {NOBODY};
	enum mm_err err = frames_alloc(&w->f, cpu, order, &out);

	if (err == MM_ENOMEM && w->f.barrier == NULL) {
		drain_all(w); /* what frames_alloc() could only ask for */
		err = frames_alloc(&w->f, cpu, order, &out);
	}
	if (err == MM_ENOMEM) {
		MUST(out.n == NOBODY);
		MUST(!any_run(w, order));
		return;
	}
	MUST(err == MM_OK);
	MUST(out.n % (UINT64_C(1) << order) == 0);
	paint(w, out.n, order, 1);
	w->live[w->lives++] = (struct run){out.n, order};
}

static void do_free(struct world *w, unsigned cpu)
{
	uint64_t k = below(w->lives);
	struct run run = w->live[k];

	w->live[k] = w->live[--w->lives];
	paint(w, run.first, run.order, 0);
	MUST(put(w, cpu, run.first, run.order) == MM_OK);
}

static void do_bulk(struct world *w, unsigned cpu)
{
	static struct pfn frames[700];
	uint32_t n = (uint32_t)below(700), got = frames_alloc_bulk(&w->f, cpu, frames, n);

	if (got < n && w->f.barrier == NULL) {
		drain_all(w);
		got += frames_alloc_bulk(&w->f, cpu, frames + got, n - got);
	}
	MUST(got == n || w->free == got);
	for (uint32_t i = 0; i < got; i++)
		paint(w, frames[i].n, 0, 1);
	for (uint32_t i = 0; i < got; i++)
		paint(w, frames[i].n, 0, 0);
	frames_free_bulk(&w->f, (unsigned)below(w->cpus), frames, got);
}

/* Where there are no stacks the core sees each free: one of a run of which something is free is refused. */
static void do_wrong_free(struct world *w, unsigned cpu, unsigned order)
{
	uint64_t n = UINT64_C(1) << order, first = below(w->frames) / n * n;
	bool outside = first + n > w->frames;

	if (order < FRAMES_STACK_ORDERS && w->s->layout.limit[order])
		return;
	if (!outside && all_are(w, first, n, 1))
		return; /* only its owner knows */
	drain_all(w);
	memcpy(w->before, w->s, w->bytes);
	ck_assert_int_eq(put(w, cpu, first, order), outside ? MM_EINVAL : MM_ESTATE);
	ck_assert_mem_eq(w->before, w->s, w->bytes);
}

static void do_donate(struct world *w)
{
	uint64_t hole = below(4) ? 0 : below(200), n = 1 + below(3000);

	w->given += hole;
	if (w->given + n > w->frames) {
		w->given = w->frames;
		return;
	}
	world_give(w, w->given, n);
	w->given += n;
}

static unsigned any_order(unsigned big)
{
	if (below(2))
		return 0;
	if (big && below(400) == 0)
		return FRAMES_ORDER_MAX - (unsigned)below(8);
	return (unsigned)below(11);
}

static void do_one(struct world *w, bool big)
{
	unsigned cpu = (unsigned)below(w->cpus), what = (unsigned)below(1000);

	if (what < 20 && w->given < w->frames)
		do_donate(w);
	else if (what < 23)
		frames_drain(&w->f, cpu);
	else if (what < 30)
		do_bulk(w, cpu);
	else if (what < 40)
		do_wrong_free(w, cpu, any_order(big));
	else if (what < 500 || w->lives == 0)
		do_alloc(w, cpu, any_order(big));
	else
		do_free(w, cpu);
}

static const struct {
	uint64_t frames;
	unsigned cpus, deeds, pace;
	bool barrier, big;
} worlds[] = {
	{3 * REGION + 777, 4, 150000, 256, true, false},
	{3 * REGION + 777, 4, 150000, 256, false, false},
	{8 * REGION, 2, 150000, 1024, true, true},
	{8 * REGION, 2, 100000, 1024, false, true},
	{1000, 2, 150000, 16, true, false},
	{2 * REGION + 100, FRAMES_CPUS_MAX, 60000, 512, true, false},
	{20 * REGION + 12345, 1, 100000, 2048, true, true},
	{63, 1, 60000, 8, true, false},
	{40000, 1, 100000, 128, false, false},
};

START_TEST(random_deeds)
{
	struct world w;

	seed(4711 + (uint64_t)_i);
	world_open(&w, worlds[_i].frames, worlds[_i].cpus, worlds[_i].barrier);
	for (unsigned i = 0; i < worlds[_i].deeds; i++) {
		do_one(&w, worlds[_i].big);
		if (i % worlds[_i].pace == 0)
			compare(&w);
	}
	compare_runs(&w);
	while (w.lives)
		do_free(&w, 0);
	compare_runs(&w);
	compare(&w);
	world_close(&w);
}
END_TEST

/* ---- arguments, memory, donation ---- */

START_TEST(two_bits_a_frame)
{
	for (unsigned cpus = 1; cpus <= 16; cpus++) {
		for (uint64_t frames = UINT64_C(1) << 18; frames < UINT64_C(1) << 32;
		     frames += frames / 7 + below(1000))
			ck_assert_uint_le(8 * frames_meta_bytes(frames, cpus), 2 * frames);
		ck_assert_uint_le(8 * frames_meta_bytes(UINT64_C(1) << 18, cpus), 2 << 18);
		ck_assert_uint_le(8 * frames_meta_bytes(UINT32_MAX, cpus), UINT64_C(2) * UINT32_MAX);
	}
}
END_TEST

/* What a host gives as zeroes need not be written to become the same. */
START_TEST(zeroed_metadata)
{
	struct frames_config config = {.frame_count = 3 * REGION + 77, .cpus = 3};
	size_t bytes = frames_meta_bytes(config.frame_count, config.cpus);
	void *dirty = malloc(bytes + 64), *zeroed = aligned_alloc(64, (bytes + 63) & ~(size_t)63), *lent;
	struct frames f;

	lent = (void *)(((uintptr_t)dirty + 63) & ~(uintptr_t)63);
	memset(dirty, 0x5a, bytes + 64);
	memset(zeroed, 0, bytes);
	ck_assert_int_eq(frames_init(&f, lent, bytes, &config), MM_OK);
	config.meta_zeroed = true;
	ck_assert_int_eq(frames_init(&f, zeroed, bytes, &config), MM_OK);
	ck_assert_mem_eq(lent, zeroed, bytes);
	ck_assert(frames_check(&f));
	free(dirty);
	free(zeroed);
}
END_TEST

START_TEST(arguments_refused)
{
	struct world w;
	struct frames_config config = {1000, 2, NULL, NULL, false};
	struct frames f;
	struct pfn out = {7};
	uint64_t n;

	ck_assert_uint_eq(frames_meta_bytes(0, 1), 0);
	ck_assert_uint_eq(frames_meta_bytes(UINT64_C(1) << 32, 1), 0);
	ck_assert_uint_eq(frames_meta_bytes(1, 0), 0);
	ck_assert_uint_eq(frames_meta_bytes(1, FRAMES_CPUS_MAX + 1), 0);
	world_full(&w, 1000, 2, true);
	ck_assert_int_eq(frames_init(&f, NULL, w.bytes, &config), MM_EINVAL);
	ck_assert_int_eq(frames_init(&f, (char *)w.before + 8, w.bytes - 8, &config), MM_EINVAL);
	ck_assert_int_eq(frames_init(&f, w.before, w.bytes - 1, &config), MM_EINVAL);
	ck_assert_int_eq(frames_init(&f, w.before, 8, &config), MM_EINVAL);
	config.cpus = 0;
	ck_assert_int_eq(frames_init(&f, w.before, w.bytes, &config), MM_EINVAL);
	n = get(&w, 0, 3);
	memcpy(w.before, w.s, w.bytes);
	ck_assert_int_eq(frames_alloc(&w.f, 2, 0, &out), MM_EINVAL);
	ck_assert_int_eq(frames_alloc(&w.f, 0, FRAMES_ORDER_MAX + 1, &out), MM_EINVAL);
	ck_assert_int_eq(put(&w, 2, n, 3), MM_EINVAL);
	ck_assert_int_eq(put(&w, 0, n, FRAMES_ORDER_MAX + 1), MM_EINVAL);
	ck_assert_int_eq(put(&w, 0, n + 1, 3), MM_EINVAL);
	ck_assert_int_eq(put(&w, 0, 1000, 3), MM_EINVAL);
	ck_assert_int_eq(put(&w, 0, 1000, 0), MM_EINVAL);
	ck_assert_int_eq(put(&w, 0, 512, 9), MM_EINVAL);
	ck_assert_int_eq(put(&w, 0, UINT64_MAX, 0), MM_EINVAL);
	ck_assert_int_eq(put(&w, 0, UINT64_MAX - 7, 3), MM_EINVAL);
	ck_assert_int_eq(frames_donate(&w.f, (struct pfn){0}, 0), MM_EINVAL);
	ck_assert_int_eq(frames_donate(&w.f, (struct pfn){1000}, 1), MM_EINVAL);
	ck_assert_int_eq(frames_donate(&w.f, (struct pfn){999}, 2), MM_EINVAL);
	ck_assert_int_eq(frames_donate(&w.f, (struct pfn){1}, UINT64_MAX), MM_EINVAL);
	ck_assert_int_eq(frames_donate(&w.f, (struct pfn){900}, 100), MM_EEXIST);
	ck_assert_mem_eq(w.before, w.s, w.bytes);
	ck_assert_uint_eq(out.n, 7);
	world_close(&w);
}
END_TEST

START_TEST(ragged_donation)
{
	struct world w;

	world_open(&w, 2 * REGION, 1, true);
	ck_assert_uint_eq(frames_stats_read(&w.f).frames_total, 0);
	world_give(&w, 70, 1);
	world_give(&w, 3, 60);
	world_give(&w, 500, 1000);
	compare_runs(&w);
	ck_assert_int_eq(frames_donate(&w.f, (struct pfn){71}, 430), MM_EEXIST);
	ck_assert_int_eq(frames_donate(&w.f, (struct pfn){1499}, 2), MM_EEXIST);
	world_give(&w, 71, 429); /* now 70 to 1500 */
	world_give(&w, 0, 3);
	world_give(&w, 63, 7); /* and area 0 is whole */
	compare_runs(&w);
	ck_assert_int_eq(frames_donate(&w.f, (struct pfn){0}, 1), MM_EEXIST);
	ck_assert_uint_eq(frames_stats_read(&w.f).frames_total, 1500);
	ck_assert_uint_eq(frames_stats_read(&w.f).frames_free_min, 1500);
	ck_assert_uint_eq(get(&w, 0, 9), 0);
	world_give(&w, 1500, 2 * REGION - 1500);
	ck_assert(frames_check(&w.f));
	ck_assert_uint_eq(get(&w, 0, 15), REGION);
	ck_assert_uint_eq(frames_stats_read(&w.f).frames_free, REGION - 512);
	ck_assert_uint_eq(frames_stats_read(&w.f).frames_free_min, REGION - 512);
	world_close(&w);
}
END_TEST

/* Each order up to the last frame, every run once, and back. */
START_TEST(every_order)
{
	struct world w;

	world_full(&w, 16 * REGION, 2, true);
	for (unsigned order = 0; order <= FRAMES_ORDER_MAX; order++) {
		uint64_t runs = w.frames >> order, *first = calloc(runs, sizeof(*first));
		struct pfn out;

		for (uint64_t i = 0; i < runs; i++) {
			first[i] = get(&w, 0, order);
			paint(&w, first[i], order, 1);
		}
		ck_assert_int_eq(frames_alloc(&w.f, 1, order, &out), MM_ENOMEM);
		ck_assert_int_eq(frames_alloc(&w.f, 1, 0, &out), MM_ENOMEM);
		for (uint64_t i = 0; i < runs; i++) {
			paint(&w, first[i], order, 0);
			MUST(put(&w, i & 1, first[i], order) == MM_OK);
		}
		free(first);
		compare(&w);
	}
	compare_runs(&w);
	world_close(&w);
}
END_TEST

/* More regions than a word of a class map has bits. */
START_TEST(many_regions)
{
	struct world w;
	struct frames_stats stats;
	struct pfn out;

	world_full(&w, 130 * REGION, 2, true);
	stats = frames_stats_read(&w.f);
	ck_assert_uint_eq(stats.runs_free[18], 16);
	ck_assert_uint_eq(stats.runs_free[16], 1);
	for (unsigned i = 0; i < 16; i++)
		paint(&w, get(&w, 0, 18), 18, 1);
	ck_assert_int_eq(frames_alloc(&w.f, 0, 18, &out), MM_ENOMEM);
	ck_assert_uint_eq(get(&w, 0, 0) / 512, 128 * 64);
	ck_assert_uint_eq(get(&w, 0, 15), 129 * REGION);
	ck_assert_uint_eq(get(&w, 0, 9), 128 * REGION + 512);
	ck_assert(frames_check(&w.f));
	world_close(&w);
}
END_TEST

/* The core cuts where it costs least: full areas first, then single whole ones. */
START_TEST(cuts_like_a_buddy)
{
	struct world w;
	uint64_t first[8];

	world_full(&w, 1000 * 512, 1024, true); /* so many CPUs that none has stacks */
	for (unsigned i = 0; i < 8; i++)
		first[i] = get(&w, 0, 9);
	ck_assert_int_eq(put(&w, 0, first[2], 9), MM_OK); /* a single area among taken ones */
	ck_assert_uint_eq(get(&w, 0, 3), first[2]);
	ck_assert_uint_eq(get(&w, 0, 3), first[2] + 8);
	ck_assert_uint_eq(get(&w, 0, 6), first[2] + 64);
	ck_assert_uint_eq(get(&w, 0, 7), first[2] + 128);
	ck_assert_uint_eq(get(&w, 0, 4), first[2] + 16);
	ck_assert_uint_eq(get(&w, 0, 8), first[2] + 256);
	ck_assert_uint_eq(get(&w, 0, 5), first[2] + 32);
	ck_assert_int_eq(put(&w, 0, first[6], 9), MM_OK);
	ck_assert_uint_eq(get(&w, 0, 10), 15 * REGION); /* of the 32 areas beside the first 8 */
	ck_assert_uint_eq(get(&w, 0, 9), first[6]);
	ck_assert(frames_check(&w.f));
	world_close(&w);
}
END_TEST

/* A single area in one region is rather cut than a pair in another, wherever that has larger ones besides. */
START_TEST(singles_before_pairs)
{
	struct world w;
	uint64_t first[128];

	world_full(&w, 2 * REGION, 512, true);
	for (unsigned i = 0; i < 128; i++)
		first[get(&w, 0, 9) / 512] = 1;
	for (unsigned i = 0; i < 128; i++)
		ck_assert_uint_eq(first[i], 1);
	ck_assert_int_eq(put(&w, 0, 10 * 512, 10), MM_OK);
	ck_assert_int_eq(put(&w, 0, (64 + 8) * 512, 11), MM_OK);
	ck_assert_int_eq(put(&w, 0, (64 + 33) * 512, 9), MM_OK);
	ck_assert_uint_eq(get(&w, 0, 0) / 512, 64 + 33);
	ck_assert_uint_eq(get(&w, 0, 9) / 512, 10);
	ck_assert_uint_eq(get(&w, 0, 9) / 512, 11);
	ck_assert_uint_eq(get(&w, 0, 10) / 512, 64 + 8);
	ck_assert(frames_check(&w.f));
	world_close(&w);
}
END_TEST

/* ---- wrong frees ---- */

static void refused(struct world *w, uint64_t first, unsigned order)
{
	memcpy(w->before, w->s, w->bytes);
	ck_assert_int_eq(put(w, 0, first, order), MM_ESTATE);
	ck_assert_mem_eq(w->before, w->s, w->bytes);
}

START_TEST(wrong_frees_refused)
{
	struct world w;
	uint64_t single, six, nine, big;

	world_open(&w, 16 * REGION - 512, FRAMES_CPUS_MAX, true); /* no stacks: the core sees all */
	world_give(&w, 512, 16 * REGION - 1024);
	refused(&w, 0, 0); /* absent */
	refused(&w, 0, 6);
	refused(&w, 0, 9);
	refused(&w, 4096, 0); /* free */
	refused(&w, 4096, 7);
	refused(&w, 4096, 9);
	refused(&w, 8 * REGION, 17);
	single = get(&w, 0, 0);
	refused(&w, single + 1, 0);
	refused(&w, single, 1);
	refused(&w, single, 6); /* not taken as a whole */
	refused(&w, single / 512 * 512, 9);
	ck_assert_int_eq(put(&w, 0, single, 0), MM_OK);
	refused(&w, single, 0);
	single = get(&w, 0, 0);
	for (unsigned i = 1; i < 64; i++)
		ck_assert_uint_eq(get(&w, 0, 0) / 64, single / 64);
	refused(&w, single / 64 * 64, 6); /* each of its frames is taken, but not together */
	six = get(&w, 0, 6);
	refused(&w, six, 0);
	refused(&w, six, 5);
	refused(&w, six / 128 * 128, 7);
	nine = get(&w, 0, 9);
	refused(&w, nine, 0);
	refused(&w, nine, 8);
	ck_assert_int_eq(put(&w, 0, six, 6), MM_OK);
	ck_assert_int_eq(put(&w, 0, nine, 9), MM_OK);
	refused(&w, six, 6);
	refused(&w, nine, 9);
	big = get(&w, 0, 16);
	refused(&w, big / (4 * REGION) * (4 * REGION), 17);
	ck_assert_int_eq(put(&w, 0, big, 15), MM_OK); /* in parts: the core cannot tell */
	refused(&w, big, 16);
	ck_assert_int_eq(put(&w, 0, big + REGION, 15), MM_OK);
	ck_assert_int_eq(put(&w, 0, single, 0), MM_OK);
	ck_assert(frames_check(&w.f));
	world_close(&w);
}
END_TEST

static void freed_twice(unsigned order)
{
	struct world w;
	uint64_t n;

	world_full(&w, 8 * REGION, 1, true);
	n = get(&w, 0, order);
	ck_assert_int_eq(put(&w, 0, n, order), MM_OK);
	ck_assert_int_eq(put(&w, 0, n, order), MM_OK); /* the stack does not look */
	frames_drain(&w.f, 0);
}

START_TEST(double_free_of_a_frame_is_a_bug)
{
	freed_twice(0);
}
END_TEST

START_TEST(double_free_of_a_run_is_a_bug)
{
	freed_twice(9);
}
END_TEST

static struct world spoilt;

START_TEST(bulk_free_outside_is_a_bug)
{
	struct pfn wrong = {8 * REGION};

	world_full(&spoilt, 8 * REGION, 1, true);
	frames_free_bulk(&spoilt.f, 0, &wrong, 1);
}
END_TEST

START_TEST(bulk_free_past_the_stack_is_a_bug)
{
	struct pfn wrong = {900};

	world_full(&spoilt, 1000, 2, true);
	frames_free_bulk(&spoilt.f, 0, &wrong, 1);
}
END_TEST

START_TEST(bulk_free_by_no_cpu_is_a_bug)
{
	struct pfn any = {0};

	world_full(&spoilt, 1000, 2, true);
	frames_free_bulk(&spoilt.f, 2, &any, 1);
}
END_TEST

START_TEST(bulk_alloc_by_no_cpu_is_a_bug)
{
	struct pfn any;

	world_full(&spoilt, 1000, 2, true);
	frames_alloc_bulk(&spoilt.f, 2, &any, 1);
}
END_TEST

START_TEST(drain_of_no_cpu_is_a_bug)
{
	world_full(&spoilt, 1000, 2, true);
	frames_drain(&spoilt.f, 2);
}
END_TEST

/* ---- faults ---- */

/* One run of a script of deeds in which the n-th allocation that reaches the core fails. False: there are fewer. */
static bool script_with_fault(struct world *w, unsigned n)
{
	struct pfn out;
	bool failed = false;

	seed(99);
	frames_fail_after(&w->f, n);
	for (unsigned i = 0; i < 300; i++) {
		unsigned cpu = (unsigned)below(w->cpus), order = any_order(true);
		uint64_t left = w->s->fail_after;
		enum mm_err err;

		if (w->lives && below(3) == 0) {
			do_free(w, cpu);
			continue;
		}
		memcpy(w->before, w->s, w->bytes);
		err = frames_alloc(&w->f, cpu, order, &out);
		if (err == MM_OK) {
			paint(w, out.n, order, 1);
			w->live[w->lives++] = (struct run){out.n, order};
		} else if (left == 1 && w->s->fail_after == 0) {
			w->s->fail_after = 1;
			ck_assert_mem_eq(w->before, w->s, w->bytes);
			w->s->fail_after = 0;
			failed = true;
		}
	}
	compare(w);
	while (w->lives)
		do_free(w, 0);
	frames_fail_after(&w->f, 0);
	drain_all(w);
	return failed;
}

START_TEST(faults_change_nothing)
{
	struct world w;
	struct pfn many[400];
	unsigned n = 1;

	world_full(&w, 8 * REGION, 2, true);
	while (script_with_fault(&w, n))
		n++;
	ck_assert_uint_gt(n, 50);
	frames_fail_after(&w.f, 2);
	ck_assert_uint_eq(frames_alloc_bulk(&w.f, 0, many, 400), 64);
	frames_free_bulk(&w.f, 0, many, 64);
	ck_assert_uint_eq(frames_alloc_bulk(&w.f, 0, many, 400), 400);
	world_close(&w);
}
END_TEST

/* ---- draining ---- */

/* What the stacks of others hold is found: at once with a barrier, without one when its owner comes by. */
START_TEST(stacks_do_not_hide_runs)
{
	struct world w;
	struct pfn out;
	uint64_t n;

	world_full(&w, 8 * REGION, 4, _i == 0);
	n = get(&w, 0, 0);
	ck_assert_uint_gt(frames_stats_read(&w.f).frames_cached, 0);
	ck_assert_int_eq(put(&w, 0, n, 0), MM_OK);
	barriers = 0;
	if (_i == 0) {
		ck_assert_uint_eq(get(&w, 3, 18), 0);
		ck_assert_uint_eq(barriers, 1);
		ck_assert_uint_eq(frames_stats_read(&w.f).drains, 1);
		ck_assert_int_eq(frames_alloc(&w.f, 3, 0, &out), MM_ENOMEM);
		ck_assert_uint_eq(barriers, 1); /* nobody had anything */
	} else {
		ck_assert_int_eq(frames_alloc(&w.f, 3, 18, &out), MM_ENOMEM);
		ck_assert_int_eq(frames_alloc(&w.f, 3, 18, &out), MM_ENOMEM); /* asked already */
		ck_assert(frames_check(&w.f));
		ck_assert_uint_eq(frames_stats_read(&w.f).drains, 0);
		n = get(&w, 0, 0); /* empties its stacks, and refills */
		ck_assert_uint_eq(frames_stats_read(&w.f).drains, 1);
		ck_assert_int_eq(put(&w, 0, n, 0), MM_OK);
		ck_assert_int_eq(frames_alloc(&w.f, 3, 18, &out), MM_ENOMEM);
		frames_drain(&w.f, 0);
		ck_assert_uint_eq(get(&w, 3, 18), 0);
	}
	ck_assert(frames_check(&w.f));
	world_close(&w);
}
END_TEST

START_TEST(own_stacks_come_first)
{
	struct world w;
	uint64_t n;

	world_full(&w, 8 * REGION, 2, true);
	n = get(&w, 1, 0);
	ck_assert_int_eq(put(&w, 1, n, 0), MM_OK);
	barriers = 0;
	ck_assert_uint_eq(get(&w, 1, 18), 0);
	ck_assert_uint_eq(barriers, 0);
	world_close(&w);
}
END_TEST

/* A handle's barrier as the place from which to look at a drain half-way. */
static struct world *half_way;
static pthread_t helper;
static uint64_t kept, in_hand; /* what the stack held; a frame whose chunk has nothing free */
static bool gone;

static void *lets_go(void *c)
{
	usleep(20000);
	gone = true;
	__atomic_store_n(&((struct frames_cpu *)c)->inside, 0, __ATOMIC_RELEASE);
	return NULL;
}

static void owner_works_on(void *self)
{
	struct world *w = half_way;
	struct frames_cpu *c = cpu_at(w, 0);
	struct pfn out;

	(void)self;
	ck_assert_uint_eq(c->drain, FRAMES_DRAIN_BY + 1);
	kept = c->count[0];
	ck_assert_int_eq(put(w, 0, in_hand, 0), MM_OK);
	ck_assert_int_eq(frames_alloc(&w->f, 0, 0, &out), MM_OK); /* from the core: the stacks are not its own now */
	ck_assert_int_eq(put(w, 0, out.n, 0), MM_OK);
	ck_assert_uint_eq(frames_alloc_bulk(&w->f, 0, &out, 1), 1);
	frames_free_bulk(&w->f, 0, &out, 1);
	ck_assert_uint_eq(c->count[0], kept);
	c->inside = 1; /* and now as if it had been in a call all the time */
	pthread_create(&helper, NULL, lets_go, c);
}

START_TEST(owner_goes_round_a_drainer)
{
	struct world w;
	uint64_t n;

	world_full(&w, 8 * REGION, 2, true);
	half_way = &w;
	w.f.barrier = owner_works_on;
	n = get(&w, 0, 0);
	in_hand = get(&w, 0, 0);
	ck_assert_int_eq(put(&w, 0, n, 0), MM_OK);
	n = get(&w, 1, 17);
	ck_assert_uint_eq(get(&w, 1, 17), n ^ (4 * REGION));
	ck_assert(gone); /* it waited for the owner to leave */
	pthread_join(helper, NULL);
	ck_assert(frames_check(&w.f));
	world_close(&w);
}
END_TEST

static void *gives_back(void *c)
{
	usleep(20000);
	__atomic_store_n(&((struct frames_cpu *)c)->drain, FRAMES_DRAIN_NONE, __ATOMIC_RELEASE);
	return NULL;
}

/* Two wait for a drainer: who finds nothing, and who wants its stacks empty. */
START_TEST(waits_for_another_drainer)
{
	struct world w;
	struct pfn out;

	world_full(&w, 8 * REGION, 2, true);
	cpu_at(&w, 0)->drain = FRAMES_DRAIN_BY + 1;
	ck_assert(!frames_check(&w.f));
	pthread_create(&helper, NULL, gives_back, cpu_at(&w, 0));
	get(&w, 1, 18);
	if (_i == 0)
		ck_assert_int_eq(frames_alloc(&w.f, _i == 0, 18, &out), MM_ENOMEM);
	else
		frames_drain(&w.f, 0);
	ck_assert_uint_eq(cpu_at(&w, 0)->drain, FRAMES_DRAIN_NONE);
	pthread_join(helper, NULL);
	ck_assert(frames_check(&w.f));
	world_close(&w);
}
END_TEST

/* A run that is taken and freed over and over never reaches the core, of whatever order. */
START_TEST(hot_runs_stay)
{
	struct world w;

	world_full(&w, 8 * REGION, 1, true);
	for (unsigned order = 0; order < FRAMES_STACK_ORDERS; order++) {
		uint64_t n = get(&w, 0, order), other = get(&w, 0, order);
		struct frames_cpu *c = cpu_at(&w, 0);

		memcpy(w.before, word_of_chunk(&w, 0), w.frames / 8);
		for (unsigned i = 0; i < 5; i++) {
			ck_assert_int_eq(put(&w, 0, other, order), MM_OK);
			ck_assert_uint_gt(c->count[order], 0);
			ck_assert_uint_eq(get(&w, 0, order), other);
		}
		ck_assert_mem_eq(w.before, word_of_chunk(&w, 0), w.frames / 8);
		ck_assert_int_eq(put(&w, 0, n, order), MM_OK);
		ck_assert_int_eq(put(&w, 0, other, order), MM_OK);
		ck_assert(frames_check(&w.f));
	}
	world_close(&w);
}
END_TEST

/* A single run is kept and handed out again, but not once its other half came back. */
START_TEST(next_runs_stay)
{
	struct world w;
	struct frames_cpu *c;

	world_full(&w, 8 * REGION, 1, true);
	c = cpu_at(&w, 0);
	for (unsigned order = 6; order <= 9; order++) {
		uint64_t n = UINT64_C(1) << order, other = order < 9 ? 512 : 1024, end = 2 * other, last;

		for (uint64_t first = 0; first < end; first += n)
			ck_assert_uint_eq(get(&w, 0, order), first);
		last = get(&w, 0, order);
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_int_eq(put(&w, 0, 0, order), MM_OK);
			ck_assert_uint_eq(c->next, 1u << order);
			ck_assert(frames_check(&w.f));
			if (i < 2)
				ck_assert_uint_eq(get(&w, 0, order), 0);
			MUST(i == 2 || c->next == 0);
			c->slot[w.s->layout.slot_at[order]] = i == 2 ? 0 : (uint32_t)last; /* as if that was the last */
		}
		ck_assert_int_eq(put(&w, 0, other, order), MM_OK); /* no room: to the core */
		ck_assert_int_eq(put(&w, 0, n, order), MM_OK);
		ck_assert_uint_eq(get(&w, 0, order), other); /* rather than half of what is whole again */
		ck_assert_uint_eq(c->next, 0);
		ck_assert_uint_eq(get(&w, 0, order + 1), 0);
		ck_assert_int_eq(put(&w, 0, 0, order + 1), MM_OK);
		for (uint64_t first = 2 * n; first < end; first += n)
			ck_assert_int_eq(put(&w, 0, first, order), MM_OK);
		ck_assert_int_eq(put(&w, 0, last, order), MM_OK);
		frames_drain(&w.f, 0);
		ck_assert_uint_eq(frames_stats_read(&w.f).runs_free[18], 1);
	}
	world_close(&w);
}
END_TEST

/* A frame of a chunk that is mostly free goes back to it, so that it becomes whole again. */
START_TEST(cold_frames_go_back)
{
	struct world w;
	uint64_t first[512];

	world_full(&w, 8 * REGION, 1, true);
	for (unsigned i = 0; i < 512; i++)
		first[i] = get(&w, 0, 0);
	frames_drain(&w.f, 0);
	for (unsigned i = 0; i < 512; i++) /* of each chunk one, then of each another ... */
		ck_assert_int_eq(put(&w, 0, first[i % 8 * 64 + i / 8], 0), MM_OK);
	ck_assert_uint_le(frames_stats_read(&w.f).frames_cached, 256 + 32);
	frames_drain(&w.f, 0);
	ck_assert_uint_eq(frames_stats_read(&w.f).runs_free[18], 1);
	world_close(&w);
}
END_TEST

/* ---- hints that are behind the truth, as another CPU may see them ---- */

START_TEST(stale_hints_are_only_hints)
{
	struct world w;
	struct pfn out;
	uint64_t n;

	world_full(&w, 8 * REGION, FRAMES_CPUS_MAX, true);
	n = get(&w, 0, 15);
	ck_assert_uint_eq(n, 0);
	map_word(&w, 15)[0] |= 1; /* says that region 0 is whole */
	ck_assert_uint_eq(get(&w, 0, 16), 2 * REGION);
	ck_assert_int_eq(put(&w, 0, n, 15), MM_OK);
	n = get(&w, 0, 15);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(put(&w, 0, n, 15), MM_OK);
	n = get(&w, 0, 15);
	map_word(&w, 15)[0] |= 1;
	ck_assert_uint_eq(get(&w, 0, 15), REGION);
	ck_assert_int_eq(put(&w, 0, REGION, 15), MM_OK);
	ck_assert_int_eq(put(&w, 0, n, 15), MM_OK);
	ck_assert(frames_check(&w.f));
	/* the second of a pair is refused: the first is put back */
	region_at(&w, 1)->whole = 0;
	ck_assert_uint_eq(get(&w, 0, 16), 4 * REGION);
	ck_assert_uint_eq(region_at(&w, 0)->whole, UINT64_MAX);
	region_at(&w, 1)->whole = UINT64_MAX;
	ck_assert(frames_check(&w.f));
	/* an area listed that has nothing, and one listed that is not open */
	n = get(&w, 0, 5);
	region_at(&w, n / REGION)->by_class[1] |= UINT64_C(2) | UINT64_C(1) << n / 512 % 64;
	map_word(&w, 0)[0] |= 1;
	map_word(&w, 1)[0] |= 1;
	map_word(&w, 6)[0] |= 1;
	map_word(&w, 9)[0] |= 1;
	ck_assert_int_eq(frames_alloc(&w.f, 0, 0, &out), MM_OK);
	ck_assert_int_eq(frames_alloc(&w.f, 0, 6, &out), MM_OK);
	world_close(&w);
}
END_TEST

/* ---- the check objects ---- */

static void objects(struct world *w, const char *what)
{
	ck_assert_msg(!frames_check(&w->f), "not seen: %s", what);
	memcpy(w->s, w->before, w->bytes);
	ck_assert(frames_check(&w->f));
}

#define SPOIL(w, deed)                                                                                                 \
	do {                                                                                                           \
		deed;                                                                                                  \
		objects(w, #deed);                                                                                     \
	} while (0)

/* Two regions and a bit: the last area is ragged, 100 to 102 are absent, some are taken. Returns a run of order 10. */
static uint64_t world_to_spoil(struct world *w)
{
	uint64_t single[200], ten;

	world_open(w, 2 * REGION + 700, 1, true);
	world_give(w, 0, 51200);
	world_give(w, 52736, 2 * REGION + 700 - 52736);
	for (unsigned i = 0; i < 200; i++)
		single[i] = get(w, 0, 0);
	ck_assert_int_eq(put(w, 0, single[10], 0), MM_OK);
	ck_assert_int_eq(put(w, 0, single[11], 0), MM_OK);
	frames_drain(&w->f, 0); /* so a chunk has some */
	ck_assert_int_eq(put(w, 0, single[100], 0), MM_OK);
	ck_assert_int_eq(put(w, 0, single[101], 0), MM_OK);
	ck_assert_int_eq(put(w, 0, get(w, 0, 2), 2), MM_OK);
	ck_assert_int_eq(put(w, 0, get(w, 0, 9), 9), MM_OK);
	get(w, 0, 6);
	ten = get(w, 0, 10);
	ck_assert(frames_check(&w->f));
	memcpy(w->before, w->s, w->bytes);
	return ten;
}

START_TEST(check_objects)
{
	struct world w;
	struct frames_cpu *c;
	uint64_t closed = 20, absent = 101, open, bit; /* of area `open` the chunk `bit` */

	world_to_spoil(&w);
	c = cpu_at(&w, 0);
	for (bit = 0; (*word_of_area(&w, bit / 8) >> 8 * (bit % 8) & 0x7f) % 64 == 0; bit++)
		ck_assert_uint_lt(bit, 8 * 130 - 1); /* a chunk of which some frames are free */
	open = bit / 8;
	bit %= 8;
	/* I1 */
	SPOIL(&w, *word_of_area(&w, closed) = 1);
	SPOIL(&w, *word_of_area(&w, closed) = FRAMES_FULL);
	SPOIL(&w, *word_of_area(&w, open) |= FRAMES_CLOSED);
	SPOIL(&w, *word_of_area(&w, absent) = FRAMES_CLOSED);
	/* I2 */
	SPOIL(&w, *word_of_chunk(&w, closed * 8 + 3) -= 1);
	SPOIL(&w, *word_of_chunk(&w, absent * 8 + 3) += 1);
	SPOIL(&w, *word_of_chunk(&w, open * 8 + bit) = 0);
	SPOIL(&w, *word_of_chunk(&w, absent * 8) = UINT64_MAX);
	SPOIL(&w, *word_of_area(&w, open) += UINT64_C(1) << 8 * bit);
	/* I3 */
	SPOIL(&w, region_at(&w, open / 64)->whole |= UINT64_C(1) << open % 64);
	SPOIL(&w, region_at(&w, 2)->whole |= UINT64_C(1) << 60);
	SPOIL(&w, region_at(&w, 1)->whole |= UINT64_C(1) << (absent - 64));
	/* I4 */
	for (unsigned k = 0; k < FRAMES_AREA_CLASSES; k++) {
		SPOIL(&w, region_at(&w, open / 64)->by_class[k] ^= UINT64_C(1) << open % 64);
		SPOIL(&w, region_at(&w, 2)->by_class[k] ^= UINT64_C(1) << 60);
	}
	for (unsigned k = 0; k < FRAMES_CLASSES; k++) {
		SPOIL(&w, *map_word(&w, k) ^= 1);
		SPOIL(&w, *map_word(&w, k) ^= UINT64_C(1) << 63);
	}
	/* I5 */
	SPOIL(&w, w.s->core_free++);
	SPOIL(&w, w.s->core_free_min = w.s->core_free + 1);
	SPOIL(&w, w.s->total = w.s->core_free);
	SPOIL(&w, w.s->total = w.frames + 1);
	/* I6 */
	SPOIL(&w, c->inside = 1);
	SPOIL(&w, c->drain = FRAMES_DRAIN_BY);
	SPOIL(&w, c->count[0] = w.s->layout.limit[0] + 1u);
	ck_assert_uint_eq(w.s->layout.may_stay, 1u << 6);
	SPOIL(&w, c->next = 1u << 6);
	SPOIL(&w, c->next = 1u << 9);
	SPOIL(&w, c->slot[0] = c->slot[1]);
	SPOIL(&w, c->slot[0] = (uint32_t)w.frames);
	SPOIL(&w, c->slot[0] = (uint32_t)closed * 512);
	SPOIL(&w, c->slot[w.s->layout.slot_at[2]]++);
	ck_assert_uint_eq(c->count[9], 1);
	SPOIL(&w, c->slot[w.s->layout.slot_at[9]] = (uint32_t)closed * 512);
	SPOIL(&w, (c->count[9] = 0, c->count[6] = 1, c->slot[w.s->layout.slot_at[6]] = (uint32_t)closed * 512));
	/* a frame of a stack that is free in the core, with the core itself in order */
	SPOIL(&w, c->slot[0] = (uint32_t)(open * 512 + bit * 64 +
					  (unsigned)__builtin_ctzll(*word_of_chunk(&w, open * 8 + bit))));
	/* I7 */
	SPOIL(&w, w.s->magic++);
	SPOIL(&w, w.s->layout.cpus++);
	SPOIL(&w, w.s->layout.cpus = 0);
	SPOIL(&w, w.s->layout.limit[3]++);
	world_close(&w);
}
END_TEST

/* Frames at and above frame_count, though the core agrees with itself. */
START_TEST(check_objects_to_frames_outside)
{
	struct world w;
	uint64_t area = 2 * 64 + 1, chunk = area * 8 + 7;

	world_to_spoil(&w);
	*word_of_chunk(&w, chunk) |= UINT64_C(1) << 63;
	*word_of_area(&w, area) += UINT64_C(1) << 56;
	w.s->core_free++;
	w.s->total++;
	objects(&w, "a frame outside");
	world_close(&w);
}
END_TEST

/* A run in two stacks, as two orders; taken as far as the core knows. */
START_TEST(check_objects_to_overlaps)
{
	struct world w;
	struct frames_cpu *c;
	uint64_t ten = world_to_spoil(&w);

	c = cpu_at(&w, 0);
	w.s->total = w.frames;
	memcpy(w.before, w.s, w.bytes);
	c->slot[w.s->layout.slot_at[9]] = (uint32_t)ten;
	ck_assert(frames_check(&w.f)); /* one half of it */
	c->count[10] = 1;
	c->slot[w.s->layout.slot_at[10]] = (uint32_t)ten;
	objects(&w, "two orders");
	world_close(&w);
}
END_TEST

/* ---- another party ---- */

START_TEST(another_mapping)
{
	struct frames_config config = {8 * REGION, 2, no_barrier_needed, NULL, false};
	struct frames a, b;
	int fd = memfd_create("frames", 0);
	size_t bytes = frames_meta_bytes(config.frame_count, config.cpus);
	void *here, *there;
	struct pfn x, y;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	here = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	there = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(here != MAP_FAILED && there != MAP_FAILED && here != there);
	ck_assert_int_eq(frames_attach(&b, there, bytes, NULL, NULL), MM_EINVAL); /* not yet */
	ck_assert_int_eq(frames_init(&a, here, bytes, &config), MM_OK);
	ck_assert_int_eq(frames_attach(&b, NULL, bytes, NULL, NULL), MM_EINVAL);
	ck_assert_int_eq(frames_attach(&b, (char *)there + 4, bytes - 4, NULL, NULL), MM_EINVAL);
	ck_assert_int_eq(frames_attach(&b, there, 100, NULL, NULL), MM_EINVAL);
	ck_assert_int_eq(frames_attach(&b, there, bytes - 1, NULL, NULL), MM_EINVAL);
	ck_assert_int_eq(frames_attach(&b, there, bytes, no_barrier_needed, NULL), MM_OK);
	ck_assert_int_eq(frames_donate(&a, (struct pfn){0}, config.frame_count), MM_OK);
	ck_assert_int_eq(frames_alloc(&a, 0, 0, &x), MM_OK);
	ck_assert_int_eq(frames_free(&a, 0, x, 0), MM_OK);
	ck_assert_int_eq(frames_alloc(&b, 1, 18, &y), MM_OK); /* out of the first one's stacks */
	ck_assert_int_eq(frames_alloc(&a, 0, 0, &x), MM_ENOMEM);
	ck_assert_int_eq(frames_free(&a, 0, y, 18), MM_OK);
	ck_assert(frames_check(&a) && frames_check(&b));
	((struct frames_shared *)there)->layout.areas++;
	ck_assert_int_eq(frames_attach(&b, there, bytes, NULL, NULL), MM_EINVAL);
	munmap(here, bytes);
	munmap(there, bytes);
	close(fd);
}
END_TEST

/* ---- many threads ---- */

#define THREADS_MAX 8u
#define MAIL	    64u

struct crowd {
	struct world w;
	unsigned threads, deeds;
	bool big;
	uint64_t mail[MAIL]; /* runs on their way to who frees them: first * 32 + order + 1 */
};

struct member {
	struct crowd *crowd;
	unsigned cpu;
	uint64_t state, held; /* of a random generator; runs in own hands */
	uint64_t hand[128];
};

static uint64_t draw(struct member *m, uint64_t n)
{
	m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (m->state >> 33) % n;
}

static void everyone_barrier(void *self)
{
	(void)self;
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

static void own(struct crowd *crowd, uint64_t run, uint8_t what)
{
	uint64_t first = run / 32, n = UINT64_C(1) << (run % 32 - 1);

	for (uint64_t i = first; i < first + n; i++) {
		uint8_t was = __atomic_exchange_n(&crowd->w.owned[i], what, __ATOMIC_RELAXED);

		MUST(was != what);
	}
}

static void member_free(struct member *m, uint64_t run)
{
	enum mm_err err;

	own(m->crowd, run, 0);
	err = frames_free(&m->crowd->w.f, m->cpu, (struct pfn){run / 32}, (unsigned)(run % 32 - 1));
	MUST(err == MM_OK);
}

static void member_alloc(struct member *m)
{
	unsigned order = draw(m, 2) ? 0 : (unsigned)draw(m, 11);
	struct pfn out;
	uint64_t run;

	if (m->crowd->big && draw(m, 4000) == 0)
		order = 16 + (unsigned)draw(m, 3);
	if (frames_alloc(&m->crowd->w.f, m->cpu, order, &out) != MM_OK)
		return;
	run = out.n * 32 + order + 1;
	own(m->crowd, run, 1);
	m->hand[m->held++] = run;
}

/* Frees a run of its own, or leaves it in the mail for whoever comes, and frees what lay there. */
static void member_give(struct member *m)
{
	uint64_t k = draw(m, m->held), run = m->hand[k];

	m->hand[k] = m->hand[--m->held];
	if (draw(m, 2))
		run = __atomic_exchange_n(&m->crowd->mail[draw(m, MAIL)], run, __ATOMIC_ACQ_REL);
	if (run)
		member_free(m, run);
}

static void *member_main(void *arg)
{
	struct member *m = arg;
	struct pfn many[40];

	for (unsigned i = 0; i < m->crowd->deeds; i++) {
		if (draw(m, 200) == 0) {
			uint32_t got = frames_alloc_bulk(&m->crowd->w.f, m->cpu, many, 40);

			for (uint32_t k = 0; k < got; k++)
				own(m->crowd, many[k].n * 32 + 1, 1);
			for (uint32_t k = 0; k < got; k++)
				own(m->crowd, many[k].n * 32 + 1, 0);
			frames_free_bulk(&m->crowd->w.f, m->cpu, many, got);
		} else if (draw(m, 500) == 0) {
			frames_drain(&m->crowd->w.f, m->cpu);
		} else if (m->held < 128 && (m->held == 0 || draw(m, 2))) {
			member_alloc(m);
		} else {
			member_give(m);
		}
	}
	while (m->held)
		member_free(m, m->hand[--m->held]);
	return NULL;
}

static const struct {
	uint64_t frames;
	unsigned cpus, threads, deeds, rounds; /* deeds a thread in each round; frames_check() after each */
	bool barrier, big;
} crowds[] = {
	{16 * REGION, 8, 8, 20000, 3, true, true}, {16 * REGION, 8, 4, 20000, 3, false, true},
	{2 * REGION, 2, 2, 60000, 3, true, false}, {2 * REGION, 2, 2, 60000, 3, false, false},
	{20000, 4, 4, 20000, 3, true, false},	   {1500, 8, 8, 2000, 30, true, false},
	{600, 2, 2, 500, 600, true, false},	   {192, 2, 2, 200, 1500, true, false},
};

START_TEST(ownership)
{
	static struct crowd the_crowd;
	static struct member members[THREADS_MAX];
	struct crowd *crowd = &the_crowd;
	pthread_t threads[THREADS_MAX];
	struct frames_stats stats;

	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	world_full(&crowd->w, crowds[_i].frames, crowds[_i].cpus, false);
	crowd->w.f.barrier = crowds[_i].barrier ? everyone_barrier : NULL;
	crowd->threads = crowds[_i].threads;
	crowd->deeds = crowds[_i].deeds;
	crowd->big = crowds[_i].big;
	for (unsigned round = 0; round < crowds[_i].rounds; round++) {
		for (unsigned i = 0; i < crowd->threads; i++) {
			members[i].crowd = crowd;
			members[i].cpu = i;
			members[i].state = 1000 * round + i + 1;
			pthread_create(&threads[i], NULL, member_main, &members[i]);
		}
		for (unsigned i = 0; i < crowd->threads; i++)
			pthread_join(threads[i], NULL);
		MUST(frames_check(&crowd->w.f));
	}
	for (unsigned i = 0; i < MAIL; i++)
		if (crowd->mail[i])
			member_free(&members[0], crowd->mail[i]);
	drain_all(&crowd->w);
	ck_assert(frames_check(&crowd->w.f));
	stats = frames_stats_read(&crowd->w.f);
	ck_assert_uint_eq(stats.frames_free, crowds[_i].frames);
	ck_assert_uint_eq(stats.frames_cached, 0);
	compare_runs(&crowd->w);
	world_close(&crowd->w);
}
END_TEST

/* ---- large runs, beside a plain buddy ---- */

#define GIB (UINT64_C(1) << 18)

struct pair { /* the same deeds on both */
	struct buddy *buddy;
	void *buddy_meta;
	struct world w;
	struct {
		uint32_t buddy, frames;
		uint8_t order;
	} * live;
	uint64_t lives, used;
	bool any_order;
};

static void pair_open(struct pair *p)
{
	size_t bytes = (buddy_meta_bytes(GIB) + 63) / 64 * 64;

	world_full(&p->w, GIB, 4, true);
	p->buddy_meta = aligned_alloc(64, bytes);
	p->live = calloc(GIB, sizeof(*p->live));
	p->lives = p->used = 0;
	ck_assert_int_eq(buddy_init(p->buddy_meta, bytes, GIB, &p->buddy), MM_OK);
	ck_assert_int_eq(buddy_donate(p->buddy, (struct pfn){0}, GIB), MM_OK);
}

static void pair_close(struct pair *p)
{
	world_close(&p->w);
	free(p->buddy_meta);
	free(p->live);
}

static bool pair_alloc(struct pair *p, unsigned order)
{
	struct pfn a, b;
	bool ours = frames_alloc(&p->w.f, (unsigned)below(4), order, &a) == MM_OK;
	bool theirs = buddy_alloc(p->buddy, order, &b) == MM_OK;

	if (ours && theirs) {
		p->live[p->lives].frames = (uint32_t)a.n;
		p->live[p->lives].buddy = (uint32_t)b.n;
		p->live[p->lives++].order = (uint8_t)order;
		p->used += UINT64_C(1) << order;
		return true;
	}
	if (ours)
		MUST(put(&p->w, (unsigned)below(4), a.n, order) == MM_OK);
	if (theirs)
		MUST(buddy_free(p->buddy, b, order) == MM_OK);
	return false;
}

static void pair_free(struct pair *p)
{
	uint64_t k = below(p->lives);
	unsigned order = p->live[k].order;

	MUST(put(&p->w, (unsigned)below(4), p->live[k].frames, order) == MM_OK);
	MUST(buddy_free(p->buddy, (struct pfn){p->live[k].buddy}, order) == MM_OK);
	p->used -= UINT64_C(1) << order;
	p->live[k] = p->live[--p->lives];
}

/* Of any order equally often, or nine of ten single frames. */
static unsigned pair_order(const struct pair *p)
{
	return p->any_order || below(10) == 0 ? (unsigned)below(11) : 0;
}

static void pair_fill(struct pair *p, uint64_t frames)
{
	while (p->used < frames)
		if (!pair_alloc(p, pair_order(p)))
			pair_alloc(p, 0);
}

static void pair_thin(struct pair *p, uint64_t frames)
{
	while (p->used > frames)
		pair_free(p);
}

/* As many requests as there are runs; what is refused to one, neither keeps. */
static void pair_churn(struct pair *p, uint64_t frames)
{
	for (uint64_t i = p->lives; i > 0; i--) {
		unsigned order = pair_order(p);

		while (p->used + (UINT64_C(1) << order) > frames)
			pair_free(p);
		pair_alloc(p, order);
	}
}

/* Of the runs that the free frames could make, the part that is refused, in per cent. */
static double refusals(struct pair *p, unsigned order, bool ours)
{
	static struct pfn first[GIB >> 9];
	uint64_t asked = (GIB - p->used) >> order, got = 0;

	while (got < asked && (ours ? frames_alloc(&p->w.f, (unsigned)below(4), order, &first[got])
				    : buddy_alloc(p->buddy, order, &first[got])) == MM_OK)
		got++;
	for (uint64_t i = 0; i < got; i++)
		MUST((ours ? put(&p->w, (unsigned)below(4), first[i].n, order)
			   : buddy_free(p->buddy, first[i], order)) == MM_OK);
	return 100.0 * (double)(asked - got) / (double)asked;
}

#define TURNS 8u

START_TEST(large_runs_as_a_buddy)
{
	double ours[2] = {0}, theirs[2] = {0};
	unsigned percent = 30 + 30 * ((unsigned)_i % 3);
	struct pair p;

	for (unsigned seeds = 0; seeds < 20; seeds++) {
		seed(1000 * seeds + (unsigned)_i);
		pair_open(&p);
		p.any_order = _i >= 3;
		pair_fill(&p, GIB * 98 / 100);
		pair_thin(&p, GIB * percent / 100);
		for (unsigned i = 0; i < TURNS; i++) {
			pair_churn(&p, GIB * percent / 100);
			for (unsigned k = 0; k < 2; k++) {
				ours[k] += refusals(&p, 9 + k, true) / 20 / TURNS;
				theirs[k] += refusals(&p, 9 + k, false) / 20 / TURNS;
			}
		}
		ck_assert(frames_check(&p.w.f));
		pair_close(&p);
	}
	ck_assert_msg(ours[0] <= theirs[0] + 1 && ours[1] <= theirs[1] + 1,
		      "refused at %u %%: order 9 %.2f %% (buddy %.2f %%), order 10 %.2f %% (buddy %.2f %%)", percent,
		      ours[0], theirs[0], ours[1], theirs[1]);
}
END_TEST

Suite *frames_suite(void)
{
	Suite *suite = suite_create("frames");
	TCase *plain = tcase_create("plain"), *random = tcase_create("random");

	tcase_add_test(plain, two_bits_a_frame);
	tcase_add_test(plain, zeroed_metadata);
	tcase_add_test(plain, arguments_refused);
	tcase_add_test(plain, ragged_donation);
	tcase_add_test(plain, every_order);
	tcase_add_test(plain, many_regions);
	tcase_add_test(plain, cuts_like_a_buddy);
	tcase_add_test(plain, singles_before_pairs);
	tcase_add_test(plain, wrong_frees_refused);
	tcase_add_test_raise_signal(plain, double_free_of_a_frame_is_a_bug, SIGABRT);
	tcase_add_test_raise_signal(plain, double_free_of_a_run_is_a_bug, SIGABRT);
	tcase_add_test_raise_signal(plain, bulk_free_outside_is_a_bug, SIGABRT);
	tcase_add_test_raise_signal(plain, bulk_free_past_the_stack_is_a_bug, SIGABRT);
	tcase_add_test_raise_signal(plain, bulk_free_by_no_cpu_is_a_bug, SIGABRT);
	tcase_add_test_raise_signal(plain, bulk_alloc_by_no_cpu_is_a_bug, SIGABRT);
	tcase_add_test_raise_signal(plain, drain_of_no_cpu_is_a_bug, SIGABRT);
	tcase_add_test(plain, faults_change_nothing);
	tcase_add_loop_test(plain, stacks_do_not_hide_runs, 0, 2);
	tcase_add_test(plain, own_stacks_come_first);
	tcase_add_test(plain, owner_goes_round_a_drainer);
	tcase_add_loop_test(plain, waits_for_another_drainer, 0, 2);
	tcase_add_test(plain, hot_runs_stay);
	tcase_add_test(plain, next_runs_stay);
	tcase_add_test(plain, cold_frames_go_back);
	tcase_add_test(plain, stale_hints_are_only_hints);
	tcase_add_test(plain, check_objects);
	tcase_add_test(plain, check_objects_to_frames_outside);
	tcase_add_test(plain, check_objects_to_overlaps);
	tcase_add_test(plain, another_mapping);
	tcase_set_timeout(plain, 60);
	suite_add_tcase(suite, plain);
	tcase_add_loop_test(random, random_deeds, 0, sizeof(worlds) / sizeof(*worlds));
	tcase_add_loop_test(random, ownership, 0, sizeof(crowds) / sizeof(*crowds));
	tcase_add_loop_test(random, large_runs_as_a_buddy, 0, 6);
	tcase_set_timeout(random, 120);
	suite_add_tcase(suite, random);
	return suite;
}
