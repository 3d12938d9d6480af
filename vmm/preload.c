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
 * shrank elsewhere leaves none behind, since others may have its old place by then. The inside of a
 * block is told from its start by where blocks of its size begin in a slab, before anything is written.
 *
 * Sampled. Where leak records a few allocations alone, the front's tables stay empty, so that malloc and free as
 * they are plain take no notice of it; what they call then is served from the magazines all the same, with a die thrown
 * for each allocation and a look at one bucket for each free. What is to be recorded, or was, makes a visit.
 *
 * Cost. A pair that magazines serve: some 25 instructions, no atomic one, no lock; lines:
 * the front's, the CPU's part of the cache, the magazine's, the kind's. A visit: an exchange
 * more, and what the heap does. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/preload_heap.h"
#include "vmm/preload_modes.h"
#include "vmm/preload_range.h"
#include "vmm/preload_slot.h"
#include "vmm/preload_stack.h"

#define EXPORT __attribute__((visibility("default")))

/* ---- who is free ---- */

/* The second word of a small free block is a mark that nobody else writes there: a secret, and of this address. Whoever
 * takes the block clears it, so a block that comes with it is freed for the second time. */
typedef uint64_t __attribute__((may_alias)) word;

static inline word *mark_of(void *memory)
{
	return (word *)memory + 1;
}

static inline uint64_t mark_for(const void *memory)
{
	return preload_range.secret ^ (uintptr_t)memory;
}

static inline void mark_free(void *memory, struct slab_layout layout)
{
	uint64_t mark = mark_for(memory);

	MM_ASSERT(slab_layout_starts(&layout, (uintptr_t)memory) && *mark_of(memory) != mark, memory, mark);
	*mark_of(memory) = mark;
}

static inline void mark_taken(void *memory)
{
	*mark_of(memory) = 0;
}

/* Of what is no small block: nothing. */
static unsigned small_kind(const void *memory)
{
	unsigned kind = preload_heap_marked && preload_range_has(memory) ? preload_range_kind(memory) : 0;

	return kind <= GENERAL_HEAP_CLASSES ? kind : 0;
}

static struct slab_layout layout_of(unsigned kind)
{
	return slab_layout_of(general_heap_cache(&preload_range.heap, kind - 1));
}

/* ---- visits ---- */

/* Of the thread: was it refused on purpose last; and is what is asked for next to be refused, too? */
static __thread bool on_purpose __attribute__((tls_model("initial-exec")));
static __thread bool refuse_next __attribute__((tls_model("initial-exec")));

/* errno after a call that was to give `memory`, and was `was` before. */
static void end_with(const void *memory, int was)
{
	on_purpose = !memory && !preload_heap_plain && preload_modes_refused();
	errno = memory ? was : ENOMEM;
}

/* After what made pages free, now and then. */
static void look_after(struct preload_visit visit)
{
	if (preload_is_due(visit))
		preload_heap_trim(visit.cpu, false);
}

static __attribute__((noinline)) void record(void *memory, size_t bytes, uintptr_t frame)
{
	int was = errno;
	struct preload_visit visit = preload_enter();

	preload_stack_called_from(frame);
	leak_record(preload_modes_sampler, memory, bytes);
	preload_leave(visit);
	errno = was;
}

/* While allocations are sampled the front's tables stay empty, so that each call comes here, as magazines serve others:
 * in place of a visit, but for what is recorded. */
static inline void *sampled_alloc(size_t bytes, uintptr_t frame)
{
	struct slab_hot *hot = preload_front.sampled[1 + general_heap_class(bytes + (bytes == 0))].hot;
	void **top, *memory;

	if (!hot)
		return NULL;
	top = __atomic_load_n(&hot->top, __ATOMIC_RELAXED);
	if (top <= __atomic_load_n(&hot->bottom, __ATOMIC_RELAXED))
		return NULL;
	memory = top[-1];
	__atomic_store_n(&hot->top, top - 1, __ATOMIC_RELAXED);
	mark_taken(memory);
	if (__builtin_expect(leak_samples(preload_modes_sampler, preload_front.cpu, bytes), 0))
		record(memory, bytes, frame);
	return memory;
}

static inline bool sampled_free(void *memory)
{
	const struct preload_small *small = &preload_front.sampled[small_kind(memory)];
	void **top;

	if (!small->hot || leak_may_know(preload_modes_sampler, memory))
		return false;
	top = __atomic_load_n(&small->hot->top, __ATOMIC_RELAXED);
	if (top >= __atomic_load_n(&small->hot->limit, __ATOMIC_RELAXED))
		return false;
	mark_free(memory, small->layout);
	*top = memory;
	__atomic_store_n(&small->hot->top, top + 1, __ATOMIC_RELAXED);
	return true;
}

static __attribute__((noinline)) void *alloc_from(size_t bytes, size_t align, uintptr_t frame)
{
	bool small = bytes <= GENERAL_HEAP_SMALL_MAX && align == HEAP_ALIGN;
	struct preload_visit visit;
	void *memory = NULL;
	int was = errno;

	if (!preload_heap_ready() || refuse_next) {
		refuse_next = false;
		errno = ENOMEM;
		return NULL;
	}
	visit = preload_enter();
	preload_stack_called_from(frame);
	if (bytes <= PTRDIFF_MAX)
		memory = heap_alloc_aligned(&preload_heap, visit.cpu, bytes, align);
	if (memory && preload_heap_fronted && small)
		preload_front_learn(visit, general_heap_class(bytes + (bytes == 0)));
	preload_leave(visit);
	if (memory && preload_heap_marked &&
	    (bytes <= GENERAL_HEAP_SMALL_MAX || !preload_heap_is_fresh(memory, 2 * sizeof(word))))
		mark_taken(memory); /* a large one, too: it may be copied to where a small one had that mark */
	end_with(memory, was);
	return memory;
}

/* `frame` is of the function that it is part of: the one that the caller called, or that took such a one's place. That
 * stays where it is, since what it calls at its end is no jump. */
#define STAYS(value) __asm__ volatile("" : : "r"(value))

static inline __attribute__((always_inline)) void *alloc_for(uintptr_t frame, size_t bytes, size_t align)
{
	void *memory = bytes <= GENERAL_HEAP_SMALL_MAX && align == HEAP_ALIGN ? sampled_alloc(bytes, frame) : NULL;

	if (memory)
		return memory;
	memory = alloc_from(bytes, align, frame);
	STAYS(memory);
	return memory;
}

static __attribute__((noinline)) void *visit_alloc(size_t bytes, size_t align)
{
	return alloc_for((uintptr_t)__builtin_frame_address(0), bytes, align);
}

static __attribute__((noinline)) void free_from(void *memory, uintptr_t frame)
{
	int was = errno;
	struct preload_visit visit;
	unsigned kind;

	if (!memory)
		return;
	MM_ASSERT(preload_heap_ready(), memory, 0); /* nothing was given yet */
	kind = small_kind(memory);
	if (kind > 0)
		mark_free(memory, layout_of(kind));
	visit = preload_enter();
	preload_stack_called_from(frame);
	heap_free(&preload_heap, visit.cpu, memory, 0);
	if (kind > 0 && preload_heap_fronted)
		preload_front_learn(visit, kind - 1);
	look_after(visit);
	preload_leave(visit);
	errno = was;
}

static __attribute__((noinline)) void visit_free(void *memory)
{
	if (sampled_free(memory))
		return;
	free_from(memory, (uintptr_t)__builtin_frame_address(0));
	STAYS(memory);
}

static __attribute__((noinline)) void *visit_realloc(void *memory, size_t bytes)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
	int was = errno;
	struct preload_visit visit;
	void *moved = NULL;

	MM_ASSERT(preload_heap_ready(), memory, bytes);
	visit = preload_enter();
	preload_stack_called_from(frame);
	if (bytes <= PTRDIFF_MAX)
		moved = heap_realloc(&preload_heap, visit.cpu, memory, 0, bytes);
	preload_leave(visit);
	if (moved && moved != memory && preload_heap_marked && bytes < 2 * sizeof(word)) /* no more has been written */
		memset((char *)moved + bytes, 0, 2 * sizeof(word) - bytes);
	end_with(moved, was);
	return moved;
}

/* Apart, so that the call comes from the caller. */
static __attribute__((noinline)) void *visit_calloc(size_t bytes)
{
	void *memory = alloc_for((uintptr_t)__builtin_frame_address(0), bytes, HEAP_ALIGN);

	return memory ? memset(memory, 0, bytes) : NULL;
}

/* ---- what magazines serve ---- */

static inline struct slab_hot *hot_for(size_t bytes)
{
	if (__builtin_expect(bytes <= PRELOAD_TABLE_BYTES, 1))
		return preload_front.by_size[(bytes + 15) / 16];
	if (bytes <= GENERAL_HEAP_SMALL_MAX)
		return preload_front.by_kind[1 + general_heap_class(bytes)].hot;
	return NULL;
}

static inline __attribute__((always_inline)) void *take_or(size_t bytes, void *(*visit)(size_t bytes, size_t align))
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
	return visit(bytes, HEAP_ALIGN);
}

static inline __attribute__((always_inline)) void *take(size_t bytes)
{
	return take_or(bytes, visit_alloc);
}

static inline __attribute__((always_inline)) void give(void *memory)
{
	if (__builtin_expect(preload_range_has(memory), 1)) {
		unsigned kind = preload_range_kind(memory);
		struct slab_hot *hot = kind <= GENERAL_HEAP_CLASSES ? preload_front.by_kind[kind].hot : NULL;

		if (__builtin_expect(hot != NULL, 1)) {
			void **top = __atomic_load_n(&hot->top, __ATOMIC_RELAXED);

			if (__builtin_expect(top < __atomic_load_n(&hot->limit, __ATOMIC_RELAXED), 1)) {
				mark_free(memory, preload_front.by_kind[kind].layout);
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

/* Under a visit, as all that may take a lock: a fork between would leave it taken in the child. Some programs ask for
 * each block that they have: what no lock is needed for is answered at once. */
static __attribute__((noinline)) size_t usable(const void *memory)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
	unsigned kind = small_kind(memory);
	struct preload_visit visit;
	size_t bytes;

	if (kind > 0)
		return general_heap_class_bytes(kind - 1);
	if (!preload_heap_ready())
		return 0;
	bytes = preload_modes_known(memory);
	if (bytes)
		return bytes;
	visit = preload_enter();
	preload_stack_called_from(frame);
	bytes = heap_usable(&preload_heap, memory);
	preload_leave(visit);
	return bytes;
}

/* Does it stay where it is? As the heap itself decides, but for what runs of frames count. What is free already, or
 * no block, ends the process. */
static bool stays(void *memory, size_t bytes)
{
	unsigned kind = small_kind(memory);
	struct slab_layout layout;
	size_t has;

	if (kind == 0)
		return false;
	layout = layout_of(kind);
	MM_ASSERT(slab_layout_starts(&layout, (uintptr_t)memory) && *mark_of(memory) != mark_for(memory), memory,
		  bytes);
	if (!preload_front.by_kind[kind].hot)
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

/* ---- C++ ---- */

/* The four that all other operators call, in libstdc++ and by what the standard asks: so that the program's own call is
 * the one that is seen, and whatever of them a program replaces is replaced for all. Where there is no memory the next
 * of that name has the word: it asks malloc again, calls the new handler, and throws. What was refused on purpose is
 * refused again then, uncounted: else it would not be seen. */
#ifdef __SANITIZE_THREAD__
#define OPERATOR(name) "slat" name /* it has its own */
#else
#define OPERATOR(name) name
#endif
#define OPERATOR_NEW		OPERATOR("_Znwm")
#define OPERATOR_NEW_ALIGNED	OPERATOR("_ZnwmSt11align_val_t")
#define OPERATOR_DELETE		OPERATOR("_ZdlPv")
#define OPERATOR_DELETE_ALIGNED OPERATOR("_ZdlPvSt11align_val_t")

EXPORT void *operator_new(size_t bytes) __asm__(OPERATOR_NEW);
EXPORT void *operator_new_aligned(size_t bytes, size_t align) __asm__(OPERATOR_NEW_ALIGNED);
EXPORT void operator_delete(void *ptr) __asm__(OPERATOR_DELETE);
EXPORT void operator_delete_aligned(void *ptr, size_t align) __asm__(OPERATOR_DELETE_ALIGNED);

/* Of a library that was loaded later, and for itself, only its caller knows. */
static void *next_of(const char *name, void *caller)
{
	void *next = dlsym(RTLD_NEXT, name);
	struct link_map *map;
	Dl_info info;

	if (!next && dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP))
		next = dlsym(map, name);
	if (!next)
		abort();
	return next;
}

/* To find it may take memory, too: that is another call. */
static void *next_for(const char *name, void *caller)
{
	bool again = on_purpose;
	void *next = next_of(name, caller);

	refuse_next = again;
	return next;
}

static __attribute__((noinline)) void *visit_new(size_t bytes, size_t align)
{
	void *memory = alloc_for((uintptr_t)__builtin_frame_address(0), bytes, align);

	if (memory)
		return memory;
	memory = ((void *(*)(size_t))next_for(OPERATOR_NEW, __builtin_return_address(0)))(bytes);
	refuse_next = false;
	return memory;
}

static __attribute__((noinline)) void *visit_new_aligned(size_t bytes, size_t align)
{
	void *memory = alloc_for((uintptr_t)__builtin_frame_address(0), bytes, align);

	if (memory)
		return memory;
	memory = ((void *(*)(size_t, size_t))next_for(OPERATOR_NEW_ALIGNED, __builtin_return_address(0)))(bytes, align);
	refuse_next = false;
	return memory;
}

void *operator_new(size_t bytes)
{
	return take_or(bytes, visit_new);
}

void *operator_new_aligned(size_t bytes, size_t align)
{
	return align <= HEAP_ALIGN ? take_or(bytes, visit_new_aligned) : visit_new_aligned(bytes, align);
}

void operator_delete(void *ptr)
{
	give(ptr);
}

void operator_delete_aligned(void *ptr, size_t align)
{
	(void)align;
	give(ptr);
}

/* ---- asking ---- */

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
