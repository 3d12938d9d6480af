/* mm/vec.c: the array that grows. How much: vec.h.
 *
 * What it is. One block of a heap, and how much of it is used. It is not a list:
 * nothing is inserted in the middle, and what was taken out shrinks nothing by itself.
 *
 * Words. Room: elements that the block holds. Whole: the length that the heap is told
 * once it said how long the block is, so that its figures and ours agree.
 *
 * Invariants, verified by vec_check():
 *   I1  count is no more than room; there is a block iff there is room;
 *   I2  room is what the block's usable bytes hold.
 *
 * Threads. One at a time.
 *
 * Cost. Each element is copied 1 / (factor - 1) times on average, twice with 3/2; less
 * where the heap grows a block in place. An append is a compare and an add, at worst an
 * allocation, a copy of all, a free; a realloc of the same block tells what is used.
 *
 * Failure. NULL, false: the heap has no room for the next length; what there is stays.
 *
 * Rejected. Factor 2 with any heap: blocks that were given up never add up to the next
 * (1 + 2 + 4 < 8). Growing by a constant: each element is copied n / constant times. To
 * settle for less when the heap has no room for the next length: each append near the
 * end would copy all. */
#include "mm/vec.h"
#include "mm/port.h"

/* Newton's, from above: the largest whose square is no more. */
static uint64_t square_root(uint64_t n)
{
	uint64_t root, next;

	if (n < 2)
		return n;
	next = UINT64_C(1) << (32 - (unsigned)__builtin_clzll(n) / 2);
	do {
		root = next;
		next = (root + n / root) / 2;
	} while (next < root);
	return root;
}

size_t vec_next_room(size_t room, uint32_t share, uint32_t ratio)
{
	size_t by = room, all;

	if (room < UINT32_MAX / 2)
		by = square_root((uint64_t)(room + !room) * (room + (uint64_t)ratio));
	by = by / 256 * share + by % 256 * share / 256;
	return __builtin_add_overflow(room, by + !by, &all) ? SIZE_MAX : all;
}

void vec_init(struct vec *v, const struct vec_config *config)
{
	size_t ratio = VEC_RATIO_BYTES / (config->element + !config->element);

	MM_ASSERT(config->element > 0, config->element, config->cpu);
	*v = (struct vec){
		.heap = config->heap,
		.cpu = config->cpu,
		.element = config->element,
		.share = config->share ? config->share : VEC_SHARE,
		.ratio = config->ratio ? config->ratio : (uint32_t)ratio,
	};
}

static void use_whole(struct vec *v)
{
	v->room = heap_usable(v->heap, v->items) / v->element;
}

void *vec_keep(struct vec *v)
{
	void *items = v->items;

	v->items = NULL;
	v->count = v->room = 0;
	return items;
}

void vec_fini(struct vec *v)
{
	size_t told = v->room * v->element;
	void *items = vec_keep(v);

	if (items)
		heap_free(v->heap, v->cpu, items, told);
}

/* Another block, or the same, with room for so many: those that are there stay. */
static bool resize(struct vec *v, size_t room)
{
	size_t bytes;
	void *items;

	if (__builtin_mul_overflow(room, v->element, &bytes))
		return false;
	items = heap_realloc(v->heap, v->cpu, v->items, v->room * v->element, bytes);
	if (!items)
		return false;
	v->items = items;
	use_whole(v);
	if (v->room > room) /* never refused, and nothing moves */
		v->items = heap_realloc(v->heap, v->cpu, items, bytes, v->room * v->element);
	v->grown++;
	return true;
}

void *vec_push(struct vec *v)
{
	if (v->count == v->room && !resize(v, vec_next_room(v->room, v->share, v->ratio)))
		return NULL;
	return (unsigned char *)v->items + v->count++ * v->element;
}

bool vec_reserve(struct vec *v, size_t count)
{
	return count <= v->room || resize(v, count);
}

void vec_truncate(struct vec *v, size_t count)
{
	MM_ASSERT(count <= v->count, count, v->count);
	v->count = count;
}

void vec_shrink(struct vec *v)
{
	if (v->count == 0)
		vec_fini(v);
	else if (v->count < v->room)
		(void)resize(v, v->count); /* a shrink is not refused */
}

void *vec_at(const struct vec *v, size_t i)
{
	MM_ASSERT(i < v->count, i, v->count);
	return (unsigned char *)v->items + i * v->element;
}

bool vec_check(const struct vec *v)
{
	if (v->count > v->room || (v->room > 0) != (v->items != NULL))
		return false;							    /* I1 */
	return !v->items || v->room == heap_usable(v->heap, v->items) / v->element; /* I2 */
}
