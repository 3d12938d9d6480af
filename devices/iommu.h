/* devices/iommu.h: domains and endpoints of an IOMMU: which iova is which gpa, for
 * whom. Theory: top of iommu.c. The requests that a driver sends are
 * devices/virtio_iommu.h's.
 *
 * A domain is a mm/pagetable in the IOMMU's format; where a mapping begins is a
 * bit in its first leaf, so that unmap can keep mappings whole (VIRTIO 1.2, 5.13.6.6).
 * Ranges here are closed, [first, last], as in the specification: a domain may
 * reach to the last byte of 2^64.
 *
 * Memory:  everything is lent; table pages of all domains come from one arena, whose
 *          size is the cap on what a hostile guest can make the host spend.
 * Threads: one at a time (its device's lock) for all but iommu_translate(),
 *          iommu_report() and iommu_next_fault(), which any may call beside it. Who
 *          calls iommu_unmap(), iommu_detach() or iommu_attach() holds no DMA mapping and
 *          no lock that a device needs to end one.
 * Errors:  enum-like status bytes of the specification (VIRTIO_IOMMU_S_*); on any but
 *          OK nothing has changed. */
#ifndef SLAT_DEVICES_IOMMU_H
#define SLAT_DEVICES_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/flight.h"
#include "devices/virtio_iommu_regs.h"
#include "mm/lock.h"
#include "mm/pagetable.h"

#define IOMMU_DOMAINS_MAX   64u
#define IOMMU_ENDPOINTS_MAX 32u
#define IOMMU_READERS_MAX   64u
#define IOMMU_FLIGHTS_MAX   17u /* queues of one endpoint */
#define IOMMU_FAULTS_MAX    64u
#define IOMMU_RESERVED_MAX  4u

struct iommu;

struct iommu_range {
	uint64_t first, last; /* closed */
};

struct iommu_reserved { /* is never mapped */
	struct iommu_range range;
	uint8_t subtype; /* VIRTIO_IOMMU_RESV_*: MSI, where messages go that no domain translates, once at most */
};

struct iommu_domain {
	uint32_t id;
	bool live, bypass;
	unsigned endpoints;
	uint64_t mappings;
	struct pagetable table;
	struct pagetable_reader reader[IOMMU_READERS_MAX];
};

struct iommu_endpoint { /* one device */
	struct iommu *iommu;
	uint32_t id;
	struct iommu_domain *domain; /* atomic; NULL: none */
	uint64_t generation;	     /* atomic: grows when what it translated may be gone */
	unsigned flights;
	const struct flight *flight[IOMMU_FLIGHTS_MAX];
};

struct iommu_config {
	struct iommu_range input; /* iovas that can be mapped; first a multiple of 4K, last + 1 too, below 2^48 */
	unsigned phys_bits;	  /* of a gpa */
	uint32_t domain_last;	  /* ids 0 to this one */
	uint64_t mappings_max;	  /* in all domains */
	unsigned reserved_count;
	struct iommu_reserved reserved[IOMMU_RESERVED_MAX];
	bool bypass; /* at reset: an endpoint without a domain has iova = gpa */
	void *arena; /* table pages of all domains, as in struct pagetable_config */
	struct pfn arena_first;
	uint64_t arena_frames;
	struct pagetable_pages pages;
	void (*wait)(void *self);  /* a little, while DMA is under way */
	void (*event)(void *self); /* iommu_next_fault() has something; any thread */
	void *self;
};

struct iommu_fault {
	uint8_t reason; /* VIRTIO_IOMMU_FAULT_* */
	uint32_t flags; /* VIRTIO_IOMMU_FAULT_READ | ... */
	uint32_t endpoint;
	uint64_t address;
};

struct iommu_stats {
	uint64_t domains, mappings, mappings_max_seen;
	uint64_t table_bytes, table_bytes_max;
	uint64_t faults, faults_lost; /* lost: nobody fetched them in time */
};

struct iommu { /* private but for its endpoints' addresses */
	struct iommu_config config;
	bool bypass; /* atomic */
	struct iommu_domain domain[IOMMU_DOMAINS_MAX];
	unsigned endpoints;
	struct iommu_endpoint endpoint[IOMMU_ENDPOINTS_MAX];
	unsigned domains; /* live ones */
	uint64_t mappings, mappings_max_seen;
	uint64_t tables, tables_max; /* pages of the arena that are out */
	struct lock fault_lock;	     /* the next three */
	struct iommu_fault fault[IOMMU_FAULTS_MAX];
	unsigned fault_head, fault_count;
	uint64_t faults, faults_lost; /* atomic */
};

void iommu_init(struct iommu *u, const struct iommu_config *config);
void iommu_fini(struct iommu *u); /* no device uses it any more */

/* A device behind it. Before the first DMA. */
struct iommu_endpoint *iommu_add_endpoint(struct iommu *u, uint32_t id);
bool iommu_knows(const struct iommu *u, uint32_t endpoint);
void iommu_add_flight(struct iommu_endpoint *e, const struct flight *f);

/* As at power on: no domain, no mapping, no fault, bypass as configured. Waits as iommu_detach(). */
void iommu_reset(struct iommu *u);
void iommu_detach_all(struct iommu *u); /* the same, but bypass stays as it is: the reset of the device (5.13.4.2) */
bool iommu_bypass(const struct iommu *u);
void iommu_set_bypass(struct iommu *u, bool on); /* for endpoints without a domain; waits as iommu_detach() */

/* Creates the domain if there is none; takes the endpoint from the one it has. bypass: VIRTIO_IOMMU_ATTACH_BYPASS.
 * NOENT: no such endpoint. RANGE: id of the domain. INVAL: a live domain that is not bypass when it should be, or
 * is. NOMEM. */
uint8_t iommu_attach(struct iommu *u, uint32_t domain, uint32_t endpoint, bool bypass);
/* A domain without an endpoint is no more, nor are its mappings. INVAL: not attached to this domain. */
uint8_t iommu_detach(struct iommu *u, uint32_t domain, uint32_t endpoint);
/* NOENT: domain. INVAL: a bypass domain, unknown flags, no right, last below first, overlaps a mapping or a reserved
 * range. RANGE: misaligned, outside input or phys_bits. NOMEM: pages, or mappings_max. */
uint8_t iommu_map(struct iommu *u, uint32_t domain, const struct virtio_iommu_map *m);
/* Every mapping within; holes are fine, whatever their alignment. NOENT: domain. INVAL: a bypass domain, last below
 * first. RANGE: it would cut a mapping. No device reads or writes through what is gone once
 * this came back. */
uint8_t iommu_unmap(struct iommu *u, uint32_t domain, uint64_t first, uint64_t last);

struct iommu_run {
	uint64_t first, last; /* iova, closed, around the one that was asked */
	uint64_t gpa;	      /* of first */
};
/* What leads from iova on to one range of gpa with this right: of everything in bypass, else by leaves, the last of
 * them that of `last` at most. False: *fault is filled in, not reported. O(levels) a leaf; between
 * flight_begin() and flight_end() of a flight of this endpoint that holds iova and last. */
bool iommu_translate(struct iommu_endpoint *e, unsigned reader, struct iommu_range iova, unsigned access,
		     struct iommu_run *out, struct iommu_fault *fault);

void iommu_report(struct iommu *u,
		  const struct iommu_fault *fault); /* oldest first out; a full list loses the newest */
bool iommu_next_fault(struct iommu *u, struct iommu_fault *out);

struct iommu_stats iommu_stats_read(const struct iommu *u);
bool iommu_check(const struct iommu *u); /* all invariants of iommu.c; O(mappings) */

#endif
