/* vmm/vm.h: one virtual machine: its memory, slots, board and vCPUs.
 * The order of a life: vm_open, vm_add_memory, vm_add_cpus, vm_add_devices, vm_start,
 * vm_wait, vm_close. vm_close() is fine on a half-built one and runs them in reverse.
 * Threads: all from the main thread, but vm_end(), which any may call. */
#ifndef SLAT_VMM_VM_H
#define SLAT_VMM_VM_H

#include <stdatomic.h>

#include "mm/pagetable.h"
#include "vmm/board.h"
#include "vmm/boot/boot.h"
#include "vmm/console.h"
#include "vmm/dma_ram.h"
#include "vmm/fault.h"
#include "vmm/guest_ranges.h"
#include "vmm/host.h"
#include "vmm/kvm.h"
#include "vmm/loop.h"
#include "vmm/memory.h"
#include "vmm/ram.h"
#include "vmm/slots.h"
#include "vmm/table_pages.h"
#include "vmm/vcpu.h"

/* Low RAM, the reserved top of low memory, RAM up to the hole, RAM above it; each range that is not plain cuts a line
 * in two and lies between them. Linux takes 128 lines, and so do the guests here. */
#define VM_MAP_MAX  (4 + 2 * GUEST_RANGES_MAX)
#define VM_CPUS_MAX 255u

enum vm_how { /* how a run ended */
	      VM_RUNNING,
	      VM_POWER_OFF,
	      VM_DEBUG_EXIT,
	      VM_RESET,
	      VM_TRIPLE_FAULT,
	      VM_PANIC,
	      VM_TIMEOUT,
	      VM_SIGNAL,
	      VM_QUIT,	   /* Ctrl-A x */
	      VM_KILLED,   /* gdb's kill */
	      VM_INTERNAL, /* KVM could not go on; failure has the sentence */
	      VM_FAULT,	   /* the guest did what the table forbids; the same */
	      VM_REFUSED,  /* the host did not give what it was to give; failure has the sentence */
};

struct gdb_server;
struct devices;
struct run_options;
struct zones;

struct vm_memory {		   /* borrowed until vm_close() */
	const struct host *host;   /* whose pools they are of; mirrored if they are of several */
	const struct block *block; /* in the order of the guest's addresses */
	uint32_t blocks;
	enum pagetable_size leaf;   /* the largest page of any of their pools; see host_mirror() */
	const struct block *tables; /* for the table's pages */
	const struct zones *zones;  /* NULL: all of one pool, and vCPUs run anywhere */
	const struct guest_ranges *ranges;
	bool log_writes; /* KVM keeps a log of what the guest writes to */
	bool devices;	 /* there will be some that reach for it */
};

struct vm {
	struct memory *memory; /* what it takes for itself */
	struct kvm kvm;
	int fd;
	struct loop loop;
	struct console console;
	struct vm_memory guest;
	uint64_t ram_bytes; /* guards included */
	struct table_pages table_pages;
	struct pagetable table;
	bool table_ready;
	struct ram ram;
	struct dma_ram *dma_ram; /* NULL: no device reaches for it */
	struct slots slots;
	struct board *board;
	struct devices *devices; /* virtio; NULL: none */
	unsigned cpus;
	struct vcpu *cpu[VM_CPUS_MAX];
	_Atomic unsigned running; /* vCPU threads that have not returned; the last one wakes the loop */
	bool trace_exits;
	struct gdb_server *gdb; /* NULL: nobody debugs */
	int signal_fd;
	bool resized;		  /* the terminal; the virtio console is to be told */
	void (*look)(void *self); /* SIGUSR1: tells how things are, on the main thread, while all runs */
	void *look_self;
	bool asked_look;     /* by one or several signals since */
	bool asked_off;	     /* the power button was pressed: the next signal ends the run */
	uint8_t pending[16]; /* typed, not yet taken by the serial line */
	unsigned pending_bytes;
	_Atomic uint64_t first_instruction_ns; /* of loop_now() */
	_Atomic uint64_t strays;	       /* MMIO accesses that nothing answers */
	bool fault_report;		       /* what the table forbids is told and answered; else it ends the run */
	struct fault_log faults;
	_Atomic int how; /* enum vm_how; the first to set it also sets the next three */
	uint32_t end_value;
	struct failure end_failure; /* VM_INTERNAL, VM_FAULT, VM_REFUSED */
	char end_dump[2048];	    /* registers and code of a vCPU that could not go on */
	_Atomic bool ended;	    /* the four above can be read */
	uint64_t end_ns;
};

const char *vm_how_name(enum vm_how how);

/* From here on SIGUSR1 waits for vm_start(), too: first of all, since whoever asks early is to be answered late and not
 * to end the run. */
void vm_hold_question(void);

/* From here on the signals that end a run, or ask how it is, wait for vm_start(), and a lost reader is an error of the
 * write: call it before anything is made that a signal would leave behind. */
void vm_hold_signals(void);

/* Opens KVM, creates the VM. Borrows memory. */
int vm_open(struct vm *vm, struct memory *memory, struct failure *f);

/* Maps the blocks, around the 32-bit hole and without the guards, by a table of
 * the host CPU's format; then the slots. */
int vm_add_memory(struct vm *vm, const struct vm_memory *memory, struct failure *f);

/* The memory map that the guest is told: at most VM_MAP_MAX lines; returns how
 * many. RAM is what the table maps writable; what it maps read-only, and what it
 * does not map inside the guest's RAM, is reserved. */
unsigned vm_memory_map(const struct vm *vm, struct boot_range *map);

/* What VM_TLB_ENTRIES leaves cover on average: as many bytes a CPU can hold translations of, if each leaf takes one
 * entry, and all leaves are used alike. */
#define VM_TLB_ENTRIES 1024u
uint64_t vm_tlb_reach(const struct vm *vm);

/* The leaves that map what is of this pool. O(runs). */
void vm_leaves_of(const struct vm *vm, const struct pool *pool, uint64_t leaves[PAGETABLE_SIZES]);

/* Is this address inside the guest's RAM, guards included? Any thread. */
bool vm_is_ram(const struct vm *vm, uint64_t gpa);

/* What KVM_RUN's EFAULT may come from: memory that the table maps is not there, and the host has none for it. True with
 * one sentence iff that is so of huge pages: all others the kernel finds, or ends the process. Any thread; brings in
 * what can be had, so it is for the end of a run. */
bool vm_lacks_pages(const struct vm *vm, struct failure *why);

/* Puts the interrupt controller, the vCPUs and the board there. config: cmdline
 * and initrd; the rest is filled in here. EXIT_USAGE iff KVM does not take so many CPUs. */
int vm_add_cpus(struct vm *vm, unsigned cpus, const struct board_config *config, struct failure *f);

/* The virtio devices that the options name, if any; borrowed until vm_close(). */
int vm_add_devices(struct vm *vm, const struct run_options *options, struct failure *f);

/* Sets the first vCPU at `entry` and lets all run. timeout_ns: 0 is none. After vm_hold_signals(). */
int vm_start(struct vm *vm, const struct boot_entry *entry, uint64_t timeout_ns, struct failure *f);

/* Serves console, timers and signals until the guest has ended; all vCPUs are out of it then, and the console's reader
 * has all that was said, unless it stopped reading and the run was ended from outside. */
void vm_wait(struct vm *vm);
void vm_close(struct vm *vm);

/* The run is over; the first call counts. why: NULL but for VM_INTERNAL, VM_FAULT and VM_REFUSED, dump: but for the
 * first two. */
void vm_end(struct vm *vm, enum vm_how how, uint32_t value, const struct failure *why, const char *dump);

#endif
