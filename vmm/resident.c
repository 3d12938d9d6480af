/* vmm/resident.c
 *
 * What it is. How much memory there is, told by the kernel and not by slat's own books:
 * a guest's RAM is configured whole, and becomes resident as it is touched; a balloon
 * makes less of it, a huge page more. Each figure is asked where it is cheapest:
 *
 *   what              where                            cost, of one read of smaps_rollup
 *   resident, huge    pagemap's scan (Linux 6.16):     0.18 (4K pages), 0.45 (huge ones)
 *                     page tables alone are walked
 *   huge alone        the same, of huge ones (6.7):    0.03, 0.45
 *   resident, nodes,  numa_maps (where.c): walks the   1, a little more or less
 *   if any is shared  pages, too
 *   resident, huge,   smaps: the same                  1
 *   what is shared
 *   high-water        VmHWM of status                  10 us
 *
 * What looks at a page's own books waits for memory, a page at a time, and is to be done
 * once. On a host of one node nobody need ask which it is, and the scan will do for
 * private memory: that is nobody else's, as slat makes no child that keeps it, and nothing
 * merges its pages unless it was started so (KSM, as PR_GET_MEMORY_MERGE tells). On several,
 * numa_maps has the sums by node, which together are what is resident, and says if any page
 * is mapped more than once; the scan adds what is huge. smaps is read of memory that
 * another process may map (memfd) on one node, and on several where one does, or where it has huge pages, of
 * which numa_maps looks at the first 4K alone; and where the kernel is too old for the scan (from 6.7 to
 * 6.15 it took the huge page of zeros for memory, and memfd has none).
 *
 *   R1  nothing counts that a process does not pay for: not the page of zeros, nor what is
 *       swapped out.
 *   R2  resident >= huge, resident >= shared. Where numa_maps tells what is resident, its sums by node are
 *       that; else they are of another moment, and of a guest that runs they may differ.
 *   R3  what cannot be known is not told: known, where_known, high_known.
 *
 * Device-dax is resident as a whole (it was wiped), on the node that sysfs has for the
 * device, and shared with nobody (backing.c, B2): the kernel counts its pages nowhere, or,
 * since 6.15, as files. VmHWM leaves out hugetlb, and devices that are counted nowhere; of
 * those the most that a call saw is added. It has the process's own memory in it (some
 * MiB), which no figure of the kernel's tells apart from the guest's at its high water.
 *
 * A host of one node is one whose has_memory, read anew each time, is one number: memory
 * that is plugged in later is a node more.
 *
 * Cost. The dearest is huge pages on several nodes: which node a page is on only numa_maps and move_pages() say, and
 * neither says whether it is huge, so two walks are needed: numa_maps as far as the guest's memory, 60 us for 1 GiB,
 * and the scan, 42, where smaps_rollup, which has no nodes, is 97, 24 to 35 of them for the process's other mappings.
 * It stays below 1.2 of that, as the guest's memory is the first that numa_maps tells (backing.c). (move_pages() of
 * each 2M is 78, smaps 63.) tests/bench/resident.c has these two walks as its floor. Memory that another process maps,
 * on several nodes: 2.
 *
 * For each backing 8 KiB are cleared and summed up (its sums by node), 0.3 us. smaps is
 * read in small pieces for the reason that where.c gives, and not beyond the last mapping that counts.
 *
 * Rejected. smaps for all: twice the cost where nodes are asked for. The control group's
 * figures: O(1), and of all who are in it. pagemap's entries for what is shared: 8 bytes a
 * page are copied, and its page is looked at. getrusage() for the high water: it has that
 * of the program that started slat, if it was larger. */
#include "vmm/resident.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/pagemap.h"
#include "vmm/resident_impl.h"

#ifndef PR_GET_MEMORY_MERGE
#define PR_GET_MEMORY_MERGE 68
#endif

#define RUNS 128u /* of a scan at a time: 3 KiB of stack */

struct part {
	const struct backing *backing;
	struct resident_use *use;
	bool by_maps, by_smaps;
	uint64_t counted; /* by_smaps: of it, in what VmHWM is the most of */
};

/* ---- pagemap's scan ---- */

/* Of pages that are of all these kinds, and not the page of zeros. */
static bool scan(int pagemap, const struct backing *b, uint64_t kinds, uint64_t *bytes, uint64_t *huge)
{
	struct pagemap_run run[RUNS];
	struct pagemap_scan ask = {
		.size = sizeof(ask),
		.from = (uintptr_t)b->host,
		.to = (uintptr_t)b->host + b->bytes,
		.runs = (uintptr_t)run,
		.runs_max = RUNS,
		.all = kinds | PAGEMAP_IS_ZERO,
		.inverted = PAGEMAP_IS_ZERO,
		.told = PAGEMAP_IS_HUGE,
	};

	for (; ask.from < ask.to; ask.from = ask.reached) {
		const int runs = ioctl(pagemap, PAGEMAP_SCAN_REQUEST, &ask);

		if (runs < 0)
			return false;
		for (int i = 0; i < runs; i++) {
			*bytes += run[i].end - run[i].first;
			*huge += run[i].kinds & PAGEMAP_IS_HUGE ? run[i].end - run[i].first : 0;
		}
	}
	return true;
}

/* Is there one, and does it know the huge page of zeros? Kernels before 6.16 do not. By an example: where it cannot be
 * made, there are none to be told apart. */
static void try_scan(struct resident *r)
{
	const uint64_t huge_page = pagetable_size_bytes(PAGETABLE_2M);
	uint8_t *all = mmap(NULL, 2 * huge_page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct backing page = {.bytes = huge_page};
	uint64_t resident = 0, huge = 0;

	r->tried = true;
	if (all == MAP_FAILED)
		return;
	page.host = all + (-(uintptr_t)all & (huge_page - 1));
	(void)madvise(page.host, huge_page, MADV_HUGEPAGE);
	(void)*(const volatile uint8_t *)page.host;
	r->scans = scan(r->pagemap, &page, PAGEMAP_IS_PRESENT, &resident, &huge);
	r->zeros = r->scans && !resident;
	munmap(all, 2 * huge_page);
}

static int open_file(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC);
}

void resident_open(struct resident *r)
{
	*r = (struct resident){
		.pagemap = open_file("/proc/self/pagemap"),
		.smaps = open_file("/proc/self/smaps"),
		.maps = where_maps_open(),
		.status = open_file("/proc/self/status"),
		.nodes = open_file("/sys/devices/system/node/has_memory"),
		.merges = prctl(PR_GET_MEMORY_MERGE, 0UL, 0UL, 0UL, 0UL) > 0,
	};
}

void resident_close(struct resident *r)
{
	const int files[] = {r->pagemap, r->smaps, r->maps, r->status, r->nodes};

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i] >= 0)
			close(files[i]);
}

/* ---- smaps and status, line by line ---- */

void resident_lines(int file, bool (*each)(void *self, const char *line), void *self)
{
	char line[RESIDENT_LINE + 1] = {0}, text[1024];
	unsigned used = 0;
	ssize_t got = 0, at = 0;

	if (file < 0 || lseek(file, 0, SEEK_SET) != 0)
		return;
	for (;;) {
		if (at == got) {
			at = 0;
			got = read(file, text, sizeof(text));
		}
		if (got <= 0)
			return;
		if (text[at++] != '\n') {
			line[used] = text[at - 1];
			used += used < RESIDENT_LINE;
			continue;
		}
		line[used] = '\0';
		used = 0;
		if (!each(self, line))
			return;
	}
}

/* "Rss:          12 kB" */
bool resident_value(const char *line, const char *key, uint64_t *bytes)
{
	const size_t length = strlen(key);
	char *end;

	if (strncmp(line, key, length) != 0 || line[length] != ':')
		return false;
	*bytes = strtoull(line + length + 1, &end, 10) << 10;
	return strcmp(end, " kB") == 0;
}

struct smaps {
	struct part **part; /* ascending; those before it are done */
	unsigned parts;
	bool inside;
};

static void take_mapping(struct smaps *s, uint64_t first, uint64_t end)
{
	while (s->parts && first >= (uintptr_t)(*s->part)->backing->host + (*s->part)->backing->bytes) {
		s->part++;
		s->parts--;
	}
	s->inside = s->parts && end > (uintptr_t)(*s->part)->backing->host;
	if (s->inside)
		(*s->part)->use->known = true;
}

static bool take_line(void *self, const char *line)
{
	struct smaps *s = self;
	struct part *p = s->parts ? *s->part : NULL;
	char *end;
	const uint64_t first = strtoull(line, &end, 16);
	uint64_t bytes;

	if (end > line && *end == '-') {
		take_mapping(s, first, strtoull(end + 1, NULL, 16));
		return s->parts != 0;
	}
	if (!s->inside)
		return true;
	if (resident_value(line, "Rss", &bytes))
		p->counted += bytes;
	if (resident_value(line, "Rss", &bytes) || resident_value(line, "Private_Hugetlb", &bytes) ||
	    resident_value(line, "Shared_Hugetlb", &bytes))
		p->use->resident += bytes;
	if (resident_value(line, "AnonHugePages", &bytes) || resident_value(line, "ShmemPmdMapped", &bytes) ||
	    resident_value(line, "Private_Hugetlb", &bytes) || resident_value(line, "Shared_Hugetlb", &bytes))
		p->use->huge += bytes;
	if (resident_value(line, "Shared_Clean", &bytes) || resident_value(line, "Shared_Dirty", &bytes) ||
	    resident_value(line, "Shared_Hugetlb", &bytes))
		p->use->shared += bytes;
	return true;
}

static void read_smaps(int file, struct part **part, unsigned parts)
{
	struct smaps s = {part, parts, false};

	if (parts)
		resident_lines(file, take_line, &s);
}

static bool take_high(void *self, const char *line)
{
	return !resident_value(line, "VmHWM", self);
}

/* ---- nodes ---- */

/* False: there are several, or nobody knows. */
static bool only_node(const struct resident *r, unsigned *node)
{
	char text[32];
	ssize_t got;
	char *end;

	*node = 0;
	if (r->nodes < 0)
		return r->maps < 0; /* a kernel without NUMA */
	got = pread(r->nodes, text, sizeof(text) - 1, 0);
	if (got <= 0)
		return false;
	text[got] = '\0';
	*node = (unsigned)strtoul(text, &end, 10);
	return end > text && (*end == '\n' || *end == '\0') && *node < WHERE_IDS_MAX;
}

static void put_on(struct resident_use *use, unsigned node)
{
	use->where_known = use->known;
	use->where.bytes[node] = use->resident;
	use->where.absent_bytes = use->configured > use->resident ? use->configured - use->resident : 0;
}

/* ---- numa_maps ---- */

/* Huge ones are looked at by their first 4K alone there, which somebody may not map who maps others. */
static bool has_others(const struct resident *r, const struct part *p, const struct where_range *range)
{
	if (p->backing->fd >= 0)
		return range->maps_max > 1 || p->use->huge;
	return r->merges && range->maps_max > 1;
}

/* Without numa_maps. What smaps tells is read later, of all at once. */
static void read_alone(const struct resident *r, struct part *p)
{
	const struct backing *b = p->backing;
	struct resident_use *use = p->use;

	use->resident = use->huge = 0;
	p->by_smaps = b->fd >= 0 || r->merges || !r->zeros;
	use->known = !p->by_smaps && scan(r->pagemap, b, PAGEMAP_IS_PRESENT, &use->resident, &use->huge);
}

/* Huge ones were counted before: a guest that gives some back meanwhile has no more of them than pages. */
static void take_range(const struct resident *r, struct part *p, const struct where_range *range)
{
	struct resident_use *use = p->use;

	use->where_known = true;
	if (!p->by_maps)
		return;
	for (unsigned id = 0; id < WHERE_IDS_MAX; id++)
		use->resident += use->where.bytes[id];
	if (range->joined || use->resident > p->backing->bytes || has_others(r, p, range)) {
		read_alone(r, p);
		return;
	}
	use->known = true;
	if (use->huge > use->resident)
		use->huge = use->resident;
}

static void read_maps(const struct resident *r, struct part *const *part, unsigned parts)
{
	struct where_range range[RESIDENT_MAX];
	struct part *of[RESIDENT_MAX];
	unsigned ranges = 0;
	bool known;

	for (unsigned i = 0; i < parts; i++) {
		const struct backing *b = part[i]->backing;

		if (b->kind == BACKING_DEVDAX)
			continue;
		of[ranges] = part[i];
		range[ranges++] = (struct where_range){.host = b->host, .bytes = b->bytes, .out = &part[i]->use->where};
	}
	known = ranges && where_resident(r->maps, range, ranges);
	for (unsigned i = 0; i < ranges; i++) {
		if (known)
			take_range(r, of[i], &range[i]);
		else if (of[i]->by_maps)
			read_alone(r, of[i]);
	}
}

/* ---- all ---- */

static void read_one(const struct resident *r, struct part *p, bool maps)
{
	const struct backing *b = p->backing;
	struct resident_use *use = p->use;
	uint64_t same = 0;

	memset(use, 0, sizeof(*use));
	use->configured = b->bytes;
	p->by_maps = maps && b->kind != BACKING_DEVDAX && (b->fd >= 0 ? r->scans : r->zeros) &&
		     scan(r->pagemap, b, PAGEMAP_IS_HUGE, &same, &use->huge);
	if (!p->by_maps)
		read_alone(r, p);
}

static void set_device(struct resident_use *use, const struct backing *b)
{
	use->known = true;
	use->resident = b->bytes;
	use->huge = b->leaf == PAGETABLE_4K ? 0 : b->bytes;
	use->shared = 0;
}

static void sort(struct part *part, unsigned parts, struct part **by_address)
{
	for (unsigned i = 0; i < parts; i++) {
		unsigned at = i;

		for (; at && by_address[at - 1]->backing->host > part[i].backing->host; at--)
			by_address[at] = by_address[at - 1];
		by_address[at] = &part[i];
	}
}

static void add(struct resident_sum *sum, const struct resident_use *use)
{
	struct resident_use *all = &sum->all;

	all->known &= use->known;
	all->configured += use->configured;
	all->resident += use->resident;
	all->huge += use->huge;
	all->shared += use->shared;
	all->where_known &= use->where_known;
	all->where.absent_bytes += use->where.absent_bytes;
	for (unsigned id = 0; id < WHERE_IDS_MAX; id++)
		all->where.bytes[id] += use->where.bytes[id];
}

/* What VmHWM leaves out. */
static uint64_t beside(const struct part *p)
{
	const uint64_t resident = p->use->resident;

	if (p->backing->kind == BACKING_HUGETLB)
		return resident;
	return p->backing->kind == BACKING_DEVDAX && p->counted < resident ? resident - p->counted : 0;
}

void resident_read(struct resident *r, const struct backing *const *backing, unsigned count, struct resident_use *use,
		   struct resident_sum *sum)
{
	struct part part[RESIDENT_MAX] = {0}, *by_address[RESIDENT_MAX], *by_smaps[RESIDENT_MAX];
	unsigned smaps = 0, node;
	const bool one = only_node(r, &node);
	uint64_t now = 0;

	MM_ASSERT(count <= RESIDENT_MAX, count, 0);
	if (!r->tried)
		try_scan(r);
	for (unsigned i = 0; i < count; i++) {
		part[i] = (struct part){.backing = backing[i], .use = &use[i]};
		read_one(r, &part[i], !one && r->maps >= 0);
	}
	sort(part, count, by_address);
	if (!one)
		read_maps(r, by_address, count);
	for (unsigned i = 0; i < count; i++)
		if (by_address[i]->by_smaps)
			by_smaps[smaps++] = by_address[i];
	read_smaps(r->smaps, by_smaps, smaps);
	for (unsigned i = 0; i < count; i++) {
		if (backing[i]->kind == BACKING_DEVDAX)
			set_device(&use[i], backing[i]);
		now += beside(&part[i]);
	}
	for (unsigned i = 0; i < count; i++)
		if (backing[i]->kind == BACKING_DEVDAX && backing[i]->node < WHERE_IDS_MAX)
			put_on(&use[i], backing[i]->node);
		else if (one)
			put_on(&use[i], node);
	*sum = (struct resident_sum){.all = {.known = true, .where_known = true}};
	for (unsigned i = 0; i < count; i++)
		add(sum, &use[i]);
	if (now > r->most_beside)
		r->most_beside = now;
	resident_lines(r->status, take_high, &sum->high);
	sum->high_known = sum->high != 0;
	sum->high += sum->high_known ? r->most_beside : 0;
}

void resident_read_once(const struct backing *backing, struct resident_use *use)
{
	struct resident_sum sum;
	struct resident r;

	resident_open(&r);
	resident_read(&r, &backing, 1, use, &sum);
	resident_close(&r);
}
