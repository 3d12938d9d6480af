/* devices/virtio_rng.h: a virtio entropy device, rate limited by a token bucket.
 * Source: VIRTIO 1.2, 5.4. Threads: as devices/virtio.h. */
#ifndef SLAT_DEVICES_VIRTIO_RNG_H
#define SLAT_DEVICES_VIRTIO_RNG_H

#include "devices/timer.h"
#include "devices/virtio.h"

#define VIRTIO_RNG_QUEUE_SIZE 64u
#define VIRTIO_RNG_PIECE      256u /* what getrandom() gives without being cut short */

struct virtio_rng_config {
	const char *name;
	void *owner;
	/* Fills all of it (at most VIRTIO_RNG_PIECE), or false: none now. */
	bool (*random)(void *owner, uint8_t *to, size_t bytes);
	struct clock clock;
	struct alarm alarm;	   /* calls virtio_rng_expired() */
	uint64_t bytes_per_second; /* and as much at once at most; 0: no limit */
	bool packed, platform;
	struct dma *dma; /* [1], lent */
	struct irq irq;
	void (*broken)(void *owner, const char *name, const char *why);
};

struct virtio_rng { /* private but for virtio */
	struct virtio virtio;
	struct virtio_rng_config config;
	uint64_t tokens; /* bytes */
	uint64_t filled_ns;
	struct virtqueue_chain chain;
};

void virtio_rng_init(struct virtio_rng *r, const struct virtio_rng_config *config);
void virtio_rng_expired(struct virtio_rng *r);

#endif
