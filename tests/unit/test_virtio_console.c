/* tests/unit/test_virtio_console.c: bytes both ways, whatever chains the driver cuts them into, against
 * two plain streams; the terminal's size; the emergency write. */
#include "devices/virtio_console.h"
#include "devices/virtio_mmio.h"
#include "tests/unit/device_fakes.h"
#include "tests/unit/random.h"
#include "tests/unit/virtio_rig.h"

#define SIZE (UINT64_C(1) << VIRTIO_CONSOLE_F_SIZE)
#define IN   VIRTIO_CONSOLE_QUEUE_IN
#define OUT  VIRTIO_CONSOLE_QUEUE_OUT

static struct rig rig;
static struct fake fake;
static struct virtio_console console;
static unsigned rooms;

static void room(void *owner)
{
	ck_assert_ptr_eq(owner, &rig);
	rooms++;
}

static void setup(void)
{
	const struct virtio_console_config config = {
		.name = "console",
		.out = fake_sink(&fake),
		.columns = 80,
		.rows = 25,
		.packed = true,
		.dma = rig.dma,
		.irq = rig_irq(&rig),
		.room = room,
		.broken = rig_broken,
		.owner = &rig,
	};

	memset(&fake, 0, sizeof(fake));
	rooms = 0;
	rig_open(&rig, 2);
	virtio_console_init(&console, &config);
	rig.v = &console.virtio;
}

static void teardown(void)
{
	ck_assert(virtio_check(&console.virtio));
	ck_assert_uint_eq(rig.ram.strays, 0);
	rig_close(&rig);
}

/* format: bit 0 packed, bit 1 indirect, bit 2 event index */
static void prepare(int format)
{
	uint64_t features = SIZE | (format & 1 ? UINT64_C(1) << VIRTIO_F_RING_PACKED : 0);

	rig.indirect = format & 2;
	features |= rig.indirect ? UINT64_C(1) << VIRTIO_F_INDIRECT_DESC : 0;
	features |= format & 4 ? UINT64_C(1) << VIRTIO_F_EVENT_IDX : 0;
	rig_prepare(&rig, features, 16);
}

static void start(int format)
{
	prepare(format);
	rig_ok(&rig);
}

static size_t type(const char *text)
{
	return virtio_console_input(&console, (const uint8_t *)text, strlen(text));
}

static void expect_used(unsigned queue, int64_t length)
{
	uint32_t written;
	uint16_t id;
	bool any = rig_take(&rig, queue, &id, &written);

	ck_assert_int_eq(any ? (int64_t)written : -1, length);
}

static uint64_t config_read(unsigned offset, unsigned width)
{
	return console.virtio.config.ops->read_config(&console, offset, width);
}

/* 5.3.2, 5.3.3, 5.3.4: two queues, since multiple ports are not offered. */
START_TEST(one_port)
{
	ck_assert_uint_eq(console.virtio.config.id, VIRTIO_ID_CONSOLE);
	ck_assert_uint_eq(console.virtio.config.queues, 2);
	ck_assert_uint_eq(console.virtio.config.config_bytes, sizeof(struct virtio_console_config_regs));
	ck_assert_uint_eq(console.virtio.config.features, SIZE | UINT64_C(1) << VIRTIO_CONSOLE_F_EMERG_WRITE);
	ck_assert_uint_eq(config_read(0, 2), 80);
	ck_assert_uint_eq(config_read(2, 2), 25);
	ck_assert_uint_eq(config_read(0, 4), 25u << 16 | 80);
	ck_assert_uint_eq(config_read(1, 1), 0);
	ck_assert_uint_eq(config_read(4, 8), 1);
}
END_TEST

START_TEST(output)
{
	start(_i);
	rig_send(&rig, OUT, 0, "hello, ", 7);
	rig_send(&rig, OUT, 64, "world\n", 6);
	virtio_notify(rig.v, OUT);
	ck_assert_uint_eq(fake.sent_bytes, 13);
	ck_assert_mem_eq(fake.sent, "hello, world\n", 13);
	expect_used(OUT, 0);
	expect_used(OUT, 0);
	expect_used(OUT, -1);
	ck_assert_uint_eq(rig.interrupts, 1);
	ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE), 0);
}
END_TEST

/* 5.3.6.1 forbids a writable buffer there. */
/* 2.7.10, 2.8.10: a driver that notifies only when it is asked to is heard each time; of input's room while there is
 * input without (C1). */
START_TEST(an_empty_ring_asks_to_be_notified)
{
	start(_i);
	for (unsigned i = 0; i < 40; i++) {
		rig_send(&rig, OUT, 0, "x", 1);
		ck_assert(fake_driver_should_notify(&rig.queue[OUT], 1));
		virtio_notify(rig.v, OUT);
		ck_assert_uint_eq(fake.sent_bytes, i + 1);
		expect_used(OUT, 0);
		ck_assert_uint_eq(type("y"), 0);
		rig_room(&rig, IN, 64, 4);
		ck_assert(fake_driver_should_notify(&rig.queue[IN], 1));
		virtio_notify(rig.v, IN);
		ck_assert_uint_eq(rooms, i + 1);
		ck_assert_uint_eq(type("y"), 1);
		expect_used(IN, 1);
	}
}
END_TEST

START_TEST(output_leaves_writable_buffers_alone)
{
	const struct virtqueue_buffer b[] = {{RIG_DATA, 2}, {RIG_DATA + 64, 8}};

	start(_i);
	memcpy(rig.data, "ok", 2);
	rig_add(&rig, OUT, b, 1, 1);
	virtio_notify(rig.v, OUT);
	ck_assert_uint_eq(fake.sent_bytes, 2);
	expect_used(OUT, 0);
	ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE), 0);
}
END_TEST

START_TEST(output_without_end_breaks)
{
	const struct virtqueue_buffer b = {RIG_DATA, (1u << 20) + 1};

	start(_i);
	rig_add(&rig, OUT, &b, 1, 0);
	virtio_notify(rig.v, OUT);
	ck_assert(rig_is_broken(&rig));
	ck_assert_uint_eq(fake.sent_bytes, 0);
	expect_used(OUT, -1);
}
END_TEST

START_TEST(output_from_nowhere_breaks)
{
	const struct virtqueue_buffer b = {0x4000, 8};

	start(_i);
	rig_add(&rig, OUT, &b, 1, 0);
	virtio_notify(rig.v, OUT);
	ck_assert(rig_is_broken(&rig));
	ck_assert_uint_eq(fake.sent_bytes, 0);
	ck_assert_uint_eq(rig.ram.strays, 1);
	rig.ram.strays = 0;
}
END_TEST

START_TEST(input_fills_buffers_in_order)
{
	start(_i);
	rig_room(&rig, IN, 0, 4);
	rig_room(&rig, IN, 64, 100);
	ck_assert_uint_eq(type("abcdefg"), 7);
	expect_used(IN, 4);
	expect_used(IN, 3);
	ck_assert_mem_eq(rig.data, "abcd", 4);
	ck_assert_mem_eq(rig.data + 64, "efg", 3);
	ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE), 7);
	ck_assert_uint_eq(rig.interrupts, 1);
	ck_assert_uint_eq(rooms, 0);
}
END_TEST

START_TEST(input_waits_for_room)
{
	start(_i);
	rig_room(&rig, IN, 0, 4);
	ck_assert_uint_eq(type("abcdefg"), 4);
	rig_room(&rig, IN, 0, 4);
	ck_assert(fake_driver_should_notify(&rig.queue[IN], 1));
	virtio_notify(rig.v, IN);
	ck_assert_uint_eq(rooms, 1);
	ck_assert_uint_eq(type("efg"), 3);
	expect_used(IN, 4);
	expect_used(IN, 3);
	rig_room(&rig, IN, 0, 4);
	ck_assert(!fake_driver_should_notify(&rig.queue[IN], 1)); /* C1 */
	virtio_notify(rig.v, IN);
	ck_assert_uint_eq(rooms, 1);
}
END_TEST

START_TEST(input_before_a_driver_waits)
{
	ck_assert_uint_eq(type("x"), 0);
	start(_i);
	ck_assert_uint_eq(rooms, 1); /* is there any? */
	ck_assert_uint_eq(type("x"), 0);
	rig_room(&rig, IN, 0, 4);
	ck_assert(fake_driver_should_notify(&rig.queue[IN], 1));
	virtio_notify(rig.v, IN);
	ck_assert_uint_eq(rooms, 2);
	ck_assert_uint_eq(type("x"), 1);
	ck_assert_uint_eq(type(""), 0);
	virtio_set_status(rig.v, 0);
	ck_assert_uint_eq(type("y"), 0);
	start(_i);
	ck_assert_uint_eq(rooms, 3); /* C2: it still waits */
}
END_TEST

/* 3.1.1 step 7: buffers that the driver gives before DRIVER_OK, and output that it has by then. */
START_TEST(queues_filled_before_driver_ok)
{
	ck_assert_uint_eq(type("x"), 0);
	prepare(_i);
	rig_room(&rig, IN, 0, 4);
	rig_send(&rig, OUT, 64, "boot", 4);
	ck_assert_uint_eq(rooms, 0);
	rig_ok(&rig);
	ck_assert_uint_eq(rooms, 1);
	ck_assert_uint_eq(type("x"), 1);
	expect_used(IN, 1);
	expect_used(OUT, 0);
	ck_assert_uint_eq(fake.sent_bytes, 4);
}
END_TEST

START_TEST(input_without_anyone_who_cares)
{
	start(_i);
	console.room = NULL;
	ck_assert_uint_eq(type("x"), 0);
	rig_room(&rig, IN, 0, 4);
	virtio_notify(rig.v, IN);
	ck_assert(!console.waiting);
}
END_TEST

/* 5.3.6.1 forbids a readable buffer there; one that is nothing else cannot be used. */
START_TEST(input_into_a_readable_buffer_breaks)
{
	start(_i);
	rig_send(&rig, IN, 0, "abcd", 4);
	ck_assert_uint_eq(type("xy"), 0);
	ck_assert(rig_is_broken(&rig));
	ck_assert_mem_eq(rig.data, "abcd", 4);
	ck_assert_uint_eq(type("xy"), 0);
	ck_assert_uint_eq(rig.breaks, 1);
}
END_TEST

/* 5.3.6: a configuration change notification when the size changes, if the driver negotiated it. */
START_TEST(resize)
{
	uint32_t generation;

	virtio_console_resize(&console, 100, 40);
	ck_assert_uint_eq(config_read(0, 2), 100);
	start(_i);
	generation = console.virtio.generation;
	virtio_console_resize(&console, 100, 40);
	ck_assert_uint_eq(rig.interrupts, 0);
	virtio_console_resize(&console, 132, 43);
	ck_assert_uint_eq(config_read(0, 2), 132);
	ck_assert_uint_eq(config_read(2, 2), 43);
	ck_assert_uint_eq(rig.interrupts, 1);
	ck_assert_uint_ne(console.virtio.generation, generation);
	ck_assert_uint_eq(console.virtio.interrupt_status, VIRTIO_INTERRUPT_CONFIG);
	rig_start(&rig, 0, 16); /* a driver that does not know sizes is left in peace */
	rig.interrupts = 0;
	virtio_console_resize(&console, 80, 25);
	ck_assert_uint_eq(rig.interrupts, 0);
}
END_TEST

/* 5.3.5.1: "The device MUST allow a write to emerg_wr, even on an unconfigured device", its lower byte is shown. */
START_TEST(emergency_write)
{
	struct virtio_mmio mmio;
	struct device device;

	virtio_mmio_init(&mmio, &console.virtio, &device);
	put(&device, VIRTIO_MMIO_CONFIG + 8, 4, 0x12345600u | 'a');
	put(&device, VIRTIO_MMIO_CONFIG + 8, 1, 'b');
	start(_i);
	put(&device, VIRTIO_MMIO_CONFIG + 8, 4, 'c');
	rig_send(&rig, IN, 0, "abcd", 4);
	type("x");
	ck_assert(rig_is_broken(&rig));
	put(&device, VIRTIO_MMIO_CONFIG + 8, 4, 'd');
	ck_assert_uint_eq(fake.sent_bytes, 4);
	ck_assert_mem_eq(fake.sent, "abcd", 4);
	put(&device, VIRTIO_MMIO_CONFIG, 2, 7); /* a size is read-only */
	put(&device, VIRTIO_MMIO_CONFIG + 9, 1, 'e');
	ck_assert_uint_eq(fake.sent_bytes, 4);
	ck_assert_uint_eq(get(&device, VIRTIO_MMIO_CONFIG, 2), 80);
	ck_assert_uint_eq(get(&device, VIRTIO_MMIO_CONFIG + 8, 4), 0);
}
END_TEST

/* ---- both streams at once, against two counters ---- */

static uint64_t typed, shown; /* bytes so far: byte n of a stream is n * 7 */

static unsigned cut(struct virtqueue_buffer *b, unsigned most, uint32_t at, uint32_t *bytes)
{
	unsigned count = 1 + (unsigned)below(most);

	*bytes = 0;
	for (unsigned i = 0; i < count; i++) {
		b[i] = (struct virtqueue_buffer){RIG_DATA + at + *bytes, 1 + (uint32_t)below(20)};
		*bytes += b[i].bytes;
	}
	return count;
}

static void print_some(uint64_t *printed, unsigned *slot)
{
	struct virtqueue_buffer b[4];
	uint32_t at = 0x1000 + *slot * 128, bytes;
	unsigned count = cut(b, 4, at, &bytes);

	for (uint32_t i = 0; i < bytes; i++)
		rig.data[at + i] = (uint8_t)((*printed + i) * 7);
	if (rig_add(&rig, OUT, b, count, 0) == FAKE_DRIVER_FULL)
		return;
	*printed += bytes;
	*slot = (*slot + 1) % 256;
}

static void offer_some(uint32_t *place, unsigned *slot)
{
	struct virtqueue_buffer b[4];
	uint32_t at = 0x100000 + *slot * 128, bytes;
	unsigned count = cut(b, 4, at, &bytes);
	uint16_t id = rig_add(&rig, IN, b, 0, count);

	if (id == FAKE_DRIVER_FULL)
		return;
	place[id] = at;
	*slot = (*slot + 1) % 256;
}

static void type_some(void)
{
	uint8_t text[64];
	size_t bytes = below(sizeof(text) + 1), took;

	for (size_t i = 0; i < bytes; i++)
		text[i] = (uint8_t)((typed + i) * 7);
	took = virtio_console_input(&console, text, bytes);
	EXPECT(took <= bytes);
	EXPECT((took < bytes) == console.waiting);
	typed += took;
}

static void take_typed(const uint32_t *place, uint64_t *seen)
{
	uint32_t length;
	uint16_t id;

	while (rig_take(&rig, IN, &id, &length)) {
		EXPECT(length > 0);
		for (uint32_t i = 0; i < length; i++)
			EXPECT(rig.data[place[id] + i] == (uint8_t)((*seen + i) * 7));
		*seen += length;
	}
}

START_TEST(random_streams)
{
	uint64_t printed = 0, seen = 0, took = 0;
	unsigned out_slot = 0, in_slot = 0;
	uint32_t place[256], length;
	uint16_t id;

	seed(MODEL_SEED + (uint64_t)_i);
	typed = shown = 0;
	start(_i);
	rig.ram.watch = false;
	for (unsigned step = 0; step < 40000; step++) {
		rig.ram.watch = step % 64 == 0;
		switch (below(5)) {
		case 0:
			print_some(&printed, &out_slot);
			break;
		case 1:
			offer_some(place, &in_slot);
			break;
		case 2:
			type_some();
			break;
		case 3:
			virtio_notify(rig.v, OUT);
			while (rig_take(&rig, OUT, &id, &length))
				took++;
			break;
		default:
			take_typed(place, &seen);
			EXPECT(seen == typed);
		}
		for (size_t i = 0; i < fake.sent_bytes; i++)
			EXPECT(fake.sent[i] == (uint8_t)((shown + i) * 7));
		shown += fake.sent_bytes;
		fake.sent_bytes = 0;
		EXPECT(virtio_check(&console.virtio));
	}
	ck_assert_uint_eq(rig.breaks, 0);
	ck_assert_uint_gt(shown, 50000);
	ck_assert_uint_gt(seen, 50000);
	ck_assert_uint_le(shown, printed);
}
END_TEST

Suite *virtio_console_suite(void);

Suite *virtio_console_suite(void)
{
	Suite *s = suite_create("virtio_console");
	TCase *t = tcase_create("console");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, one_port);
	tcase_add_loop_test(t, output, 0, 8);
	tcase_add_loop_test(t, an_empty_ring_asks_to_be_notified, 0, 8);
	tcase_add_loop_test(t, output_leaves_writable_buffers_alone, 0, 2);
	tcase_add_loop_test(t, output_without_end_breaks, 0, 2);
	tcase_add_loop_test(t, output_from_nowhere_breaks, 0, 2);
	tcase_add_loop_test(t, input_fills_buffers_in_order, 0, 8);
	tcase_add_loop_test(t, input_waits_for_room, 0, 8);
	tcase_add_loop_test(t, input_before_a_driver_waits, 0, 2);
	tcase_add_loop_test(t, queues_filled_before_driver_ok, 0, 8);
	tcase_add_loop_test(t, input_without_anyone_who_cares, 0, 2);
	tcase_add_loop_test(t, input_into_a_readable_buffer_breaks, 0, 2);
	tcase_add_loop_test(t, resize, 0, 2);
	tcase_add_loop_test(t, emergency_write, 0, 2);
	tcase_add_loop_test(t, random_streams, 0, 8);
	suite_add_tcase(s, t);
	return s;
}
