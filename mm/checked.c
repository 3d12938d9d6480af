/* mm/checked.c: a heap over any heap that finds what its callers do wrong.
 *
 * What it is. A wrapper. Each block of the heap below becomes
 *     (room for alignment) header | redzone | what was asked | redzone, to a multiple of 16
 * and has a record elsewhere, which is what counts: the header only leads to it. It is
 * no proof of absence: see checked.h for what it cannot see.
 *
 * Words. Block: what the caller has. Record: what is known of one, found by its index.
 * Beside: all bytes of a block that were not asked for. Live, leaving (a free is under
 * way), freed (quarantined), gone (given back; the record remembers it until another
 * block needs it). Watched: the bytes of a quarantined block that are poisoned.
 *
 * From address to record. The header says the index, the record says the address: if
 * they agree, and it is live, the call is right. Only addresses whose header can be
 * read are looked at. All else is the slow way: every record is looked through, for the
 * block that it lies in: at its start, then the header was overwritten or it is freed, or
 * inside. So a call is judged by records alone, whatever was written over the
 * heap; and another heap's block is known by its header, whose seal binds owner, index,
 * site and address.
 *
 * Order of a free. Claimed under the lock, so that of two frees of one block one is
 * told; looked at and poisoned with no lock; quarantined under the lock. What leaves
 * the quarantine is taken out under the lock and looked at outside.
 *
 * Invariants, verified by checked_check():
 *   I1  each record up to `made` is live, or in the quarantine and freed, or in the
 *       list of those that are gone; the lists reach each once;
 *   I2  the sums (live, asked, beside; kept, their bytes, the watched) are those of the
 *       records; the quarantine is within its bound;
 *   I3  header and redzones of each live block are as they were written, the watched
 *       bytes of each freed one are poison: what breaks this is the caller's bug, and
 *       reported;
 *   I4  the cursor is 0 or a block of the quarantine;
 *   I5  the heap below holds its own.
 *
 * Threads. Records, lists and sums are under one lock, held for some dozen instructions
 * and scan_bytes of reading; the slow way holds it for all records, but only a bug gets
 * there. The bytes of a block belong to who allocates or frees it.
 *
 * Cost. As in checked.h. Worst of a free: as many blocks leave the quarantine as one of
 * its length pushes out. Memory: records come in chunks of 512 from the heap below and
 * stay; one pointer for each 512 in the metadata.
 *
 * Failure. Whatever finds no room below empties the quarantine and asks again.
 *
 * Rejected. Records in the headers alone: the first underrun would take what is needed
 * to name it. Headers as redzones: many of their bytes are 0, which is what underruns
 * write most, and each that breaks one would look through all records. A hash of all
 * addresses: no header would need to be read, but each free would find a cold line more.
 * Pages without access instead of poison: a system call an operation, and no guest has
 * one. One quarantine a CPU: a thread that only frees would keep what others lack. Growth
 * in place of what is small: it moves, since who kept the old address is wrong only then. */
#include "mm/checked_impl.h"
#include "mm/fail_nth.h"
#include "mm/port.h"

#define REDZONE	     0xe7u /* odd, and as an address not canonical, both */
#define POISON	     0xdbu

#define SCAN_DEFAULT 32u
#define SCAN_BLOCK   64u /* what coming to a block counts as, in bytes */
#define MOVES_BELOW  16384u
#define RECORD_TRIES 3u
#define EXPECT_BYTES 256u
#define ALIGN_MAX    (UINT64_C(1) << 40)
#define CHUNK_BYTES  ((size_t)CHECKED_CHUNK * sizeof(struct checked_record))

/* What does nothing but ask memory has no effect for gcc, which drops a call of it. */
#define EXPECT static inline __attribute__((always_inline))

/* ---- shapes ---- */

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

/* From the start of what the heap below gave to the block. */
static size_t front_bytes(const struct checked *c, unsigned align_shift)
{
	return round_up(c->front, (size_t)1 << align_shift);
}

/* From the end of the block on. */
static size_t rear_bytes(const struct checked *c, size_t bytes)
{
	return c->config.redzone_bytes + (-bytes & (HEAP_ALIGN - 1));
}

static size_t total_bytes(const struct checked *c, const struct checked_record *r)
{
	return front_bytes(c, r->align_shift) + r->bytes + rear_bytes(c, r->bytes);
}

static size_t watched_bytes(const struct checked_record *r)
{
	return lesser(r->bytes, CHECKED_POISON_MAX);
}

static unsigned char *block_of(const struct checked_record *r)
{
	return (unsigned char *)r->address;
}

/* What the heap below gave. */
static void *below_of(const struct checked *c, const struct checked_record *r)
{
	return block_of(r) - front_bytes(c, r->align_shift);
}

/* ---- bytes ---- */

static bool word_is(const unsigned char *at, uint64_t want)
{
	uint64_t there;

	__builtin_memcpy(&there, at, sizeof(there));
	return there == want;
}

/* The first that is not `value`; `bytes` iff all are. */
static size_t first_other(const unsigned char *at, size_t bytes, unsigned char value)
{
	uint64_t want = value * UINT64_C(0x0101010101010101), there[4];
	size_t i = 0;

	for (; i + sizeof(there) <= bytes; i += sizeof(there)) {
		__builtin_memcpy(there, at + i, sizeof(there));
		if (((there[0] ^ want) | (there[1] ^ want) | (there[2] ^ want) | (there[3] ^ want)) != 0)
			break;
	}
	while (i + 8 <= bytes && word_is(at + i, want))
		i += 8;
	if (bytes >= 8 && i + 8 > bytes && word_is(at + bytes - 8, want)) /* its end overlaps what was seen */
		return bytes;
	while (i < bytes && at[i] == value)
		i++;
	return i;
}

/* From the first to the last that is not `value`. */
struct span {
	size_t first, length; /* length 0: none */
};

static struct span others(const unsigned char *at, size_t bytes, unsigned char value)
{
	size_t first = first_other(at, bytes, value), end = bytes;

	while (end > first && at[end - 1] == value)
		end--;
	return (struct span){first, end - first};
}

/* ---- records ---- */

static struct checked_record *record_at(const struct checked *c, uint32_t index)
{
	return &c->chunk[index >> CHECKED_CHUNK_SHIFT][index & (CHECKED_CHUNK - 1)];
}

static uint32_t seal_of(uintptr_t address, const struct checked_header *h)
{
	uint64_t x = address ^ ((uint64_t)h->owner << 32 | h->record);

	x = (x ^ (x >> 31)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ h->allocated ^ (x >> 29)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(x >> 32);
}

static struct checked_header header_for(const struct checked *c, uint32_t index, const struct checked_record *r)
{
	struct checked_header h = {.owner = c->owner, .record = index, .allocated = r->allocated};

	h.seal = seal_of(r->address, &h);
	return h;
}

static unsigned char *header_place(const struct checked *c, const struct checked_record *r)
{
	return block_of(r) - c->front;
}

static bool may_read(const struct checked *c, uintptr_t at, uintptr_t end)
{
	if (at >= c->config.low && end <= c->config.high)
		return true;
	if (c->config.readable)
		return c->config.readable(c->config.readable_self, at, end);
	return c->config.high == 0;
}

static bool header_lies_at(const struct checked *c, const void *memory)
{
	return (uintptr_t)memory % HEAP_ALIGN == 0 && (uintptr_t)memory >= c->front;
}

/* False: what lies there is none. */
static bool header_copy(const struct checked *c, const void *memory, struct checked_header *out)
{
	__builtin_memcpy(out, (const unsigned char *)memory - c->front, sizeof(*out));
	return seal_of((uintptr_t)memory, out) == out->seal;
}

/* False: no block lies there, or what would be its header may not be read. */
static bool header_read(const struct checked *c, const void *memory, struct checked_header *out)
{
	return header_lies_at(c, memory) && may_read(c, (uintptr_t)memory - c->front, (uintptr_t)memory) &&
	       header_copy(c, memory, out);
}

/* The index of what lives there, if its header says so; 0: it does not. */
static uint32_t record_named(const struct checked *c, const void *memory, const struct checked_header *h)
{
	const struct checked_record *r;

	if (h->owner != c->owner || h->record - 1 >= __atomic_load_n(&c->made, __ATOMIC_ACQUIRE))
		return 0;
	r = record_at(c, h->record);
	return r->address == (uintptr_t)memory && r->state == CHECKED_LIVE ? h->record : 0;
}

static bool lies_in(const struct checked *c, const struct checked_record *r, uintptr_t at)
{
	return at - (uintptr_t)below_of(c, r) < total_bytes(c, r);
}

/* The slow way: the record of the block that an address lies in, at its start or inside;
 * else of one that began there and is gone. 0: none. */
static uint32_t record_search(const struct checked *c, uintptr_t at)
{
	uint32_t gone = 0;

	for (uint32_t i = 1; i <= c->made; i++) {
		const struct checked_record *r = record_at(c, i);

		if (r->state != CHECKED_GONE && lies_in(c, r, at))
			return i;
		if (r->state == CHECKED_GONE && r->address == at)
			gone = i;
	}
	return gone;
}

/* With the lock held. 0: there is none. */
static uint32_t record_take(struct checked *c)
{
	uint32_t index = c->gone;

	if (index) {
		c->gone = record_at(c, index)->next;
		return index;
	}
	if (c->made == c->config.blocks_max || (c->made + 1) >> CHECKED_CHUNK_SHIFT >= c->chunks)
		return 0;
	__atomic_store_n(&c->made, c->made + 1, __ATOMIC_RELEASE); /* record_named() reads it without the lock, too */
	return c->made;
}

static void record_drop(struct checked *c, uint32_t index)
{
	struct checked_record *r = record_at(c, index);

	r->state = CHECKED_GONE;
	r->next = c->gone;
	c->gone = index;
}

/* ---- reports ---- */

const char *checked_kind_name(enum checked_kind kind)
{
	/* Letters, not pointers to them, which would need relocations. */
	static const char name[CHECKED_KINDS][24] = {
		"overrun",
		"underrun",
		"use after free",
		"double free",
		"free of a middle",
		"free of foreign memory",
		"free on the wrong heap",
		"free of a wrong size",
	};

	return name[kind];
}

static void tell(struct checked *c, struct checked_report *report)
{
	const struct call_stack_source *source = &c->config.source;
	const char *name = checked_kind_name(report->kind);

	__atomic_add_fetch(&c->reports[report->kind], 1, __ATOMIC_RELAXED);
	c->config.report ? (void)0 : mm_panic(__FILE__, __LINE__, name, (uintptr_t)report->at, report->bytes);
	if (source->take)
		report->now.count = source->take(source->self, report->now.pc, CALL_STACK_MAX);
	c->config.report(c->config.report_self, report);
}

static void tell_of(struct checked *c, enum checked_kind kind, const struct checked_record *r, const void *at,
		    size_t length)
{
	struct checked_report report = {.kind = kind,
					.at = at,
					.block = block_of(r),
					.bytes = r->bytes,
					.offset = (int64_t)((uintptr_t)at - r->address),
					.length = length,
					.allocated = call_stacks_read(c->config.stacks, r->allocated)};

	if (r->state != CHECKED_LIVE)
		report.freed = call_stacks_read(c->config.stacks, r->freed);
	tell(c, &report);
}

/* Of an address that no record is of. */
static void tell_stranger(struct checked *c, const void *memory, bool sealed, const struct checked_header *h)
{
	struct checked_report report = {.kind = CHECKED_FOREIGN, .at = memory, .length = 1};

	if (sealed && h->owner != c->owner) {
		report.kind = CHECKED_WRONG_HEAP;
		report.block = memory;
		report.allocated = call_stacks_read(c->config.stacks, h->allocated);
	}
	tell(c, &report);
}

/* ---- is the call right ---- */

/* A record, and what was known of it when it was looked at. */
struct found {
	uint32_t index;
	uint32_t freed; /* the site that claims it */
	struct checked_record was;
};

/* ---- what lies beside a block ---- */

static void beside_write(const struct checked *c, uint32_t index, const struct checked_record *r)
{
	struct checked_header h = header_for(c, index, r);
	unsigned char *place = header_place(c, r);

	__builtin_memcpy(place, &h, sizeof(h));
	__builtin_memset(place + sizeof(h), REDZONE, c->config.redzone_bytes);
	__builtin_memset(block_of(r) + r->bytes, REDZONE, rear_bytes(c, r->bytes));
}

static bool header_holds(const struct checked *c, const struct found *f)
{
	struct checked_header h = header_for(c, f->index, &f->was);

	return __builtin_memcmp(header_place(c, &f->was), &h, sizeof(h)) == 0;
}

/* Reports what was written beside it. False iff anything was. */
static bool beside_holds(struct checked *c, const struct found *f)
{
	const struct checked_record *r = &f->was;
	unsigned char *zone = block_of(r) - c->config.redzone_bytes, *end = block_of(r) + r->bytes;
	struct span before = others(zone, c->config.redzone_bytes, REDZONE);
	struct span behind = others(end, rear_bytes(c, r->bytes), REDZONE);
	bool header = header_holds(c, f);

	if (!header) { /* and all up to the block is taken as written */
		zone = header_place(c, r);
		before = (struct span){0, c->front};
	}
	if (before.length)
		tell_of(c, CHECKED_UNDERRUN, r, zone + before.first, before.length);
	if (behind.length)
		tell_of(c, CHECKED_OVERRUN, r, end + behind.first, behind.length);
	return before.length == 0 && behind.length == 0;
}

/* ---- the quarantine ---- */

struct wrong { /* what a look at the quarantine found */
	struct checked_record record;
	struct span span;
};

/* Finds what was written into a part of a quarantined block, and mends it. */
static bool poison_holds(const struct checked_record *r, size_t offset, size_t bytes, struct wrong *w)
{
	unsigned char *at = block_of(r) + offset;

	if (__builtin_expect(first_other(at, bytes, POISON) == bytes, 1))
		return true;
	w->record = *r;
	w->span = others(block_of(r), watched_bytes(r), POISON);
	__builtin_memset(block_of(r) + w->span.first, POISON, w->span.length);
	return false;
}

static void tell_wrong(struct checked *c, const struct wrong *w)
{
	tell_of(c, CHECKED_USE_AFTER_FREE, &w->record, block_of(&w->record) + w->span.first, w->span.length);
}

/* The first of these; a longer row the processor sees coming. */
EXPECT void expect_bytes(const unsigned char *at, size_t bytes)
{
	for (size_t i = 0; i < EXPECT_BYTES && i < bytes; i += 64)
		__builtin_prefetch(at + i);
}

/* What one of the next operations will look at is asked for now; its record was asked for before. */
EXPECT void expect(const struct checked *c, uint32_t index, size_t offset)
{
	const struct checked_record *r;

	if (!index)
		return;
	r = record_at(c, index);
	__builtin_prefetch(header_place(c, r));
	expect_bytes(block_of(r) + offset, watched_bytes(r) - offset);
	if (r->next)
		__builtin_prefetch(record_at(c, r->next));
}

/* With the lock held: the next portion, once as much as a block counts for is saved up. What left the quarantine was
 * read, too, and counts: where each free lets one out, the cursor would only read twice what leaves next. True iff
 * something was wrong there. */
static bool scan(struct checked *c, struct wrong *w)
{
	size_t most = c->kept_watched + c->kept * SCAN_BLOCK;
	size_t ahead = lesser(c->scan_ahead, c->config.scan_bytes), due = c->config.scan_bytes - ahead;
	size_t budget = lesser(most, due + lesser(c->scan_saved, SIZE_MAX - due));
	bool holds = true;

	c->scan_ahead -= (uint32_t)ahead;
	while (holds && budget >= SCAN_BLOCK) {
		const struct checked_record *r = record_at(c, c->cursor ? c->cursor : (c->cursor = c->oldest));
		size_t offset = c->cursor_offset, part = lesser(budget, watched_bytes(r) - offset);
		bool whole = offset + part == watched_bytes(r);

		holds = poison_holds(r, offset, part, w);
		c->cursor_offset = whole ? 0 : offset + part;
		c->cursor = whole ? r->next : c->cursor;
		expect(c, c->cursor, c->cursor_offset);
		budget -= lesser(budget, part + SCAN_BLOCK);
	}
	c->scan_saved = (uint32_t)lesser(budget, SCAN_BLOCK - 1);
	return !holds;
}

/* With the lock held. */
static void quarantine_put(struct checked *c, uint32_t index)
{
	struct checked_record *r = record_at(c, index);

	r->state = CHECKED_FREED;
	r->next = 0;
	if (c->newest)
		record_at(c, c->newest)->next = index;
	else
		c->oldest = index;
	c->newest = index;
	c->kept++;
	c->kept_bytes += total_bytes(c, r);
	c->kept_watched += watched_bytes(r);
}

/* With the lock held, and one kept: the oldest is gone; what it was is the caller's to look at. */
static struct checked_record quarantine_take(struct checked *c)
{
	uint32_t index = c->oldest;
	struct checked_record was = *record_at(c, index);

	if (c->cursor == index) {
		c->cursor = was.next;
		c->cursor_offset = 0;
	}
	c->oldest = was.next;
	if (c->oldest)
		expect(c, record_at(c, c->oldest)->next, 0);
	else
		c->newest = 0;
	c->scan_ahead = (uint32_t)lesser(c->scan_ahead + SCAN_BLOCK + watched_bytes(&was), CHECKED_AHEAD_MAX);
	c->kept--;
	c->kept_bytes -= total_bytes(c, &was);
	c->kept_watched -= watched_bytes(&was);
	record_drop(c, index);
	return was;
}

/* To the heap below. No header stays there to be believed. */
static void give_back(struct checked *c, unsigned cpu, const struct checked_record *r)
{
	__builtin_memset(header_place(c, r), 0, sizeof(struct checked_header));
	heap_free(&c->config.below, cpu, below_of(c, r), total_bytes(c, r));
}

/* Lets `entering` in, unless it is 0; gives back the oldest while more than `most` bytes are kept. */
static void quarantine_cut(struct checked *c, unsigned cpu, uint64_t most, uint32_t entering)
{
	struct checked_record r;
	struct wrong w;
	bool took, more;

	do {
		lock_take(&c->lock);
		if (entering)
			quarantine_put(c, entering);
		entering = 0;
		took = c->kept_bytes > most;
		if (took)
			r = quarantine_take(c);
		more = c->kept_bytes > most;
		lock_drop(&c->lock);
		if (took && !poison_holds(&r, 0, watched_bytes(&r), &w))
			tell_wrong(c, &w);
		if (took)
			give_back(c, cpu, &r);
	} while (more);
}

void checked_drain(const struct heap *h, unsigned cpu)
{
	quarantine_cut(h->self, cpu, 0, 0);
}

/* ---- alloc ---- */

static void *below_alloc(struct checked *c, unsigned cpu, size_t bytes, size_t align)
{
	void *memory = heap_alloc_aligned(&c->config.below, cpu, bytes, align);

	if (__builtin_expect(!memory, 0)) {
		quarantine_cut(c, cpu, 0, 0);
		memory = heap_alloc_aligned(&c->config.below, cpu, bytes, align);
	}
	return memory;
}

/* Makes records where there were none. False: there is no room for them. */
static bool records_add(struct checked *c, unsigned cpu)
{
	void *chunk;
	bool more;

	lock_take(&c->lock);
	more = c->chunks < c->chunks_max;
	lock_drop(&c->lock);
	if (!more) {
		quarantine_cut(c, cpu, 0, 0);
		return true;
	}
	chunk = below_alloc(c, cpu, CHUNK_BYTES, HEAP_ALIGN);
	if (!chunk)
		return false;
	lock_take(&c->lock);
	if (c->chunks < c->chunks_max) {
		c->chunk[c->chunks++] = chunk;
		chunk = NULL;
	}
	lock_drop(&c->lock);
	heap_free(&c->config.below, cpu, chunk, CHUNK_BYTES);
	return true;
}

static void sums_add(struct checked *c, const struct checked_record *r)
{
	c->live++;
	c->asked += r->bytes;
	c->beside += total_bytes(c, r) - r->bytes;
	if (c->asked > c->asked_max)
		c->asked_max = c->asked;
}

static void sums_sub(struct checked *c, const struct checked_record *r)
{
	c->live--;
	c->asked -= r->bytes;
	c->beside -= total_bytes(c, r) - r->bytes;
}

/* Gives it a record; 0: there is no room for one. */
static uint32_t record_enter(struct checked *c, unsigned cpu, const struct checked_record *r)
{
	struct wrong w;
	uint32_t index;
	bool wrong = false;

	for (unsigned tries = 0; tries < RECORD_TRIES; tries++) {
		lock_take(&c->lock);
		index = record_take(c);
		if (index) {
			*record_at(c, index) = *r;
			sums_add(c, r);
			wrong = scan(c, &w);
		}
		lock_drop(&c->lock);
		if (wrong)
			tell_wrong(c, &w);
		if (index)
			return index;
		if (!records_add(c, cpu))
			return 0;
	}
	return 0;
}

/* Where no fault is due. */
static void *place(struct checked *c, unsigned cpu, size_t bytes, size_t align)
{
	struct checked_record r = {.bytes = bytes,
				   .state = CHECKED_LIVE,
				   .allocated = call_stacks_take(c->config.stacks, &c->config.source),
				   .align_shift = (uint8_t)__builtin_ctzll(align)};
	size_t total = total_bytes(c, &r);
	unsigned char *below = below_alloc(c, cpu, total, align);
	uint32_t index;

	if (!below)
		return NULL;
	r.address = (uintptr_t)below + front_bytes(c, r.align_shift);
	index = record_enter(c, cpu, &r);
	if (!index) {
		heap_free(&c->config.below, cpu, below, total);
		return NULL;
	}
	beside_write(c, index, &r);
	return block_of(&r);
}

static void *checked_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct checked *c = self;

	if (align == 0 || (align & (align - 1)) || align > ALIGN_MAX || bytes > PTRDIFF_MAX - 4 * (size_t)ALIGN_MAX)
		return NULL;
	if (fail_nth_now(&c->fail_after))
		return NULL;
	return place(c, cpu, at_least_1(bytes), align < HEAP_ALIGN ? HEAP_ALIGN : align);
}

/* ---- free and realloc ---- */

/* While the site that frees is looked up. What the header says need not be true. */
EXPECT void expect_record(const struct checked *c, const struct checked_header *h)
{
	if (h->owner == c->owner && h->record >> CHECKED_CHUNK_SHIFT < c->chunks_max)
		__builtin_prefetch(record_at(c, h->record));
}

/* With the lock held. */
static bool look_up(struct checked *c, const void *memory, bool sealed, const struct checked_header *h,
		    struct found *out)
{
	out->index = sealed ? record_named(c, memory, h) : 0;
	if (__builtin_expect(!out->index, 0))
		out->index = record_search(c, (uintptr_t)memory);
	if (!out->index)
		return false;
	out->was = *record_at(c, out->index);
	return out->was.address == (uintptr_t)memory && out->was.state == CHECKED_LIVE;
}

/* Why look_up() said no. */
static void tell_why(struct checked *c, const void *memory, bool sealed, const struct checked_header *h,
		     const struct found *f)
{
	bool exact = f->index && f->was.address == (uintptr_t)memory;
	bool known = f->index && (!exact || f->was.state != CHECKED_GONE);

	if (!f->index || (sealed && h->owner != c->owner && !(exact && known)))
		tell_stranger(c, memory, sealed, h);
	else
		tell_of(c, exact ? CHECKED_DOUBLE_FREE : CHECKED_MIDDLE, &f->was, memory, 1);
}

/* Whether `memory` is a live block; if `claim`, it is leaving from now on. */
static bool find_live(struct checked *c, const void *memory, bool claim, struct found *out)
{
	struct checked_header h;
	struct wrong w;
	bool sealed = header_read(c, memory, &h), right, wrong = false;

	if (sealed)
		expect_record(c, &h);
	if (claim)
		out->freed = call_stacks_take(c->config.stacks, &c->config.source);
	lock_take(&c->lock);
	right = look_up(c, memory, sealed, &h, out);
	if (right && claim) {
		record_at(c, out->index)->state = CHECKED_LEAVING;
		record_at(c, out->index)->freed = out->freed;
		sums_sub(c, &out->was);
		expect_bytes(memory, watched_bytes(&out->was));
		__builtin_prefetch(block_of(&out->was) + out->was.bytes);
		wrong = scan(c, &w);
	}
	lock_drop(&c->lock);
	if (wrong)
		tell_wrong(c, &w);
	if (!right)
		tell_why(c, memory, sealed, &h, out);
	return right;
}

/* What a caller says of a live block's length, and what was written beside it. */
static void judge(struct checked *c, const struct found *f, size_t named)
{
	if (named > f->was.bytes)
		tell_of(c, CHECKED_WRONG_SIZE, &f->was, block_of(&f->was), named);
	beside_holds(c, f);
}

static void release(struct checked *c, unsigned cpu, const struct found *f)
{
	if (total_bytes(c, &f->was) <= c->config.quarantine_bytes) {
		quarantine_cut(c, cpu, c->config.quarantine_bytes, f->index);
		return;
	}
	lock_take(&c->lock);
	record_drop(c, f->index);
	lock_drop(&c->lock);
	give_back(c, cpu, &f->was);
}

static void checked_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct checked *c = self;
	struct found f;

	if (!memory || !find_live(c, memory, true, &f))
		return;
	judge(c, &f, bytes);
	__builtin_memset(memory, POISON, watched_bytes(&f.was));
	release(c, cpu, &f);
}

/* Whether it may become `bytes` long where it is, and should. */
static bool stays(const struct checked *c, const struct checked_record *r, size_t bytes)
{
	size_t beside = total_bytes(c, r) - r->bytes - rear_bytes(c, r->bytes) + rear_bytes(c, bytes);
	size_t usable = heap_usable(&c->config.below, below_of(c, r));

	if (bytes > r->bytes)
		return bytes >= MOVES_BELOW && bytes + beside <= usable;
	return bytes == r->bytes || bytes + beside > usable / 2;
}

static void *resize_here(struct checked *c, const struct found *f, size_t named, size_t bytes)
{
	struct checked_record now = f->was;

	judge(c, f, named);
	now.bytes = bytes;
	now.allocated = call_stacks_take(c->config.stacks, &c->config.source);
	lock_take(&c->lock);
	sums_sub(c, &f->was);
	*record_at(c, f->index) = now;
	sums_add(c, &now);
	lock_drop(&c->lock);
	beside_write(c, f->index, &now);
	return block_of(&now);
}

static void *checked_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct checked *c = self;
	struct found f;
	void *moved;

	if (!memory)
		return checked_alloc(self, cpu, bytes, HEAP_ALIGN);
	if (!find_live(c, memory, false, &f) || bytes > PTRDIFF_MAX - 4 * (size_t)ALIGN_MAX)
		return NULL;
	bytes = at_least_1(bytes);
	if (bytes > f.was.bytes && fail_nth_now(&c->fail_after))
		return NULL;
	if (stays(c, &f.was, bytes))
		return resize_here(c, &f, old_bytes, bytes);
	moved = place(c, cpu, bytes, HEAP_ALIGN);
	if (!moved)
		return bytes > f.was.bytes ? NULL : resize_here(c, &f, old_bytes, bytes);
	__builtin_memcpy(moved, memory, lesser(f.was.bytes, bytes));
	checked_free(self, cpu, memory, old_bytes);
	return moved;
}

size_t checked_known(const struct heap *h, const void *memory)
{
	const struct checked *c = h->self;
	struct checked_header header;
	uint32_t index;

	if (!header_lies_at(c, memory) || !header_copy(c, memory, &header))
		return 0;
	index = record_named(c, memory, &header);
	return index ? record_at(c, index)->bytes : 0;
}

static size_t checked_usable(void *self, const void *memory)
{
	struct found f;

	return find_live(self, memory, false, &f) ? f.was.bytes : 0;
}

/* ---- figures ---- */

static struct heap_stats checked_heap_stats(void *self)
{
	struct checked *c = self;
	struct heap_stats s = heap_stats_read(&c->config.below);

	lock_take(&c->lock);
	s.allocations = c->live;
	s.bytes_asked = s.bytes_given = c->asked;
	s.bytes_asked_max = c->asked_max;
	lock_drop(&c->lock);
	return s;
}

struct checked_stats checked_stats_read(const struct heap *h)
{
	struct checked *c = h->self;
	struct checked_stats s;

	for (unsigned kind = 0; kind < CHECKED_KINDS; kind++)
		s.reports[kind] = __atomic_load_n(&c->reports[kind], __ATOMIC_RELAXED);
	lock_take(&c->lock);
	s.blocks = c->live;
	s.quarantine_blocks = c->kept;
	s.quarantine_bytes = c->kept_bytes;
	s.bytes_beside = c->beside;
	s.bytes_records = c->chunks * CHUNK_BYTES;
	lock_drop(&c->lock);
	return s;
}

static void checked_fail_after(void *self, uint64_t n)
{
	struct checked *c = self;

	__atomic_store_n(&c->fail_after, n, __ATOMIC_RELAXED);
}

/* ---- what must hold ---- */

struct count { /* of records in a state, and what sums say of them */
	uint64_t live, asked, beside, freed, kept_bytes, kept_watched, gone;
};

static bool count_add(const struct checked *c, const struct checked_record *r, struct count *n)
{
	switch (r->state) {
	case CHECKED_LIVE:
		n->live++;
		n->asked += r->bytes;
		n->beside += total_bytes(c, r) - r->bytes;
		return true;
	case CHECKED_FREED:
		n->freed++;
		n->kept_bytes += total_bytes(c, r);
		n->kept_watched += watched_bytes(r);
		return true;
	case CHECKED_GONE:
		n->gone++;
		return true;
	default:
		return false;
	}
}

/* Whether the list from `first` on has `length` records, all in that state, `last` at its end. `cursor`: or 0. */
static bool list_holds(const struct checked *c, uint32_t first, uint64_t length, unsigned state, uint32_t *last,
		       bool *cursor)
{
	*last = 0;
	for (uint32_t i = first; i; i = record_at(c, i)->next, length--) {
		if (length == 0 || i > c->made || record_at(c, i)->state != state)
			return false;
		*cursor |= i == c->cursor;
		*last = i;
	}
	return length == 0;
}

static bool records_hold(const struct checked *c)
{
	struct count n = {0};
	uint32_t last;
	bool cursor = false, ignored = false;

	for (uint32_t i = 1; i <= c->made; i++)
		if (!count_add(c, record_at(c, i), &n))
			return false;
	if (n.live != c->live || n.asked != c->asked || n.beside != c->beside || c->asked_max < c->asked)
		return false;
	if (n.freed != c->kept || n.kept_bytes != c->kept_bytes || n.kept_watched != c->kept_watched)
		return false;
	if (c->kept_bytes > c->config.quarantine_bytes)
		return false;
	if (!list_holds(c, c->gone, n.gone, CHECKED_GONE, &last, &ignored))
		return false;
	if (!list_holds(c, c->oldest, n.freed, CHECKED_FREED, &last, &cursor) || last != c->newest)
		return false;
	return c->cursor ? cursor : c->cursor_offset == 0;
}

/* Of what callers wrote. Reports it, and mends it. */
static bool bytes_hold(struct checked *c)
{
	bool all = true;

	for (uint32_t i = 1; i <= c->made; i++) {
		struct found f = {.index = i, .was = *record_at(c, i)};
		struct wrong w;

		if (f.was.state == CHECKED_LIVE && !beside_holds(c, &f)) {
			beside_write(c, i, &f.was);
			all = false;
		}
		if (f.was.state == CHECKED_FREED && !poison_holds(&f.was, 0, watched_bytes(&f.was), &w)) {
			tell_wrong(c, &w);
			all = false;
		}
	}
	return all;
}

bool checked_look(const struct heap *h)
{
	return bytes_hold(h->self);
}

static bool checked_check(void *self)
{
	struct checked *c = self;

	return records_hold(c) && bytes_hold(c) && heap_check(&c->config.below);
}

/* ---- set up ---- */

static uint32_t chunks_of(uint32_t blocks_max)
{
	return (blocks_max >> CHECKED_CHUNK_SHIFT) + 1;
}

size_t checked_meta_bytes(uint32_t blocks_max)
{
	if (blocks_max - 1 >= CHECKED_BLOCKS_MAX)
		return 0;
	return sizeof(struct checked) + chunks_of(blocks_max) * sizeof(struct checked_record *);
}

enum mm_err checked_init(void *meta, size_t meta_bytes, const struct checked_config *config, struct heap *out)
{
	size_t need = checked_meta_bytes(config->blocks_max);
	struct checked *c = meta;

	if (need == 0 || !meta || (uintptr_t)meta % 64 || meta_bytes < need)
		return MM_EINVAL;
	if (config->redzone_bytes % HEAP_ALIGN || config->redzone_bytes > CHECKED_REDZONE_MAX)
		return MM_EINVAL;
	*c = (struct checked){
		.ops = {.alloc = checked_alloc,
			.free = checked_free,
			.realloc = checked_realloc,
			.usable = checked_usable,
			.stats = checked_heap_stats,
			.check = checked_check,
			.fail_after = checked_fail_after},
		.config = *config,
		.owner = (uint32_t)((uintptr_t)meta * UINT64_C(0x9e3779b97f4a7c15) >> 32),
		.chunks_max = chunks_of(config->blocks_max),
	};
	if (c->config.redzone_bytes == 0)
		c->config.redzone_bytes = CHECKED_REDZONE_DEFAULT;
	if (c->config.scan_bytes == 0)
		c->config.scan_bytes = SCAN_DEFAULT;
	c->front = sizeof(struct checked_header) + c->config.redzone_bytes;
	*out = (struct heap){.self = c, .ops = &c->ops};
	return MM_OK;
}
