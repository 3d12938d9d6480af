/* vmm/gdb_vm.h: a VM as a debugger's target: its vCPUs stop and go on together,
 * their registers and memory are read while they stand. Theory: top of gdb_vm.c.
 * Threads: park, trap and crash from a vCPU's own; the rest from the main thread. */
#ifndef SLAT_VMM_GDB_VM_H
#define SLAT_VMM_GDB_VM_H

#include <pthread.h>

#include "vmm/gdb.h"
#include "vmm/gdb_points.h"

struct vm;
struct vcpu;

struct gdb_cpu {	/* (lock) */
	bool hold;	/* it is to stand */
	bool stale;	/* what KVM has been told of points and steps is out of date */
	bool told_step; /* KVM steps it for us, as far as it has been told */
	enum gdb_action action;
	uint64_t lent_flag; /* what a step over SYSRET put into R11; 0: nothing */
	bool has_late;	    /* it stopped by itself when another had done so already */
	struct gdb_stop late;
};

struct gdb_vm {
	struct vm *vm;
	pthread_mutex_t lock;
	pthread_cond_t moved;		  /* a hold was taken away, or the run is over */
	struct gdb_points points;	  /* (lock) */
	struct gdb_cpu cpu[GDB_CPUS_MAX]; /* (lock) */
	unsigned parked;		  /* (lock) */
	bool attached, over;		  /* (lock) over: nobody parks any more */
	bool waiting;			  /* (lock) the guest has not started: it waits for a client's word */
	bool stopping, kicked, told;	  /* (lock) a stop is under way; the vCPUs were kicked; the session knows it */
	struct gdb_stop stop;		  /* (lock) iff stopping */
};

/* vm: with its vCPUs. wait: the guest does not start before it is resumed. Before vm_start(). */
void gdb_vm_open(struct gdb_vm *g, struct vm *vm, const struct gdb_ways *ways, bool wait);
void gdb_vm_close(struct gdb_vm *g);

struct gdb_target gdb_vm_target(struct gdb_vm *g);

/* A client came: all are to stop. */
void gdb_vm_attach(struct gdb_vm *g);

/* Kicks those that are to stop. True once iff all of them stand; then *stop says why. */
bool gdb_vm_settled(struct gdb_vm *g, struct gdb_stop *stop);

/* It vanished: all points go, all vCPUs run, unless the guest waits for its first resume. */
void gdb_vm_lost(struct gdb_vm *g);

/* The run is over: nobody stands any more. */
void gdb_vm_over(struct gdb_vm *g);

/* Before its first entry, and whenever it came out without an exit: stands as long as it is to. */
void gdb_vm_park(struct gdb_vm *g, struct vcpu *c);

/* KVM_EXIT_DEBUG. */
void gdb_vm_trap(struct gdb_vm *g, struct vcpu *c);

/* It cannot go on: the client, if there is one, may look before the run ends. */
void gdb_vm_crash(struct gdb_vm *g, struct vcpu *c);

#endif
