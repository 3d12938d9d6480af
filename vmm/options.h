/* vmm/options.h: the command line of `slat run`, as checked values. Pure: it
 * looks at nothing but its arguments. Strings are borrowed from argv.
 * Threads: one. */
#ifndef SLAT_VMM_OPTIONS_H
#define SLAT_VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/abi.h"
#include "vmm/balloon.h"
#include "vmm/failure.h"
#include "vmm/gather.h"
#include "vmm/gdb_address.h"
#include "vmm/guest_ranges.h"

#define OPTIONS_CPUS_MAX       255 /* an xAPIC id has 8 bits, and 255 is everybody; KVM may take less */
#define OPTIONS_MODULES_MAX    16u
#define OPTIONS_MEMORY_MIN     (UINT64_C(2) << 20)
#define OPTIONS_MEMORY_DEFAULT (UINT64_C(512) << 20)
#define OPTIONS_EXTENT_DEFAULT (UINT64_C(2) << 20)
#define OPTIONS_TAKEN_MAX      64u
#define OPTIONS_SERIAL_MAX     20u /* of a disk: VIRTIO_BLK_ID_BYTES */
#define OPTIONS_PORTS_MAX      63u
#define OPTIONS_TAP_MAX	       15u /* of a network interface's name */

struct options_text { /* a part of a word of argv: no zero ends it */
	const char *start;
	size_t bytes;
};

struct options_place {	   /* of any virtio device */
	bool packed;	   /* offer the packed ring */
	bool behind;	   /* the IOMMU; final once options_parse() came back */
	bool behind_given; /* by a key of its own */
};

struct options_disk {
	struct options_text path;
	bool readonly, direct;
	char serial[OPTIONS_SERIAL_MAX + 1]; /* empty: none */
	unsigned queues;
	struct options_place place;
};

struct options_net {
	bool user;		       /* passt; else */
	char tap[OPTIONS_TAP_MAX + 1]; /* of this name */
	bool has_mac;
	uint8_t mac[6];
	char tcp[OPTIONS_PORTS_MAX + 1], udp[OPTIONS_PORTS_MAX + 1]; /* of user: forwarded ports; empty: none */
	unsigned pairs;						     /* of queues */
	struct options_place place;
};

struct run_options {
	const char *image, *cmdline, *name, *report, *dump_table;
	unsigned modules; /* --initramfs, as often as given */
	const char *module[OPTIONS_MODULES_MAX];
	unsigned cpus;
	struct {
		uint64_t bytes;
		bool hugepages, thp, prefault, shared;
		enum pagetable_size huge; /* of hugepages: PAGETABLE_2M or PAGETABLE_1G */
		enum gather_kind contiguous;
		uint64_t extent_bytes; /* 0: not given */
	} memory;
	struct {
		uint64_t bytes; /* 0: as large as the guest's RAM */
		unsigned taken;
		struct options_taken {
			uint64_t start, bytes;
		} take[OPTIONS_TAKEN_MAX];
	} pool;
	struct guest_ranges ranges;
	struct {
		bool on, bypass;
		struct options_place place; /* packed alone */
	} iommu;
	unsigned disks, nets;
	struct options_disk disk[ABI_VIRTIO_MAX];
	struct options_net net[ABI_VIRTIO_MAX];
	struct {
		bool virtio;
		struct options_place place;
	} console;
	struct {
		bool on;
		uint64_t rate; /* bytes a second; 0: not given */
		struct options_place place;
	} rng;
	struct {
		bool on, deflate_on_oom, reporting;
		bool sized;			  /* the schedule has a size that was given */
		struct balloon_schedule schedule; /* what it asks for, and when */
		struct options_place place;	  /* packed alone */
	} balloon;
	bool fault_report;   /* --on-fault report */
	uint64_t timeout_ns; /* 0: none */
	struct gdb_address gdb;
	bool wait; /* for it */
	bool has_exit_zero;
	uint32_t exit_zero;
	bool trace_exits, sandbox, json, help;
};

/* argv: what follows `run`. EXIT_USAGE with one sentence that names the option,
 * the value and the limit. With --help the rest is not judged. */
int options_parse(int argc, char **argv, struct run_options *out, struct failure *f);

/* How many virtio devices that makes: ABI_VIRTIO_MAX at most. */
unsigned options_devices(const struct run_options *o);

#endif
