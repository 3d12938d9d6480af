#include "vmm/entropy.h"

#include <sys/random.h>

/* At most 256 bytes, so that it is all or nothing: getrandom(2). It never waits: who would, holds the device's lock. */
bool entropy_fill(void *owner, uint8_t *to, size_t bytes)
{
	(void)owner;
	return getrandom(to, bytes, GRND_NONBLOCK) == (ssize_t)bytes;
}
