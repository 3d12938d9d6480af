#include "vmm/console.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define FLUSH_NS UINT64_C(10000000)
#define CTRL_A	 0x01

/* One terminal a process: a signal handler and atexit() can reach nothing else. */
static struct termios terminal_saved;
static volatile sig_atomic_t terminal_raw;

static void terminal_restore(void)
{
	if (terminal_raw) {
		terminal_raw = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal_saved);
	}
}

static void on_crash(int number)
{
	terminal_restore();
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

void console_open(struct console *c, struct loop *loop, int out)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

	*c = (struct console){.loop = loop, .in = STDIN_FILENO, .out = out};
	pthread_mutex_init(&c->lock, NULL);
	signal(SIGPIPE, SIG_IGN); /* a reader that has gone is no reason to end the guest */
	if (!isatty(STDIN_FILENO))
		return;
	if (!terminal_is_ours() || tcgetattr(STDIN_FILENO, &terminal_saved) != 0) {
		c->in = -1; /* reading would stop a background job */
		return;
	}
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		signal(crashes[i], on_crash);
	atexit(terminal_restore);
	terminal_set_raw();
	c->raw = true;
}

static void write_all(int fd, const uint8_t *data, size_t bytes)
{
	while (bytes) {
		ssize_t done = write(fd, data, bytes);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) { /* a non-blocking pipe that is full: wait, nothing is lost */
			struct pollfd full = {.fd = fd, .events = POLLOUT};

			poll(&full, 1, -1);
			continue;
		}
		if (done <= 0)
			return;
		data += done;
		bytes -= (size_t)done;
	}
}

static void flush_locked(struct console *c)
{
	write_all(c->out, c->line, c->used);
	c->used = 0;
}

void console_flush(struct console *c)
{
	pthread_mutex_lock(&c->lock);
	c->flush_set = false;
	flush_locked(c);
	pthread_mutex_unlock(&c->lock);
}

static void console_write(void *self, const uint8_t *data, size_t bytes)
{
	struct console *c = self;
	bool arm = false;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < bytes; i++) {
		c->line[c->used++] = data[i];
		if (data[i] == '\n' || c->used == sizeof(c->line))
			flush_locked(c);
	}
	if (c->used && !c->flush_set)
		arm = c->flush_set = true;
	pthread_mutex_unlock(&c->lock);
	if (arm)
		loop_timer_set(c->loop, LOOP_FLUSH, loop_now() + FLUSH_NS);
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

void console_resume(struct console *c)
{
	if (c->raw && terminal_is_ours())
		terminal_set_raw();
}

void console_close(struct console *c)
{
	if (!c->loop)
		return;
	console_flush(c);
	terminal_restore();
	pthread_mutex_destroy(&c->lock);
	c->loop = NULL;
}
