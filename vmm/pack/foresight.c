/* vmm/pack/foresight.c: how long each guest of a trace stays.
 *
 * What it is. A trace of events tells when a guest leaves by the row with which it leaves: too late for
 * who would choose a host by it. So the trace is gone through once, and for each arrival its
 * life is kept, in the order of arrivals; the same events come when it is played, so that the number of an
 * arrival finds it. A file that changes in between gives other lives to other guests, and
 * nothing worse: who stays longer than was foreseen, or less long, does so in any simulation of mistakes.
 *
 * Cost. The trace is read twice. Memory: 8 bytes an arrival, the one thing in all of this that grows with the
 * length of a trace, and so not done unless it is asked for; 8 for each guest that is there.
 *
 * Rejected. To read ahead in a window: the guests for which it matters most stay longest. */
#include "vmm/pack/foresight.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "mm/port.h"
#include "vmm/pack/alloc.h"

#define FIRST 1024u

struct list {
	uint64_t *at;
	size_t room;
};

struct foresight {
	struct alloc alloc;
	struct list life;    /* by number: when it came, till it leaves */
	struct list arrival; /* by guest: its number */
	uint64_t arrivals;
};

static bool grow(struct foresight *s, struct list *l, uint64_t need)
{
	size_t room = l->room ? l->room : FIRST;
	uint64_t *at;

	if (need <= l->room)
		return true;
	while (room < need)
		room *= 2;
	at = alloc_resize(&s->alloc, l->at, room, sizeof(*at));
	if (!at)
		return false;
	l->at = at;
	l->room = room;
	return true;
}

/* Until it leaves, its life is EVENT_LIFE_UNKNOWN, less when it came: both in one number. */
static bool note(struct foresight *s, const struct event *e)
{
	if (e->kind == EVENT_DEPART) {
		uint64_t *life;

		MM_ASSERT(s->life.at && e->guest < s->arrival.room, e->guest, s->arrivals);
		life = &s->life.at[s->arrival.at[e->guest]];
		*life = e->time_us - (EVENT_LIFE_UNKNOWN - *life);
		return true;
	}
	if (!grow(s, &s->life, e->number + 1) || !grow(s, &s->arrival, (uint64_t)e->guest + 1))
		return false;
	s->arrival.at[e->guest] = e->number;
	s->life.at[e->number] = EVENT_LIFE_UNKNOWN - e->time_us;
	s->arrivals = e->number + 1;
	return true;
}

static int read_all(struct foresight *s, struct trace *t, const char *path, struct failure *f)
{
	struct event e;

	while (trace_next(t, &e, f) == EVENT_ONE)
		if (!note(s, &e))
			return fail(f, EXIT_HOST, "no memory for the lifetimes of %" PRIu64 " guests of %s",
				    s->arrivals + 1, path);
	return f->code;
}

static int judge(const char *path, struct failure *f)
{
	bool input = strcmp(path, "-") == 0;
	struct stat s = {0};

	if (!input && stat(path, &s) != 0)
		return fail(f, EXIT_HOST, "%s cannot be read: %s", path, strerror(errno));
	if (!S_ISREG(s.st_mode))
		return fail(f, EXIT_USAGE,
			    "--lifetimes known: %s has no column life_s, and is no file that could be read twice",
			    input ? "standard input" : path);
	return 0;
}

struct foresight *foresight_open(const char *path, enum trace_format format, const struct trace_options *options,
				 struct failure *f)
{
	struct alloc alloc = {options->fail_after};
	struct trace_options reading = *options;
	struct foresight *s;
	struct trace *t;

	if (judge(path, f))
		return NULL;
	s = alloc_zeroed(&alloc, 1, sizeof(*s));
	if (!s) {
		(void)fail(f, EXIT_HOST, "no memory for the lifetimes of %s", path);
		return NULL;
	}
	s->alloc = alloc;
	reading.fail_after = 0;
	t = trace_open(path, format, &reading, f);
	if (!t || read_all(s, t, path, f)) {
		trace_close(t);
		foresight_close(s);
		return NULL;
	}
	trace_close(t);
	return s;
}

void foresight_close(struct foresight *s)
{
	if (!s)
		return;
	free(s->life.at);
	free(s->arrival.at);
	free(s);
}

uint64_t foresight_life(const struct foresight *s, uint64_t number)
{
	uint64_t life = number < s->arrivals ? s->life.at[number] : EVENT_LIFE_UNKNOWN;

	return life <= EVENT_TIME_MAX ? life : EVENT_LIFE_UNKNOWN;
}
