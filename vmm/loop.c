#include "vmm/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LOOP_FDS_MAX 8u

uint64_t loop_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int loop_open(struct loop *l)
{
	for (unsigned i = 0; i < LOOP_TIMERS; i++)
		atomic_init(&l->deadline[i], LOOP_NEVER);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return l->wake_fd < 0 ? -errno : 0;
}

void loop_close(struct loop *l)
{
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	l->wake_fd = -1;
}

void loop_wake(struct loop *l)
{
	const uint64_t one = 1;

	/* A full counter means that a wake-up is pending already. */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void loop_timer_set(struct loop *l, enum loop_timer t, uint64_t deadline_ns)
{
	atomic_store(&l->deadline[t], deadline_ns);
	if (deadline_ns != LOOP_NEVER)
		loop_wake(l);
}

static unsigned take_due(struct loop *l)
{
	uint64_t now = loop_now();
	unsigned due = 0;

	for (unsigned i = 0; i < LOOP_TIMERS; i++) {
		uint64_t deadline = atomic_load(&l->deadline[i]);

		/* A thread that has just set a later one wins: its timer is not due. */
		if (deadline <= now && atomic_compare_exchange_strong(&l->deadline[i], &deadline, LOOP_NEVER))
			due |= 1u << i;
	}
	return due;
}

static uint64_t nearest(struct loop *l)
{
	uint64_t best = LOOP_NEVER;

	for (unsigned i = 0; i < LOOP_TIMERS; i++) {
		uint64_t deadline = atomic_load(&l->deadline[i]);

		if (deadline < best)
			best = deadline;
	}
	return best;
}

unsigned loop_wait(struct loop *l, struct pollfd *fds, unsigned count)
{
	struct pollfd all[LOOP_FDS_MAX + 1] = {{.fd = l->wake_fd, .events = POLLIN}};
	struct timespec left = {0}, *limit = NULL;
	uint64_t deadline = nearest(l), now = loop_now(), unused;
	int ready;

	if (count > LOOP_FDS_MAX)
		count = LOOP_FDS_MAX;
	memcpy(all + 1, fds, count * sizeof(*fds));
	if (deadline != LOOP_NEVER) {
		uint64_t ns = deadline > now ? deadline - now : 0;

		left = (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
		limit = &left;
	}
	ready = ppoll(all, count + 1, limit, NULL);
	for (unsigned i = 0; i < count; i++)
		fds[i].revents = ready > 0 ? all[i + 1].revents : 0;
	if (ready > 0 && (all[0].revents & POLLIN) && read(l->wake_fd, &unused, sizeof(unused)) < 0)
		return take_due(l);
	return take_due(l);
}
