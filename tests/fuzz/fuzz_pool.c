/* tests/fuzz/fuzz_pool.c: a stream of operations on all kinds of pools, small
 * enough that they often have no room: objects of one size with growth and a
 * fallback, any sizes, segregated ones, and nodes of a tree; against a record of
 * what is live and a pattern in all that may be used. Two CPUs take turns.
 *
 * Input: 2 bytes choose the numbers of the pools; then 4 bytes an operation: kind,
 * verb and CPU, slot, bits of the size, size. */
#include <stdlib.h>
#include <string.h>

#include "mm/pool.h"
#include "mm/pool_segregated.h"
#include "mm/pool_tree.h"
#include "mm/pool_variable.h"

#define SLOTS	     64u
#define CPUS	     2u
#define NODES	     4u
#define SOURCE_BYTES 65536u
#define OBJECT_BYTES 40u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Who serves: the fixed pool, or a heap by its place in `heaps`. */
enum kind { FIXED, VARIABLE, SEGREGATED, NODE }; /* NODE and on: the tree's */
#define KINDS (NODE + NODES)

struct slot {
	unsigned char *at;
	size_t bytes, usable;
	enum kind kind;
	unsigned char fill;
};

static _Alignas(65536) unsigned char pages[4 * POOL_SEGREGATED_PAGE], region[131072], below_region[262144];
static struct slot slots[SLOTS];
static struct heap heaps[KINDS], below;
static struct pool *fixed;
static void *fixed_meta;
static struct pool_tree *nodes[NODES]; /* each the child of the one before */
static uint64_t live[KINDS], source_out;
static unsigned char fills;

static void *lend(size_t bytes)
{
	void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

	if (!memory)
		abort();
	return memory;
}

static enum mm_err source_take(void *self, unsigned cpu, size_t bytes, size_t align, void **out)
{
	(void)self;
	(void)cpu;
	(void)align;
	if (source_out + bytes > SOURCE_BYTES)
		return MM_ENOMEM;
	source_out += bytes;
	*out = lend(bytes);
	return MM_OK;
}

static void source_give(void *self, unsigned cpu, void *memory, size_t bytes)
{
	(void)self;
	(void)cpu;
	source_out -= bytes;
	free(memory);
}

static void must(enum mm_err err)
{
	MM_ASSERT(err == MM_OK, err, 0);
}

static size_t usable_of(const struct slot *s)
{
	return s->kind == FIXED ? OBJECT_BYTES : heap_usable(&heaps[s->kind], s->at);
}

static void holds(const struct slot *s, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		MM_ASSERT(s->at[i] == s->fill, s->at, i);
}

static void set(struct slot *s, enum kind kind, void *memory, size_t bytes)
{
	*s = (struct slot){.at = memory, .bytes = bytes, .kind = kind, .fill = ++fills};
	s->usable = usable_of(s);
	MM_ASSERT(s->usable >= bytes, s->usable, bytes);
	memset(memory, s->fill, s->usable);
	live[kind]++;
}

static void give(struct slot *s, unsigned cpu, size_t named)
{
	holds(s, s->usable);
	MM_ASSERT(usable_of(s) == s->usable, s->at, s->usable);
	if (s->kind == FIXED)
		pool_free(fixed, cpu, s->at);
	else
		heap_free(&heaps[s->kind], cpu, s->at, named);
	live[s->kind]--;
	s->at = NULL;
}

static void take(struct slot *s, enum kind kind, unsigned cpu, size_t bytes, size_t align)
{
	void *memory = kind == FIXED ? pool_alloc(fixed, cpu) : heap_alloc_aligned(&heaps[kind], cpu, bytes, align);

	if (!memory)
		return;
	MM_ASSERT(kind == FIXED || (uintptr_t)memory % align == 0, memory, align);
	set(s, kind, memory, kind == FIXED ? OBJECT_BYTES : bytes);
}

static void resize(struct slot *s, unsigned cpu, size_t bytes, size_t named)
{
	size_t kept = s->bytes < bytes ? s->bytes : bytes;
	enum kind kind = s->kind;
	void *memory;

	if (kind == FIXED)
		return;
	memory = heap_realloc(&heaps[kind], cpu, s->at, named, bytes);
	if (!memory) {
		MM_ASSERT(bytes > s->usable, bytes, s->usable);
		holds(s, s->usable);
		return;
	}
	s->at = memory;
	holds(s, kept);
	live[kind]--;
	set(s, kind, memory, bytes);
}

/* A node's bytes go with it, and those of all below. */
static void clear(unsigned node)
{
	for (struct slot *s = slots; s < slots + SLOTS; s++)
		if (s->at && s->kind >= NODE + node) {
			live[s->kind]--;
			s->at = NULL;
		}
	pool_tree_clear(nodes[node], 0);
	for (unsigned n = node + 1; n < NODES; n++)
		nodes[n] = NULL;
}

/* The nodes below that are gone come back, if there is room for them. */
static bool node_there(unsigned node)
{
	for (unsigned n = 1; n <= node; n++) {
		if (nodes[n])
			continue;
		nodes[n] = pool_tree_child(nodes[n - 1], 0);
		if (!nodes[n])
			return false;
		heaps[NODE + n] = pool_tree_heap(nodes[n]);
	}
	return true;
}

static void many(unsigned cpu, unsigned n)
{
	void *object[256];

	if (pool_alloc_many(fixed, cpu, object, n))
		pool_free_many(fixed, cpu ^ 1, object, n);
}

static void rest(unsigned verb, unsigned cpu, unsigned n)
{
	if (verb == 5)
		many(cpu, n);
	else if (n % 4 == 0)
		pool_drain(fixed, cpu);
	else if (n % 4 == 1)
		pool_prime(fixed, cpu, n);
	else if (n % 4 == 2)
		pool_variable_trim(&heaps[VARIABLE], cpu);
	else if (nodes[n / 4 % NODES])
		clear(n / 4 % NODES);
}

static void step(const uint8_t *op)
{
	struct slot *s = &slots[op[1] % SLOTS];
	unsigned cpu = op[0] >> 7, verb = op[0] & 7;
	enum kind kind = (enum kind)((op[0] >> 3 & 15) % KINDS);
	size_t bytes = 1 + ((((size_t)1 << op[2] % 18) * (256u + op[3])) >> 9);
	size_t named = !s->at || (op[3] & 3) == 0 ? 0 : (op[3] & 3) == 1 ? s->usable : s->bytes;

	if (verb == 5 || verb == 6)
		rest(verb, cpu, op[3]);
	else if (verb == 7)
		heap_fail_after(kind == FIXED ? &below : &heaps[kind >= NODE ? NODE : kind], op[3] % 4);
	else if (s->at && verb < 2)
		resize(s, cpu, bytes, named);
	else if (s->at)
		give(s, cpu, named);
	else if (kind < NODE || node_there(kind - NODE))
		take(s, kind, cpu, bytes, verb == 4 ? (size_t)1 << op[3] % 14 : HEAP_ALIGN);
}

static void compare(void)
{
	MM_ASSERT(pool_check(fixed) && pool_stats_read(fixed).objects_live == live[FIXED], live[FIXED], 0);
	MM_ASSERT(heap_check(&heaps[VARIABLE]) && heap_check(&heaps[SEGREGATED]), 0, 0);
	MM_ASSERT(pool_tree_check(nodes[0]), 0, 0);
	for (unsigned n = 0; n < NODES; n++)
		MM_ASSERT(!nodes[n] || heap_stats_read(&heaps[NODE + n]).allocations == live[NODE + n], n,
			  live[NODE + n]);
}

static void open_fixed(uint8_t choice)
{
	static const char pattern[OBJECT_BYTES];
	struct pool_config config = {.bytes = OBJECT_BYTES,
				     .most = 16u + choice,
				     .first = 1u + choice % 16,
				     .cpus = CPUS,
				     .rounds = choice % 32,
				     .pattern = choice % 2 ? pattern : NULL,
				     .source = {NULL, source_take, source_give},
				     .fallback = choice % 4 ? &below : NULL};
	size_t bytes = pool_meta_bytes(&config);

	fixed_meta = lend(bytes);
	must(pool_init(fixed_meta, bytes, &config, &fixed));
}

static void open_heaps(uint8_t choice)
{
	static const uint32_t sizes[] = {16, 32, 48, 80, 256, 1024, 4096, 12288};
	struct pool_segregated_config segregated = {.cpus = CPUS,
						    .arena = pages,
						    .arena_bytes = sizeof(pages),
						    .sizes = sizes,
						    .classes = 1 + choice % 8,
						    .fallback = choice % 3 ? &heaps[VARIABLE] : NULL};
	struct pool_variable_config variable = {.cpus = CPUS,
						.region = choice & 16 ? region : NULL,
						.region_bytes = choice & 16 ? sizeof(region) : 0,
						.bytes_most = sizeof(region) + SOURCE_BYTES,
						.source = {NULL, source_take, source_give}};
	size_t bytes = pool_segregated_meta_bytes(sizeof(pages));

	must(pool_variable_init(lend(pool_variable_meta_bytes()), pool_variable_meta_bytes(), &variable,
				&heaps[VARIABLE]));
	must(pool_segregated_init(lend(bytes), bytes, &segregated, &heaps[SEGREGATED]));
	nodes[0] = pool_tree_root(&below, 0);
	heaps[NODE] = pool_tree_heap(nodes[0]);
}

static void close_all(void)
{
	for (struct slot *s = slots; s < slots + SLOTS; s++)
		if (s->at)
			give(s, 0, 0);
	compare();
	pool_tree_destroy(nodes[0], 0);
	must(pool_destroy(fixed, 0));
	pool_variable_trim(&heaps[VARIABLE], 0);
	MM_ASSERT(source_out == 0, source_out, 0);
	MM_ASSERT(heap_stats_read(&below).allocations == 0 && heap_check(&below), 0, 0);
	memset(nodes, 0, sizeof(nodes));
	free(heaps[VARIABLE].self);
	free(heaps[SEGREGATED].self);
	free(below.self);
	free(fixed_meta);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pool_variable_config config = {
		.cpus = CPUS, .region = below_region, .region_bytes = sizeof(below_region)};

	if (size < 2)
		return 0;
	must(pool_variable_init(lend(pool_variable_meta_bytes()), pool_variable_meta_bytes(), &config, &below));
	open_fixed(data[0]);
	open_heaps(data[1]);
	for (size_t i = 2; i + 4 <= size; i += 4) {
		step(data + i);
		if (i % 64 == 2)
			compare();
	}
	close_all();
	return 0;
}
