/* vmm/rebase.c
 *
 * What it is. A leaf holds a frame of slat's own number space, in which a pool's frames are a row. Huge pages of 1 GiB
 * are not: each lies where the host found it. So while a guest runs their leaves have numbers, as all others, and the
 * addresses are put in where somebody reads the table as hardware would: in the file of --dump-table. Pages of 2M and
 * 4K keep their numbers there: the kernel may move them while one looks, and thousands of small runs tell nobody
 * anything. hugetlb of 1 GiB stays where it is as long as it is mapped.
 *
 * R1  all or none: either each leaf on such a page has its physical address, or none has, and the file says which.
 * R2  no address of one is a number of a pool that keeps its numbers (the table's own pages among them): what reads the
 *     file finds each frame meant once.
 * R3  a leaf of any size, since guards and read-only ranges cut them: never larger than its page, and as aligned in it,
 *     since the pool's numbers begin at a multiple of 1 GiB.
 *
 * A page that was not touched has no address. It is brought in here, at the end of the run: it was counted and set
 * aside for this guest, nobody else could have had it, and the guest would have had it at its first touch. Before the
 * start it would be one more thing that the option changes (and D would be known worse); not at all, the file would
 * have two kinds of leaves. It costs what the kernel needs to clear it, a third of a second each, on one CPU.
 *
 * Cost. A walk over the runs and 8 bytes read for each page. Memory: 8 bytes a page.
 *
 * Failure. Without permission (CAP_SYS_ADMIN when pagemap was opened) the kernel tells 0 for each frame. */
#include "vmm/rebase.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "vmm/pagemap.h"
#include "vmm/prefault.h"

#define PAGE_SHIFT 30u
#define PAGE_BYTES (UINT64_C(1) << PAGE_SHIFT)
#define NOBODY	   UINT64_MAX

static bool is_giant(const struct pool *p)
{
	return p->backing.kind == BACKING_HUGETLB && p->backing.leaf == PAGETABLE_1G;
}

/* Its number of r->page, NOBODY: it lies on no such page. */
static uint64_t number_of(const struct rebase *r, uint64_t address)
{
	const struct pool *p = host_pool_of(r->host, (struct pfn){address / FRAME_BYTES});

	if (!p || !is_giant(p))
		return NOBODY;
	return r->start[p - r->host->pool] + ((address - p->base.n * FRAME_BYTES) >> PAGE_SHIFT);
}

/* 0: the kernel does not say. */
static uint64_t entry_of(const uint8_t *host, int pagemap)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, sizeof(entry), (off_t)((uintptr_t)host / FRAME_BYTES * sizeof(entry))) !=
	    (ssize_t)sizeof(entry))
		return 0;
	return entry;
}

static int no_address(const struct pool *p, const char *why, struct failure *f)
{
	return fail(f, EXIT_HOST, "%s: the addresses of its 1 GiB pages are slat's numbers: %s",
		    p->backing.zone ? p->backing.zone : "--memory hugepages=on", why);
}

/* R2 */
static int check_address(const struct rebase *r, const struct pool *p, uint64_t physical, struct failure *f)
{
	if (physical % PAGE_BYTES || physical + PAGE_BYTES > UINT64_C(1) << HOST_PHYS_BITS)
		return no_address(p, "one lies where no frame number of 1 GiB can", f);
	for (unsigned i = 0; i < r->host->pools; i++) {
		const struct pool *other = &r->host->pool[i];
		const uint64_t first = other->base.n * FRAME_BYTES;

		if (!is_giant(other) && physical < first + other->backing.bytes && first < physical + PAGE_BYTES)
			return no_address(p, "one lies where another pool has its numbers", f);
	}
	return 0;
}

static int find_page(struct rebase *r, uint64_t address, int pagemap, struct failure *f)
{
	const struct pool *p = host_pool_of(r->host, (struct pfn){address / FRAME_BYTES});
	const uint64_t in_pool = (address - p->base.n * FRAME_BYTES) & ~(PAGE_BYTES - 1), n = number_of(r, address);
	uint8_t *host = p->backing.host + in_pool;
	uint64_t entry;

	if (r->page[n])
		return 0;
	entry = entry_of(host, pagemap);
	if (!(entry & PAGEMAP_PRESENT) && prefault_ask(host, PAGE_BYTES) == 0)
		entry = entry_of(host, pagemap);
	if (!(entry & PAGEMAP_PRESENT))
		return no_address(p, "one was never touched, or the kernel has no pagemap", f);
	r->page[n] = (entry & PAGEMAP_FRAME) * FRAME_BYTES;
	if (!r->page[n])
		return no_address(p, "only root (CAP_SYS_ADMIN) may read them", f);
	return check_address(r, p, r->page[n], f);
}

/* Each such page that a run reaches into. */
static int find_pages(struct rebase *r, const struct pagetable *table, int pagemap, struct failure *f)
{
	struct pagetable_run run;

	for (uint64_t at = 0; pagetable_next_run(table, at, &run); at = run.in + run.bytes)
		for (uint64_t out = run.out; out < run.out + run.bytes; out = (out | (PAGE_BYTES - 1)) + 1)
			if (number_of(r, out) != NOBODY && find_page(r, out, pagemap, f))
				return f->code;
	return 0;
}

int rebase_open(struct rebase *r, struct memory *memory, const struct host *host, const struct pagetable *table,
		int pagemap, struct failure *f)
{
	uint64_t pages = 0;

	*r = (struct rebase){.memory = memory, .host = host};
	for (unsigned i = 0; i < host->pools; i++) {
		r->start[i] = pages;
		pages += is_giant(&host->pool[i]) ? host->pool[i].backing.bytes >> PAGE_SHIFT : 0;
	}
	r->any = pages > 0;
	if (!pages)
		return 0;
	r->page = memory_alloc_zeroed(memory, pages, sizeof(*r->page));
	if (!r->page)
		return fail(f, EXIT_HOST, "no memory for the addresses of %" PRIu64 " huge pages", pages);
	if (find_pages(r, table, pagemap, f)) {
		memory_free(memory, r->page);
		r->page = NULL;
	}
	return f->code;
}

void rebase_close(struct rebase *r)
{
	if (r->page)
		memory_free(r->memory, r->page);
	r->page = NULL;
}

uint64_t rebase_address(const struct rebase *r, uint64_t address)
{
	const uint64_t n = r->page ? number_of(r, address) : NOBODY;

	return n == NOBODY ? address : r->page[n] | (address & (PAGE_BYTES - 1));
}
