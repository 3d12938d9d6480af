/* devices/iommu.c: domains and endpoints of an IOMMU.
 *
 * What it is. A number of domains, each a mm/pagetable from iova to gpa or the
 * identity (bypass), and endpoints, the devices, each attached to one of them or
 * to none. Requests change them, one at a time; devices translate beside that, without
 * a lock. It does not know how requests come (devices/virtio_iommu.c), nor
 * what a gpa leads to (devices/dma.c).
 *
 * Words. A mapping is what one iommu_map() mapped: it goes as a whole. Where it
 * begins is a seam in its first leaf (mm/pagetable.h), and it ends at the next
 * seam or hole, so that nothing but the table knows mappings. A use is
 * devices/flight.h's: the time in which a device goes by what it translated. To
 * revoke is to make sure that nobody goes by what is gone.
 *
 * Invariants, all of them verified by iommu_check():
 *   I1  an endpoint's domain is none or a live one; a live domain has as many
 *       endpoints as it says, one at least, and an id of its own, domain_last at most;
 *   I2  a bypass domain has no table; the table of another is sound, and its
 *       seams are the domain's mappings;
 *   I3  the mappings of all domains are `mappings`, never above mappings_max;
 *   I4  each run of a table lies in the input range, outside of all that is
 *       reserved, and inside of phys_bits;
 *   I5  `tables` pages of the arena are out: those of all tables, retired ones included;
 *   I6  the list of faults has at most IOMMU_FAULTS_MAX, and a head inside;
 *   I7  endpoints have ids of their own.
 *
 * Revoking. Table, domain pointer or bypass is changed first; then the
 * generation of each endpoint that it is about grows, by a sequentially consistent addition;
 * then the flights of these endpoints are waited for, as far as they overlap. A
 * device begins a use, then loads the generation, and translates then
 * (devices/dma.c). So a use that is not waited for has begun after the
 * generation grew, by the one order of all these, and finds the change. Only
 * then are retired table pages given back, or a domain torn down. A
 * translation runs inside of a use of its iova, but its walk may come by tables
 * that a change of its neighbours retires: for these each domain has the
 * readers of mm/pagetable.h, one for each thread that translates. To map
 * revokes nothing: no leaf changes, and absence is never remembered.
 *
 * Threads. Requests hold the device's lock; iommu_translate() reads domain, bypass
 * and table, all of them atomically; the list of faults has a spin lock of its own.
 * A request may wait as long as a device holds a mapping: for its disk.
 * Whoever ends that must not need the lock that the request holds.
 *
 * Cost. Translate: a walk of at most 4 loads a leaf, and an exchange to enter. Map and
 * unmap: the entries touched, one look at the live domains and, unmap, at
 * the flights of the domain's endpoints; independent of the number of mappings. A map of
 * 2^48 bytes that needs more pages than there are is refused by arithmetic. A
 * domain's end: its table pages.
 *
 * Memory. Nothing but table pages grows: a page for each domain, and at worst 3 for a
 * mapping. mappings_max and the arena cap what a guest can make of it.
 *
 * Failure. Every request is judged before the first change; what cannot be judged by
 * looking is left to pagetable_map(), which changes nothing when it refuses. That
 * domains run out is our bug: there are fewer endpoints than domains.
 *
 * Rejected. A tree of mappings beside the table: as much memory again, and a second
 * truth. A count of mappings per leaf: a mapping of 2^48 bytes may
 * have many. Invalidation by range in each device's IOTLB: see dma.c. Waiting
 * for the flights without the lock: a second request could map what the first
 * one is still taking away. */
#include <string.h>

#include "devices/dma.h"
#include "devices/iommu.h"
#include "mm/port.h"

#define PAGE_MASK (FRAME_BYTES - 1)
#define MAP_KNOWN (VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE | VIRTIO_IOMMU_MAP_MMIO)
#define INPUT_END (UINT64_C(1) << PAGETABLE_INPUT_BITS)

_Static_assert((unsigned)PAGETABLE_READ == DMA_READ && (unsigned)PAGETABLE_WRITE == DMA_WRITE, "rights are accesses");
_Static_assert(VIRTIO_IOMMU_FAULT_READ == DMA_READ && VIRTIO_IOMMU_FAULT_WRITE == DMA_WRITE, "accesses are flags");
_Static_assert(VIRTIO_IOMMU_MAP_READ == PAGETABLE_READ && VIRTIO_IOMMU_MAP_WRITE == PAGETABLE_WRITE,
	       "flags are rights");
_Static_assert(IOMMU_DOMAINS_MAX > IOMMU_ENDPOINTS_MAX, "one more while an endpoint moves");

static const struct iommu_range everything = {0, UINT64_MAX};

/* ---- table pages: counted ---- */

static enum mm_err page_get(void *self, struct pfn *out)
{
	struct iommu *u = self;
	enum mm_err err = u->config.pages.get(u->config.pages.self, out);

	if (err == MM_OK && ++u->tables > u->tables_max)
		u->tables_max = u->tables;
	return err;
}

static void page_put(void *self, struct pfn page)
{
	struct iommu *u = self;

	u->tables--;
	u->config.pages.put(u->config.pages.self, page);
}

/* ---- life ---- */

static bool overlaps(struct iommu_range r, uint64_t first, uint64_t last)
{
	return r.first <= last && r.last >= first;
}

static bool config_ok(const struct iommu_config *c)
{
	if ((c->input.first & PAGE_MASK) || ((c->input.last + 1) & PAGE_MASK) || c->input.last >= INPUT_END)
		return false;
	if (c->input.first > c->input.last || c->phys_bits < 32 || c->phys_bits > 52)
		return false;
	return c->reserved_count <= IOMMU_RESERVED_MAX && c->wait && c->pages.get && c->pages.put;
}

void iommu_init(struct iommu *u, const struct iommu_config *config)
{
	MM_ASSERT(config_ok(config), config->input.first, config->input.last);
	memset(u, 0, sizeof(*u));
	u->config = *config;
	u->bypass = config->bypass;
}

/* u->endpoints: there is none. */
static unsigned endpoint_index(const struct iommu *u, uint32_t id)
{
	unsigned i = 0;

	while (i < u->endpoints && u->endpoint[i].id != id)
		i++;
	return i;
}

static struct iommu_endpoint *endpoint_find(struct iommu *u, uint32_t id)
{
	const unsigned i = endpoint_index(u, id);

	return i < u->endpoints ? &u->endpoint[i] : NULL;
}

bool iommu_knows(const struct iommu *u, uint32_t endpoint)
{
	return endpoint_index(u, endpoint) < u->endpoints;
}

struct iommu_endpoint *iommu_add_endpoint(struct iommu *u, uint32_t id)
{
	struct iommu_endpoint *e = &u->endpoint[u->endpoints];

	MM_ASSERT(u->endpoints < IOMMU_ENDPOINTS_MAX && !iommu_knows(u, id), u->endpoints, id);
	*e = (struct iommu_endpoint){.iommu = u, .id = id};
	u->endpoints++;
	return e;
}

void iommu_add_flight(struct iommu_endpoint *e, const struct flight *f)
{
	MM_ASSERT(e->flights < IOMMU_FLIGHTS_MAX, e->flights, e->id);
	e->flight[e->flights++] = f;
}

/* ---- revoking: what is gone is changed already ---- */

static struct iommu_domain *domain_of(const struct iommu_endpoint *e)
{
	return __atomic_load_n(&e->domain, __ATOMIC_SEQ_CST);
}

static void endpoint_outdate(struct iommu_endpoint *e)
{
	(void)__atomic_fetch_add(&e->generation, 1, __ATOMIC_SEQ_CST);
}

static void endpoint_drain(const struct iommu_endpoint *e, struct iommu_range r)
{
	for (unsigned i = 0; i < e->flights; i++)
		flight_drain(e->flight[i], r.first, r.last, e->iommu->config.wait, e->iommu->config.self);
}

/* All endpoints that are attached to this domain, or to none. */
static void revoke(struct iommu *u, const struct iommu_domain *domain, struct iommu_range r)
{
	for (unsigned i = 0; i < u->endpoints; i++)
		if (domain_of(&u->endpoint[i]) == domain)
			endpoint_outdate(&u->endpoint[i]);
	for (unsigned i = 0; i < u->endpoints; i++)
		if (domain_of(&u->endpoint[i]) == domain)
			endpoint_drain(&u->endpoint[i], r);
}

bool iommu_bypass(const struct iommu *u)
{
	return __atomic_load_n(&u->bypass, __ATOMIC_SEQ_CST);
}

void iommu_set_bypass(struct iommu *u, bool on)
{
	if (iommu_bypass(u) == on)
		return;
	__atomic_store_n(&u->bypass, on, __ATOMIC_SEQ_CST);
	if (!on)
		revoke(u, NULL, everything);
}

/* ---- domains ---- */

static struct iommu_domain *domain_find(struct iommu *u, uint32_t id)
{
	struct iommu_domain *d = u->domain;

	for (unsigned live = 0; live < u->domains; d++) {
		if (d->live && d->id == id)
			return d;
		live += d->live;
	}
	return NULL;
}

/* NULL: no page. */
static struct iommu_domain *domain_make(struct iommu *u, uint32_t id, bool bypass)
{
	struct iommu_domain *d = u->domain;
	struct pagetable_config config = {
		.format = PAGETABLE_DOMAIN,
		.phys_bits = u->config.phys_bits,
		.leaf_max = PAGETABLE_1G,
		.seams = true,
		.arena = u->config.arena,
		.arena_first = u->config.arena_first,
		.arena_frames = u->config.arena_frames,
		.pages = {u, page_get, page_put},
		.readers_count = IOMMU_READERS_MAX,
	};

	while (d->live)
		d++;
	MM_ASSERT(d < u->domain + IOMMU_DOMAINS_MAX, u->domains, id);
	memset(d->reader, 0, sizeof(d->reader));
	config.readers = d->reader;
	if (!bypass && pagetable_init(&d->table, &config) != MM_OK)
		return NULL;
	d->id = id;
	d->bypass = bypass;
	d->mappings = 0;
	d->endpoints = 0;
	d->live = true;
	u->domains++;
	return d;
}

/* Nobody translates by it any more. */
static void domain_leave(struct iommu *u, struct iommu_domain *d)
{
	if (--d->endpoints > 0)
		return;
	if (!d->bypass)
		pagetable_fini(&d->table);
	u->mappings -= d->mappings;
	d->live = false;
	u->domains--;
}

/* to: NULL for none. */
static void endpoint_move(struct iommu *u, struct iommu_endpoint *e, struct iommu_domain *to)
{
	struct iommu_domain *from = domain_of(e);

	if (to)
		to->endpoints++;
	__atomic_store_n(&e->domain, to, __ATOMIC_SEQ_CST);
	endpoint_outdate(e);
	endpoint_drain(e, everything);
	if (from)
		domain_leave(u, from);
}

uint8_t iommu_attach(struct iommu *u, uint32_t domain, uint32_t endpoint, bool bypass)
{
	struct iommu_endpoint *e = endpoint_find(u, endpoint);
	struct iommu_domain *d;

	if (!e)
		return VIRTIO_IOMMU_S_NOENT;
	if (domain > u->config.domain_last)
		return VIRTIO_IOMMU_S_RANGE;
	d = domain_find(u, domain);
	if (d && d->bypass != bypass)
		return VIRTIO_IOMMU_S_INVAL;
	if (d && domain_of(e) == d)
		return VIRTIO_IOMMU_S_OK;
	if (!d)
		d = domain_make(u, domain, bypass);
	if (!d)
		return VIRTIO_IOMMU_S_NOMEM;
	endpoint_move(u, e, d);
	return VIRTIO_IOMMU_S_OK;
}

uint8_t iommu_detach(struct iommu *u, uint32_t domain, uint32_t endpoint)
{
	struct iommu_endpoint *e = endpoint_find(u, endpoint);

	if (!e)
		return VIRTIO_IOMMU_S_NOENT;
	if (!domain_of(e) || domain_of(e)->id != domain)
		return VIRTIO_IOMMU_S_INVAL;
	endpoint_move(u, e, NULL);
	return VIRTIO_IOMMU_S_OK;
}

void iommu_detach_all(struct iommu *u)
{
	struct iommu_fault fault;

	for (unsigned i = 0; i < u->endpoints; i++)
		if (domain_of(&u->endpoint[i]))
			endpoint_move(u, &u->endpoint[i], NULL);
	while (iommu_next_fault(u, &fault))
		;
}

void iommu_reset(struct iommu *u)
{
	iommu_detach_all(u);
	iommu_set_bypass(u, u->config.bypass);
}

void iommu_fini(struct iommu *u)
{
	iommu_reset(u);
	MM_ASSERT(u->tables == 0, u->tables, u->mappings);
}

/* ---- map and unmap ---- */

static uint8_t map_judge(const struct iommu *u, const struct iommu_domain *d, const struct virtio_iommu_map *m)
{
	const struct iommu_config *c = &u->config;
	uint64_t phys_last = m->phys + (m->last - m->first);

	if (!d)
		return VIRTIO_IOMMU_S_NOENT;
	if (d->bypass || (m->flags & ~MAP_KNOWN) || m->last < m->first)
		return VIRTIO_IOMMU_S_INVAL;
	if ((m->first | m->phys | (m->last + 1)) & PAGE_MASK)
		return VIRTIO_IOMMU_S_RANGE;
	if (m->first < c->input.first || m->last > c->input.last || phys_last < m->phys || phys_last >> c->phys_bits)
		return VIRTIO_IOMMU_S_RANGE;
	if (!(m->flags & (VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE)))
		return VIRTIO_IOMMU_S_INVAL;
	for (unsigned i = 0; i < c->reserved_count; i++)
		if (overlaps(c->reserved[i].range, m->first, m->last))
			return VIRTIO_IOMMU_S_INVAL;
	return u->mappings < c->mappings_max ? VIRTIO_IOMMU_S_OK : VIRTIO_IOMMU_S_NOMEM;
}

uint8_t iommu_map(struct iommu *u, uint32_t domain, const struct virtio_iommu_map *m)
{
	struct iommu_domain *d = domain_find(u, domain);
	struct pagetable_attr attr = {m->flags & (PAGETABLE_READ | PAGETABLE_WRITE), PAGETABLE_WRITE_BACK};
	uint8_t status = map_judge(u, d, m);
	enum mm_err err;

	if (status != VIRTIO_IOMMU_S_OK)
		return status;
	err = pagetable_map(&d->table, m->first, m->phys, m->last - m->first + 1, attr);
	MM_ASSERT(err == MM_OK || err == MM_EEXIST || err == MM_ENOMEM, err, m->first);
	if (err != MM_OK)
		return err == MM_EEXIST ? VIRTIO_IOMMU_S_INVAL : VIRTIO_IOMMU_S_NOMEM;
	d->mappings++;
	if (++u->mappings > u->mappings_max_seen)
		u->mappings_max_seen = u->mappings;
	return VIRTIO_IOMMU_S_OK;
}

/* Whole pages of [first, end), none of which would cut a mapping. */
static void unmap_whole(struct iommu *u, struct iommu_domain *d, uint64_t first, uint64_t end)
{
	struct pagetable_flush flush;
	uint64_t gone;
	enum mm_err err = pagetable_unmap(&d->table, first, end - first, &flush);

	MM_ASSERT(err == MM_OK, first, end);
	if (flush.first == flush.end)
		return;
	gone = d->mappings - pagetable_stats_read(&d->table).seams;
	d->mappings -= gone;
	u->mappings -= gone;
	revoke(u, d, (struct iommu_range){flush.first, flush.end - 1});
	pagetable_flushed(&d->table);
}

uint8_t iommu_unmap(struct iommu *u, uint32_t domain, uint64_t first, uint64_t last)
{
	struct iommu_domain *d = domain_find(u, domain);
	uint64_t end;

	if (!d)
		return VIRTIO_IOMMU_S_NOENT;
	if (d->bypass || last < first)
		return VIRTIO_IOMMU_S_INVAL;
	end = (last < INPUT_END ? last : INPUT_END - 1) + 1;
	if (pagetable_cuts(&d->table, first) || pagetable_cuts(&d->table, end))
		return VIRTIO_IOMMU_S_RANGE;
	if (first < INPUT_END) {
		first = (first + PAGE_MASK) & ~PAGE_MASK;
		end &= ~PAGE_MASK;
		if (first < end)
			unmap_whole(u, d, first, end);
	}
	return VIRTIO_IOMMU_S_OK;
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

static uint64_t leaf_last(const struct pagetable_leaf *leaf)
{
	return leaf->in + (pagetable_size_bytes(leaf->size) - 1);
}

/* Onward from the first leaf, as far as the gpa goes on. */
static bool walk_run(const struct pagetable *table, struct iommu_range iova, unsigned access, struct iommu_run *out)
{
	struct pagetable_leaf leaf;

	if (!pagetable_walk(table, iova.first, &leaf) || (access & ~leaf.attr.rights))
		return false;
	*out = (struct iommu_run){leaf.in, leaf_last(&leaf), leaf.out};
	while (out->last < iova.last) {
		const uint64_t next = out->last + 1;

		if (!pagetable_walk(table, next, &leaf) || (access & ~leaf.attr.rights) ||
		    leaf.out + (next - leaf.in) != out->gpa + (next - out->first))
			break;
		out->last = leaf_last(&leaf);
	}
	return true;
}

bool iommu_translate(struct iommu_endpoint *e, unsigned reader, struct iommu_range iova, unsigned access,
		     struct iommu_run *out, struct iommu_fault *fault)
{
	struct iommu_domain *domain = domain_of(e);
	bool found;

	if (!domain && !iommu_bypass(e->iommu))
		return translate_fails(e, iova.first, access, VIRTIO_IOMMU_FAULT_DOMAIN, fault);
	if (!domain || domain->bypass) {
		*out = (struct iommu_run){.last = UINT64_MAX};
		return true;
	}
	pagetable_enter(&domain->table, &domain->reader[reader]);
	found = walk_run(&domain->table, iova, access, out);
	pagetable_leave(&domain->reader[reader]);
	return found || translate_fails(e, iova.first, access, VIRTIO_IOMMU_FAULT_MAPPING, fault);
}

/* ---- faults: any thread ---- */

static void count(uint64_t *counter)
{
	(void)__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

void iommu_report(struct iommu *u, const struct iommu_fault *fault)
{
	bool kept;

	count(&u->faults);
	(void)lock_take(&u->fault_lock);
	kept = u->fault_count < IOMMU_FAULTS_MAX;
	if (kept)
		u->fault[(u->fault_head + u->fault_count++) % IOMMU_FAULTS_MAX] = *fault;
	else
		count(&u->faults_lost);
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

struct iommu_stats iommu_stats_read(const struct iommu *u)
{
	return (struct iommu_stats){
		.domains = u->domains,
		.mappings = u->mappings,
		.mappings_max_seen = u->mappings_max_seen,
		.table_bytes = u->tables * FRAME_BYTES,
		.table_bytes_max = u->tables_max * FRAME_BYTES,
		.faults = __atomic_load_n(&u->faults, __ATOMIC_RELAXED),
		.faults_lost = __atomic_load_n(&u->faults_lost, __ATOMIC_RELAXED),
	};
}

/* ---- the check ---- */

static bool check_endpoints(const struct iommu *u) /* I1, I7 */
{
	for (unsigned i = 0; i < u->endpoints; i++) {
		const struct iommu_endpoint *e = &u->endpoint[i];
		const struct iommu_domain *d = domain_of(e);

		if (e->flights > IOMMU_FLIGHTS_MAX || e->iommu != u)
			return false;
		if (d && (d < u->domain || d >= u->domain + IOMMU_DOMAINS_MAX || !d->live))
			return false;
		for (unsigned j = 0; j < i; j++)
			if (u->endpoint[j].id == e->id)
				return false;
	}
	return true;
}

static bool check_members(const struct iommu *u, const struct iommu_domain *d) /* I1 */
{
	unsigned members = 0;

	for (unsigned i = 0; i < u->endpoints; i++)
		members += domain_of(&u->endpoint[i]) == d;
	for (const struct iommu_domain *other = u->domain; other < d; other++)
		if (other->live && other->id == d->id)
			return false;
	return members > 0 && members == d->endpoints && d->id <= u->config.domain_last;
}

static bool check_run(const struct iommu_config *c, const struct pagetable_run *run) /* I4 */
{
	uint64_t last = run->in + (run->bytes - 1);

	for (unsigned i = 0; i < c->reserved_count; i++)
		if (overlaps(c->reserved[i].range, run->in, last))
			return false;
	return run->in >= c->input.first && last <= c->input.last && (run->out + (run->bytes - 1)) >> c->phys_bits == 0;
}

static bool check_domain(const struct iommu *u, const struct iommu_domain *d)
{
	struct pagetable_run run;

	if (d->bypass)
		return d->mappings == 0; /* I2 */
	if (!pagetable_check(&d->table) || pagetable_stats_read(&d->table).seams != d->mappings)
		return false; /* I2 */
	for (uint64_t at = 0; pagetable_next_run(&d->table, at, &run); at = run.in + run.bytes)
		if (!check_run(&u->config, &run))
			return false;
	return true;
}

bool iommu_check(const struct iommu *u)
{
	uint64_t domains = 0, mappings = 0, tables = 0;

	if (u->endpoints > IOMMU_ENDPOINTS_MAX || !check_endpoints(u))
		return false;
	for (unsigned i = 0; i < IOMMU_DOMAINS_MAX; i++) {
		const struct iommu_domain *d = &u->domain[i];

		if (!d->live)
			continue;
		if (!check_members(u, d) || !check_domain(u, d))
			return false;
		domains++;
		mappings += d->mappings;
		if (!d->bypass)
			tables += pagetable_stats_read(&d->table).tables + pagetable_stats_read(&d->table).retired;
	}
	if (domains != u->domains || mappings != u->mappings || mappings > u->config.mappings_max)
		return false; /* I1, I3 */
	if (tables != u->tables || u->tables > u->tables_max || u->mappings > u->mappings_max_seen)
		return false;							       /* I5 */
	return u->fault_head < IOMMU_FAULTS_MAX && u->fault_count <= IOMMU_FAULTS_MAX; /* I6 */
}
