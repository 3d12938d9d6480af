/* vmm/gdb_points.h: the breakpoints and watchpoints of a debugged guest: which of
 * them the CPU's debug registers hold, which are int3 in memory, and which are
 * looked for at every step. Pure. Theory: top of gdb_points.c.
 * Threads: one caller at a time per struct. */
#ifndef SLAT_VMM_GDB_POINTS_H
#define SLAT_VMM_GDB_POINTS_H

#include <linux/kvm.h>

#include "vmm/gdb.h"
#include "vmm/gdb_ways.h"

#define GDB_PLACES_MAX	  64u
#define GDB_REGISTERS	  4u
#define GDB_WATCHED_BYTES 8u   /* of one watchpoint */
#define GDB_TRAP	  0xcc /* int3 */

enum gdb_way { GDB_BY_TRAP, GDB_BY_REGISTER, GDB_BY_STEP };

struct gdb_place {
	bool used;
	enum gdb_point point;
	enum gdb_way way;
	unsigned number; /* GDB_BY_REGISTER */
	uint64_t gva, bytes;
	uint8_t *host;			/* GDB_BY_TRAP: where int3 is */
	uint8_t old[GDB_WATCHED_BYTES]; /* GDB_BY_TRAP: the byte that it replaced; GDB_BY_STEP: what a watch saw last */
};

struct gdb_points {
	struct gdb_ways ways;
	struct gdb_place place[GDB_PLACES_MAX];
};

/* A place for a point that is not there yet. ENOTSUP: this host cannot see such an access; GDB then tries another kind,
 * or steps. EINVAL: not of this length, or not aligned to it. ENOSPC: no debug register or no place is left. */
int gdb_points_add(struct gdb_points *p, enum gdb_point point, uint64_t gva, uint64_t bytes, struct gdb_place **out);
struct gdb_place *gdb_points_find(struct gdb_points *p, enum gdb_point point, uint64_t gva, uint64_t bytes);

/* Is there (still) a place that such a stop at a point can be of? */
bool gdb_points_explain(const struct gdb_points *p, const struct gdb_stop *stop);

/* The request to KVM; step: after one instruction, too. */
void gdb_points_request(const struct gdb_points *p, bool step, struct kvm_guest_debug *out);

/* Must each instruction be looked at? */
bool gdb_points_step(const struct gdb_points *p);

/* The place that a debug exception's DR6 tells, or NULL. */
const struct gdb_place *gdb_points_hit(const struct gdb_points *p, uint64_t dr6);

/* Is a debug exception that no place explains the guest's own? stale: KVM had an older request, which may explain it;
 * stepped: that request was to step. */
bool gdb_points_foreign(uint64_t dr6, bool stale, bool stepped);

/* The breakpoint of that way at gva, or NULL. */
struct gdb_place *gdb_points_break(struct gdb_points *p, enum gdb_way way, uint64_t gva);

/* Another int3 in the same byte of the host, by another gva; or NULL. */
struct gdb_place *gdb_points_twin(struct gdb_points *p, const struct gdb_place *of);

/* Memory at [gva, gva + bytes), as it would be without int3: `data` was read, or is about to be written. */
void gdb_points_hide(const struct gdb_points *p, uint64_t gva, uint8_t *data, size_t bytes);
void gdb_points_keep(struct gdb_points *p, uint64_t gva, uint8_t *data, size_t bytes);

#endif
