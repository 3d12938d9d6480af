/* vmm/pack/decision_log.c: what was decided, guest by guest.
 *
 * What it is. It listens to pack.c, which says of each guest when he comes, is placed, is refused, waits, leaves; and,
 * by fleet_compact.c, when he is moved. Where he lies it asks the fleet: a line for each of his extents, or of his
 * nodes where there are none. So whoever plays the lines has all the holes there ever were.
 *
 * Names. The source knows a guest's name with his events alone, and a guest may be placed, moved, and leave, at
 * other times: so he is called by what is kept of his arrival, under the number that pack.c has for him.
 *
 * Memory. A name for each guest that lives or waits, and the extents of one. What was for one is used for the next.
 *
 * Failure. Those who decide do not hear of it: it is kept, and found by decision_log_judge(). */
#include "vmm/pack/decision_log.h"

#include <string.h>

#include "vmm/pack/text_file.h"

#define SECOND	   UINT64_C(1000000)
#define LINE_BYTES 256u /* of a line without its name: seven numbers of up to 20 digits, and the words */

_Static_assert(LINE_BYTES + 2 * TEXT_FILE_NAME + 2 <= TEXT_FILE_LINE, "a decision has room");

struct name {
	char *at;
	size_t length, room;
};

struct decision_log {
	struct alloc alloc;
	struct pack *pack;
	struct decision_names names;
	struct text_file *file;
	struct failure failure;
	struct name *name; /* by guest */
	uint32_t guests;
	struct fleet_part *part;
	uint32_t parts;
};

static const char *const reasons[FLEET_ANSWERS] = {
	[FLEET_PLACED] = "queue",    [FLEET_NO_MEMORY] = "no_memory",	  [FLEET_NO_CPU] = "no_cpu",
	[FLEET_NO_HOLE] = "no_hole", [FLEET_NO_CONTRACT] = "no_contract",
};

static bool no_memory(struct decision_log *l)
{
	return (void)fail(&l->failure, EXIT_HOST, "no memory to log decisions"), false;
}

/* ---- names ---- */

static bool grow(struct decision_log *l, uint32_t guest)
{
	const uint32_t guests = 2 * guest + 64;
	struct name *name;

	if (guest < l->guests)
		return true;
	name = alloc_resize(&l->alloc, l->name, guests, sizeof(*name));
	if (!name)
		return no_memory(l);
	memset(name + l->guests, 0, (guests - l->guests) * sizeof(*name));
	l->name = name;
	l->guests = guests;
	return true;
}

static void take_name(struct decision_log *l, uint32_t guest)
{
	const struct csv_field is = l->names.last(l->names.self);
	struct name *n;
	char *at;

	if (text_file_judge_name(l->file, is, &l->failure) || !grow(l, guest))
		return;
	n = &l->name[guest];
	if (is.length > n->room) {
		at = alloc_resize(&l->alloc, n->at, is.length, 1);
		if (!at)
			return (void)no_memory(l);
		n->at = at;
		n->room = is.length;
	}
	memcpy(n->at, is.at, is.length);
	n->length = is.length;
}

/* ---- lines ---- */

/* "time,what,name"; false: it is not to be. */
static bool begin(struct decision_log *l, uint64_t time_us, const char *what, uint32_t guest)
{
	const struct name *n = &l->name[guest];

	if (text_file_room(l->file, LINE_BYTES + 2 * n->length + 2, &l->failure))
		return false;
	text_file_put_number(l->file, time_us, SECOND);
	text_file_put(l->file, what);
	text_file_put_name(l->file, (struct csv_field){n->at, n->length});
	return true;
}

static void put(struct decision_log *l, uint64_t number)
{
	text_file_put(l->file, ",");
	text_file_put_number(l->file, number, 1);
}

/* ",host,node,huge,first,units" */
static void put_part(struct decision_log *l, uint32_t guest, uint32_t host, const struct fleet_part *part)
{
	const struct fleet *fleet = pack_fleet(l->pack);
	const bool huge = fleet_is_huge(fleet, guest);

	put(l, host);
	put(l, part->node);
	text_file_put(l->file, huge ? ",1" : ",0");
	if (fleet_space(fleet, host, part->node + (huge ? fleet_nodes_of(fleet, host) : 0)))
		put(l, part->run.first);
	else
		text_file_put(l->file, ",");
	put(l, part->run.units);
}

static void place(struct decision_log *l, const struct pack_decision *d, const char *what)
{
	const struct fleet *fleet = pack_fleet(l->pack);
	uint32_t host, parts = fleet_where(fleet, d->guest, &host, l->part, l->parts);

	if (parts > l->parts) {
		struct fleet_part *part = alloc_resize(&l->alloc, l->part, parts, sizeof(*part));

		if (!part)
			return (void)no_memory(l);
		l->part = part;
		l->parts = parts;
		(void)fleet_where(fleet, d->guest, &host, part, parts);
	}
	for (uint32_t i = 0; i < parts; i++) {
		if (!begin(l, d->time_us, what, d->guest))
			return;
		put_part(l, d->guest, host, &l->part[i]);
		text_file_put(l->file, ",,\n");
	}
}

static void move(struct decision_log *l, const struct pack_decision *d)
{
	if (!begin(l, d->time_us, ",move,", d->guest))
		return;
	put_part(l, d->guest, d->host, &d->part);
	put(l, d->from);
	text_file_put(l->file, ",\n");
}

static void refuse(struct decision_log *l, const struct pack_decision *d, const char *what)
{
	if (!begin(l, d->time_us, what, d->guest))
		return;
	text_file_put(l->file, ",,,,");
	put(l, d->units);
	text_file_put(l->file, ",,");
	text_file_put(l->file, reasons[d->why]);
	text_file_put(l->file, "\n");
}

static void see(void *self, const struct pack_decision *d)
{
	struct decision_log *l = self;

	if (l->failure.code)
		return;
	switch (d->what) {
	case PACK_ARRIVE:
		take_name(l, d->guest);
		break;
	case PACK_PLACE:
		place(l, d, ",place,");
		break;
	case PACK_LEAVE:
		place(l, d, ",leave,");
		break;
	case PACK_MOVE:
		move(l, d);
		break;
	case PACK_REFUSE:
		refuse(l, d, ",refuse,");
		break;
	case PACK_WAIT:
		refuse(l, d, ",wait,");
		break;
	}
}

/* ---- opening and closing ---- */

struct decision_log *decision_log_open(const char *path, struct pack *p, const struct decision_names *names,
				       struct failure *f)
{
	struct decision_log *l = calloc(1, sizeof(*l));

	if (!l)
		return (void)fail(f, EXIT_HOST, "no memory to log decisions"), NULL;
	l->pack = p;
	l->names = *names;
	l->file = text_file_open(path, 0, f);
	if (!l->file) {
		free(l);
		return NULL;
	}
	text_file_put(l->file, "time_s,event,vm_id,host,node,huge,first,units,from,reason\n");
	pack_watch(p, see, l);
	return l;
}

int decision_log_judge(const struct decision_log *l, struct failure *f)
{
	if (l->failure.code && !f->code)
		*f = l->failure;
	return f->code;
}

int decision_log_close(struct decision_log *l, bool keep, struct failure *f)
{
	if (!l)
		return f->code;
	pack_watch(l->pack, NULL, NULL);
	if (keep)
		(void)text_file_close(l->file, f);
	else
		text_file_abandon(l->file);
	for (uint32_t i = 0; i < l->guests; i++)
		free(l->name[i].at);
	free(l->name);
	free(l->part);
	free(l);
	return f->code;
}
