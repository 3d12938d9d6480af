/* tests/unit/net_fake.h: the other side of a virtio network device: a backend of struct net_backend that keeps what was
 * sent and hands out what it was given, and says no when it is told to. Knows no test framework: fuzz targets
 * use it, too. */
#ifndef SLAT_TESTS_UNIT_NET_FAKE_H
#define SLAT_TESTS_UNIT_NET_FAKE_H

#include <string.h>

#include "devices/virtio_net.h"
#include "tests/unit/fake_dma.h"

#define NET_FAKE_FRAMES 64u
#define NET_FAKE_BYTES	(VIRTIO_NET_FRAME_MAX + 64u)

struct net_fake_frame {
	unsigned pair;
	struct virtio_net_header header;
	size_t bytes;
	uint8_t data[NET_FAKE_BYTES];
};

struct net_fake {
	struct net_backend backend;
	struct net_fake_frame sent, *given[VIRTIO_NET_PAIRS_MAX];
	uint64_t sends, taken[VIRTIO_NET_PAIRS_MAX];
	unsigned later, lost; /* so many sends from now on are answered so, the first kind first */
	bool receive[VIRTIO_NET_PAIRS_MAX], writable[VIRTIO_NET_PAIRS_MAX];
	unsigned pairs;
	uint64_t offload;
	unsigned segments_most;
};

static inline enum net_sent net_fake_send(void *self, unsigned pair, const struct virtio_net_header *header,
					  const struct dma_segment *segment, unsigned segments)
{
	struct net_fake *f = self;

	FAKE_DMA_MUST(pair < f->backend.pairs && segments > 0 && segments <= VIRTIO_NET_SEGMENTS);
	if (f->later) {
		f->later--;
		return NET_LATER;
	}
	if (f->lost) {
		f->lost--;
		return NET_LOST;
	}
	f->sent.pair = pair;
	f->sent.header = *header;
	f->sent.bytes = 0;
	for (unsigned i = 0; i < segments; i++) {
		FAKE_DMA_MUST(segment[i].bytes <= sizeof(f->sent.data) - f->sent.bytes);
		memcpy(f->sent.data + f->sent.bytes, segment[i].host, segment[i].bytes);
		f->sent.bytes += segment[i].bytes;
	}
	f->segments_most = segments > f->segments_most ? segments : f->segments_most;
	f->sends++;
	return NET_SENT;
}

/* One frame waits for each pair at most. */
static inline size_t net_fake_receive(void *self, unsigned pair, struct virtio_net_header *header, uint8_t *buffer,
				      size_t size)
{
	struct net_fake *f = self;
	const struct net_fake_frame *frame = f->given[pair];

	FAKE_DMA_MUST(size >= VIRTIO_NET_FRAME_MAX);
	if (!frame)
		return 0;
	FAKE_DMA_MUST(frame->bytes <= size);
	*header = frame->header;
	memcpy(buffer, frame->data, frame->bytes);
	f->given[pair] = NULL;
	f->taken[pair]++;
	return frame->bytes;
}

static inline void net_fake_want(void *self, unsigned pair, bool receive, bool writable)
{
	struct net_fake *f = self;

	FAKE_DMA_MUST(pair < f->backend.pairs);
	f->receive[pair] = receive;
	f->writable[pair] = writable;
}

static inline void net_fake_use_pairs(void *self, unsigned pairs)
{
	((struct net_fake *)self)->pairs = pairs;
}

static inline void net_fake_offload(void *self, uint64_t features)
{
	((struct net_fake *)self)->offload = features;
}

static inline void net_fake_init(struct net_fake *f, unsigned pairs, bool offloads)
{
	memset(f, 0, sizeof(*f));
	f->backend = (struct net_backend){
		.self = f,
		.mac = {0x52, 0x54, 0, 1, 2, 3},
		.pairs = pairs,
		.offloads = offloads,
		.send = net_fake_send,
		.receive = net_fake_receive,
		.want = net_fake_want,
		.use_pairs = pairs > 1 ? net_fake_use_pairs : NULL,
		.offload = offloads ? net_fake_offload : NULL,
	};
}

#endif
