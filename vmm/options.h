/* vmm/options.h: the command line of `slat run`, as checked values. Pure: it
 * looks at nothing but its arguments. Strings are borrowed from argv.
 * Threads: one. */
#ifndef SLAT_VMM_OPTIONS_H
#define SLAT_VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/placement.h"
#include "vmm/abi.h"
#include "vmm/balloon.h"
#include "vmm/failure.h"
#include "vmm/gather.h"
#include "vmm/gdb_address.h"
#include "vmm/guest_ranges.h"
#include "vmm/topology.h"

#define OPTIONS_CPUS_MAX       255 /* an xAPIC id has 8 bits, and 255 is everybody; KVM may take less */
#define OPTIONS_MODULES_MAX    16u
#define OPTIONS_MEMORY_MIN     (UINT64_C(2) << 20)
#define OPTIONS_MEMORY_DEFAULT (UINT64_C(512) << 20)
#define OPTIONS_EXTENT_DEFAULT (UINT64_C(2) << 20)
#define OPTIONS_TAKEN_MAX      64u
#define OPTIONS_SERIAL_MAX     20u /* of a disk: VIRTIO_BLK_ID_BYTES */
#define OPTIONS_PORTS_MAX      63u
#define OPTIONS_TAP_MAX	       15u /* of a network interface's name */
#define OPTIONS_ZONES_MAX      16u
#define OPTIONS_ZONE_ID_MAX    31u
#define OPTIONS_ZONES_BYTES    (UINT64_C(1) << 52) /* of all: no guest address has more bits */
#define OPTIONS_HOST_NODES_MAX 1024u		   /* the most that a Linux is built for */

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

struct options_numbers { /* a set: of host nodes, or of CPUs */
	uint64_t bits[OPTIONS_HOST_NODES_MAX / 64];
};

enum options_backing { OPTIONS_ANON, OPTIONS_MEMFD, OPTIONS_HUGETLB, OPTIONS_DEVDAX };

struct options_zone {
	char id[OPTIONS_ZONE_ID_MAX + 1]; /* no other zone's */
	uint64_t bytes;			  /* a multiple of 4K, of hugetlb of `huge`; never 0 */
	enum options_backing backing;
	bool backing_given, hugepages, shared; /* as they were written; `backing` is what they come to */
	bool huge_given;
	enum pagetable_size huge; /* of OPTIONS_HUGETLB: PAGETABLE_2M or PAGETABLE_1G */
	struct options_text file; /* of OPTIONS_DEVDAX; of any other, empty */
	bool prefault, reserve;
	bool weighted;		     /* by the kernel's weights of them; host has several then */
	struct options_numbers host; /* which nodes it may lie on; empty: any */
};

struct options_node { /* --numa, as it was written; judged into zone_node, cpu_node and distance below */
	bool has_id;
	unsigned id;
	struct options_numbers cpus;
	unsigned zones;
	struct options_text zone[OPTIONS_ZONES_MAX];
	uint8_t distance[TOPOLOGY_NODES_MAX]; /* to each; 0: not given */
};

struct options_numa {
	unsigned zones; /* 0: the RAM is one zone, which --memory describes and --numa calls mem0 */
	struct options_zone zone[OPTIONS_ZONES_MAX];
	unsigned nodes;				      /* of the guest; 0: none is asked for */
	struct options_node node[TOPOLOGY_NODES_MAX]; /* node[i].id == i once options_parse() came back */
	/* Of `nodes`, final once options_parse() came back; what no --numa names is node 0's. */
	uint8_t zone_node[OPTIONS_ZONES_MAX]; /* [0] is mem0's if there are no zones */
	uint8_t cpu_node[OPTIONS_CPUS_MAX];
	uint8_t distance[TOPOLOGY_NODES_MAX][TOPOLOGY_NODES_MAX]; /* [from][to]: 10 to itself, 11 to 255 to others */
	bool policy_given; /* else PLACEMENT_LOCAL; PLACEMENT_CONTRACT iff latency_ps */
	enum placement_policy policy;
	uint32_t latency_ps;	     /* 0: not given */
	const char *latencies;	     /* a file; NULL: those of the firmware */
	struct options_numbers host; /* which nodes may be used; empty: any. A zone's own go before */
	bool strict;
};

struct options_zone_range { /* where a part of a zone lies */
	uint64_t gpa, bytes;
	unsigned zone;
};

struct run_options {
	const char *image, *cmdline, *name, *report, *dump_table;
	unsigned modules; /* --initramfs, as often as given */
	const char *module[OPTIONS_MODULES_MAX];
	unsigned cpus;
	struct {
		uint64_t bytes;	 /* of all zones, if there are any */
		bool sized;	 /* by size= */
		bool huge_given; /* by hugepage_size= */
		bool hugepages, thp, prefault, shared, mlock, dontdump;
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
	struct options_numa numa;
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

/* argv: what follows `run`. *out is all zero before: most of it stays so, and need not be touched. EXIT_USAGE with one
 * sentence that names the option, the value and the limit. With --help the rest is not judged. */
int options_parse(int argc, char **argv, struct run_options *out, struct failure *f);

/* How many virtio devices that makes: ABI_VIRTIO_MAX at most. */
unsigned options_devices(const struct run_options *o);

bool options_has_number(const struct options_numbers *set, unsigned number);
bool options_any_number(const struct options_numbers *set);
const char *options_backing_name(enum options_backing backing); /* "anon" */
const char *options_policy_name(enum placement_policy policy);	/* "local" */

/* What --numa asks the guest to be shown; out->nodes is 0 iff it asks for nothing.
 * range: the guest's RAM by zone, ascending and disjoint, TOPOLOGY_RANGES_MAX at
 * most. Ranges of one node that touch become one. Latencies are not known here. */
void options_topology(const struct run_options *o, const struct options_zone_range *range, uint32_t ranges,
		      struct topology *out);

#endif
