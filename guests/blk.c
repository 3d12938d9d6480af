/* blk: a virtio disk does what it was asked, and refuses what it must.
 *
 * A copy of the disk's first bytes is kept in memory. Requests of random place,
 * length and scatter read and write; what is read must be what the copy has, and
 * at the end the whole is compared once more. Buffers lie between canaries.
 *
 * Words of the command line. Of the ring: "packed", "indirect", "event"; without
 * them those features are not accepted, though offered; with one that is not
 * offered the guest fails. "queue=N" descriptors at most. "readonly": the disk
 * must be so, and is only read. "reset": the queue is reset too, alone; with
 * "strict" while requests are under way. "limit=BYTES" of the disk are used (4M),
 * "rounds=N" random requests (200), "disk=N": the one of that number (0),
 * "serial=TEXT": what GET_ID must say. "iommu": it is behind one
 * (virtio_behind.h). */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtio_behind.h"
#include "guests/runtime/virtio_blk.h"

#define LIMIT	      (UINT64_C(4) << 20)
#define ROUNDS	      200u
#define REQUEST_BYTES (1u << 20)
#define CANARY	      UINT64_C(0xca9a51e5ca9a51e5)
#define SMALL	      4096u
#define DEPTH	      64u
#define SETTLE_CYCLES (UINT64_C(1) << 24) /* some 5 ms: a request that outlived its queue would end in them */
#define SECTOR	      VIRTIO_BLK_SECTOR

static const struct boot_info *machine;
static struct virtio_device device;
static struct virtio_blk disk;
static struct virtq_piece pieces[VIRTIO_BLK_PIECES];
static uint8_t *copy, *buffer;
static uint64_t limit, rounds, seed = 0x5eed, features, requests, moved, sum;
static const char *serial;
static char id[VIRTIO_BLK_ID_BYTES + 1];
static uint16_t queue_size;
static bool strict;

static uint64_t random_below(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

/* ---- requests ---- */

static bool ended(uint32_t end, uint32_t wanted, uint64_t sector)
{
	requests++;
	if (end == wanted)
		return true;
	return end == VIRTIO_BLK_BROKEN ? step_wrong(virtio_blk_why(&disk), sector, disk.end)
					: step_wrong("a request ended in another status than it must", sector, end);
}

static bool move(uint32_t type, uint64_t at, uint32_t bytes)
{
	moved += bytes;
	return ended(virtio_blk_move(&disk, type, at / SECTOR, buffer, bytes), VIRTIO_BLK_S_OK, at / SECTOR);
}

static bool refused(uint32_t type, uint64_t sector, uint32_t bytes, uint32_t status)
{
	return ended(virtio_blk_move(&disk, type, sector, buffer, bytes), status, sector);
}

/* ---- what is in memory ---- */

static void fill(uint64_t *words, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes / 8; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		words[i] = seed;
	}
}

static bool same(const void *a, const void *b, uint64_t bytes, uint64_t at)
{
	const uint64_t *p = a, *q = b;

	for (uint64_t i = 0; i < bytes / 8; i++)
		if (p[i] != q[i])
			return step_wrong("what was read is not what was written", at + 8 * i, p[i]);
	return true;
}

static uint64_t *canary(unsigned which)
{
	return (uint64_t *)(void *)(which ? buffer + REQUEST_BYTES : buffer - 8);
}

static bool canaries_live(void)
{
	if (*canary(0) == CANARY && *canary(1) == CANARY)
		return true;
	return step_wrong("bytes beside a buffer were written", *canary(0), *canary(1));
}

/* ---- steps ---- */

static bool prepares(void)
{
	if (!virtio_behind_attach(&device, machine))
		return false;
	copy = virtio_take(&device, limit);
	buffer = (uint8_t *)virtio_take(&device, REQUEST_BYTES + 2 * FRAME_BYTES) + FRAME_BYTES;
	*canary(0) = *canary(1) = CANARY;
	return true;
}

static bool opens(void)
{
	if (!virtio_blk_open(&disk, &device, features, queue_size))
		return step_wrong("the disk does not come up", device.offered, device.accepted);
	if (features & ~device.accepted)
		return step_wrong("the disk does not offer what the command line asks for", device.offered, features);
	limit = limit / SECTOR < disk.sectors ? limit : disk.sectors * SECTOR;
	return limit > 0 ? true : step_wrong("the disk is empty", disk.sectors, 0);
}

static bool says_its_id(void)
{
	struct virtq_piece data = {virtio_address(&device, buffer), VIRTIO_BLK_ID_BYTES, true};
	struct virtio_blk_ask ask = {.type = VIRTIO_BLK_T_GET_ID, .data = &data, .pieces = 1};

	memset(buffer, 0xff, REQUEST_BYTES);
	if (!ended(virtio_blk_do(&disk, &ask), VIRTIO_BLK_S_OK, 0))
		return false;
	memcpy(id, buffer, VIRTIO_BLK_ID_BYTES);
	if (serial && !text_starts(serial, id))
		return step_wrong("the disk has another serial number", (uint64_t)id[0], (uint64_t)*serial);
	return buffer[VIRTIO_BLK_ID_BYTES] == 0xff ? true : step_wrong("an id is longer than 20 bytes", 0, 0);
}

static bool reads_all(void)
{
	for (uint64_t at = 0; at < limit; at += REQUEST_BYTES) {
		uint32_t bytes = (uint32_t)(limit - at < REQUEST_BYTES ? limit - at : REQUEST_BYTES);

		memset(buffer, 0xa5, bytes);
		if (!move(VIRTIO_BLK_T_IN, at, bytes) || !same(buffer, copy + at, bytes, at))
			return false;
	}
	return canaries_live();
}

static bool learns(void)
{
	for (uint64_t at = 0; at < limit; at += REQUEST_BYTES) {
		uint32_t bytes = (uint32_t)(limit - at < REQUEST_BYTES ? limit - at : REQUEST_BYTES);

		if (!move(VIRTIO_BLK_T_IN, at, bytes))
			return false;
		memcpy(copy + at, buffer, bytes);
	}
	return true;
}

static bool writes_all(void)
{
	fill((uint64_t *)(void *)copy, limit);
	for (uint64_t at = 0; at < limit; at += REQUEST_BYTES) {
		uint32_t bytes = (uint32_t)(limit - at < REQUEST_BYTES ? limit - at : REQUEST_BYTES);

		memcpy(buffer, copy + at, bytes);
		if (!move(VIRTIO_BLK_T_OUT, at, bytes))
			return false;
	}
	return reads_all();
}

/* Pieces of any length, odd ones too, of the whole buffer in order. */
static unsigned scatter(uint32_t bytes, bool written)
{
	uint64_t least = bytes / disk.pieces_max + 1, at = 0;
	unsigned n = 0;

	for (uint64_t some; at < bytes; at += some, n++) {
		some = least + random_below(4 * least);
		some = some < bytes - at && n + 1 < disk.pieces_max ? some : bytes - at;
		pieces[n] = (struct virtq_piece){virtio_address(&device, buffer + at), (uint32_t)some, written};
	}
	return n;
}

static bool random_request(void)
{
	uint64_t sectors = 1 + random_below(REQUEST_BYTES / SECTOR), first;
	struct virtio_blk_ask ask = {.type = VIRTIO_BLK_T_IN, .data = pieces};
	uint32_t bytes;

	sectors = sectors * SECTOR < limit ? sectors : limit / SECTOR;
	first = random_below(limit / SECTOR - sectors + 1);
	bytes = (uint32_t)(sectors * SECTOR);
	if (!disk.readonly && random_below(2))
		ask.type = VIRTIO_BLK_T_OUT;
	fill((uint64_t *)(void *)buffer, bytes);
	if (ask.type == VIRTIO_BLK_T_OUT)
		memcpy(copy + first * SECTOR, buffer, bytes);
	ask.sector = first;
	ask.pieces = scatter(bytes, ask.type == VIRTIO_BLK_T_IN);
	moved += bytes;
	if (!ended(virtio_blk_do(&disk, &ask), VIRTIO_BLK_S_OK, first))
		return false;
	return same(buffer, copy + first * SECTOR, bytes, first * SECTOR) && canaries_live();
}

static bool scatters(void)
{
	for (uint64_t i = 0; i < rounds; i++)
		if (!random_request())
			return false;
	return true;
}

/* As many at once as the queue holds, answered in any order. */
static bool many_at_once(uint32_t type)
{
	uint64_t blocks = limit / SMALL < DEPTH ? limit / SMALL : DEPTH;
	struct virtq_piece data = {.bytes = SMALL, .written = type == VIRTIO_BLK_T_IN};
	struct virtio_blk_ask ask = {.type = type, .data = &data, .pieces = 1};
	uint16_t slot;

	for (uint64_t i = 0; i < blocks; i++) {
		data.address = virtio_address(&device, buffer + i * SMALL);
		ask.sector = i * SMALL / SECTOR;
		moved += SMALL;
		while (!virtio_blk_start(&disk, &ask, &slot)) {
			virtq_kick(&disk.queue);
			if (!ended(virtio_blk_finish(&disk, &slot), VIRTIO_BLK_S_OK, i))
				return false;
		}
	}
	virtq_kick(&disk.queue);
	while (disk.queue.in_flight > 0)
		if (!ended(virtio_blk_finish(&disk, &slot), VIRTIO_BLK_S_OK, 0))
			return false;
	return same(buffer, copy, blocks * SMALL, 0);
}

static bool holds_many(void)
{
	for (unsigned i = 0; i < 8; i++) {
		fill((uint64_t *)(void *)buffer, REQUEST_BYTES);
		if (!disk.readonly) {
			memcpy(copy, buffer, limit < DEPTH * SMALL ? limit : DEPTH * SMALL);
			if (!many_at_once(VIRTIO_BLK_T_OUT))
				return false;
		}
		memset(buffer, 0, REQUEST_BYTES);
		if (!many_at_once(VIRTIO_BLK_T_IN))
			return false;
	}
	return canaries_live();
}

static bool flushes(void)
{
	struct virtio_blk_ask ask = {.type = VIRTIO_BLK_T_FLUSH};

	return !virtio_has(&device, VIRTIO_BLK_F_FLUSH) || ended(virtio_blk_do(&disk, &ask), VIRTIO_BLK_S_OK, 0);
}

static bool clears(uint32_t type, uint64_t at, uint64_t bytes, uint32_t flags)
{
	struct virtio_blk_ask ask = {.type = type, .range = {at / SECTOR, (uint32_t)(bytes / SECTOR), flags}};

	return ended(virtio_blk_do(&disk, &ask), VIRTIO_BLK_S_OK, at / SECTOR);
}

static bool zeroes(void)
{
	uint64_t at = limit / 4 & -(uint64_t)SMALL, bytes = limit / 4 & -(uint64_t)SMALL;

	if (disk.readonly || !virtio_has(&device, VIRTIO_BLK_F_WRITE_ZEROES) || bytes == 0)
		return true;
	for (uint32_t flags = 0; flags <= VIRTIO_BLK_RANGE_UNMAP; flags++) {
		if (!writes_all() || !clears(VIRTIO_BLK_T_WRITE_ZEROES, at + SECTOR, bytes, flags))
			return false;
		memset(copy + at + SECTOR, 0, bytes);
		if (!reads_all())
			return false;
	}
	return true;
}

/* What a discarded sector holds is not said; its neighbours stay. */
static bool discards(void)
{
	uint64_t at = limit / 2 & -(uint64_t)SMALL, bytes = limit / 4 & -(uint64_t)SMALL;

	if (disk.readonly || !virtio_has(&device, VIRTIO_BLK_F_DISCARD) || bytes == 0)
		return true;
	if (!clears(VIRTIO_BLK_T_DISCARD, at, bytes, 0))
		return false;
	for (uint64_t done = 0; done < bytes; done += REQUEST_BYTES) {
		uint32_t some = (uint32_t)(bytes - done < REQUEST_BYTES ? bytes - done : REQUEST_BYTES);

		if (!move(VIRTIO_BLK_T_IN, at + done, some))
			return false;
		memcpy(copy + at + done, buffer, some);
	}
	return reads_all();
}

static bool refuses(void)
{
	struct virtio_blk_ask unknown = {.type = 0x7777};

	if (!refused(VIRTIO_BLK_T_IN, disk.sectors, SECTOR, VIRTIO_BLK_S_IOERR) ||
	    !refused(VIRTIO_BLK_T_IN, disk.sectors - 1, 2 * SECTOR, VIRTIO_BLK_S_IOERR) ||
	    !refused(VIRTIO_BLK_T_IN, UINT64_MAX, SECTOR, VIRTIO_BLK_S_IOERR) ||
	    !refused(VIRTIO_BLK_T_IN, UINT64_MAX / SECTOR, SECTOR, VIRTIO_BLK_S_IOERR))
		return false;
	if (disk.readonly ? !refused(VIRTIO_BLK_T_OUT, 0, SECTOR, VIRTIO_BLK_S_IOERR)
			  : !refused(VIRTIO_BLK_T_OUT, disk.sectors, SECTOR, VIRTIO_BLK_S_IOERR))
		return false;
	return ended(virtio_blk_do(&disk, &unknown), VIRTIO_BLK_S_UNSUPP, 0) && reads_all();
}

static bool starts_over(void)
{
	for (unsigned i = 0; i < 3; i++)
		if (!opens() || !reads_all())
			return false;
	return true;
}

static void starts_some(void)
{
	struct virtq_piece data = {.bytes = SMALL, .written = true};
	struct virtio_blk_ask ask = {.type = VIRTIO_BLK_T_IN, .data = &data, .pieces = 1};
	uint16_t slot;

	for (unsigned i = 0; i < DEPTH; i++) {
		data.address = virtio_address(&device, buffer + (uint64_t)i * SMALL);
		if (!virtio_blk_start(&disk, &ask, &slot))
			break;
	}
	virtq_kick(&disk.queue);
}

/* With requests under way: no byte of a buffer may change once the queue is reset. QEMU 7.2 lets them go on, so only
 * "strict" asks for that. */
static bool resets_queue(void)
{
	if (!(features & VIRTIO_BIT(VIRTIO_F_RING_RESET)))
		return true;
	for (unsigned i = 0; i < 5; i++) {
		uint64_t start;

		if (strict)
			starts_some();
		if (!virtio_blk_queue_reset(&disk))
			return step_wrong("the device does not let go of a queue", disk.queue.size, 0);
		memset(buffer, 0x5a, REQUEST_BYTES);
		for (start = cpu_cycles(); cpu_cycles() - start < SETTLE_CYCLES;)
			cpu_relax();
		for (unsigned at = 0; at < DEPTH * SMALL; at++)
			if (buffer[at] != 0x5a)
				return step_wrong("a queue that was reset is still written", at, buffer[at]);
		if (!reads_all())
			return false;
	}
	return true;
}

/* For who looks into the file behind the disk. */
static bool adds_up(void)
{
	for (uint64_t i = 0; i < limit; i++)
		sum += copy[i];
	return true;
}

static const struct step reading[] = {
	{"prepare", prepares},	   {"open", opens},
	{"id", says_its_id},	   {"read", learns},
	{"read again", reads_all}, {"scatter", scatters},
	{"at once", holds_many},   {"refuse", refuses},
	{"reset", starts_over},	   {"queue reset", resets_queue},
	{"sum", adds_up},
};

static const struct step writing[] = {
	{"prepare", prepares},	       {"open", opens},	      {"id", says_its_id},     {"write", writes_all},
	{"scatter", scatters},	       {"all", reads_all},    {"at once", holds_many}, {"flush", flushes},
	{"write zeroes", zeroes},      {"discard", discards}, {"refuse", refuses},     {"reset", starts_over},
	{"queue reset", resets_queue}, {"sum", adds_up},
};

static void read_words(const char *cmdline)
{
	limit = text_option(cmdline, "limit", LIMIT) & -(uint64_t)REQUEST_BYTES;
	rounds = text_option(cmdline, "rounds", ROUNDS);
	serial = text_value(cmdline, "serial");
	queue_size = (uint16_t)text_option(cmdline, "queue", VIRTQ_SIZE_MAX);
	strict = text_has(cmdline, "strict");
	if (text_has(cmdline, "packed"))
		features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (text_has(cmdline, "indirect"))
		features |= VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
	if (text_has(cmdline, "event"))
		features |= VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
	if (text_has(cmdline, "reset"))
		features |= VIRTIO_BIT(VIRTIO_F_RING_RESET);
}

int guest_main(const struct boot_info *boot)
{
	bool readonly = text_has(boot->cmdline, "readonly");

	machine = boot;
	read_words(boot->cmdline);
	if (!virtio_find(boot->cmdline, VIRTIO_ID_BLK, (unsigned)text_option(boot->cmdline, "disk", 0), &device) ||
	    !virtio_behind_find(boot)) {
		console_print("blk: there is no such disk, or no IOMMU\n");
		return GUEST_FAILED;
	}
	if (limit == 0) {
		console_print("blk: a limit is at least 1M\n");
		return GUEST_FAILED;
	}
	if (!(readonly ? steps_run("blk", reading, sizeof(reading) / sizeof(reading[0]))
		       : steps_run("blk", writing, sizeof(writing) / sizeof(writing[0]))))
		return GUEST_FAILED;
	if (disk.readonly != readonly) {
		console_print("blk: the disk is %s\n", disk.readonly ? "read-only" : "not read-only");
		return GUEST_FAILED;
	}
	console_print("blk: %s ring of %u, features 0x%lx, id \"%s\"\n", disk.queue.packed ? "packed" : "split",
		      disk.queue.size, device.accepted, id);
	console_print("blk: the first %lu bytes add up to %lu\n", limit, sum);
	console_print("blk: ok %lu sectors, %lu requests, %lu bytes\n", disk.sectors, requests, moved);
	return GUEST_OK;
}
