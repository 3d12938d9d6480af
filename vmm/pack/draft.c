/* vmm/pack/draft.c: a file that is there whole, or not at all.
 *
 * Failure. A process that is killed leaves a draft, never half a file.
 *
 * A stream is one of our own: libc's knows that a write has failed, and not why, once others have come after it.
 *
 * Rejected. O_TMPFILE: linkat() does not replace what is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/pack/draft.h"

static const char ending[] = ".XXXXXX";

static int cannot(const struct draft *d, struct failure *f)
{
	return fail(f, EXIT_HOST, "%s cannot be written: %s", d->path, strerror(errno));
}

static bool is_regular_or_absent(const char *path)
{
	struct stat s;

	return stat(path, &s) ? errno == ENOENT : S_ISREG(s.st_mode);
}

/* With the rights that open() would have given it, not mkstemp()'s. */
static int open_beside(struct draft *d, struct alloc *alloc, struct failure *f)
{
	const size_t length = strlen(d->path);
	mode_t mask = umask(0);

	umask(mask);
	d->temp = alloc_resize(alloc, NULL, length + sizeof(ending), 1);
	if (!d->temp)
		return fail(f, EXIT_HOST, "no memory to write %s", d->path);
	memcpy(d->temp, d->path, length);
	memcpy(d->temp + length, ending, sizeof(ending));
	d->fd = mkostemp(d->temp, O_CLOEXEC);
	if (d->fd >= 0 && fchmod(d->fd, 0666 & ~mask) == 0)
		return 0;
	(void)cannot(d, f);
	if (d->fd < 0) {
		free(d->temp);
		d->temp = NULL;
	}
	draft_drop(d);
	return f->code;
}

int draft_open(struct draft *d, const char *path, struct alloc *alloc, struct failure *f)
{
	*d = (struct draft){.fd = -1, .path = path};
	if (strcmp(path, "-") == 0)
		d->fd = STDOUT_FILENO;
	else if (is_regular_or_absent(path))
		return open_beside(d, alloc, f);
	else
		d->fd = open(path, O_WRONLY | O_CLOEXEC);
	return d->fd < 0 ? cannot(d, f) : 0;
}

/* All of it, or 0, as cookie_write_function_t has it; after the first failure nothing. */
static ssize_t stream_write(void *self, const char *bytes, size_t count)
{
	struct draft *d = self;
	size_t done = 0;

	while (done < count && !d->error) {
		ssize_t wrote = write(d->fd, bytes + done, count - done);

		if (wrote > 0)
			done += (size_t)wrote;
		else if (errno != EINTR)
			d->error = errno;
	}
	return d->error ? 0 : (ssize_t)count;
}

int draft_open_stream(struct draft *d, const char *path, struct alloc *alloc, struct failure *f)
{
	const cookie_io_functions_t functions = {.write = stream_write};

	if (draft_open(d, path, alloc, f))
		return f->code;
	d->out = alloc_refuses(alloc) ? NULL : fopencookie(d, "w", functions);
	if (d->out)
		return 0;
	draft_drop(d);
	return fail(f, EXIT_HOST, "no memory to write %s", path);
}

static void end(struct draft *d)
{
	if (d->fd > STDOUT_FILENO)
		close(d->fd);
	free(d->temp);
	*d = (struct draft){.fd = -1, .path = d->path};
}

static void stream_end(struct draft *d)
{
	if (d->out)
		(void)fclose(d->out); /* errors are ours */
	d->out = NULL;
}

int draft_keep(struct draft *d, struct failure *f)
{
	stream_end(d);
	errno = d->error;
	if (d->error || (d->temp && (fsync(d->fd) || rename(d->temp, d->path)))) {
		(void)cannot(d, f);
		draft_drop(d);
	} else {
		end(d);
	}
	return f->code;
}

void draft_drop(struct draft *d)
{
	d->error = ECANCELED; /* what is not yet written never is */
	stream_end(d);
	if (d->temp)
		unlink(d->temp);
	end(d);
}
