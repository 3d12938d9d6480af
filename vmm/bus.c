#include "vmm/bus.h"

#include "mm/port.h"

void bus_add(struct bus *b, uint64_t start, uint64_t bytes, struct device device, pthread_mutex_t *lock)
{
	unsigned at = b->windows;

	MM_ASSERT(b->windows < BUS_WINDOWS_MAX && bytes, b->windows, bytes);
	for (; at > 0 && b->window[at - 1].start > start; at--)
		b->window[at] = b->window[at - 1];
	b->window[at] = (struct bus_window){start, bytes, device, lock};
	b->windows++;
	MM_ASSERT(at == 0 || b->window[at - 1].start + b->window[at - 1].bytes <= start, start, bytes);
	MM_ASSERT(at + 1 == b->windows || start + bytes <= b->window[at + 1].start, start, bytes);
}

/* KVM cuts an access at a page's end, so that 3 or 5 bytes may come; no register takes those. */
static bool whole(unsigned width)
{
	return width == 1 || width == 2 || width == 4 || width == 8;
}

static const struct bus_window *find(const struct bus *b, uint64_t address, unsigned width)
{
	unsigned low = 0, high = whole(width) ? b->windows : 0;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct bus_window *w = &b->window[middle];

		if (address < w->start)
			high = middle;
		else if (address - w->start >= w->bytes)
			low = middle + 1;
		else
			return width <= w->bytes - (address - w->start) ? w : NULL;
	}
	return NULL;
}

static uint64_t mask(unsigned width)
{
	return width >= 8 ? UINT64_MAX : (UINT64_C(1) << (width * 8)) - 1;
}

bool bus_read(const struct bus *b, uint64_t address, unsigned width, uint64_t *value)
{
	const struct bus_window *w = find(b, address, width);

	*value = mask(width);
	if (!w)
		return false;
	pthread_mutex_lock(w->lock);
	*value &= w->device.read(w->device.self, address - w->start, width);
	pthread_mutex_unlock(w->lock);
	return true;
}

bool bus_write(const struct bus *b, uint64_t address, unsigned width, uint64_t value)
{
	const struct bus_window *w = find(b, address, width);

	if (!w)
		return false;
	pthread_mutex_lock(w->lock);
	w->device.write(w->device.self, address - w->start, width, value & mask(width));
	pthread_mutex_unlock(w->lock);
	return true;
}
