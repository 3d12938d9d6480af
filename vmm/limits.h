/* vmm/limits.h: what the process may use of the host: the CPUs and nodes of its cpuset
 * and affinity, the memory and huge pages of its control groups (v1 and v2), what it may lock.
 * They are read to be kept to, never changed. Theory: top of limits.c.
 * Threads: one. Cost: some 20 small files; read when a contract is made, not each second. */
#ifndef SLAT_VMM_LIMITS_H
#define SLAT_VMM_LIMITS_H

#include "vmm/failure.h"
#include "vmm/ids.h"
#include "vmm/numa_map.h"

#define LIMITS_NONE	   UINT64_MAX
#define LIMITS_GROUP_BYTES 192u

/* Of the group, own or above, that leaves the least room of huge pages of a size; LIMITS_NONE: no group limits them. */
struct limits_huge {
	uint64_t max_bytes, room_bytes;
	char group[LIMITS_GROUP_BYTES]; /* as struct limits' */
};

struct limits {
	struct ids cpus, nodes; /* allowed; those that the host has not may be in them, too */
	/* Of the group, own or above, that leaves the least room; LIMITS_NONE: no group limits memory. */
	uint64_t group_max_bytes,
		group_room_bytes;	/* room: without what the kernel could take back, its cache of files */
	char group[LIMITS_GROUP_BYTES]; /* that group's directory, for sentences; shortened in front */
	struct limits_huge huge[NUMA_HUGE_SIZES];
	uint64_t lock_max_bytes, locked_bytes; /* LIMITS_NONE: CAP_IPC_LOCK, or no limit */
};

/* Below root, "" for this host. What cannot be read limits nothing. EXIT_HOST iff the kernel's lists of allowed CPUs or
 * nodes are not lists; then *l is not to be used. */
int limits_read(const char *root, struct limits *l, struct failure *f);

/* EXIT_HOST with one sentence iff bytes of memory that is touched are more than a group has room for. what: the option
 * that asked, for the sentence. */
int limits_check_memory(const struct limits *l, const char *what, uint64_t bytes, struct failure *f);

/* EXIT_HOST with one sentence iff so much in huge pages of that size is more than a group has room for: the process is
 * ended where it touches the first that is too many. */
int limits_check_huge(const struct limits *l, const char *what, enum numa_huge_size size, uint64_t bytes,
		      struct failure *f);

/* How many huge pages of a size the process can have that asks for no node: of those that the host has free and has not
 * promised, as many as are on nodes of the cpuset, and the groups have room for. The kernel counts alike. */
uint64_t limits_huge_pages(const struct limits *l, const struct numa_map *m, enum numa_huge_size size);

/* EXIT_HOST with one sentence iff the host has so many free and not promised, but fewer in the cpuset. */
int limits_check_huge_nodes(const struct limits *l, const struct numa_map *m, const char *what,
			    enum numa_huge_size size, uint64_t pages, struct failure *f);

/* EXIT_HOST with one sentence iff the process may not lock so many bytes more. */
int limits_check_lock(const struct limits *l, const char *what, uint64_t bytes, struct failure *f);

/* EXIT_HOST with one sentence iff the process may not have so many addresses besides those it has (RLIMIT_AS): for who
 * was refused a mapping of bytes, and more around it. */
int limits_check_addresses(const char *what, uint64_t bytes, uint64_t more, struct failure *f);

/* EXIT_HOST with one sentence iff one of these is outside the cpuset. */
int limits_check_nodes(const struct limits *l, const char *what, const struct ids *nodes, struct failure *f);

#endif
