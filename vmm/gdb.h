/* vmm/gdb.h: a session with one client of GDB's remote serial protocol: its
 * commands become calls of a target. Pure: bytes in, bytes out, and a target by
 * its ops. Theory: top of gdb.c.
 * Memory:  all of it in struct gdb; about 30 KiB.
 * Threads: one caller at a time; the target's ops are called in it. */
#ifndef SLAT_VMM_GDB_H
#define SLAT_VMM_GDB_H

#include "vmm/gdb_packet.h"
#include "vmm/gdb_regs.h"

#define GDB_CPUS_MAX 255u

/* What a client may wait for, in the numbers of its Z packets. */
enum gdb_point { GDB_BREAK_SOFT, GDB_BREAK_HARD, GDB_WATCH_WRITE, GDB_WATCH_READ, GDB_WATCH_ACCESS, GDB_POINTS };

enum gdb_action { GDB_HOLD, GDB_RUN, GDB_STEP };

enum gdb_cause {
	GDB_CAUSE_ATTACH,    /* a client came */
	GDB_CAUSE_INTERRUPT, /* the client asked */
	GDB_CAUSE_STEP,
	GDB_CAUSE_POINT,
	GDB_CAUSE_CRASH, /* the vCPU cannot go on: resuming it ends the run */
};

struct gdb_stop {
	enum gdb_cause cause;
	unsigned cpu;
	enum gdb_point point; /* GDB_CAUSE_POINT: its kind and, of a watchpoint, where it lies */
	uint64_t gva;
};

/* cpu is below `cpus` in every call. But for interrupt(), release() and kill() no vCPU runs meanwhile. */
struct gdb_target {
	void *self;
	unsigned cpus;
	bool (*get_regs)(void *self, unsigned cpu, uint8_t *block);	  /* GDB_REGS_BYTES */
	bool (*set_regs)(void *self, unsigned cpu, const uint8_t *block); /* false: the host refuses the values */
	/* How many bytes, from the first on, are there; memory as `cpu` sees it. */
	size_t (*read)(void *self, unsigned cpu, uint64_t gva, uint8_t *to, size_t bytes);
	bool (*write)(void *self, unsigned cpu, uint64_t gva, const uint8_t *from, size_t bytes);
	/* 0 or an errno: ENOSPC: no more of them; EINVAL: not at this place or of this length; ENOTSUP: not here. */
	int (*insert)(void *self, unsigned cpu, enum gdb_point point, uint64_t gva, uint64_t bytes);
	int (*remove)(void *self, enum gdb_point point, uint64_t gva, uint64_t bytes);
	void (*resume)(void *self, const uint8_t *actions); /* enum gdb_action of each cpu, one of them not GDB_HOLD */
	void (*interrupt)(void *self);			    /* gdb_stopped() follows, soon */
	void (*release)(void *self);			    /* all points go, all vCPUs run */
	void (*kill)(void *self);			    /* ends the run */
	void (*describe)(void *self, unsigned cpu, char *text, size_t size);
	void (*translate)(void *self, unsigned cpu, uint64_t gva, struct gdb_text *text);
};

struct gdb { /* private */
	struct gdb_target target;
	struct gdb_parser parser;
	struct gdb_text reply; /* the last one: the client may ask for it again */
	struct gdb_text monitor;
	uint8_t out[GDB_FRAME_MAX + 1]; /* an acknowledgment and a frame */
	size_t out_at, out_bytes;
	bool attaching, stopped, no_ack, closing;
	bool tells_breaks;    /* the client takes the words swbreak and hwbreak */
	unsigned cpu;	      /* that g, m and their like mean */
	unsigned resumed_cpu; /* that c and s mean; GDB_CPUS_MAX: all */
	struct gdb_stop stop; /* the last */
	uint8_t actions[GDB_CPUS_MAX];
};

/* A client came, and the target was asked to stop. Nothing is taken from the client before gdb_stopped(). */
void gdb_open(struct gdb *g, const struct gdb_target *target);

/* Takes bytes of the client until there is something to say; returns how many. */
size_t gdb_input(struct gdb *g, const uint8_t *data, size_t bytes);

/* What is to be sent next; gdb_sent() takes as much of it away. */
const uint8_t *gdb_output(const struct gdb *g, size_t *bytes);
void gdb_sent(struct gdb *g, size_t bytes);

/* All vCPUs are out of the guest. */
void gdb_stopped(struct gdb *g, const struct gdb_stop *stop);

/* The run is over: said if the client waits for the guest. signal: 0, or the one that ended it from outside. */
void gdb_ended(struct gdb *g, unsigned code, unsigned signal);

/* The client is done (detach, kill): close once the output is sent. */
bool gdb_closing(const struct gdb *g);

#endif
