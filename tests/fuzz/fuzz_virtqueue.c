/* tests/fuzz/fuzz_virtqueue.c: one virtqueue, split or packed, over memory that is whatever the input says, while a
 * device pops, pushes, reads, writes and maps.
 *
 * Looked for: a crash, undefined behaviour, a broken invariant, a chain that breaks the bounds that
 * devices/virtqueue.h promises, a byte written that is neither of the ring nor of a writable buffer, an access by a
 * queue that is off or broken, a pin that stays.
 *
 * Input: a byte of features (split or packed, event index, indirect), one of the size; then operations: a byte of verb
 * and what it takes. */
#include "devices/virtqueue.h"
#include "tests/fuzz/must.h"
#include "tests/unit/fake_dma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One page has the ring: descriptors, driver's area, device's area, tables; one is data; one is data that is read-only;
 * behind each is a hole. */
#define RING	  0x10000u
#define DRIVER	  0x400u
#define DEVICE	  0x800u
#define DATA	  0x12000u
#define READ_ONLY 0x14000u
#define SIZE_MAX_ 64u

static struct fake_dma f;
static struct dma dma;
static struct virtqueue q;
static struct virtqueue_chain flying[SIZE_MAX_ + 1];
static unsigned count;
static uint8_t allowed[3][FAKE_DMA_PAGE]; /* to be written */
static unsigned breaks;

struct input {
	const uint8_t *data;
	size_t left;
};

static uint8_t byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->data++;
}

static uint16_t word(struct input *in)
{
	uint16_t low = byte(in);

	return (uint16_t)(low | byte(in) << 8);
}

static void on_break(void *owner, const char *why)
{
	(void)owner;
	MUST(why && why == q.broken);
	breaks++;
}

static void allow(uint64_t gpa, uint64_t bytes)
{
	for (uint64_t at = gpa; at < gpa + bytes; at++)
		for (unsigned i = 0; i < f.regions; i++)
			if (at - f.region[i].gpa < f.region[i].bytes)
				allowed[i][at - f.region[i].gpa] = 1;
}

static void enable(uint64_t features, uint16_t size)
{
	virtqueue_reset(&q);
	count = 0;
	breaks = 0;
	q.size = size;
	q.desc = RING;
	q.driver = RING + DRIVER;
	q.device = RING + DEVICE;
	if (!virtqueue_enable(&q, features))
		return;
	allow(q.device, q.packed ? 4 : 6 + 8u * size);
	if (q.packed)
		allow(q.desc, 16u * size);
}

static void expect_bounds(const struct virtqueue_chain *c)
{
	uint64_t bytes[2] = {0, 0};

	MUST(c->readable + c->writable > 0 && c->readable + c->writable <= q.size);
	MUST(c->entries > 0 && c->entries <= q.size && (q.packed || c->id < q.size));
	for (unsigned i = 0; i < c->readable + c->writable; i++) {
		MUST(c->buffer[i].bytes > 0);
		bytes[i >= c->readable] += c->buffer[i].bytes;
	}
	MUST(bytes[0] == c->readable_bytes && bytes[1] == c->writable_bytes);
	MUST(bytes[0] + bytes[1] <= UINT64_C(1) << 32);
}

static void pop(void)
{
	bool dead = !q.ready || q.broken;
	enum virtqueue_result result;

	MUST(count <= SIZE_MAX_);
	result = virtqueue_pop(&q, &flying[count]);
	MUST(!dead || result == VIRTQUEUE_EMPTY);
	MUST((result == VIRTQUEUE_BROKEN) == (!dead && q.broken));
	if (result != VIRTQUEUE_OK)
		return;
	expect_bounds(&flying[count++]);
	MUST(count <= q.size);
}

static void push(struct input *in)
{
	unsigned i = count ? byte(in) % count : 0;

	if (count == 0)
		return;
	if (virtqueue_push(&q, &flying[i], byte(in)))
		flying[i] = flying[--count];
	else
		MUST(q.broken);
}

/* False: it would take long. */
static bool allow_writable(const struct virtqueue_chain *c)
{
	for (unsigned i = c->readable; i < c->readable + c->writable; i++) {
		if (c->buffer[i].bytes > 3 * FAKE_DMA_PAGE)
			return false;
		allow(c->buffer[i].iova, c->buffer[i].bytes);
	}
	return true;
}

static void use_bytes(struct input *in, unsigned verb)
{
	static uint8_t bytes[256];
	const struct virtqueue_chain *c = &flying[count ? byte(in) % count : 0];
	bool write = verb & 1;
	uint64_t offset = word(in), length = byte(in), all = write ? c->writable_bytes : c->readable_bytes;
	struct dma_segment segment[3];
	struct dma_list list = {.segment = segment, .room = 3};
	uint64_t mapped;

	if (count == 0)
		return;
	if (write && !allow_writable(c))
		return;
	if (verb & 2) {
		enum dma_result result =
			virtqueue_map(&q, c, write ? DMA_WRITE : DMA_READ, offset, length, &list, &mapped);

		MUST(mapped <= length && mapped == list.bytes && (result != DMA_OK || offset + length <= all));
		dma_unmap(&dma, &list);
	} else if (write) {
		MUST(!virtqueue_write(&q, c, offset, bytes, length) || offset + length <= all);
	} else {
		MUST(!virtqueue_read(&q, c, offset, bytes, length) || offset + length <= all);
	}
}

/* A descriptor whose place is likely to be there. */
static void poke_desc(struct input *in)
{
	static const uint64_t places[] = {DATA, READ_ONLY, RING, RING + 0xc00, DATA + FAKE_DMA_PAGE - 8, 0, UINT64_MAX};
	struct virtq_desc desc;
	uint64_t at = RING + (byte(in) % (2 * SIZE_MAX_)) * 16u;

	desc.address = places[byte(in) % 7] + byte(in);
	desc.length = byte(in) & 0x80 ? UINT32_MAX / 2 : byte(in);
	desc.flags = word(in);
	desc.next = word(in);
	if (at >= RING + SIZE_MAX_ * 16)
		at += 0xc00 - SIZE_MAX_ * 16; /* of the tables */
	fake_dma_put(&f, at, &desc, sizeof(desc));
}

static void poke_word(struct input *in)
{
	uint64_t at = RING + (word(in) & 0xffe);
	uint16_t value = word(in);

	fake_dma_put(&f, at, &value, 2);
}

static void poke_bytes(struct input *in)
{
	uint64_t at = RING + (word(in) & 0xfff);
	unsigned bytes = byte(in);

	for (unsigned i = 0; i < bytes && at + i < RING + FAKE_DMA_PAGE; i++)
		*fake_dma_host(&f, at + i, 1) = byte(in);
}

static void step(struct input *in, uint64_t features, uint16_t size)
{
	uint64_t accesses = f.accesses;
	bool dead = !q.ready || q.broken;
	unsigned verb = byte(in) % 16;

	switch (verb) {
	case 0:
	case 1:
		pop();
		break;
	case 2:
		push(in);
		break;
	case 3:
		if (count && !q.broken)
			virtqueue_unpop(&q, &flying[--count]);
		break;
	case 4:
		(void)virtqueue_wants_interrupt(&q);
		break;
	case 5:
		(void)virtqueue_notify_on(&q);
		break;
	case 6:
		virtqueue_notify_off(&q);
		break;
	case 7:
		enable(features, size);
		break;
	case 8:
	case 9:
	case 10:
	case 11:
		use_bytes(in, verb);
		break;
	case 12:
		poke_bytes(in);
		break;
	case 13:
		poke_desc(in);
		break;
	case 14:
		poke_word(in);
		break;
	default:
		f.fail_at = f.accesses + byte(in);
	}
	MUST(!dead || verb == 7 || f.accesses == accesses);
	MUST(f.pinned == 0);
	MUST(breaks == (q.broken != NULL));
	MUST(virtqueue_check(&q));
	MUST(q.in_flight == (q.ready ? count : 0));
}

static void setup(void)
{
	if (f.regions == 0) {
		fake_dma_init(&f);
		fake_dma_add(&f, RING, FAKE_DMA_PAGE, DMA_READ | DMA_WRITE);
		fake_dma_add(&f, DATA, FAKE_DMA_PAGE, DMA_READ | DMA_WRITE);
		fake_dma_add(&f, READ_ONLY, FAKE_DMA_PAGE, DMA_READ);
	}
	fake_dma_forget(&f);
	for (unsigned i = 0; i < f.regions; i++)
		memset(f.region[i].host, 0, FAKE_DMA_PAGE);
	memset(allowed, 0, sizeof(allowed));
	fake_dma_device(&f, &dma, NULL, 0);
	virtqueue_init(&q, &dma, SIZE_MAX_);
	q.breaks = on_break;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t kind = byte(&in);
	uint64_t features = (uint64_t)(kind & 1) << VIRTIO_F_RING_PACKED |
			    (uint64_t)(kind >> 1 & 1) << VIRTIO_F_EVENT_IDX |
			    (uint64_t)(kind >> 2 & 1) << VIRTIO_F_INDIRECT_DESC;
	uint16_t entries = byte(&in) % (SIZE_MAX_ + 1);

	setup();
	enable(features, entries);
	while (in.left)
		step(&in, features, entries);
	for (unsigned i = 0; i < f.regions; i++)
		for (unsigned j = 0; j < FAKE_DMA_PAGE; j++)
			MUST(!(f.region[i].shadow[j] & DMA_WRITE) || allowed[i][j]);
	return 0;
}
