/* tests/fuzz/fuzz_virtio_balloon.c: a driver that puts anything into a balloon's queues.
 *
 * The input: a byte of modes, a byte of features that the driver leaves out, then steps: PFNs, buffers to report,
 * statistics, targets, askings, resets, each cut anyhow. What the owner is told is compared with a naive record of
 * one byte a page; reported pages must not be touched; in one mode an access to the rings is refused, and only
 * soundness is looked for from then on. */
#include "tests/unit/balloon_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST  FAKE_DMA_MUST
#define QUEUE 32u
#define WORDS 1100u

struct input {
	const uint8_t *data;
	size_t bytes;
};

static struct balloon_guest g;
static uint8_t state[BALLOON_GUEST_STATES]; /* what g.state has to be */
static uint64_t features;
static bool faulty, overlong; /* overlong: a report of more than 256 MiB was offered */

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->bytes; i++, in->bytes--)
		value |= (uint64_t)*in->data++ << 8 * i;
	return value;
}

static bool has(unsigned feature)
{
	return virtio_has(&g.b.virtio, feature);
}

static void mark(uint64_t first, uint64_t end, enum balloon_word word)
{
	for (uint64_t page = first; page < end && page < BALLOON_GUEST_STATES; page++)
		state[page] = (uint8_t)word;
}

/* Cuts the bytes at BALLOON_GUEST_WORDS into buffers to be read. */
static unsigned cut(struct input *in, struct virtqueue_buffer *buffer, unsigned bytes)
{
	unsigned count = 0, done = 0;

	for (; done < bytes; count++) {
		unsigned some = 1 + (unsigned)take(in, 1) * 16;

		some = count == QUEUE - 2 || some > bytes - done ? bytes - done : some;
		buffer[count] = (struct virtqueue_buffer){BALLOON_GUEST_WORDS + done, some};
		done += some;
	}
	return count;
}

static void offer(unsigned queue, const struct virtqueue_buffer *buffer, unsigned readable, unsigned writable)
{
	if (readable + writable == 0 || g.driver[queue].free < readable + writable)
		return;
	fake_driver_add(&g.driver[queue], buffer, readable, writable, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.b.virtio, queue);
}

/* A run of PFNs up or down, or single ones. */
static void pages(struct input *in, unsigned queue)
{
	static uint32_t pfn[WORDS];
	struct virtqueue_buffer buffer[QUEUE];
	unsigned bytes = 0, count = 0, readable;
	enum balloon_word word = queue ? BALLOON_TAKEN : BALLOON_GIVEN;

	if (!has(VIRTIO_BALLOON_F_MUST_TELL_HOST))
		word = queue ? BALLOON_NEVER : BALLOON_REPORTED;
	for (unsigned runs = (unsigned)take(in, 1) % 8; runs; runs--) {
		unsigned mix = (unsigned)take(in, 1), length = 1 + (mix >> 2) * 4;
		uint32_t at = (uint32_t)take(in, mix & 1 ? 4 : 2);

		for (; length && count < WORDS; length--, at += mix & 2 ? UINT32_MAX : 1)
			pfn[count++] = at;
	}
	bytes = count * 4 + (unsigned)take(in, 1) % 4;
	fake_dma_put(&g.f, BALLOON_GUEST_WORDS, pfn, count * 4);
	readable = cut(in, buffer, bytes);
	buffer[readable] = (struct virtqueue_buffer){BALLOON_GUEST_RAM, FAKE_DMA_PAGE};
	if (g.driver[queue].free > readable)
		for (unsigned i = 0; i < count && word; i++)
			mark(pfn[i], (uint64_t)pfn[i] + 1, word);
	offer(queue, buffer, readable, g.driver[queue].free > readable);
}

static void report(struct input *in)
{
	unsigned count = (unsigned)take(in, 1) % QUEUE, queue = has(VIRTIO_BALLOON_F_STATS_VQ) ? 3 : 2;
	struct virtqueue_buffer buffer[QUEUE];
	uint64_t all = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned mix = (unsigned)take(in, 1);
		uint64_t gpa = mix & 1 ? take(in, 8) : take(in, 2) * FAKE_DMA_PAGE / 16;
		uint32_t bytes = mix & 2 ? (uint32_t)take(in, 4) >> 4 : (mix >> 4) * FAKE_DMA_PAGE;

		buffer[i] = (struct virtqueue_buffer){gpa, bytes ? bytes : 1};
		all += buffer[i].bytes;
	}
	if (g.driver[queue].free < count)
		return;
	overlong = all > UINT64_C(256) << 20 && has(VIRTIO_BALLOON_F_PAGE_REPORTING);
	for (unsigned i = 0; i < count && !overlong && has(VIRTIO_BALLOON_F_PAGE_REPORTING); i++) {
		uint64_t end = buffer[i].iova + buffer[i].bytes;

		if (end >= buffer[i].iova)
			mark((buffer[i].iova + FAKE_DMA_PAGE - 1) / FAKE_DMA_PAGE, end / FAKE_DMA_PAGE,
			     BALLOON_REPORTED);
	}
	offer(queue, buffer, 0, count);
}

static void statistics(struct input *in)
{
	struct virtqueue_buffer buffer[QUEUE];
	unsigned bytes = (unsigned)take(in, 1) * 4, told = g.statistics;
	bool held = g.b.holds_stats;

	for (unsigned i = 0; i < bytes; i++)
		*fake_dma_host(&g.f, BALLOON_GUEST_WORDS + i, 1) = (uint8_t)take(in, 1);
	if (!has(VIRTIO_BALLOON_F_STATS_VQ) || g.driver[2].free < QUEUE)
		return;
	offer(2, buffer, cut(in, buffer, bytes), 0);
	MUST(g.statistics - told <= 1 && (!held || g.statistics == told));
	MUST(faulty || g.b.holds_stats || bytes == 0);
}

static void collect(void)
{
	uint32_t written;
	uint16_t id;

	for (unsigned i = 0; i < BALLOON_GUEST_QUEUES; i++)
		while (fake_driver_take(&g.driver[i], &id, &written))
			MUST(written == 0);
}

static void restart(unsigned mix)
{
	const uint64_t left_out = (mix & 7) << 1 | (mix & 1);

	features = (left_out & 7) | (mix & 8 ? UINT64_C(1) << VIRTIO_BALLOON_F_PAGE_REPORTING : 0) |
		   (mix & 16 ? UINT64_C(1) << VIRTIO_F_EVENT_IDX : 0);
	balloon_guest_negotiate(&g, features, BALLOON_GUEST_QUEUES, QUEUE);
	balloon_guest_ok(&g);
	memset(state, 0, sizeof(state));
	faulty = g.f.fail_at != 0;
	overlong = false;
}

static void configure(struct input *in, unsigned mix)
{
	const struct virtio_ops *ops = g.b.virtio.config.ops;
	unsigned width = 1u << (mix & 3), offset = (unsigned)take(in, 1) % (8 - width + 1);

	ops->write_config(&g.b, offset, width, take(in, width));
	ops->read_config(&g.b, offset, width);
	MUST(ops->read_config(&g.b, 0, 4) == g.b.target);
	virtio_balloon_set_target(&g.b, take(in, 6));
}

static void step(struct input *in)
{
	unsigned mix = (unsigned)take(in, 1);

	if (mix < 140)
		pages(in, mix & 1);
	else if (mix < 190)
		report(in);
	else if (mix < 210)
		statistics(in);
	else if (mix < 230)
		virtio_balloon_ask_statistics(&g.b);
	else if (mix < 245)
		configure(in, mix);
	else
		restart((unsigned)take(in, 1));
	collect();
	MUST(faulty || !overlong || !virtio_running(&g.b.virtio));
	if (!virtio_running(&g.b.virtio)) {
		MUST(faulty || overlong);
		restart(mix);
	}
	MUST(virtio_check(&g.b.virtio));
	MUST(faulty || memcmp(g.state, state, sizeof(state)) == 0);
	MUST(fake_dma_touched(&g.f, BALLOON_GUEST_RAM, FAKE_DMA_PAGE, DMA_READ | DMA_WRITE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned mode = (unsigned)take(&in, 1);

	balloon_guest_init(&g, mode & 1, mode & 2, &balloon_guest_ops);
	g.f.watch = mode & 4;
	g.f.fail_at = mode & 4 && mode & 8 ? 20 + take(&in, 1) : 0;
	restart(mode >> 3);
	for (unsigned i = 0; in.bytes && i < 200; i++)
		step(&in);
	balloon_guest_free(&g);
	return 0;
}
