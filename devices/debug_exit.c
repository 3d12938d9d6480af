#include "devices/debug_exit.h"

static uint64_t debug_exit_read(void *self, uint64_t offset, unsigned width)
{
	(void)self;
	(void)offset;
	return width <= 4 ? 0 : UINT64_MAX;
}

static void debug_exit_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	const struct debug_exit *d = self;

	(void)offset;
	if (width <= 4 && d->ending.end)
		d->ending.end(d->ending.self, ENDING_DEBUG_EXIT, (uint32_t)value);
}

void debug_exit_init(struct debug_exit *debug_exit, struct ending ending, struct device *device)
{
	debug_exit->ending = ending;
	*device = (struct device){
		.name = "debug exit", .self = debug_exit, .read = debug_exit_read, .write = debug_exit_write};
}
