/* vmm/pack/draft.c: a file that is there whole, or not at all.
 *
 * Failure. A process that is killed by SIGKILL leaves a draft, never half a file. Other signals find the drafts in a
 * list, which is changed, with the file that it is about, while they are held back.
 *
 * A stream is one of our own: libc's knows that a write has failed, and not why, once others have come after it.
 *
 * Rejected. O_TMPFILE: linkat() does not replace what is there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/pack/draft.h"

static const char ending[] = ".XXXXXX";
static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGXCPU, SIGXFSZ};

static struct draft_temp *temps;

/* ---- signals ---- */

static void hold_signals(sigset_t *before)
{
	sigset_t held;

	sigemptyset(&held);
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		sigaddset(&held, deadly[i]);
	sigprocmask(SIG_BLOCK, &held, before);
}

static void let_signals(const sigset_t *before)
{
	sigprocmask(SIG_SETMASK, before, NULL);
}

static void on_signal(int number)
{
	for (const struct draft_temp *t = temps; t; t = t->next)
		(void)unlink(t->path);
	/* Only now, and not by SA_RESETHAND: a second one, on its way, would end it before this began. */
	(void)signal(number, SIG_DFL);
	(void)raise(number); /* as it would have been: it is let through when this returns */
}

void draft_end_by_signal(void)
{
	struct sigaction action = {.sa_handler = on_signal}, old;

	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		sigaddset(&action.sa_mask, deadly[i]);
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		if (sigaction(deadly[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			(void)sigaction(deadly[i], &action, NULL);
}

static void temp_list(struct draft_temp *t)
{
	t->next = temps;
	temps = t;
}

static void temp_unlist(const struct draft_temp *t)
{
	struct draft_temp **at = &temps;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
}

/* ---- the draft ---- */

static int cannot(const struct draft *d, struct failure *f)
{
	return fail(f, EXIT_HOST, "%s cannot be written: %s", d->path, strerror(errno));
}

static bool is_regular_or_absent(const char *path)
{
	struct stat s;

	return stat(path, &s) ? errno == ENOENT : S_ISREG(s.st_mode);
}

static int make_temp(struct draft *d)
{
	sigset_t before;

	hold_signals(&before);
	d->fd = mkostemp(d->temp->path, O_CLOEXEC);
	if (d->fd >= 0)
		temp_list(d->temp);
	let_signals(&before);
	return d->fd;
}

/* With the rights that open() would have given it, not mkstemp()'s. */
static int open_beside(struct draft *d, struct alloc *alloc, struct failure *f)
{
	const size_t length = strlen(d->path);
	mode_t mask = umask(0);

	umask(mask);
	d->temp = alloc_resize(alloc, NULL, sizeof(*d->temp) + length + sizeof(ending), 1);
	if (!d->temp)
		return fail(f, EXIT_HOST, "no memory to write %s", d->path);
	memcpy(d->temp->path, d->path, length);
	memcpy(d->temp->path + length, ending, sizeof(ending));
	if (make_temp(d) >= 0 && fchmod(d->fd, 0666 & ~mask) == 0)
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

/* Its file is at path, or is no more. */
static int temp_end(struct draft *d, bool keep)
{
	sigset_t before;
	int result = 0, error;

	if (!d->temp)
		return 0;
	hold_signals(&before);
	if (keep)
		result = rename(d->temp->path, d->path);
	else
		unlink(d->temp->path);
	error = errno;
	if (result == 0)
		temp_unlist(d->temp);
	let_signals(&before);
	errno = error;
	return result;
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
	if (d->error || (d->temp && fsync(d->fd)) || temp_end(d, true)) {
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
	(void)temp_end(d, false);
	end(d);
}
