/* vmm/balloon.c: what a guest's balloon gives back to the host.
 *
 * What it is. The owner's side of devices/virtio_balloon.h: runs of guest-physical
 * addresses in, system calls that discard memory out, and the books of what the guest
 * does without. It decides nothing about how much: that is the schedule's.
 *
 * Words. A page is one of the backing: 4K, or the huge page that the host gives here
 * (hugetlb's own, or 2M where transparent ones are on); it is what the host can take back
 * at a price worth paying. A frame is 4K of it. Gone: given by the guest and not yet
 * taken back. Absent: a page all of whose frames are gone; it was discarded.
 * Held: frames that are gone in pages that are not absent.
 *
 * Shape. One bit a frame of the pool, by its place there, not by its gpa: a page is
 * complete on the host's side, also where the guest's RAM is scattered over the pool by
 * frames. The second-level table keeps its leaves. Taking them out would cut the
 * memslots, and each time stop all vCPUs, for nothing: a gpa whose page is absent has its
 * place still, and a touch brings zeros there. So what is absent is written
 * beside the table, here, and the report shows it.
 *
 * Invariants, verified by balloon_check():
 *   I1 stats.given - stats.taken are the bits that are set, in bytes;
 *   I2 absent are the pages with all bits set, held the other bits, in bytes;
 *   I3 absent_max bounds absent; what went back is at least what is absent and was not
 *      refused;
 *   I4 no bit is set beyond the pool.
 * And by construction:
 *   I5 only frames that the table maps writable for the guest, at that moment, are
 *      discarded: a ROM, a guard or another guest's block is no RAM here.
 *
 * Too small to help. Half a huge page cannot go back. On hugetlb the kernel refuses or,
 * worse, rounds; a transparent one would be split and kept until memory runs out, and the
 * guest would pay for the rest of it with 4K translations. So frames are held until
 * the page is complete, and go then; a request from which nothing can go is counted. Free
 * pages that are reported are not held: the guest may use them the next moment, so the
 * whole pages in a report go and its ends do not.
 *
 * How it goes back. One system call for each run of pages, as long as the request
 * makes it: 256 MiB in calls of 4K take five times as long as in calls of 2M.
 * Anonymous memory by MADV_DONTNEED, a memfd by a hole in the file, since the file's page
 * would stay behind. A hugetlb page that went back is anybody's: if it is gone
 * when the guest wants it again, the guest's touch fails, and with it the run.
 *
 * DMA. A device may be using a page that the guest gives away. What it reads or writes
 * then is the old page or the new one, by chance; both are only ever this guest's:
 * a page that is pinned in the kernel is freed when it is unpinned, and every other
 * access goes by the mapping. So there is nothing to wait for.
 *
 * Cost. A walk of the table for each run of frames on the host, a few words of bits for
 * each page touched (4096 of them for 1G pages), the system calls. Memory: a bit a frame,
 * 32 KiB a GiB, taken as it is touched.
 *
 * Failure. What the host refuses to take is counted and stays where it is; the guest does
 * not notice. */
#include "vmm/balloon.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/loop.h"
#include "vmm/size.h"

#define FRAMES_A_WORD 64u

int balloon_open(struct balloon *b, const struct ram *ram, struct pagetable_reader *reader,
		 const struct backing *backing, struct failure *f)
{
	const uint64_t frames = ram->host_bytes / FRAME_BYTES;
	const uint64_t bytes = (frames + FRAMES_A_WORD - 1) / FRAMES_A_WORD * sizeof(uint64_t);
	void *gone = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*b = (struct balloon){
		.ram = ram, .reader = reader, .backing = backing, .page = pagetable_size_bytes(backing->leaf)};
	if (gone == MAP_FAILED)
		return fail(f, EXIT_HOST, "--balloon: the host has no %s for its books: %s", size_format(bytes).s,
			    strerror(errno));
	b->gone = gone;
	b->gone_bytes = bytes;
	b->gone_frames = frames;
	return 0;
}

void balloon_close(struct balloon *b)
{
	if (b->gone)
		munmap(b->gone, b->gone_bytes);
	b->gone = NULL;
}

struct balloon_stats balloon_stats_read(const struct balloon *b)
{
	return b->stats;
}

/* ---- bits ---- */

struct frames { /* [first, end) of the pool */
	uint64_t first, end;
};

static uint64_t mask_in_word(struct frames r, uint64_t word)
{
	const uint64_t first = word * FRAMES_A_WORD;
	uint64_t mask = UINT64_MAX;

	if (r.first > first)
		mask <<= r.first - first;
	if (r.end - first < FRAMES_A_WORD)
		mask &= (UINT64_C(1) << (r.end - first)) - 1;
	return mask;
}

/* Makes all of them gone, or there; how many that changed. Not empty. */
static uint64_t frames_set(struct balloon *b, struct frames r, bool gone)
{
	uint64_t changed = 0;

	for (uint64_t word = r.first / FRAMES_A_WORD; word <= (r.end - 1) / FRAMES_A_WORD; word++) {
		const uint64_t mask = mask_in_word(r, word), was = b->gone[word];

		b->gone[word] = gone ? was | mask : was & ~mask;
		changed += (unsigned)__builtin_popcountll(was ^ b->gone[word]);
	}
	return changed;
}

/* A page that the pool ends in is never whole. */
static bool frames_gone(const struct balloon *b, struct frames r)
{
	if (r.end > b->gone_frames)
		return false;
	for (uint64_t word = r.first / FRAMES_A_WORD; word <= (r.end - 1) / FRAMES_A_WORD; word++) {
		if (mask_in_word(r, word) & ~b->gone[word])
			return false;
	}
	return true;
}

/* The frames of the page that holds this one. */
static struct frames page_of(const struct balloon *b, uint64_t frame)
{
	const uint64_t frames = b->page / FRAME_BYTES, first = frame / frames * frames;

	return (struct frames){first, first + frames};
}

static struct frames both(struct frames a, struct frames b)
{
	return (struct frames){a.first > b.first ? a.first : b.first, a.end < b.end ? a.end : b.end};
}

/* ---- back to the host ---- */

static bool host_takes(const struct balloon *b, uint64_t offset, uint64_t bytes)
{
	int error;

	if (b->backing->fd < 0)
		return madvise(b->ram->host + offset, bytes, MADV_DONTNEED) == 0;
	do {
		error = fallocate(b->backing->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)(b->ram->host - b->backing->host + (ptrdiff_t)offset), (off_t)bytes);
	} while (error != 0 && errno == EINTR);
	return error == 0;
}

/* Whole pages, or none: how many bytes went. */
static uint64_t discard(struct balloon *b, struct frames r)
{
	const uint64_t bytes = (r.end - r.first) * FRAME_BYTES;

	if (bytes == 0)
		return 0;
	b->stats.runs++;
	if (!host_takes(b, r.first * FRAME_BYTES, bytes)) {
		b->stats.refused += bytes;
		return 0;
	}
	b->stats.returned += bytes;
	return bytes;
}

/* ---- guest memory, piece by piece ---- */

/* As vmm/ram.h wants it of a thread that is no vCPU's. */
static const uint8_t *span_of(const struct balloon *b, uint64_t gpa, uint64_t *bytes)
{
	const uint8_t *host;

	if (b->reader)
		pagetable_enter(b->ram->table, b->reader);
	host = ram_span(b->ram, gpa, bytes, PAGETABLE_READ | PAGETABLE_WRITE);
	if (b->reader)
		pagetable_leave(b->reader);
	return host;
}

/* The next frames of [*gpa, *gpa + *bytes) that are contiguous in the pool, cut off its front together with what is no
 * RAM before them. */
static bool next_frames(struct balloon *b, uint64_t *gpa, uint64_t *bytes, struct frames *out)
{
	while (*bytes) {
		uint64_t span = *bytes;
		const uint8_t *host = span_of(b, *gpa, &span);

		if (!host) {
			span = FRAME_BYTES;
			b->stats.strays += span;
		}
		*gpa += span;
		*bytes -= span;
		if (host) {
			out->first = (uint64_t)(host - b->ram->host) / FRAME_BYTES;
			out->end = out->first + span / FRAME_BYTES;
			return true;
		}
	}
	return false;
}

struct pending { /* pages to be discarded in one go */
	struct frames run;
	uint64_t returned;
};

static void add_page(struct balloon *b, struct pending *p, struct frames page)
{
	if (page.first != p->run.end) {
		p->returned += discard(b, p->run);
		p->run.first = page.first;
	}
	p->run.end = page.end;
}

static void give_frames(struct balloon *b, struct frames r, struct pending *p)
{
	for (uint64_t at = r.first; at < r.end;) {
		const struct frames page = page_of(b, at);
		const uint64_t changed = frames_set(b, both(page, r), true);

		at = page.end;
		b->stats.given += changed * FRAME_BYTES;
		b->stats.held += changed * FRAME_BYTES;
		if (!changed || !frames_gone(b, page))
			continue;
		b->stats.held -= b->page;
		b->stats.absent += b->page;
		add_page(b, p, page);
	}
}

static uint64_t give(void *owner, uint64_t gpa, uint64_t bytes)
{
	struct pending pending = {{0, 0}, 0};
	struct balloon *b = owner;
	struct frames r;

	while (next_frames(b, &gpa, &bytes, &r))
		give_frames(b, r, &pending);
	if (pending.run.first == pending.run.end)
		b->stats.small++;
	pending.returned += discard(b, pending.run);
	if (b->stats.absent > b->stats.absent_max)
		b->stats.absent_max = b->stats.absent;
	return pending.returned;
}

static void take_frames(struct balloon *b, struct frames r)
{
	for (uint64_t at = r.first; at < r.end;) {
		const struct frames page = page_of(b, at);
		const bool absent = frames_gone(b, page);
		const uint64_t changed = frames_set(b, both(page, r), false);

		at = page.end;
		if (absent) {
			b->stats.absent -= b->page;
			b->stats.held += b->page;
		}
		b->stats.taken += changed * FRAME_BYTES;
		b->stats.held -= changed * FRAME_BYTES;
	}
}

static void take(void *owner, uint64_t gpa, uint64_t bytes)
{
	struct balloon *b = owner;
	struct frames r;

	while (next_frames(b, &gpa, &bytes, &r))
		take_frames(b, r);
}

static uint64_t report(void *owner, uint64_t gpa, uint64_t bytes)
{
	uint64_t returned = 0, pages = 0;
	struct balloon *b = owner;
	struct frames r;

	while (next_frames(b, &gpa, &bytes, &r)) {
		const struct frames head = page_of(b, r.first), tail = page_of(b, r.end);
		const struct frames whole = {r.first == head.first ? head.first : head.end, tail.first};

		b->stats.reported += (r.end - r.first) * FRAME_BYTES;
		if (whole.first >= whole.end)
			continue;
		pages++;
		returned += discard(b, whole);
	}
	b->stats.small += pages == 0;
	return returned;
}

static void reset(void *owner)
{
	struct balloon *b = owner;

	if (b->stats.given != b->stats.taken)
		memset(b->gone, 0, b->gone_bytes);
	b->stats.taken = b->stats.given;
	b->stats.absent = b->stats.held = 0;
}

static void keep_statistics(void *owner, const uint64_t value[VIRTIO_BALLOON_S_TAGS])
{
	struct balloon *b = owner;

	b->has_statistics = true;
	memcpy(b->statistics, value, sizeof(b->statistics));
}

const struct balloon_ops balloon_ops = {
	.give = give,
	.take = take,
	.report = report,
	.reset = reset,
	.statistics = keep_statistics,
};

bool balloon_check(const struct balloon *b)
{
	const struct balloon_stats *s = &b->stats;
	uint64_t gone = 0, absent = 0;

	for (uint64_t word = 0; word < b->gone_bytes / sizeof(uint64_t); word++)
		gone += (unsigned)__builtin_popcountll(b->gone[word]);
	for (uint64_t at = 0; at + b->page / FRAME_BYTES <= b->gone_frames; at += b->page / FRAME_BYTES)
		absent += frames_gone(b, page_of(b, at));
	if (b->gone_frames % FRAMES_A_WORD && b->gone[b->gone_frames / FRAMES_A_WORD] >> b->gone_frames % FRAMES_A_WORD)
		return false;
	return s->given - s->taken == gone * FRAME_BYTES && s->absent == absent * b->page &&
	       s->held == gone * FRAME_BYTES - s->absent && s->absent <= s->absent_max &&
	       s->returned + s->refused >= s->absent;
}

/* ---- when ---- */

int balloon_schedule_check(const struct balloon_schedule *s, uint64_t ram_bytes, const struct backing *backing,
			   struct failure *f)
{
	const uint64_t page = pagetable_size_bytes(backing->leaf);

	for (unsigned i = 0; i < s->steps; i++) {
		const struct balloon_step *step = &s->step[i];

		if (i ? step->at_ns <= step[-1].at_ns : step->at_ns != 0)
			return fail(f, EXIT_USAGE,
				    "--balloon size=SIZE@SECONDS: each time must be later than the one before it");
		if (step->bytes > ram_bytes)
			return fail(f, EXIT_USAGE, "--balloon asks for %s of a guest that has %s of RAM",
				    size_format(step->bytes).s, size_format(ram_bytes).s);
		if (step->bytes && step->bytes < page)
			return fail(f, EXIT_USAGE,
				    "--balloon asks for %s, which is too small to help: the guest's memory goes back "
				    "to the host in pages of %s%s",
				    size_format(step->bytes).s, size_format(page).s,
				    backing->kind == BACKING_HUGETLB ? "" : "; ask for more, or use --memory thp=off");
	}
	return 0;
}

void balloon_timer_init(struct balloon_timer *t, const struct balloon_schedule *schedule, uint64_t start_ns)
{
	*t = (struct balloon_timer){.schedule = schedule, .start_ns = start_ns, .ask_ns = LOOP_NEVER};
	if (schedule->statistics_ns)
		t->ask_ns = start_ns + schedule->statistics_ns;
}

uint64_t balloon_timer_run(struct balloon_timer *t, struct virtio_balloon *device, uint64_t now_ns)
{
	const struct balloon_schedule *s = t->schedule;
	uint64_t due;

	while (t->next < s->steps && t->start_ns + s->step[t->next].at_ns <= now_ns)
		virtio_balloon_set_target(device, s->step[t->next++].bytes);
	if (t->ask_ns <= now_ns) {
		(void)virtio_balloon_ask_statistics(device); /* a guest that has not answered yet is asked later */
		t->ask_ns = now_ns + s->statistics_ns;
	}
	due = t->next < s->steps ? t->start_ns + s->step[t->next].at_ns : LOOP_NEVER;
	return due < t->ask_ns ? due : t->ask_ns;
}
