/* vmm/janitor.c
 *
 * The janitor waits at a pipe whose other end slat alone holds: at its end slat has
 * gone, however it went. It takes numbers of files that it was forked with, never a
 * path: who takes slat over can make it keep or remove those, and nothing else. Of
 * what it inherits it keeps the pipe; signals that a terminal sends to both are slat's
 * to answer.
 *
 * Cost: a fork of a program of a few hundred KiB, where there is a file at all.
 * Rejected: unlink on the sandbox's list, since a filter cannot look at a path, and
 * that would be every file of the user; a file without a name (O_TMPFILE) until it is
 * whole, which does nothing for a socket. */
#include "vmm/janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mm/port.h"

unsigned janitor_add(struct janitor *j, const char *path)
{
	MM_ASSERT(j->files < JANITOR_FILES_MAX && !j->process, j->files, j->process);
	j->file[j->files] = path;
	return j->files++;
}

static void remove_all(const struct janitor *j, const bool *keep)
{
	for (unsigned i = 0; i < j->files; i++)
		if (!keep[i])
			unlink(j->file[i]);
}

static void clean(const struct janitor *j, int from)
{
	bool keep[UINT8_MAX + 1] = {false};
	uint8_t number;
	ssize_t got;

	while ((got = read(from, &number, 1)) == 1 || (got < 0 && errno == EINTR))
		if (got == 1)
			keep[number] = true;
	remove_all(j, keep);
}

/* Whoever reads what slat says would otherwise wait for this process, too. */
static void let_go(int keep)
{
	if (dup2(keep, STDIN_FILENO) < 0)
		_exit(EXIT_HOST);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	close_range(STDERR_FILENO + 1, UINT32_MAX, 0);
}

static void serve(const struct janitor *j, int from)
{
	let_go(from);
	clean(j, STDIN_FILENO);
	_exit(EXIT_OK);
}

/* No signal finds the child before it has closed its ears. */
static pid_t fork_deaf(void)
{
	sigset_t all, before;
	pid_t child;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	child = fork();
	if (child)
		sigprocmask(SIG_SETMASK, &before, NULL);
	return child;
}

int janitor_start(struct janitor *j, struct failure *f)
{
	int ends[2], error;
	pid_t child;

	if (!j->files)
		return 0;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return fail(f, EXIT_HOST, "no pipe for what removes files at the end: %s", strerror(errno));
	child = fork_deaf();
	error = errno;
	if (child == 0)
		serve(j, ends[0]);
	close(ends[0]);
	if (child < 0) {
		close(ends[1]);
		return fail(f, EXIT_HOST, "no process for what removes files at the end: %s", strerror(error));
	}
	j->process = child;
	j->to = ends[1];
	return 0;
}

void janitor_keep(struct janitor *j, unsigned file)
{
	const uint8_t number = (uint8_t)file;

	MM_ASSERT(file < j->files && j->process, file, j->files);
	while (write(j->to, &number, 1) < 0 && errno == EINTR)
		continue;
}

void janitor_end(struct janitor *j)
{
	static const bool none[JANITOR_FILES_MAX];

	if (!j->process) {
		remove_all(j, none);
	} else {
		close(j->to);
		while (waitpid(j->process, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	*j = (struct janitor){0};
}
