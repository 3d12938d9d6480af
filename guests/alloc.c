/* alloc: the allocators of mm/ serve a guest as they serve the VMM: the heap
 * passes the conformance suite, and frames and heap survive all CPUs at once,
 * memory freed on other CPUs than it came from included.
 *
 * What all CPUs do at once are stages. Frames are marked in a map of owners, one
 * bit each: a run that is given twice finds its bit set. Objects wander through
 * shared places, and whoever takes one out checks the stamp at both ends and
 * frees it. Then it prints what each costs here: the table of the host's bench.
 *
 * Words of the command line: "operations=N" of each CPU in each stage; "rounds=N"
 * of each figure, of which the least counts (0: no table); "scale=N" divides what
 * the figures' loops do, for machines that are slow.
 */
#include "guests/bench/table.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/console.h"
#include "guests/runtime/crew.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/guest_heap.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"
#include "mm/general_heap.h"
#include "mm/heap_conformance.h"

#define OPERATIONS 20000u
#define ROUNDS	   3u
#define PLACES	   256u
#define RUNS	   32u /* that a CPU holds at once */

struct object { /* the start of each; its last 8 bytes are the stamp again */
	uint64_t stamp, bytes;
};

struct run {
	struct pfn first;
	unsigned order;
	bool held;
};

static struct shared {
	unsigned cpus;
	const char *wrong; /* atomic */
	uint64_t operations;
	uint64_t *owned;	      /* one bit a frame; atomics */
	struct object *place[PLACES]; /* atomics */
} shared;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- stages ---- */

typedef const char *stage_fn(unsigned cpu); /* NULL: all is well */

static void stage_run(void *fn, unsigned cpu)
{
	const char *wrong = ((stage_fn *)(uintptr_t)fn)(cpu);

	if (wrong)
		__atomic_store_n(&shared.wrong, wrong, __ATOMIC_RELEASE);
}

static bool stage(const char *name, stage_fn *fn)
{
	crew_run(shared.cpus, stage_run, (void *)(uintptr_t)fn);
	if (shared.wrong)
		console_print("alloc: %s: %s\n", name, shared.wrong);
	return !shared.wrong;
}

/* ---- frames: no run is given twice ---- */

static bool owned_flip(const struct run *r, bool taken)
{
	for (uint64_t n = r->first.n; n < r->first.n + (UINT64_C(1) << r->order); n++) {
		uint64_t bit = UINT64_C(1) << n % 64;
		uint64_t was = __atomic_fetch_xor(&shared.owned[n / 64], bit, __ATOMIC_RELAXED);

		if (((was & bit) != 0) == taken)
			return false;
	}
	return true;
}

static const char *run_free(unsigned cpu, struct run *r)
{
	r->held = false;
	if (!owned_flip(r, false))
		return "a frame that was held had no owner";
	return frames_free(guest_frames(), cpu, r->first, r->order) == MM_OK ? NULL : "a held run was not taken back";
}

static const char *run_alloc(unsigned cpu, struct run *r, uint64_t random)
{
	r->order = random % 4 ? 0 : (unsigned)(random >> 8) % 11;
	if (frames_alloc(guest_frames(), cpu, r->order, &r->first) != MM_OK)
		return NULL; /* frames may lie in other CPUs' stacks; what is lost shows when all is quiet */
	if (r->first.n % (UINT64_C(1) << r->order))
		return "a run was not aligned";
	r->held = true;
	return owned_flip(r, true) ? NULL : "a frame was given twice";
}

static const char *try_frames(unsigned cpu)
{
	struct run run[RUNS] = {0};
	uint64_t random = 88172645463325252u + cpu;
	const char *wrong = NULL;

	for (uint64_t i = 0; i < shared.operations && !wrong; i++) {
		struct run *r = &run[next_random(&random) % RUNS];

		wrong = r->held ? run_free(cpu, r) : run_alloc(cpu, r, next_random(&random));
	}
	for (unsigned i = 0; i < RUNS && !wrong; i++)
		if (run[i].held)
			wrong = run_free(cpu, &run[i]);
	frames_drain(guest_frames(), cpu);
	return wrong;
}

/* ---- the heap: what one CPU stamped, another finds whole and frees ---- */

static uint64_t *stamp_at_end(struct object *o)
{
	return (uint64_t *)((uintptr_t)o + (o->bytes & ~UINT64_C(7)) - 8);
}

static const char *object_free(unsigned cpu, struct object *o)
{
	if (*stamp_at_end(o) != o->stamp || o->stamp != ((uintptr_t)o ^ o->bytes))
		return "an object lost its stamp";
	o->stamp = 0;
	heap_free(guest_heap(), cpu, o, o->bytes);
	return NULL;
}

static struct object *object_alloc(unsigned cpu, uint64_t random)
{
	uint64_t bytes = 32 + (random % 16 ? random >> 8 & 0x3ff : random >> 8 & 0xffff);
	struct object *o = heap_alloc(guest_heap(), cpu, bytes);

	if (o) {
		*o = (struct object){(uintptr_t)o ^ bytes, bytes};
		*stamp_at_end(o) = o->stamp;
	}
	return o;
}

static const char *try_heap(unsigned cpu)
{
	uint64_t random = 2463534242u + cpu;
	const char *wrong = NULL;

	for (uint64_t i = 0; i < shared.operations && !wrong; i++) {
		uint64_t chance = next_random(&random);
		struct object *mine = object_alloc(cpu, chance), *other;

		if (!mine)
			return "the heap had no room";
		other = __atomic_exchange_n(&shared.place[chance >> 32 & (PLACES - 1)], mine, __ATOMIC_ACQ_REL);
		if (other)
			wrong = object_free(cpu, other);
	}
	return wrong;
}

static const char *empty_places(unsigned cpu)
{
	const char *wrong = NULL;

	for (unsigned i = cpu; i < PLACES && !wrong; i += shared.cpus)
		if (shared.place[i])
			wrong = object_free(cpu, shared.place[i]);
	return wrong;
}

/* ---- one CPU ---- */

static struct conformance {
	struct heap_conformance ask;
	const char *wrong;
	uint64_t a, b;
} conformance;

static uint64_t conform(void *arg)
{
	struct conformance *c = arg;

	c->wrong = heap_conformance_run(&c->ask, &c->a, &c->b);
	return 0;
}

static bool conforms(void)
{
	ring3_call(conform, &conformance);
	if (conformance.wrong)
		console_print("alloc: conformance: %s (0x%lx, 0x%lx)\n", conformance.wrong, conformance.a,
			      conformance.b);
	return !conformance.wrong;
}

/* Ring 3, when all is quiet: every frame is back, no invariant is broken. */
static uint64_t nothing_lost(void *unused)
{
	struct frames_stats s;

	(void)unused;
	for (unsigned cpu = 0; cpu < shared.cpus; cpu++) {
		general_heap_reap(guest_heap(), cpu, true);
		frames_drain(guest_frames(), cpu);
	}
	s = frames_stats_read(guest_frames());
	return frames_check(guest_frames()) && heap_check(guest_heap()) && s.frames_free == s.frames_total &&
	       heap_stats_read(guest_heap()).allocations == 0;
}

/* What is needed besides the heap comes out of RAM before the heap gets the rest. */
static void *lend(uint64_t bytes)
{
	void *memory =
		(void *)(uintptr_t)(memory_carve_high((bytes + FRAME_BYTES - 1) >> FRAME_SHIFT).n << FRAME_SHIFT);

	memset(memory, 0, bytes);
	return memory;
}

static uint64_t open(void *unused)
{
	size_t scratch_bytes = heap_conformance_scratch_bytes();

	(void)unused;
	shared.owned = lend((memory_end() >> FRAME_SHIFT) / 8 + 8);
	conformance.ask = (struct heap_conformance){.heap = guest_heap(), .seed = 1, .operations = shared.operations};
	conformance.ask.scratch = lend(scratch_bytes);
	conformance.ask.scratch_bytes = scratch_bytes;
	guest_heap_open(shared.cpus);
	return 0;
}

static bool quiet(void)
{
	if (ring3_call(nothing_lost, NULL))
		return true;
	console_print("alloc: after all was freed, frames are missing or an invariant is broken\n");
	return false;
}

static bool survives(void)
{
	return conforms() && stage("frames", try_frames) && stage("heap", try_heap) && stage("heap", empty_places) &&
	       quiet();
}

int guest_main(const struct boot_info *boot)
{
	struct table_config table = {.rounds = text_option(boot->cmdline, "rounds", ROUNDS),
				     .scale = text_option(boot->cmdline, "scale", 1)};
	bool ok;

	/* Before other CPUs spin: where they take this one's time, some hosts stop its counter meanwhile. */
	table.hz = clock_cycles_hz();
	shared.operations = text_option(boot->cmdline, "operations", OPERATIONS);
	shared.cpus = table.cpus = crew_start();
	ring3_call(open, NULL);
	ok = survives();
	if (ok && table.rounds > 0)
		ok = table_print(&table) && quiet();
	if (!crew_end() || !ok)
		return GUEST_FAILED;
	console_print("alloc: ok %u CPUs, %lu operations each in each stage\n", shared.cpus, shared.operations);
	return GUEST_OK;
}
