/* tests/unit/test_virtio_net.c: the network device, each rule of the specification by name, and random frames both
 * ways, in whatever chains, against what should come out. */
#include <pthread.h>

#include "devices/virtio_net.h"
#include "tests/unit/device_fakes.h"
#include "tests/unit/net_fake.h"
#include "tests/unit/random.h"
#include "tests/unit/virtio_rig.h"

#define BIT(n) (UINT64_C(1) << (n))
#define MERGE  BIT(VIRTIO_NET_F_MRG_RXBUF)
#define ALL_GUEST                                                                                                      \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |                  \
	 BIT(VIRTIO_NET_F_GUEST_ECN))
#define ALL_HOST                                                                                                       \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |                          \
	 BIT(VIRTIO_NET_F_HOST_ECN))
#define PAIRS	(BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_VQ))
#define HEADER	((uint32_t)sizeof(struct virtio_net_header))
#define RX	0u
#define TX	1u
#define FORMATS 8 /* bit 0 packed, bit 1 indirect, bit 2 event index */

static struct rig rig;
static struct net_fake fake;
static struct virtio_net net;
static struct net_fake_frame frame;

static void make(unsigned pairs, bool offloads)
{
	const struct virtio_net_config config = {
		.name = "net 0",
		.backend = &fake.backend,
		.packed = true,
		.dma = rig.dma,
		.irq = rig_irq(&rig),
		.broken = rig_broken,
		.owner = &rig,
	};

	rig_open(&rig, virtio_net_queues(pairs));
	net_fake_init(&fake, pairs, offloads);
	virtio_net_init(&net, &config);
	rig.v = &net.virtio;
}

static void setup_one(void)
{
	make(1, true);
}

static void setup_plain(void)
{
	make(1, false);
}

static void setup_many(void)
{
	make(4, true);
}

static void teardown(void)
{
	ck_assert(virtio_check(&net.virtio));
	ck_assert_uint_eq(rig.ram.strays, 0);
	rig_close(&rig);
}

static void start_sized(int format, uint64_t features, unsigned size)
{
	rig.indirect = format & 2;
	features |= format & 1 ? BIT(VIRTIO_F_RING_PACKED) : 0;
	features |= rig.indirect ? BIT(VIRTIO_F_INDIRECT_DESC) : 0;
	features |= format & 4 ? BIT(VIRTIO_F_EVENT_IDX) : 0;
	rig_start(&rig, features | BIT(VIRTIO_F_RING_RESET), size);
}

static void start(int format, uint64_t features)
{
	start_sized(format, features, 64);
}

static void pattern(uint8_t *data, size_t bytes, uint64_t salt)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(salt * 31 + i * 7 + (i >> 8));
}

/* A frame of the guest's, header and data in one buffer each. */
static uint16_t guest_sends(unsigned queue, struct virtio_net_header header, uint32_t bytes)
{
	const struct virtqueue_buffer b[] = {{RIG_DATA, HEADER}, {RIG_DATA + 64, bytes}};

	memcpy(rig.data, &header, HEADER);
	pattern(rig.data + 64, bytes, bytes);
	return rig_add(&rig, queue, b, 1 + (bytes > 0), 0);
}

static bool sent(struct virtio_net_header header, uint32_t bytes)
{
	uint64_t before = fake.sends, lost = net.stats.lost;
	uint32_t length;
	uint16_t id;
	bool went;

	ck_assert_uint_ne(guest_sends(TX, header, bytes), FAKE_DRIVER_FULL);
	virtio_notify(rig.v, TX);
	ck_assert(rig_take(&rig, TX, &id, &length));
	ck_assert_uint_eq(length, 0);
	went = fake.sends == before + 1;
	ck_assert_uint_eq(net.stats.lost, lost + !went);
	if (went) {
		ck_assert_uint_eq(fake.sent.bytes, bytes);
		ck_assert_mem_eq(fake.sent.data, rig.data + 64, bytes);
	}
	return went;
}

static void host_gives(unsigned pair, struct virtio_net_header header, size_t bytes)
{
	frame.header = header;
	frame.bytes = bytes;
	pattern(frame.data, bytes, bytes);
	fake.given[pair] = &frame;
	virtio_net_readable(&net, pair);
}

static struct virtio_net_header header_at(uint32_t at)
{
	struct virtio_net_header header;

	memcpy(&header, rig.data + at, HEADER);
	return header;
}

static int64_t used(unsigned queue)
{
	uint32_t length;
	uint16_t id;

	return rig_take(&rig, queue, &id, &length) ? (int64_t)length : -1;
}

static const struct virtio_net_header plain = {0};

/* ---- what is offered ---- */

/* 5.1.4.1: max_virtqueue_pairs between 1 and 0x8000 with VIRTIO_NET_F_MQ; VIRTIO_NET_F_MTU is not offered. */
START_TEST(configuration)
{
	const struct virtio_ops *ops = net.virtio.config.ops;

	ck_assert_uint_eq(net.virtio.config.id, VIRTIO_ID_NET);
	ck_assert_uint_eq(net.virtio.config.config_bytes, 12);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_uint_eq(ops->read_config(&net, i, 1), fake.backend.mac[i]);
	ck_assert_uint_eq(ops->read_config(&net, 6, 2), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(ops->read_config(&net, 8, 2), fake.backend.pairs);
	ck_assert_uint_eq(net.virtio.offered >> VIRTIO_NET_F_MTU & 1, 0);
	ck_assert_uint_eq(net.virtio.config.queues, fake.backend.pairs > 1 ? 9 : 2);
	ck_assert_ptr_null(ops->write_config);
}
END_TEST

/* 5.1.3.1: what is offered has what it requires. */
START_TEST(offers)
{
	uint64_t f = net.virtio.config.features;

	ck_assert_uint_eq(f & MERGE, MERGE);
	ck_assert_uint_eq(f & (ALL_GUEST | ALL_HOST), fake.backend.offloads ? ALL_GUEST | ALL_HOST : 0);
	ck_assert_uint_eq(f & PAIRS, fake.backend.pairs > 1 ? PAIRS : 0);
}
END_TEST

START_TEST(link_status)
{
	const struct virtio_ops *ops = net.virtio.config.ops;

	start(0, BIT(VIRTIO_NET_F_STATUS));
	virtio_net_set_link(&net, true);
	ck_assert_uint_eq(rig.interrupts, 0);
	virtio_net_set_link(&net, false);
	ck_assert_uint_eq(rig.interrupts, 1);
	ck_assert_uint_eq(net.virtio.interrupt_status, VIRTIO_INTERRUPT_CONFIG);
	ck_assert_uint_eq(ops->read_config(&net, 6, 2), 0);
	start(0, 0);
	rig.interrupts = 0;
	virtio_net_set_link(&net, true);
	ck_assert_uint_eq(rig.interrupts, 0);
}
END_TEST

/* ---- from the guest ---- */

START_TEST(sends_frames)
{
	static const uint32_t lengths[] = {14, 60, 1514, 4096, 9000, VIRTIO_NET_FRAME_MAX};

	start(_i, ALL_HOST);
	for (unsigned i = 0; i < 6; i++)
		ck_assert(sent(plain, lengths[i]));
	ck_assert_uint_eq(net.stats.sent, 6);
	ck_assert_uint_eq(net.stats.sent_bytes, 14 + 60 + 1514 + 4096 + 9000 + VIRTIO_NET_FRAME_MAX);
	ck_assert_uint_eq(rig.interrupts, (_i & 5) == 4 ? 1 : 6); /* the event index stays where it is */
	ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE), 0);
}
END_TEST

/* Zero copy: of a frame, the device copies the header alone. */
START_TEST(sends_without_a_copy)
{
	uint64_t copied;

	start(_i, ALL_HOST);
	copied = rig.dma[TX].stats.copied;
	ck_assert(sent(plain, 60000));
	ck_assert_uint_lt(rig.dma[TX].stats.copied - copied, 256);
	ck_assert_uint_eq(rig.dma[TX].stats.mapped, 60000);
}
END_TEST

/* How the driver cuts a frame means nothing: 2.7.4.1. */
START_TEST(sends_across_buffers)
{
	struct virtqueue_buffer b[30];

	start_sized(_i, ALL_HOST, 256);
	for (unsigned cut = 1; cut < 30; cut++) {
		for (unsigned i = 0; i < 30; i++)
			b[i] = (struct virtqueue_buffer){RIG_DATA + 100 * i, i == 29 ? 100 : cut};
		for (unsigned i = 0; i < 30; i++)
			pattern(rig.data + 100 * i, 100, i * cut);
		for (unsigned i = 0, done = 0; done < HEADER; i++)
			for (unsigned j = 0; j < cut && done < HEADER; j++, done++)
				rig.data[100 * i + j] = 0;
		rig_add(&rig, TX, b, 30, 0);
		virtio_notify(rig.v, TX);
		ck_assert_int_eq(used(TX), 0);
		ck_assert_uint_eq(fake.sent.bytes, 29 * cut + 100 - HEADER);
		for (unsigned i = 0, at = 0; i < 30; i++)
			for (unsigned j = 0; j < b[i].bytes; j++, at++)
				if (at >= HEADER)
					ck_assert_uint_eq(fake.sent.data[at - HEADER], rig.data[100 * i + j]);
	}
}
END_TEST

START_TEST(a_frame_of_no_length_is_lost)
{
	static const uint32_t lengths[] = {0, 1, 13, VIRTIO_NET_FRAME_MAX + 1, 1u << 20};

	start(_i, ALL_HOST);
	for (unsigned i = 0; i < 5; i++)
		ck_assert(!sent(plain, lengths[i]));
	ck_assert_uint_eq(net.virtio.stats.refused, 5);
	rig_send(&rig, TX, 0, "short", 5);
	virtio_notify(rig.v, TX);
	ck_assert_int_eq(used(TX), 0);
	ck_assert_uint_eq(net.stats.lost, 6);
	ck_assert(sent(plain, 60));
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

START_TEST(a_writable_chain_is_no_frame)
{
	start(_i, ALL_HOST);
	rig_room(&rig, TX, 0, 2000);
	virtio_notify(rig.v, TX);
	ck_assert_int_eq(used(TX), 0);
	ck_assert_uint_eq(net.stats.lost, 1);
	ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE | DMA_READ), 0);
}
END_TEST

/* 5.1.6.2.2: "The device MUST ignore flag bits that it does not recognize." */
START_TEST(ignores_unknown_flags)
{
	struct virtio_net_header h = {.flags = 0xfe};

	start(_i, ALL_HOST);
	ck_assert(sent(h, 60));
	ck_assert_uint_eq(fake.sent.header.flags, 0);
	h.flags = 0xff;
	ck_assert(sent(h, 60));
	ck_assert_uint_eq(fake.sent.header.flags, VIRTIO_NET_HDR_NEEDS_CSUM);
}
END_TEST

/* 5.1.6.2.2: "If NEEDS_CSUM is not set, the device MUST NOT use the csum_start and csum_offset." */
START_TEST(no_checksum_field_without_the_flag)
{
	const struct virtio_net_header h = {
		.csum_start = 0xffff, .csum_offset = 0xffff, .num_buffers = 7, .hdr_len = 9};

	start(_i, ALL_HOST);
	ck_assert(sent(h, 60));
	ck_assert_mem_eq(&fake.sent.header, &plain, HEADER);
}
END_TEST

START_TEST(checksum_inside_the_frame)
{
	struct virtio_net_header h = {.flags = VIRTIO_NET_HDR_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};

	start(_i, ALL_HOST);
	ck_assert(sent(h, 52));
	ck_assert_mem_eq(&fake.sent.header, &h, HEADER);
	ck_assert(!sent(h, 51));
	h.csum_offset = 0xffff;
	ck_assert(!sent(h, 60));
	h.csum_start = 0xffff;
	ck_assert(!sent(h, VIRTIO_NET_FRAME_MAX));
	h.csum_offset = 0;
	ck_assert(!sent(h, VIRTIO_NET_FRAME_MAX - 14));
	h.csum_start = VIRTIO_NET_FRAME_MAX - 15;
	ck_assert(sent(h, VIRTIO_NET_FRAME_MAX));
}
END_TEST

START_TEST(only_negotiated_offloads)
{
	static const struct {
		uint64_t features;
		uint8_t flags, type;
		uint16_t size;
		bool went;
	} table[] = {
		{0, 1, 0, 0, false},
		{BIT(VIRTIO_NET_F_CSUM), 1, 0, 0, true},
		{BIT(VIRTIO_NET_F_CSUM), 1, VIRTIO_NET_GSO_TCPV4, 1448, false},
		{BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4), 1, VIRTIO_NET_GSO_TCPV4, 1448, true},
		{BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4), 1, VIRTIO_NET_GSO_TCPV6, 1448, false},
		{BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6), 1, VIRTIO_NET_GSO_TCPV6, 1448, true},
		{BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6), 1, VIRTIO_NET_GSO_TCPV4, 1448, false},
		{ALL_HOST, 0, VIRTIO_NET_GSO_TCPV4, 1448, false}, /* segments without a checksum to complete */
		{ALL_HOST, 1, VIRTIO_NET_GSO_TCPV4, 0, false},	  /* of no length */
		{ALL_HOST, 1, VIRTIO_NET_GSO_TCPV4 | VIRTIO_NET_GSO_ECN, 1448, true},
		{ALL_HOST, 1, VIRTIO_NET_GSO_TCPV6 | VIRTIO_NET_GSO_ECN, 1, true},
		{ALL_HOST & ~BIT(VIRTIO_NET_F_HOST_ECN), 1, VIRTIO_NET_GSO_TCPV4 | VIRTIO_NET_GSO_ECN, 1448, false},
		{ALL_HOST, 1, VIRTIO_NET_GSO_ECN, 1448, false},
		{ALL_HOST, 1, 3, 1448, false}, /* UDP, which is not offered */
		{ALL_HOST, 1, 5, 1448, false},
		{ALL_HOST, 1, 0x7f, 1448, false},
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct virtio_net_header h = {.flags = table[i].flags,
						    .gso_type = table[i].type,
						    .gso_size = table[i].size,
						    .hdr_len = 54,
						    .csum_start = 34,
						    .csum_offset = 16};
		bool went;

		start(_i, table[i].features);
		went = sent(h, 4000);
		ck_assert_msg(went == table[i].went, "line %u", i);
		if (went && h.gso_type)
			ck_assert_mem_eq(&fake.sent.header, &h, HEADER);
		ck_assert_uint_eq(net.virtio.stats.refused, !went);
		net.virtio.stats.refused = 0;
	}
}
END_TEST

/* 5.1.6.2.2: "The device MUST NOT rely on hdr_len to be correct." */
START_TEST(header_length_is_a_hint)
{
	struct virtio_net_header h = {.flags = 1, .gso_type = 1, .gso_size = 100, .csum_start = 34, .csum_offset = 16};

	start(_i, ALL_HOST);
	h.hdr_len = 0xffff;
	ck_assert(sent(h, 200));
	ck_assert_uint_eq(fake.sent.header.hdr_len, 200);
	h.hdr_len = 0;
	ck_assert(sent(h, 200));
	ck_assert_uint_eq(fake.sent.header.hdr_len, 0);
	ck_assert(sent(h, VIRTIO_NET_FRAME_MAX));
}
END_TEST

START_TEST(a_full_backend_is_waited_for)
{
	start(_i, 0);
	fake.later = 1;
	for (uint32_t i = 0; i < 3; i++)
		guest_sends(TX, plain, 60 + i);
	virtio_notify(rig.v, TX);
	ck_assert_int_eq(used(TX), -1);
	ck_assert(fake.writable[0]);
	virtio_notify(rig.v, TX); /* nothing but the backend can help */
	ck_assert_int_eq(used(TX), -1);
	ck_assert_uint_eq(fake.sends, 0);
	virtio_net_writable(&net, 0);
	ck_assert(!fake.writable[0]);
	ck_assert_uint_eq(fake.sends, 3);
	ck_assert_uint_eq(fake.sent.bytes, 62);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(used(TX), 0);
	ck_assert_uint_eq(net.stats.lost, 0);
	virtio_net_writable(&net, 0); /* it was not asked */
	ck_assert_uint_eq(fake.sends, 3);
}
END_TEST

START_TEST(what_the_backend_refuses_is_lost)
{
	start(_i, 0);
	fake.lost = 1;
	guest_sends(TX, plain, 60);
	guest_sends(TX, plain, 61);
	virtio_notify(rig.v, TX);
	ck_assert_uint_eq(fake.sends, 1);
	ck_assert_uint_eq(net.stats.lost, 1);
	ck_assert_uint_eq(net.virtio.stats.refused, 0);
	ck_assert_uint_eq(fake.sent.bytes, 61);
}
END_TEST

/* More host segments than the list has room for. */
START_TEST(a_frame_in_too_many_pieces_is_lost)
{
	struct virtqueue_buffer b[256];

	start_sized(_i | 2, 0, 256);
	b[0] = (struct virtqueue_buffer){RIG_DATA, HEADER};
	/* Every second byte of the host's: no two are neighbours; and a region's end is inside of the last ones. */
	for (unsigned i = 1; i < 256; i++)
		b[i] = (struct virtqueue_buffer){RIG_DATA + 64 + 2 * i, 1};
	rig_add(&rig, TX, b, 256, 0);
	virtio_notify(rig.v, TX);
	ck_assert_uint_eq(fake.sends, 1);
	ck_assert_uint_eq(fake.segments_most, 255);
	fake_dma_add(&rig.ram, RIG_DATA + RIG_DATA_BYTES, 0x1000, DMA_READ);
	for (unsigned i = 1; i < 256; i++)
		b[i] = (struct virtqueue_buffer){RIG_DATA + RIG_DATA_BYTES - 1, 2};
	rig_add(&rig, TX, b, 256, 0);
	virtio_notify(rig.v, TX);
	ck_assert_int_eq(used(TX), 0);
	ck_assert_int_eq(used(TX), 0);
	ck_assert_uint_eq(net.stats.lost, 1);
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

START_TEST(a_frame_from_nowhere_breaks)
{
	const struct virtqueue_buffer b[] = {{RIG_DATA, HEADER}, {0x4000, 60}}, c = {0x4000, 60};

	start(_i, 0);
	rig_add(&rig, TX, b, 2, 0);
	virtio_notify(rig.v, TX);
	ck_assert(rig_is_broken(&rig));
	ck_assert(!fake.receive[0]);
	start(_i, 0);
	rig_add(&rig, TX, &c, 1, 0);
	virtio_notify(rig.v, TX);
	ck_assert(rig_is_broken(&rig));
	ck_assert_uint_eq(fake.sends, 0);
	ck_assert_uint_eq(rig.breaks, 2);
	rig.ram.strays = 0;
}
END_TEST

/* ---- to the guest ---- */

/* 5.1.6.3.2, 5.1.6.4.1: without VIRTIO_NET_F_MRG_RXBUF one buffer, and num_buffers is 1. */
START_TEST(receives_into_one_buffer)
{
	start(_i, 0);
	for (uint32_t bytes = 14; bytes < 3000; bytes += 331) {
		rig_room(&rig, RX, 0, HEADER + bytes);
		fake_dma_forget(&rig.ram);
		host_gives(0, plain, bytes);
		ck_assert_int_eq(used(RX), HEADER + bytes);
		ck_assert_uint_eq(header_at(0).num_buffers, 1);
		ck_assert_mem_eq(rig.data + HEADER, frame.data, bytes);
		ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE), HEADER + bytes);
	}
	ck_assert_uint_eq(net.stats.received, 10);
	ck_assert_uint_eq(rig.interrupts, (_i & 5) == 4 ? 1 : 10);
}
END_TEST

START_TEST(a_frame_that_fits_no_single_buffer_is_lost)
{
	start(_i, 0);
	rig_room(&rig, RX, 0, HEADER + 100);
	rig_room(&rig, RX, 200, HEADER + 100);
	host_gives(0, plain, 101);
	ck_assert_int_eq(used(RX), -1);
	ck_assert_uint_eq(net.stats.lost, 1);
	ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE), 0);
	host_gives(0, plain, 100); /* the buffers are all there still */
	ck_assert_int_eq(used(RX), HEADER + 100);
	host_gives(0, plain, 99);
	ck_assert_int_eq(used(RX), HEADER + 99);
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

/* 5.1.6.4.1: "the device MUST set num_buffers to indicate the number of buffers the packet (including the header) is
 * spread over", and "MUST use all buffers but the last completely". */
START_TEST(merges_buffers)
{
	start(_i, MERGE);
	for (unsigned i = 0; i < 4; i++)
		rig_room(&rig, RX, 1000 * i, i == 1 ? 1 : 100);
	host_gives(0, plain, 150);
	ck_assert_int_eq(used(RX), 100);
	ck_assert_int_eq(used(RX), 1);
	ck_assert_int_eq(used(RX), 61);
	ck_assert_int_eq(used(RX), -1);
	ck_assert_uint_eq(header_at(0).num_buffers, 3);
	ck_assert_mem_eq(rig.data + HEADER, frame.data, 88);
	ck_assert_uint_eq(rig.data[1000], frame.data[88]);
	ck_assert_mem_eq(rig.data + 2000, frame.data + 89, 61);
	ck_assert_uint_eq(rig.interrupts, 1);
	host_gives(0, plain, 88);
	ck_assert_int_eq(used(RX), 100);
	ck_assert_uint_eq(header_at(3000).num_buffers, 1);
}
END_TEST

START_TEST(merges_all_buffers_of_a_queue)
{
	start_sized(_i, MERGE, 256);
	for (unsigned i = 0; i < 256; i++)
		rig_room(&rig, RX, 512 * i, i ? 1 : HEADER);
	host_gives(0, plain, 255);
	ck_assert_uint_eq(header_at(0).num_buffers, 256);
	for (unsigned i = 0; i < 256; i++)
		ck_assert_int_eq(used(RX), i ? 1 : HEADER);
	for (unsigned i = 1; i < 256; i++)
		ck_assert_uint_eq(rig.data[512 * i], frame.data[i - 1]);
}
END_TEST

START_TEST(waits_for_enough_buffers)
{
	start(_i, MERGE);
	ck_assert(fake.receive[0]);
	host_gives(0, plain, 150);
	ck_assert(!fake.receive[0]);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(used(RX), -1);
		rig_room(&rig, RX, 1000 * i, 60);
		ck_assert(fake_driver_should_notify(&rig.queue[RX], 1));
		virtio_notify(rig.v, RX);
	}
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(used(RX), i < 2 ? 60 : 42);
	ck_assert_uint_eq(header_at(0).num_buffers, 3);
	ck_assert(fake.receive[0]);
	rig_room(&rig, RX, 0, 60);
	ck_assert(!fake_driver_should_notify(&rig.queue[RX], 1)); /* N3 */
	virtio_notify(rig.v, RX);
	ck_assert_int_eq(used(RX), -1);
	ck_assert_uint_eq(net.stats.lost, 0);
}
END_TEST

/* A frame that was kept is the first that comes when there are buffers. */
START_TEST(keeps_the_order)
{
	start(_i, 0);
	host_gives(0, plain, 100);
	fake.given[0] = NULL;
	frame.bytes = 101;
	fake.given[0] = &frame;
	virtio_net_readable(&net, 0); /* it is not asked while starved */
	ck_assert_uint_eq(fake.taken[0], 1);
	rig_room(&rig, RX, 0, 500);
	rig_room(&rig, RX, 1000, 500);
	virtio_notify(rig.v, RX);
	ck_assert_int_eq(used(RX), HEADER + 100);
	ck_assert_int_eq(used(RX), HEADER + 101);
}
END_TEST

START_TEST(no_room_for_a_header_breaks)
{
	start(_i, _i & 4 ? MERGE : 0);
	rig_room(&rig, RX, 0, HEADER - 1);
	host_gives(0, plain, 100);
	ck_assert(rig_is_broken(&rig));
	ck_assert(!fake.receive[0]);
	ck_assert_int_eq(used(RX), -1);
	fake.given[0] = &frame;
	virtio_net_readable(&net, 0); /* nothing any more, until the reset */
	virtio_net_writable(&net, 0);
	ck_assert_uint_eq(fake.taken[0], 1);
	ck_assert_uint_eq(rig.breaks, 1);
	start(_i, 0);
	rig_room(&rig, RX, 0, 500);
	virtio_net_readable(&net, 0);
	ck_assert_int_eq(used(RX), HEADER + 100);
}
END_TEST

START_TEST(a_readable_receive_buffer_breaks)
{
	start(_i, MERGE);
	rig_room(&rig, RX, 0, 60);
	rig_send(&rig, RX, 1000, "x", 1);
	host_gives(0, plain, 100);
	ck_assert(rig_is_broken(&rig));
	ck_assert_int_eq(used(RX), -1);
	ck_assert_uint_eq(rig.data[1000], 'x');
}
END_TEST

START_TEST(a_receive_buffer_nowhere_breaks)
{
	const struct virtqueue_buffer b = {0x4000, 500};

	start(_i, MERGE);
	rig_room(&rig, RX, 0, 60);
	rig_add(&rig, RX, &b, 0, 1);
	host_gives(0, plain, 100);
	ck_assert(rig_is_broken(&rig));
	ck_assert_int_eq(used(RX), -1);
	start(_i, MERGE);
	rig_add(&rig, RX, &b, 0, 1);
	host_gives(0, plain, 100);
	ck_assert(rig_is_broken(&rig));
	ck_assert_uint_eq(rig.breaks, 2);
	rig.ram.strays = 0;
}
END_TEST

/* Found by fuzzing: the driver is asked for silence at the very start. */
START_TEST(a_ring_that_cannot_be_written_breaks_at_once)
{
	fake_dma_protect(&rig.ram, RIG_QUEUES, DMA_READ);
	start(_i, 0);
	ck_assert(rig_is_broken(&rig));
	ck_assert(!fake.receive[0]);
	ck_assert_uint_eq(net.pairs, 0);
	rig.ram.strays = 0;
}
END_TEST

/* 5.1.6.4.1: what the header says is what the driver negotiated; the rest of the frames is lost, since the backend was
 * told, and this can only have been on its way. */
START_TEST(only_accepted_offloads)
{
	static const struct {
		uint64_t features;
		uint8_t flags, type;
		uint16_t size;
		int flags_then; /* -1: lost */
	} table[] = {
		/* "If GUEST_CSUM is not negotiated, the device MUST set flags to zero" */
		{0, 0, 0, 0, 0},
		{0, VIRTIO_NET_HDR_DATA_VALID, 0, 0, 0},
		{0, VIRTIO_NET_HDR_NEEDS_CSUM, 0, 0, -1},
		{BIT(VIRTIO_NET_F_GUEST_CSUM), VIRTIO_NET_HDR_DATA_VALID, 0, 0, VIRTIO_NET_HDR_DATA_VALID},
		{BIT(VIRTIO_NET_F_GUEST_CSUM), VIRTIO_NET_HDR_NEEDS_CSUM, 0, 0, VIRTIO_NET_HDR_NEEDS_CSUM},
		{BIT(VIRTIO_NET_F_GUEST_CSUM), 4, 0, 0, 0}, /* RSC_INFO was not negotiated */
		/* "If none of the GUEST_TSO4, TSO6 have been negotiated, the device MUST set gso_type to NONE" */
		{BIT(VIRTIO_NET_F_GUEST_CSUM), 1, VIRTIO_NET_GSO_TCPV4, 1448, -1},
		{BIT(VIRTIO_NET_F_GUEST_CSUM), 1, VIRTIO_NET_GSO_TCPV6, 1448, -1},
		{BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4), 1, VIRTIO_NET_GSO_TCPV4, 1448, 1},
		{BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4), 1, VIRTIO_NET_GSO_TCPV6, 1448, -1},
		{BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO6), 1, VIRTIO_NET_GSO_TCPV6, 1448, 1},
		{BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO6), 1, VIRTIO_NET_GSO_TCPV4, 1448, -1},
		{ALL_GUEST & ~BIT(VIRTIO_NET_F_GUEST_CSUM), 1, VIRTIO_NET_GSO_TCPV4, 1448, -1},
		/* "If gso_type differs from NONE, the device MUST also set NEEDS_CSUM and MUST set gso_size" */
		{ALL_GUEST, 0, VIRTIO_NET_GSO_TCPV4, 1448, -1},
		{ALL_GUEST, 1, VIRTIO_NET_GSO_TCPV4, 0, -1},
		{ALL_GUEST, 1, VIRTIO_NET_GSO_TCPV4 | VIRTIO_NET_GSO_ECN, 1448, 1},
		{ALL_GUEST & ~BIT(VIRTIO_NET_F_GUEST_ECN), 1, VIRTIO_NET_GSO_TCPV4 | VIRTIO_NET_GSO_ECN, 1448, -1},
		{ALL_GUEST, 1, 3, 1448, -1}, /* GUEST_UFO is not offered */
		{ALL_GUEST, 1, 5, 1448, -1},
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct virtio_net_header h = {.flags = table[i].flags,
						    .gso_type = table[i].type,
						    .gso_size = table[i].size,
						    .hdr_len = 54,
						    .csum_start = 34,
						    .csum_offset = 16,
						    .num_buffers = 0xffff};
		uint64_t lost = net.stats.lost;

		start(_i, table[i].features);
		ck_assert_uint_eq(fake.offload, table[i].features & ALL_GUEST);
		rig_room(&rig, RX, 0, 8192);
		host_gives(0, h, 3000);
		ck_assert_msg((net.stats.lost > lost) == (table[i].flags_then < 0), "line %u", i);
		if (table[i].flags_then < 0)
			continue;
		ck_assert_uint_eq(header_at(0).flags, (unsigned)table[i].flags_then);
		ck_assert_uint_eq(header_at(0).gso_type, table[i].type);
		ck_assert_uint_eq(header_at(0).gso_size, table[i].type ? table[i].size : 0);
		ck_assert_uint_eq(header_at(0).num_buffers, 1);
		if (table[i].flags_then & VIRTIO_NET_HDR_NEEDS_CSUM)
			ck_assert_uint_eq(header_at(0).csum_start, 34);
	}
}
END_TEST

/* ---- resets ---- */

START_TEST(a_reset_forgets_all)
{
	start(_i, ALL_GUEST);
	host_gives(0, plain, 100); /* kept: there is no buffer */
	fake.later = 1;
	guest_sends(TX, plain, 60);
	virtio_notify(rig.v, TX);
	ck_assert(fake.writable[0]);
	virtio_set_status(rig.v, 0);
	ck_assert(!fake.writable[0] && !fake.receive[0]);
	ck_assert_uint_eq(fake.offload, 0);
	ck_assert_uint_eq(net.stats.lost, 1);
	fake_dma_forget(&rig.ram);
	fake.given[0] = &frame;
	virtio_net_readable(&net, 0);
	virtio_net_writable(&net, 0);
	ck_assert_uint_eq(fake_dma_touched_all(&rig.ram, DMA_READ | DMA_WRITE), 0);
	start(_i, 0);
	rig_room(&rig, RX, 0, 500);
	frame.bytes = 70;
	virtio_net_readable(&net, 0);
	ck_assert_int_eq(used(RX), HEADER + 70);
	ck_assert(sent(plain, 60));
}
END_TEST

START_TEST(a_queue_is_reset_alone)
{
	start(_i, 0);
	fake.later = 1;
	guest_sends(TX, plain, 60);
	virtio_notify(rig.v, TX);
	host_gives(0, plain, 100);
	virtio_queue_reset(rig.v, TX);
	ck_assert(!fake.writable[0]);
	virtio_net_writable(&net, 0);
	ck_assert_uint_eq(fake.sends, 0);
	rig_enable(&rig, TX, 16);
	ck_assert(sent(plain, 61));
	virtio_queue_reset(rig.v, RX);
	rig_enable(&rig, RX, 16);
	rig_room(&rig, RX, 0, 500);
	ck_assert(fake_driver_should_notify(&rig.queue[RX], 1));
	virtio_notify(rig.v, RX);
	ck_assert_int_eq(used(RX), HEADER + 100); /* the frame was the host's */
}
END_TEST

/* ---- pairs ---- */

/* Sent as a driver does that notifies only when it is asked to (2.7.10, 2.8.10). */
static int64_t command(uint8_t class, uint8_t what, const void *data, uint32_t bytes, unsigned queue)
{
	const struct virtqueue_buffer b[] = {{RIG_DATA + 0x200000, 2 + bytes}, {RIG_DATA + 0x201000, 1}};
	const unsigned entries = rig.queue[queue].packed ? 2 : 1;
	uint8_t *at = rig.data + 0x200000;

	at[0] = class;
	at[1] = what;
	memcpy(at + 2, data, bytes);
	rig.data[0x201000] = 0xee;
	rig_add(&rig, queue, b, 1, 1);
	ck_assert(fake_driver_should_notify(&rig.queue[queue], rig.indirect ? 1 : entries));
	virtio_notify(rig.v, queue);
	ck_assert_int_eq(used(queue), 1);
	return rig.data[0x201000];
}

static int64_t set_pairs(uint16_t pairs)
{
	return command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, 2, 8);
}

/* 5.1.6.5.6.1: "After initialization of reset, the device MUST queue packets only on receiveq1." */
START_TEST(one_pair_after_reset)
{
	start(_i, PAIRS);
	ck_assert_uint_eq(fake.pairs, 1);
	for (unsigned i = 0; i < 4; i++) {
		rig_room(&rig, 2 * i, 1000 * i, 500);
		ck_assert_int_eq(fake.receive[i], i == 0);
		host_gives(i, plain, 100);
		ck_assert_int_eq(used(2 * i), i ? -1 : (int)HEADER + 100);
	}
	ck_assert_int_eq(set_pairs(4), VIRTIO_NET_OK);
	virtio_set_status(rig.v, 0);
	ck_assert_uint_eq(fake.pairs, 1);
	start(_i, PAIRS);
	ck_assert(fake.receive[0] && !fake.receive[1]);
}
END_TEST

START_TEST(all_pairs)
{
	start(_i, PAIRS);
	ck_assert_int_eq(set_pairs(4), VIRTIO_NET_OK);
	ck_assert_uint_eq(fake.pairs, 4);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert(fake.receive[i]);
		rig_room(&rig, 2 * i, 1000 * i, 500);
		host_gives(i, plain, 100 + i);
		ck_assert_int_eq(used(2 * i), HEADER + 100 + i);
		guest_sends(2 * i + 1, plain, 60 + i);
		virtio_notify(rig.v, 2 * i + 1);
		ck_assert_int_eq(used(2 * i + 1), 0);
		ck_assert_uint_eq(fake.sent.pair, i);
		ck_assert_uint_eq(fake.sent.bytes, 60 + i);
	}
}
END_TEST

/* 5.1.6.5.6.1: "The device MUST NOT queue packets on receive queues greater than virtqueue_pairs once it has placed the
 * VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET command in a used buffer." */
START_TEST(fewer_pairs)
{
	start(_i, PAIRS);
	set_pairs(4);
	host_gives(3, plain, 100); /* waits for a buffer */
	fake.later = 1;
	guest_sends(5, plain, 60);
	virtio_notify(rig.v, 5);
	ck_assert(fake.writable[2]);
	ck_assert_int_eq(set_pairs(2), VIRTIO_NET_OK);
	ck_assert_uint_eq(fake.pairs, 2);
	ck_assert(fake.receive[1] && !fake.receive[2] && !fake.writable[2]);
	ck_assert_uint_eq(net.stats.lost, 1);
	rig_room(&rig, 6, 0, 500);
	virtio_notify(rig.v, 6);
	host_gives(3, plain, 100);
	ck_assert_int_eq(used(6), -1);
	virtio_net_writable(&net, 2);
	guest_sends(7, plain, 61);
	virtio_notify(rig.v, 7); /* of a pair that is not used: nobody looks */
	ck_assert_uint_eq(fake.sends, 0);
	ck_assert_int_eq(set_pairs(4), VIRTIO_NET_OK);
	ck_assert_uint_eq(fake.sends, 2); /* what was left lying, and what came meanwhile: no notification follows */
	ck_assert_int_eq(used(5), 0);
	ck_assert_int_eq(used(7), 0);
	virtio_net_readable(&net, 3);
	ck_assert_int_eq(used(6), HEADER + 100);
}
END_TEST

/* What lay in the queue of a pair that is used anew is sent behind the answer, as far as the backend takes it. */
START_TEST(more_pairs_find_the_backend_full)
{
	start(_i, PAIRS);
	guest_sends(3, plain, 60);
	fake.later = 1;
	ck_assert_int_eq(set_pairs(2), VIRTIO_NET_OK);
	ck_assert(fake.writable[1] && !fake.writable[0]);
	ck_assert_int_eq(used(3), -1);
	virtio_net_writable(&net, 1);
	ck_assert_int_eq(used(3), 0);
	ck_assert_uint_eq(fake.sent.pair, 1);
	ck_assert(!fake.writable[1]);
}
END_TEST

/* 5.1.6.5.6: 0, more than there are, other commands, too little: not done. */
START_TEST(bad_commands)
{
	static const uint16_t bad[] = {0, 5, 0x8000, 0xffff, 0x0100};
	const struct virtqueue_buffer b = {RIG_DATA + 0x200000, 4};
	uint16_t two = 2;

	start(_i, PAIRS);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(set_pairs(bad[i]), VIRTIO_NET_ERR);
	ck_assert_int_eq(command(VIRTIO_NET_CTRL_MQ, 1, &two, 2, 8), VIRTIO_NET_ERR);
	ck_assert_int_eq(command(0, 0, &two, 2, 8), VIRTIO_NET_ERR);
	ck_assert_int_eq(command(VIRTIO_NET_CTRL_MQ, 0, &two, 1, 8), VIRTIO_NET_ERR);
	ck_assert_int_eq(command(VIRTIO_NET_CTRL_MQ, 0, &two, 0, 8), VIRTIO_NET_ERR);
	ck_assert_uint_eq(net.pairs, 1);
	memcpy(rig.data + 0x200000, "\x04\x00\x02\x00", 4);
	rig_add(&rig, 8, &b, 1, 0); /* no room for the answer */
	virtio_notify(rig.v, 8);
	ck_assert_int_eq(used(8), 0);
	ck_assert_uint_eq(net.pairs, 1);
	ck_assert_uint_eq(net.virtio.stats.refused, 1);
	ck_assert_int_eq(command(VIRTIO_NET_CTRL_MQ, 0, "\x03\x00more", 6, 8), VIRTIO_NET_OK);
	ck_assert_uint_eq(net.pairs, 3);
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

/* 5.1.2: without VIRTIO_NET_F_MQ the control queue is the third one, and there is one pair. */
START_TEST(control_without_pairs)
{
	uint16_t two = 2;

	start(_i, BIT(VIRTIO_NET_F_CTRL_VQ));
	ck_assert_int_eq(command(VIRTIO_NET_CTRL_MQ, 0, &two, 2, 2), VIRTIO_NET_ERR);
	ck_assert(sent(plain, 60));
	start(_i, 0); /* nor any without the feature */
	rig_send(&rig, 2, 0, "\x04\x00\x02\x00", 4);
	rig_send(&rig, 8, 0, "\x04\x00\x02\x00", 4);
	virtio_notify(rig.v, 2);
	virtio_notify(rig.v, 8);
	ck_assert_int_eq(used(2), -1);
	ck_assert_int_eq(used(8), -1);
}
END_TEST

START_TEST(a_command_from_nowhere_breaks)
{
	const struct virtqueue_buffer b[] = {{0x4000, 4}, {RIG_DATA, 1}}, c[] = {{RIG_DATA, 4}, {0x4000, 1}};

	start(_i, PAIRS);
	rig_add(&rig, 8, _i & 4 ? b : c, 1, 1);
	virtio_notify(rig.v, 8);
	ck_assert(rig_is_broken(&rig));
	for (unsigned i = 0; i < 4; i++)
		ck_assert(!fake.receive[i]);
	rig.ram.strays = 0;
}
END_TEST

/* ---- random frames both ways ---- */

struct expected { /* a frame on its way, in either direction */
	uint32_t bytes;
	uint64_t salt;
};

static struct {
	bool merge;
	uint64_t salt;		     /* of the next frame */
	struct expected out[256];    /* by the chain's id */
	uint16_t order[1u << 16];    /* of ids, as they were added */
	unsigned added, done;	     /* in it */
	uint32_t at[256], room[256]; /* of a receive buffer, by id */
	uint16_t in_order[1u << 16];
	unsigned in_added, in_used;
	bool waiting; /* a frame is with the device, or offered to it */
	uint64_t delivered, too_long, merged;
} model;

static unsigned cut(struct virtqueue_buffer *b, unsigned most, uint32_t at, uint32_t bytes)
{
	unsigned count = 1 + (unsigned)below(most);

	for (unsigned i = 0; i < count; i++) {
		uint32_t some = i + 1 == count ? bytes : (uint32_t)below(bytes);

		if (some == 0 || some == bytes)
			count = i + 1;
		some = count == i + 1 ? bytes : some;
		b[i] = (struct virtqueue_buffer){RIG_DATA + at, some};
		at += some;
		bytes -= some;
	}
	return count;
}

static uint32_t some_length(void)
{
	return 14 + (uint32_t)below(below(8) ? 1500 : below(8) ? 9000 : VIRTIO_NET_FRAME_MAX - 13);
}

/* Frame `salt` lies where no other in flight does: the place is its number's. */
static void model_send(void)
{
	struct expected e = {some_length(), model.salt};
	uint32_t at = (uint32_t)(model.salt % 24) * 0x11000;
	struct virtqueue_buffer b[8];
	unsigned count;
	uint16_t id;

	if (model.added - model.done >= 16)
		return;
	count = cut(b, 8, at, HEADER + e.bytes);
	memset(rig.data + at, 0, HEADER);
	pattern(rig.data + at + HEADER, e.bytes, e.salt);
	id = rig_add(&rig, TX, b, count, 0);
	if (id == FAKE_DRIVER_FULL)
		return;
	model.salt++;
	model.out[id] = e;
	model.order[model.added++ % (1u << 16)] = id;
}

static enum net_sent model_take(void *self, unsigned pair, const struct virtio_net_header *header,
				const struct dma_segment *segment, unsigned segments)
{
	enum net_sent said = below(16) == 0 ? NET_LATER : below(16) == 0 ? NET_LOST : NET_SENT;
	const struct expected *e = &model.out[model.order[model.done % (1u << 16)]];
	uint32_t bytes = 0;

	(void)self;
	EXPECT(pair == 0 && model.done < model.added);
	EXPECT(memcmp(header, &plain, HEADER) == 0);
	for (unsigned i = 0; i < segments; i++)
		for (uint64_t j = 0; j < segment[i].bytes; j++, bytes++)
			EXPECT(segment[i].host[j] == (uint8_t)(e->salt * 31 + bytes * 7 + (bytes >> 8)));
	EXPECT(bytes == e->bytes);
	model.done += said != NET_LATER;
	return said;
}

static void model_room(void)
{
	static const uint32_t typical[] = {1526, 2048, 4096, 65562, 64, 12};
	uint32_t bytes = below(3) ? typical[below(model.merge ? 6 : 4)] : HEADER + (uint32_t)below(4000);
	uint32_t at = 0x1a0000 + (model.in_added % 36) * 0x11000;
	struct virtqueue_buffer b[4];
	uint16_t id;

	if (model.in_added - model.in_used >= 32)
		return;
	id = rig_add(&rig, RX, b, 0, cut(b, 4, at, bytes));
	if (id == FAKE_DRIVER_FULL)
		return;
	model.at[id] = at;
	model.room[id] = bytes;
	model.in_order[model.in_added++ % (1u << 16)] = id;
	if (fake_driver_should_notify(&rig.queue[RX], 1) || below(4) == 0)
		virtio_notify(rig.v, RX);
}

/* The buffers of one frame, all of them there. */
static void model_receive(void)
{
	uint8_t frame_bytes[HEADER + VIRTIO_NET_FRAME_MAX];
	struct virtio_net_header header;
	unsigned buffers = 1, done = 0;
	uint32_t length, bytes = 0;
	uint16_t id;

	for (; done < buffers && rig_take(&rig, RX, &id, &length); done++) {
		EXPECT(id == model.in_order[model.in_used++ % (1u << 16)]);
		EXPECT(length <= model.room[id]);
		if (done == 0) {
			memcpy(&header, rig.data + model.at[id], HEADER);
			buffers = header.num_buffers;
			EXPECT(buffers > 0 && (model.merge || buffers == 1));
		}
		EXPECT(done + 1 == buffers || length == model.room[id]);
		memcpy(frame_bytes + bytes, rig.data + model.at[id], length);
		bytes += length;
	}
	if (done == 0)
		return;
	EXPECT(done == buffers && model.waiting);
	header.num_buffers = 0;
	EXPECT(memcmp(&header, &plain, HEADER) == 0);
	EXPECT(bytes == HEADER + frame.bytes);
	EXPECT(memcmp(frame_bytes + HEADER, frame.data, frame.bytes) == 0);
	model.waiting = false;
	model.delivered++;
	model.merged += buffers > 1;
}

static void model_give(void)
{
	uint64_t lost = net.stats.lost;

	if (model.waiting)
		return;
	frame.bytes = some_length();
	frame.header = plain;
	pattern(frame.data, frame.bytes, model.delivered);
	model.waiting = true;
	EXPECT(net.starved[0] == !fake.receive[0]);
	fake.given[0] = &frame;
	if (fake.receive[0])
		virtio_net_readable(&net, 0);
	if (net.stats.lost == lost)
		return;
	EXPECT(!model.merge && model.room[model.in_order[model.in_used % (1u << 16)]] < HEADER + frame.bytes);
	model.too_long++;
	model.waiting = false;
}

START_TEST(random_frames)
{
	uint32_t length;
	uint16_t id;
	uint64_t lost;

	seed(MODEL_SEED + (uint64_t)_i);
	memset(&model, 0, sizeof(model));
	model.merge = _i & 8;
	fake.backend.send = model_take;
	start_sized(_i, model.merge ? MERGE : 0, 64);
	for (unsigned step = 0; step < 12000; step++) {
		rig.ram.watch = step % 128 == 0;
		switch (below(6)) {
		case 0:
			model_send();
			break;
		case 1:
			virtio_notify(rig.v, TX);
			break;
		case 2:
			if (fake.writable[0])
				virtio_net_writable(&net, 0);
			while (rig_take(&rig, TX, &id, &length))
				EXPECT(length == 0);
			break;
		case 3:
			lost = net.stats.lost;
			model_room();
			if (net.stats.lost != lost) { /* one that waited fits none */
				EXPECT(!model.merge);
				model.too_long++;
				model.waiting = false;
			}
			break;
		case 4:
			model_give();
			break;
		default:
			model_receive();
		}
		EXPECT(virtio_check(&net.virtio) && rig.ram.pinned == 0);
		EXPECT(fake.writable[0] == net.full[0]);
		/* Who has a frame and buffers, gives: nothing is left lying. */
		EXPECT(!model.waiting || net.starved[0] || !fake.given[0]);
	}
	ck_assert_uint_eq(rig.breaks, 0);
	ck_assert_uint_gt(model.done, 1000);
	ck_assert_uint_gt(model.delivered, model.merge ? 500 : 100);
	ck_assert(model.merge ? model.merged > 100 : model.too_long > 10);
}
END_TEST

/* ---- what the driver sees while the device gives frames (N5) ---- */

#define RACED 20000u

static uint64_t seen_frames;

static void *consume(void *unused)
{
	uint32_t at[256], length;
	uint16_t id;

	for (unsigned i = 0; i < 16; i++)
		at[rig_room(&rig, RX, 0x1000 * i, 100)] = 0x1000 * i;
	while (seen_frames < RACED) {
		unsigned buffers;

		if (!rig_take(&rig, RX, &id, &length))
			continue;
		buffers = header_at(at[id]).num_buffers;
		for (unsigned i = 0;;) {
			EXPECT(at[id] != UINT32_MAX);
			length = at[id];
			at[id] = UINT32_MAX;
			at[rig_room(&rig, RX, length, 100)] = length;
			if (++i == buffers)
				break;
			EXPECT(rig_take(&rig, RX, &id, &length)); /* all of them, at once */
		}
		seen_frames++;
	}
	return unused;
}

START_TEST(a_frame_is_never_seen_in_part)
{
	pthread_t driver;
	uint64_t given = 0;

	rig.ram.watch = false;
	seen_frames = 0;
	start_sized(_i, MERGE, 16);
	ck_assert_int_eq(pthread_create(&driver, NULL, consume, NULL), 0);
	while (given < RACED || net.frame[0].bytes) {
		if (given < RACED && !fake.given[0]) {
			frame.bytes = 14 + given % 400;
			frame.header = plain;
			fake.given[0] = &frame;
			given++;
		}
		net.starved[0] = false;
		virtio_net_readable(&net, 0);
	}
	pthread_join(driver, NULL);
	ck_assert_uint_eq(net.stats.received, RACED);
	rig.ram.watch = true;
}
END_TEST

Suite *virtio_net_suite(void);

static TCase *group(Suite *s, const char *name, void (*setup)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return t;
}

static void add_offers(TCase *t)
{
	tcase_add_test(t, configuration);
	tcase_add_test(t, offers);
}

static void add_sending(TCase *t)
{
	tcase_add_loop_test(t, sends_frames, 0, FORMATS);
	tcase_add_loop_test(t, sends_without_a_copy, 0, FORMATS);
	tcase_add_loop_test(t, sends_across_buffers, 0, FORMATS);
	tcase_add_loop_test(t, a_frame_of_no_length_is_lost, 0, 2);
	tcase_add_loop_test(t, a_writable_chain_is_no_frame, 0, 2);
	tcase_add_loop_test(t, ignores_unknown_flags, 0, 2);
	tcase_add_loop_test(t, no_checksum_field_without_the_flag, 0, 2);
	tcase_add_loop_test(t, checksum_inside_the_frame, 0, 2);
	tcase_add_loop_test(t, only_negotiated_offloads, 0, 2);
	tcase_add_loop_test(t, header_length_is_a_hint, 0, 2);
	tcase_add_loop_test(t, a_full_backend_is_waited_for, 0, FORMATS);
	tcase_add_loop_test(t, what_the_backend_refuses_is_lost, 0, 2);
	tcase_add_loop_test(t, a_frame_in_too_many_pieces_is_lost, 0, 2);
	tcase_add_loop_test(t, a_frame_from_nowhere_breaks, 0, 2);
}

static void add_receiving(TCase *t)
{
	tcase_add_loop_test(t, receives_into_one_buffer, 0, FORMATS);
	tcase_add_loop_test(t, a_frame_that_fits_no_single_buffer_is_lost, 0, FORMATS);
	tcase_add_loop_test(t, merges_buffers, 0, FORMATS);
	tcase_add_loop_test(t, merges_all_buffers_of_a_queue, 0, FORMATS);
	tcase_add_loop_test(t, waits_for_enough_buffers, 0, FORMATS);
	tcase_add_loop_test(t, keeps_the_order, 0, 2);
	tcase_add_loop_test(t, no_room_for_a_header_breaks, 0, FORMATS);
	tcase_add_loop_test(t, a_readable_receive_buffer_breaks, 0, 2);
	tcase_add_loop_test(t, a_receive_buffer_nowhere_breaks, 0, 2);
	tcase_add_loop_test(t, a_ring_that_cannot_be_written_breaks_at_once, 0, 2);
	tcase_add_loop_test(t, only_accepted_offloads, 0, 2);
	tcase_add_loop_test(t, a_reset_forgets_all, 0, 2);
	tcase_add_loop_test(t, a_queue_is_reset_alone, 0, 2);
	tcase_add_loop_test(t, random_frames, 0, 2 * FORMATS);
	tcase_add_loop_test(t, a_frame_is_never_seen_in_part, 0, FORMATS);
}

Suite *virtio_net_suite(void)
{
	Suite *s = suite_create("virtio_net");
	TCase *one = group(s, "one pair", setup_one), *plain_one = group(s, "no offloads", setup_plain),
	      *many = group(s, "four pairs", setup_many);

	add_offers(one);
	tcase_add_test(one, link_status);
	add_sending(one);
	add_receiving(one);
	add_offers(plain_one);
	add_offers(many);
	tcase_add_loop_test(many, one_pair_after_reset, 0, FORMATS);
	tcase_add_loop_test(many, all_pairs, 0, FORMATS);
	tcase_add_loop_test(many, fewer_pairs, 0, FORMATS);
	tcase_add_loop_test(many, more_pairs_find_the_backend_full, 0, FORMATS);
	tcase_add_loop_test(many, bad_commands, 0, FORMATS);
	tcase_add_loop_test(many, control_without_pairs, 0, 2);
	tcase_add_loop_test(many, a_command_from_nowhere_breaks, 0, FORMATS);
	return s;
}
