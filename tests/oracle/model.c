/* model.c: the naive model that the oracles' probes are compared with.
 *
 * What it is. A second-level table said by what it does: a list of pieces, each
 * one run of addresses that is mapped in one go. Two pieces that continue one
 * another on both sides with the same attributes are one piece, always. From
 * that alone follows which leaf translates an address: the largest block of 1G,
 * 2M or 4K around it that lies inside its piece, whose two sides are congruent,
 * and that the CPU takes. Nothing here knows of a tree, of a table page or of
 * how the library splits and collapses; that its table comes out the same, entry
 * by entry, is what is tested.
 *
 * Marks. Accessed and dirty are two sets of address ranges. A CPU marks the
 * range of a leaf whole; a leaf is marked iff any of its range is. So a split
 * hands a mark to all parts and a collapse or-s them, with no code for either.
 * Links are marked one by one; a link that is gone takes its mark along.
 *
 * What a CPU answers is judged by the bits of the entry (judge()), written from
 * the manuals beside each line: Intel SDM vol. 3C, 29.3 (EPT), and AMD APM vol.
 * 2, 15.25 and 5.3 (NPT). What is known of an emulator to be otherwise is a
 * field of the model each, set by image.c, and so are the only exceptions.
 *
 * Not modelled: memory types, as no emulator lets them show, but for their
 * reserved values and their bits in the entry; the second-level TLB, since both
 * emulators flush at each entry: a missing INVEPT goes unseen. */
#include "tests/oracle/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS	PAGETABLE_LEVELS
#define PRESENT UINT64_C(1)
#define LARGE	(UINT64_C(1) << 7)

static uint64_t level_bytes(unsigned level)
{
	return FRAME_BYTES << (9 * level);
}

static uint64_t base_of(uint64_t gpa, unsigned level)
{
	return gpa & ~(level_bytes(level) - 1);
}

static void need(bool room, const char *what)
{
	if (room)
		return;
	fprintf(stderr, "oracle: the model has too few %s\n", what);
	exit(2);
}

/* ---- sets of ranges ---- */

static bool spans_touch(const struct model_spans *s, uint64_t first, uint64_t end)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->span[i].first < end && s->span[i].end > first)
			return true;
	return false;
}

static void spans_put(struct model_spans *s, uint64_t first, uint64_t end)
{
	if (first >= end)
		return;
	need(s->count < MODEL_SPANS, "spans");
	s->span[s->count].first = first;
	s->span[s->count++].end = end;
}

static void spans_cut(struct model_spans *s, uint64_t first, uint64_t end)
{
	for (unsigned i = 0; i < s->count;) {
		uint64_t a = s->span[i].first, b = s->span[i].end;

		if (a >= end || b <= first) {
			i++;
			continue;
		}
		s->span[i] = s->span[--s->count];
		spans_put(s, a, first < a ? a : first);
		spans_put(s, end > b ? b : end, b);
	}
}

static void spans_add(struct model_spans *s, uint64_t first, uint64_t end)
{
	spans_cut(s, first, end);
	spans_put(s, first, end);
}

/* ---- pieces ---- */

static bool attr_same(struct pagetable_attr a, struct pagetable_attr b)
{
	return a.rights == b.rights && a.memory == b.memory;
}

static int piece_order(const void *a, const void *b)
{
	const struct model_piece *x = a, *y = b;

	return x->in < y->in ? -1 : x->in > y->in;
}

static void pieces_join(struct model *m)
{
	unsigned kept = 0;

	qsort(m->piece, m->pieces, sizeof(m->piece[0]), piece_order);
	for (unsigned i = 0; i < m->pieces; i++) {
		struct model_piece *last = kept > 0 ? &m->piece[kept - 1] : NULL, *p = &m->piece[i];

		if (last && last->in + last->bytes == p->in && last->out + last->bytes == p->out &&
		    attr_same(last->attr, p->attr))
			last->bytes += p->bytes;
		else
			m->piece[kept++] = *p;
	}
	m->pieces = kept;
}

static void piece_put(struct model *m, struct model_piece p)
{
	if (p.bytes == 0)
		return;
	need(m->pieces < MODEL_PIECES, "pieces");
	m->piece[m->pieces++] = p;
}

static struct model_piece piece_part(struct model_piece p, uint64_t first, uint64_t end)
{
	first = first < p.in ? p.in : first;
	end = end > p.in + p.bytes ? p.in + p.bytes : end;
	return (struct model_piece){first, p.out + (first - p.in), end > first ? end - first : 0, p.attr};
}

/* Takes the range out of every piece; with attr, puts it back with these. */
static void pieces_change(struct model *m, uint64_t in, uint64_t bytes, const struct pagetable_attr *attr)
{
	unsigned before = m->pieces;

	for (unsigned i = 0; i < before; i++) {
		struct model_piece p = m->piece[i], part = piece_part(p, in, in + bytes);

		if (part.bytes == 0)
			continue;
		m->piece[i] = piece_part(p, 0, in);
		piece_put(m, piece_part(p, in + bytes, UINT64_MAX));
		if (attr) {
			part.attr = *attr;
			piece_put(m, part);
		}
	}
	for (unsigned i = 0; i < m->pieces;)
		if (m->piece[i].bytes == 0)
			m->piece[i] = m->piece[--m->pieces];
		else
			i++;
}

static const struct model_piece *piece_at(const struct model *m, uint64_t gpa)
{
	for (unsigned i = 0; i < m->pieces; i++)
		if (gpa - m->piece[i].in < m->piece[i].bytes)
			return &m->piece[i];
	return NULL;
}

bool model_is_free(const struct model *m, uint64_t in, uint64_t bytes)
{
	for (unsigned i = 0; i < m->pieces; i++)
		if (m->piece[i].in < in + bytes && m->piece[i].in + m->piece[i].bytes > in)
			return false;
	return true;
}

struct model_leaf model_leaf(const struct model *m, uint64_t gpa)
{
	const struct model_piece *p = piece_at(m, gpa);
	struct model_leaf leaf = {.level = LEVELS - 1};

	for (; !p; leaf.level--) { /* the walk ends where nothing at all is mapped in the block */
		leaf.base = base_of(gpa, leaf.level);
		if (leaf.level == 0 || model_is_free(m, leaf.base, level_bytes(leaf.level)))
			return leaf;
	}
	leaf.present = true;
	leaf.attr = p->attr;
	for (leaf.level = m->leaf_max;; leaf.level--) {
		uint64_t bytes = level_bytes(leaf.level);

		leaf.base = base_of(gpa, leaf.level);
		leaf.out = p->out + (leaf.base - p->in);
		if (leaf.base >= p->in && leaf.base + bytes <= p->in + p->bytes && leaf.out % bytes == 0)
			return leaf;
	}
}

/* ---- marks ---- */

/* A link is at (base, level) as long as the walk of some address goes on below it. */
static bool link_lives(const struct model *m, uint64_t base, unsigned level)
{
	for (unsigned i = 0; i < m->pieces; i++) {
		struct model_piece part = piece_part(m->piece[i], base, base + level_bytes(level));

		if (part.bytes > 0)
			return model_leaf(m, part.in).level < level;
	}
	return false;
}

static void links_prune(struct model *m)
{
	for (unsigned i = 0; i < m->links;)
		if (link_lives(m, m->link[i].base, m->link[i].level))
			i++;
		else
			m->link[i] = m->link[--m->links];
}

static bool link_marked(const struct model *m, uint64_t gpa, unsigned level)
{
	for (unsigned i = 0; i < m->links; i++)
		if (m->link[i].level == level && m->link[i].base == base_of(gpa, level))
			return true;
	return false;
}

static void links_mark(struct model *m, uint64_t gpa, unsigned leaf_level)
{
	for (unsigned level = leaf_level + 1; level < LEVELS; level++) {
		if (link_marked(m, gpa, level))
			continue;
		need(m->links < MODEL_LINKS, "links");
		m->link[m->links].level = level;
		m->link[m->links++].base = base_of(gpa, level);
	}
}

bool model_marked(const struct model *m, const struct model_leaf *leaf, bool dirty)
{
	return spans_touch(dirty ? &m->dirty : &m->accessed, leaf->base, leaf->base + level_bytes(leaf->level));
}

void model_mark(struct model *m, const struct model_leaf *leaf, bool accessed, bool dirty)
{
	uint64_t end = leaf->base + level_bytes(leaf->level);

	if (accessed)
		spans_add(&m->accessed, leaf->base, end);
	if (dirty)
		spans_add(&m->dirty, leaf->base, end);
}

void model_unmark(struct model *m, const struct model_leaf *leaf, bool accessed, bool dirty)
{
	uint64_t end = leaf->base + level_bytes(leaf->level);

	if (accessed)
		spans_cut(&m->accessed, leaf->base, end);
	if (dirty)
		spans_cut(&m->dirty, leaf->base, end);
}

/* ---- changes ---- */

void model_clear(struct model *m)
{
	m->pieces = m->links = m->accessed.count = m->dirty.count = 0;
	m->poked = false;
}

void model_map(struct model *m, struct model_piece piece)
{
	piece_put(m, piece);
	pieces_join(m);
	links_prune(m);
}

void model_unmap(struct model *m, uint64_t in, uint64_t bytes)
{
	uint64_t edge[2] = {in, in + bytes - 1};

	for (unsigned i = 0; i < 2; i++) { /* what remains of a leaf keeps its marks, on all of it */
		struct model_leaf leaf = model_leaf(m, edge[i]);

		if (leaf.present)
			model_mark(m, &leaf, model_marked(m, &leaf, false), model_marked(m, &leaf, true));
	}
	pieces_change(m, in, bytes, NULL);
	pieces_join(m);
	spans_cut(&m->accessed, in, in + bytes);
	spans_cut(&m->dirty, in, in + bytes);
	links_prune(m);
}

void model_protect(struct model *m, uint64_t in, uint64_t bytes, struct pagetable_attr attr)
{
	uint64_t edge[2] = {in, in + bytes - 1};

	for (unsigned i = 0; i < 2; i++) {
		struct model_leaf leaf = model_leaf(m, edge[i]);

		if (leaf.present)
			model_mark(m, &leaf, model_marked(m, &leaf, false), model_marked(m, &leaf, true));
	}
	pieces_change(m, in, bytes, &attr);
	pieces_join(m);
	links_prune(m);
}

/* ---- entries, and what a CPU makes of them ---- */

static uint64_t ept_entry(const struct model *m, struct pagetable_attr attr) /* SDM, tables 29-3, 29-5 and 29-7 */
{
	static const unsigned type[] = {
		[PAGETABLE_WRITE_BACK] = 6,	 [PAGETABLE_WRITE_THROUGH] = 4,	  [PAGETABLE_UNCACHED] = 0,
		[PAGETABLE_WRITE_COMBINING] = 1, [PAGETABLE_WRITE_PROTECTED] = 5,
	};
	uint64_t entry = (uint64_t)type[attr.memory] << 3 | (uint64_t)m->ignore_pat << 6;

	entry |= attr.rights & PAGETABLE_READ ? 1 : 0;
	entry |= attr.rights & PAGETABLE_WRITE ? 2 : 0;
	return entry | (attr.rights & PAGETABLE_EXEC ? 4 : 0);
}

static uint64_t npt_entry(struct pagetable_attr attr) /* APM vol. 2, 5.3.3 and 7.8.1: PAT from reset on */
{
	static const unsigned pat[] = {
		[PAGETABLE_WRITE_BACK] = 0,
		[PAGETABLE_WRITE_THROUGH] = 1,
		[PAGETABLE_UNCACHED_MINUS] = 2,
		[PAGETABLE_UNCACHED] = 3,
	};
	uint64_t entry = PRESENT | (uint64_t)pat[attr.memory] << 3;

	entry |= attr.rights & PAGETABLE_WRITE ? 2 : 0;
	entry |= attr.rights & PAGETABLE_USER ? 4 : 0;
	return entry | (attr.rights & PAGETABLE_EXEC ? 0 : UINT64_C(1) << 63);
}

uint64_t model_entry(const struct model *m, const struct model_leaf *leaf)
{
	bool ept = m->format == PAGETABLE_EPT;
	uint64_t accessed = UINT64_C(1) << (ept ? 8 : 5), entry = 0;

	if (m->poked && m->poked_at == leaf->base)
		entry = m->poked_entry;
	else if (leaf->present)
		entry = leaf->out | (leaf->level > 0 ? LARGE : 0) |
			(ept ? ept_entry(m, leaf->attr) : npt_entry(leaf->attr));
	if (!leaf->present)
		return entry;
	entry |= model_marked(m, leaf, false) ? accessed : 0;
	return entry | (model_marked(m, leaf, true) ? accessed << 1 : 0);
}

bool model_takes(const struct model *m, struct pagetable_attr attr)
{
	bool read = attr.rights & PAGETABLE_READ, write = attr.rights & PAGETABLE_WRITE;

	if (m->format != PAGETABLE_EPT)
		return read && attr.memory <= PAGETABLE_UNCACHED;
	if (attr.rights & PAGETABLE_USER || attr.memory == PAGETABLE_UNCACHED_MINUS)
		return false;
	return write ? read : read || (m->execute_only && attr.rights & PAGETABLE_EXEC);
}

struct touch { /* one access to one guest-physical address */
	bool write, fetch, walk;
};

struct verdict {
	enum hv_outcome outcome;
	uint64_t info, info_mask;
};

static bool address_reserved(const struct model *m, uint64_t entry, unsigned level)
{
	uint64_t wide = ~((UINT64_C(1) << m->phys_bits) - 1) & ((UINT64_C(1) << 52) - 1);
	uint64_t low = level == 0 ? 0 : (level_bytes(level) - 1) & -FRAME_BYTES;

	/* NPT: bit 12 of a large leaf is the PAT's. */
	if (m->format != PAGETABLE_EPT || m->ignores_12)
		low &= ~FRAME_BYTES;
	return entry & (wide | low);
}

static struct verdict judge_ept(const struct model *m, uint64_t entry, unsigned level, struct touch t)
{
	unsigned rights = entry & 7, type = entry >> 3 & 7, wants = t.fetch ? 4 : t.write ? 2 : 1;
	struct verdict v = {HV_DONE, 0, UINT64_MAX};

	if (rights != 0) { /* SDM 29.3.3.1 */
		if ((rights & 3) == 2 || (rights == 4 && !m->execute_only) || type == 2 || type == 3 || type == 7 ||
		    address_reserved(m, entry, level))
			return (struct verdict){HV_MISCONFIGURED, 0, 0};
	}
	if (rights & wants)
		return v;
	/* SDM table 28-7: the access, the rights, a linear address that is known, and whether it was its end. */
	v.outcome = HV_VIOLATION;
	v.info = wants | rights << 3 | 1u << 7 | (t.walk ? 0 : 1u << 8);
	if (t.walk && t.write)
		v.info |= 1;
	if (t.walk && t.write && m->hides_read) {
		v.info &= ~UINT64_C(1);
		v.info_mask = ~UINT64_C(1);
	}
	return v;
}

static struct verdict judge_npt(const struct model *m, uint64_t entry, unsigned level, struct touch t)
{
	bool present = entry & PRESENT, reserved = present && address_reserved(m, entry, level);
	struct verdict v = {HV_DONE, 0, UINT64_MAX};

	if (present && !reserved && (entry & 4) && (!t.write || (entry & 2)) && (!t.fetch || !(entry >> 63)))
		return v;
	/* APM vol. 2, 15.25.6: every access of a guest is a user's; present, write, user, reserved, fetch, end or walk.
	 */
	v.outcome = reserved ? HV_MISCONFIGURED : HV_VIOLATION;
	v.info = present | (uint64_t)t.write << 1 | 1u << 2 | (uint64_t)reserved << 3 | (uint64_t)t.fetch << 4 |
		 UINT64_C(1) << (t.walk ? 33 : 32);
	if (reserved && m->hides_present)
		v.info &= v.info_mask = ~PRESENT;
	return v;
}

/* False iff it faults: then p says how. */
static bool access_to(struct model *m, struct hv_probe *p, uint64_t gpa, struct touch t)
{
	struct model_leaf leaf = model_leaf(m, gpa);
	uint64_t entry = model_entry(m, &leaf);
	struct verdict v =
		m->format == PAGETABLE_EPT ? judge_ept(m, entry, leaf.level, t) : judge_npt(m, entry, leaf.level, t);

	if (v.outcome == HV_DONE) {
		if (m->marks) {
			model_mark(m, &leaf, true, t.write);
			links_mark(m, gpa, leaf.level);
		}
		return true;
	}
	p->outcome = (uint8_t)v.outcome;
	p->info = v.info;
	p->info_mask = v.info_mask;
	p->fault_gpa = gpa;
	return false;
}

static unsigned index_of(uint64_t gva, unsigned level)
{
	return gva >> (FRAME_SHIFT + 9 * level) & 511;
}

/* What an access of the inner guest does to guest-physical memory, in order: the
 * fetch of its code and then the access itself, each with its page walk. A walk
 * counts as a write if the CPU marks (SDM 29.3.5), in NPT always (APM 15.25.5). */
static bool probe_accesses(struct model *m, struct hv_probe *p)
{
	struct touch walk = {.write = m->marks || m->format != PAGETABLE_EPT, .walk = true};
	struct touch final = {.write = p->access == HV_WRITE1 || p->access == HV_WRITE8,
			      .fetch = p->access == HV_FETCH};

	p->fault_gva = HV_CODE_GVA;
	if (!access_to(m, p, p->table[LEVELS - 1] + HV_CODE_SLOT * sizeof(uint64_t), walk))
		return false;
	for (unsigned i = 0; i < 3; i++)
		if (!access_to(m, p, m->home + (HV_HOME_CODE_TABLE + i) * FRAME_BYTES, walk))
			return false;
	if (!access_to(m, p, m->home + HV_HOME_CODE * FRAME_BYTES, (struct touch){.fetch = true}))
		return false;
	p->fault_gva = p->gva;
	for (unsigned level = LEVELS; level-- > 0;)
		if (!access_to(m, p, p->table[level] + index_of(p->gva, level) * sizeof(uint64_t), walk))
			return false;
	return access_to(m, p, p->gpa, final);
}

/* Where a gpa lies in real memory that probes may change; HV_NOWHERE elsewhere. */
static uint64_t data_at(const struct model *m, uint64_t gpa)
{
	const struct model_piece *p = piece_at(m, gpa);
	uint64_t hpa = p ? p->out + (gpa - p->in) : HV_NOWHERE;

	if (p && hpa >= HV_DATA && hpa < HV_DATA_END)
		return hpa;
	return hpa >= HV_HOME && hpa < HV_HOME + HV_HOME_FRAMES * FRAME_BYTES ? hpa : HV_NOWHERE;
}

void model_peek(const struct model *m, struct hv_probe *p)
{
	struct model_leaf leaf = model_leaf(m, p->gpa);

	p->entry = model_entry(m, &leaf);
	p->level = (uint8_t)leaf.level;
	p->links = 0;
	for (unsigned level = leaf.level + 1; level < LEVELS; level++)
		p->links |= (uint8_t)(link_marked(m, p->gpa, level) << level);
}

void model_probe(struct model *m, struct hv_probe *p)
{
	uint64_t gpa = p->gpa;

	p->outcome = HV_DONE;
	for (unsigned level = 0; level < LEVELS; level++)
		p->table_out[level] = data_at(m, p->table[level]);
	p->out = HV_NOWHERE;
	if (probe_accesses(m, p)) {
		p->out = data_at(m, gpa);
		p->fault_gva = 0;
	} else {
		p->gpa = p->fault_gpa;
	}
	model_peek(m, p);
	p->gpa = gpa;
}
