/* vmm/preload.c: malloc and its kin over mm/'s heap, for programs that nobody here
 * wrote: build/libslatmalloc.so, by LD_PRELOAD.
 *
 * What it is. The functions of libc's heap, and no more than what they promise: each
 * either is served by a magazine of the thread's own slot, here and at once, or visits the
 * heap (preload_slot.h, preload_heap.h). It is not part of slat itself.
 *
 * errno is ENOMEM after a refusal, and as it was after anything else; free() always
 * keeps it. A block of 0 bytes is one of 1; realloc to 0 bytes keeps one too, as ISO
 * C2x lets it, but for glibc's programs, which expect free: so it frees.
 *
 * A second free is told from the first by a mark in the block, as glibc does; a block that grew or
 * shrank elsewhere leaves none behind, since others may have its old place by then.
 *
 * Cost. A pair that magazines serve: some 25 instructions, no atomic one, no lock; lines:
 * the front's, the CPU's part of the cache, the magazine's, the kind's. A visit: an exchange
 * more, and what the heap does. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/preload_direct.h"
#include "vmm/preload_heap.h"
#include "vmm/preload_modes.h"
#include "vmm/preload_range.h"
#include "vmm/preload_slot.h"

#define EXPORT __attribute__((visibility("default")))

/* ---- who is free ---- */

/* The second word of a small free block is a mark that nobody else writes there: a secret, and of this address. Whoever
 * takes the block clears it, so a block that comes with it is freed for the second time. */
typedef uint64_t __attribute__((may_alias)) word;

static inline word *mark_of(void *memory)
{
	return (word *)memory + 1;
}

static inline void mark_free(void *memory)
{
	uint64_t mark = preload_range.secret ^ (uintptr_t)memory;

	MM_ASSERT((uintptr_t)memory % HEAP_ALIGN == 0 && *mark_of(memory) != mark, memory, mark);
	*mark_of(memory) = mark;
}

static inline void mark_taken(void *memory)
{
	*mark_of(memory) = 0;
}

/* ---- visits ---- */

/* After what made pages free, now and then. */
static void look_after(struct preload_visit visit)
{
	if (preload_heap_plain && preload_is_due(visit))
		preload_heap_trim(visit.cpu, false);
}

static __attribute__((noinline)) void *visit_alloc(size_t bytes, size_t align)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
	int was = errno;
	struct preload_visit visit;
	void *memory = NULL;

	if (!preload_heap_ready()) {
		errno = ENOMEM;
		return NULL;
	}
	visit = preload_enter();
	preload_modes_called_from(frame);
	if (bytes <= PTRDIFF_MAX)
		memory = heap_alloc_aligned(&preload_heap, visit.cpu, bytes, align);
	if (memory && preload_heap_plain && bytes <= GENERAL_HEAP_SMALL_MAX && align == HEAP_ALIGN)
		preload_front_learn(visit, general_heap_class(bytes + (bytes == 0)));
	preload_leave(visit);
	if (memory && preload_heap_plain &&
	    (bytes <= GENERAL_HEAP_SMALL_MAX || !preload_heap_is_fresh(memory, 2 * sizeof(word))))
		mark_taken(memory); /* a large one, too: it may be copied to where a small one had that mark */
	errno = memory ? was : ENOMEM;
	return memory;
}

static __attribute__((noinline)) void visit_free(void *memory)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
	int was = errno;
	struct preload_visit visit;
	unsigned kind;

	if (!memory)
		return;
	MM_ASSERT(preload_heap_ready(), memory, 0); /* nothing was given yet */
	kind = preload_heap_plain && preload_range_has(memory)
		       ? preload_range.kinds[((uintptr_t)memory - preload_range.base) >> FRAME_SHIFT]
		       : 0;
	if (kind - 1 < GENERAL_HEAP_CLASSES)
		mark_free(memory);
	visit = preload_enter();
	preload_modes_called_from(frame);
	heap_free(&preload_heap, visit.cpu, memory, 0);
	if (kind - 1 < GENERAL_HEAP_CLASSES)
		preload_front_learn(visit, kind - 1);
	look_after(visit);
	preload_leave(visit);
	errno = was;
}

static __attribute__((noinline)) void *visit_realloc(void *memory, size_t bytes)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
	int was = errno;
	struct preload_visit visit;
	void *moved = NULL;

	MM_ASSERT(preload_heap_ready(), memory, bytes);
	visit = preload_enter();
	preload_modes_called_from(frame);
	if (bytes <= PTRDIFF_MAX)
		moved = heap_realloc(&preload_heap, visit.cpu, memory, 0, bytes);
	preload_leave(visit);
	if (moved && moved != memory && preload_heap_plain && bytes < 2 * sizeof(word)) /* no more has been written */
		memset((char *)moved + bytes, 0, 2 * sizeof(word) - bytes);
	errno = moved ? was : ENOMEM;
	return moved;
}

/* Apart, so that the call comes from the caller. */
static __attribute__((noinline)) void *visit_calloc(size_t bytes)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
	int was = errno;
	struct preload_visit visit;
	void *memory = NULL;

	if (preload_heap_ready()) {
		visit = preload_enter();
		preload_modes_called_from(frame);
		if (bytes <= PTRDIFF_MAX)
			memory = heap_alloc(&preload_heap, visit.cpu, bytes);
		preload_leave(visit);
	}
	errno = memory ? was : ENOMEM;
	if (preload_heap_plain && bytes < 2 * sizeof(word)) /* another thread made it plain just now */
		bytes = 2 * sizeof(word);
	return memory ? memset(memory, 0, bytes) : NULL;
}

/* ---- what magazines serve ---- */

static inline struct slab_hot *hot_for(size_t bytes)
{
	if (__builtin_expect(bytes <= PRELOAD_TABLE_BYTES, 1))
		return preload_front.by_size[(bytes + 15) / 16];
	if (bytes <= GENERAL_HEAP_SMALL_MAX)
		return preload_front.by_kind[1 + general_heap_class(bytes)];
	return NULL;
}

static inline __attribute__((always_inline)) void *take(size_t bytes)
{
	struct slab_hot *hot = hot_for(bytes);

	if (__builtin_expect(hot != NULL, 1)) {
		void **top = __atomic_load_n(&hot->top, __ATOMIC_RELAXED);

		if (__builtin_expect(top > __atomic_load_n(&hot->bottom, __ATOMIC_RELAXED), 1)) {
			__atomic_store_n(&hot->top, top - 1, __ATOMIC_RELAXED);
			mark_taken(top[-1]);
			return top[-1];
		}
	}
	return visit_alloc(bytes, HEAP_ALIGN);
}

static inline __attribute__((always_inline)) void give(void *memory)
{
	uint64_t frame = ((uintptr_t)memory - preload_range.base) >> FRAME_SHIFT;

	if (__builtin_expect(frame < preload_range.frames, 1)) {
		unsigned kind = __atomic_load_n(&preload_range.kinds[frame], __ATOMIC_RELAXED);
		struct slab_hot *hot = kind <= GENERAL_HEAP_CLASSES ? preload_front.by_kind[kind] : NULL;

		if (__builtin_expect(hot != NULL, 1)) {
			void **top = __atomic_load_n(&hot->top, __ATOMIC_RELAXED);

			if (__builtin_expect(top < __atomic_load_n(&hot->limit, __ATOMIC_RELAXED), 1)) {
				mark_free(memory);
				*top = memory;
				__atomic_store_n(&hot->top, top + 1, __ATOMIC_RELAXED);
				return;
			}
		}
	}
	visit_free(memory);
}

EXPORT void *malloc(size_t size)
{
	return take(size);
}

EXPORT void free(void *ptr)
{
	give(ptr);
}

EXPORT void *calloc(size_t nmemb, size_t size)
{
	size_t bytes;
	void *memory;

	if (__builtin_mul_overflow(nmemb, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	if (__builtin_expect(!preload_heap_plain, 0))
		return visit_calloc(bytes);
	memory = take(bytes);
	if (!memory || (bytes > GENERAL_HEAP_SMALL_MAX && preload_heap_is_fresh(memory, bytes)))
		return memory;
	return memset(memory, 0, bytes);
}

/* Under a visit, as all that may take a lock: a fork between would leave it taken in the child. */
static size_t usable(const void *memory)
{
	struct preload_visit visit;
	size_t bytes;

	if (!preload_heap_ready())
		return 0;
	visit = preload_enter();
	bytes = heap_usable(&preload_heap, memory);
	preload_leave(visit);
	return bytes;
}

static struct heap_stats stats_read(struct preload_direct_stats *direct)
{
	struct preload_visit visit = preload_enter();
	struct heap_stats stats = heap_stats_read(&preload_heap);

	*direct = preload_direct_stats_read();
	preload_leave(visit);
	return stats;
}

/* Does it stay where it is? As the heap itself decides, but for what runs of frames count. */
static bool stays(const void *memory, size_t bytes)
{
	unsigned kind;
	size_t has;

	if (!preload_range_has(memory))
		return false;
	kind = __atomic_load_n(&preload_range.kinds[((uintptr_t)memory - preload_range.base) >> FRAME_SHIFT],
			       __ATOMIC_RELAXED);
	if (kind - 1 >= GENERAL_HEAP_CLASSES || !preload_front.by_kind[kind])
		return false;
	has = general_heap_class_bytes(kind - 1);
	return bytes <= has && (bytes > has / 2 || has <= 2 * HEAP_ALIGN);
}

EXPORT void *realloc(void *ptr, size_t size)
{
	if (!ptr)
		return take(size);
	if (size == 0) {
		give(ptr);
		return NULL;
	}
	if (stays(ptr, size))
		return ptr;
	return visit_realloc(ptr, size);
}

EXPORT void *reallocarray(void *ptr, size_t nmemb, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(nmemb, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(ptr, bytes);
}

/* ---- aligned ---- */

static void *aligned(size_t align, size_t bytes)
{
	return align <= HEAP_ALIGN ? take(bytes) : visit_alloc(bytes, align);
}

/* glibc takes the next power of two where it is none. */
EXPORT void *memalign(size_t alignment, size_t size)
{
	if (alignment > (size_t)PTRDIFF_MAX) {
		errno = EINVAL;
		return NULL;
	}
	if (alignment & (alignment - 1))
		alignment = (size_t)1 << (64 - __builtin_clzl(alignment));
	return aligned(alignment, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	if (alignment == 0 || alignment & (alignment - 1)) {
		errno = EINVAL;
		return NULL;
	}
	return aligned(alignment, size);
}

EXPORT int posix_memalign(void **memptr, size_t alignment, size_t size)
{
	int was = errno;
	void *memory;

	if (alignment == 0 || alignment & (alignment - 1) || alignment % sizeof(void *))
		return EINVAL;
	memory = aligned(alignment, size);
	errno = was;
	if (!memory)
		return ENOMEM;
	*memptr = memory;
	return 0;
}

EXPORT void *valloc(size_t size)
{
	return aligned(FRAME_BYTES, size);
}

EXPORT void *pvalloc(size_t size)
{
	if (size > PTRDIFF_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	return aligned(FRAME_BYTES, (size + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1));
}

EXPORT size_t malloc_usable_size(void *ptr)
{
	return ptr ? usable(ptr) : 0;
}

EXPORT int malloc_trim(size_t pad)
{
	int was = errno;
	struct preload_visit visit;
	size_t given = 0;

	(void)pad;
	if (preload_heap_ready()) {
		visit = preload_enter();
		given = preload_heap_trim(visit.cpu, true);
		preload_leave(visit);
	}
	errno = was;
	return given > 0;
}

EXPORT void malloc_stats(void)
{
	struct preload_visit visit;

	if (!preload_heap_ready())
		return;
	visit = preload_enter();
	preload_stats_write(STDERR_FILENO);
	preload_leave(visit);
}

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct preload_direct_stats direct = {0};
	struct heap_stats stats = {0};
	size_t own, used;

	if (preload_heap_ready())
		stats = stats_read(&direct);
	own = stats.bytes_held > direct.bytes ? stats.bytes_held - direct.bytes : 0;
	used = stats.bytes_given > direct.bytes ? stats.bytes_given - direct.bytes : 0;
	used = used < own ? used : own; /* read while others work */
	return (struct mallinfo2){
		.arena = own, .hblks = direct.blocks, .hblkhd = direct.bytes, .uordblks = used, .fordblks = own - used};
}

__attribute__((destructor)) static void end(void)
{
	if (preload_heap_ready())
		preload_modes_end();
}

__attribute__((constructor)) static void begin(void)
{
	if (preload_heap_ready())
		preload_slots_watch_forks();
}
