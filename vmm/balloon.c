/* vmm/balloon.c: what a guest's balloon gives back to the host.
 *
 * What it is. The owner's side of devices/virtio_balloon.h: runs of guest-physical
 * addresses in, system calls that discard memory out, and the books of what the guest
 * does without. It decides nothing about how much: that is the schedule's.
 *
 * Words. A part is what one backing holds: all RAM, or a zone. A page is one of its
 * backing: 4K, or the huge page that the host gives there (hugetlb's own, or 2M where
 * transparent ones are on); it is what the host can take back at a price worth paying. A
 * frame is 4K of it. Gone: given by the guest and not yet taken back. Absent: a page all of
 * whose frames are gone; it was discarded. Held: frames that are gone in pages that are not
 * absent.
 *
 * Shape. One bit a frame of each part, by its place there, not by its gpa: a page is
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
 *   I4 no bit is set beyond a part.
 * And by construction:
 *   I5 only frames that the table maps writable for the guest, at that moment, are
 *      discarded: a ROM, a guard or another guest's block is no RAM here;
 *   I6 no call goes over the border of two parts, where they are neighbours on the host, too.
 *
 * Too small to help. Half a huge page cannot go back. On hugetlb the kernel refuses or,
 * worse, rounds; a transparent one would be split and kept until memory runs out, and the
 * guest would pay for the rest of it with 4K translations. So frames are held until
 * the page is complete, and go then; a request from which nothing can go is counted. Free
 * pages that are reported are not held: the guest may use them the next moment, so the
 * whole pages in a report go and its ends do not. Each part goes by its own page: beside a zone
 * of huge pages one of small ones gives frame by frame.
 *
 * How it goes back. One system call for each run of pages, as long as the request
 * makes it: 256 MiB in calls of 4K take five times as long as in calls of 2M.
 * Anonymous memory by MADV_DONTNEED, or, where it is locked, MADV_DONTNEED_LOCKED: the other
 * is refused there. It is locked again when it is touched again, since the mapping is. A memfd
 * by a hole in the file, since the file's page would stay behind. Locked or private huge
 * pages go from Linux 5.18 on, which is asked for at the start. A hugetlb page that
 * went back is anybody's: if it is gone when the guest wants it again, the guest's touch fails,
 * and with it the run. Device-dax is refused: its pages are nobody's else, and the kernel has
 * no call that would empty one.
 *
 * Where it comes again. The rule of a zone (bind, prefer, interleave) is the mapping's, of a
 * memfd the file's too, and neither goes with the pages: what is touched again lies by it.
 *
 * DMA. A device may be using a page that the guest gives away. What it reads or writes
 * then is the old page or the new one, by chance; both are only ever this guest's:
 * a page that is pinned in the kernel is freed when it is unpinned, and every other
 * access goes by the mapping. So there is nothing to wait for.
 *
 * Cost. A walk of the table for each run of frames on the host, a look at each part (16 at
 * most), a few words of bits for each page touched (4096 of them for 1G pages), the system
 * calls. Memory: a bit a frame, 32 KiB a GiB, taken as it is touched.
 *
 * Failure. What the host refuses to take is counted and stays where it is; the guest does
 * not notice.
 *
 * Rejected. One row of bits for all that the mirror of several pools spans: 2 GiB of addresses, and
 * each reset would go through what was touched of them. */
#include "vmm/balloon.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/port.h"
#include "vmm/loop.h"
#include "vmm/size.h"

#define FRAMES_A_WORD 64u
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* ---- parts ---- */

static uint64_t words_of(const struct backing *backing)
{
	return (backing->bytes / FRAME_BYTES + FRAMES_A_WORD - 1) / FRAMES_A_WORD;
}

static const char *name_of(const struct backing *backing, const char *otherwise)
{
	return backing->zone ? backing->zone : otherwise;
}

/* Of nothing at all: the kernel judges the advice alone. Both that are asked for came with it, in 5.18. */
static bool takes_locked(void)
{
	return madvise(NULL, 0, MADV_DONTNEED_LOCKED) == 0;
}

/* Whether anything of it can go back. */
static int judge_backing(const struct backing *backing, struct failure *f)
{
	const bool private = backing->fd < 0;

	if (backing->kind == BACKING_DEVDAX)
		return fail(f, EXIT_USAGE,
			    "--balloon: %s is a device-dax: its memory is set aside for this guest, and the host has "
			    "no use for what would come back; take another backing, or no --balloon",
			    name_of(backing, "--memory"));
	if (private && backing->kind == BACKING_HUGETLB && !takes_locked())
		return fail(f, EXIT_HOST,
			    "--balloon: %s: this kernel takes no private huge pages back, Linux 5.18 does; take "
			    "shared=on, or other pages",
			    name_of(backing, "--memory hugepages=on"));
	if (private && backing->locked && !takes_locked())
		return fail(f, EXIT_HOST,
			    "--balloon: %s: this kernel takes no locked pages back, Linux 5.18 does; leave mlock off",
			    name_of(backing, "--memory mlock=on"));
	return 0;
}

int balloon_open(struct balloon *b, const struct ram *ram, struct pagetable_reader *reader,
		 const struct backing *const *backing, unsigned backings, struct failure *f)
{
	uint64_t words = 0;
	void *books;

	MM_ASSERT(backings > 0 && backings <= BALLOON_PARTS_MAX, backings, 0);
	*b = (struct balloon){.ram = ram, .reader = reader};
	for (unsigned i = 0; i < backings; i++) {
		if (judge_backing(backing[i], f))
			return f->code;
		words += words_of(backing[i]);
	}
	b->books_bytes = words * sizeof(uint64_t);
	books = mmap(NULL, b->books_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (books == MAP_FAILED)
		return fail(f, EXIT_HOST, "--balloon: the host has no %s for its books: %s",
			    size_format(b->books_bytes).s, strerror(errno));
	b->books = books;
	for (words = 0; b->parts < backings; words += words_of(backing[b->parts++]))
		b->part[b->parts] = (struct balloon_part){
			.backing = backing[b->parts],
			.page = pagetable_size_bytes(backing[b->parts]->leaf),
			.frames = backing[b->parts]->bytes / FRAME_BYTES,
			.gone = (uint64_t *)books + words,
		};
	return 0;
}

void balloon_close(struct balloon *b)
{
	if (b->books)
		munmap(b->books, b->books_bytes);
	b->books = NULL;
}

/* Where the table leads is in some part. */
static const struct balloon_part *part_of(const struct balloon *b, const uint8_t *host)
{
	for (unsigned i = 0; i < b->parts; i++) {
		const struct backing *backing = b->part[i].backing;

		if (host >= backing->host && (uint64_t)(host - backing->host) < backing->bytes)
			return &b->part[i];
	}
	MM_ASSERT(false, (uintptr_t)host, b->parts);
	return NULL;
}

struct balloon_stats balloon_stats_read(const struct balloon *b)
{
	return b->stats;
}

/* ---- bits ---- */

struct frames { /* [first, end) of a part */
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
static uint64_t frames_set(const struct balloon_part *p, struct frames r, bool gone)
{
	uint64_t changed = 0;

	for (uint64_t word = r.first / FRAMES_A_WORD; word <= (r.end - 1) / FRAMES_A_WORD; word++) {
		const uint64_t mask = mask_in_word(r, word), was = p->gone[word];

		p->gone[word] = gone ? was | mask : was & ~mask;
		changed += (unsigned)__builtin_popcountll(was ^ p->gone[word]);
	}
	return changed;
}

/* A page that the part ends in is never whole. */
static bool frames_gone(const struct balloon_part *p, struct frames r)
{
	if (r.end > p->frames)
		return false;
	for (uint64_t word = r.first / FRAMES_A_WORD; word <= (r.end - 1) / FRAMES_A_WORD; word++) {
		if (mask_in_word(r, word) & ~p->gone[word])
			return false;
	}
	return true;
}

/* The frames of the page that holds this one. */
static struct frames page_of(const struct balloon_part *p, uint64_t frame)
{
	const uint64_t frames = p->page / FRAME_BYTES, first = frame / frames * frames;

	return (struct frames){first, first + frames};
}

static struct frames both(struct frames a, struct frames b)
{
	return (struct frames){a.first > b.first ? a.first : b.first, a.end < b.end ? a.end : b.end};
}

/* ---- back to the host ---- */

static bool host_takes(const struct backing *backing, uint64_t offset, uint64_t bytes)
{
	int error;

	if (backing->fd < 0)
		return madvise(backing->host + offset, bytes, backing->locked ? MADV_DONTNEED_LOCKED : MADV_DONTNEED) ==
		       0;
	do {
		error = fallocate(backing->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
	} while (error != 0 && errno == EINTR);
	return error == 0;
}

/* Whole pages, or none: how many bytes went. */
static uint64_t discard(struct balloon *b, const struct balloon_part *p, struct frames r)
{
	const uint64_t bytes = (r.end - r.first) * FRAME_BYTES;

	if (bytes == 0)
		return 0;
	b->stats.runs++;
	if (!host_takes(p->backing, r.first * FRAME_BYTES, bytes)) {
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

/* The next frames of [*gpa, *gpa + *bytes) that are contiguous in a part, cut off its front together with what is no
 * RAM before them; NULL: there are none. */
static const struct balloon_part *next_frames(struct balloon *b, uint64_t *gpa, uint64_t *bytes, struct frames *out)
{
	while (*bytes) {
		uint64_t span = *bytes, first;
		const uint8_t *host = span_of(b, *gpa, &span);
		const struct balloon_part *p = NULL;

		if (host) {
			p = part_of(b, host);
			first = (uint64_t)(host - p->backing->host);
			if (span > p->backing->bytes - first)
				span = p->backing->bytes - first; /* I6 */
			*out = (struct frames){first / FRAME_BYTES, (first + span) / FRAME_BYTES};
		} else {
			span = FRAME_BYTES;
			b->stats.strays += span;
		}
		*gpa += span;
		*bytes -= span;
		if (p)
			return p;
	}
	return NULL;
}

struct pending { /* pages to be discarded in one go */
	const struct balloon_part *part;
	struct frames run;
	uint64_t returned;
};

static void add_page(struct balloon *b, struct pending *pending, const struct balloon_part *p, struct frames page)
{
	if (p != pending->part || page.first != pending->run.end) {
		pending->returned += discard(b, pending->part, pending->run);
		pending->part = p;
		pending->run.first = page.first;
	}
	pending->run.end = page.end;
}

static void give_frames(struct balloon *b, const struct balloon_part *p, struct frames r, struct pending *pending)
{
	for (uint64_t at = r.first; at < r.end;) {
		const struct frames page = page_of(p, at);
		const uint64_t changed = frames_set(p, both(page, r), true);

		at = page.end;
		b->stats.given += changed * FRAME_BYTES;
		b->stats.held += changed * FRAME_BYTES;
		if (!changed || !frames_gone(p, page))
			continue;
		b->stats.held -= p->page;
		b->stats.absent += p->page;
		add_page(b, pending, p, page);
	}
}

static uint64_t give(void *owner, uint64_t gpa, uint64_t bytes)
{
	struct pending pending = {NULL, {0, 0}, 0};
	const struct balloon_part *p;
	struct balloon *b = owner;
	struct frames r;

	while ((p = next_frames(b, &gpa, &bytes, &r)))
		give_frames(b, p, r, &pending);
	if (!pending.part)
		b->stats.small++;
	pending.returned += discard(b, pending.part, pending.run);
	if (b->stats.absent > b->stats.absent_max)
		b->stats.absent_max = b->stats.absent;
	return pending.returned;
}

static void take_frames(struct balloon *b, const struct balloon_part *p, struct frames r)
{
	for (uint64_t at = r.first; at < r.end;) {
		const struct frames page = page_of(p, at);
		const bool absent = frames_gone(p, page);
		const uint64_t changed = frames_set(p, both(page, r), false);

		at = page.end;
		if (absent) {
			b->stats.absent -= p->page;
			b->stats.held += p->page;
		}
		b->stats.taken += changed * FRAME_BYTES;
		b->stats.held -= changed * FRAME_BYTES;
	}
}

static void take(void *owner, uint64_t gpa, uint64_t bytes)
{
	const struct balloon_part *p;
	struct balloon *b = owner;
	struct frames r;

	while ((p = next_frames(b, &gpa, &bytes, &r)))
		take_frames(b, p, r);
}

static uint64_t report(void *owner, uint64_t gpa, uint64_t bytes)
{
	uint64_t returned = 0, pages = 0;
	const struct balloon_part *p;
	struct balloon *b = owner;
	struct frames r;

	while ((p = next_frames(b, &gpa, &bytes, &r))) {
		const struct frames head = page_of(p, r.first), tail = page_of(p, r.end);
		const struct frames whole = {r.first == head.first ? head.first : head.end, tail.first};

		b->stats.reported += (r.end - r.first) * FRAME_BYTES;
		if (whole.first >= whole.end)
			continue;
		pages++;
		returned += discard(b, p, whole);
	}
	b->stats.small += pages == 0;
	return returned;
}

static void reset(void *owner)
{
	struct balloon *b = owner;

	if (b->stats.given != b->stats.taken)
		memset(b->books, 0, b->books_bytes);
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

/* The bits that are set, and the pages, in bytes; false: one is beyond the part. */
static bool part_count(const struct balloon_part *p, uint64_t *gone, uint64_t *absent)
{
	const uint64_t words = (p->frames + FRAMES_A_WORD - 1) / FRAMES_A_WORD,
		       pages = p->frames * FRAME_BYTES / p->page;

	for (uint64_t word = 0; word < words; word++)
		*gone += (unsigned)__builtin_popcountll(p->gone[word]) * FRAME_BYTES;
	for (uint64_t i = 0; i < pages; i++)
		*absent += frames_gone(p, page_of(p, i * (p->page / FRAME_BYTES))) ? p->page : 0;
	return p->frames % FRAMES_A_WORD == 0 || p->gone[words - 1] >> p->frames % FRAMES_A_WORD == 0;
}

bool balloon_check(const struct balloon *b)
{
	const struct balloon_stats *s = &b->stats;
	uint64_t gone = 0, absent = 0;

	for (unsigned i = 0; i < b->parts; i++)
		if (!part_count(&b->part[i], &gone, &absent))
			return false;
	return s->given - s->taken == gone && s->absent == absent && s->held == gone - s->absent &&
	       s->absent <= s->absent_max && s->returned + s->refused >= s->absent;
}

/* ---- when ---- */

/* That with the smallest page. */
static const struct backing *finest(const struct backing *const *backing, unsigned backings)
{
	const struct backing *best = backing[0];

	for (unsigned i = 1; i < backings; i++)
		if (backing[i]->leaf < best->leaf)
			best = backing[i];
	return best;
}

int balloon_schedule_check(const struct balloon_schedule *s, uint64_t ram_bytes, const struct backing *const *backing,
			   unsigned backings, struct failure *f)
{
	const struct backing *fine = finest(backing, backings);
	const uint64_t page = pagetable_size_bytes(fine->leaf);

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
				    fine->kind == BACKING_HUGETLB ? "" : "; ask for more, or use --memory thp=off");
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
