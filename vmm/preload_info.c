/* vmm/preload_info.c: what libc's heap says of itself, and lets itself be told, said of this one.
 *
 * What it is. mallinfo() and its kin with those of their fields that mean something here:
 *   arena     held for blocks from size classes and runs: given, free and overhead
 *   hblks     blocks that are mappings of their own, and hblkhd their bytes
 *   uordblks  given, of the arena; fordblks: the rest of it
 *   keepcost  0, as all others: what could go back is not known without asking for it
 * An int of mallinfo() that would overflow is INT_MAX, which nobody takes for an exact number, where
 * libc's wraps.
 *
 * mallopt() knows the parameters of libc's heap and does nothing for them: they tell it where to
 * take memory and when to give it back, which this heap decides by other figures; a program that runs
 * well without loses nothing. So they are accepted, and any other number is refused. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/preload_direct.h"
#include "vmm/preload_heap.h"
#include "vmm/preload_modes.h"
#include "vmm/preload_slot.h"

#define EXPORT __attribute__((visibility("default")))

struct figures {
	struct heap_stats all;
	struct preload_direct_stats direct;
	uint64_t arena, used; /* of the arena, which is all but direct */
};

static struct figures figures_read(void)
{
	struct figures f = {0};
	struct preload_visit visit;
	uint64_t given;

	if (!preload_heap_ready())
		return f;
	visit = preload_enter();
	f.all = heap_stats_read(&preload_heap);
	f.direct = preload_direct_stats_read();
	preload_leave(visit);
	/* Read while others work, they need not belong together. */
	f.arena = f.all.bytes_held > f.direct.bytes ? f.all.bytes_held - f.direct.bytes : 0;
	given = f.all.bytes_given > f.direct.bytes ? f.all.bytes_given - f.direct.bytes : 0;
	f.used = given < f.arena ? given : f.arena;
	return f;
}

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct figures f = figures_read();

	return (struct mallinfo2){.arena = f.arena,
				  .hblks = f.direct.blocks,
				  .hblkhd = f.direct.bytes,
				  .uordblks = f.used,
				  .fordblks = f.arena - f.used};
}

static int clamp(uint64_t n)
{
	return n < INT_MAX ? (int)n : INT_MAX;
}

EXPORT struct mallinfo mallinfo(void)
{
	struct figures f = figures_read();

	return (struct mallinfo){.arena = clamp(f.arena),
				 .hblks = clamp(f.direct.blocks),
				 .hblkhd = clamp(f.direct.bytes),
				 .uordblks = clamp(f.used),
				 .fordblks = clamp(f.arena - f.used)};
}

/* libc's elements, as far as they mean something; one heap, since all threads share what is below magazines. The
 * stream may ask for memory, so nobody is inside the heap meanwhile. */
EXPORT int malloc_info(int options, FILE *fp)
{
	struct figures f = figures_read();
	int written;

	if (options != 0) {
		errno = EINVAL;
		return -1;
	}
	written = fprintf(fp,
			  "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n"
			  "<system type=\"current\" size=\"%llu\"/>\n</heap>\n"
			  "<total type=\"rest\" count=\"0\" size=\"%llu\"/>\n"
			  "<total type=\"mmap\" count=\"%llu\" size=\"%llu\"/>\n"
			  "<system type=\"current\" size=\"%llu\"/>\n</malloc>\n",
			  (unsigned long long)f.arena, (unsigned long long)(f.arena - f.used),
			  (unsigned long long)f.direct.blocks, (unsigned long long)f.direct.bytes,
			  (unsigned long long)(f.arena + f.direct.bytes));
	return written < 0 ? -1 : 0;
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

EXPORT int mallopt(int param, int val)
{
	(void)val;
	switch (param) {
	case M_MXFAST:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_PERTURB:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return 1;
	default:
		return 0;
	}
}
