/* vmm/pack/contents.c: what a file holds.
 *
 * Rejected. Size and time of change: a copy on another machine has other times, and a file that is unpacked again has
 * new ones. zlib's crc32: 32 bits, and a library that a plain trace does without. A hash that resists a forger: some
 * hundred lines, and nobody gains by forging his own trace.
 *
 * Cost. A multiplication a byte: some 400 MB/s, ten times as fast as the trace is played. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/pack/contents.h"

#define BUFFER_BYTES 65536u

static const unsigned __int128 basis =
	(unsigned __int128)UINT64_C(0x6c62272e07bb0142) << 64 | UINT64_C(0x62b821756295c58d);
static const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;

static unsigned __int128 hash_more(unsigned __int128 h, const unsigned char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		h = (h ^ bytes[i]) * prime;
	return h;
}

static int read_all(struct contents *c, int fd, const char *path, struct failure *f)
{
	unsigned char buffer[BUFFER_BYTES];
	ssize_t got;

	if (fstat(fd, &c->stat))
		return fail(f, EXIT_HOST, "%s cannot be read: %s", path, strerror(errno));
	if (!S_ISREG(c->stat.st_mode))
		return fail(f, EXIT_HOST, "%s is no regular file, and cannot be read more than once", path);
	c->hash = basis;
	while ((got = read(fd, buffer, sizeof(buffer))) != 0)
		if (got > 0)
			c->hash = hash_more(c->hash, buffer, (size_t)got);
		else if (errno != EINTR)
			return fail(f, EXIT_HOST, "%s cannot be read: %s", path, strerror(errno));
	return 0;
}

/* Without waiting for whoever is to write to a pipe. */
int contents_read(struct contents *c, const char *path, struct failure *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return fail(f, EXIT_HOST, "%s cannot be read: %s", path, strerror(errno));
	(void)read_all(c, fd, path, f);
	close(fd);
	return f->code;
}

bool contents_still(const struct contents *c, const char *path)
{
	struct stat now;

	return stat(path, &now) == 0 && now.st_dev == c->stat.st_dev && now.st_ino == c->stat.st_ino &&
	       now.st_size == c->stat.st_size && now.st_mtim.tv_sec == c->stat.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == c->stat.st_mtim.tv_nsec;
}

void contents_text(unsigned __int128 hash, char text[CONTENTS_TEXT])
{
	snprintf(text, CONTENTS_TEXT, "%016llx%016llx", (unsigned long long)(hash >> 64), (unsigned long long)hash);
}

unsigned __int128 contents_join(unsigned __int128 all, unsigned __int128 next)
{
	unsigned char bytes[sizeof(next)];

	for (size_t i = 0; i < sizeof(next); i++)
		bytes[i] = (unsigned char)(next >> 8 * i);
	return hash_more(all ? all : basis, bytes, sizeof(bytes));
}
