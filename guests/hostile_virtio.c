/* hostile_virtio: a virtio disk is driven as no driver would, and nothing comes
 * of it but what the specification has for that: the device needs a reset, and
 * says so; or the request fails; or nothing happens.
 *
 * Each deed starts from a device that works, and ends the same way: the device
 * is looked at (DEVICE_NEEDS_RESET in its status, and a configuration interrupt
 * with it if DRIVER_OK was there), memory beside the buffers must be untouched, a
 * second disk, if there is one, must go on without a reset, and the first after
 * its reset must write and read a block. How a deed ended is printed, and must be
 * what the table at the end says.
 *
 * Words of the command line: "case=NAME" does one deed; without, all that this
 * machine has the means for. "packed", "event": of the ring, where offered.
 * "iommu": the disks are behind one, each in a domain of its own that has its
 * memory at the addresses where it lies; "endpoint=N" and "other=N" are what it
 * calls them, unless the transport knows. "hole=ADDRESS": where RAM ends, below
 * which a frame of it is free (the end of all RAM). "ro=ADDRESS": a frame that a
 * device may not write; without it such deeds are left out. "strict": of a deed
 * that strangers let pass (QEMU 7.2 does) the ending is demanded, too. */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/paging.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtio_blk.h"
#include "guests/runtime/virtio_iommu.h"

#define ARENA_BYTES   (UINT64_C(4) << 20)
#define PAGE	      FRAME_BYTES
#define DATA_PAGES    4u /* a canary before and one behind */
#define EXTRA_PAGES   64u
#define UNDER_WAY     16u /* requests when their memory goes away */
#define UNMAPS	      16u
#define CANARY	      0xc5
#define WAIT_CYCLES   (UINT64_C(1) << 32) /* some seconds */
#define SILENT_CYCLES (UINT64_C(1) << 28) /* some 0.1 s */
#define OUTSIDE	      (UINT64_C(1) << 38) /* no RAM is there */
#define RW	      (VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE)

enum ending { NOTHING_YET, RESETS, FAILS, SILENT, OFF, SERVED, ANY };
static const char *const ending_name[] = {"nothing", "needs a reset", "fails", "no answer", "the queue stays off",
					  "served",  "anything"};

enum need {
	SPLIT = 1,
	PACKED = 2,
	INDIRECT = 4,
	HOLE = 8,
	READONLY = 16,
	IOMMU = 32,
	LENIENT = 64,	/* not only "strict" devices may end otherwise */
	OR_RESET = 128, /* RESETS will do as well */
};

struct deed {
	const char *name;
	enum ending wanted;
	unsigned needs;
	bool (*act)(void); /* false: step_wrong() */
};

struct arena {
	uint8_t *start;
	uint64_t used;
};

static struct virtio_device device, other_device, iommu_device;
static struct virtio_blk disk, other;
static struct virtio_iommu iommu;
static struct virtio_iommu_fault last_fault;
static struct arena arena, other_arena;
static uint64_t features, hole, readonly, skipped, done_deeds;
static bool strict, behind, has_other, interrupts_due, started;
static uint32_t endpoint, other_endpoint, domain, other_domain;
static uint8_t *data, *extra, *other_data; /* data[PAGE] is the first that is used */
static struct virtio_blk_slot *slot;
static struct virtq_piece parts[VIRTQ_SIZE_MAX + 2];
static enum ending ended;
static uint32_t ended_status;

/* ---- memory ---- */

static void *arena_take(void *self, uint64_t bytes)
{
	struct arena *a = self;
	void *at = a->start + a->used;

	a->used += (bytes + PAGE - 1) & -PAGE;
	if (a->used > ARENA_BYTES)
		guest_panic("the arena is too small", a->used, ARENA_BYTES);
	return at;
}

static void arena_give(struct arena *a, struct virtio_device *to)
{
	struct virtio_dma plain = to->dma;

	a->start = plain.take(plain.self, ARENA_BYTES);
	to->dma = (struct virtio_dma){.self = a, .take = arena_take, .address = plain.address};
}

static bool all_are(const uint8_t *at, uint64_t bytes, uint8_t wanted)
{
	for (uint64_t i = 0; i < bytes; i++)
		if (at[i] != wanted)
			return step_wrong("memory was written that nobody named", (uintptr_t)at + i, at[i]);
	return true;
}

static bool canaries_live(void)
{
	return all_are(data, PAGE, CANARY) && all_are(data + PAGE * (DATA_PAGES - 1), PAGE, CANARY) &&
	       (!other_data || all_are(other_data, PAGE, CANARY));
}

/* ---- the device, as it should be ---- */

static bool opens(uint64_t with)
{
	started = true;
	if (virtio_blk_open(&disk, &device, with, VIRTQ_SIZE_MAX))
		return true;
	return step_wrong("the disk does not come up", device.offered, device.accepted);
}

/* Up to where its queue would be told to it. */
static bool opens_half(uint64_t with)
{
	started = false;
	if (virtio_begin(&device) && virtio_negotiate(&device, with) &&
	    virtq_prepare(&disk.queue, &device, 0, VIRTQ_SIZE_MAX))
		return true;
	return step_wrong("the disk does not come up", device.offered, device.accepted);
}

static void starts(void)
{
	device.transport->queue_start(&device, 0, &disk.queue.place);
	interrupts_due = !virtio_needs_reset(&device); /* without DRIVER_OK there is none */
	virtio_ready(&device);
	started = true;
}

static bool works(struct virtio_blk *d, uint8_t *at, uint64_t sector, uint8_t byte)
{
	memset(at, byte, PAGE);
	if (virtio_blk_move(d, VIRTIO_BLK_T_OUT, sector, at, PAGE) != VIRTIO_BLK_S_OK)
		return step_wrong("a good write fails", sector, d->end);
	memset(at, 0, PAGE);
	if (virtio_blk_move(d, VIRTIO_BLK_T_IN, sector, at, PAGE) != VIRTIO_BLK_S_OK)
		return step_wrong("a good read fails", sector, d->end);
	return all_are(at, PAGE, byte);
}

/* ---- chains ---- */

/* A read of `bytes` into `address`: header, data, status. */
static void parts_set(uint64_t address, uint32_t bytes)
{
	uint64_t at = virtio_address(&device, slot);

	slot->header = (struct virtio_blk_header){VIRTIO_BLK_T_IN, 0, 0};
	slot->status = 0xff;
	parts[0] = (struct virtq_piece){at, sizeof(slot->header), false};
	parts[1] = (struct virtq_piece){address, bytes, true};
	parts[2] = (struct virtq_piece){at + __builtin_offsetof(struct virtio_blk_slot, status), 1, true};
}

static uint64_t data_address(void)
{
	return virtio_address(&device, data + PAGE);
}

static bool add(unsigned count)
{
	return virtq_add(&disk.queue, parts, count, slot) ? true : step_wrong("the queue has no room", count, 0);
}

static bool add_read(uint64_t address, uint32_t bytes)
{
	parts_set(address, bytes);
	return add(3);
}

static bool reads_to(uint64_t address, uint32_t bytes)
{
	if (!opens(features) || !add_read(address, bytes))
		return false;
	virtq_kick(&disk.queue);
	return true;
}

/* A good chain in the first three slots of a queue that the device does not know yet: what is done to it now, no device
 * that polls, or looks once of its own accord, sees half done. */
static bool chain(void)
{
	return opens_half(features) && add_read(data_address(), PAGE);
}

static uint16_t *flags_of(unsigned i)
{
	return disk.queue.packed ? &disk.queue.ring[i].flags : &disk.queue.desc[i].flags;
}

static bool shown(void)
{
	if (!started)
		starts();
	virtq_kick(&disk.queue);
	return true;
}

/* What comes of it, by then. */
static void look(uint64_t cycles)
{
	struct virtq_done done;
	uint64_t start = cpu_cycles();

	ended_status = slot->status;
	for (unsigned spins = 1; ended == NOTHING_YET; spins++) {
		if (virtq_take(&disk.queue, &done)) {
			ended_status = slot->status;
			ended = ended_status == VIRTIO_BLK_S_OK ? SERVED : FAILS;
		} else if (spins % 1024 == 0 && virtio_needs_reset(&device)) {
			ended = RESETS;
		} else if (disk.queue.wrong || cpu_cycles() - start > cycles) {
			ended = device.transport->queue_ready(&device, 0) ? SILENT : OFF;
		}
		cpu_relax();
	}
}

/* ---- deeds: where the rings are ---- */

static bool ring_at(uint64_t *part, uint64_t address)
{
	*part = address;
	starts();
	return add_read(data_address(), PAGE) && shown();
}

static bool desc_outside(void)
{
	return opens_half(features) && ring_at(&disk.queue.place.desc, OUTSIDE);
}

static bool driver_outside(void)
{
	return opens_half(features) && ring_at(&disk.queue.place.driver, OUTSIDE);
}

static bool device_outside(void)
{
	return opens_half(features) && ring_at(&disk.queue.place.device, OUTSIDE);
}

static bool ring_wraps(void)
{
	return opens_half(features) && ring_at(&disk.queue.place.desc, UINT64_MAX - 15);
}

static bool ring_crooked(void)
{
	return opens_half(features) && ring_at(&disk.queue.place.desc, disk.queue.place.desc + 8);
}

static bool ring_of(uint16_t size)
{
	if (!opens_half(features))
		return false;
	disk.queue.place.size = size;
	starts();
	return add_read(data_address(), PAGE) && shown();
}

static bool size_zero(void)
{
	return ring_of(0);
}

static bool size_huge(void)
{
	return ring_of(0x8000);
}

static bool size_odd(void)
{
	return ring_of(7);
}

/* The chain begins beyond where RAM ends. */
static bool split_in_hole(void)
{
	struct virtq *q = &disk.queue;

	if (!opens_half(features))
		return false;
	q->place.desc = hole - PAGE / 2;
	starts();
	q->avail->ring[0] = (uint16_t)(q->size - 1);
	__atomic_store_n(&q->avail->index, 1, __ATOMIC_RELEASE);
	q->added = 1;
	return shown();
}

/* The chain begins before, and goes on beyond. */
static bool packed_in_hole(void)
{
	struct virtq_packed_desc *ring = (struct virtq_packed_desc *)(uintptr_t)(hole - 2 * sizeof(*ring));
	uint16_t avail = 1u << VIRTQ_PACKED_AVAIL_SHIFT | VIRTQ_DESC_NEXT;

	if (!opens_half(features))
		return false;
	disk.queue.place.desc = (uintptr_t)ring;
	parts_set(data_address(), PAGE);
	ring[1] = (struct virtq_packed_desc){parts[1].address, parts[1].bytes, 0, avail | VIRTQ_DESC_WRITE};
	ring[0] = (struct virtq_packed_desc){parts[0].address, parts[0].bytes, 0, avail};
	starts();
	disk.queue.added = 2;
	return shown();
}

/* What the device writes for its driver is where it may not write. */
static bool used_readonly(void)
{
	return opens_half(features) && ring_at(&disk.queue.place.device, readonly);
}

static bool desc_readonly(void)
{
	return opens_half(features) && ring_at(&disk.queue.place.desc, readonly);
}

/* ---- deeds: what is in them ---- */

static bool loops(void)
{
	if (!chain())
		return false;
	disk.queue.desc[1].flags |= VIRTQ_DESC_NEXT;
	disk.queue.desc[1].next = 1;
	return shown();
}

/* Nor does it end where the ring does. */
static bool never_ends(void)
{
	struct virtq *q = &disk.queue;

	if (!opens(features))
		return false;
	for (unsigned i = q->size; i-- > 0;)
		q->ring[i] = (struct virtq_packed_desc){data_address(), 1, 0,
							1u << VIRTQ_PACKED_AVAIL_SHIFT | VIRTQ_DESC_NEXT |
								(i ? VIRTQ_DESC_WRITE : 0)};
	q->added = q->size; /* a lap: whoever waits for any of them is to be told */
	q->avail_wrap = !q->avail_wrap;
	return shown();
}

static bool head_wild(void)
{
	if (!chain())
		return false;
	disk.queue.avail->ring[0] = disk.queue.size;
	return shown();
}

static bool next_wild(void)
{
	if (!chain())
		return false;
	disk.queue.desc[1].next = 0xfff0;
	return shown();
}

static bool index_jumps(void)
{
	if (!chain())
		return false;
	__atomic_store_n(&disk.queue.avail->index, (uint16_t)(disk.queue.size + 1), __ATOMIC_RELEASE);
	return shown();
}

static bool zero_length(void)
{
	if (!opens(features) || !add_read(data_address(), 0))
		return false;
	return shown();
}

static bool wrong_order(void)
{
	if (!chain())
		return false;
	*flags_of(2) &= (uint16_t)~VIRTQ_DESC_WRITE;
	return shown();
}

static bool no_status(void)
{
	parts_set(data_address(), PAGE);
	return opens(features) && add(1) && shown();
}

static bool short_header(void)
{
	parts_set(data_address(), PAGE);
	parts[0].bytes = 7;
	return opens(features) && add(3) && shown();
}

/* ---- deeds: indirect tables ---- */

static uint64_t with_tables(void)
{
	return features | VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
}

static bool chain_in_table(void)
{
	return opens_half(with_tables()) && add_read(data_address(), PAGE);
}

static bool table_in_table(void)
{
	uint8_t *table;

	if (!chain_in_table())
		return false;
	table = disk.queue.tables;
	*(uint16_t *)(void *)(table + 16 + (disk.queue.packed ? 14 : 12)) |= VIRTQ_DESC_INDIRECT;
	return shown();
}

static bool table_bytes(uint32_t bytes)
{
	if (!chain_in_table())
		return false;
	if (disk.queue.packed)
		disk.queue.ring[0].length = bytes;
	else
		disk.queue.desc[0].length = bytes;
	return shown();
}

/* All of the chain, and half a descriptor. */
static bool table_crooked(void)
{
	return table_bytes(56);
}

static bool table_empty(void)
{
	return table_bytes(0);
}

static bool table_outside(void)
{
	if (!chain_in_table())
		return false;
	disk.queue.desc[0].address = OUTSIDE; /* in both formats it comes first */
	return shown();
}

/* A table of more than the queue has. */
static bool too_long(void)
{
	struct virtq *q = &disk.queue;
	uint32_t count = q->size + 2u;
	struct virtq_desc *split;
	struct virtq_packed_desc *packed;

	if (!chain_in_table())
		return false;
	split = q->tables;
	packed = q->tables;
	for (unsigned i = 0; i < count; i++) {
		struct virtq_piece p = i == 0 ? parts[0] : i + 1 == count ? parts[2] : parts[1];
		uint16_t flags = p.written ? VIRTQ_DESC_WRITE : 0;

		p.bytes = i > 0 && i + 1 < count ? VIRTIO_BLK_SECTOR : p.bytes;
		if (q->packed)
			packed[i] = (struct virtq_packed_desc){p.address, p.bytes, 0, flags};
		else
			split[i] = (struct virtq_desc){
				p.address, p.bytes, flags | (i + 1 < count ? VIRTQ_DESC_NEXT : 0), (uint16_t)(i + 1)};
	}
	q->desc[0].length = 16 * count;
	q->chain[0].writable = UINT32_MAX;
	return shown();
}

/* The flag of a feature that was not accepted. */
static bool table_unasked(void)
{
	if (!chain())
		return false;
	*flags_of(0) |= VIRTQ_DESC_INDIRECT;
	return shown();
}

/* ---- deeds: where the data are ---- */

static bool data_outside(void)
{
	return reads_to(OUTSIDE, PAGE);
}

static bool data_in_hole(void)
{
	return reads_to(hole - PAGE / 2, PAGE);
}

static bool data_wraps(void)
{
	return reads_to(UINT64_MAX - 511, PAGE);
}

static bool data_huge(void)
{
	return reads_to(data_address(), UINT32_MAX & -VIRTIO_BLK_SECTOR);
}

static bool data_readonly(void)
{
	return reads_to(readonly, PAGE);
}

static bool data_foreign(void)
{
	return reads_to(virtio_address(&other_device, other_data), PAGE);
}

static bool map_extra(uint32_t flags)
{
	uint64_t first = (uintptr_t)extra;
	uint32_t status =
		virtio_iommu_map(&iommu, domain, first, first + EXTRA_PAGES * PAGE - 1, (uintptr_t)extra, flags);

	return status == VIRTIO_IOMMU_S_OK ? true : step_wrong("a range could not be mapped", first, status);
}

static bool unmap_extra(void)
{
	uint64_t first = (uintptr_t)extra;
	uint32_t status = virtio_iommu_unmap(&iommu, domain, first, first + EXTRA_PAGES * PAGE - 1);

	return status == VIRTIO_IOMMU_S_OK ? true : step_wrong("a range could not be unmapped", first, status);
}

static bool data_map_readonly(void)
{
	memset(extra, CANARY, EXTRA_PAGES * PAGE);
	return map_extra(VIRTIO_IOMMU_MAP_READ) && reads_to((uintptr_t)extra, PAGE);
}

static bool fills_extra(void)
{
	struct virtq_piece piece = {(uintptr_t)extra, EXTRA_PAGES * PAGE, true};
	struct virtio_blk_ask ask = {.type = VIRTIO_BLK_T_IN, .data = &piece, .pieces = 1};
	uint16_t which;

	if (!map_extra(RW) || !opens(features))
		return false;
	for (unsigned i = 0; i < UNDER_WAY && virtio_blk_start(&disk, &ask, &which); i++)
		;
	virtq_kick(&disk.queue);
	return true;
}

static bool empties_queue(void)
{
	uint16_t which;

	while (disk.queue.in_flight > 0 && virtio_blk_finish(&disk, &which) != VIRTIO_BLK_BROKEN)
		;
	return disk.end == VIRTQ_DONE || disk.end == VIRTQ_NEEDS_RESET
		       ? true
		       : step_wrong(virtio_blk_why(&disk), disk.queue.in_flight, 0);
}

/* Requests are under way when their memory is taken away: once the IOMMU has answered, not a byte of it may change. */
static bool unmap_under_way(void)
{
	for (unsigned i = 0; i < UNMAPS; i++) {
		if (!fills_extra() || !unmap_extra())
			return false;
		memset(extra, CANARY, EXTRA_PAGES * PAGE);
		if (!empties_queue() || (strict && !all_are(extra, EXTRA_PAGES * PAGE, CANARY)))
			return false;
	}
	return true;
}

/* ---- deeds: registers ---- */

static bool features_stuck(uint64_t bits)
{
	if (!virtio_begin(&device))
		return step_wrong("the disk does not come out of its reset", 0, 0);
	device.offered |= bits; /* a lie to our own driver */
	return virtio_negotiate(&device, bits) && strict ? step_wrong("features stick that were not offered", bits, 0)
							 : true;
}

static bool features_unoffered(void)
{
	for (unsigned n = 0; n < 64; n++)
		if (virtio_begin(&device) && !(device.offered & VIRTIO_BIT(n)) && !features_stuck(VIRTIO_BIT(n)))
			return false;
	return true;
}

/* Before DRIVER_OK nothing may be taken; with it, what was there before is. */
static bool notify_early(void)
{
	if (!opens_half(features))
		return false;
	device.transport->queue_start(&device, 0, &disk.queue.place);
	started = true;
	if (!add_read(data_address(), PAGE) || !shown())
		return false;
	look(SILENT_CYCLES);
	if (ended != SILENT)
		return !strict || step_wrong("a request is taken before the driver is ready", ended, 0);
	ended = NOTHING_YET;
	virtio_ready(&device);
	device.transport->notify(&device, 0);
	return true;
}

static bool notify_wild(void)
{
	if (!opens(features))
		return false;
	for (unsigned queue = 1; queue < 0x10000; queue = queue * 3 + 7)
		if (device.common == device.config - VIRTIO_MMIO_CONFIG) /* on PCI each queue has a place of its own */
			device.transport->notify(&device, (uint16_t)queue);
	return true;
}

/* Beyond the fields, of all widths, reading and writing; and the fields that a driver may not write. */
static bool config_outside(void)
{
	uint64_t sectors;

	if (!opens(features))
		return false;
	sectors = virtio_config(&device, 0, 8);
	for (uint32_t at = sizeof(struct virtio_blk_config_regs); at + 4 <= VIRTIO_MMIO_WINDOW - VIRTIO_MMIO_CONFIG;
	     at += 4)
		for (unsigned bytes = 1; bytes <= 4; bytes *= 2) {
			(void)virtio_config(&device, at, bytes);
			virtio_config_set(&device, at, bytes, 0xa5a5a5a5);
		}
	for (uint32_t at = 0; at < 32; at += 4) /* below writeback, the only one that may be */
		virtio_config_set(&device, at, 4, 0xffffffff);
	if (virtio_config(&device, 0, 8) != sectors)
		return step_wrong("the disk's size can be written", sectors, virtio_config(&device, 0, 8));
	return true;
}

/* ---- what comes of it ---- */

static bool as_wanted(const struct deed *d)
{
	if (disk.queue.wrong)
		return step_wrong(disk.queue.wrong, ended, ended_status);
	if (d->wanted == ANY || ended == d->wanted || (d->needs & OR_RESET && ended == RESETS) ||
	    (d->needs & LENIENT && !strict))
		return true;
	return step_wrong("that is not how it must end", ended, ended_status);
}

static bool may_be_silent(const struct deed *d)
{
	return d->wanted == SILENT || d->wanted == OFF || d->wanted == ANY || (d->needs & LENIENT && !strict);
}

static bool interrupt_came(void)
{
	if (ended != RESETS || !interrupts_due || device.transport->interrupts(&device) & VIRTIO_INTERRUPT_CONFIG)
		return true;
	return step_wrong("no configuration interrupt tells that the disk needs a reset", 0, 0);
}

/* By the IOMMU, of the disk. */
static bool fault_told(void)
{
	for (uint64_t start = cpu_cycles(); !virtio_iommu_fault_take(&iommu, &last_fault); cpu_relax())
		if (cpu_cycles() - start > WAIT_CYCLES)
			return step_wrong("nobody reports a fault", ended, 0);
	return last_fault.endpoint == endpoint
		       ? true
		       : step_wrong("a fault of another endpoint", last_fault.endpoint, endpoint);
}

static bool recovers(void)
{
	if (has_other && !works(&other, other_data + PAGE, 16, (uint8_t)done_deeds))
		return false;
	if (!opens(features) || !works(&disk, data + PAGE, 8, (uint8_t)(done_deeds + 1)))
		return false;
	return canaries_live();
}

static const struct deed *current;

static bool deed_done(void)
{
	static uint8_t before[FRAME_BYTES];

	memset(data, CANARY, DATA_PAGES * PAGE);
	if (readonly)
		memcpy(before, (const void *)(uintptr_t)readonly, PAGE);
	while (behind && virtio_iommu_fault_take(&iommu, &last_fault))
		;
	ended = NOTHING_YET;
	interrupts_due = true;
	slot->status = 0xff;
	if (!current->act())
		return false;
	look(may_be_silent(current) ? SILENT_CYCLES : WAIT_CYCLES);
	if (!as_wanted(current) || !interrupt_came() || !canaries_live())
		return false;
	if (readonly && memcmp(before, (const void *)(uintptr_t)readonly, PAGE) != 0)
		return step_wrong("read-only memory was written", readonly, 0);
	if (behind && current->act == data_map_readonly && (!all_are(extra, PAGE, CANARY) || !unmap_extra()))
		return false;
	done_deeds++;
	return (!(current->needs & IOMMU) || current->wanted == ANY || fault_told()) && recovers();
}

/* How each must end. A request's data are where they cannot be: the request fails, or, where a device takes that for a
 * broken ring, it needs a reset. */
static const struct deed deeds[] = {
	{"desc_outside", RESETS, LENIENT, desc_outside},
	{"driver_outside", RESETS, SPLIT | LENIENT, driver_outside},
	{"device_outside", RESETS, SPLIT | LENIENT, device_outside},
	{"ring_wraps", OFF, OR_RESET, ring_wraps},
	{"ring_crooked", OFF, LENIENT, ring_crooked},
	{"size_zero", OFF, LENIENT, size_zero},
	{"size_huge", OFF, LENIENT, size_huge},
	{"size_odd", OFF, SPLIT | LENIENT, size_odd},
	{"split_in_hole", RESETS, SPLIT | HOLE, split_in_hole},
	{"packed_in_hole", RESETS, PACKED | HOLE, packed_in_hole},
	{"used_readonly", RESETS, SPLIT | READONLY, used_readonly},
	{"desc_readonly", ANY, READONLY, desc_readonly}, /* nothing is available there: it may never be looked at */
	{"loop", RESETS, SPLIT, loops},
	{"never_ends", RESETS, PACKED, never_ends},
	{"head_wild", RESETS, SPLIT, head_wild},
	{"next_wild", RESETS, SPLIT, next_wild},
	{"index_jumps", RESETS, SPLIT, index_jumps},
	{"zero_length", RESETS, 0, zero_length},
	{"wrong_order", RESETS, 0, wrong_order},
	{"no_status", RESETS, 0, no_status},
	{"short_header", FAILS, OR_RESET, short_header},
	{"table_in_table", RESETS, SPLIT | INDIRECT | LENIENT, table_in_table},
	{"table_flags", SERVED, PACKED | INDIRECT, table_in_table}, /* they are ignored there (2.8.7) */
	{"table_crooked", RESETS, INDIRECT, table_crooked},
	{"table_empty", RESETS, INDIRECT, table_empty},
	{"table_outside", RESETS, INDIRECT | LENIENT, table_outside},
	{"table_unasked", RESETS, LENIENT, table_unasked},
	{"too_long", RESETS, INDIRECT | LENIENT, too_long},
	{"data_outside", FAILS, OR_RESET | LENIENT, data_outside},
	{"data_in_hole", FAILS, HOLE | OR_RESET | LENIENT, data_in_hole},
	{"data_wraps", FAILS, OR_RESET | LENIENT, data_wraps},
	{"data_huge", FAILS, OR_RESET | LENIENT, data_huge},
	{"data_readonly", FAILS, READONLY | OR_RESET, data_readonly},
	{"data_foreign", FAILS, IOMMU | OR_RESET | LENIENT, data_foreign},
	{"data_map_readonly", FAILS, IOMMU | OR_RESET | LENIENT, data_map_readonly},
	{"unmap_under_way", ANY, IOMMU, unmap_under_way},
	{"features_unoffered", OFF, 0, features_unoffered},
	{"notify_early", SERVED, 0, notify_early},
	{"notify_wild", ANY, 0, notify_wild},
	{"config_outside", SILENT, 0, config_outside},
};
#define DEEDS (sizeof(deeds) / sizeof(deeds[0]))

/* ---- the machine ---- */

static bool has_means(const struct deed *d)
{
	bool packed = features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);

	return !((d->needs & SPLIT && packed) || (d->needs & PACKED && !packed) || (d->needs & IOMMU && !behind) ||
		 (d->needs & READONLY && !readonly) ||
		 (d->needs & HOLE && behind) || /* what is not mapped is a hole for all of them */
		 (d->needs & INDIRECT && !(device.offered & VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC))));
}

static bool attach(uint32_t to, uint32_t who, const struct arena *a)
{
	uint64_t first = (uintptr_t)a->start;
	uint32_t status = virtio_iommu_attach(&iommu, to, who, 0);

	if (status == VIRTIO_IOMMU_S_OK)
		status = virtio_iommu_map(&iommu, to, first, first + ARENA_BYTES - 1, first, RW);
	return status == VIRTIO_IOMMU_S_OK ? true : step_wrong("a disk could not be attached", who, status);
}

static bool attaches(void)
{
	if (!virtio_iommu_open(&iommu, &iommu_device, 0))
		return step_wrong("the IOMMU does not come up", iommu_device.offered, iommu_device.accepted);
	domain = iommu.config.domain_first + 1;
	other_domain = domain + 1;
	return attach(domain, endpoint, &arena) && (!has_other || attach(other_domain, other_endpoint, &other_arena));
}

static bool prepares(void)
{
	uint64_t frame = hole >> FRAME_SHIFT;

	arena_give(&arena, &device);
	extra = virtio_dma_plain().take(NULL, EXTRA_PAGES * PAGE);
	if (has_other)
		arena_give(&other_arena, &other_device);
	memory_take(frame - 1, frame);
	slot = virtio_take(&device, sizeof(*slot));
	data = virtio_take(&device, DATA_PAGES * PAGE);
	if (has_other) {
		other_data = virtio_take(&other_device, 2 * PAGE);
		memset(other_data, CANARY, PAGE);
	}
	if (behind && !attaches())
		return false;
	if (has_other && (!virtio_blk_open(&other, &other_device, features, VIRTQ_SIZE_MAX) ||
			  !works(&other, other_data + PAGE, 16, 1)))
		return step_wrong("the second disk does not come up", other_device.offered, other_device.accepted);
	return opens(features) && works(&disk, data + PAGE, 8, 2);
}

static bool read_words(const char *cmdline)
{
	strict = text_has(cmdline, "strict");
	behind = text_has(cmdline, "iommu");
	hole = text_option(cmdline, "hole", memory_end() & -FRAME_BYTES);
	readonly = text_option(cmdline, "ro", 0);
	features = (text_has(cmdline, "packed") ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0) |
		   (text_has(cmdline, "event") ? VIRTIO_BIT(VIRTIO_F_EVENT_IDX) : 0);
	if (!virtio_find(cmdline, VIRTIO_ID_BLK, 0, &device) ||
	    (behind && !virtio_find(cmdline, VIRTIO_ID_IOMMU, 0, &iommu_device)))
		return false;
	has_other = virtio_find(cmdline, VIRTIO_ID_BLK, 1, &other_device);
	device.behind = other_device.behind = behind;
	endpoint = (uint32_t)text_option(cmdline, "endpoint", device.endpoint);
	other_endpoint = (uint32_t)text_option(cmdline, "other", other_device.endpoint);
	return !behind || has_other;
}

static bool deed_run(const struct deed *d)
{
	struct step step = {d->name, deed_done};

	current = d;
	if (!has_means(d)) {
		skipped++;
		return true;
	}
	if (!step_run("hostile_virtio", &step))
		return false;
	console_print("hostile_virtio: %s: %s", d->name, ending_name[ended]);
	if (ended == FAILS)
		console_print(" with status %u", ended_status);
	console_print("\n");
	return true;
}

int guest_main(const struct boot_info *boot)
{
	const char *only = text_value(boot->cmdline, "case");
	struct step step = {"prepare", prepares};

	if (!read_words(boot->cmdline)) {
		console_print("hostile_virtio: there is no disk, or not an IOMMU and two\n");
		return GUEST_FAILED;
	}
	if (!step_run("hostile_virtio", &step))
		return GUEST_FAILED;
	for (unsigned i = 0; i < DEEDS; i++)
		if ((!only || text_starts(only, deeds[i].name)) && !deed_run(&deeds[i]))
			return GUEST_FAILED;
	if (done_deeds == 0) {
		console_print("hostile_virtio: there is no such deed, or not the means for it\n");
		return GUEST_FAILED;
	}
	console_print("hostile_virtio: ok %lu deeds, %lu left out\n", done_deeds, skipped);
	return GUEST_OK;
}
