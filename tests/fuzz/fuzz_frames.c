/* tests/fuzz/fuzz_frames.c: a stream of operations on page frames, against an
 * owner for every frame. One thread in the parts of all CPUs, so each MM_ENOMEM
 * is judged: with a barrier a run that lies in any stack counts as free.
 *
 * Input: 3 bytes choose frame_count, cpus and the barrier; then 4 bytes an
 * operation: verb and CPU, order, a number of 16 bits. */
#include <stdlib.h>
#include <string.h>

#include "mm/frames_impl.h"
#include "mm/port.h"

#define FRAMES_MAX (5u * FRAMES_REGION)
#define CPUS_MAX   4u
#define LIVE_MAX   4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(64) unsigned char meta[128 * 1024];
static uint8_t owned[FRAMES_MAX];
static struct {
	uint64_t first;
	unsigned order;
} live[LIVE_MAX];
static uint64_t frames, free_frames, lives;
static unsigned cpus;

static void no_other_thread(void *self)
{
	(void)self;
}

static bool all_are(uint64_t first, uint64_t n, uint8_t what)
{
	return owned[first] == what && memcmp(owned + first, owned + first + 1, n - 1) == 0;
}

static bool any_run(unsigned order)
{
	uint64_t n = UINT64_C(1) << order;

	for (uint64_t first = 0; first + n <= frames; first += n)
		if (all_are(first, n, 0))
			return true;
	return false;
}

static void paint(uint64_t first, unsigned order, uint8_t what)
{
	uint64_t n = UINT64_C(1) << order;

	MM_ASSERT(first % n == 0 && first + n <= frames && all_are(first, n, !what), first, order);
	memset(owned + first, what, n);
	free_frames = what ? free_frames - n : free_frames + n;
}

static void do_alloc(struct frames *f, unsigned cpu, unsigned order)
{
	struct pfn out;
	enum mm_err err;

	if (lives == LIVE_MAX)
		return;
	err = frames_alloc(f, cpu, order, &out);
	if (err == MM_ENOMEM && !f->barrier) {
		for (unsigned n = 0; n < cpus; n++)
			frames_drain(f, n);
		err = frames_alloc(f, cpu, order, &out);
	}
	if (err == MM_OK) {
		paint(out.n, order, 1);
		live[lives].first = out.n;
		live[lives++].order = order;
	} else {
		MM_ASSERT(err == (order > FRAMES_ORDER_MAX ? MM_EINVAL : MM_ENOMEM), err, order);
		MM_ASSERT(err == MM_EINVAL || !any_run(order), order, free_frames);
	}
}

/* Frees a run, perhaps as its two halves: the core cannot tell where the halves are of the same kind. */
static void do_free(struct frames *f, unsigned cpu, uint64_t k, bool halves)
{
	uint64_t first = live[k].first;
	unsigned order = live[k].order;
	enum mm_err err;

	live[k] = live[--lives];
	paint(first, order, 0);
	if (halves && order != 0 && order != 6 && order != 9) {
		order--;
		err = frames_free(f, cpu, (struct pfn){first + (UINT64_C(1) << order)}, order);
		MM_ASSERT(err == MM_OK, err, first);
	}
	err = frames_free(f, cpu, (struct pfn){first}, order);
	MM_ASSERT(err == MM_OK, err, first);
}

/* What is surely refused: outside, misaligned, or of a large order and in part free. */
static void do_wrong_free(struct frames *f, unsigned cpu, unsigned order, uint64_t first)
{
	uint64_t n = UINT64_C(1) << order % 64;
	bool bad = cpu >= cpus || order > FRAMES_ORDER_MAX || first % n || first >= frames || n > frames - first;

	if (bad)
		MM_ASSERT(frames_free(f, cpu, (struct pfn){first}, order) == MM_EINVAL, first, order);
	else if (order >= FRAMES_STACK_ORDERS && !all_are(first, n, 1))
		MM_ASSERT(frames_free(f, cpu, (struct pfn){first}, order) == MM_ESTATE, first, order);
}

static void do_bulk(struct frames *f, unsigned cpu, uint32_t n)
{
	static struct pfn out[512];
	uint32_t got = frames_alloc_bulk(f, cpu, out, n);

	MM_ASSERT(got == n || !f->barrier || free_frames == got, got, n);
	for (uint32_t i = 0; i < got; i++)
		paint(out[i].n, 0, 1);
	for (uint32_t i = 0; i < got; i++)
		paint(out[i].n, 0, 0);
	frames_free_bulk(f, (cpu + 1) % cpus, out, got);
}

static void do_donate(struct frames *f, uint64_t *given, uint64_t n)
{
	if (n == 0 || n > frames - *given) {
		MM_ASSERT(frames_donate(f, (struct pfn){*given}, n) == MM_EINVAL, *given, n);
		return;
	}
	MM_ASSERT(frames_donate(f, (struct pfn){*given}, n) == MM_OK, *given, n);
	memset(owned + *given, 0, n);
	free_frames += n;
	*given += n;
}

static void compare(struct frames *f)
{
	struct frames_stats stats = frames_stats_read(f);
	uint64_t in_runs = 0;

	for (unsigned order = 0; order <= FRAMES_ORDER_MAX; order++)
		in_runs += stats.runs_free[order] << order;
	MM_ASSERT(frames_check(f), frames, cpus);
	MM_ASSERT(stats.frames_free == free_frames && in_runs + stats.frames_cached == free_frames, free_frames,
		  in_runs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frames_config config = {0};
	struct frames f;
	uint64_t given = 0, deeds = 0;

	if (size < 3)
		return 0;
	frames = 1 + (uint64_t)data[0] * data[0] * FRAMES_MAX / (256 * 256);
	cpus = 1 + data[1] % CPUS_MAX;
	config = (struct frames_config){frames, cpus, data[2] & 1 ? no_other_thread : NULL, NULL, false};
	memset(owned, 1, sizeof(owned));
	free_frames = lives = 0;
	if (frames_init(&f, meta, sizeof(meta), &config) != MM_OK)
		abort();
	do_donate(&f, &given, frames * (data[2] >> 1) / 127);
	for (const uint8_t *op = data + 3; op + 4 <= data + size; op += 4) {
		unsigned cpu = (op[0] >> 4) % cpus, order = op[1] % 20;
		uint64_t number = op[2] + 256u * op[3];

		if (op[0] % 16 < 7)
			do_alloc(&f, cpu, order);
		else if (op[0] % 16 < 12 && lives)
			do_free(&f, cpu, number % lives, op[1] & 1);
		else if (op[0] % 16 == 12)
			do_wrong_free(&f, op[0] >> 4, order, number << op[1] % 4);
		else if (op[0] % 16 == 13)
			do_bulk(&f, cpu, number % 512);
		else if (op[0] % 16 == 14)
			do_donate(&f, &given, number);
		else
			frames_drain(&f, cpu);
		if (++deeds % 8 == 0)
			compare(&f);
	}
	compare(&f);
	return 0;
}
