/* tests/unit/gdb_fake.h: a target without a guest: registers, 64 KiB of memory at
 * FAKE_BASE, a list of what it was asked. For the session's unit tests and fuzzing. */
#ifndef SLAT_TESTS_UNIT_GDB_FAKE_H
#define SLAT_TESTS_UNIT_GDB_FAKE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/gdb.h"

#define FAKE_BASE  UINT64_C(0x10000)
#define FAKE_BYTES UINT64_C(0x10000)
#define FAKE_CPUS  3u

struct fake {
	struct gdb g;
	uint8_t regs[FAKE_CPUS][GDB_REGS_BYTES];
	uint8_t memory[FAKE_BYTES];
	uint8_t actions[GDB_CPUS_MAX];
	unsigned resumed, interrupted, released, killed, points;
	bool running, refuse_regs;
};

/* The session's own rule S1, and that no vCPU is asked that is not there. */
static void fake_called(const struct fake *f, unsigned cpu)
{
	if (f->running || cpu >= FAKE_CPUS)
		abort();
}

static bool fake_get_regs(void *self, unsigned cpu, uint8_t *block)
{
	const struct fake *f = self;

	fake_called(f, cpu);
	memcpy(block, f->regs[cpu], GDB_REGS_BYTES);
	return !f->refuse_regs;
}

static bool fake_set_regs(void *self, unsigned cpu, const uint8_t *block)
{
	struct fake *f = self;

	fake_called(f, cpu);
	memcpy(f->regs[cpu], block, GDB_REGS_BYTES);
	return !f->refuse_regs;
}

static size_t fake_read(void *self, unsigned cpu, uint64_t gva, uint8_t *to, size_t bytes)
{
	const struct fake *f = self;

	fake_called(f, cpu);
	if (gva - FAKE_BASE >= FAKE_BYTES)
		return 0;
	if (bytes > FAKE_BASE + FAKE_BYTES - gva)
		bytes = FAKE_BASE + FAKE_BYTES - gva;
	memcpy(to, f->memory + (gva - FAKE_BASE), bytes);
	return bytes;
}

static bool fake_write(void *self, unsigned cpu, uint64_t gva, const uint8_t *from, size_t bytes)
{
	struct fake *f = self;

	fake_called(f, cpu);
	if (gva - FAKE_BASE >= FAKE_BYTES || bytes > FAKE_BASE + FAKE_BYTES - gva)
		return false;
	memcpy(f->memory + (gva - FAKE_BASE), from, bytes);
	return true;
}

static int fake_insert(void *self, unsigned cpu, enum gdb_point point, uint64_t gva, uint64_t bytes)
{
	struct fake *f = self;

	(void)gva;
	fake_called(f, cpu);
	if (point == GDB_WATCH_READ)
		return ENOTSUP;
	if (bytes > 8)
		return EINVAL;
	return f->points++ < 4 ? 0 : ENOSPC;
}

static int fake_remove(void *self, enum gdb_point point, uint64_t gva, uint64_t bytes)
{
	struct fake *f = self;

	(void)point;
	(void)gva;
	(void)bytes;
	fake_called(f, 0);
	if (!f->points)
		return EINVAL;
	f->points--;
	return 0;
}

static void fake_resume(void *self, const uint8_t *actions)
{
	struct fake *f = self;

	fake_called(f, 0);
	memcpy(f->actions, actions, sizeof(f->actions));
	f->running = true;
	f->resumed++;
}

static void fake_interrupt(void *self)
{
	struct fake *f = self;

	if (!f->running)
		abort();
	f->interrupted++;
}

static void fake_release(void *self)
{
	((struct fake *)self)->released++;
}

static void fake_kill(void *self)
{
	((struct fake *)self)->killed++;
}

static void fake_describe(void *self, unsigned cpu, char *text, size_t size)
{
	fake_called(self, cpu);
	snprintf(text, size, "fake %u", cpu);
}

static void fake_translate(void *self, unsigned cpu, uint64_t gva, struct gdb_text *text)
{
	fake_called(self, cpu);
	gdb_put(text, "%llx is a long story\n", (unsigned long long)gva);
	for (unsigned i = 0; gva == 0xfff && i < 1000; i++)
		gdb_put(text, "and longer\n");
}

static inline void fake_stop(struct fake *f, enum gdb_cause cause, unsigned cpu, enum gdb_point point, uint64_t gva)
{
	f->running = false;
	gdb_stopped(&f->g, &(struct gdb_stop){.cause = cause, .cpu = cpu, .point = point, .gva = gva});
}

/* A client has come, and all stand. */
static inline void fake_open(struct fake *f)
{
	const struct gdb_target target = {
		.self = f,
		.cpus = FAKE_CPUS,
		.get_regs = fake_get_regs,
		.set_regs = fake_set_regs,
		.read = fake_read,
		.write = fake_write,
		.insert = fake_insert,
		.remove = fake_remove,
		.resume = fake_resume,
		.interrupt = fake_interrupt,
		.release = fake_release,
		.kill = fake_kill,
		.describe = fake_describe,
		.translate = fake_translate,
	};

	memset(f, 0, sizeof(*f));
	for (size_t i = 0; i < FAKE_BYTES; i++)
		f->memory[i] = (uint8_t)(i * 7 + i / 256);
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		memset(f->regs[i], (int)(0x10 + i), GDB_REGS_BYTES);
	gdb_open(&f->g, &target);
	fake_stop(f, GDB_CAUSE_ATTACH, 0, GDB_BREAK_SOFT, 0);
}

#endif
