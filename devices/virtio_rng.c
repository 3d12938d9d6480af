/* devices/virtio_rng.c
 *
 * One request is one chain; it gets one piece of random bytes, which the
 * specification allows to be shorter than the buffer (5.4.6.2: one byte or more).
 * So the work that a chain can ask for is bounded, whatever lengths it names.
 *
 * The bucket holds at most bytes_per_second tokens, a byte each, and is full at
 * first. A chain is served when there are tokens for all of its piece: else a
 * driver that asks for 64 bytes would get one byte sixty-four times, and pay
 * an interrupt for each. What a bucket smaller than a piece can never hold is
 * not waited for.
 *
 * R1  tokens <= bytes_per_second.
 * R2  a chain that waits is in the ring, not here: a reset has nothing to forget
 *     but the alarm.
 * R3  a chain waits only while the alarm is set.
 * Time is turned into tokens without loss: filled_ns moves on by what the tokens
 * that were added took, not by what had passed.
 * Cost: a chain is O(VIRTIO_RNG_PIECE); nothing runs while nobody asks. */
#include "devices/virtio_rng.h"

#define RETRY_NS UINT64_C(10000000) /* the host has none now */
#define NEVER	 UINT64_MAX

static bool limited(const struct virtio_rng *r)
{
	return r->config.bytes_per_second &&
	       r->config.bytes_per_second <= UINT32_MAX; /* nobody makes 4 GB in a second */
}

static uint64_t now(const struct virtio_rng *r)
{
	return r->config.clock.now_ns(r->config.clock.self);
}

static void set_alarm(const struct virtio_rng *r, uint64_t deadline_ns)
{
	r->config.alarm.set(r->config.alarm.self, deadline_ns);
}

static void refill(struct virtio_rng *r)
{
	const uint32_t rate = (uint32_t)r->config.bytes_per_second;
	const uint64_t at = now(r), gained = timer_ticks(at - r->filled_ns, rate), room = rate - r->tokens;

	if (gained >= room) {
		r->tokens = rate;
		r->filled_ns = at;
	} else {
		r->tokens += gained;
		r->filled_ns += timer_ns(gained, rate);
	}
}

/* How many bytes the chain is to get; 0: they are not there yet, and the alarm is set. */
static uint32_t allowance(struct virtio_rng *r)
{
	uint64_t bytes = r->chain.writable_bytes < VIRTIO_RNG_PIECE ? r->chain.writable_bytes : VIRTIO_RNG_PIECE;

	if (!limited(r))
		return (uint32_t)bytes;
	if (bytes > r->config.bytes_per_second)
		bytes = r->config.bytes_per_second;
	refill(r);
	if (r->tokens >= bytes)
		return (uint32_t)bytes;
	set_alarm(r, r->filled_ns + timer_ns(bytes - r->tokens, (uint32_t)r->config.bytes_per_second));
	return 0;
}

/* True: it was served, and there may be another. */
static bool serve_chain(struct virtio_rng *r, struct virtqueue *q)
{
	uint8_t piece[VIRTIO_RNG_PIECE];
	uint32_t bytes;

	if (r->chain.writable_bytes == 0) {
		virtio_break(&r->virtio, "a request for random bytes has no room for one");
		return false;
	}
	bytes = allowance(r);
	if (bytes && !r->config.random(r->config.owner, piece, bytes)) {
		set_alarm(r, now(r) + RETRY_NS);
		bytes = 0;
	}
	if (bytes == 0) {
		virtqueue_unpop(q, &r->chain);
		return false;
	}
	if (limited(r))
		r->tokens -= bytes;
	return virtqueue_write(q, &r->chain, 0, piece, bytes) && virtqueue_push(q, &r->chain, bytes);
}

static void serve(struct virtio_rng *r)
{
	struct virtqueue *q = &r->virtio.queue[0];
	enum virtqueue_result result;

	do
		while ((result = virtqueue_pop(q, &r->chain)) == VIRTQUEUE_OK && serve_chain(r, q))
			;
	while (result == VIRTQUEUE_EMPTY && virtqueue_notify_on(q));
	virtio_used(&r->virtio, 0);
}

static void notify(void *self, unsigned queue)
{
	(void)queue;
	serve(self);
}

static void stop(void *self, unsigned queue)
{
	(void)queue; /* there is one */
	set_alarm(self, NEVER);
}

void virtio_rng_expired(struct virtio_rng *r)
{
	if (virtio_running(&r->virtio))
		serve(r);
}

void virtio_rng_init(struct virtio_rng *r, const struct virtio_rng_config *config)
{
	static const struct virtio_ops ops = {.stop = stop, .notify = notify};
	const struct virtio_config virtio = {
		.name = config->name,
		.id = VIRTIO_ID_RNG,
		.packed = config->packed,
		.platform = config->platform,
		.queues = 1,
		.queue_size = {VIRTIO_RNG_QUEUE_SIZE},
		.dma = config->dma,
		.ops = &ops,
		.self = r,
		.irq = config->irq,
		.broken = config->broken,
		.owner = config->owner,
	};

	r->config = *config;
	r->tokens = limited(r) ? config->bytes_per_second : 0;
	r->filled_ns = config->clock.now_ns(config->clock.self);
	virtio_init(&r->virtio, &virtio);
}
