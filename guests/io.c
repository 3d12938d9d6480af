/* io: how many requests a second a disk takes, of one size, with so many under way
 * at a time. Nothing is verified here but that each request ends well (blk does);
 * the figure is the property, in cycles, since not every machine here has a timer.
 *
 * Words of the command line: "bytes=N" of a request (4K), in a row, or "random";
 * "requests=N" of a round (2000), "rounds=N" (5), of which the fastest counts,
 * "depth=N" under way at most (32); "limit=BYTES" of the disk are used (64M).
 * "mapped": behind the IOMMU, everything mapped once, far from where it lies;
 * "strict": behind the IOMMU, each request's buffer mapped before it and unmapped
 * after it; "bounce": each request's bytes are copied to where they are wanted, as
 * a driver does that cannot let the device have the buffer. */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtio_blk.h"
#include "guests/runtime/virtio_iommu.h"

#define ARENA_BYTES (UINT64_C(16) << 20) /* it is cleared in ring 0, which is slow on some hosts */
#define ARENA_IOVA  UINT64_C(0x2000000000)
#define DOMAIN	    1u
#define DEPTH_MAX   64u
#define RW	    (VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE)

static struct virtio_device iommu_device, device;
static struct virtio_iommu iommu;
static struct virtio_blk disk;
static uint8_t *arena, *buffer, *wanted;
static uint64_t arena_used, data_at, offset, bytes, requests, depth, limit, seed = 0x5eed, cycles;
static bool mapped, strict, bounce, in_random;
static unsigned of_slot[VIRTQ_SIZE_MAX]; /* which buffer a request has */
static unsigned idle[DEPTH_MAX], idle_count;

static void *arena_take(void *unused, uint64_t size)
{
	void *at = arena + arena_used;

	(void)unused;
	arena_used += (size + FRAME_BYTES - 1) & -FRAME_BYTES;
	if (arena_used > ARENA_BYTES)
		guest_panic("the arena is too small", arena_used, ARENA_BYTES);
	return at;
}

static uint64_t arena_address(void *unused, const void *at)
{
	(void)unused;
	return (uintptr_t)at + offset;
}

static uint64_t place(uint64_t n)
{
	uint64_t places = limit / bytes;

	if (!in_random)
		return n % places * bytes;
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % places * bytes;
}

/* The data's frames alone: rings and requests stay mapped. */
static bool map_data(unsigned n, bool on)
{
	uint64_t first = virtio_address(&device, buffer + n * bytes), last = first + bytes - 1;
	uint32_t status = on ? virtio_iommu_map(&iommu, DOMAIN, first, last, (uintptr_t)buffer + n * bytes, RW)
			     : virtio_iommu_unmap(&iommu, DOMAIN, first, last);

	return status == VIRTIO_IOMMU_S_OK ? true : step_wrong("the IOMMU refused a buffer", first, status);
}

static bool start_one(uint64_t n)
{
	unsigned which = idle[--idle_count];
	struct virtq_piece data = {virtio_address(&device, buffer + which * bytes), (uint32_t)bytes, true};
	struct virtio_blk_ask ask = {
		.type = VIRTIO_BLK_T_IN, .sector = place(n) / VIRTIO_BLK_SECTOR, .data = &data, .pieces = 1};
	uint16_t slot;

	if (strict && !map_data(which, true))
		return false;
	if (!virtio_blk_start(&disk, &ask, &slot))
		return step_wrong("the queue is full", n, depth);
	of_slot[slot] = which;
	return true;
}

static bool finish_one(void)
{
	uint16_t slot;
	uint32_t status = virtio_blk_finish(&disk, &slot);
	unsigned which;

	if (status != VIRTIO_BLK_S_OK)
		return step_wrong("a read failed", status, disk.end);
	which = of_slot[slot];
	if (bounce)
		memcpy(wanted + which * bytes, buffer + which * bytes, bytes);
	idle[idle_count++] = which;
	return strict ? map_data(which, false) : true;
}

/* All that fit are started, then kicked at once; then one by one as they end. */
static bool round_of(void)
{
	uint64_t started = 0, ended = 0, start = cpu_cycles();

	while (ended < requests) {
		for (; idle_count > 0 && started < requests; started++)
			if (!start_one(started))
				return false;
		virtq_kick(&disk.queue);
		do {
			if (!finish_one())
				return false;
			ended++;
		} while (started < requests && idle_count < depth / 2 && ended < started);
	}
	cycles = cpu_cycles() - start;
	return true;
}

static bool behind_iommu(void)
{
	uint32_t status;

	if (!virtio_iommu_open(&iommu, &iommu_device, 0))
		return step_wrong("the IOMMU does not come up", iommu_device.offered, 0);
	status = virtio_iommu_attach(&iommu, DOMAIN, device.endpoint, 0);
	if (status != VIRTIO_IOMMU_S_OK)
		return step_wrong("the disk cannot be attached", device.endpoint, status);
	status = virtio_iommu_map(&iommu, DOMAIN, ARENA_IOVA, ARENA_IOVA + data_at - 1, (uintptr_t)arena, RW);
	if (status == VIRTIO_IOMMU_S_OK && mapped)
		status = virtio_iommu_map(&iommu, DOMAIN, ARENA_IOVA + data_at, ARENA_IOVA + ARENA_BYTES - 1,
					  (uintptr_t)arena + data_at, RW);
	return status == VIRTIO_IOMMU_S_OK ? true : step_wrong("the arena cannot be mapped", status, 0);
}

static bool opens(void)
{
	uint64_t features = VIRTIO_BIT(VIRTIO_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);

	memset(buffer, 1, 2 * depth * bytes); /* every frame is there before it is timed */
	if ((mapped || strict) && !behind_iommu())
		return false;
	if (mapped || strict)
		features |= VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM);
	if (!virtio_blk_open(&disk, &device, features, VIRTQ_SIZE_MAX))
		return step_wrong("the disk does not come up", device.offered, device.accepted);
	if (limit > disk.sectors * VIRTIO_BLK_SECTOR)
		limit = disk.sectors * VIRTIO_BLK_SECTOR;
	return limit >= bytes ? true : step_wrong("the disk is too small", disk.sectors, bytes);
}

/* Rings and requests in the arena's first part, the data behind them. */
static void lay_out(void)
{
	arena = virtio_take(&device, ARENA_BYTES);
	offset = mapped || strict ? ARENA_IOVA - (uintptr_t)arena : 0;
	device.dma = (struct virtio_dma){NULL, arena_take, arena_address};
	data_at = ARENA_BYTES / 4;
	buffer = arena + data_at;
	wanted = buffer + depth * bytes;
	for (idle_count = 0; idle_count < depth; idle_count++)
		idle[idle_count] = idle_count;
}

static bool read_words(const char *cmdline)
{
	bytes = text_option(cmdline, "bytes", FRAME_BYTES);
	requests = text_option(cmdline, "requests", 2000);
	depth = text_option(cmdline, "depth", 32);
	limit = text_option(cmdline, "limit", UINT64_C(64) << 20);
	mapped = text_has(cmdline, "mapped");
	strict = text_has(cmdline, "strict");
	bounce = text_has(cmdline, "bounce");
	in_random = text_has(cmdline, "random");
	return depth > 0 && depth <= DEPTH_MAX && bytes % FRAME_BYTES == 0 && bytes > 0 && requests > 0 &&
	       2 * depth * bytes <= ARENA_BYTES / 4 * 3;
}

int guest_main(const struct boot_info *boot)
{
	static const struct step open = {"open", opens}, timed = {"read", round_of};
	uint64_t least = UINT64_MAX;

	if (!read_words(boot->cmdline)) {
		console_print("io: bytes are frames, 64 requests at most are under way, and twice all of them fit into "
			      "12M\n");
		return GUEST_FAILED;
	}
	if (!virtio_find(boot->cmdline, VIRTIO_ID_BLK, 0, &device) ||
	    ((mapped || strict) && !virtio_find(boot->cmdline, VIRTIO_ID_IOMMU, 0, &iommu_device))) {
		console_print("io: there is no disk, or no IOMMU\n");
		return GUEST_FAILED;
	}
	lay_out();
	if (!step_run("io", &open))
		return GUEST_FAILED;
	for (uint64_t i = text_option(boot->cmdline, "rounds", 5); i > 0; i--) {
		if (!step_run("io", &timed))
			return GUEST_FAILED;
		least = cycles < least ? cycles : least;
	}
	console_print("io: %lu cycles a request of %lu bytes, %lu under way\n", least / requests, bytes, depth);
	return GUEST_OK;
}
