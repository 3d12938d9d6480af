#include <string.h>

#include "devices/dma.h"
#include "devices/iommu.h"
#include "mm/port.h"

_Static_assert((unsigned)PAGETABLE_READ == DMA_READ && (unsigned)PAGETABLE_WRITE == DMA_WRITE, "rights are accesses");
_Static_assert(VIRTIO_IOMMU_FAULT_READ == DMA_READ && VIRTIO_IOMMU_FAULT_WRITE == DMA_WRITE, "accesses are flags");
_Static_assert(VIRTIO_IOMMU_MAP_READ == PAGETABLE_READ && VIRTIO_IOMMU_MAP_WRITE == PAGETABLE_WRITE,
	       "flags are rights");

void iommu_init(struct iommu *u, const struct iommu_config *config)
{
	memset(u, 0, sizeof(*u));
	u->config = *config;
	u->bypass = config->bypass;
}

struct iommu_endpoint *iommu_add_endpoint(struct iommu *u, uint32_t id)
{
	struct iommu_endpoint *e = &u->endpoint[u->endpoints];

	MM_ASSERT(u->endpoints < IOMMU_ENDPOINTS_MAX, u->endpoints, id);
	*e = (struct iommu_endpoint){.iommu = u, .id = id};
	u->endpoints++;
	return e;
}

void iommu_add_flight(struct iommu_endpoint *e, const struct flight *f)
{
	MM_ASSERT(e->flights < IOMMU_FLIGHTS_MAX, e->flights, e->id);
	e->flight[e->flights++] = f;
}

bool iommu_bypass(const struct iommu *u)
{
	return __atomic_load_n(&u->bypass, __ATOMIC_SEQ_CST);
}

/* ---- translation: any thread ---- */

static bool translate_fails(const struct iommu_endpoint *e, uint64_t iova, unsigned access, uint8_t reason,
			    struct iommu_fault *fault)
{
	*fault = (struct iommu_fault){
		.reason = reason,
		.flags = access | VIRTIO_IOMMU_FAULT_ADDRESS,
		.endpoint = e->id,
		.address = iova,
	};
	return false;
}

bool iommu_translate(struct iommu_endpoint *e, unsigned reader, uint64_t iova, unsigned access, struct iommu_run *out,
		     struct iommu_fault *fault)
{
	struct iommu_domain *domain = __atomic_load_n(&e->domain, __ATOMIC_SEQ_CST);
	struct pagetable_leaf leaf;
	bool found;

	if (!domain && !iommu_bypass(e->iommu))
		return translate_fails(e, iova, access, VIRTIO_IOMMU_FAULT_DOMAIN, fault);
	if (!domain || domain->bypass) {
		*out = (struct iommu_run){.last = UINT64_MAX, .access = DMA_READ | DMA_WRITE};
		return true;
	}
	pagetable_enter(&domain->table, &domain->reader[reader]);
	found = pagetable_walk(&domain->table, iova, &leaf);
	pagetable_leave(&domain->reader[reader]);
	if (!found || (access & ~leaf.attr.rights))
		return translate_fails(e, iova, access, VIRTIO_IOMMU_FAULT_MAPPING, fault);
	*out = (struct iommu_run){leaf.in, leaf.in + (pagetable_size_bytes(leaf.size) - 1), leaf.out, leaf.attr.rights};
	return true;
}

/* ---- faults: any thread ---- */

void iommu_report(struct iommu *u, const struct iommu_fault *fault)
{
	bool kept;

	(void)lock_take(&u->fault_lock);
	u->faults++;
	kept = u->fault_count < IOMMU_FAULTS_MAX;
	if (kept)
		u->fault[(u->fault_head + u->fault_count++) % IOMMU_FAULTS_MAX] = *fault;
	else
		u->faults_lost++;
	lock_drop(&u->fault_lock);
	if (kept && u->config.event)
		u->config.event(u->config.self);
}

bool iommu_next_fault(struct iommu *u, struct iommu_fault *out)
{
	bool found;

	(void)lock_take(&u->fault_lock);
	found = u->fault_count > 0;
	if (found) {
		*out = u->fault[u->fault_head];
		u->fault_head = (u->fault_head + 1) % IOMMU_FAULTS_MAX;
		u->fault_count--;
	}
	lock_drop(&u->fault_lock);
	return found;
}
