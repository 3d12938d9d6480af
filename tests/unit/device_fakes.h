/* tests/unit/device_fakes.h: the other side of a device model: a clock that is
 * set by hand, wires and endings that are remembered, register access by width. */
#ifndef SLAT_TESTS_UNIT_DEVICE_FAKES_H
#define SLAT_TESTS_UNIT_DEVICE_FAKES_H

#include <check.h>
#include <string.h>

#include "devices/device.h"
#include "devices/ending.h"
#include "devices/irq.h"
#include "devices/sink.h"
#include "devices/timer.h"
#include "tests/unit/expect.h"

#define MODEL_SEED 20261121u

/* xorshift32: the same numbers on every machine. */
static inline uint32_t model_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

struct fake {
	bool level;
	unsigned rises;
	unsigned endings;
	enum ending_kind kind;
	uint32_t value;
	uint8_t sent[4096];
	size_t sent_bytes;
	uint64_t now_ns;
	int64_t wall_s;
	uint64_t deadline_ns;
};

static inline void fake_set(void *self, unsigned line, bool level)
{
	struct fake *f = self;

	(void)line;
	f->rises += level && !f->level;
	f->level = level;
}

static inline void fake_end(void *self, enum ending_kind kind, uint32_t value)
{
	struct fake *f = self;

	f->endings++;
	f->kind = kind;
	f->value = value;
}

static inline void fake_write(void *self, const uint8_t *data, size_t bytes)
{
	struct fake *f = self;

	ck_assert_uint_le(bytes, sizeof(f->sent) - f->sent_bytes);
	memcpy(f->sent + f->sent_bytes, data, bytes);
	f->sent_bytes += bytes;
}

static inline uint64_t fake_now(void *self)
{
	return ((struct fake *)self)->now_ns;
}

static inline int64_t fake_wall(void *self)
{
	return ((struct fake *)self)->wall_s;
}

static inline void fake_alarm_set(void *self, uint64_t deadline_ns)
{
	((struct fake *)self)->deadline_ns = deadline_ns;
}

static inline struct irq fake_irq(struct fake *f)
{
	return (struct irq){.self = f, .set = fake_set};
}

static inline struct ending fake_ending(struct fake *f)
{
	return (struct ending){.self = f, .end = fake_end};
}

static inline struct sink fake_sink(struct fake *f)
{
	return (struct sink){.self = f, .write = fake_write};
}

static inline struct clock fake_clock(struct fake *f)
{
	return (struct clock){.self = f, .now_ns = fake_now, .wall_s = fake_wall};
}

static inline struct alarm fake_alarm(struct fake *f)
{
	return (struct alarm){.self = f, .set = fake_alarm_set};
}

static inline uint64_t get(const struct device *d, uint64_t offset, unsigned width)
{
	uint64_t value = d->read(d->self, offset, width);

	return width == 8 ? value : value & ((UINT64_C(1) << 8 * width) - 1);
}

static inline void put(const struct device *d, uint64_t offset, unsigned width, uint64_t value)
{
	d->write(d->self, offset, width, value);
}

static inline uint8_t in(const struct device *d, uint64_t offset)
{
	return (uint8_t)get(d, offset, 1);
}

static inline void out(const struct device *d, uint64_t offset, uint8_t value)
{
	put(d, offset, 1, value);
}

#endif
