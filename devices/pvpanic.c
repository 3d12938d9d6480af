#include "devices/pvpanic.h"

static uint64_t pvpanic_read(void *self, uint64_t offset, unsigned width)
{
	(void)self;
	(void)offset;
	return width == 1 ? PVPANIC_PANICKED | PVPANIC_CRASH_LOADED : UINT64_MAX;
}

static void pvpanic_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	const struct pvpanic *p = self;

	(void)offset;
	if (width == 1 && value & PVPANIC_PANICKED && p->ending.end)
		p->ending.end(p->ending.self, ENDING_PANIC, (uint32_t)value);
}

void pvpanic_init(struct pvpanic *pvpanic, struct ending ending, struct device *device)
{
	pvpanic->ending = ending;
	*device = (struct device){.name = "pvpanic", .self = pvpanic, .read = pvpanic_read, .write = pvpanic_write};
}
