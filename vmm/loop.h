/* vmm/loop.h: the main thread's wait: timers, and a wake-up from any thread.
 * Threads: loop_timer_set() and loop_wake() from any; the rest from the main thread. */
#ifndef SLAT_VMM_LOOP_H
#define SLAT_VMM_LOOP_H

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum loop_timer { LOOP_TIMEOUT, LOOP_FLUSH, LOOP_INPUT, LOOP_PIT, LOOP_TIMERS };
#define LOOP_NEVER UINT64_MAX

struct loop {
	int wake_fd;
	_Atomic uint64_t deadline[LOOP_TIMERS]; /* ns of loop_now() */
};

uint64_t loop_now(void); /* CLOCK_MONOTONIC, in ns */

/* 0 or -errno. */
int loop_open(struct loop *l);
void loop_close(struct loop *l);

void loop_timer_set(struct loop *l, enum loop_timer t, uint64_t deadline_ns);
void loop_wake(struct loop *l);

/* Sleeps until a timer is due, loop_wake() was called, or one of the caller's
 * descriptors is ready (their revents say so; an fd below 0 is skipped).
 * Returns the due timers as a bit mask, and has disarmed them. */
unsigned loop_wait(struct loop *l, struct pollfd *fds, unsigned count);

#endif
