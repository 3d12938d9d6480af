#include "devices/debugcon.h"

static uint64_t debugcon_read(void *self, uint64_t offset, unsigned width)
{
	(void)self;
	(void)offset;
	return width == 1 ? DEBUGCON_PRESENCE : UINT64_MAX;
}

static void debugcon_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	const struct debugcon *d = self;
	uint8_t byte = (uint8_t)value;

	(void)offset;
	if (width == 1)
		sink_write(&d->out, &byte, 1);
}

void debugcon_init(struct debugcon *debugcon, struct sink out, struct device *device)
{
	debugcon->out = out;
	*device = (struct device){.name = "debugcon", .self = debugcon, .read = debugcon_read, .write = debugcon_write};
}
