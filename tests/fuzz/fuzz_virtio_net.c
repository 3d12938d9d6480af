/* tests/fuzz/fuzz_virtio_net.c: a hostile driver of the network device (virtio_fuzz.h), and a backend that is not much
 * better. What goes to the host has a length that a frame has and a header that names nothing outside of it and
 * nothing that was not negotiated. The device's own operation: a frame comes, or there is room again. */
#include "devices/virtio_net.h"
#include "tests/fuzz/virtio_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_net net;
static struct net_backend backend;
static bool receive_wanted[VIRTIO_NET_PAIRS_MAX], writable_wanted[VIRTIO_NET_PAIRS_MAX];
static unsigned used, answers; /* answers: what the next sends are told, two bits each */
static struct virtio_net_header header;
static size_t frame; /* bytes of one that has come */
static uint64_t handed;

static bool has(unsigned feature)
{
	return net.virtio.accepted >> feature & 1;
}

static void judge(const struct virtio_net_header *h, uint64_t bytes)
{
	const unsigned kind = h->gso_type & 0x7fu;

	MM_ASSERT((h->flags & ~VIRTIO_NET_HDR_NEEDS_CSUM) == 0 && h->num_buffers == 0, h->flags, h->num_buffers);
	MM_ASSERT(!h->flags || (has(VIRTIO_NET_F_CSUM) && (uint32_t)h->csum_start + h->csum_offset + 2 <= bytes),
		  h->csum_start, bytes);
	if (h->gso_type == 0)
		return;
	MM_ASSERT(h->flags && h->gso_size && h->hdr_len <= bytes, h->gso_size, h->hdr_len);
	MM_ASSERT(kind == VIRTIO_NET_GSO_TCPV4 ? has(VIRTIO_NET_F_HOST_TSO4)
					       : kind == VIRTIO_NET_GSO_TCPV6 && has(VIRTIO_NET_F_HOST_TSO6),
		  kind, net.virtio.accepted);
	MM_ASSERT(!(h->gso_type & VIRTIO_NET_GSO_ECN) || has(VIRTIO_NET_F_HOST_ECN), kind, net.virtio.accepted);
}

static enum net_sent take(void *self, unsigned pair, const struct virtio_net_header *h,
			  const struct dma_segment *segment, unsigned segments)
{
	uint64_t bytes = 0;
	uint8_t sum = 0;

	MM_ASSERT(self == &fuzz && pair < net.pairs && segments <= VIRTIO_NET_SEGMENTS, pair, segments);
	for (unsigned i = 0; i < segments; i++) {
		for (uint64_t j = 0; j < segment[i].bytes; j++)
			sum ^= segment[i].host[j];
		bytes += segment[i].bytes;
	}
	handed += sum;
	MM_ASSERT(bytes >= 14 && bytes <= VIRTIO_NET_FRAME_MAX, bytes, segments);
	judge(h, bytes);
	answers = answers >> 2 | answers << 14;
	return answers & 3 ? NET_SENT : answers & 4 ? NET_LATER : NET_LOST;
}

static size_t come(void *self, unsigned pair, struct virtio_net_header *h, uint8_t *buffer, size_t size)
{
	size_t bytes = frame;

	MM_ASSERT(self == &fuzz && pair < net.pairs && bytes <= size, pair, bytes);
	*h = header;
	memset(buffer, (int)bytes, bytes);
	frame = 0;
	return bytes;
}

static void want(void *self, unsigned pair, bool receive, bool writable)
{
	MM_ASSERT(self == &fuzz && pair < backend.pairs, pair, 0);
	receive_wanted[pair] = receive;
	writable_wanted[pair] = writable;
}

static void use_pairs(void *self, unsigned pairs)
{
	MM_ASSERT(self == &fuzz && pairs > 0 && pairs <= backend.pairs, pairs, backend.pairs);
	used = pairs;
}

static void offload(void *self, uint64_t features)
{
	MM_ASSERT(self == &fuzz && (features & ~net.virtio.offered) == 0, features, 0);
}

static void own(uint8_t a, uint8_t b)
{
	const unsigned pair = a % backend.pairs;

	if (b & 1) {
		answers = (unsigned)a << 8 | b;
		virtio_net_writable(&net, pair);
		return;
	}
	header = (struct virtio_net_header){
		.flags = b >> 1 & 3, .gso_type = b >> 3 & 7, .gso_size = a, .csum_start = a, .csum_offset = b};
	frame = b & 64 ? VIRTIO_NET_FRAME_MAX - a : 14u + a * 7u;
	virtio_net_readable(&net, pair);
	frame = 0;
	virtio_net_set_link(&net, b & 128);
}

static void check(void)
{
	MM_ASSERT(net.pairs == 0 || used == net.pairs || backend.pairs == 1, net.pairs, used);
	MM_ASSERT(virtio_running(&net.virtio) ? net.pairs > 0 : net.pairs == 0, net.pairs, net.virtio.status);
	for (unsigned i = 0; i < backend.pairs; i++) {
		MM_ASSERT(receive_wanted[i] == (i < net.pairs && !net.starved[i]), i, net.pairs);
		MM_ASSERT(writable_wanted[i] == (i < net.pairs && net.full[i]), i, net.pairs);
		MM_ASSERT(net.frame[i].bytes <= VIRTIO_NET_FRAME_MAX, i, net.frame[i].bytes);
		MM_ASSERT(net.frame[i].bytes == 0 || net.starved[i] || i >= net.pairs, i, net.frame[i].bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_config config = {
		.name = "net 0",
		.backend = &backend,
		.packed = true,
		.broken = fuzz_broken,
		.owner = &fuzz,
	};
	const unsigned pairs = size > 1 && data[1] & 1 ? 2 : 1;
	uint8_t features;

	fuzz_open(data, size, virtio_net_queues(pairs));
	fuzz.own = own;
	fuzz.check = check;
	features = fuzz_byte();
	answers = fuzz_byte() * 0x0101u;
	backend = (struct net_backend){
		.self = &fuzz,
		.pairs = pairs,
		.offloads = answers & 2,
		.send = take,
		.receive = come,
		.want = want,
		.use_pairs = pairs > 1 ? use_pairs : NULL,
		.offload = answers & 2 ? offload : NULL,
	};
	frame = 0;
	used = 1;
	config.dma = fuzz.dma;
	virtio_net_init(&net, &config);
	fuzz_run(&net.virtio, features);
	return 0;
}
