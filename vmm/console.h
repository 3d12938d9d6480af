/* vmm/console.h: the guest's console on slat's own terminal.
 * Output is gathered into lines; what has waited 10 ms is shown without one.
 * What the reader does not take is kept, and the guest waits for it, until console_hurry().
 * Input: where stdin is a terminal and slat runs in its foreground, it is put
 * into raw mode (every key goes to the guest; Ctrl-A x ends, Ctrl-A a sends
 * Ctrl-A) and put back on every way out that a process can see,
 * a crash included; being stopped and SIGKILL are not.
 * Threads: the sink and console_hurry() from any; the rest from the main thread. */
#ifndef SLAT_VMM_CONSOLE_H
#define SLAT_VMM_CONSOLE_H

#include <pthread.h>
#include <stdatomic.h>
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
	_Atomic bool hurry; /* nobody waits for the reader any more */
	int in, out;	    /* in: -1 once it has ended */
	int shared;	    /* the inherited descriptor behind out; the same one where it could not be opened anew */
	bool raw, escape;   /* escape: Ctrl-A was the last key */
};

/* out: 1, or 2 where stdout is taken. */
void console_open(struct console *c, struct loop *loop, int out);
/* Writes what the reader takes, puts the terminal back; twice is fine. No vCPU runs any more. */
void console_close(struct console *c);

struct sink console_sink(struct console *c);

/* Puts the terminal back. May be called from a signal handler. */
void console_restore(void);

/* The flush timer is due. Never waits; false iff something is left, and then the timer is set again. */
bool console_flush(struct console *c);

/* From now on what the reader does not take at once is dropped. */
void console_hurry(struct console *c);

/* Reads at most `room` bytes for the guest; *quit: Ctrl-A x was typed. */
size_t console_read(struct console *c, uint8_t *data, size_t room, bool *quit);

/* The size of the terminal that the keys come from. False: there is none. */
bool console_size(uint16_t *columns, uint16_t *rows);

/* After SIGCONT: somebody else may have set the terminal while slat was stopped. */
void console_resume(struct console *c);

#endif
