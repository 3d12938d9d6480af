/* mm/vec.h: an array that grows, over any heap.
 *
 * Memory:  one block of the heap, and all of it: what the heap gave beyond what was
 *          asked is room, too. An empty one has none.
 * Threads: one at a time. Elements move when it grows: keep numbers, not addresses.
 * Errors:  NULL or false: the heap has no room; nothing has changed.
 *
 * How much to grow. Appending to n elements, with room for k more taken now: the
 * step costs an allocation, a, and the copying of n elements, c each; both are paid
 * by the k appends that follow. Meanwhile k/2 elements lie idle on average, of n; an
 * idle share of x costs s*x an append. So each append costs
 *	(a + c*n) / k  +  s*k / (2*n)
 * which is least (both terms equal, as for any lot size: Harris, "How Many Parts to
 * Make at Once", 1913) at
 *	k = sqrt(2/s * n * (a + c*n)) = sqrt(2*c/s) * sqrt(n * (n + r)),  r = a/c.
 * r is the ratio of allocation to copying cost, in elements. A long array grows by the
 * factor 1 + sqrt(2*c/s), which `share` states; a short one by more, since there the
 * allocation is what costs: at n = r/3 by twice that share. With `share` 1/2 an idle
 * element is held to cost as much as copying 8: factor 3/2. */
#ifndef SLAT_MM_VEC_H
#define SLAT_MM_VEC_H

#include "mm/heap.h"

#define VEC_SHARE	128u  /* of 256: the factor of a long array is 3/2 */
#define VEC_RATIO_BYTES 1024u /* what is copied in the time that an allocation takes: 20 ns, by 50 bytes a ns */

struct vec {
	const struct heap *heap;
	unsigned cpu;
	uint32_t share, ratio;
	size_t element; /* bytes of one */
	size_t count, room;
	void *items;
	uint64_t grown; /* how often it took another block, or more of the same */
};

struct vec_config {
	const struct heap *heap;
	unsigned cpu; /* that its calls name */
	size_t element;
	uint32_t share; /* of 256 by which a long one grows; 0: VEC_SHARE */
	uint32_t ratio; /* r, in elements; 0: VEC_RATIO_BYTES / element */
};

/* Takes nothing yet. element is 1 or more. */
void vec_init(struct vec *v, const struct vec_config *config);

/* Gives the block back; the vec is as after vec_init(). Fine on a zeroed one. */
void vec_fini(struct vec *v);

/* The block leaves it, NULL or what heap_free() takes, and belongs to the caller. The vec
 * is as after vec_init(). */
void *vec_keep(struct vec *v);

/* One more element, not cleared. O(1) amortised; worst O(count). */
void *vec_push(struct vec *v) __attribute__((warn_unused_result));

/* Room for `count` elements in all, exactly or by what the heap gives. */
bool vec_reserve(struct vec *v, size_t count) __attribute__((warn_unused_result));

/* The first `count` stay. Their number only: room stays, too. */
void vec_truncate(struct vec *v, size_t count);

/* Gives back what is not used, as far as the heap can. */
void vec_shrink(struct vec *v);

/* Element i: one that is there, else mm_panic(). */
void *vec_at(const struct vec *v, size_t i);

/* How many elements of room come next after `room`: the formula above, 1 or more. Saturates. */
size_t vec_next_room(size_t room, uint32_t share, uint32_t ratio);

bool vec_check(const struct vec *v);

#endif
