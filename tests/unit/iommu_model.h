/* tests/unit/iommu_model.h: what VIRTIO 1.2, 5.13.6 says that an IOMMU does, as naively as
 * it can be said: lists of mappings, searched from end to end. Shared by the unit
 * tests and the fuzz target. Out of memory is not in it: a request that was refused for
 * want of a page is not told to the model. */
#ifndef SLAT_TESTS_UNIT_IOMMU_MODEL_H
#define SLAT_TESTS_UNIT_IOMMU_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "devices/dma.h"
#include "devices/iommu.h"

#define MODEL_DOMAINS  8u
#define MODEL_MAPPINGS 512u

struct model_mapping {
	uint64_t first, last, phys;
	unsigned rights;
};

struct model_domain {
	uint32_t id;
	bool live, bypass;
	unsigned count;
	struct model_mapping mapping[MODEL_MAPPINGS];
};

struct model {
	const struct iommu_config *config;
	bool bypass;
	struct model_domain domain[MODEL_DOMAINS];
	unsigned endpoints; /* ids 0 to this, less 1, times 3 */
	struct model_domain *at[IOMMU_ENDPOINTS_MAX];
};

static inline uint32_t model_endpoint_id(unsigned n)
{
	return n * 3;
}

static inline bool model_endpoint(const struct model *m, uint32_t id, unsigned *n)
{
	*n = id / 3;
	return id % 3 == 0 && *n < m->endpoints;
}

static inline struct model_domain *model_domain(struct model *m, uint32_t id)
{
	for (unsigned i = 0; i < MODEL_DOMAINS; i++)
		if (m->domain[i].live && m->domain[i].id == id)
			return &m->domain[i];
	return NULL;
}

static inline uint64_t model_mappings(const struct model *m)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MODEL_DOMAINS; i++)
		n += m->domain[i].live ? m->domain[i].count : 0;
	return n;
}

static inline void model_move(struct model *m, unsigned n, struct model_domain *to)
{
	struct model_domain *from = m->at[n];

	m->at[n] = to;
	for (unsigned i = 0; from && i < m->endpoints; i++)
		if (m->at[i] == from)
			return;
	if (from)
		from->live = false;
}

static inline uint8_t model_attach(struct model *m, uint32_t id, uint32_t endpoint, bool bypass)
{
	struct model_domain *d = model_domain(m, id);
	unsigned n;

	if (!model_endpoint(m, endpoint, &n))
		return VIRTIO_IOMMU_S_NOENT;
	if (id > m->config->domain_last)
		return VIRTIO_IOMMU_S_RANGE;
	if (d && d->bypass != bypass)
		return VIRTIO_IOMMU_S_INVAL;
	if (d == NULL) {
		for (d = m->domain; d->live; d++)
			;
		d->id = id;
		d->live = true;
		d->bypass = bypass;
		d->count = 0;
	}
	if (m->at[n] != d)
		model_move(m, n, d);
	return VIRTIO_IOMMU_S_OK;
}

static inline uint8_t model_detach(struct model *m, uint32_t id, uint32_t endpoint)
{
	unsigned n;

	if (!model_endpoint(m, endpoint, &n))
		return VIRTIO_IOMMU_S_NOENT;
	if (!m->at[n] || m->at[n]->id != id)
		return VIRTIO_IOMMU_S_INVAL;
	model_move(m, n, NULL);
	return VIRTIO_IOMMU_S_OK;
}

static inline bool model_meet(uint64_t first, uint64_t last, uint64_t other_first, uint64_t other_last)
{
	return first <= other_last && other_first <= last;
}

static inline uint8_t model_map(struct model *m, uint32_t id, const struct virtio_iommu_map *r)
{
	const struct iommu_config *c = m->config;
	struct model_domain *d = model_domain(m, id);
	uint64_t bytes = r->last - r->first + 1, phys_limit = UINT64_C(1) << c->phys_bits;

	if (!d)
		return VIRTIO_IOMMU_S_NOENT;
	if (d->bypass || r->flags > 7 || r->last < r->first)
		return VIRTIO_IOMMU_S_INVAL;
	if (r->first % 4096 || r->phys % 4096 || r->last % 4096 != 4095)
		return VIRTIO_IOMMU_S_RANGE;
	if (r->first < c->input.first || r->last > c->input.last)
		return VIRTIO_IOMMU_S_RANGE;
	if (r->phys >= phys_limit || bytes > phys_limit - r->phys)
		return VIRTIO_IOMMU_S_RANGE;
	if ((r->flags & 3) == 0)
		return VIRTIO_IOMMU_S_INVAL;
	for (unsigned i = 0; i < c->reserved_count; i++)
		if (model_meet(r->first, r->last, c->reserved[i].range.first, c->reserved[i].range.last))
			return VIRTIO_IOMMU_S_INVAL;
	if (model_mappings(m) >= c->mappings_max || d->count == MODEL_MAPPINGS)
		return VIRTIO_IOMMU_S_NOMEM;
	for (unsigned i = 0; i < d->count; i++)
		if (model_meet(r->first, r->last, d->mapping[i].first, d->mapping[i].last))
			return VIRTIO_IOMMU_S_INVAL;
	d->mapping[d->count++] = (struct model_mapping){r->first, r->last, r->phys, r->flags & 3};
	return VIRTIO_IOMMU_S_OK;
}

static inline uint8_t model_unmap(struct model *m, uint32_t id, uint64_t first, uint64_t last)
{
	struct model_domain *d = model_domain(m, id);

	if (!d)
		return VIRTIO_IOMMU_S_NOENT;
	if (d->bypass || last < first)
		return VIRTIO_IOMMU_S_INVAL;
	for (unsigned i = 0; i < d->count; i++)
		if (model_meet(first, last, d->mapping[i].first, d->mapping[i].last) &&
		    (d->mapping[i].first < first || d->mapping[i].last > last))
			return VIRTIO_IOMMU_S_RANGE;
	for (unsigned i = 0; i < d->count;) {
		if (model_meet(first, last, d->mapping[i].first, d->mapping[i].last))
			d->mapping[i] = d->mapping[--d->count];
		else
			i++;
	}
	return VIRTIO_IOMMU_S_OK;
}

/* The mapping that the access goes by (everything, in bypass), or the fault. */
static inline bool model_translate(const struct model *m, unsigned n, uint64_t iova, unsigned access,
				   struct model_mapping *out, uint8_t *reason)
{
	const struct model_domain *d = m->at[n];

	*reason = d ? VIRTIO_IOMMU_FAULT_MAPPING : VIRTIO_IOMMU_FAULT_DOMAIN;
	*out = (struct model_mapping){0, UINT64_MAX, 0, DMA_READ | DMA_WRITE};
	if (d ? d->bypass : m->bypass)
		return true;
	for (unsigned i = 0; d && i < d->count; i++)
		if (iova >= d->mapping[i].first && iova <= d->mapping[i].last) {
			*out = d->mapping[i];
			return (access & ~out->rights) == 0;
		}
	return false;
}

/* So many pages from an iova on, as far as there are any. */
static inline struct iommu_range model_range(uint64_t iova, uint64_t pages)
{
	const uint64_t left = (UINT64_MAX - iova) / FRAME_BYTES;

	return (struct iommu_range){iova, iova + (pages < left ? pages : left) * FRAME_BYTES};
}

/* Whether the IOMMU answers as the model does, and for all of the run, which may go beyond a mapping's end. */
static inline bool model_agrees(const struct model *m, struct iommu *u, unsigned n, unsigned reader,
				struct iommu_range iova, unsigned access)
{
	struct iommu_run run = {0};
	struct iommu_fault fault = {.reason = 77};
	struct model_mapping want;
	uint8_t reason;
	bool yes = model_translate(m, n, iova.first, access, &want, &reason);

	if (iommu_translate(&u->endpoint[n], reader, iova, access, &run, &fault) != yes)
		return false;
	if (!yes)
		return fault.reason == reason && fault.endpoint == model_endpoint_id(n) &&
		       fault.address == iova.first && fault.flags == (access | VIRTIO_IOMMU_FAULT_ADDRESS);
	if (run.first > iova.first || run.first < want.first || run.last < iova.first)
		return false;
	for (uint64_t at = run.first;; at = want.last + 1) {
		if (!model_translate(m, n, at, access, &want, &reason) ||
		    run.gpa + (at - run.first) != want.phys + (at - want.first))
			return false;
		if (want.last >= run.last)
			break;
	}
	/* It ends before what was asked for only where it must. */
	return run.last >= iova.last || !model_translate(m, n, run.last + 1, access, &want, &reason) ||
	       want.phys + (run.last + 1 - want.first) != run.gpa + (run.last + 1 - run.first);
}

#endif
