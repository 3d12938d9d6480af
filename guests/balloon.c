/* balloon: what the guest gives to its balloon goes, comes again as zeros, and
 * nothing else goes with it.
 *
 * "stretches=N" (4, up to 16) of RAM of "bytes=N" (4M, a power of two) each, over all
 * RAM above the kernel, the last where RAM ends, are filled and given, frame by frame
 * in an order that jumps; taken back, they must hold zeros only, and the frames beside
 * them what was written there. Then the same by reports of free pages, where the device
 * takes them. Each stretch begins where a page of 2M does.
 *
 * "held": a frame may come again as it was, for pages of the host's that are larger than a
 * stretch. "packed", "indirect", "event": of the ring, where offered. At the end each frame of
 * the stretches is written to, for who counts where they came to lie; with "touch=1" the
 * guest waits for ever then. */
#include "devices/virtio_balloon_regs.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtq.h"

#define BYTES	      (UINT64_C(4) << 20)
#define STRETCHES     4u
#define STRETCHES_MAX 16u
#define ALIGN	      512u  /* frames of a page of 2M */
#define A_REQUEST     256u  /* frames: as Linux has it */
#define JUMP	      1087u /* odd: with a power of two of frames, each comes once */
#define MARK	      UINT64_C(0x9e3779b97f4a7c15)

enum { INFLATE, DEFLATE, REPORTING, QUEUES }; /* statistics are not accepted, so that reporting is the third */

static struct virtio_device device;
static struct virtq queue[QUEUES];
static uint64_t frames, stretches, first[STRETCHES_MAX], features, went, went_all;
static uint32_t *pfns;
static bool held;

/* ---- what is in memory ---- */

static uint64_t *word_at(uint64_t frame)
{
	return (uint64_t *)(uintptr_t)(frame << FRAME_SHIFT);
}

/* The frames beside a stretch are filled, too. */
static void fill(void)
{
	for (unsigned s = 0; s < stretches; s++)
		for (uint64_t n = first[s] - 1; n <= first[s] + frames; n++)
			for (unsigned i = 0; i < FRAME_BYTES / 8; i++)
				word_at(n)[i] = (n * 512 + i) * MARK;
}

static bool holds(uint64_t frame, bool given)
{
	for (unsigned i = 0; i < FRAME_BYTES / 8; i++) {
		const uint64_t word = word_at(frame)[i], was = (frame * 512 + i) * MARK;

		if (!given && word != was)
			return step_wrong("a frame that was not given does not hold what was written", frame, word);
		if (given && word != 0 && !(held && word == was))
			return step_wrong("a frame came again that is not empty", frame, word);
		went += given && i == 0 && word == 0;
	}
	return true;
}

static bool verify(void)
{
	went = 0;
	for (unsigned s = 0; s < stretches; s++)
		for (uint64_t n = first[s] - 1; n <= first[s] + frames; n++)
			if (!holds(n, n >= first[s] && n < first[s] + frames))
				return false;
	went_all += went;
	if (went == 0 && !held)
		return step_wrong("nothing went", frames, 0);
	return true;
}

/* ---- requests ---- */

static bool ask(unsigned q, const struct virtq_piece *piece, unsigned pieces)
{
	struct virtq_done done;
	enum virtq_end end;

	if (!virtq_add(&queue[q], piece, pieces, NULL))
		return step_wrong("the queue has no room", q, pieces);
	virtq_kick(&queue[q]);
	end = virtq_wait(&queue[q], &done);
	return end == VIRTQ_DONE ? true : step_wrong("a request did not end", q, end);
}

/* A stretch, in an order that jumps; taken back in that order, too. */
static bool name_frames(unsigned q, uint64_t start)
{
	const struct virtq_piece piece = {virtio_address(&device, pfns), A_REQUEST * sizeof(*pfns), false};

	for (uint64_t n = 0; n < frames; n++) {
		pfns[n % A_REQUEST] = (uint32_t)(start + (n * JUMP & (frames - 1)));
		if (n % A_REQUEST == A_REQUEST - 1 && !ask(q, &piece, 1))
			return false;
	}
	return true;
}

/* ---- steps ---- */

static bool opens(void)
{
	const uint64_t must = VIRTIO_BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST);

	pfns = virtio_take(&device, A_REQUEST * sizeof(*pfns));
	if (!virtio_begin(&device) ||
	    !virtio_negotiate(&device, features | must | VIRTIO_BIT(VIRTIO_BALLOON_F_PAGE_REPORTING)))
		return step_wrong("the device does not come up", device.offered, device.accepted);
	for (unsigned q = 0; q < QUEUES; q++)
		if (!virtq_open(&queue[q], &device, (uint16_t)q, VIRTQ_SIZE_MAX))
			return step_wrong("there is no such queue", q, 0);
	virtio_ready(&device);
	return true;
}

static bool gives(void)
{
	fill();
	for (unsigned s = 0; s < stretches; s++)
		if (!name_frames(INFLATE, first[s]))
			return false;
	for (unsigned s = 0; s < stretches; s++)
		if (!name_frames(DEFLATE, first[s]))
			return false;
	return verify();
}

/* Each stretch in one request, of four buffers. */
static bool reports(void)
{
	const uint32_t bytes = (uint32_t)(frames / 4 * FRAME_BYTES);

	if (!virtio_has(&device, VIRTIO_BALLOON_F_PAGE_REPORTING))
		return true;
	fill();
	for (unsigned s = 0; s < stretches; s++) {
		struct virtq_piece piece[4];

		for (unsigned i = 0; i < 4; i++)
			piece[i] = (struct virtq_piece){
				virtio_address(&device, word_at(first[s])) + (uint64_t)i * bytes, bytes, true};
		if (!ask(REPORTING, piece, 4))
			return false;
	}
	return verify();
}

/* Evenly over the highest free run. The frames beside each stretch are free, too. */
static bool places(void)
{
	struct extent run, last = {0};
	uint64_t low, high, room;

	for (uint64_t from = 0; memory_next_free(from, &run); from = run.first + run.units)
		last = run;
	low = (last.first + ALIGN) & ~(uint64_t)(ALIGN - 1);
	high = (last.first + last.units - 1 - frames) & ~(uint64_t)(ALIGN - 1);
	room = (high - low) / (stretches - 1) & ~(uint64_t)(ALIGN - 1);
	if (last.units < stretches * (frames + ALIGN) || room < frames + ALIGN)
		return step_wrong("RAM has no room for the stretches", last.first, last.units);
	for (unsigned s = 0; s + 1 < stretches; s++)
		first[s] = low + s * room;
	first[stretches - 1] = high;
	return true;
}

static bool touches(void)
{
	for (unsigned s = 0; s < stretches; s++)
		for (uint64_t n = 0; n < frames; n++)
			*(volatile uint64_t *)word_at(first[s] + n) = n;
	return true;
}

static const struct step steps[] = {
	{"open", opens}, {"place", places}, {"give", gives}, {"report", reports}, {"touch", touches}};

/* In ring 3. */
static _Noreturn uint64_t wait_for_ever(void *unused)
{
	(void)unused;
	for (;;)
		cpu_relax();
}

int guest_main(const struct boot_info *boot)
{
	frames = text_option(boot->cmdline, "bytes", BYTES) / FRAME_BYTES;
	stretches = text_option(boot->cmdline, "stretches", STRETCHES);
	held = text_has(boot->cmdline, "held");
	features = (text_has(boot->cmdline, "packed") ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0) |
		   (text_has(boot->cmdline, "indirect") ? VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) : 0) |
		   (text_has(boot->cmdline, "event") ? VIRTIO_BIT(VIRTIO_F_EVENT_IDX) : 0);
	if (frames < A_REQUEST || frames & (frames - 1) || stretches < 2 || stretches > STRETCHES_MAX) {
		console_print("balloon: bytes are a power of two from 1M on, stretches 2 to %u\n", STRETCHES_MAX);
		return GUEST_FAILED;
	}
	if (!virtio_find(boot->cmdline, VIRTIO_ID_BALLOON, 0, &device)) {
		console_print("balloon: there is no balloon\n");
		return GUEST_FAILED;
	}
	if (!steps_run("balloon", steps, sizeof(steps) / sizeof(steps[0])))
		return GUEST_FAILED;
	if (text_option(boot->cmdline, "touch", 0)) {
		console_print("balloon: touched %lu frames\n", stretches * frames);
		ring3_call(wait_for_ever, NULL);
	}
	console_print("balloon: ok %lu stretches of %lu bytes, %lu frames went\n", stretches, frames * FRAME_BYTES,
		      went_all);
	return GUEST_OK;
}
