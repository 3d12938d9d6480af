/* dma: a request over frames that lie anywhere moves them as they are; the same
 * through a bounce buffer must move them once more.
 *
 * "bytes=N" (64M) of frames, none beside the next, in an order that jumps, are
 * filled, written to the disk in requests of as many pieces as the disk takes,
 * cleared, read back and verified. Then all of it again through a contiguous
 * buffer that holds one request: copied into it before a write, out of it after
 * a read. The least of "rounds=N" (3) of each way and direction is printed. The
 * device copies nothing in either case if it moves data straight between the
 * disk and the guest's memory: whoever counts that counts it there.
 *
 * "packed", "indirect", "event": of the ring, where offered. "depth=N" requests
 * at once (1); the bounce buffers are as many. "iommu": the disk is behind one
 * (virtio_behind.h). */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtio_behind.h"
#include "guests/runtime/virtio_blk.h"

#define BYTES	  (UINT64_C(64) << 20)
#define ROUNDS	  3u
#define JUMP	  5167u /* odd: with a power of two of frames, each comes once */
#define DEPTH_MAX 16u
#define SECTORS	  (FRAME_BYTES / VIRTIO_BLK_SECTOR)

enum way { SCATTERED, BOUNCED, WAYS };
static const char *const way_name[WAYS] = {"scattered", "bounced"};

static const struct boot_info *machine;
static struct virtio_device device;
static struct virtio_blk disk;
static struct virtq_piece pieces[VIRTIO_BLK_PIECES];
static uint8_t *area, *bounce[DEPTH_MAX];
static uint64_t frames, a_request, depth, rounds, features, requests;
static uint64_t cycles[WAYS][2]; /* the least; [1]: of reads */
static enum way way;

static uint8_t *frame_at(uint64_t n)
{
	return area + (n * JUMP & (frames - 1)) * 2 * FRAME_BYTES;
}

/* ---- one request of the frames [first, first + count) ---- */

static bool start(uint64_t first, uint64_t count, uint32_t type, uint8_t *through)
{
	struct virtio_blk_ask ask = {.type = type, .sector = first * SECTORS, .data = pieces};
	bool written = type == VIRTIO_BLK_T_IN;
	uint16_t slot;

	if (way == BOUNCED) {
		ask.pieces = virtio_blk_cut(&disk, pieces, through, (uint32_t)(count * FRAME_BYTES), UINT32_MAX);
		for (uint64_t i = 0; i < count && !written; i++)
			memcpy(through + i * FRAME_BYTES, frame_at(first + i), FRAME_BYTES);
	} else {
		ask.pieces = (unsigned)count;
		for (uint64_t i = 0; i < count; i++)
			pieces[i] =
				(struct virtq_piece){virtio_address(&device, frame_at(first + i)), FRAME_BYTES, false};
	}
	for (unsigned i = 0; i < ask.pieces; i++)
		pieces[i].written = written;
	requests++;
	return virtio_blk_start(&disk, &ask, &slot) ? true : step_wrong("the queue has no room", first, count);
}

static void copy_out(uint64_t first, uint64_t count, const uint8_t *through)
{
	for (uint64_t i = 0; i < count; i++)
		memcpy(frame_at(first + i), through + i * FRAME_BYTES, FRAME_BYTES);
}

/* `depth` of them at once, and then the next. */
static bool batch(uint64_t first, uint64_t end, uint32_t type)
{
	uint64_t at = first;
	uint16_t slot;

	for (unsigned i = 0; at < end; i++, at += a_request)
		if (!start(at, end - at < a_request ? end - at : a_request, type, bounce[i]))
			return false;
	virtq_kick(&disk.queue);
	while (disk.queue.in_flight > 0) {
		uint32_t status = virtio_blk_finish(&disk, &slot);

		if (status != VIRTIO_BLK_S_OK)
			return step_wrong(virtio_blk_why(&disk), first, status);
	}
	at = first;
	for (unsigned i = 0; at < end && way == BOUNCED && type == VIRTIO_BLK_T_IN; i++, at += a_request)
		copy_out(at, end - at < a_request ? end - at : a_request, bounce[i]);
	return true;
}

static bool move(uint32_t type)
{
	uint64_t before = cpu_cycles(), *least = &cycles[way][type == VIRTIO_BLK_T_IN], took;

	for (uint64_t at = 0; at < frames; at += depth * a_request)
		if (!batch(at, frames - at < depth * a_request ? frames : at + depth * a_request, type))
			return false;
	took = cpu_cycles() - before;
	if (*least == 0 || took < *least)
		*least = took;
	return true;
}

/* ---- what is in the frames ---- */

static uint64_t word_of(uint64_t n, unsigned i, uint64_t seed)
{
	return (n * FRAME_BYTES / 8 + i) * UINT64_C(0x9e3779b97f4a7c15) ^ seed;
}

static void fill(uint64_t seed)
{
	for (uint64_t n = 0; n < frames; n++) {
		uint64_t *words = (uint64_t *)(void *)frame_at(n);

		for (unsigned i = 0; i < FRAME_BYTES / 8; i++)
			words[i] = word_of(n, i, seed);
	}
}

static bool verify(uint64_t seed)
{
	for (uint64_t n = 0; n < frames; n++) {
		const uint64_t *words = (const uint64_t *)(const void *)frame_at(n);

		for (unsigned i = 0; i < FRAME_BYTES / 8; i++)
			if (words[i] != word_of(n, i, seed))
				return step_wrong("a frame does not hold what was written", n, words[i]);
	}
	return true;
}

/* The frames between must stay as they are: nobody was told of them. */
static bool gaps_are_clear(void)
{
	for (uint64_t n = 0; n < frames; n++) {
		const uint64_t *words = (const uint64_t *)(const void *)(frame_at(n) + FRAME_BYTES);

		for (unsigned i = 0; i < FRAME_BYTES / 8; i++)
			if (words[i] != 0)
				return step_wrong("a frame between was written", n, words[i]);
	}
	return true;
}

/* ---- steps ---- */

static bool opens(void)
{
	if (!virtio_behind_attach(&device, machine))
		return false;
	area = virtio_take(&device, 2 * frames * FRAME_BYTES);
	if (!virtio_blk_open(&disk, &device, features, VIRTQ_SIZE_MAX))
		return step_wrong("the disk does not come up", device.offered, device.accepted);
	if (disk.sectors < frames * SECTORS)
		return step_wrong("the disk is too small", disk.sectors, frames * SECTORS);
	a_request = disk.pieces_max;
	if (a_request > frames)
		a_request = frames;
	for (uint64_t i = 0; i < depth; i++)
		bounce[i] = virtio_take(&device, a_request * FRAME_BYTES);
	return true;
}

static bool round_of(enum way one, uint64_t seed)
{
	way = one;
	fill(seed);
	if (!move(VIRTIO_BLK_T_OUT))
		return false;
	for (uint64_t n = 0; n < frames; n++)
		memset(frame_at(n), 0, FRAME_BYTES);
	return move(VIRTIO_BLK_T_IN) && verify(seed);
}

static bool moves(void)
{
	for (uint64_t i = 0; i < rounds; i++)
		if (!round_of(SCATTERED, 2 * i + 1) || !round_of(BOUNCED, 2 * i + 2))
			return false;
	return gaps_are_clear();
}

static const struct step steps[] = {{"open", opens}, {"move", moves}};

/* Without a clock, in cycles alone. */
static void show(uint64_t hz, enum way one)
{
	for (unsigned read = 0; read < 2; read++) {
		uint64_t us = hz ? cycles[one][read] * 1000 / (hz / 1000) : 0;

		console_print("dma: %s %s of %lu bytes: %lu cycles, %lu us, %lu MiB/s\n", way_name[one],
			      read ? "read" : "write", frames * FRAME_BYTES, cycles[one][read], us,
			      us ? (frames * FRAME_BYTES >> 10) * 1000000 / us >> 10 : 0);
	}
}

int guest_main(const struct boot_info *boot)
{
	uint64_t hz = clock_cycles_hz();

	machine = boot;
	frames = text_option(boot->cmdline, "bytes", BYTES) / FRAME_BYTES;
	rounds = text_option(boot->cmdline, "rounds", ROUNDS);
	depth = text_option(boot->cmdline, "depth", 1);
	features = (text_has(boot->cmdline, "packed") ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0) |
		   (text_has(boot->cmdline, "indirect") ? VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) : 0) |
		   (text_has(boot->cmdline, "event") ? VIRTIO_BIT(VIRTIO_F_EVENT_IDX) : 0);
	if (frames == 0 || frames & (frames - 1) || depth < 1 || depth > DEPTH_MAX || rounds == 0) {
		console_print("dma: bytes are a power of two of frames, depth is 1 to %u, and there is a round\n",
			      DEPTH_MAX);
		return GUEST_FAILED;
	}
	if (!virtio_find(boot->cmdline, VIRTIO_ID_BLK, 0, &device) || !virtio_behind_find(boot)) {
		console_print("dma: there is no disk, or no IOMMU\n");
		return GUEST_FAILED;
	}
	if (!steps_run("dma", steps, sizeof(steps) / sizeof(steps[0])))
		return GUEST_FAILED;
	for (enum way one = SCATTERED; one < WAYS; one++)
		show(hz, one);
	console_print("dma: ok %lu bytes over %lu frames, %lu requests of %lu frames at most\n", frames * FRAME_BYTES,
		      frames, requests, a_request);
	return GUEST_OK;
}
