/* devices/sink.h: where a device's bytes go (a console, a log). */
#ifndef SLAT_DEVICES_SINK_H
#define SLAT_DEVICES_SINK_H

#include <stddef.h>
#include <stdint.h>

struct sink {
	void *self;
	void (*write)(void *self, const uint8_t *data, size_t bytes); /* all of it; what cannot be written is lost */
};

static inline void sink_write(const struct sink *s, const uint8_t *data, size_t bytes)
{
	if (s->write)
		s->write(s->self, data, bytes);
}

#endif
