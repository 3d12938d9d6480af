/* vmm/where.c: on which nodes memory really is.
 *
 * What it is. Two ways to ask the kernel, and one to have it put right. move_pages()
 * without a list of nodes tells each page's node: exact, 0.2 to 0.7 us a page, on demand.
 * numa_maps tells sums of a whole mapping: what is read each second. Neither is what slat
 * believes; both are what the kernel did.
 *
 * numa_maps. A line is one mapping: its first address in hexadecimal, its policy, then
 * words; "N1=512" is 512 pages on node 1, of the size that "kernelpagesize_kB=4" gives at
 * the line's end. (A transparent huge page counts as 512 there; a page of hugetlb as one,
 * of its own size.) "mapmax=2" is there if a page is mapped more than once. Where a mapping ends is not said, so what
 * has a range's first address is the last line that starts at or below it: each such line begins the sum anew. A line
 * that starts above the range's end is the next range's, or the end. All ranges are told
 * by one pass.
 *
 * Cost. The kernel walks every mapping that it tells of, which is what smaps_rollup does,
 * too: 6.8 and 6.4 ms for 512 MiB of 4K pages, and 0.07 and 0.06 of huge ones. It is read in
 * small pieces: where a line does not fit in what is left of the kernel's page, that walk
 * is done twice, and in a small piece there is always room. Reading ends with the last range, so
 * mappings above it cost nothing, and guest memory lies below most (backing.c). A struct where_scan, 8 KiB, is on the
 * stack.
 *
 * Repair goes by pieces of PIECE_BYTES, since the kernel holds off all faults of the
 * process while it migrates. The rule is set on the whole range first, so that no piece
 * becomes a mapping of its own. Where the rule prefers a node, pages move as if they were bound to
 * it: the kernel takes the page that it moves to by the rule, and one that only prefers would
 * have another of the same wrong node. `most` is what keeps that from taking memory away from others: the
 * kernel would drop files, and swap, for who is bound.
 *
 * What cannot be seen: of device-dax no page has a node here, all are absent (the device
 * tells its node in sysfs); a page that is swapped out, or on its way to another node, is
 * absent at that moment.
 *
 * Failure. Nothing is kept between calls. What numa_maps says that is no line as above
 * counts for nothing; numbers beyond reason (2^40 pages) are left out.
 *
 * Rejected. get_mempolicy(MPOL_F_NODE | MPOL_F_ADDR): a call for each page, and it touches
 * the page. smaps for the nodes: it has none. memory.numa_stat of the control group: O(1),
 * and counts whoever else is in the group. Frame numbers of pagemap: root alone sees them. */
#include "vmm/where.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/hostfs.h"
#include "vmm/where_impl.h"

#define BATCH	    2048u /* pages a call: 24 KiB of stack */
#define PIECE_BYTES (UINT64_C(64) << 20)
#define PIECE_TEXT  128u /* a line and a half */
#define PAGES_MAX   (UINT64_C(1) << 40)
#define PAGE_BYTES  4096u

/* ---- page by page ---- */

static void count(struct where *w, const int *status, unsigned pages, uint64_t page_bytes)
{
	for (unsigned i = 0; i < pages; i++)
		if (status[i] >= 0 && status[i] < (int)WHERE_IDS_MAX)
			w->bytes[status[i]] += page_bytes;
		else if (status[i] == -ENOENT || status[i] == -EFAULT)
			w->absent_bytes += page_bytes;
		else
			w->unknown_bytes += page_bytes;
}

int where_pages(void *host, uint64_t bytes, uint64_t page_bytes, struct where *out, struct failure *f)
{
	void *page[BATCH];
	int status[BATCH];
	uint64_t done = 0;

	MM_ASSERT(page_bytes >= PAGE_BYTES && bytes % page_bytes == 0, bytes, page_bytes);
	memset(out, 0, sizeof(*out));
	while (done < bytes) {
		unsigned pages = 0;

		for (; pages < BATCH && done < bytes; done += page_bytes)
			page[pages++] = (uint8_t *)host + done;
		if (syscall(SYS_move_pages, 0, (unsigned long)pages, page, NULL, status, 0) < 0)
			return fail(f, EXIT_HOST, "the kernel does not say on which nodes pages are: %s",
				    errno == ENOSYS ? "it was built without NUMA" : strerror(errno));
		count(out, status, pages, page_bytes);
	}
	return 0;
}

uint64_t where_elsewhere(const struct where *w, const struct ids *nodes)
{
	uint64_t bytes = 0;

	for (unsigned id = 0; id < WHERE_IDS_MAX; id++)
		bytes += ids_has(nodes, id) ? 0 : w->bytes[id];
	return bytes;
}

/* As much of [host, host + *bytes) as has at most `most` elsewhere: *bytes is cut, but not below a page. */
static int cut(const struct numa_rule *rule, void *host, uint64_t *bytes, uint64_t page_bytes, uint64_t most,
	       uint64_t *elsewhere, struct failure *f)
{
	struct where is;

	for (;; *bytes = *bytes / 2 / page_bytes * page_bytes) {
		if (where_pages(host, *bytes, page_bytes, &is, f))
			return f->code;
		*elsewhere = where_elsewhere(&is, &rule->nodes);
		if (*elsewhere <= most || *bytes < 2 * page_bytes)
			return 0;
	}
}

static int move(const struct numa *n, const struct numa_rule *rule, uint8_t *host, uint64_t bytes, uint64_t page_bytes,
		uint64_t most, struct failure *f)
{
	const char *note;
	uint64_t elsewhere = 0;

	for (uint64_t at = 0, piece; at < bytes; at += piece) {
		piece = page_bytes > PIECE_BYTES ? page_bytes : PIECE_BYTES;
		piece = bytes - at < piece ? bytes - at : piece;
		if (cut(rule, host + at, &piece, page_bytes, most, &elsewhere, f))
			return f->code;
		if (elsewhere > most)
			return 0;
		if (elsewhere && numa_rule_set(n, rule, host + at, piece, true, &note, f))
			return f->code;
		most -= elsewhere;
	}
	return 0;
}

int where_repair(const struct numa *n, const struct numa_rule *rule, void *host, uint64_t bytes, uint64_t page_bytes,
		 uint64_t most, struct where *out, struct failure *f)
{
	const struct numa_rule moving = {rule->policy == NUMA_PREFERRED ? NUMA_BIND : rule->policy, rule->nodes};
	struct failure again = {0};
	const char *note;

	if (numa_rule_set(n, &moving, host, bytes, false, &note, f))
		return f->code;
	(void)move(n, &moving, host, bytes, page_bytes, most, f);
	if (moving.policy != rule->policy && numa_rule_set(n, rule, host, bytes, false, &note, &again) && !f->code)
		*f = again;
	return f->code ? f->code : where_pages(host, bytes, page_bytes, out, f);
}

/* ---- numa_maps ---- */

static void line_begin(struct where_scan *s)
{
	if (s->counts)
		memset(s->pages, 0, sizeof(s->pages));
	s->first_word = true;
	s->counts = false;
	s->page_bytes = PAGE_BYTES;
	s->maps_max = 0;
	s->length = 0;
}

static void range_begin(struct where_range *range, bool joined)
{
	memset(range->out, 0, sizeof(*range->out));
	range->maps_max = 0;
	range->joined = joined;
}

void where_scan_begin(struct where_scan *s, struct where_range *range, unsigned ranges)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < ranges; i++)
		range_begin(&range[i], false);
	s->range = range;
	s->ranges = ranges;
	s->over = ranges == 0;
	line_begin(s);
}

static void take_address(struct where_scan *s)
{
	char *end;
	uint64_t address = strtoull(s->word, &end, 16);

	s->first_word = false;
	if (*end || end == s->word)
		return;
	while (s->ranges && address >= (uintptr_t)s->range->host + s->range->bytes) {
		s->range++;
		s->ranges--;
	}
	s->over = s->ranges == 0;
	s->counts = !s->over;
	if (s->counts && address <= (uintptr_t)s->range->host)
		range_begin(s->range, address < (uintptr_t)s->range->host);
}

static void take_word(struct where_scan *s)
{
	static const char size[] = "kernelpagesize_kB=", most[] = "mapmax=";
	uint64_t id, number;
	const char *end;

	if (strncmp(s->word, size, sizeof(size) - 1) == 0) {
		if (hostfs_decimal(s->word + sizeof(size) - 1, &number, NULL) && number < PAGES_MAX)
			s->page_bytes = number * 1024;
	} else if (strncmp(s->word, most, sizeof(most) - 1) == 0) {
		if (hostfs_decimal(s->word + sizeof(most) - 1, &number, NULL))
			s->maps_max = number;
	} else if (s->word[0] == 'N' && hostfs_decimal(s->word + 1, &id, &end) && id < WHERE_IDS_MAX && *end == '=' &&
		   hostfs_decimal(end + 1, &number, NULL) && number < PAGES_MAX) {
		s->pages[id] = number;
	}
}

static void word_end(struct where_scan *s)
{
	bool whole = s->length > 0 && s->length < WHERE_WORD_BYTES;

	s->word[whole ? s->length : 0] = '\0';
	if (whole && s->first_word)
		take_address(s);
	else if (whole && s->counts)
		take_word(s);
	s->length = 0;
}

static void line_end(struct where_scan *s)
{
	for (unsigned id = 0; s->counts && id < WHERE_IDS_MAX; id++)
		s->range->out->bytes[id] += s->pages[id] * s->page_bytes;
	if (s->counts && s->maps_max > s->range->maps_max)
		s->range->maps_max = s->maps_max;
	line_begin(s);
}

bool where_scan_feed(struct where_scan *s, const char *text, size_t length)
{
	for (size_t i = 0; i < length && !s->over; i++)
		if (text[i] == ' ' || text[i] == '\n') {
			word_end(s);
			if (text[i] == '\n')
				line_end(s);
		} else if (s->length < WHERE_WORD_BYTES) {
			s->word[s->length++] = text[i];
		}
	return !s->over;
}

int where_maps_open(void)
{
	return open("/proc/self/numa_maps", O_RDONLY | O_CLOEXEC);
}

static void end_range(const struct where_range *range, bool known)
{
	uint64_t resident = 0;

	if (!known)
		memset(range->out, 0, sizeof(*range->out));
	for (unsigned id = 0; id < WHERE_IDS_MAX; id++)
		resident += range->out->bytes[id];
	range->out->absent_bytes = known && resident < range->bytes ? range->bytes - resident : 0;
}

bool where_resident(int maps, struct where_range *range, unsigned ranges)
{
	struct where_scan scan;
	char text[PIECE_TEXT];
	ssize_t got = -1;

	where_scan_begin(&scan, range, ranges);
	if (maps >= 0 && lseek(maps, 0, SEEK_SET) == 0)
		do
			got = read(maps, text, sizeof(text));
		while ((got > 0 && where_scan_feed(&scan, text, (size_t)got)) || (got < 0 && errno == EINTR));
	for (unsigned i = 0; i < ranges; i++)
		end_range(&range[i], got >= 0);
	return got >= 0;
}
