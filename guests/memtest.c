/* memtest: every byte of the guest's RAM holds what was written there.
 *
 * A march over all free RAM, in words of 8 bytes, each sweep going over all
 * ranges before the next begins:
 *
 *   sweep 0: write the word's own address
 *   sweep 1: check that, write the inverted address
 *   sweep 2: check that, write 0x55.. and 0xaa.. in turn
 *   sweep 3: check that
 *
 * Two addresses that lead to one byte show in sweep 1: the later write of sweep
 * 0 left the other's address there. Every bit was both 0 and 1 by sweep 2, with
 * a neighbour of the other value by sweep 3. Checking and writing in one sweep
 * reads each cache line once for both.
 *
 * "passes=N" of the command line (1 to 3) ends after N patterns; "limit=BYTES"
 * tests only the first BYTES of each range, for hosts that are slow. What the
 * guest itself occupies (its image and its page tables) is not tested; tested
 * plus occupied bytes must be all RAM of the memory map.
 *
 * "touch=1" instead reads a byte of each frame from 0 to the end of RAM, the
 * guest's own and what the memory map reserves among them, and waits then for
 * ever: whoever counts what a hypervisor has mapped finds all of it. "touch=2" writes
 * to all that is not its own before: what is only read may have no page of its own.
 *
 * The sweeps run in ring 3: see ring3.h. */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/paging.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"

#define PASSES	     3u
#define WORDS_A_STEP 8u			  /* of 64 bytes: a frame is a multiple of it */
#define HOLE_START   UINT64_C(0xc0000000) /* devices are mapped there */
#define HOLE_END     UINT64_C(0x100000000)

/* A word at an address holds (address & keep) ^ flip[which of two neighbours it is]. */
struct pattern {
	uint64_t keep, flip[2];
};

static const struct pattern patterns[PASSES] = {
	{UINT64_MAX, {0, 0}},
	{UINT64_MAX, {UINT64_MAX, UINT64_MAX}},
	{0, {UINT64_C(0x5555555555555555), UINT64_C(0xaaaaaaaaaaaaaaaa)}},
};

struct sweep {
	uint64_t *first, *end;
	struct pattern check, write;
	bool checks, writes;
	uint64_t at, was, want; /* the first wrong word */
};

static struct sweep sweep;

static inline uint64_t word_of(const struct pattern *p, uint64_t address)
{
	return (address & p->keep) ^ p->flip[address / 8 % 2];
}

static inline void step_write(uint64_t *step, struct pattern p)
{
#pragma GCC unroll 8
	for (unsigned i = 0; i < WORDS_A_STEP; i++)
		*(volatile uint64_t *)(step + i) = ((uint64_t)(uintptr_t)(step + i) & p.keep) ^ p.flip[i % 2];
}

static inline bool step_holds(const uint64_t *step, struct pattern p)
{
	uint64_t wrong = 0;

#pragma GCC unroll 8
	for (unsigned i = 0; i < WORDS_A_STEP; i++)
		wrong |= *(const volatile uint64_t *)(step + i) ^ ((uint64_t)(uintptr_t)(step + i) & p.keep) ^
			 p.flip[i % 2];
	return wrong == 0;
}

/* Each returns the first wrong step, or NULL. */
static uint64_t *write_all(const struct sweep *s)
{
	for (uint64_t *p = s->first; p < s->end; p += WORDS_A_STEP)
		step_write(p, s->write);
	return NULL;
}

static uint64_t *check_all(const struct sweep *s)
{
	for (uint64_t *p = s->first; p < s->end; p += WORDS_A_STEP)
		if (!step_holds(p, s->check))
			return p;
	return NULL;
}

static uint64_t *check_and_write_all(const struct sweep *s)
{
	for (uint64_t *p = s->first; p < s->end; p += WORDS_A_STEP) {
		if (!step_holds(p, s->check))
			return p;
		step_write(p, s->write);
	}
	return NULL;
}

static void remember_wrong(struct sweep *s, const uint64_t *step)
{
	for (const volatile uint64_t *p = step; p < step + WORDS_A_STEP; p++) {
		s->at = (uint64_t)(uintptr_t)p;
		s->was = *p;
		s->want = word_of(&s->check, s->at);
		if (s->was != s->want)
			return;
	}
}

/* Ring 3. 1 iff no word is wrong. */
static uint64_t sweep_range(void *arg)
{
	struct sweep *s = arg;
	const uint64_t *wrong = !s->checks ? write_all(s) : s->writes ? check_and_write_all(s) : check_all(s);

	if (wrong)
		remember_wrong(s, wrong);
	return wrong == NULL;
}

static uint64_t range_bytes(const struct extent *free, uint64_t limit)
{
	uint64_t bytes = free->units << FRAME_SHIFT;

	return bytes < limit ? bytes : limit;
}

static void sweep_set(unsigned pass, unsigned passes, uint64_t start, uint64_t bytes)
{
	sweep = (struct sweep){
		.first = (uint64_t *)(uintptr_t)start,
		.end = (uint64_t *)(uintptr_t)(start + bytes),
		.checks = pass > 0,
		.writes = pass < passes,
	};
	if (sweep.checks)
		sweep.check = patterns[pass - 1];
	if (sweep.writes)
		sweep.write = patterns[pass];
}

static bool sweep_all(unsigned pass, unsigned passes, uint64_t limit)
{
	struct extent free;

	for (uint64_t from = 0; memory_next_free(from, &free); from = free.first + free.units) {
		sweep_set(pass, passes, free.first << FRAME_SHIFT, range_bytes(&free, limit));
		if (ring3_call(sweep_range, &sweep))
			continue;
		console_print("memtest: at 0x%lx there is 0x%016lx, and 0x%016lx was written (pass %u)\n", sweep.at,
			      sweep.was, sweep.want, pass - 1);
		return false;
	}
	return true;
}

struct total {
	uint64_t bytes, free_bytes;
	unsigned ranges;
};

static struct total show_ranges(uint64_t limit)
{
	struct total t = {0};
	struct extent free;

	for (uint64_t from = 0; memory_next_free(from, &free); from = free.first + free.units) {
		uint64_t bytes = range_bytes(&free, limit), start = free.first << FRAME_SHIFT;

		console_print("memtest: range 0x%010lx .. 0x%010lx: %lu bytes\n", start, start + bytes, bytes);
		t.bytes += bytes;
		t.free_bytes += free.units << FRAME_SHIFT;
		t.ranges++;
	}
	return t;
}

/* In ring 0, which may read all of it. How many frames there were. */
static uint64_t touch_all(void)
{
	struct pagetable_leaf leaf;
	uint64_t frames = 0;

	for (uint64_t at = 0; at < memory_end(); at += FRAME_BYTES) {
		if (at >= HOLE_START && at < HOLE_END)
			continue;
		if (!pagetable_walk(paging_table(), at, &leaf)) /* a guard below a stack */
			paging_open(at, FRAME_BYTES);
		(void)*(volatile uint8_t *)(uintptr_t)(at + 1);
		frames++;
	}
	return frames;
}

/* In ring 0: it takes no time from whoever counts meanwhile. */
static _Noreturn void wait_for_ever(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

int guest_main(const struct boot_info *boot)
{
	uint64_t limit = text_option(boot->cmdline, "limit", UINT64_MAX) & ~(FRAME_BYTES - 1);
	uint64_t passes = text_option(boot->cmdline, "passes", PASSES);
	uint64_t touch = text_option(boot->cmdline, "touch", 0);
	struct total t;

	if (passes < 1 || passes > PASSES || limit == 0) {
		console_print("memtest: passes are 1 to %u, and a limit is at least 4K\n", PASSES);
		return GUEST_FAILED;
	}
	if (touch > 1)
		(void)sweep_all(0, PASSES, limit);
	if (touch) {
		console_print("memtest: touched %lu frames\n", touch_all());
		wait_for_ever();
	}
	t = show_ranges(limit);
	console_print("memtest: %lu of %lu bytes of RAM are the guest's own\n", memory_ram_bytes() - t.free_bytes,
		      memory_ram_bytes());
	if (t.bytes < t.free_bytes)
		console_print("memtest: the limit leaves %lu bytes untested\n", t.free_bytes - t.bytes);
	for (unsigned pass = 0; pass <= passes; pass++)
		if (!sweep_all(pass, (unsigned)passes, limit))
			return GUEST_FAILED;
	console_print("memtest: ok %lu bytes in %u ranges\n", t.bytes, t.ranges);
	return GUEST_OK;
}
