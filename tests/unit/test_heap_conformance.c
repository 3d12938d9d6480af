/* tests/unit/test_heap_conformance.c: the conformance suite lets a plain correct
 * heap pass, and objects to each of its wrong ways. What it does not see: whether
 * there are ways to be wrong that nobody thought of. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "mm/heap.h"
#include "mm/port.h"

/* The suite is compiled in, so that heap_alloc_zeroed() can go wrong as well. */
static void *tried_alloc_zeroed(const struct heap *h, unsigned cpu, size_t n, size_t bytes);
#define heap_alloc_zeroed	       tried_alloc_zeroed
#define heap_conformance_run	       tried_run
#define heap_conformance_scratch_bytes tried_scratch_bytes
#include "mm/heap_conformance.c" /* NOLINT(bugprone-suspicious-include) */
#undef heap_alloc_zeroed

#define UNIT   64u
#define UNITS  16384u
#define ARENA  (UNIT * UNITS)
#define INSIDE UINT32_MAX

/* Each way to be wrong, and the sentence that must be said of it. */
#define WRONGS(X)                                                                                                      \
	X(NOTHING, NULL)                                                                                               \
	X(OVERLAP, "nobody else writes")                                                                               \
	X(MISALIGNED, "multiple of its alignment")                                                                     \
	X(ALIGN_IGNORED, "multiple of its alignment")                                                                  \
	X(ALIGN_ODD_TAKEN, "no power of two is refused")                                                               \
	X(ALIGN_0_TAKEN, "alignment of 0 is refused")                                                                  \
	X(ALIGN_HUGE_TAKEN, "nothing is that aligned")                                                                 \
	X(USABLE_SMALL, "what was asked is usable")                                                                    \
	X(USABLE_LARGE, "nobody else writes")                                                                          \
	X(USABLE_VARIES, "what is usable stays")                                                                       \
	X(FREE_WRITES_BEYOND, "nobody else writes")                                                                    \
	X(FREE_LEAKS, "what there is room for is given")                                                               \
	X(FREE_LEAKS_SOME, "what was freed")                                                                           \
	X(FREE_UNNAMED_IGNORED, "allocations are those")                                                               \
	X(FREE_NULL_COUNTS, "allocations are those")                                                                   \
	X(FREE_KEEPS_AWHILE, "what was freed is there again")                                                          \
	X(REALLOC_LOSES_GROWING, "realloc keeps")                                                                      \
	X(REALLOC_LOSES_SHRINKING, "realloc keeps")                                                                    \
	X(REALLOC_LOSES_NAMED, "realloc keeps")                                                                        \
	X(REALLOC_NULL_FAILS, "realloc of NULL allocates")                                                             \
	X(REALLOC_0_FREES, "length that is usable is not refused")                                                     \
	X(REALLOC_REFUSED_WRITES, "nobody else writes")                                                                \
	X(REALLOC_REFUSED_FREES, "a refusal changes nothing")                                                          \
	X(REALLOC_SHRINK_REFUSED, "length that is usable is not refused")                                              \
	X(REALLOC_HUGE_TAKEN, "nothing grows that large")                                                              \
	X(REALLOC_BEYOND_TAKEN, "nothing grows beyond")                                                                \
	X(REALLOC_GROWTH_REFUSED, "what there is room for grows")                                                      \
	X(REALLOC_IGNORES_FAULT, "n-th allocation or growth is refused")                                               \
	X(ZERO_REFUSED, "what there is room for is given")                                                             \
	X(ZERO_SHARED, "0 bytes have an address of their own")                                                         \
	X(HUGE_TAKEN, "nothing is that large")                                                                         \
	X(BEYOND_TAKEN, "no more is given than there is")                                                              \
	X(SOME_REFUSED, "what there is room for is given")                                                             \
	X(ZEROED_DIRTY, "alloc_zeroed clears")                                                                         \
	X(ZEROED_WRAPS, "a product that overflows")                                                                    \
	X(ZEROED_REFUSED, "what there is room for is given")                                                           \
	X(REFUSAL_COUNTS, "a refusal changes nothing")                                                                 \
	X(FAULT_CHANGES_MAX, "a refusal changes nothing")                                                              \
	X(FAULT_LATE, "n-th allocation or growth is refused, and no other")                                            \
	X(FAULT_STICKS, "n-th allocation or growth is refused, and no other")                                          \
	X(FAULT_NOT_OFF, "a fault that is switched off")                                                               \
	X(FAULT_FORGOTTEN, "n-th allocation or growth is refused")                                                     \
	X(COUNTS_TWICE, "allocations are those")                                                                       \
	X(ASKED_AS_GIVEN, "bytes_asked is what was asked")                                                             \
	X(ASKED_DRIFTS, "bytes_total includes bytes_asked_max")                                                        \
	X(ASKED_STAYS, "the heap is empty")                                                                            \
	X(GIVEN_AS_ASKED, "bytes_given is what is usable")                                                             \
	X(ASKED_NOTHING, "bytes_asked is between")                                                                     \
	X(REFUSAL_GIVES, "a refusal changes nothing")                                                                  \
	X(REFUSAL_ASKS, "a refusal changes nothing")                                                                   \
	X(MAX_LESS, "bytes_asked_max is no less")                                                                      \
	X(MAX_MORE, "bytes_total includes bytes_asked_max")                                                            \
	X(MAX_FALLS, "bytes_asked_max is no less")                                                                     \
	X(MAX_UNSEEING, "bytes_asked_max saw")                                                                         \
	X(HELD_LESS, "bytes_held includes")                                                                            \
	X(HELD_MORE, "bytes_total includes")                                                                           \
	X(TOTAL_MOVES, "bytes_total stays")                                                                            \
	X(CHECK_FAILS, "heap_check() holds")                                                                           \
	X(CHECK_FAILS_FULL, "heap_check() holds")                                                                      \
	X(NO_ROOM, "an empty heap has room")

enum wrong {
#define X(name, sentence) name,
	WRONGS(X)
#undef X
		WRONG_COUNT
};

static const char *const wrong_names[] = {
#define X(name, sentence) #name,
	WRONGS(X)
#undef X
};

static const char *const wrong_sentences[] = {
#define X(name, sentence) sentence,
	WRONGS(X)
#undef X
};

/* Heaps that do one thing wrong, once: at the n-th occasion. */
enum slip {
	NO_SLIP,
	FLIPS,	  /* a byte of an allocation that is live, when another is made or freed */
	UNUSABLE, /* says that nothing is usable */
	LIES,	  /* about how many are live */
	UNSOUND,  /* heap_check() */
	DENIES,	  /* an allocation */
	SERVES,	  /* what it should refuse */
	SLIPS
};

/* A heap without any cleverness: first fit by units, all it knows beside them. */
struct plain {
	unsigned char *arena;
	uint32_t run[UNITS]; /* units at the first of a run, INSIDE in it, 0: free */
	size_t asked[UNITS]; /* at the first */
	struct heap_stats stats;
	uint64_t fail_after, frees, fails;
	bool tired, unnamed;
	unsigned char *corpse;
	const void *looked_at;
	enum wrong wrong;
	enum slip slip;
	uint64_t slip_in;	       /* occasions */
	bool poor;		       /* gives nothing above POOR bytes, and says that all is held */
	bool late;		       /* what was freed is there again when nothing is live */
	uint64_t dead;		       /* bytes of what was freed and is not */
	size_t largest, align_largest; /* 0: all there are */
};

#define POOR 20000u

static struct plain plain;

static bool slips(struct plain *p, enum slip slip)
{
	return p->slip == slip && p->slip_in > 0 && --p->slip_in == 0;
}

/* In each allocation the second word is what the suite knows. */
static void flip(struct plain *p)
{
	for (size_t at = 0; at < UNITS && p->slip == FLIPS; at++)
		if (p->run[at] != 0 && p->run[at] != INSIDE) {
			p->arena[at * UNIT + 8] ^= (unsigned char)slips(p, FLIPS);
			return;
		}
}

static size_t units_of(size_t bytes)
{
	return (bytes + (bytes == 0) + UNIT - 1) / UNIT;
}

static bool free_from(const struct plain *p, size_t at, size_t units)
{
	for (size_t i = at; i < at + units; i++)
		if (i >= UNITS || p->run[i] != 0)
			return false;
	return true;
}

static bool fault_hits(struct plain *p)
{
	if (p->fail_after == 0)
		return false;
	p->fail_after--;
	if (p->wrong == FAULT_CHANGES_MAX && p->fail_after == 0)
		p->stats.bytes_asked_max++;
	if (p->wrong == FAULT_STICKS && p->fail_after == 0) {
		p->fail_after = 1;
		return true;
	}
	return p->fail_after == 0;
}

static size_t given_at(const struct plain *p, size_t at)
{
	if (p->wrong == OVERLAP)
		return units_of(p->asked[at]) * UNIT;
	return p->run[at] * (size_t)UNIT;
}

static size_t plain_usable(void *self, const void *memory)
{
	struct plain *p = self;
	size_t at = (size_t)((const unsigned char *)memory - p->arena) / UNIT;

	if (slips(p, UNUSABLE))
		return 0;
	if (p->wrong == USABLE_SMALL && p->asked[at] % 100 == 99)
		return p->asked[at] - 1;
	if (p->wrong == USABLE_LARGE)
		return p->run[at] * (size_t)UNIT + 8;
	if (p->wrong == USABLE_VARIES && p->looked_at == memory)
		return p->asked[at];
	p->looked_at = memory;
	return given_at(p, at);
}

static void count(struct plain *p, size_t at, int sign)
{
	size_t asked = p->asked[at], given = given_at(p, at);

	if (p->wrong == GIVEN_AS_ASKED)
		given = asked;
	if (p->wrong == USABLE_LARGE)
		given += 8;
	if (p->wrong == ASKED_AS_GIVEN)
		asked = given;
	p->stats.allocations += (uint64_t)(p->wrong == COUNTS_TWICE && asked == 300 ? 2 * sign : sign);
	p->stats.bytes_asked += sign < 0 ? -asked : asked;
	p->stats.bytes_given += sign < 0 ? -given : given;
	p->stats.bytes_held = p->stats.bytes_given + p->dead;
	if (p->stats.bytes_asked > p->stats.bytes_asked_max && p->wrong != MAX_UNSEEING)
		p->stats.bytes_asked_max = p->stats.bytes_asked;
}

static void *take_at(struct plain *p, size_t at, size_t units, size_t bytes)
{
	units -= p->wrong == OVERLAP && units == 4;
	p->run[at] = (uint32_t)units;
	p->asked[at] = bytes + (bytes == 0);
	for (size_t i = 1; i < units; i++)
		p->run[at + i] = INSIDE;
	count(p, at, 1);
	return p->arena + at * UNIT;
}

static bool refuses(struct plain *p, size_t bytes, size_t align)
{
	if ((p->largest && ((bytes + align - 1) & -align) > p->largest) ||
	    (p->align_largest && align > p->align_largest))
		return true;
	if (align == 0 ? p->wrong != ALIGN_0_TAKEN : (align & (align - 1)) && p->wrong != ALIGN_ODD_TAKEN)
		return true;
	if (bytes > PTRDIFF_MAX && !(p->wrong == HUGE_TAKEN && bytes == SIZE_MAX))
		return true;
	p->tired |= p->wrong == NO_ROOM && bytes == ARENA / 4;
	if (p->tired || (p->wrong == ZERO_REFUSED && bytes == 0) || (p->wrong == SOME_REFUSED && bytes % 91 == 90))
		return true;
	return fault_hits(p);
}

static void *search(struct plain *p, size_t bytes, size_t align)
{
	size_t units = units_of(bytes);

	if (bytes > ARENA)
		return NULL;
	for (size_t at = 0; at < UNITS; at += p->run[at] != 0 && p->run[at] != INSIDE ? p->run[at] : 1)
		if (((uintptr_t)p->arena + at * UNIT) % align == 0 && free_from(p, at, units))
			return take_at(p, at, units, bytes);
	return NULL;
}

static void *plain_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct plain *p = self;
	unsigned char *memory;

	MM_ASSERT(cpu == 3, cpu, bytes);
	flip(p);
	if (slips(p, DENIES) || (p->poor && bytes > POOR))
		return NULL;
	if (refuses(p, bytes, align)) {
		if (slips(p, SERVES))
			return search(p, 1, 16);
		p->stats.allocations += p->wrong == REFUSAL_COUNTS;
		p->stats.bytes_given += p->wrong == REFUSAL_GIVES;
		p->stats.bytes_asked += p->wrong == REFUSAL_ASKS;
		return NULL;
	}
	if ((p->wrong == HUGE_TAKEN && bytes == SIZE_MAX) || (p->wrong == BEYOND_TAKEN && bytes == ARENA + 1))
		bytes = 1;
	if (p->wrong == ALIGN_HUGE_TAKEN && align > PTRDIFF_MAX)
		align = 16;
	if (align == 0 || align & (align - 1) || (p->wrong == ALIGN_IGNORED && align <= ARENA))
		align = 16;
	if (p->wrong == ZERO_SHARED && bytes == 0 && p->run[0] == 1)
		return p->arena;
	memory = search(p, bytes, align);
	if (p->wrong == MISALIGNED && memory && bytes > 200)
		return memory + 8;
	return memory;
}

static void *tried_alloc_zeroed(const struct heap *h, unsigned cpu, size_t n, size_t bytes)
{
	struct plain *p = h->self;
	size_t all = n * bytes;
	unsigned char *memory;

	if (p->wrong != ZEROED_WRAPS && n && all / n != bytes)
		return NULL;
	if (p->wrong == ZEROED_REFUSED && n == 100)
		return NULL;
	memory = heap_alloc(h, cpu, all);
	if (memory)
		memset(memory, 0, all - (p->wrong == ZEROED_DIRTY && all > 8));
	return memory;
}

/* The one that is to be freed, or one that died some time ago. */
static unsigned char *dies(struct plain *p, unsigned char *memory)
{
	unsigned char *old = p->corpse;

	p->corpse = memory;
	return old;
}

static void release(struct plain *p, size_t at)
{
	size_t units = p->run[at];

	if (p->late && p->stats.allocations > 0) {
		p->dead += units * UNIT;
		p->stats.bytes_held += units * UNIT;
		return;
	}
	if (p->late) {
		memset(p->run, 0, sizeof(p->run));
		p->stats.bytes_held = p->dead = 0;
		return;
	}
	for (size_t i = 0; i < units; i++)
		p->run[at + i] = 0;
}

static void plain_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct plain *p = self;
	size_t at;

	MM_ASSERT(cpu == 3, cpu, bytes);
	if (!memory) {
		p->stats.allocations -= p->wrong == FREE_NULL_COUNTS;
		return;
	}
	if (p->wrong == FREE_UNNAMED_IGNORED && bytes == 0)
		return;
	at = (size_t)((unsigned char *)memory - p->arena) / UNIT;
	MM_ASSERT(at < UNITS && p->run[at] != 0 && p->run[at] != INSIDE, at, bytes);
	MM_ASSERT(bytes <= given_at(p, at) + 8, at, bytes); /* ck_assert() would write to a pipe each time */
	p->frees++;
	p->unnamed |= bytes == 0;
	if (p->wrong == ASKED_DRIFTS && bytes == 0)
		p->asked[at] = given_at(p, at);
	if (p->wrong != ASKED_STAYS)
		count(p, at, -1);
	if (p->wrong == FREE_WRITES_BEYOND && at + p->run[at] < UNITS)
		p->arena[(at + p->run[at]) * UNIT] ^= 1;
	if (p->wrong == FREE_LEAKS && p->stats.bytes_given < ARENA / 64)
		return;
	if (p->wrong == FREE_LEAKS_SOME && p->frees % 32 == 0)
		return;
	if (p->wrong == FREE_KEEPS_AWHILE) {
		memory = dies(p, memory);
		if (!memory)
			return;
		at = (size_t)((unsigned char *)memory - p->arena) / UNIT;
	}
	release(p, at);
}

static void *refuse_growth(struct plain *p, unsigned char *memory)
{
	if (p->wrong == REALLOC_REFUSED_WRITES)
		memory[3] ^= 1;
	if (p->wrong == REALLOC_REFUSED_FREES && p->fails > 0)
		plain_free(p, 3, memory, 0);
	return NULL;
}

static void *grow(struct plain *p, unsigned char *memory, size_t named, size_t kept, size_t bytes)
{
	uint64_t fault = p->fail_after;
	unsigned char *moved;

	if (p->wrong == REALLOC_GROWTH_REFUSED && bytes > 3000 && p->fails > 10)
		return NULL;
	if (p->wrong == REALLOC_IGNORES_FAULT)
		p->fail_after = 0;
	moved = plain_alloc(p, 3, bytes, 16);
	if (p->wrong == REALLOC_IGNORES_FAULT)
		p->fail_after = fault - (fault > 0);
	if (!moved)
		return refuse_growth(p, memory);
	memcpy(moved, memory, kept - (p->wrong == REALLOC_LOSES_GROWING));
	plain_free(p, 3, memory, named);
	return moved;
}

static void *plain_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct plain *p = self;
	size_t at, usable;

	if (!memory)
		return p->wrong == REALLOC_NULL_FAILS ? NULL : plain_alloc(self, cpu, bytes, 16);
	at = (size_t)((unsigned char *)memory - p->arena) / UNIT;
	usable = p->run[at] * (size_t)UNIT;
	if (bytes > ARENA && slips(p, SERVES))
		return memory;
	if (p->wrong == REALLOC_HUGE_TAKEN ? bytes > PTRDIFF_MAX
					   : p->wrong == REALLOC_BEYOND_TAKEN && bytes == ARENA + 1)
		return memory;
	if (bytes > usable)
		return grow(p, memory, old_bytes,
			    p->wrong == REALLOC_LOSES_NAMED && old_bytes == usable ? p->asked[at] / 2
			    : old_bytes						   ? old_bytes
										   : usable,
			    bytes);
	if (p->wrong == REALLOC_0_FREES && bytes == 0) {
		plain_free(self, cpu, memory, old_bytes);
		return NULL;
	}
	if (p->wrong == REALLOC_SHRINK_REFUSED && bytes < usable / 4)
		return NULL;
	if (p->wrong == REALLOC_LOSES_SHRINKING && bytes < usable / 2 && bytes > 0)
		((unsigned char *)memory)[bytes - 1] ^= 1;
	count(p, at, -1);
	p->asked[at] = bytes + (bytes == 0);
	count(p, at, 1);
	return memory;
}

static struct heap_stats plain_stats(void *self)
{
	struct plain *p = self;
	struct heap_stats s;

	if (p->stats.bytes_asked > p->stats.bytes_asked_max)
		p->stats.bytes_asked_max = p->stats.bytes_asked;
	s = p->stats;
	s.allocations += slips(p, LIES);
	if (p->poor)
		s.bytes_held = ARENA;
	s.bytes_total = ARENA + (p->wrong == TOTAL_MOVES && s.allocations > 5);
	if (p->wrong == HELD_LESS)
		s.bytes_held /= 2;
	if (p->wrong == HELD_MORE && s.allocations > 5)
		s.bytes_held = ARENA + 1;
	if (p->wrong == ASKED_NOTHING && p->unnamed)
		s.bytes_asked = 0;
	s.bytes_asked_max -= p->wrong == MAX_LESS && s.allocations > 3;
	if (p->wrong == MAX_MORE && s.allocations > 3)
		s.bytes_asked_max += ARENA;
	if (p->wrong == MAX_FALLS)
		s.bytes_asked_max = s.bytes_asked;
	return s;
}

static bool plain_check(void *self)
{
	struct plain *p = self;

	if (slips(p, UNSOUND))
		return false;
	if (p->wrong == CHECK_FAILS_FULL)
		return p->stats.bytes_given < ARENA * 3 / 4;
	return p->wrong != CHECK_FAILS || p->stats.allocations < 5;
}

static void plain_fail_after(void *self, uint64_t n)
{
	struct plain *p = self;

	p->fails++;
	if (p->wrong == FAULT_LATE && n == 3)
		n++;
	if (p->wrong == FAULT_NOT_OFF && n == 0)
		return;
	if (p->wrong == FAULT_FORGOTTEN && p->fails > 30)
		n = 0;
	p->fail_after = n;
}

static const struct heap_ops plain_ops = {plain_alloc, plain_free,  plain_realloc,   plain_usable,
					  plain_stats, plain_check, plain_fail_after};

/* The suite on the plain heap as it is prepared by now. */
static const char *run_as(const struct heap_conformance *as, uint64_t seed, uint64_t operations)
{
	static _Alignas(4096) unsigned char arena[ARENA + UNIT];
	static _Alignas(64) unsigned char scratch[sizeof(struct trial)];
	static const struct heap heap = {&plain, &plain_ops};
	struct heap_conformance c = {.heap = &heap,
				     .cpu = 3,
				     .seed = seed,
				     .operations = operations,
				     .scratch = scratch,
				     .scratch_bytes = tried_scratch_bytes(),
				     .reuse = as->reuse,
				     .largest = as->largest,
				     .align_largest = as->align_largest};
	uint64_t a, b;

	plain.arena = arena;
	return tried_run(&c, &a, &b);
}

static const char *run(uint64_t seed, uint64_t operations)
{
	return run_as(&(struct heap_conformance){.heap = NULL}, seed, operations);
}

static const char *run_wrong(enum wrong wrong, uint64_t seed)
{
	memset(&plain, 0, sizeof(plain));
	plain.wrong = wrong;
	if (wrong == ASKED_STAYS)
		plain.stats.bytes_asked = 1;
	return run(seed, 20000);
}

START_TEST(correct)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		const char *said = run_wrong(NOTHING, seed);

		ck_assert_msg(!said, "%s", said);
	}
}
END_TEST

START_TEST(wrong)
{
	const char *said = run_wrong((enum wrong)_i, 1);

	ck_assert_msg(said, "%s passes", wrong_names[_i]);
	ck_assert_msg(strstr(said, wrong_sentences[_i]), "%s: %s", wrong_names[_i], said);
}
END_TEST

START_TEST(poor_but_honest)
{
	const char *said;

	memset(&plain, 0, sizeof(plain));
	plain.poor = true;
	said = run(1, 20000);
	ck_assert_msg(!said, "%s", said);
}
END_TEST

/* Who serves less, and says so, passes; who does not say so, does not. */
START_TEST(serves_less)
{
	static const size_t largest[] = {64, 1000, 2048, 16384}; /* 64: what has 40 may be as long as it can be */
	const char *said;

	for (size_t i = 0; i < sizeof(largest) / sizeof(*largest); i++)
		for (size_t align = 16; align <= 256; align *= 16) {
			memset(&plain, 0, sizeof(plain));
			plain.largest = largest[i];
			plain.align_largest = align;
			said = run_as(&(struct heap_conformance){.largest = largest[i], .align_largest = align}, 1,
				      3000);
			ck_assert_msg(!said, "%s", said);
			said = run(1, 1000);
			ck_assert_msg(said && strstr(said, "what there is room for"), "%s", said);
		}
}
END_TEST

START_TEST(reuses_when_empty)
{
	const char *said;

	for (uint64_t seed = 1; seed <= 4; seed++) {
		memset(&plain, 0, sizeof(plain));
		plain.late = true;
		said = run_as(&(struct heap_conformance){.reuse = HEAP_REUSES_WHEN_EMPTY}, seed, 20000);
		ck_assert_msg(!said, "%s", said);
	}
	said = run(1, 1000);
	ck_assert_msg(said && strstr(said, "what was freed is there again"), "%s", said);
}
END_TEST

/* Whatever it reuses, what it gives must be right: all is seen but refusals. */
START_TEST(wrong_whatever_is_reused)
{
	static const enum wrong refusals[] = {FREE_LEAKS,     FREE_LEAKS_SOME,	      FREE_KEEPS_AWHILE, ZERO_REFUSED,
					      ZEROED_REFUSED, REALLOC_GROWTH_REFUSED, SOME_REFUSED,	 NO_ROOM};
	bool pardoned = false;
	const char *said;

	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++)
		pardoned |= refusals[i] == (enum wrong)_i;
	memset(&plain, 0, sizeof(plain));
	plain.wrong = (enum wrong)_i;
	plain.stats.bytes_asked = _i == ASKED_STAYS;
	said = run_as(&(struct heap_conformance){.reuse = HEAP_REUSES_SOME}, 1, 5000);
	ck_assert_msg(said || pardoned, "%s passes", wrong_names[_i]);
}
END_TEST

/* One slip at a time, at each occasion in turn: those that show must be seen. */
START_TEST(one_slip)
{
	bool certain =
		_i == FLIPS || _i == UNUSABLE || _i == UNSOUND; /* the others may come where it does not matter */
	uint64_t unseen = 0, n;

	for (n = 1;; n += n < 600 ? 1 : 5) {
		const char *said;

		memset(&plain, 0, sizeof(plain));
		plain.slip = (enum slip)_i;
		plain.slip_in = n;
		said = run(1, 64);
		if (plain.slip_in > 0)
			break;
		unseen += !said;
		ck_assert_msg(said || !certain, "slip %d, occasion %lu", _i, n);
	}
	ck_assert_uint_lt(unseen * 2, n);
}
END_TEST

START_TEST(scratch_too_small)
{
	struct heap heap = {&plain, &plain_ops};
	struct heap_conformance c = {.heap = &heap, .scratch = &plain, .scratch_bytes = tried_scratch_bytes() - 1};
	uint64_t a, b;

	ck_assert_str_eq(tried_run(&c, &a, &b), "the scratch is large enough");
	ck_assert(a == c.scratch_bytes && b == c.scratch_bytes + 1);
}
END_TEST

Suite *heap_conformance_suite(void);
Suite *heap_conformance_suite(void)
{
	Suite *s = suite_create("heap_conformance");
	TCase *c = tcase_create("heap_conformance");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, correct);
	tcase_add_loop_test(c, wrong, NOTHING + 1, WRONG_COUNT);
	tcase_add_test(c, poor_but_honest);
	tcase_add_test(c, serves_less);
	tcase_add_test(c, reuses_when_empty);
	tcase_add_loop_test(c, wrong_whatever_is_reused, NOTHING + 1, WRONG_COUNT);
	tcase_add_loop_test(c, one_slip, NO_SLIP + 1, SLIPS);
	tcase_add_test(c, scratch_too_small);
	suite_add_tcase(s, c);
	return s;
}
