/* vmm/iommu_host.c
 *
 * What it is. The one place where a guest decides how much of the host it takes
 * beyond its RAM: each mapping that its driver makes may cost pages of a domain's table.
 *
 * The arena. Address space for so many table pages as the guest could need in good
 * faith, and no more: what is not touched of it costs nothing. A page of table maps
 * 2 MiB in leaves of 4K, so all of RAM mapped once, in any order of dense iova, is a
 * page for each 512 frames; twice that lets each be mapped behind two iovas that
 * do not share a page, or by two devices in domains of their own. ARENA_BASE pages more are for sparse
 * iova (three pages each, at worst) and for small guests. Beyond that a driver is told that there is no memory
 * (VIRTIO_IOMMU_S_NOMEM), and nothing else of the host is the poorer for it.
 *
 *   H1  pages that are touched <= ARENA_BASE + RAM / 1 MiB: 64 MiB for the guest without a device,
 *       and 4 MiB for each GiB of its RAM.
 *
 * Pages come from mm/frames, as the second-level table's do: one at a time, since the
 * IOMMU's lock is held, so its one CPU number will do for whoever holds it.
 *
 * Patience. Who takes a mapping away waits for DMA that is under way: microseconds
 * for a copy, a disk's time for a request. It gives up its CPU some times and sleeps then.
 *
 * Reserved: the local APICs' window, where a device's write would be an interrupt on a
 * PC; Linux maps nothing there, and DMA to it is a fault here in any case.
 *
 * Rejected. Pages from the VMM's own memory: a hostile driver would then decide when
 * slat has none left for itself. */
#include "vmm/iommu_host.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm/loop.h"
#include "vmm/size.h"
#include "vmm/sys.h"

#define ARENA_BASE   UINT64_C(16384)		   /* pages */
#define ARENA_PER    (UINT64_C(256) * FRAME_BYTES) /* bytes of RAM for each page more */
#define MAPPINGS_MAX (UINT64_C(1) << 24)
#define INPUT_LAST   ((UINT64_C(1) << PAGETABLE_INPUT_BITS) - 1)
#define DOMAIN_LAST  (IOMMU_DOMAINS_MAX - 1)
#define MSI_FIRST    UINT64_C(0xfee00000) /* where a PC's messages go (SDM vol. 3A, 11.11.1) */
#define MSI_LAST     UINT64_C(0xfeefffff)
#define CACHE_LINE   64
#define YIELDS	     32u
#define NAP_NS	     50000
#define ANEW_NS	     UINT64_C(1000000) /* since the last wait: this is another one */

static void wait_a_little(void *self)
{
	struct iommu_host *h = self;
	const struct timespec nap = {0, NAP_NS};
	const uint64_t now = loop_now();

	if (now - h->waited_ns > ANEW_NS)
		h->waits = 0;
	if (++h->waits % YIELDS)
		sched_yield();
	else
		nanosleep(&nap, NULL);
	h->waited_ns = loop_now();
}

static void fault_waits(void *self)
{
	const struct iommu_host *h = self;
	const uint64_t one = 1;

	if (write(h->event_fd, &one, sizeof(one)) < 0)
		return; /* full: it is known */
}

static int open_arena(struct iommu_host *h, uint64_t ram_bytes, struct failure *f)
{
	struct block block;

	h->arena_bytes = (ARENA_BASE + ram_bytes / ARENA_PER) * FRAME_BYTES;
	h->arena =
		mmap(NULL, h->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (h->arena == MAP_FAILED) {
		h->arena = NULL;
		return fail(f, EXIT_HOST, "the host cannot map %s of address space for the IOMMU's tables: %s",
			    size_format(h->arena_bytes).s, strerror(errno));
	}
	(void)madvise(h->arena, h->arena_bytes, MADV_NOHUGEPAGE); /* else the first page would cost 2 MiB */
	block = (struct block){.bytes = h->arena_bytes, .host = h->arena};
	return table_pages_open(&h->pages, h->memory, &block, f);
}

static void start(struct iommu_host *h, bool bypass)
{
	const struct iommu_config config = {
		.input = {0, INPUT_LAST},
		.phys_bits = PAGETABLE_INPUT_BITS,
		.domain_last = DOMAIN_LAST,
		.mappings_max = MAPPINGS_MAX,
		.reserved_count = 1,
		.reserved = {{{MSI_FIRST, MSI_LAST}, VIRTIO_IOMMU_RESV_MSI}},
		.bypass = bypass,
		.arena = h->arena,
		.arena_frames = h->arena_bytes / FRAME_BYTES,
		.pages = table_pages_source(&h->pages),
		.wait = wait_a_little,
		.event = fault_waits,
		.self = h,
	};

	iommu_init(&h->iommu, &config);
}

struct iommu_host *iommu_host_open(struct memory *memory, uint64_t ram_bytes, bool bypass, struct failure *f)
{
	struct iommu_host *h = memory_alloc_aligned(memory, sizeof(*h), CACHE_LINE);

	if (!h) {
		fail(f, EXIT_HOST, "no memory for the IOMMU");
		return NULL;
	}
	memset(h, 0, sizeof(*h));
	h->memory = memory;
	h->event_fd = sys_eventfd("iommu", f);
	if (h->event_fd >= 0)
		open_arena(h, ram_bytes, f);
	if (!f->code) {
		start(h, bypass);
		return h;
	}
	iommu_host_close(h);
	return NULL;
}

void iommu_host_close(struct iommu_host *h)
{
	if (!h)
		return;
	if (h->iommu.config.arena)
		iommu_fini(&h->iommu);
	table_pages_close(&h->pages);
	if (h->arena)
		munmap(h->arena, h->arena_bytes);
	if (h->event_fd >= 0)
		close(h->event_fd);
	memory_free(h->memory, h);
}
