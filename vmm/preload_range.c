/* vmm/preload_range.c: memory for a heap, taken from the host as it is needed.
 *
 * What it is. One range of addresses, chosen at random where nobody else is, as
 * large as twice the host's memory. Nothing is mapped there at first: it grows from
 * its start, some MiB at a time, by mappings that may not replace others, so that
 * RLIMIT_AS and the size of the process count what is used and not what could be.
 * mm/frames and mm/general_heap have their metadata for the whole range in one
 * mapping, of which only what is used is ever touched.
 *
 * Words. The frontier: where the next frames will be mapped. A frame is dirty if it
 * was given back by the heap and not by us to the host since: its bit is set. While
 * the heap has a frame its bit stays as it was when it was taken: so whoever got
 * it can tell whether it is fresh, that is all zeroes.
 *
 * Invariants: I1 `dirty` is how many free frames have their bit set (moments apart:
 * relaxed counters); I2 all below the frontier is mapped and the heap's, or was
 * mapped by somebody else before and is nobody's here.
 *
 * Giving back. A run of 64 KiB and up goes back to the host as it is freed if too
 * much is dirty already; smaller ones, and what is dirty for long, when
 * preload_range_trim() is called: it takes the largest free runs out of the
 * allocator, discards, and puts them back. Discarding costs a fifth of what touching
 * anew does, so what is reused soon is worth keeping. If all is to go, so do runs that
 * nobody wrote to: a huge page may be there for their neighbours' sake. And what lies in the
 * stacks that other threads' CPUs have in mm/frames is fetched, by membarrier().
 *
 * Threads. Growth has a lock, trimming another, held over system calls: who meets it
 * sleeps (mm_yield()). All else is relaxed counters and bits of frames that the
 * caller owns at that moment.
 *
 * Failure. A refused mapping is a refused allocation; smaller steps are tried first.
 *
 * Rejected. A reservation of the range (PROT_NONE): it counts against RLIMIT_AS, so a
 * program that limits itself could no longer map anything. brk(): one range a process, which
 * others use. Several heaps of growing size: each with caches of its own. */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "mm/lock.h"
#include "vmm/preload_range.h"

#define GIB	  (UINT64_C(1) << 30)
#define RANGE_MIN GIB
#define RANGE_MAX (UINT64_C(1) << 40)
#ifdef __SANITIZE_THREAD__
#define PLACE_FIRST  UINT64_C(0x7e8000000000) /* it knows of no memory elsewhere */
#define PLACES_SHIFT 4u
#else
#define PLACE_FIRST                                                                                                    \
	(UINT64_C(1) << 45) /* far from what is mapped bottom-up or top-down, and from shadows of sanitizers */
#define PLACES_SHIFT 15u    /* how many there are, a GiB apart */
#endif

#define STEP_FRAMES	     512u   /* an area of mm/frames: the least that is mapped at a time */
#define STEP_SHARE	     8u	    /* of what there is; so a growing heap maps seldom */
#define STEP_FRAMES_MAX	     65536u /* 256 MiB */
#define REAP_FROM_FRAMES     1024u  /* a smaller heap grows before its caches are looked through */

#define HUGE_FROM_FRAMES     4096u /* 16 MiB: of a larger heap's growth all is used soon */

#define DISCARD_ORDER	     4u	   /* of runs that are worth a system call */
#define DIRTY_FRAMES_AT_ONCE 8192u /* 32 MiB */
#define DIRTY_FRAMES_LATER   2048u /* 8 MiB */
#define DIRTY_SHARE	     8u
#define TRIM_RUNS	     4096u  /* unless all */
#define TRIM_FRAMES	     16384u /* in one go, unless all: 20 ms */

struct preload_range preload_range;

struct held { /* out of the allocator, while its memory is given back */
	uint32_t first, order;
};

static struct {
	struct frames frames;
	struct frames with_barrier; /* the same, for who empties other CPUs' stacks */
	uint64_t *dirty_bits;
	uint64_t dirty;
	struct lock growing, trimming;
	uint64_t frontier, mapped;   /* frames */
	uint64_t solid;		     /* the frontier, until somebody else was met there */
	uint64_t trims;		     /* that have ended */
	struct held held[TRIM_RUNS]; /* under `trimming` */
} range;

static uint64_t look(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void *address_of(uint64_t frame)
{
	return (void *)(preload_range.base + (frame << FRAME_SHIFT));
}

/* ---- dirty frames ---- */

static uint64_t bits_of(uint64_t first, unsigned order)
{
	return order >= 6 ? UINT64_MAX : ((UINT64_C(1) << (1u << order)) - 1) << first % 64;
}

static uint64_t words_of(unsigned order)
{
	return order >= 6 ? UINT64_C(1) << (order - 6) : 1;
}

static uint64_t dirty_in(uint64_t first, unsigned order)
{
	uint64_t bits = bits_of(first, order), n = 0;

	for (uint64_t i = 0; i < words_of(order); i++)
		n += (unsigned)__builtin_popcountll(look(&range.dirty_bits[first / 64 + i]) & bits);
	return n;
}

static void dirty_set(uint64_t first, unsigned order, bool dirty)
{
	uint64_t bits = bits_of(first, order), *word = &range.dirty_bits[first / 64];

	for (uint64_t i = 0; i < words_of(order); i++) {
		if ((look(&word[i]) & bits) == (dirty ? bits : 0))
			continue;
		if (dirty)
			__atomic_fetch_or(&word[i], bits, __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(&word[i], ~bits, __ATOMIC_RELAXED);
	}
}

static bool discard(uint64_t first, unsigned order)
{
	if (madvise(address_of(first), FRAME_BYTES << order, MADV_DONTNEED) != 0)
		return false; /* locked in memory, for one */
	dirty_set(first, order, false);
	return true;
}

static uint64_t worth_keeping(uint64_t least)
{
	uint64_t share = look(&range.mapped) / DIRTY_SHARE;

	return share > least ? share : least;
}

static void taken(void *self, struct pfn first, unsigned order)
{
	uint64_t n = dirty_in(first.n, order);

	(void)self;
	if (n > 0)
		__atomic_fetch_sub(&range.dirty, n, __ATOMIC_RELAXED);
}

static void given(void *self, struct pfn first, unsigned order)
{
	uint64_t frames = UINT64_C(1) << order;

	(void)self;
	if (order >= DISCARD_ORDER && look(&range.dirty) + frames > worth_keeping(DIRTY_FRAMES_AT_ONCE) &&
	    discard(first.n, order))
		return;
	dirty_set(first.n, order, true);
	__atomic_fetch_add(&range.dirty, frames, __ATOMIC_RELAXED);
}

bool preload_range_is_mapped(uintptr_t at, uintptr_t end)
{
	return at >= preload_range.base && at < end && end <= preload_range.base + (look(&range.solid) << FRAME_SHIFT);
}

bool preload_range_is_fresh(const void *memory, size_t bytes)
{
	uint64_t first = ((uintptr_t)memory - preload_range.base) >> FRAME_SHIFT;
	uint64_t last = ((uintptr_t)memory - preload_range.base + bytes - 1) >> FRAME_SHIFT;

	for (uint64_t frame = first; frame <= last; frame++)
		if (look(&range.dirty_bits[frame / 64]) >> frame % 64 & 1)
			return false;
	return true;
}

/* ---- growth ---- */

/* While little is there, a huge page would be most of it, and full of what nobody asked for. */
static void choose_pages(uint64_t frame, uint64_t frames)
{
	if (frame > 0)
		madvise(address_of(frame), frames << FRAME_SHIFT,
			range.mapped < HUGE_FROM_FRAMES ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
}

static bool map_at(uint64_t frame, uint64_t frames)
{
	void *want = address_of(frame);
	void *got = mmap(want, frames << FRAME_SHIFT, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (got != MAP_FAILED && got != want) /* a kernel that takes it for a hint */
		munmap(got, frames << FRAME_SHIFT);
	if (got == want)
		choose_pages(frame, frames);
	return got == want;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Maps this many frames at the frontier, and lends them to the allocator. */
static bool extend(uint64_t frames)
{
	enum mm_err err;

	if (frames > preload_range.frames - range.frontier || !map_at(range.frontier, frames))
		return false;
	err = frames_donate(&range.frames, (struct pfn){range.frontier}, frames);
	MM_ASSERT(err == MM_OK, range.frontier, frames);
	if (range.solid == range.frontier)
		__atomic_store_n(&range.solid, range.frontier + frames, __ATOMIC_RELAXED);
	range.frontier += frames;
	__atomic_store_n(&range.mapped, range.mapped + frames, __ATOMIC_RELAXED);
	return true;
}

/* Whoever else is there, is left there. */
static bool skip(void)
{
	uint64_t next = round_up(range.frontier + 1, GIB >> FRAME_SHIFT);

	if (next >= preload_range.frames)
		return false;
	range.frontier = next;
	return true;
}

static bool grow_locked(unsigned order)
{
	for (unsigned tries = 0; tries < 4; tries++) {
		uint64_t run = UINT64_C(1) << order, start = round_up(range.frontier, run);
		uint64_t need = round_up(start + run, STEP_FRAMES) - range.frontier;
		uint64_t step = round_up(range.mapped / STEP_SHARE, STEP_FRAMES);

		step = step < STEP_FRAMES_MAX ? step : STEP_FRAMES_MAX;
		if ((step > need && extend(step)) || extend(need))
			return true;
		if (errno != EEXIST || !skip())
			return false;
	}
	return false;
}

static bool grow(void *self, unsigned order, bool reaped)
{
	uint64_t trims = look(&range.trims), mapped = look(&range.mapped);
	bool grown;

	(void)self;
	if (!reaped && mapped >= REAP_FROM_FRAMES)
		return false;
	lock_take(&range.growing);
	grown = look(&range.mapped) != mapped || grow_locked(order); /* many may find nothing at the same time */
	lock_drop(&range.growing);
	if (grown)
		return true;
	lock_take(&range.trimming); /* while it holds what is free, there seems to be nothing */
	grown = range.trims != trims;
	lock_drop(&range.trimming);
	return grown;
}

/* ---- trimming ---- */

static void barrier(void *self)
{
	int was = errno;
	long ret = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);

	(void)self;
	MM_ASSERT(ret == 0, ret, errno); /* registered */
	errno = was;
}

/* What can also have what lies in other CPUs' stacks, if the host lets it. */
static struct frames *all_frames(void)
{
	bool can = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;

	return can ? &range.with_barrier : &range.frames;
}

/* Takes free runs out of the allocator, large ones first; how many. */
static uint64_t hold_free(struct frames *frames, unsigned cpu, struct held *held, uint64_t room)
{
	uint64_t n = 0;
	struct pfn first;

	for (unsigned order = FRAMES_ORDER_2M + 1; order + 1 > 0; order--)
		for (; n < room && frames_alloc(frames, cpu, order, &first) == MM_OK; n++)
			held[n] = (struct held){(uint32_t)first.n, order};
	return n;
}

/* Dirty frames that the host has again. */
static uint64_t give_back(const struct held *held, bool all, uint64_t done)
{
	uint64_t dirty = dirty_in(held->first, held->order);

	if (!all && (dirty == 0 || done >= TRIM_FRAMES))
		return 0;
	if (!discard(held->first, held->order))
		return 0;
	__atomic_fetch_sub(&range.dirty, dirty, __ATOMIC_RELAXED);
	return dirty;
}

static uint64_t trim(struct frames *frames, unsigned cpu, bool all, struct held *held, uint64_t room)
{
	uint64_t n = hold_free(frames, cpu, held, room), done = 0;

	for (uint64_t i = 0; i < n; i++) {
		enum mm_err err;

		done += give_back(&held[i], all, done);
		err = frames_free(&range.frames, cpu, (struct pfn){held[i].first}, held[i].order);
		MM_ASSERT(err == MM_OK, held[i].first, err);
	}
	return done;
}

/* There are at most as many free runs as frames are mapped. */
static uint64_t trim_all(unsigned cpu)
{
	uint64_t room = look(&range.mapped), done;
	size_t bytes = room * sizeof(struct held);
	struct held *held =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (held == MAP_FAILED)
		return trim(all_frames(), cpu, true, range.held, TRIM_RUNS);
	done = trim(all_frames(), cpu, true, held, room);
	munmap(held, bytes);
	return done;
}

size_t preload_range_trim(unsigned cpu, bool all)
{
	uint64_t done;

	if (look(&range.mapped) == 0)
		return 0;
	if (all)
		lock_take(&range.trimming);
	else if (look(&range.dirty) <= worth_keeping(DIRTY_FRAMES_LATER) || !lock_try(&range.trimming))
		return 0;
	done = all ? trim_all(cpu) : trim(&range.frames, cpu, false, range.held, TRIM_RUNS);
	__atomic_store_n(&range.trims, range.trims + 1, __ATOMIC_RELAXED);
	lock_drop(&range.trimming);
	return done << FRAME_SHIFT;
}

/* ---- set up ---- */

static uint64_t power_of_two_from(uint64_t n)
{
	return n <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(n - 1));
}

static uint64_t range_bytes(void)
{
	struct sysinfo host = {0};
	struct rlimit limit;
	uint64_t bytes = RANGE_MIN;

	if (sysinfo(&host) == 0)
		bytes = 2 * power_of_two_from(((uint64_t)host.totalram + host.totalswap) * host.mem_unit);
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes)
		bytes = power_of_two_from(limit.rlim_cur);
	bytes = bytes < RANGE_MIN ? RANGE_MIN : bytes;
	return bytes < RANGE_MAX ? bytes : RANGE_MAX;
}

/* As random as where the kernel puts things, and the same again where it is told to be. */
static uintptr_t place(const void *anything)
{
	uint64_t seed = ((uintptr_t)anything >> FRAME_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);

	return PLACE_FIRST + (seed >> (64 - PLACES_SHIFT)) * GIB;
}

/* Of a host that has no chance to give yet, where it lies will do: it is against accidents. */
static uint64_t secret(void)
{
	uint64_t n;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != (ssize_t)sizeof(n))
		n = preload_range.base * UINT64_C(0x9e3779b97f4a7c15);
	return n;
}

static size_t line_up(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static bool heap_make(unsigned char *meta, size_t of_frames, size_t of_heap, unsigned cpus)
{
	struct frames_config frames = {.frame_count = preload_range.frames, .cpus = cpus, .meta_zeroed = true};
	struct general_heap_config heap = {
		.frames = &range.frames,
		.frame_count = preload_range.frames,
		.cpus = cpus,
		.arena = (void *)preload_range.base,
		.host = {.grow = grow, .taken = taken, .given = given},
		.meta_zeroed = true,
	};

	if (frames_init(&range.frames, meta, of_frames, &frames) != MM_OK ||
	    frames_attach(&range.with_barrier, meta, of_frames, barrier, NULL) != MM_OK)
		return false;
	return general_heap_init(meta + line_up(of_frames), of_heap, &heap, &preload_range.heap) == MM_OK;
}

bool preload_range_make(unsigned cpus)
{
	for (uint64_t bytes = range_bytes(); bytes >= RANGE_MIN / 64; bytes /= 2) {
		uint64_t frames = bytes >> FRAME_SHIFT;
		size_t of_frames = frames_meta_bytes(frames, cpus), of_heap = general_heap_meta_bytes(frames, cpus);
		size_t of_bits = frames / 8, all = line_up(of_frames) + line_up(of_heap) + of_bits;
		unsigned char *meta =
			mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (meta == MAP_FAILED)
			continue;
		preload_range.base = place(meta);
		preload_range.frames = frames;
		range.dirty_bits = (uint64_t *)(void *)(meta + line_up(of_frames) + line_up(of_heap));
		if (!heap_make(meta, of_frames, of_heap, cpus))
			return false;
		preload_range.kinds = general_heap_kinds(&preload_range.heap);
		preload_range.secret = secret();
		return true;
	}
	return false;
}
