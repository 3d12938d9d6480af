/* devices/virtio.c: what all virtio devices have in common: how far the driver has come, what was agreed, and when
 * the device may do something at all.
 *
 * Words. A step is one of the four status bits that a driver sets on its way up: ACKNOWLEDGE, DRIVER, FEATURES_OK,
 * DRIVER_OK. Live: all four. Broken: DEVICE_NEEDS_RESET. Given up: FAILED, the driver's word for it.
 *
 * Invariants, all of them verified by virtio_check():
 *   I1  a step is set only if those before it are; no status bit goes but by a reset, all at once;
 *   I2  the interrupt status has no bits but its two;
 *   I3  once FEATURES_OK is set, what was accepted was offered, and has what is insisted on: VERSION_1, and
 *       ACCESS_PLATFORM of a device that is behind the IOMMU;
 *   I4  a queue is ready only between FEATURES_OK and FAILED: its format is agreed then, its memory is lent;
 *   I5  a queue is broken only if the device is, and then all queues that are ready are;
 *   I6  queues are sound (virtqueue.c), and there are none behind the last.
 *
 * Broken. A queue that breaks says so by virtqueue.breaks, whoever was using it, from whatever call: the device is
 * broken when that call returns, and all its queues answer nothing from then on. No device has to look for it. Requests
 * that it has begun may still write to memory that they hold, as with hardware (2.1.1: a driver cannot know whether
 * they complete), but nothing is returned by any ring. `stop` is not called: the device may be in the middle of one of
 * its functions; the reset calls it.
 *
 * Start. A driver may fill its queues before DRIVER_OK (3.1.1, step 7), and what it says of them then is refused. So
 * the device is told of each queue that is on, as if the driver had notified of it: nothing in it waits for a
 * notification that the driver has sent already, and each device has asked for the next one, or not, by its own rules.
 *
 * Reset. stop(), then the queues, then all else as at power on. What is kept: the statistics, and the generation, since
 * a driver may compare it with one that it read before. stop() may come without start(), and twice.
 *
 * Given up. A driver that sets FAILED does not look after its memory any more, so the device lets go of it, as at
 * a reset, but the status stays.
 *
 * Configuration. A change before DRIVER_OK, but after the driver said its first word, may be behind what it has read
 * already: the interrupt status keeps it, and the interrupt is sent at DRIVER_OK.
 *
 * Strictness. A step out of order, bits cleared, features after FEATURES_OK, a queue that is not there: ignored, and
 * counted in stats.refused. Stock drivers make none of these mistakes. Off and RING_RESET are heard in each state: they
 * are how a driver takes its memory back.
 *
 * Cost: O(queues) for reset and break, else O(1) and what the device does.
 *
 * Rejected. To leave it to each device to look whether its queue is broken: one forgets. To look at all queues after
 * each notification: 17 cache lines for what never happens. To raise the interrupt only if its bit is not set yet: a
 * driver that acknowledges after it has looked at the ring would sleep on. */
#include <string.h>

#include "devices/virtio.h"

#define STEPS	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)
#define DRIVERS (STEPS | VIRTIO_STATUS_FAILED)
#define OVER	(VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET) /* nothing but a reset helps */

static const uint32_t step_order[] = {VIRTIO_STATUS_ACKNOWLEDGE, VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_FEATURES_OK,
				      VIRTIO_STATUS_DRIVER_OK};
#define STEP_COUNT  (sizeof(step_order) / sizeof(step_order[0]))

#define BEYOND_LAST 31u /* stands for all words from here on, and is only cleared by a reset */

static uint64_t bit(unsigned feature)
{
	return UINT64_C(1) << feature;
}

static void interrupt(struct virtio *v, uint32_t event)
{
	v->interrupt_status |= event;
	if (!(v->status & VIRTIO_STATUS_DRIVER_OK))
		return;
	v->stats.interrupts++;
	irq_set(&v->config.irq, true);
	irq_set(&v->config.irq, false);
}

static void queue_broken(void *self, const char *why)
{
	virtio_break(self, why);
}

void virtio_init(struct virtio *v, const struct virtio_config *config)
{
	memset(v, 0, sizeof(*v));
	v->config = *config;
	v->offered = config->features | bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_INDIRECT_DESC) |
		     bit(VIRTIO_F_EVENT_IDX) | bit(VIRTIO_F_RING_RESET);
	if (config->packed)
		v->offered |= bit(VIRTIO_F_RING_PACKED);
	if (config->platform)
		v->offered |= bit(VIRTIO_F_ACCESS_PLATFORM);
	for (unsigned i = 0; i < config->queues; i++) {
		virtqueue_init(&v->queue[i], &config->dma[i], config->queue_size[i]);
		v->queue[i].breaks = queue_broken;
		v->queue[i].owner = v;
	}
}

static void stop(struct virtio *v, unsigned queue)
{
	if (v->config.ops->stop)
		v->config.ops->stop(v->config.self, queue);
}

static void stop_all(struct virtio *v)
{
	stop(v, VIRTIO_ALL_QUEUES);
	for (unsigned i = 0; i < v->config.queues; i++)
		virtqueue_reset(&v->queue[i]);
}

static void reset(struct virtio *v)
{
	v->stats.resets++;
	stop_all(v);
	v->accepted = 0;
	v->beyond = 0;
	v->interrupt_status = 0;
	v->status = 0;
}

static bool features_allowed(const struct virtio *v)
{
	uint64_t needed = bit(VIRTIO_F_VERSION_1);

	if (v->config.platform)
		needed |= bit(VIRTIO_F_ACCESS_PLATFORM);
	return !v->beyond && !(v->accepted & ~v->offered) && (v->accepted & needed) == needed;
}

static void start(struct virtio *v)
{
	if (v->interrupt_status) /* of a change since the driver first said something */
		interrupt(v, 0);
	if (v->config.ops->start)
		v->config.ops->start(v->config.self);
	for (unsigned i = 0; i < v->config.queues; i++)
		if (virtio_running(v) && v->queue[i].ready)
			v->config.ops->notify(v->config.self, i);
}

/* One step of 3.1.1, behind the one before. */
static bool step(struct virtio *v, uint32_t before, uint32_t now)
{
	if (v->status & OVER || (v->status & before) != before)
		return false;
	if (now == VIRTIO_STATUS_FEATURES_OK && !features_allowed(v))
		return false;
	v->status |= now;
	if (now == VIRTIO_STATUS_DRIVER_OK)
		start(v);
	return true;
}

static void give_up(struct virtio *v)
{
	if (v->status & VIRTIO_STATUS_FAILED)
		return;
	v->status |= VIRTIO_STATUS_FAILED;
	stop_all(v);
}

void virtio_set_status(struct virtio *v, uint32_t status)
{
	uint32_t before = 0;
	bool refused = status & ~(DRIVERS | VIRTIO_STATUS_NEEDS_RESET) || v->status & ~status & DRIVERS;

	if (status == 0) {
		reset(v);
		return;
	}
	if (status & VIRTIO_STATUS_FAILED)
		give_up(v);
	for (unsigned i = 0; i < STEP_COUNT; i++) {
		if (status & ~v->status & step_order[i] && !step(v, before, step_order[i]))
			refused = true;
		before |= step_order[i];
	}
	v->stats.refused += refused;
}

void virtio_accept(struct virtio *v, unsigned word, uint32_t bits)
{
	if (v->status & (VIRTIO_STATUS_FEATURES_OK | OVER)) {
		v->stats.refused++;
		return;
	}
	if (word == 0)
		v->accepted = (v->accepted >> 32 << 32) | bits;
	else if (word == 1)
		v->accepted = (uint32_t)v->accepted | (uint64_t)bits << 32;
	else if (word < BEYOND_LAST && !bits)
		v->beyond &= ~(UINT32_C(1) << word);
	else if (bits)
		v->beyond |= UINT32_C(1) << (word < BEYOND_LAST ? word : BEYOND_LAST);
}

static bool may_turn_on(const struct virtio *v)
{
	return v->status & VIRTIO_STATUS_FEATURES_OK && !(v->status & OVER);
}

/* Off is heard in every state: a driver takes its memory back by it. */
void virtio_queue_ready(struct virtio *v, unsigned queue, bool on)
{
	struct virtqueue *q;

	if (queue >= v->config.queues || (on && !may_turn_on(v))) {
		v->stats.refused++;
		return;
	}
	q = &v->queue[queue];
	if (on && !q->ready) {
		v->stats.refused += !virtqueue_enable(q, v->accepted);
	} else if (!on && q->ready) {
		stop(v, queue);
		q->ready = false;
	}
}

void virtio_queue_reset(struct virtio *v, unsigned queue)
{
	if (queue >= v->config.queues || !(v->status & VIRTIO_STATUS_FEATURES_OK) ||
	    !virtio_has(v, VIRTIO_F_RING_RESET)) {
		v->stats.refused++;
		return;
	}
	if (v->queue[queue].ready)
		stop(v, queue);
	virtqueue_reset(&v->queue[queue]);
}

uint64_t virtio_config_bytes(const void *config, unsigned offset, unsigned width)
{
	uint64_t value = 0;

	memcpy(&value, (const uint8_t *)config + offset, width);
	return value;
}

bool virtio_running(const struct virtio *v)
{
	return v->status & VIRTIO_STATUS_DRIVER_OK && !(v->status & OVER);
}

void virtio_notify(struct virtio *v, unsigned queue)
{
	if (queue >= v->config.queues || !virtio_running(v) || !v->queue[queue].ready) {
		v->stats.refused++;
		return;
	}
	v->stats.notifications++;
	v->config.ops->notify(v->config.self, queue);
}

void virtio_used(struct virtio *v, unsigned queue)
{
	if (virtio_running(v) && virtqueue_wants_interrupt(&v->queue[queue]))
		interrupt(v, VIRTIO_INTERRUPT_USED);
}

void virtio_changed(struct virtio *v)
{
	v->generation++;
	if (v->status && !(v->status & OVER))
		interrupt(v, VIRTIO_INTERRUPT_CONFIG);
}

void virtio_break(struct virtio *v, const char *why)
{
	if (v->status & OVER)
		return;
	v->stats.broken++;
	v->status |= VIRTIO_STATUS_NEEDS_RESET;
	for (unsigned i = 0; i < v->config.queues; i++) {
		if (!v->queue[i].broken)
			v->queue[i].broken = why;
	}
	interrupt(v, VIRTIO_INTERRUPT_CONFIG);
	if (v->config.broken)
		v->config.broken(v->config.owner, v->config.name, why);
}

/* I1: each step of the status lies on the one before. */
static bool check_status(const struct virtio *v)
{
	uint32_t before = STEPS;

	if (v->status & ~(DRIVERS | VIRTIO_STATUS_NEEDS_RESET))
		return false;
	for (unsigned i = STEP_COUNT; i-- > 0;) {
		before &= ~step_order[i];
		if (v->status & step_order[i] && (v->status & before) != before)
			return false;
	}
	return true;
}

static bool check_queue(const struct virtio *v, unsigned i)
{
	const struct virtqueue *q = &v->queue[i];
	bool off = !(v->status & VIRTIO_STATUS_FEATURES_OK) || v->status & VIRTIO_STATUS_FAILED;

	if (q->ready && off)
		return false; /* I4 */
	if (q->broken ? !(v->status & VIRTIO_STATUS_NEEDS_RESET) : q->ready && v->status & VIRTIO_STATUS_NEEDS_RESET)
		return false;									/* I5 */
	return virtqueue_check(q) && (i < v->config.queues || (q->size_max == 0 && !q->ready)); /* I6 */
}

bool virtio_check(const struct virtio *v)
{
	if (!check_status(v) || v->interrupt_status & ~(VIRTIO_INTERRUPT_USED | VIRTIO_INTERRUPT_CONFIG))
		return false; /* I1, I2 */
	if (v->status & VIRTIO_STATUS_FEATURES_OK && !features_allowed(v))
		return false; /* I3 */
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		if (!check_queue(v, i))
			return false;
	return true;
}
