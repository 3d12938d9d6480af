/* mm/heap_conformance.c: every sentence of heap.h, tried on a real heap.
 *
 * What it is. Trials, each a function that answers NULL or the sentence that did
 * not hold. It knows a heap only by heap.h: how large it is, by bytes_total, and
 * that it is empty. It is no proof about threads: one CPU calls.
 *
 * How it sees. Every byte that may be used is filled with a pattern of the
 * allocation's own, the usable tail included, and compared when it is freed,
 * moved or refused to grow: memory given twice, cleared, moved wrongly or written
 * by the heap shows there. A record of what is live is kept in the scratch, and
 * the heap's figures are compared with it after each step that is not random, and
 * at a pace in the random part.
 *
 * What a heap may refuse. Anything when the request, with what is held, comes to
 * half of what there is; an alignment above a frame; what the caller said that it
 * need not serve. Else NULL is an offence, but for heaps that reuse only some sizes.
 *
 * Exactness of bytes_asked is asked for in the first trials only, where every free
 * names what was asked, and only of a heap that was never used before.
 *
 * Rounds of exhaustion fill the heap by ever smaller allocations, linked through
 * their own memory, so that millions of bytes cost dozens of calls. What fits once
 * must fit again up to 1/32, which leaves a heap its choice of layout and yet
 * catches what loses one free in thirty over the rounds. */
#include "mm/heap_conformance.h"

#define SLOTS	    4096u
#define LEVELS	    32u /* of exhaustion: each a quarter of the one before */
#define ROUNDS	    4u	/* of exhaustion */
#define FAULTS	    8u
#define SIZE_MOST   (UINT64_C(8) << 20) /* of one allocation; filling more takes long in a guest */
#define RANDOM_BITS 18u			/* sizes of the random part are below 2^18 */
#define FRAME	    4096u

struct slot {		   /* one live allocation */
	unsigned char *at; /* NULL: none */
	size_t bytes, usable;
	uint64_t key;
};

struct trial {
	const struct heap *h;
	unsigned cpu;
	bool exact; /* bytes_asked is the sum of what was asked */
	uint64_t random;
	uint64_t a, b; /* what the refused sentence is about */

	/* What the heap should say. */
	uint64_t asked, given, live, asked_max;
	uint64_t total, size_most, random_most;
	enum heap_reuse reuse;
	size_t largest, align_largest;
	uint64_t fault_in; /* allocations until one is refused; 0: none is */

	struct slot slots[SLOTS];
};

static const char *offence(struct trial *t, const char *sentence, uint64_t a, uint64_t b)
{
	t->a = a;
	t->b = b;
	return sentence;
}

#define NEED(condition, sentence, a, b)                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			return offence(t, sentence, (uint64_t)(a), (uint64_t)(b));                                     \
	} while (0)

#define TRY(call)                                                                                                      \
	do {                                                                                                           \
		const char *offended = (call);                                                                         \
		if (offended)                                                                                          \
			return offended;                                                                               \
	} while (0)

/* splitmix64 */
static uint64_t below(struct trial *t, uint64_t n)
{
	uint64_t x = t->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31)) % n;
}

static size_t at_least_1(size_t bytes)
{
	return bytes + (bytes == 0);
}

static size_t lesser(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t round_up(size_t bytes, size_t align)
{
	return (bytes + align - 1) & ~(align - 1);
}

/* ---- patterns ---- */

static uint64_t pattern_word(uint64_t key, size_t offset)
{
	return (key + offset) * UINT64_C(0x9e3779b97f4a7c15);
}

static void pattern_write(unsigned char *at, size_t bytes, uint64_t key)
{
	size_t offset = 0;
	uint64_t word;

	for (; offset + 8 <= bytes; offset += 8) {
		word = pattern_word(key, offset);
		__builtin_memcpy(at + offset, &word, 8);
	}
	word = pattern_word(key, offset);
	__builtin_memcpy(at + offset, &word, bytes - offset);
}

/* The lowest offset of a word that differs; `bytes` iff none does. */
static size_t pattern_differs(const unsigned char *at, size_t bytes, uint64_t key)
{
	size_t offset = 0;
	uint64_t word, there;

	for (; offset + 8 <= bytes; offset += 8) {
		__builtin_memcpy(&there, at + offset, 8);
		if (there != pattern_word(key, offset))
			return offset;
	}
	word = pattern_word(key, offset);
	return __builtin_memcmp(at + offset, &word, bytes - offset) == 0 ? bytes : offset;
}

/* ---- figures ---- */

static bool stats_equal(const struct heap_stats *x, const struct heap_stats *y)
{
	return __builtin_memcmp(x, y, sizeof(*x)) == 0;
}

/* What is held may differ: whoever finds no room gives back what it need not hold. */
static bool live_equal(const struct heap_stats *x, const struct heap_stats *y)
{
	return x->allocations == y->allocations && x->bytes_asked == y->bytes_asked && x->bytes_given == y->bytes_given;
}

static const char *books(struct trial *t)
{
	struct heap_stats s = heap_stats_read(t->h);

	NEED(s.allocations == t->live, "allocations are those that are live", s.allocations, t->live);
	NEED(s.bytes_given == t->given, "bytes_given is what is usable of live allocations", s.bytes_given, t->given);
	NEED(!t->exact || s.bytes_asked == t->asked, "bytes_asked is what was asked, if frees name it", s.bytes_asked,
	     t->asked);
	NEED(s.bytes_asked >= t->live && s.bytes_asked <= s.bytes_given,
	     "bytes_asked is between 1 an allocation and bytes_given", s.bytes_asked, s.bytes_given);
	NEED(s.bytes_asked_max >= s.bytes_asked && s.bytes_asked_max >= t->asked_max,
	     "bytes_asked_max is no less than it and bytes_asked were", s.bytes_asked_max, t->asked_max);
	NEED(s.bytes_held >= s.bytes_given, "bytes_held includes bytes_given", s.bytes_held, s.bytes_given);
	NEED(s.bytes_asked_max <= s.bytes_total, "bytes_total includes bytes_asked_max", s.bytes_asked_max,
	     s.bytes_total);
	NEED(s.bytes_held <= s.bytes_total, "bytes_total includes bytes_held", s.bytes_held, s.bytes_total);
	NEED(s.bytes_total == t->total, "bytes_total stays", s.bytes_total, t->total);
	t->asked_max = s.bytes_asked_max;
	return NULL;
}

static const char *sound(struct trial *t)
{
	TRY(books(t));
	NEED(heap_check(t->h), "heap_check() holds", t->live, t->given);
	return NULL;
}

/* Whether there is so little left that a heap may say no. */
static bool may_refuse(struct trial *t, size_t bytes, size_t align)
{
	if (align > t->align_largest || round_up(at_least_1(bytes), align) > t->largest)
		return true;
	return t->reuse == HEAP_REUSES_SOME || heap_stats_read(t->h).bytes_held + bytes > t->total / 2;
}

/* ---- one allocation ---- */

/* Takes what the heap gave into the record, and fills it. */
static const char *slot_set(struct trial *t, struct slot *s, void *memory, size_t bytes, size_t align)
{
	size_t usable = heap_usable(t->h, memory);

	NEED((uintptr_t)memory % align == 0, "an address is a multiple of its alignment", memory, align);
	NEED(usable >= at_least_1(bytes), "at least what was asked is usable", usable, bytes);
	*s = (struct slot){.at = memory, .bytes = at_least_1(bytes), .usable = usable, .key = below(t, UINT64_MAX)};
	pattern_write(s->at, usable, s->key);
	t->asked += s->bytes;
	t->given += usable;
	t->live++;
	return NULL;
}

static const char *slot_holds(struct trial *t, const struct slot *s, size_t bytes)
{
	size_t offset = pattern_differs(s->at, bytes, s->key);

	NEED(offset == bytes, "nobody else writes to what is live", s->at, offset);
	return NULL;
}

static void slot_clear(struct trial *t, struct slot *s)
{
	t->asked -= s->bytes;
	t->given -= s->usable;
	t->live--;
	s->at = NULL;
}

static const char *slot_drop(struct trial *t, struct slot *s, size_t named)
{
	void *memory = s->at;

	TRY(slot_holds(t, s, s->usable));
	NEED(heap_usable(t->h, memory) == s->usable, "what is usable stays", memory, s->usable);
	slot_clear(t, s);
	heap_free(t->h, t->cpu, memory, named);
	return NULL;
}

static const char *slot_take(struct trial *t, struct slot *s, size_t bytes, size_t align)
{
	void *memory =
		align == HEAP_ALIGN ? heap_alloc(t->h, t->cpu, bytes) : heap_alloc_aligned(t->h, t->cpu, bytes, align);

	s->at = NULL;
	NEED(memory || may_refuse(t, bytes, align), "what there is room for is given", bytes, align);
	return memory ? slot_set(t, s, memory, bytes, align) : NULL;
}

/* `named` is what the caller says the old length is; 0: nothing. */
static const char *slot_resize(struct trial *t, struct slot *s, size_t named, size_t bytes)
{
	struct slot old = *s;
	size_t kept = lesser(named ? named : old.bytes, at_least_1(bytes)), offset;
	void *memory = heap_realloc(t->h, t->cpu, old.at, named, bytes);

	if (!memory) {
		NEED(bytes > old.usable, "a length that is usable is not refused", old.usable, bytes);
		NEED(may_refuse(t, bytes, HEAP_ALIGN), "what there is room for grows", old.bytes, bytes);
		return slot_holds(t, s, s->usable);
	}
	offset = pattern_differs(memory, kept, old.key);
	NEED(offset == kept, "realloc keeps what both lengths share", offset, kept);
	slot_clear(t, s);
	return slot_set(t, s, memory, bytes, HEAP_ALIGN);
}

/* ---- trials ---- */

static const char *try_empty(struct trial *t)
{
	struct heap_stats s = heap_stats_read(t->h);

	NEED(s.allocations == 0 && s.bytes_asked == 0, "the heap is empty at the start", s.allocations, s.bytes_asked);
	t->total = s.bytes_total;
	t->size_most = lesser(t->total / 8, SIZE_MOST);
	t->random_most = lesser(t->size_most / 16, t->largest);
	t->size_most = lesser(t->size_most, t->largest);
	t->exact = s.bytes_asked_max == 0;
	return sound(t);
}

static const char *try_size(struct trial *t, size_t bytes)
{
	struct slot *s = t->slots;

	TRY(slot_take(t, s, bytes, HEAP_ALIGN));
	TRY(books(t));
	if (s->at)
		TRY(slot_drop(t, s, s->bytes));
	return books(t);
}

static const char *try_sizes(struct trial *t)
{
	for (size_t bytes = 0; bytes < 320; bytes++)
		TRY(try_size(t, bytes));
	for (size_t bytes = 320; bytes <= t->size_most; bytes += bytes / 9)
		TRY(try_size(t, bytes));
	for (size_t bytes = 512; bytes <= t->size_most; bytes *= 2)
		for (size_t by = 0; by < 3; by++)
			TRY(try_size(t, bytes - 1 + by));
	return sound(t);
}

static const char *try_align(struct trial *t, size_t bytes, size_t align)
{
	struct slot *s = t->slots;

	TRY(slot_take(t, s, bytes, align));
	t->exact &= align <= FRAME;
	TRY(books(t));
	if (s->at)
		TRY(slot_drop(t, s, s->bytes));
	return books(t);
}

static const char *try_aligns(struct trial *t)
{
	for (size_t align = 1; align <= t->size_most; align *= 2) {
		TRY(try_align(t, 0, align));
		TRY(try_align(t, 1, align));
		TRY(try_align(t, align - 1, align));
		TRY(try_align(t, align, align));
		TRY(try_align(t, align + 1, align));
		TRY(try_align(t, lesser(3 * align, t->size_most), align));
		TRY(try_align(t, lesser(100 + align / 2, t->size_most), align));
		NEED(align < 2 || !heap_alloc_aligned(t->h, t->cpu, 1, align + 1),
		     "an alignment that is no power of two is refused", align, 1);
	}
	NEED(!heap_alloc_aligned(t->h, t->cpu, 1, 0), "an alignment of 0 is refused", 0, 1);
	return sound(t);
}

/* Sizes between, many live, freed in another order. */
static const char *try_many(struct trial *t)
{
	enum { MANY = 512 };

	for (unsigned i = 0; i < MANY; i++)
		TRY(slot_take(t, &t->slots[i], lesser(i * 7 % 1100, t->largest), HEAP_ALIGN));
	TRY(sound(t));
	for (unsigned i = 0; i < MANY; i++) {
		struct slot *s = &t->slots[i * 181 % MANY];

		if (s->at)
			TRY(slot_drop(t, s, s->bytes));
	}
	return sound(t);
}

/* NULL and 0, wherever they may be said. */
static const char *try_nothing(struct trial *t)
{
	struct slot *s = t->slots;
	void *memory;

	heap_free(t->h, t->cpu, NULL, 0);
	heap_free(t->h, t->cpu, NULL, 100);
	TRY(books(t));
	TRY(slot_take(t, &s[0], 0, HEAP_ALIGN));
	TRY(slot_take(t, &s[1], 0, HEAP_ALIGN));
	NEED(s[0].at && s[1].at && s[0].at != s[1].at, "0 bytes have an address of their own", s[0].at, s[1].at);
	memory = heap_realloc(t->h, t->cpu, NULL, 0, 50);
	NEED(memory, "realloc of NULL allocates", 0, 50);
	TRY(slot_set(t, &s[2], memory, 50, HEAP_ALIGN));
	TRY(slot_resize(t, &s[2], 50, 0));
	TRY(books(t));
	for (unsigned i = 0; i < 3; i++)
		TRY(slot_drop(t, &s[i], 1));
	return sound(t);
}

static const char *try_zeroed_one(struct trial *t, size_t n, size_t bytes)
{
	struct slot *s = t->slots;
	unsigned char *memory;

	TRY(slot_take(t, s, n * bytes, HEAP_ALIGN));
	if (s->at)
		TRY(slot_drop(t, s, s->bytes)); /* it left its pattern */
	memory = heap_alloc_zeroed(t->h, t->cpu, n, bytes);
	NEED(memory || may_refuse(t, n * bytes, HEAP_ALIGN), "what there is room for is given", n, bytes);
	if (!memory)
		return NULL;
	for (size_t i = 0; i < n * bytes; i++)
		NEED(memory[i] == 0, "alloc_zeroed clears", i, memory[i]);
	TRY(slot_set(t, s, memory, n * bytes, HEAP_ALIGN));
	TRY(books(t));
	return slot_drop(t, s, s->bytes);
}

static const char *try_zeroed(struct trial *t)
{
	TRY(try_zeroed_one(t, 0, 0));
	TRY(try_zeroed_one(t, 0, 8));
	TRY(try_zeroed_one(t, 8, 0));
	TRY(try_zeroed_one(t, 1, 1));
	TRY(try_zeroed_one(t, 100, 7));
	TRY(try_zeroed_one(t, 3, 4099));
	TRY(try_zeroed_one(t, 1, lesser(100000, t->size_most)));
	return sound(t);
}

/* What no heap can have; each refusal changes nothing. */
static const char *try_too_much(struct trial *t)
{
	struct slot *s = t->slots;
	struct heap_stats before, after;
	const size_t huge = (size_t)PTRDIFF_MAX + 1;

	TRY(slot_take(t, s, lesser(100, t->largest), HEAP_ALIGN));
	NEED(s->at, "what there is room for is given", 100, 0);
	before = heap_stats_read(t->h);
	for (size_t align = HEAP_ALIGN; align <= FRAME; align *= 16)
		for (size_t by = 0; by < 2 * FRAME; by += 61) {
			NEED(!heap_alloc_aligned(t->h, t->cpu, SIZE_MAX - by, align), "nothing is that large",
			     SIZE_MAX - by, align);
			NEED(!heap_alloc_aligned(t->h, t->cpu, huge + by, align), "nothing is that large", huge + by,
			     align);
		}
	NEED(!heap_alloc(t->h, t->cpu, t->total + 1), "no more is given than there is", t->total, 1);
	NEED(!heap_alloc_aligned(t->h, t->cpu, 1, huge), "nothing is that aligned", 1, huge);
	NEED(!heap_alloc_zeroed(t->h, t->cpu, SIZE_MAX / 16 + 2, 16), "a product that overflows is refused", 16, 0);
	NEED(!heap_alloc_zeroed(t->h, t->cpu, 16, SIZE_MAX / 16 + 2), "a product that overflows is refused", 0, 16);
	NEED(!heap_realloc(t->h, t->cpu, s->at, s->bytes, huge), "nothing grows that large", 100, huge);
	NEED(!heap_realloc(t->h, t->cpu, s->at, 0, SIZE_MAX), "nothing grows that large", 0, SIZE_MAX);
	NEED(!heap_realloc(t->h, t->cpu, s->at, s->bytes, t->total + 1), "nothing grows beyond what there is", 100,
	     t->total);
	after = heap_stats_read(t->h);
	NEED(live_equal(&before, &after), "a refusal changes nothing", before.bytes_given, after.bytes_given);
	TRY(slot_drop(t, s, s->bytes));
	return sound(t);
}

/* Up and down through lengths; mode: what realloc is told of the old one: 0 nothing, 1 the asked, 2 the usable. */
static const char *try_resize(struct trial *t, unsigned mode)
{
	struct slot *s = t->slots;
	size_t bytes = 1;

	TRY(slot_take(t, s, bytes, HEAP_ALIGN));
	NEED(s->at, "what there is room for is given", bytes, 0);
	t->exact &= mode == 1;
	for (unsigned step = 0; step < 200; step++) {
		size_t named = mode == 0 ? 0 : mode == 1 ? s->bytes : s->usable;

		bytes = step % 8 == 7 ? bytes / 5 : bytes + bytes / 2 + step % 3;
		if (bytes > t->size_most / 4)
			bytes = step % 50;
		TRY(slot_resize(t, s, named, bytes));
		TRY(books(t));
	}
	while (s->bytes > 1)
		TRY(slot_resize(t, s, mode == 0 ? 0 : s->bytes, s->bytes / 2));
	TRY(slot_drop(t, s, mode == 0 ? 0 : mode == 1 ? s->bytes : s->usable));
	return sound(t);
}

/* Each size by each way to free it. */
static const char *try_names(struct trial *t)
{
	struct slot *s = t->slots;

	t->exact = false;
	for (size_t bytes = 1; bytes <= t->size_most; bytes += 1 + bytes / 3)
		for (unsigned mode = 0; mode < 2; mode++) {
			TRY(slot_take(t, s, bytes, HEAP_ALIGN));
			if (s->at)
				TRY(slot_drop(t, s, mode == 0 ? 0 : s->usable));
			TRY(books(t));
		}
	return sound(t);
}

/* ---- exhaustion ---- */

struct link { /* what a filler holds */
	struct link *next;
	uintptr_t self; /* flipped */
};

struct filling {
	struct link *level[LEVELS];
	uint64_t bytes, count;
};

static size_t level_bytes(const struct trial *t, unsigned level)
{
	return lesser(t->total >> 2, t->largest) >> 2 * level;
}

static bool level_used(const struct trial *t, unsigned level)
{
	return level_bytes(t, level) >= sizeof(struct link); /* below LEVELS, whatever the total */
}

static const char *fill(struct trial *t, struct filling *f)
{
	*f = (struct filling){.bytes = 0};
	for (unsigned i = 0; level_used(t, i); i++) {
		struct link *link;

		while ((link = heap_alloc(t->h, t->cpu, level_bytes(t, i)))) {
			*link = (struct link){.next = f->level[i], .self = ~(uintptr_t)link};
			f->level[i] = link;
			f->bytes += level_bytes(t, i);
			f->count++;
			NEED(f->bytes <= t->total, "no more is given than there is", f->bytes, t->total);
		}
	}
	return NULL;
}

static const char *empty(struct trial *t, struct filling *f, bool named)
{
	for (unsigned i = 0; level_used(t, i); i++)
		while (f->level[i]) {
			struct link *link = f->level[i];

			NEED(link->self == ~(uintptr_t)link, "nobody else writes to what is live", link, i);
			f->level[i] = link->next;
			heap_free(t->h, t->cpu, link, named ? level_bytes(t, i) : 0);
		}
	return books(t);
}

/* In a full heap: refusals change nothing, and what is freed is there again. */
static const char *try_full(struct trial *t, struct filling *f)
{
	struct heap_stats before = heap_stats_read(t->h), after;
	unsigned i = 0;
	struct link *link;

	while (level_used(t, i) && !f->level[i])
		i++;
	NEED(level_used(t, i), "an empty heap has room", t->total, f->count);
	link = f->level[i];
	NEED(before.allocations == f->count, "allocations are those that are live", before.allocations, f->count);
	NEED(!heap_realloc(t->h, t->cpu, link, 0, t->total), "nothing grows beyond what there is", 0, t->total);
	NEED(!heap_alloc_zeroed(t->h, t->cpu, 1, level_bytes(t, 0)), "a full heap has no room", 0, level_bytes(t, 0));
	NEED(link->self == ~(uintptr_t)link, "what did not grow is as it was", link, i);
	after = heap_stats_read(t->h);
	NEED(live_equal(&before, &after), "a refusal changes nothing", before.bytes_given, after.bytes_given);
	f->level[i] = link->next;
	heap_free(t->h, t->cpu, link, level_bytes(t, i));
	link = heap_alloc(t->h, t->cpu, level_bytes(t, i));
	if (!link && t->reuse != HEAP_REUSES_AT_ONCE)
		return NULL;
	NEED(link, "what was freed is there again", level_bytes(t, i), i);
	*link = (struct link){.next = f->level[i], .self = ~(uintptr_t)link};
	f->level[i] = link;
	return NULL;
}

static const char *try_exhaustion(struct trial *t)
{
	struct filling f;
	uint64_t first = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		TRY(fill(t, &f));
		if (round == 0)
			first = f.bytes; /* and no figures are read */
		else
			TRY(try_full(t, &f));
		NEED(f.bytes >= first - first / 32 || t->reuse == HEAP_REUSES_SOME, "what was freed fits again", first,
		     f.bytes);
		NEED(heap_check(t->h), "heap_check() holds", f.count, f.bytes);
		TRY(empty(t, &f, round % 2));
		NEED(t->asked_max >= first / 2, "bytes_asked_max saw the heap full", t->asked_max, first);
	}
	return sound(t);
}

/* ---- fault injection ---- */

/* The i-th of the calls that a fault may hit. */
struct fault_call {
	enum { ALLOCATES, ALIGNS, CLEARS, GROWS } kind;
	size_t bytes, align;
};

static struct fault_call fault_call(const struct trial *t, unsigned i, const struct slot *grown)
{
	const size_t each[] = {24 + 700 * i, 3000 * i, 50 * i, grown->usable + 1 + 5000 * (i / 4)};
	struct fault_call call = {i % 4, lesser(each[i % 4], t->largest), HEAP_ALIGN};

	if (call.kind == GROWS && call.bytes <= grown->usable)
		call.kind = ALLOCATES; /* it is as long as it can be */
	if (call.kind == ALIGNS)
		for (call.align = 256; call.align > t->align_largest || call.align > t->largest; call.align /= 2)
			;
	if (round_up(call.bytes, call.align) > t->largest)
		call.bytes = t->largest & ~(call.align - 1);
	return call;
}

/* NULL iff it was refused. */
static void *fault_try(struct trial *t, const struct fault_call *call, const struct slot *grown)
{
	switch (call->kind) {
	case ALLOCATES:
		return heap_alloc(t->h, t->cpu, call->bytes);
	case ALIGNS:
		return heap_alloc_aligned(t->h, t->cpu, call->bytes, call->align);
	case CLEARS:
		return heap_alloc_zeroed(t->h, t->cpu, call->bytes, 1);
	default:
		return heap_realloc(t->h, t->cpu, grown->at, grown->bytes, call->bytes);
	}
}

/* Calls 0 to FAULTS - 1, of which number n (from 1) is refused; 0: none. */
static const char *try_fault(struct trial *t, unsigned n)
{
	struct slot *s = t->slots, *grown = &t->slots[FAULTS];

	for (unsigned i = 0; i < FAULTS; i++) {
		struct heap_stats before = heap_stats_read(t->h), after;
		struct fault_call call = fault_call(t, i, grown);
		void *memory = fault_try(t, &call, grown);

		NEED((i + 1 == n) == !memory || (i + 1 != n && t->reuse == HEAP_REUSES_SOME),
		     "the n-th allocation or growth is refused, and no other", n, i + 1);
		if (!memory) {
			after = heap_stats_read(t->h);
			NEED(i + 1 == n ? stats_equal(&before, &after) : live_equal(&before, &after),
			     "a refusal changes nothing", n, i);
			TRY(slot_holds(t, grown, grown->usable));
			continue;
		}
		if (call.kind == GROWS) {
			NEED(pattern_differs(memory, grown->bytes, grown->key) == grown->bytes,
			     "realloc keeps what both lengths share", grown->bytes, call.bytes);
			slot_clear(t, grown);
		}
		TRY(slot_set(t, call.kind == GROWS ? grown : &s[i], memory, call.bytes, call.align));
		TRY(books(t));
	}
	for (unsigned i = 0; i <= FAULTS; i++)
		if (s[i].at && i != FAULTS)
			TRY(slot_drop(t, &s[i], s[i].bytes));
	return sound(t);
}

static const char *try_faults(struct trial *t)
{
	struct slot *grown = &t->slots[FAULTS];
	void *memory;

	for (unsigned n = 0; n <= FAULTS; n++) {
		TRY(slot_take(t, grown, 40, HEAP_ALIGN));
		NEED(grown->at, "what there is room for is given", 40, n);
		heap_fail_after(t->h, n);
		TRY(try_fault(t, n));
		TRY(slot_drop(t, grown, grown->bytes));
	}
	heap_fail_after(t->h, 1);
	heap_fail_after(t->h, 0);
	memory = heap_alloc(t->h, t->cpu, 40);
	NEED(memory, "a fault that is switched off refuses nothing", 0, 0);
	TRY(slot_set(t, grown, memory, 40, HEAP_ALIGN));
	return slot_drop(t, grown, grown->bytes);
}

/* ---- the random part ---- */

static size_t random_bytes(struct trial *t)
{
	size_t bytes = below(t, UINT64_C(1) << below(t, 1 + below(t, RANDOM_BITS)));

	return lesser(bytes, t->random_most);
}

/* How the caller might name the length: not, as asked, or as usable. */
static size_t random_name(struct trial *t, const struct slot *s)
{
	switch (below(t, 4)) {
	case 0:
		return 0;
	case 1:
		return s->bytes + below(t, s->usable - s->bytes + 1);
	default:
		return s->bytes;
	}
}

/* Whether the next allocation is to be refused. */
static bool fault_now(struct trial *t)
{
	return t->fault_in > 0 && --t->fault_in == 0;
}

static const char *random_take(struct trial *t, struct slot *s)
{
	size_t bytes = random_bytes(t), align = below(t, 8) ? HEAP_ALIGN : (size_t)1 << below(t, 13);

	if (align > t->align_largest || round_up(bytes, align) > t->largest)
		align = HEAP_ALIGN;
	if (!fault_now(t))
		return slot_take(t, s, bytes, align);
	NEED(!heap_alloc_aligned(t->h, t->cpu, bytes, align), "the n-th allocation or growth is refused", bytes, align);
	return NULL;
}

static const char *random_resize(struct trial *t, struct slot *s)
{
	size_t bytes = random_bytes(t), named = random_name(t, s);

	if (bytes <= s->usable)
		return slot_resize(t, s, named, lesser(bytes, s->bytes)); /* neither an allocation nor a growth */
	if (!fault_now(t))
		return slot_resize(t, s, named, bytes);
	NEED(!heap_realloc(t->h, t->cpu, s->at, named, bytes), "the n-th allocation or growth is refused", named,
	     bytes);
	return slot_holds(t, s, s->usable);
}

static const char *random_step(struct trial *t)
{
	struct slot *s = &t->slots[below(t, SLOTS)];

	if (below(t, 128) == 0) {
		t->fault_in = below(t, 5);
		heap_fail_after(t->h, t->fault_in);
	}
	if (!s->at)
		return t->given < t->total / 4 ? random_take(t, s) : NULL;
	if (below(t, 3) == 0)
		return random_resize(t, s);
	return slot_drop(t, s, random_name(t, s));
}

static const char *try_random(struct trial *t, uint64_t operations)
{
	t->exact = false;
	for (uint64_t i = 1; i <= operations; i++) {
		TRY(random_step(t));
		if (i % 256 == 0)
			TRY(books(t));
		if (i % (1 + operations / 16) == 0)
			TRY(sound(t));
	}
	heap_fail_after(t->h, 0);
	for (struct slot *s = t->slots; s < t->slots + SLOTS; s++)
		if (s->at)
			TRY(slot_drop(t, s, random_name(t, s)));
	return sound(t);
}

/* ---- */

static const char *try_all(struct trial *t, uint64_t operations)
{
	TRY(try_empty(t));
	TRY(try_sizes(t));
	TRY(try_nothing(t));
	TRY(try_many(t));
	TRY(try_zeroed(t));
	TRY(try_too_much(t));
	TRY(try_faults(t));
	TRY(try_resize(t, 1));
	TRY(try_aligns(t));
	TRY(try_resize(t, 0));
	TRY(try_resize(t, 2));
	TRY(try_names(t));
	TRY(try_exhaustion(t));
	TRY(try_random(t, operations));
	TRY(try_exhaustion(t));
	return NULL;
}

size_t heap_conformance_scratch_bytes(void)
{
	return sizeof(struct trial);
}

const char *heap_conformance_run(const struct heap_conformance *c, uint64_t *a, uint64_t *b)
{
	struct trial *t = c->scratch;
	const char *offended = "the scratch is large enough";

	*a = c->scratch_bytes;
	*b = sizeof(*t);
	if (c->scratch_bytes < sizeof(*t))
		return offended;
	__builtin_memset(t, 0, sizeof(*t));
	t->h = c->heap;
	t->cpu = c->cpu;
	t->random = c->seed;
	t->reuse = c->reuse;
	t->largest = c->largest ? c->largest & ~(size_t)(HEAP_ALIGN - 1) : PTRDIFF_MAX;
	t->align_largest = c->align_largest ? c->align_largest : FRAME;
	offended = try_all(t, c->operations);
	if (offended) {
		*a = t->a;
		*b = t->b;
	}
	return offended;
}
