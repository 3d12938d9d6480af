/* mm/inject.c: a heap over any heap that refuses when it is told to.
 *
 * What it is. A wrapper that counts what is asked for, and three rules over the count:
 * the n-th, by chance, by who asks. No rule knows of another. Whoever must survive any
 * refusal is run with the n-th refused, for n from 1 on, until nothing is; or for long,
 * with a chance; or with one function's requests refused alone.
 *
 * Threads. Counts are atomic, and so is the state of chance: each request moves it on
 * once, so that one thread sees the same run again, and many see the same chances.
 *
 * Cost. No rule, or the n-th alone: one atomic add, three loads. A site: a stack taken for each request.
 *
 * Rejected. Asking the heap below to refuse (heap_fail_after()): it counts what the
 * wrappers between do for themselves, too. */
#include "mm/inject.h"
#include "mm/fail_nth.h"

#define MILLION UINT64_C(1000000)

static uint64_t read_now(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static bool by_chance(struct inject *i)
{
	uint64_t x;

	if (i->per_million == 0)
		return false;
	x = __atomic_add_fetch(&i->random, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31)) % MILLION < i->per_million;
}

static bool by_site(struct inject *i)
{
	uint64_t pc[CALL_STACK_MAX];
	unsigned count;

	if (i->site_low == i->site_high || !i->source.take)
		return false;
	count = i->source.take(i->source.self, pc, CALL_STACK_MAX);
	for (unsigned at = 0; at < count; at++)
		if (pc[at] - i->site_low < i->site_high - i->site_low)
			return i->site_each || fail_nth_now(&i->site_nth);
	return false;
}

static bool refuses(struct inject *i, size_t bytes, size_t align)
{
	struct inject_refusal refusal = {
		.nth = __atomic_add_fetch(&i->asked, 1, __ATOMIC_RELAXED), .bytes = bytes, .align = align};
	bool nth = refusal.nth == i->nth, chance = by_chance(i), site = by_site(i);

	if (!nth && !chance && !site)
		return false;
	__atomic_add_fetch(&i->refused, 1, __ATOMIC_RELAXED);
	if (i->told)
		i->told(i->told_self, &refusal);
	return true;
}

static void *inject_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct inject *i = self;

	return refuses(i, bytes, align) ? NULL : heap_alloc_aligned(&i->below, cpu, bytes, align);
}

static void inject_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct inject *i = self;

	heap_free(&i->below, cpu, memory, bytes);
}

static void *inject_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct inject *i = self;

	if ((!memory || bytes > heap_usable(&i->below, memory)) && refuses(i, bytes, memory ? 0 : HEAP_ALIGN))
		return NULL;
	return heap_realloc(&i->below, cpu, memory, old_bytes, bytes);
}

static size_t inject_usable(void *self, const void *memory)
{
	struct inject *i = self;

	return heap_usable(&i->below, memory);
}

static struct heap_stats inject_heap_stats(void *self)
{
	struct inject *i = self;

	return heap_stats_read(&i->below);
}

static bool inject_check(void *self)
{
	struct inject *i = self;

	return heap_check(&i->below);
}

static void inject_fail_after(void *self, uint64_t n)
{
	inject_nth(self, n);
}

void inject_init(struct inject *self, const struct heap *below, const struct call_stack_source *source,
		 struct heap *out)
{
	*self = (struct inject){.ops = {.alloc = inject_alloc,
					.free = inject_free,
					.realloc = inject_realloc,
					.usable = inject_usable,
					.stats = inject_heap_stats,
					.check = inject_check,
					.fail_after = inject_fail_after},
				.below = *below,
				.source = *source};
	*out = (struct heap){.self = self, .ops = &self->ops};
}

void inject_nth(struct inject *self, uint64_t n)
{
	self->nth = n ? read_now(&self->asked) + n : 0;
}

void inject_chance(struct inject *self, uint32_t per_million, uint64_t seed)
{
	self->per_million = per_million;
	self->random = seed;
}

void inject_site(struct inject *self, uint64_t low, uint64_t high, uint64_t n)
{
	self->site_low = low;
	self->site_high = high;
	self->site_nth = n;
	self->site_each = n == 0;
}

void inject_tell(struct inject *self, void (*told)(void *told_self, const struct inject_refusal *refusal),
		 void *told_self)
{
	self->told = told;
	self->told_self = told_self;
}

struct inject_stats inject_stats_read(const struct inject *self)
{
	return (struct inject_stats){.asked = read_now(&self->asked), .refused = read_now(&self->refused)};
}
