/* tests/fuzz/fuzz_checked.c: a stream of operations and planted bugs on a checked heap,
 * with leak above it, against a list of what is live, what was freed and where each was
 * asked for: what is told must be what was planted, no more and no less, and the sums
 * those of the list.
 *
 * Input: 4 bytes choose quarantine, redzones, scan and blocks_max; then 3 bytes an
 * operation: verb and site, which block, how long or where. */
#include <stdlib.h>
#include <string.h>

#include "mm/checked_impl.h"
#include "mm/general_heap.h"
#include "mm/leak_impl.h"
#include "mm/port.h"

#define BYTES  (UINT64_C(4) << 20)
#define BLOCKS 128u
#define SITES  16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum verb {
	ALLOC,
	FREE,
	RESIZE,
	OVERRUN,
	UNDERRUN,
	AFTER_FREE,
	TWICE,
	MIDDLE,
	FOREIGN,
	TOO_LONG,
	CHECK,
	DRAIN,
	FAIL,
	VERBS
};

static struct block {
	unsigned char *at;
	size_t bytes;
	unsigned site;
	bool freed; /* and perhaps gone */
} block[BLOCKS];

static struct {
	struct heap below, checked, heap;
	struct checked *c;
	struct leak *leak;
	struct call_stacks *stacks;
	unsigned char *arena, *frames_meta, *heap_meta, *checked_meta, *leak_meta, *stacks_meta;
	struct frames frames;
	unsigned site;
	unsigned reports;
	struct checked_report last;
	size_t redzone;
	uint64_t quarantine;
} w;

static void *lines(size_t bytes)
{
	void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

	if (!memory)
		abort();
	memset(memory, 0, bytes);
	return memory;
}

static unsigned take(void *self, uint64_t *pc, unsigned max)
{
	(void)self;
	(void)max;
	pc[0] = 0x100 + w.site;
	pc[1] = 0x1000;
	return 2;
}

static void report(void *self, const struct checked_report *r)
{
	(void)self;
	w.reports++;
	w.last = *r;
}

/* That one report was made since, of this kind, and of this block. */
static void told(enum checked_kind kind, const struct block *b, int64_t offset)
{
	MM_ASSERT(w.reports == 1 && w.last.kind == kind, w.reports, w.last.kind);
	MM_ASSERT(!b || (w.last.block == b->at && w.last.offset == offset), w.last.offset, offset);
	MM_ASSERT(!b || w.last.allocated.pc[0] == 0x100 + b->site, w.last.allocated.pc[0], b->site);
	w.reports = 0;
}

static bool begin(const uint8_t *data)
{
	struct frames_config frames = {.frame_count = BYTES >> FRAME_SHIFT, .cpus = 1};
	struct general_heap_config heap = {.frames = &w.frames, .frame_count = BYTES >> FRAME_SHIFT, .cpus = 1};
	struct checked_config checked = {.quarantine_bytes = (uint64_t)data[0] << 10,
					 .redzone_bytes = data[1] % 8 * 16,
					 .scan_bytes = data[2] == 255 ? SIZE_MAX : data[2],
					 .blocks_max = 16 + data[3],
					 .source = {NULL, take},
					 .report = report};
	struct leak_config leak = {.cpus = 1, .blocks_max = BLOCKS, .source = {NULL, take}};
	size_t frames_bytes = frames_meta_bytes(frames.frame_count, 1),
	       stacks_bytes = call_stacks_meta_bytes(SITES, 2 * SITES);

	memset(&w, 0, sizeof(w));
	memset(block, 0, sizeof(block));
	w.arena = aligned_alloc(BYTES, BYTES);
	if (!w.arena)
		abort();
	w.frames_meta = lines(frames_bytes);
	w.heap_meta = lines(general_heap_meta_bytes(frames.frame_count, 1));
	w.stacks_meta = lines(stacks_bytes);
	heap.arena = w.arena;
	w.quarantine = checked.quarantine_bytes;
	w.redzone = checked.redzone_bytes ? checked.redzone_bytes : 16;
	if (frames_init(&w.frames, w.frames_meta, frames_bytes, &frames) != MM_OK ||
	    frames_donate(&w.frames, (struct pfn){0}, frames.frame_count) != MM_OK ||
	    general_heap_init(w.heap_meta, general_heap_meta_bytes(frames.frame_count, 1), &heap, &w.below) != MM_OK ||
	    call_stacks_init(w.stacks_meta, stacks_bytes, SITES, 2 * SITES, &w.stacks) != MM_OK)
		abort();
	checked.below = w.below;
	checked.low = (uintptr_t)w.arena;
	checked.high = checked.low + BYTES;
	checked.stacks = leak.stacks = w.stacks;
	w.checked_meta = lines(checked_meta_bytes(checked.blocks_max));
	w.leak_meta = lines(leak_meta_bytes(&leak) + 64 + leak_heap_meta_bytes());
	if (checked_init(w.checked_meta, checked_meta_bytes(checked.blocks_max), &checked, &w.checked) != MM_OK ||
	    leak_init(w.leak_meta, leak_meta_bytes(&leak), &leak, &w.leak) != MM_OK)
		abort();
	leak_heap(w.leak_meta + ((leak_meta_bytes(&leak) + 63) & ~(size_t)63), w.leak, &w.checked, &w.heap);
	w.c = w.checked.self;
	return true;
}

static void end(void)
{
	free(w.arena);
	free(w.frames_meta);
	free(w.heap_meta);
	free(w.stacks_meta);
	free(w.checked_meta);
	free(w.leak_meta);
}

static bool is_live(const struct block *b)
{
	return b->at && !b->freed;
}

static bool is_kept(const struct block *b)
{
	for (uint32_t i = w.c->oldest; i; i = w.c->chunk[i >> CHECKED_CHUNK_SHIFT][i % CHECKED_CHUNK].next)
		if (w.c->chunk[i >> CHECKED_CHUNK_SHIFT][i % CHECKED_CHUNK].address == (uintptr_t)b->at)
			return b->freed;
	return false;
}

/* Whoever lived at an address is forgotten when another does. */
static void now_at(const struct block *fresh)
{
	for (struct block *b = block; b < block + BLOCKS; b++)
		if (b != fresh && b->freed && b->at == fresh->at)
			b->at = NULL;
}

static void do_alloc(struct block *b, unsigned argument)
{
	size_t align = argument % 16 == 15 ? (size_t)16 << argument / 16 % 9 : 16;
	size_t bytes = argument % 4 ? argument : argument * 67;

	if (is_live(b))
		return;
	*b = (struct block){
		.at = heap_alloc_aligned(&w.heap, 0, bytes, align), .bytes = bytes + !bytes, .site = w.site};
	if (!b->at)
		return;
	MM_ASSERT((uintptr_t)b->at % align == 0, b->at, align);
	memset(b->at, (int)w.site, b->bytes);
	now_at(b);
}

static void do_free(struct block *b)
{
	if (!is_live(b))
		return;
	for (size_t i = 0; i < b->bytes; i += 13)
		MM_ASSERT(b->at[i] == b->at[0], i, b->bytes);
	b->freed = true;
	heap_free(&w.heap, 0, b->at, b->bytes % 2 ? b->bytes : 0);
}

static void do_resize(struct block *b, unsigned argument)
{
	size_t bytes = argument % 4 ? argument : argument * 97;
	unsigned char first, *moved;

	if (!is_live(b))
		return;
	first = b->at[0];
	moved = heap_realloc(&w.heap, 0, b->at, 0, bytes);
	if (!moved)
		return;
	MM_ASSERT(moved[0] == first, b->bytes, bytes);
	*b = (struct block){.at = moved, .bytes = bytes + !bytes, .site = w.site};
	memset(moved, first, b->bytes);
	now_at(b);
}

/* Writes beside a live block, and frees it. */
static void do_beside(struct block *b, unsigned argument, bool before)
{
	int64_t offset = before ? -1 - (int64_t)(argument % w.redzone) : (int64_t)(b->bytes + argument % w.redzone);

	if (!is_live(b))
		return;
	b->at[offset] ^= 0x41;
	do_free(b);
	told(before ? CHECKED_UNDERRUN : CHECKED_OVERRUN, b, offset);
}

static void do_after_free(struct block *b, unsigned argument)
{
	if (!b->at || !is_kept(b))
		return;
	b->at[argument % b->bytes] ^= 0x41;
	MM_ASSERT(!checked_look(&w.checked), b->at, argument);
	told(CHECKED_USE_AFTER_FREE, b, (int64_t)(argument % b->bytes));
	MM_ASSERT(w.last.freed.count == 2, b->at, 0);
}

static void do_twice(struct block *b, unsigned argument)
{
	if (!b->at || !is_kept(b))
		return;
	if (argument % 2)
		heap_free(&w.checked, 0, b->at, 0);
	else
		MM_ASSERT(!heap_realloc(&w.checked, 0, b->at, 0, argument), b->at, argument);
	told(CHECKED_DOUBLE_FREE, b, 0);
}

static void do_middle(struct block *b, unsigned argument)
{
	if (!is_live(b) || b->bytes < 2)
		return;
	heap_free(&w.checked, 0, b->at + 1 + argument % (b->bytes - 1), 0);
	told(CHECKED_MIDDLE, b, 1 + (int64_t)(argument % (b->bytes - 1)));
}

static void do_too_long(struct block *b, unsigned argument)
{
	if (!is_live(b))
		return;
	b->freed = true;
	heap_free(&w.heap, 0, b->at, b->bytes + 1 + argument);
	told(CHECKED_WRONG_SIZE, b, 0);
}

static void agree(void)
{
	struct heap_stats s = heap_stats_read(&w.heap);
	struct leak_figures f = leak_figures_read(w.leak);
	uint64_t bytes = 0, live = 0;

	for (const struct block *b = block; b < block + BLOCKS; b++) {
		bytes += is_live(b) ? b->bytes : 0;
		live += is_live(b);
	}
	MM_ASSERT(s.bytes_asked == bytes && s.allocations == live, s.bytes_asked, bytes);
	MM_ASSERT(f.all.bytes == bytes && f.all.allocations == live && f.all.error == 0, f.all.bytes, bytes);
}

static void step(const uint8_t op[3])
{
	struct block *b = &block[op[1] % BLOCKS];
	static char foreign[64];

	w.site = op[0] / 16;
	switch ((enum verb)(op[0] % 16 % VERBS)) {
	case ALLOC:
		do_alloc(b, op[2]);
		break;
	case FREE:
		do_free(b);
		break;
	case RESIZE:
		do_resize(b, op[2]);
		break;
	case OVERRUN:
		do_beside(b, op[2], false);
		break;
	case UNDERRUN:
		do_beside(b, op[2], true);
		break;
	case AFTER_FREE:
		do_after_free(b, op[2]);
		break;
	case TWICE:
		do_twice(b, op[2]);
		break;
	case MIDDLE:
		do_middle(b, op[2]);
		break;
	case FOREIGN:
		heap_free(&w.checked, 0, foreign + op[2] % 64, 0);
		told(CHECKED_FOREIGN, NULL, 0);
		break;
	case TOO_LONG:
		do_too_long(b, op[2]);
		break;
	case CHECK:
		MM_ASSERT(heap_check(&w.heap), op[1], op[2]);
		break;
	case DRAIN:
		checked_drain(&w.checked, 0);
		break;
	default:
		heap_fail_after(&w.heap, op[2] % 4);
	}
	MM_ASSERT(w.reports == 0, w.reports, w.last.kind);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4 || !begin(data))
		return 0;
	for (const uint8_t *op = data + 4; op + 3 <= data + size; op += 3) {
		step(op);
		agree();
	}
	MM_ASSERT(heap_check(&w.heap), size, 0);
	MM_ASSERT(call_stacks_check(w.stacks), size, 0);
	end();
	return 0;
}
