/* vmm/console.c
 *
 * A reader may stop reading: a pipe into a pager, a terminal that hangs. Then
 * output is kept, and the vCPU that fills the line waits; but signals and
 * --timeout must still end the run.
 *
 * C1  the main thread never waits here: it only tries the lock, and leaves what
 *     the reader does not take for the next flush.
 * C2  a vCPU that waits looks at `hurry` every WAIT_MS.
 * So that a write never blocks, a pipe or terminal is opened anew: O_NONBLOCK
 * on the inherited descriptor would be set for all who share it. */
#include "vmm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define FLUSH_NS UINT64_C(10000000)
#define WAIT_MS	 100
#define CTRL_A	 0x01

/* One terminal a process: a signal handler and atexit() can reach nothing else. */
static struct termios terminal_saved;
static volatile sig_atomic_t terminal_raw;

void console_restore(void)
{
	/* In the background it is the shell's to set; touching it would stop us. */
	if (terminal_raw && tcgetpgrp(STDIN_FILENO) == getpgrp())
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal_saved);
	terminal_raw = 0;
}

static void on_crash(int number)
{
	console_restore();
	signal(number, SIG_DFL);
	raise(number);
}

static bool terminal_is_ours(void)
{
	return isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void terminal_set_raw(void)
{
	struct termios raw = terminal_saved;

	cfmakeraw(&raw);
	raw.c_oflag = terminal_saved.c_oflag; /* slat's own lines still want their carriage return */
	terminal_raw = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static int open_anew(int fd)
{
	struct stat stat;
	char path[32];
	int own;

	if (fstat(fd, &stat) != 0 || !(S_ISFIFO(stat.st_mode) || isatty(fd)))
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own < 0 ? fd : own;
}

void console_open(struct console *c, struct loop *loop, int out)
{
	static const int crashes[] = {SIGSEGV, SIGILL, SIGFPE, SIGABRT};

	*c = (struct console){.loop = loop, .in = STDIN_FILENO, .out = open_anew(out), .shared = out};
	pthread_mutex_init(&c->lock, NULL);
	if (!isatty(STDIN_FILENO))
		return;
	if (!terminal_is_ours() || tcgetattr(STDIN_FILENO, &terminal_saved) != 0) {
		c->in = -1; /* reading would stop a background job */
		return;
	}
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		signal(crashes[i], on_crash);
	atexit(console_restore);
	terminal_set_raw();
	c->raw = true;
}

static bool writable(const struct console *c, int wait_ms)
{
	struct pollfd fd = {.fd = c->out, .events = POLLOUT};

	return poll(&fd, 1, wait_ms) != 0; /* an error shows in the write */
}

/* Writes what the reader takes now; true iff nothing is left. What nobody will read is dropped. */
static bool push_locked(struct console *c)
{
	size_t done = 0;

	while (done < c->used) {
		ssize_t wrote = -1;

		errno = EAGAIN;
		if (c->out != c->shared || writable(c, 0))
			wrote = write(c->out, c->line + done, c->used - done);
		if (wrote > 0)
			done += (size_t)wrote;
		else if (wrote == 0 || (errno != EINTR && errno != EAGAIN) || atomic_load(&c->hurry))
			done = c->used;
		else if (errno == EAGAIN)
			break;
	}
	c->used -= done;
	memmove(c->line, c->line + done, c->used);
	return c->used == 0;
}

bool console_flush(struct console *c)
{
	bool all = false;

	if (pthread_mutex_trylock(&c->lock) == 0) {
		all = push_locked(c);
		c->flush_set = !all;
		pthread_mutex_unlock(&c->lock);
	}
	if (!all)
		loop_timer_set(c->loop, LOOP_FLUSH, loop_now() + FLUSH_NS);
	return all;
}

static void console_write(void *self, const uint8_t *data, size_t bytes)
{
	struct console *c = self;
	bool arm = false;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < bytes; i++) {
		c->line[c->used++] = data[i];
		if (data[i] == '\n')
			push_locked(c);
		while (c->used == sizeof(c->line) && !push_locked(c))
			(void)writable(c, WAIT_MS);
	}
	if (c->used && !c->flush_set)
		arm = c->flush_set = true;
	pthread_mutex_unlock(&c->lock);
	if (arm)
		loop_timer_set(c->loop, LOOP_FLUSH, loop_now() + FLUSH_NS);
}

void console_hurry(struct console *c)
{
	atomic_store(&c->hurry, true);
}

struct sink console_sink(struct console *c)
{
	return (struct sink){c, console_write};
}

size_t console_read(struct console *c, uint8_t *data, size_t room, bool *quit)
{
	size_t kept = 0;
	ssize_t got = read(c->in, data, room);

	if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
		c->in = -1;
	if (!c->raw)
		return got > 0 ? (size_t)got : 0;
	for (ssize_t i = 0; i < got; i++) {
		if (c->escape) {
			c->escape = false;
			if (data[i] == 'x')
				*quit = true;
			else if (data[i] == 'a' || data[i] == CTRL_A)
				data[kept++] = CTRL_A;
		} else if (data[i] == CTRL_A) {
			c->escape = true;
		} else {
			data[kept++] = data[i];
		}
	}
	return kept;
}

bool console_size(uint16_t *columns, uint16_t *rows)
{
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0)
		return false;
	*columns = size.ws_col;
	*rows = size.ws_row;
	return true;
}

void console_resume(struct console *c)
{
	if (c->raw && terminal_is_ours())
		terminal_set_raw();
}

void console_close(struct console *c)
{
	if (!c->loop)
		return;
	console_hurry(c);
	push_locked(c); /* no vCPU is left to hold the lock */
	console_restore();
	if (c->out != c->shared)
		close(c->out);
	pthread_mutex_destroy(&c->lock);
	c->loop = NULL;
}
