/* vmm/worker.h: the thread of one virtio device: it waits for the driver's
 * notifications (ioeventfds), for the backend's descriptors and for a deadline,
 * and calls the device with its lock held.
 * Threads: worker_open(), worker_add() before worker_start(); worker_watch() and worker_set_deadline() with the
 * lock held, from any thread; worker_start(), worker_ask() and worker_stop() from the main thread, lock not held;
 * worker_ended() from any. Theory: top of worker.c. */
#ifndef SLAT_VMM_WORKER_H
#define SLAT_VMM_WORKER_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/failure.h"

#define WORKER_SOURCES_MAX 40u

struct worker {
	const char *name; /* of the thread: "disk 0" */
	pthread_mutex_t *lock;
	pthread_t thread;
	bool started;
	bool stop, ended; /* atomic: asked to; and about to return */
	int wake_fd;
	bool changed;	      /* (lock) what is watched or the deadline, since the thread looked */
	uint64_t deadline_ns; /* (lock) of loop_now(); LOOP_NEVER */
	void *expired_self;
	void (*expired)(void *self);
	/* After something was to do: takes what came meanwhile, true iff something did. The thread asks for some
	 * microseconds before it sleeps, with `last` set at the end: from then on it must be notified. Lock held. NULL:
	 * it sleeps at once. */
	bool (*poll)(void *self, bool last);
	void *poll_self;
	uint64_t poll_ns; /* the thread's: how long it pays to ask */
	unsigned sources;
	struct worker_source {
		int fd;
		short events; /* (lock) 0: not now */
		void *self;
		unsigned index;
		void (*ready)(void *self, unsigned index, short revents); /* lock held */
	} source[WORKER_SOURCES_MAX];
};

int worker_open(struct worker *w, const char *name, pthread_mutex_t *lock, struct failure *f);
/* Returns the source's number. fd is borrowed. index is handed to ready(). */
unsigned worker_add(struct worker *w, int fd, short events, void *self, unsigned index,
		    void (*ready)(void *self, unsigned index, short revents));
void worker_watch(struct worker *w, unsigned source, short events);
void worker_set_deadline(struct worker *w, uint64_t deadline_ns);
int worker_start(struct worker *w, struct failure *f);
/* It is to end, soon: when its callback, if it is in one, comes back. Waits for nothing. */
void worker_ask(struct worker *w);
bool worker_ended(const struct worker *w); /* asked and out of its last callback, or never started */
void worker_stop(struct worker *w);	   /* joins it; fine on one that was not started, or not opened */

#endif
