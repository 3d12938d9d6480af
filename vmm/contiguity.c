#include "vmm/contiguity.h"

#include <unistd.h>

#include "vmm/pagemap.h"

#define ENTRIES 1024u /* read at once: 4 MiB of memory */

struct scan {
	struct contiguity sum;
	uint64_t counts; /* an entry that has all of these */
	uint64_t run;	 /* frames so far; 0: none */
	uint64_t next;	 /* the frame that continues it */
	bool hidden;	 /* frames are there, and their numbers are not told */
};

static void end_run(struct scan *s)
{
	const uint64_t bytes = s->run * FRAME_BYTES;

	if (!bytes)
		return;
	s->sum.runs++;
	s->sum.bytes += bytes;
	if (bytes > s->sum.largest_bytes)
		s->sum.largest_bytes = bytes;
	s->run = 0;
}

static void add_page(struct scan *s, uint64_t entry)
{
	const uint64_t frame = entry & PAGEMAP_FRAME;

	if ((entry & s->counts) != s->counts) {
		end_run(s);
		return;
	}
	if (frame == 0) /* no RAM that a process has */
		s->hidden = true;
	if (s->run && frame != s->next)
		end_run(s);
	s->run++;
	s->next = frame + 1;
}

struct contiguity contiguity_read(const struct backing *b, uint64_t from, uint64_t bytes, int pagemap)
{
	const uint64_t pages = bytes / FRAME_BYTES;
	uint64_t first = ((uintptr_t)b->host + from) / FRAME_BYTES;
	uint64_t entry[ENTRIES];
	/* Of private memory, what is not ours alone is the page of zeros. */
	struct scan s = {.counts = b->fd >= 0 ? PAGEMAP_PRESENT : PAGEMAP_PRESENT | PAGEMAP_ALONE};

	if (b->kind == BACKING_DEVDAX)
		return (struct contiguity){true, bytes, bytes ? 1 : 0, bytes};
	for (uint64_t left = pages, got; left; left -= got, first += got) {
		const uint64_t ask = left < ENTRIES ? left : ENTRIES;
		const ssize_t size = pread(pagemap, entry, ask * sizeof(*entry), (off_t)(first * sizeof(*entry)));

		if (size < (ssize_t)sizeof(*entry))
			return (struct contiguity){0};
		got = (uint64_t)size / sizeof(*entry);
		for (uint64_t i = 0; i < got; i++)
			add_page(&s, entry[i]);
	}
	end_run(&s);
	if (s.hidden)
		return (struct contiguity){0};
	s.sum.known = true;
	return s.sum;
}
