/* vmm/gdb_points.c
 *
 * Three ways to stop where the client wants, best first:
 *  trap      int3 in the guest's memory. As many as GDB_PLACES_MAX, full speed; for
 *            software breakpoints (Z0) where the host leads int3 to us.
 *  register  one of the CPU's four debug registers, full speed. Breakpoints of
 *            both kinds and watchpoints; a fifth is refused.
 *  step      every vCPU is stepped, and after each instruction slat looks where it
 *            is and what the watched bytes are. Some thousand times slower; only
 *            where the host does not do better (gdb_ways.c tells). It sees that
 *            bytes became others, not who read them; and a CPU takes the trap
 *            flag back on its way into an exception's handler, so that what a
 *            handler does is not seen until it returns. One that never returns
 *            (the runtime of guests/ comes back from ring 3 in one) ends it,
 *            until the next stop.
 *
 * I1  a register is held by one place, and only where registers work.
 * I2  a trap's memory holds int3 from insert to remove; whoever reads memory for
 *     the client sees what was there (hide), whoever writes it writes under int3
 *     (keep). That holds for the gva of its place; places of one byte, by several
 *     gvas, have one `old`, and the last that goes puts it back. By a gva without a
 *     place the int3 is seen, and is the guest's own.
 *
 * A watchpoint on reads alone is not what an x86 CPU has: ENOTSUP makes GDB take
 * one on accesses and compare by itself. */
#include "vmm/gdb_points.h"

#include <errno.h>
#include <string.h>

#define DR6_STEP  0x4000u
#define DR7_FIXED 0x400u
#define DR7_WRITE 1u
#define DR7_ANY	  3u

static bool is_break(enum gdb_point point)
{
	return point <= GDB_BREAK_HARD;
}

static int choose_way(const struct gdb_points *p, enum gdb_point point, uint64_t gva, uint64_t bytes, enum gdb_way *way)
{
	*way = GDB_BY_STEP;
	if (is_break(point)) {
		if (point == GDB_BREAK_SOFT && p->ways.trap)
			*way = GDB_BY_TRAP;
		else if (p->ways.exec)
			*way = GDB_BY_REGISTER;
		return 0;
	}
	if (point == GDB_WATCH_READ || (point == GDB_WATCH_ACCESS && !p->ways.watch))
		return ENOTSUP;
	if (bytes == 0 || bytes > GDB_WATCHED_BYTES)
		return EINVAL;
	if (!p->ways.watch)
		return 0;
	*way = GDB_BY_REGISTER;
	return (bytes & (bytes - 1)) || (gva & (bytes - 1)) ? EINVAL : 0;
}

static bool free_register(const struct gdb_points *p, unsigned *number)
{
	unsigned taken = 0;

	for (size_t i = 0; i < GDB_PLACES_MAX; i++)
		if (p->place[i].used && p->place[i].way == GDB_BY_REGISTER)
			taken |= 1u << p->place[i].number;
	for (*number = 0; *number < GDB_REGISTERS; ++*number)
		if (!(taken >> *number & 1))
			return true;
	return false;
}

int gdb_points_add(struct gdb_points *p, enum gdb_point point, uint64_t gva, uint64_t bytes, struct gdb_place **out)
{
	struct gdb_place new = {.used = true, .point = point, .gva = gva, .bytes = is_break(point) ? 1 : bytes};
	int error = choose_way(p, point, gva, bytes, &new.way);

	if (error)
		return error;
	if (new.way == GDB_BY_REGISTER && !free_register(p, &new.number))
		return ENOSPC;
	for (size_t i = 0; i < GDB_PLACES_MAX; i++) {
		if (p->place[i].used)
			continue;
		p->place[i] = new;
		*out = &p->place[i];
		return 0;
	}
	return ENOSPC;
}

struct gdb_place *gdb_points_find(struct gdb_points *p, enum gdb_point point, uint64_t gva, uint64_t bytes)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++) {
		struct gdb_place *place = &p->place[i];

		if (place->used && place->point == point && place->gva == gva &&
		    (is_break(point) || place->bytes == bytes))
			return place;
	}
	return NULL;
}

bool gdb_points_explain(const struct gdb_points *p, const struct gdb_stop *stop)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++)
		if (p->place[i].used && p->place[i].point == stop->point && p->place[i].gva == stop->gva)
			return true;
	return false;
}

/* DR7: two bits at 4n + 16 say which access, two more how long: 1, 2, 8, 4 bytes. (SDM vol. 3B, 18.2.4.) */
static uint64_t control(const struct gdb_place *place)
{
	static const uint8_t lengths[GDB_WATCHED_BYTES + 1] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
	uint64_t bits = UINT64_C(1) << 2 * place->number;
	uint64_t access = place->point == GDB_WATCH_WRITE ? DR7_WRITE : DR7_ANY;

	if (is_break(place->point))
		return bits;
	return bits | (access | (uint64_t)lengths[place->bytes] << 2) << (4 * place->number + 16);
}

void gdb_points_request(const struct gdb_points *p, bool step, struct kvm_guest_debug *out)
{
	*out = (struct kvm_guest_debug){.arch.debugreg = {[7] = DR7_FIXED}};
	for (size_t i = 0; i < GDB_PLACES_MAX; i++) {
		const struct gdb_place *place = &p->place[i];

		if (!place->used || place->way == GDB_BY_STEP)
			continue;
		if (place->way == GDB_BY_TRAP) {
			out->control |= KVM_GUESTDBG_USE_SW_BP;
			continue;
		}
		out->control |= KVM_GUESTDBG_USE_HW_BP;
		out->arch.debugreg[place->number] = place->gva;
		out->arch.debugreg[7] |= control(place);
	}
	if (step)
		out->control |= KVM_GUESTDBG_SINGLESTEP;
	if (out->control)
		out->control |= KVM_GUESTDBG_ENABLE;
}

bool gdb_points_step(const struct gdb_points *p)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++)
		if (p->place[i].used && p->place[i].way == GDB_BY_STEP)
			return true;
	return false;
}

const struct gdb_place *gdb_points_hit(const struct gdb_points *p, uint64_t dr6)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++) {
		const struct gdb_place *place = &p->place[i];

		if (place->used && place->way == GDB_BY_REGISTER && (dr6 >> place->number & 1))
			return place;
	}
	return NULL;
}

bool gdb_points_foreign(uint64_t dr6, bool stale, bool stepped)
{
	return dr6 & DR6_STEP ? !stepped : !stale;
}

struct gdb_place *gdb_points_break(struct gdb_points *p, enum gdb_way way, uint64_t gva)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++) {
		struct gdb_place *place = &p->place[i];

		if (place->used && place->way == way && is_break(place->point) && place->gva == gva)
			return place;
	}
	return NULL;
}

struct gdb_place *gdb_points_twin(struct gdb_points *p, const struct gdb_place *of)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++) {
		struct gdb_place *place = &p->place[i];

		if (place != of && place->used && place->way == GDB_BY_TRAP && place->host == of->host)
			return place;
	}
	return NULL;
}

/* All places of that byte. */
static void replace(struct gdb_points *p, const uint8_t *host, uint8_t byte)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++)
		if (p->place[i].used && p->place[i].way == GDB_BY_TRAP && p->place[i].host == host)
			p->place[i].old[0] = byte;
}

/* Is it an int3 within [gva, gva + bytes)? */
static bool trap_within(const struct gdb_place *place, uint64_t gva, size_t bytes)
{
	return place->used && place->way == GDB_BY_TRAP && place->gva - gva < bytes;
}

void gdb_points_hide(const struct gdb_points *p, uint64_t gva, uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++)
		if (trap_within(&p->place[i], gva, bytes))
			data[p->place[i].gva - gva] = p->place[i].old[0];
}

void gdb_points_keep(struct gdb_points *p, uint64_t gva, uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++) {
		if (!trap_within(&p->place[i], gva, bytes))
			continue;
		replace(p, p->place[i].host, data[p->place[i].gva - gva]);
		data[p->place[i].gva - gva] = GDB_TRAP;
	}
}
