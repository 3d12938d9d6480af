#include "devices/reset_port.h"

static uint64_t reset_port_read(void *self, uint64_t offset, unsigned width)
{
	const struct reset_port *p = self;

	(void)offset;
	return width == 1 ? p->value : UINT64_MAX;
}

static void reset_port_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct reset_port *p = self;

	(void)offset;
	if (width != 1)
		return;
	p->value = value & RESET_PORT_HARD;
	if (value & RESET_PORT_CPU && p->ending.end)
		p->ending.end(p->ending.self, ENDING_RESET, 0);
}

void reset_port_init(struct reset_port *port, struct ending ending, struct device *device)
{
	port->ending = ending;
	port->value = 0;
	*device = (struct device){.name = "reset", .self = port, .read = reset_port_read, .write = reset_port_write};
}
