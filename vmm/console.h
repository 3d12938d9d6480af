/* vmm/console.h: the guest's console on slat's own terminal.
 * Output is gathered into lines; what has waited 10 ms is shown without one.
 * Input: where stdin is a terminal and slat runs in its foreground, it is put
 * into raw mode (every key goes to the guest; Ctrl-A x ends, Ctrl-A a sends
 * Ctrl-A) and put back on every way out, a crash included.
 * Threads: console_write() from any; the rest from the main thread. */
#ifndef SLAT_VMM_CONSOLE_H
#define SLAT_VMM_CONSOLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/sink.h"
#include "vmm/loop.h"

struct console {
	struct loop *loop;
	pthread_mutex_t lock;
	uint8_t line[4096]; /* (lock) */
	size_t used;	    /* (lock) */
	bool flush_set;	    /* (lock) the flush timer is armed */
	int in, out;	    /* in: -1 once it has ended */
	bool raw, escape;   /* escape: Ctrl-A was the last key */
};

/* out: 1, or 2 where stdout is taken. */
void console_open(struct console *c, struct loop *loop, int out);
void console_close(struct console *c); /* flushes, puts the terminal back; twice is fine */

struct sink console_sink(struct console *c);

/* The flush timer is due. */
void console_flush(struct console *c);

/* Reads at most `room` bytes for the guest; *quit: Ctrl-A x was typed. */
size_t console_read(struct console *c, uint8_t *data, size_t room, bool *quit);

/* After SIGCONT: somebody else may have set the terminal while slat was stopped. */
void console_resume(struct console *c);

#endif
