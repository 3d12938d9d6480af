/* devices/virtio_console.c
 *
 * Output is taken as it comes: the sink takes all. Input that the driver has no
 * buffer for stays with its owner, who is told when there is room.
 *
 * C1  while input waits, and only then, the driver is asked to notify for the
 *     input queue: it gives its buffers back one by one, and each notification
 *     would be an exit.
 * C2  nothing that was popped is kept from one call to the next: a reset has
 *     nothing to forget. `waiting` outlives it: the owner still has the input.
 * Multiple ports are not offered: a port beside the first is a channel, not a
 * console, and the terminal's size is that of port 0 either way (5.3.5).
 * Cost: output O(bytes of the chains), through a piece on the stack. A chain of
 * more than OUTPUT_MAX bytes is refused: its buffers may name the same gigabytes
 * again and again, and whoever stops the device waits for the chain's end. */
#include "devices/virtio_console.h"

#define PIECE	   1024u
#define OUTPUT_MAX (1u << 20) /* Linux writes 4 KiB at once to a console, 64 KiB to a port */
#define IN	   VIRTIO_CONSOLE_QUEUE_IN
#define OUT	   VIRTIO_CONSOLE_QUEUE_OUT
#define EMERGENCY  offsetof(struct virtio_console_config_regs, emergency_write)

/* All that the driver wrote: to the sink. What is writable of it is left alone. */
static bool put_out(struct virtio_console *c, struct virtqueue *q)
{
	uint8_t piece[PIECE];

	if (c->chain.readable_bytes > OUTPUT_MAX) {
		virtio_break(&c->virtio, "more than 1 MiB of output in one chain");
		return false;
	}
	for (uint64_t at = 0, bytes; at < c->chain.readable_bytes; at += bytes) {
		bytes = c->chain.readable_bytes - at < PIECE ? c->chain.readable_bytes - at : PIECE;
		if (!virtqueue_read(q, &c->chain, at, piece, bytes))
			return false;
		sink_write(&c->out, piece, bytes);
	}
	return virtqueue_push(q, &c->chain, 0);
}

static void serve_output(struct virtio_console *c)
{
	struct virtqueue *q = &c->virtio.queue[OUT];
	enum virtqueue_result result;

	do
		while ((result = virtqueue_pop(q, &c->chain)) == VIRTQUEUE_OK && put_out(c, q))
			;
	while (result == VIRTQUEUE_EMPTY && virtqueue_notify_on(q));
	virtio_used(&c->virtio, OUT);
}

/* The bytes that one chain took; 0: broken. */
static size_t fill(struct virtio_console *c, struct virtqueue *q, const uint8_t *data, size_t bytes)
{
	const size_t some = c->chain.writable_bytes < bytes ? (size_t)c->chain.writable_bytes : bytes;

	if (some == 0)
		virtio_break(&c->virtio, "a buffer for input cannot be written");
	if (some == 0 || !virtqueue_write(q, &c->chain, 0, data, some) || !virtqueue_push(q, &c->chain, (uint32_t)some))
		return 0;
	return some;
}

size_t virtio_console_input(struct virtio_console *c, const uint8_t *data, size_t bytes)
{
	struct virtqueue *q = &c->virtio.queue[IN];
	size_t done = 0;

	if (virtio_running(&c->virtio)) {
		do {
			while (done < bytes && virtqueue_pop(q, &c->chain) == VIRTQUEUE_OK)
				done += fill(c, q, data + done, bytes - done);
		} while (done < bytes && virtqueue_notify_on(q));
		if (done == bytes)
			virtqueue_notify_off(q);
		virtio_used(&c->virtio, IN);
	}
	c->waiting = done < bytes;
	return done;
}

static void room(struct virtio_console *c)
{
	if (!c->waiting)
		return;
	c->waiting = false;
	if (c->room)
		c->room(c->virtio.config.owner);
}

static void notify(void *self, unsigned queue)
{
	struct virtio_console *c = self;

	if (queue == OUT)
		serve_output(c);
	else
		room(c);
}

static void stop(void *self, unsigned queue)
{
	(void)self; /* C2 */
	(void)queue;
}

static uint64_t read_config(void *self, unsigned offset, unsigned width)
{
	const struct virtio_console *c = self;
	const struct virtio_console_config_regs regs = {.columns = c->columns, .rows = c->rows, .max_ports = 1};

	return virtio_config_bytes(&regs, offset, width);
}

/* One character, before there are queues, or when nothing else works any more (5.3.5.1). */
static void write_config(void *self, unsigned offset, unsigned width, uint64_t value)
{
	const struct virtio_console *c = self;
	const uint8_t character = (uint8_t)value;

	(void)width;
	if (offset == EMERGENCY)
		sink_write(&c->out, &character, 1);
}

void virtio_console_resize(struct virtio_console *c, uint16_t columns, uint16_t rows)
{
	if (columns == c->columns && rows == c->rows)
		return;
	c->columns = columns;
	c->rows = rows;
	if (virtio_has(&c->virtio, VIRTIO_CONSOLE_F_SIZE))
		virtio_changed(&c->virtio);
}

void virtio_console_init(struct virtio_console *c, const struct virtio_console_config *config)
{
	static const struct virtio_ops ops = {
		.stop = stop,
		.notify = notify,
		.read_config = read_config,
		.write_config = write_config,
	};
	const struct virtio_config virtio = {
		.name = config->name,
		.id = VIRTIO_ID_CONSOLE,
		.features = 1u << VIRTIO_CONSOLE_F_SIZE | 1u << VIRTIO_CONSOLE_F_EMERG_WRITE,
		.packed = config->packed,
		.platform = config->platform,
		.config_bytes = sizeof(struct virtio_console_config_regs),
		.queues = 2,
		.queue_size = {VIRTIO_CONSOLE_QUEUE_SIZE, VIRTIO_CONSOLE_QUEUE_SIZE},
		.dma = config->dma,
		.ops = &ops,
		.self = c,
		.irq = config->irq,
		.broken = config->broken,
		.owner = config->owner,
	};

	c->out = config->out;
	c->room = config->room;
	c->waiting = false;
	c->columns = config->columns;
	c->rows = config->rows;
	virtio_init(&c->virtio, &virtio);
}
