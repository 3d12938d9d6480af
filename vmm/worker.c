/* vmm/worker.c
 *
 * What it is. One thread for each device that has something to wait for: the
 * driver's notifications, the backend's descriptors, a deadline. It sleeps in
 * ppoll() without the lock and calls the device with it. So a guest's
 * notification costs its vCPU an eventfd's write inside KVM and no exit to slat.
 *
 *   W1  callbacks run with the lock held, one at a time, in the order of the sources.
 *   W2  what is watched is looked at anew, with the lock held, before each sleep. Who
 *       changes it while the thread sleeps, or is about to, wakes it: `changed` is
 *       set and the eventfd written once, and the thread looks at both before it
 *       sleeps again. No change is slept over.
 *   W3  a source that a callback of the same round has put aside (events 0) is not
 *       called: a readiness that was seen before is no longer asked for.
 *   W4  after worker_ended() no callback runs.
 *
 * Signals. All are blocked in the thread, so that the main thread's signalfd and
 * the vCPUs' kick see theirs, but those that an instruction of its own raises:
 * blocked, such a signal would end the process without its handler's sentence.
 *
 * Polling. A sleep costs the driver's next notification an exit, and the device the
 * kernel's wake-up: together more than a request from the page cache takes. So where the device can poll,
 * the thread asks on for as long as such sleeps have lately been short, POLL_MOST at most, and
 * not at all when they have been long: the time doubles after a sleep that polling would have
 * spared, and is halved after a longer one.
 *
 * Pause. A debugger that stops the guest stops vCPUs; workers go on. What the
 * driver had asked for before is completed, as a disk completes it under a
 * stopped CPU, and no vCPU sees it until it runs again.
 *
 * Cost. An event is a ppoll() over all sources (40 at most) and the reader's own
 * read(). Rejected: epoll, which pays from some dozens of descriptors on and wants
 * a system call for each change of interest, where here interest changes often (a
 * backend that is full, a receive ring that is empty). One thread for all devices: a
 * disk that waits for its host would then hold up the network. */
#include "vmm/worker.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/loop.h"
#include "vmm/sys.h"

#define NS_A_SECOND UINT64_C(1000000000)
#define POLL_MOST   UINT64_C(100000) /* ns: some exits of a nested guest */
#define POLL_LEAST  UINT64_C(4000)
#define PAUSES	    16u /* between two looks: some hundred ns in which a vCPU finds the lock free */
#define WAKE	    0u	/* its place among the descriptors: sources come behind it */

struct round { /* what one sleep is about */
	struct pollfd fds[1 + WORKER_SOURCES_MAX];
	uint64_t deadline_ns;
};

int worker_open(struct worker *w, const char *name, pthread_mutex_t *lock, struct failure *f)
{
	*w = (struct worker){.name = name, .lock = lock, .deadline_ns = LOOP_NEVER};
	w->wake_fd = sys_eventfd(name, f);
	if (w->wake_fd < 0)
		w->lock = NULL;
	return f->code;
}

unsigned worker_add(struct worker *w, int fd, short events, void *self, unsigned index,
		    void (*ready)(void *self, unsigned index, short revents))
{
	MM_ASSERT(w->sources < WORKER_SOURCES_MAX && !w->started, w->sources, w->started);
	w->source[w->sources] = (struct worker_source){fd, events, self, index, ready};
	return w->sources++;
}

static void wake(const struct worker *w)
{
	const uint64_t one = 1;

	/* A full counter means that it is awake already. */
	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return;
}

/* W2. The thread itself looks before it sleeps. */
static void note_change(struct worker *w)
{
	if (!w->changed && w->started && !pthread_equal(pthread_self(), w->thread))
		wake(w);
	w->changed = true;
}

void worker_watch(struct worker *w, unsigned source, short events)
{
	if (w->source[source].events == events)
		return;
	w->source[source].events = events;
	note_change(w);
}

void worker_set_deadline(struct worker *w, uint64_t deadline_ns)
{
	if (deadline_ns == w->deadline_ns)
		return;
	w->deadline_ns = deadline_ns;
	note_change(w);
}

static void look(struct worker *w, struct round *r)
{
	for (unsigned i = 0; i < w->sources; i++)
		r->fds[1 + i] = (struct pollfd){
			.fd = w->source[i].events ? w->source[i].fd : -1,
			.events = w->source[i].events,
		};
	r->deadline_ns = w->deadline_ns;
	w->changed = false;
}

static void nap(const struct worker *w, struct round *r)
{
	struct timespec left = {0};
	uint64_t now = r->deadline_ns == LOOP_NEVER ? 0 : loop_now();
	uint64_t ns = r->deadline_ns > now ? r->deadline_ns - now : 0, unused;
	int ready;

	left.tv_sec = (time_t)(ns / NS_A_SECOND);
	left.tv_nsec = (long)(ns % NS_A_SECOND);
	ready = ppoll(r->fds, 1 + w->sources, r->deadline_ns == LOOP_NEVER ? NULL : &left, NULL);
	for (unsigned i = 0; ready <= 0 && i <= w->sources; i++)
		r->fds[i].revents = 0;
	if (r->fds[WAKE].revents && read(w->wake_fd, &unused, sizeof(unused)) < 0)
		return; /* somebody else's wake-up was taken before */
}

static void serve(struct worker *w, const struct round *r)
{
	for (unsigned i = 0; i < w->sources; i++) {
		const struct worker_source *s = &w->source[i];

		if (r->fds[1 + i].revents && s->events) /* W3 */
			s->ready(s->self, s->index, r->fds[1 + i].revents);
	}
	if (w->deadline_ns != LOOP_NEVER && loop_now() >= w->deadline_ns) {
		w->deadline_ns = LOOP_NEVER;
		w->changed = true;
		w->expired(w->expired_self);
	}
}

static void relax(struct worker *w)
{
	pthread_mutex_unlock(w->lock);
	for (unsigned i = 0; i < PAUSES; i++)
		__builtin_ia32_pause();
	pthread_mutex_lock(w->lock);
}

static bool ending(const struct worker *w)
{
	return __atomic_load_n(&w->stop, __ATOMIC_ACQUIRE);
}

static void linger(struct worker *w)
{
	uint64_t until = loop_now() + w->poll_ns;
	bool last;

	do {
		last = loop_now() >= until || w->changed || ending(w);
		if (w->poll(w->poll_self, last))
			until = loop_now() + w->poll_ns;
		else if (last)
			return;
		relax(w);
	} while (!ending(w));
}

/* What the last sleep says about the next. */
static void learn(struct worker *w, uint64_t slept_ns)
{
	if (slept_ns > POLL_MOST)
		w->poll_ns = w->poll_ns / 2 < POLL_LEAST ? 0 : w->poll_ns / 2;
	else if (w->poll_ns < POLL_MOST)
		w->poll_ns = w->poll_ns ? 2 * w->poll_ns : POLL_LEAST;
}

static void *worker_thread(void *self)
{
	struct worker *w = self;
	struct round r = {.fds = {[WAKE] = {.fd = w->wake_fd, .events = POLLIN}}};

	prctl(PR_SET_NAME, w->name);
	pthread_mutex_lock(w->lock);
	w->changed = true;
	while (!ending(w)) {
		uint64_t since;

		if (w->poll)
			linger(w);
		if (w->changed)
			look(w, &r);
		pthread_mutex_unlock(w->lock);
		since = w->poll ? loop_now() : 0;
		nap(w, &r);
		if (w->poll)
			learn(w, loop_now() - since);
		pthread_mutex_lock(w->lock);
		serve(w, &r);
	}
	pthread_mutex_unlock(w->lock);
	__atomic_store_n(&w->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

static sigset_t held_signals(void)
{
	static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&set, own[i]);
	return set;
}

int worker_start(struct worker *w, struct failure *f)
{
	const sigset_t held = held_signals();
	sigset_t before;
	int error;

	pthread_sigmask(SIG_SETMASK, &held, &before);
	pthread_mutex_lock(w->lock); /* the thread finds w->thread and w->started written */
	error = pthread_create(&w->thread, NULL, worker_thread, w);
	w->started = !error;
	pthread_mutex_unlock(w->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error ? fail(f, EXIT_HOST, "%s: cannot start its thread: %s", w->name, strerror(error)) : 0;
}

void worker_ask(struct worker *w)
{
	if (!w->lock)
		return;
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	wake(w);
}

bool worker_ended(const struct worker *w)
{
	return !w->started || __atomic_load_n(&w->ended, __ATOMIC_ACQUIRE);
}

void worker_stop(struct worker *w)
{
	if (!w->lock)
		return;
	worker_ask(w);
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
	close(w->wake_fd);
	w->lock = NULL;
}
