/* iommu: a device reaches what was mapped for it, through virtio-iommu, and no
 * more; and virtio-iommu refuses what the specification says.
 *
 * The disk that it looks at writes and reads one block of one sector run. Its
 * rings and requests lie in an arena that is mapped as one range, far from where
 * it lies in memory; the data lie in frames of their own, mapped as each step
 * likes. A stray access must not touch memory, must be reported (address,
 * endpoint, and what it was), and after the disk's reset all goes on.
 *
 * Words of the command line: "packed", "indirect", "event": of all rings, where
 * offered. "endpoint=N": the disk's; else what the transport says: on PCI the
 * number of its function, on slat the number of its window (slat calls each
 * device behind its IOMMU by that). "disk=N": which (0). "strict": refusals too
 * that the specification only recommends, and faults must say what the access
 * was. The other devices of the machine, if any, are left alone. */
#include "guests/runtime/virtio_iommu.h"

#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtio_blk.h"

#define ARENA_BYTES  (UINT64_C(4) << 20)
#define ARENA_IOVA   UINT64_C(0x10000000)
#define DATA_IOVA    UINT64_C(0x40000000)
#define ASIDE_IOVA   UINT64_C(0x50025000) /* a small IOTLB by low bits keeps it when it meets the rings' pages */
#define NOWHERE_IOVA UINT64_C(0x70000000)
#define PAGES	     32u
#define PAGE	     FRAME_BYTES
#define RW	     (VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE)
#define NOBODY	     0xfff0u /* an endpoint that is not there */
#define FAULT_CYCLES (UINT64_C(1) << 32)
#define BROKEN	     VIRTIO_BLK_BROKEN

static struct virtio_device iommu_device, disk_device;
static struct virtio_iommu iommu;
static struct virtio_blk disk;
static uint64_t features, arena_used, arena_offset; /* what is added to an address there */
static uint8_t *arena, *pages;			    /* 2 * PAGES frames */
static uint32_t endpoint, domain, other_domain;
static bool strict;
static uint64_t checks, faults, reserved;
static struct virtio_iommu_fault last_fault;

/* ---- memory ---- */

static void *arena_take(void *unused, uint64_t bytes)
{
	void *at = arena + arena_used;

	(void)unused;
	arena_used += (bytes + PAGE - 1) & -PAGE;
	if (arena_used > ARENA_BYTES)
		guest_panic("the arena is too small", arena_used, ARENA_BYTES);
	return at;
}

static uint64_t arena_address(void *unused, const void *at)
{
	(void)unused;
	return (uintptr_t)at + arena_offset;
}

static uint8_t *page(unsigned n)
{
	return pages + n * PAGE;
}

static uint64_t gpa(const void *at)
{
	return (uintptr_t)at;
}

static void page_fill(unsigned n, uint64_t seed)
{
	uint64_t *words = (uint64_t *)(void *)page(n);

	for (unsigned i = 0; i < PAGE / 8; i++)
		words[i] = seed * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static bool page_holds(unsigned n, uint64_t seed)
{
	const uint64_t *words = (const uint64_t *)(const void *)page(n);

	for (unsigned i = 0; i < PAGE / 8; i++)
		if (words[i] != seed * UINT64_C(0x9e3779b97f4a7c15) + i)
			return step_wrong("a page does not hold what it must", n, i);
	return true;
}

/* ---- the IOMMU ---- */

static bool answers(uint32_t status, uint32_t wanted, const char *what)
{
	checks++;
	return status == wanted ? true : step_wrong(what, status, wanted);
}

static bool maps(uint64_t iova, const void *at, uint64_t bytes, uint32_t flags)
{
	return answers(virtio_iommu_map(&iommu, domain, iova, iova + bytes - 1, gpa(at), flags), VIRTIO_IOMMU_S_OK,
		       "a range could not be mapped");
}

static bool unmaps(uint64_t iova, uint64_t bytes)
{
	return answers(virtio_iommu_unmap(&iommu, domain, iova, iova + bytes - 1), VIRTIO_IOMMU_S_OK,
		       "a range could not be unmapped");
}

static bool arena_maps(uint32_t in)
{
	return answers(virtio_iommu_map(&iommu, in, ARENA_IOVA, ARENA_IOVA + ARENA_BYTES - 1, gpa(arena), RW),
		       VIRTIO_IOMMU_S_OK, "the arena could not be mapped");
}

/* ---- the disk ---- */

static bool disk_opens(void)
{
	if (virtio_blk_open(&disk, &disk_device, features, VIRTQ_SIZE_MAX))
		return true;
	return step_wrong("the disk does not come up behind an IOMMU", disk_device.offered, disk_device.accepted);
}

/* One request whose data is at `iova`. */
static uint32_t disk_moves(uint32_t type, uint64_t iova, uint32_t bytes)
{
	struct virtq_piece data = {iova, bytes, type == VIRTIO_BLK_T_IN};
	struct virtio_blk_ask ask = {.type = type, .data = &data, .pieces = 1};

	return virtio_blk_do(&disk, &ask);
}

static bool disk_ok(uint32_t type, uint64_t iova, uint32_t bytes)
{
	uint32_t end = disk_moves(type, iova, bytes);

	checks++;
	return end == VIRTIO_BLK_S_OK ? true : step_wrong("a request within its mapping failed", iova, end);
}

/* What is written at one iova is read at the other. */
static bool disk_carries(uint64_t from, uint64_t to, uint32_t bytes)
{
	return disk_ok(VIRTIO_BLK_T_OUT, from, bytes) && disk_ok(VIRTIO_BLK_T_IN, to, bytes);
}

/* ---- faults ---- */

static bool fault_comes(struct virtio_iommu_fault *out)
{
	for (uint64_t start = cpu_cycles(); cpu_cycles() - start < FAULT_CYCLES;) {
		if (virtio_iommu_fault_take(&iommu, out))
			return true;
		cpu_relax();
	}
	return false;
}

static bool fault_is(const struct virtio_iommu_fault *f, uint64_t iova, uint32_t access)
{
	uint32_t said = f->flags & (VIRTIO_IOMMU_FAULT_READ | VIRTIO_IOMMU_FAULT_WRITE);

	if (f->endpoint != endpoint)
		return step_wrong("a fault is reported of another endpoint", f->endpoint, endpoint);
	if (f->reason != VIRTIO_IOMMU_FAULT_MAPPING)
		return step_wrong("a fault is reported for another reason", f->reason, VIRTIO_IOMMU_FAULT_MAPPING);
	if (!(f->flags & VIRTIO_IOMMU_FAULT_ADDRESS) || (f->address ^ iova) >= PAGE)
		return step_wrong("a fault is reported at another address", f->address, iova);
	if ((said != 0 || strict) && said != access)
		return step_wrong("a fault is reported of another access", f->flags, access);
	return true;
}

/* A request strays: the fault must be told, and after a reset, if one is needed, the disk is there again. The request
 * fails; QEMU 7.2 ends it well (zeros are read, what is written is dropped), so only "strict" asks for that. */
static bool strays(uint32_t type, uint64_t iova, uint32_t bytes, uint64_t fault_at)
{
	uint32_t end, access = type == VIRTIO_BLK_T_IN ? VIRTIO_IOMMU_FAULT_WRITE : VIRTIO_IOMMU_FAULT_READ;
	struct virtio_iommu_fault more;

	checks++;
	end = disk_moves(type, iova, bytes);
	if (end == BROKEN ? disk.end != VIRTQ_NEEDS_RESET : strict && end != VIRTIO_BLK_S_IOERR)
		return step_wrong("a request that strays does not fail", iova, end);
	if (!fault_comes(&last_fault))
		return step_wrong("nobody reports a fault", iova, end);
	faults++;
	while (virtio_iommu_fault_take(&iommu, &more)) /* a device may try again, elsewhere */
		faults++;
	return fault_is(&last_fault, fault_at, access) && (end != BROKEN || disk_opens());
}

/* ---- steps ---- */

static bool opens(void)
{
	uint64_t end = ARENA_IOVA + (NOWHERE_IOVA << 1);

	arena = virtio_take(&disk_device, ARENA_BYTES);
	pages = virtio_take(&disk_device, 2 * PAGES * PAGE);
	disk_device.behind = true;
	disk_device.dma = (struct virtio_dma){.take = arena_take, .address = arena_address};
	if (!virtio_iommu_open(&iommu, &iommu_device, features))
		return step_wrong("the IOMMU does not come up", iommu_device.offered, iommu_device.accepted);
	if (!virtio_has(&iommu_device, VIRTIO_IOMMU_F_MAP_UNMAP) || !(iommu.config.page_size_mask & PAGE))
		return step_wrong("the IOMMU cannot map frames", iommu.config.page_size_mask, iommu_device.accepted);
	if (iommu.config.input_first > ARENA_IOVA || iommu.config.input_last < end)
		return step_wrong("the IOMMU's addresses are too few", iommu.config.input_first,
				  iommu.config.input_last);
	domain = iommu.config.domain_first + 1;
	other_domain = domain + 1;
	return true;
}

/* Nobody attached the disk yet. */
static bool bypasses(void)
{
	arena_offset = 0;
	if (!virtio_has(&iommu_device, VIRTIO_IOMMU_F_BYPASS_CONFIG))
		return true;
	virtio_config_set(&iommu_device, __builtin_offsetof(struct virtio_iommu_config_regs, bypass), 1, 1);
	page_fill(0, 1);
	if (!disk_opens() || !disk_carries(gpa(page(0)), gpa(page(1)), PAGE) || !page_holds(1, 1))
		return false;
	if (!virtio_reset(&disk_device)) /* it may look at its rings whenever it likes, as long as it runs */
		return step_wrong("the disk does not come back from its reset", 0, 0);
	virtio_config_set(&iommu_device, __builtin_offsetof(struct virtio_iommu_config_regs, bypass), 1, 0);
	return virtio_config(&iommu_device, __builtin_offsetof(struct virtio_iommu_config_regs, bypass), 1) == 0
		       ? true
		       : step_wrong("bypass cannot be ended", 0, 0);
}

static bool refuses_strangers(void)
{
	return answers(virtio_iommu_attach(&iommu, domain, NOBODY, 0), VIRTIO_IOMMU_S_NOENT, "attach nobody") &&
	       answers(virtio_iommu_detach(&iommu, domain, NOBODY), VIRTIO_IOMMU_S_NOENT, "detach nobody") &&
	       answers(virtio_iommu_map(&iommu, domain, 0, PAGE - 1, 0, RW), VIRTIO_IOMMU_S_NOENT,
		       "map in an unknown domain") &&
	       answers(virtio_iommu_unmap(&iommu, domain, 0, PAGE - 1), VIRTIO_IOMMU_S_NOENT,
		       "unmap in an unknown domain") &&
	       answers(virtio_iommu_attach(&iommu, domain, endpoint, 0x80), VIRTIO_IOMMU_S_INVAL,
		       "attach with an unknown flag");
}

/* Such an answer should be left blank (5.13.6.2); QEMU 7.2 says UNSUPP. */
static bool refuses_unknown(void)
{
	static const struct virtio_iommu_head unknown = {.type = 0x77};
	uint32_t status = virtio_iommu_ask(&iommu, &unknown, sizeof(unknown), 0);

	if (!strict && status == VIRTIO_IOMMU_S_UNSUPP)
		return true;
	return answers(status, VIRTIO_IOMMU_BLANK, "a request of no known type");
}

static bool attaches(void)
{
	arena_offset = ARENA_IOVA - gpa(arena);
	return answers(virtio_iommu_attach(&iommu, domain, endpoint, 0), VIRTIO_IOMMU_S_OK,
		       "the disk could not be attached") &&
	       arena_maps(domain) && disk_opens();
}

static bool probes(void)
{
	const uint8_t *answer = virtio_iommu_answer(&iommu);

	if (!virtio_has(&iommu_device, VIRTIO_IOMMU_F_PROBE))
		return true;
	if (!answers(virtio_iommu_probe(&iommu, NOBODY), VIRTIO_IOMMU_S_NOENT, "probe nobody") ||
	    !answers(virtio_iommu_probe(&iommu, endpoint), VIRTIO_IOMMU_S_OK, "probe the disk"))
		return false;
	for (uint32_t at = 0; at + sizeof(struct virtio_iommu_property) <= iommu.config.probe_size;) {
		struct virtio_iommu_reserved r;

		memcpy(&r.head, answer + at, sizeof(r.head));
		if ((r.head.type & 0xfff) == VIRTIO_IOMMU_PROBE_NONE)
			return true;
		if (at + sizeof(r.head) + r.head.length > iommu.config.probe_size)
			return step_wrong("a property does not fit", at, r.head.length);
		if ((r.head.type & 0xfff) == VIRTIO_IOMMU_PROBE_RESV && r.head.length >= sizeof(r) - sizeof(r.head)) {
			memcpy(&r, answer + at, sizeof(r));
			if (r.first > r.last)
				return step_wrong("a reserved region is none", r.first, r.last);
			reserved++;
		}
		at += (uint32_t)sizeof(r.head) + r.head.length;
	}
	return true;
}

/* Pages in the reverse order: what is one range for the device is none in memory. */
static bool scatters(void)
{
	for (unsigned i = 0; i < PAGES; i++) {
		page_fill(i, i);
		memset(page(PAGES + i), 0, PAGE);
		if (!maps(DATA_IOVA + (PAGES - 1 - i) * PAGE, page(i), PAGE, RW) ||
		    !maps(DATA_IOVA + (PAGES + i) * PAGE, page(PAGES + i), PAGE, RW))
			return false;
	}
	if (!disk_carries(DATA_IOVA, DATA_IOVA + PAGES * PAGE, PAGES * PAGE))
		return false;
	for (unsigned i = 0; i < PAGES; i++)
		if (!page_holds(2 * PAGES - 1 - i, i))
			return false;
	return true;
}

static bool goes_on(void)
{
	page_fill(0, checks);
	return disk_carries(DATA_IOVA + (PAGES - 1) * PAGE, DATA_IOVA + PAGES * PAGE, PAGE) &&
	       page_holds(PAGES, checks - 2);
}

static bool strays_nowhere(void)
{
	return strays(VIRTIO_BLK_T_OUT, NOWHERE_IOVA, PAGE, NOWHERE_IOVA) && goes_on() &&
	       strays(VIRTIO_BLK_T_IN, NOWHERE_IOVA, PAGE, NOWHERE_IOVA) && goes_on();
}

/* A request of which only the end strays. */
static bool strays_at_the_end(void)
{
	uint64_t last = DATA_IOVA + (2 * PAGES - 1) * PAGE;

	return strays(VIRTIO_BLK_T_IN, last, 2 * PAGE, last + PAGE) && goes_on() &&
	       strays(VIRTIO_BLK_T_OUT, last, 2 * PAGE, last + PAGE) && goes_on();
}

static bool strays_by_gpa(void)
{
	page_fill(3, 77);
	return strays(VIRTIO_BLK_T_IN, gpa(page(3)), PAGE, gpa(page(3))) && page_holds(3, 77) && goes_on();
}

static bool keeps_rights(void)
{
	uint64_t first = ASIDE_IOVA;

	page_fill(4, 99);
	if (!maps(first, page(4), PAGE, VIRTIO_IOMMU_MAP_READ) ||
	    !maps(first + PAGE, page(5), PAGE, VIRTIO_IOMMU_MAP_WRITE))
		return false;
	return disk_carries(first, first + PAGE, PAGE) && page_holds(5, 99) &&
	       strays(VIRTIO_BLK_T_IN, first, PAGE, first) && page_holds(4, 99) && goes_on() &&
	       strays(VIRTIO_BLK_T_OUT, first + PAGE, PAGE, first + PAGE) && goes_on() && unmaps(first, 2 * PAGE);
}

static bool refuses_maps(void)
{
	uint64_t at = DATA_IOVA, last = at + PAGE - 1;

	return answers(virtio_iommu_map(&iommu, domain, at, last, gpa(page(0)), RW), VIRTIO_IOMMU_S_INVAL,
		       "map twice") &&
	       answers(virtio_iommu_map(&iommu, domain, at - PAGE, last, gpa(page(0)), RW), VIRTIO_IOMMU_S_INVAL,
		       "map across a mapping") &&
	       answers(virtio_iommu_map(&iommu, domain, NOWHERE_IOVA, NOWHERE_IOVA + PAGE - 1, gpa(page(0)), 0x80),
		       VIRTIO_IOMMU_S_INVAL, "map with an unknown flag") &&
	       answers(virtio_iommu_detach(&iommu, other_domain, endpoint), VIRTIO_IOMMU_S_INVAL,
		       "detach from a domain that it is not in") &&
	       goes_on();
}

/* Which of the two it is the specification leaves to the reader. */
static bool refused(uint32_t status, uint32_t one, uint32_t other, const char *what)
{
	return answers(status, status == other ? other : one, what);
}

static bool map_refused(uint64_t first, uint64_t last, uint64_t to, const char *what)
{
	return refused(virtio_iommu_map(&iommu, domain, first, last, to, RW), VIRTIO_IOMMU_S_RANGE,
		       VIRTIO_IOMMU_S_INVAL, what);
}

/* Where the specification says SHOULD. */
static bool refuses_more(void)
{
	uint64_t at = NOWHERE_IOVA, last = at + PAGE - 1, to = gpa(page(0)), end = iommu.config.input_last;

	if (!strict)
		return true;
	if (!map_refused(at + 1, last, to, "a crooked start") || !map_refused(at, last - 1, to, "a crooked end") ||
	    !map_refused(at, last, to + 1, "a crooked target") ||
	    !map_refused(last + 1, at - 1, to, "an end before its start"))
		return false;
	if (end != UINT64_MAX &&
	    (!map_refused(end + 1, end + PAGE, to, "map beyond the input range") ||
	     !map_refused(end - PAGE + 1, end + PAGE, to, "map across the end of the input range")))
		return false;
	if (iommu.config.domain_last != UINT32_MAX &&
	    !refused(virtio_iommu_attach(&iommu, iommu.config.domain_last + 1, endpoint, 0), VIRTIO_IOMMU_S_RANGE,
		     VIRTIO_IOMMU_S_NOENT, "attach to a domain beyond the range"))
		return false;
	return goes_on();
}

static bool unmaps_parts(void)
{
	uint64_t first = ASIDE_IOVA + 8 * PAGE;

	page_fill(6, 6);
	if (!maps(first, page(6), 4 * PAGE, RW) || !maps(first + 4 * PAGE, page(12), 2 * PAGE, RW))
		return false;
	if (!answers(virtio_iommu_unmap(&iommu, domain, first, first + PAGE - 1), VIRTIO_IOMMU_S_RANGE,
		     "unmap the start of a mapping") ||
	    !answers(virtio_iommu_unmap(&iommu, domain, first + PAGE, first + 2 * PAGE - 1), VIRTIO_IOMMU_S_RANGE,
		     "unmap the middle of a mapping"))
		return false;
	/* QEMU 7.2 unmaps what comes before the part; nothing should go. */
	if (strict && !answers(virtio_iommu_unmap(&iommu, domain, first, first + 5 * PAGE - 1), VIRTIO_IOMMU_S_RANGE,
			       "unmap one mapping and a part of the next"))
		return false;
	return disk_carries(first, first + 3 * PAGE, PAGE) && page_holds(9, 6);
}

static bool unmaps_across(void)
{
	uint64_t first = ASIDE_IOVA + 8 * PAGE;

	if (!unmaps(first - PAGE, 16 * PAGE)) /* gaps around them are no error */
		return false;
	for (unsigned i = 0; i < 6; i += 5)
		if (!strays(VIRTIO_BLK_T_OUT, first + i * PAGE, PAGE, first + i * PAGE) || !goes_on())
			return false;
	return unmaps(first, 6 * PAGE); /* nothing is mapped there */
}

/* The same iova leads elsewhere, at once. */
static bool remaps(void)
{
	uint64_t at = ASIDE_IOVA + 32 * PAGE;

	for (unsigned i = 0; i < 8; i++) {
		page_fill(i, 1000 + i);
		memset(page(PAGES + 1), 0, PAGE);
		if (!maps(at, page(i), PAGE, RW) || !disk_carries(at, DATA_IOVA + (PAGES + 1) * PAGE, PAGE) ||
		    !page_holds(PAGES + 1, 1000 + i) || !unmaps(at, PAGE))
			return false;
	}
	return strays(VIRTIO_BLK_T_OUT, at, PAGE, at) && goes_on();
}

/* Another domain has other mappings; the old one is gone when its last endpoint leaves, or has them still. */
static bool changes_domain(void)
{
	disk_device.transport->status_set(&disk_device, 0);
	if (!answers(virtio_iommu_attach(&iommu, other_domain, endpoint, 0), VIRTIO_IOMMU_S_OK,
		     "the disk could not be attached elsewhere") ||
	    !arena_maps(other_domain) || !disk_opens())
		return false;
	domain = other_domain;
	if (!strays(VIRTIO_BLK_T_OUT, DATA_IOVA, PAGE, DATA_IOVA))
		return false;
	page_fill(0, 5);
	return maps(DATA_IOVA, page(0), PAGE, RW) && maps(DATA_IOVA + PAGE, page(1), PAGE, RW) &&
	       disk_carries(DATA_IOVA, DATA_IOVA + PAGE, PAGE) && page_holds(1, 5);
}

/* Nothing is mapped for a disk that is in no domain, without bypass. */
static bool detaches(void)
{
	if (!answers(virtio_iommu_detach(&iommu, domain, endpoint), VIRTIO_IOMMU_S_OK, "detach") ||
	    !answers(virtio_iommu_detach(&iommu, domain, endpoint), VIRTIO_IOMMU_S_INVAL, "detach twice"))
		return false;
	page_fill(1, 12);
	if (disk_moves(VIRTIO_BLK_T_IN, DATA_IOVA + PAGE, PAGE) == VIRTIO_BLK_S_OK)
		return step_wrong("a disk in no domain still reaches memory", 0, 0);
	return page_holds(1, 12);
}

/* A new driver of the IOMMU finds it empty. */
static bool starts_over(void)
{
	domain = iommu.config.domain_first + 1;
	if (!virtio_reset(&disk_device) || !virtio_iommu_open(&iommu, &iommu_device, features))
		return step_wrong("the IOMMU does not come back from its reset", 0, 0);
	if (!answers(virtio_iommu_map(&iommu, domain, 0, PAGE - 1, 0, RW), VIRTIO_IOMMU_S_NOENT,
		     "a domain outlives the reset"))
		return false;
	return attaches() && maps(DATA_IOVA, page(0), 2 * PAGE, RW) && disk_carries(DATA_IOVA, DATA_IOVA + PAGE, PAGE);
}

static const struct step steps[] = {
	{"open", opens},
	{"bypass", bypasses},
	{"strangers", refuses_strangers},
	{"unknown", refuses_unknown},
	{"attach", attaches},
	{"probe", probes},
	{"scatter", scatters},
	{"stray", strays_nowhere},
	{"stray at the end", strays_at_the_end},
	{"stray by gpa", strays_by_gpa},
	{"rights", keeps_rights},
	{"map", refuses_maps},
	{"refuse", refuses_more},
	{"unmap a part", unmaps_parts},
	{"unmap across", unmaps_across},
	{"remap", remaps},
	{"domains", changes_domain},
	{"detach", detaches},
	{"reset", starts_over},
};

int guest_main(const struct boot_info *boot)
{
	unsigned nth = (unsigned)text_option(boot->cmdline, "disk", 0);

	if (!virtio_find(boot->cmdline, VIRTIO_ID_IOMMU, 0, &iommu_device) ||
	    !virtio_find(boot->cmdline, VIRTIO_ID_BLK, nth, &disk_device)) {
		console_print("iommu: there is no IOMMU, or no such disk\n");
		return GUEST_FAILED;
	}
	strict = text_has(boot->cmdline, "strict");
	endpoint = (uint32_t)text_option(boot->cmdline, "endpoint", disk_device.endpoint);
	features = (text_has(boot->cmdline, "packed") ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0) |
		   (text_has(boot->cmdline, "indirect") ? VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) : 0) |
		   (text_has(boot->cmdline, "event") ? VIRTIO_BIT(VIRTIO_F_EVENT_IDX) : 0);
	if (!steps_run("iommu", steps, sizeof(steps) / sizeof(steps[0])))
		return GUEST_FAILED;
	console_print("iommu: endpoint %u, features 0x%lx, %lu reserved regions\n", endpoint, iommu_device.accepted,
		      reserved);
	console_print("iommu: the last fault: reason %u, flags 0x%x, endpoint %u, address 0x%lx\n", last_fault.reason,
		      last_fault.flags, last_fault.endpoint, last_fault.address);
	console_print("iommu: ok %lu checks, %lu faults\n", checks, faults);
	return GUEST_OK;
}
