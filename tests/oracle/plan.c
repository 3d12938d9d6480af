/* plan.c: what the oracles are asked.
 *
 * A plan is rounds, until there are probes enough. In a round the library builds
 * a table of random pieces, here, on the host: runs of 4K, 2M and 1G, aligned or
 * not, with all rights and memory types that the format has, among holes. Some
 * leaves get marks. hv walks those pages as they are; then the library inside hv
 * makes the same table, which must be the same, byte by byte; then the table is
 * changed (parts unmapped, protected, put back so that they collapse, harvested)
 * and probed after each change.
 *
 * Where probes go: to the first and the last byte of each leaf and the byte
 * before and behind (of a size of which a table has more than LEAVES_A_ROUND
 * leaves, of a random part of them), and to random addresses near. Any may be a
 * read or write of 1 or 8 bytes or a fetch; a value can be compared only where
 * the leaf leads to RAM that probes may have, HV_DATA: an access that should work
 * elsewhere becomes a read of which nothing but its success is compared. Some go
 * through page tables of the inner guest that lie at random guest-physical
 * addresses too: mapped, read-only or absent. Last, every kind of leaf that a
 * format can or cannot say is written by hand, and the CPU must object to just
 * those that the library would refuse.
 *
 * The same seed makes the same plan. */
#include "tests/oracle/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/hv/arena.h"
#include "tests/unit/random.h"

#define KIB		 UINT64_C(1024)
#define MIB		 (KIB * KIB)
#define GIB		 (KIB * MIB)
#define SLOTS		 4u /* GiB-sized places where a round maps */
#define PIECES		 8u /* in each, at most */
#define CHANGES		 10u
#define STEPS_MAX	 (HV_SCRIPT_BYTES / sizeof(struct hv_step))
#define PAGES_MAX	 (HV_SCRIPT_BYTES / FRAME_BYTES)
#define LEAVES_A_ROUND	 250u /* of each size */
#define RANDOM_A_ROUND	 300u
#define PROBES_ALL_KINDS 10000u /* so many ask for every kind of answer */
#define LEVELS		 PAGETABLE_LEVELS

struct round {
	struct hv_table table;
	uint64_t slot[SLOTS];
	struct model_piece piece[SLOTS * PIECES + 1];
	unsigned pieces;
	struct pagetable host;
	struct arena arena;
	uint8_t *memory; /* the host's HV_ARENA */
};

static uint64_t between(uint64_t first, uint64_t end)
{
	return first + below(end - first);
}

static bool one_in(uint64_t n)
{
	return below(n) == 0;
}

static _Noreturn void give_up(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "oracle: %s (0x%llx, 0x%llx)\n", what, (unsigned long long)a, (unsigned long long)b);
	exit(2);
}

static struct hv_step *step_add(struct plan *plan, enum hv_kind kind)
{
	struct hv_step *s = &plan->step[plan->header.steps];

	if (plan->header.steps == STEPS_MAX)
		give_up("too many steps", STEPS_MAX, 0);
	memset(s, 0, sizeof(*s));
	s->kind = kind;
	s->number = plan->header.steps++;
	return s;
}

/* ---- what to map ---- */

static const struct model_piece *random_piece(const struct model *m)
{
	if (m->pieces == 0)
		give_up("nothing is mapped, not even home", m->home, 0);
	return &m->piece[below(m->pieces)];
}

static struct pagetable_attr random_attr(const struct model *m)
{
	struct pagetable_attr attr;

	do {
		attr.rights = (unsigned)below(16);
		attr.memory = (enum pagetable_memory)below(one_in(2) ? 1 : 6);
		if (m->format == PAGETABLE_NPT && !one_in(8))
			attr.rights |= PAGETABLE_USER;
	} while (!model_takes(m, attr));
	return attr;
}

/* An output address: mostly RAM for probes; else far above all RAM. */
static uint64_t random_out(const struct model *m, uint64_t bytes, uint64_t align)
{
	uint64_t first = HV_DATA, end = HV_DATA_END;

	if (align == GIB)
		return !one_in(4) ? 0 : GIB * between(4, (UINT64_C(1) << m->phys_bits) / GIB - 4);
	if (bytes > end - first - align || one_in(12)) {
		first = 4 * GIB;
		end = (UINT64_C(1) << m->phys_bits) - GIB;
	}
	return (between(first, end - bytes - align) + align - 1) & -align;
}

static void piece_try(struct plan *plan, struct round *r, uint64_t slot, bool whole)
{
	uint64_t align = whole ? GIB : one_in(2) ? FRAME_BYTES : 2 * MIB, bytes, in;
	struct model_piece p;

	if (align == GIB)
		bytes = GIB;
	else if (align == 2 * MIB)
		bytes = 2 * MIB * between(1, 5) + (one_in(3) ? FRAME_BYTES * below(512) : 0);
	else
		bytes = FRAME_BYTES * between(1, one_in(3) ? 700 : 5);
	in = slot + (align == GIB ? 0 : between(0, GIB - bytes) & -align);
	if (one_in(2) && r->pieces > 0 && r->piece[r->pieces - 1].in >= slot && align != GIB) /* a neighbour */
		in = r->piece[r->pieces - 1].in + r->piece[r->pieces - 1].bytes;
	if (in < slot || in + bytes > slot + GIB || !model_is_free(plan->model, in, bytes))
		return;
	if (one_in(4) && align != GIB)
		align = FRAME_BYTES; /* sides that are not congruent */
	p = (struct model_piece){in, random_out(plan->model, bytes, align), bytes, random_attr(plan->model)};
	model_map(plan->model, p);
	r->piece[r->pieces++] = p;
}

static void round_fill(struct plan *plan, struct round *r)
{
	struct model *m = plan->model;
	uint64_t slots = (UINT64_C(1) << m->phys_bits) / GIB / (one_in(2) ? 2 : 1); /* half: the root has a hole */
	struct pagetable_attr all = {PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC, PAGETABLE_WRITE_BACK};

	if (m->format == PAGETABLE_NPT)
		all.rights |= PAGETABLE_USER;
	m->leaf_max = one_in(6) ? (unsigned)below(2) : PAGETABLE_1G;
	m->ignore_pat = one_in(2);
	m->marks = m->format == PAGETABLE_NPT || !one_in(5);
	m->home = GIB * below(slots) + FRAME_BYTES * below(GIB / FRAME_BYTES - HV_HOME_FRAMES);
	model_clear(m);
	r->pieces = 0;
	r->piece[r->pieces] = (struct model_piece){m->home, HV_HOME, HV_HOME_FRAMES * FRAME_BYTES, all};
	model_map(m, r->piece[r->pieces++]);
	for (unsigned s = 0; s < SLOTS; s++) {
		do
			r->slot[s] = s > 0 && one_in(4) ? r->slot[s - 1] + GIB : GIB * below(slots);
		while (r->slot[s] == (m->home & -GIB) || r->slot[s] >= slots * GIB);
		for (unsigned i = 0; i < PIECES; i++)
			piece_try(plan, r, r->slot[s], i == 0 && m->leaf_max == PAGETABLE_1G && one_in(3));
	}
	r->table = (struct hv_table){m->marks, m->leaf_max, m->execute_only, m->ignore_pat, m->home, 0, 0, 0};
}

/* ---- the library on the host ---- */

static void host_build(struct plan *plan, struct round *r)
{
	struct pagetable_config config = arena_config(&plan->header, &r->table, r->memory, &r->arena);

	memset(r->memory, 0, HV_ARENA_FRAMES * FRAME_BYTES);
	memset(&r->arena, 0, sizeof(r->arena));
	if (pagetable_init(&r->host, &config) != MM_OK)
		give_up("pagetable_init() fails", config.phys_bits, config.leaf_max);
	for (unsigned i = 0; i < r->pieces; i++) {
		const struct model_piece *p = &r->piece[i];
		enum mm_err e = pagetable_map(&r->host, p->in, p->out, p->bytes, p->attr);

		if (e != MM_OK)
			give_up("pagetable_map() fails", p->in, (uint64_t)e);
	}
	r->table.root = pagetable_root_address(&r->host);
}

/* The entry that the walk of gpa ends at, or goes through at level `stop`: by the format, not by the library. */
static uint64_t *host_entry(const struct plan *plan, const struct round *r, uint64_t gpa, unsigned stop)
{
	uint64_t present = plan->header.format == PAGETABLE_EPT ? 7 : 1;
	uint64_t at = r->table.root;

	for (unsigned level = LEVELS - 1;; level--) {
		uint64_t *table = (uint64_t *)(void *)(r->memory + (at - HV_ARENA));
		uint64_t *entry = &table[gpa >> (FRAME_SHIFT + 9 * level) & 511];

		at = *entry & UINT64_C(0x000ffffffffff000);
		if (level == stop || !(*entry & present) || (*entry & 0x80) || at < HV_ARENA ||
		    at >= HV_ARENA + HV_ARENA_FRAMES * FRAME_BYTES)
			return entry;
	}
}

static void pages_keep(struct plan *plan, struct round *r)
{
	r->table.page = plan->pages;
	r->table.pages = r->arena.next;
	if (plan->pages + r->table.pages > PAGES_MAX)
		give_up("too many pages", plan->pages, r->table.pages);
	memcpy(plan->page + plan->pages * FRAME_BYTES, r->memory, r->table.pages * FRAME_BYTES);
	plan->pages += r->table.pages;
}

/* ---- probes ---- */

static void probe_home(const struct plan *plan, struct hv_probe *p)
{
	p->gva = (below(HV_CODE_SLOT / 2) << 39 | below(UINT64_C(1) << 39)) & -FRAME_BYTES;
	p->gva |= p->gpa & (FRAME_BYTES - 1);
	for (unsigned level = 0; level < LEVELS; level++)
		p->table[level] = plan->model->home + (HV_HOME_TABLE + level) * FRAME_BYTES;
}

/* An access whose value can be compared if it works. */
static void probe_tame(const struct model *m, struct hv_probe *p)
{
	static const unsigned stamps[] = {0, HV_STAMP_MIDDLE, HV_STAMP_LAST, FRAME_BYTES - 1};
	struct model_leaf leaf = model_leaf(m, p->gpa);
	uint64_t out = leaf.present ? leaf.out + (p->gpa - leaf.base) : 0;
	unsigned offset = p->gpa & (FRAME_BYTES - 1);

	if (leaf.present && (out < HV_DATA || out >= HV_DATA_END)) {
		if (p->access == HV_FETCH || p->access == HV_WRITE1)
			p->access = HV_READ1;
		else if (p->access == HV_WRITE8)
			p->access = HV_READ8;
	}
	if (p->access == HV_READ8 || p->access == HV_WRITE8)
		p->gpa &= ~UINT64_C(7);
	if (p->access == HV_FETCH && leaf.present && offset != 0 && offset < HV_STAMP_LAST)
		p->gpa = (p->gpa & -FRAME_BYTES) + stamps[below(4)];
	else if (p->access == HV_FETCH && offset > HV_STAMP_LAST)
		p->gpa |= FRAME_BYTES - 1;
}

static void probe_tally(struct plan *plan, const struct hv_probe *p)
{
	static const unsigned kind[HV_ACCESSES] = {0, 0, 1, 1, 2};
	struct plan_tally *t = &plan->tally;
	struct model_leaf leaf = model_leaf(plan->model, p->outcome == HV_DONE ? p->gpa : p->fault_gpa);

	if (p->outcome == HV_DONE || p->fault_gpa == p->gpa) {
		if (leaf.present)
			t->leaf[leaf.level][kind[p->access]][p->outcome]++;
		else
			t->absent[leaf.level]++;
		return;
	}
	for (unsigned level = 0; level < LEVELS; level++)
		if ((p->fault_gpa & -FRAME_BYTES) == p->table[level])
			t->walk[level][leaf.present]++;
}

static void probe_emit(struct plan *plan, struct hv_probe *p)
{
	model_probe(plan->model, p);
	probe_tally(plan, p);
	step_add(plan, HV_PROBE)->probe = *p;
	plan->probes++;
}

static void probe_as(struct plan *plan, uint64_t gpa, enum hv_access access)
{
	struct hv_probe p = {.gpa = gpa, .access = (uint8_t)access};

	if (gpa >> plan->model->phys_bits || gpa - plan->model->home < HV_HOME_FRAMES * FRAME_BYTES)
		return;
	probe_tame(plan->model, &p);
	probe_home(plan, &p);
	probe_emit(plan, &p);
}

static void probe_any(struct plan *plan, uint64_t gpa)
{
	probe_as(plan, gpa, (enum hv_access)below(HV_ACCESSES));
}

static uint64_t random_gpa(const struct plan *plan, const struct round *r)
{
	const struct model *m = plan->model;
	const struct model_piece *p = random_piece(m);

	uint64_t hpa = between(HV_DATA, HV_DATA_END);

	switch (below(8)) {
	case 0:
		return r->slot[below(SLOTS)] + below(GIB);
	case 1:
		return p->in + p->bytes + below(4 * FRAME_BYTES);
	case 2:
		return p->in - below(4 * FRAME_BYTES);
	case 3:
		return below(UINT64_C(1) << m->phys_bits);
	case 4: /* by where it leads, or a large leaf would seldom lead to RAM */
		return hpa - p->out < p->bytes ? p->in + (hpa - p->out) : p->in;
	default:
		return p->in + below(p->bytes);
	}
}

/* True iff a page of inner tables, or what it leads to, can lie there and be told apart from all others. */
static bool page_usable(const struct model *m, uint64_t gpa, uint64_t taken[], unsigned *count)
{
	struct model_leaf leaf = model_leaf(m, gpa);
	uint64_t out = (leaf.out + (gpa - leaf.base)) & -FRAME_BYTES;

	if (gpa >> m->phys_bits || gpa - m->home < HV_HOME_FRAMES * FRAME_BYTES)
		return false;
	if (!leaf.present)
		return true;
	if (out < HV_DATA || out >= HV_DATA_END)
		return false;
	for (unsigned i = 0; i < *count; i++)
		if (taken[i] == out)
			return false;
	taken[(*count)++] = out;
	return true;
}

static void peek(struct plan *plan, uint64_t gpa)
{
	struct hv_probe p = {.gpa = gpa};

	model_peek(plan->model, &p);
	step_add(plan, HV_PEEK)->probe = p;
}

/* Some levels of the inner guest's tables lie where the table under test says. */
static void probe_walk(struct plan *plan, const struct round *r)
{
	struct hv_probe p = {.gpa = random_gpa(plan, r), .access = (uint8_t)below(HV_ACCESSES)};
	uint64_t taken[LEVELS + 1];
	unsigned count = 0, foreign = (unsigned)between(1, 16);

	if (!page_usable(plan->model, p.gpa, taken, &count))
		return;
	probe_tame(plan->model, &p);
	probe_home(plan, &p);
	for (unsigned level = 0; level < LEVELS; level++) {
		uint64_t gpa = random_gpa(plan, r) & -FRAME_BYTES;

		if ((foreign >> level & 1) && page_usable(plan->model, gpa, taken, &count))
			p.table[level] = gpa;
	}
	probe_emit(plan, &p);
	for (unsigned level = 0; level < LEVELS; level++)
		peek(plan, p.table[level]);
}

static void probe_edges(struct plan *plan, const struct model_leaf *leaf)
{
	uint64_t end = leaf->base + (FRAME_BYTES << (9 * leaf->level));

	probe_any(plan, leaf->base - 1);
	probe_any(plan, leaf->base);
	probe_any(plan, end - 1);
	probe_any(plan, end);
}

struct leaves {
	uint64_t of[PAGETABLE_SIZES];
};

static void leaves_count(const struct plan *plan, uint64_t in, uint64_t end, struct leaves *sum)
{
	for (uint64_t gpa = in; gpa < end;) {
		struct model_leaf leaf = model_leaf(plan->model, gpa);

		if (leaf.present)
			sum->of[leaf.level]++;
		gpa = leaf.base + (FRAME_BYTES << (9 * leaf.level));
	}
}

/* All leaves of [in, end); of a size of which there are more than `most`, a random part. */
static void probe_leaves(struct plan *plan, uint64_t in, uint64_t end, const struct leaves *sum, uint64_t most)
{
	for (uint64_t gpa = in; gpa < end;) {
		struct model_leaf leaf = model_leaf(plan->model, gpa);

		if (leaf.present && below(sum->of[leaf.level] + 1) <= most)
			probe_edges(plan, &leaf);
		gpa = leaf.base + (FRAME_BYTES << (9 * leaf.level));
	}
}

static void probe_all(struct plan *plan, const struct round *r, unsigned most, unsigned random)
{
	const struct model *m = plan->model;
	struct leaves leaves = {{0}};

	for (unsigned i = 0; i < m->pieces; i++)
		leaves_count(plan, m->piece[i].in, m->piece[i].in + m->piece[i].bytes, &leaves);
	for (unsigned s = 0; s < PAGETABLE_SIZES; s++)
		plan->leaves += leaves.of[s];
	for (unsigned i = 0; i < m->pieces; i++)
		if (m->piece[i].in != m->home)
			probe_leaves(plan, m->piece[i].in, m->piece[i].in + m->piece[i].bytes, &leaves, most);
	for (unsigned i = 0; i < random; i++)
		if (i % 3 == 0)
			probe_walk(plan, r);
		else
			probe_any(plan, random_gpa(plan, r));
}

/* ---- changes ---- */

static void change_emit(struct plan *plan, enum hv_kind kind, struct model_piece p)
{
	step_add(plan, kind)->change = (struct hv_change){
		.in = p.in,
		.out = p.out,
		.bytes = p.bytes,
		.rights = p.attr.rights,
		.memory = p.attr.memory,
	};
}

static void change_do(struct plan *plan, enum hv_kind kind, struct model_piece p)
{
	struct leaves leaves = {{0}};

	change_emit(plan, kind, p);
	plan->tally.changes[kind - HV_MAP]++;
	if (kind == HV_MAP)
		model_map(plan->model, p);
	else if (kind == HV_UNMAP)
		model_unmap(plan->model, p.in, p.bytes);
	else
		model_protect(plan->model, p.in, p.bytes, p.attr);
	probe_any(plan, p.in - 1);
	probe_any(plan, p.in + p.bytes);
	leaves_count(plan, p.in, p.in + p.bytes, &leaves);
	probe_leaves(plan, p.in, p.in + p.bytes, &leaves, 8);
}

/* What the library must tell, in order; then the marks are gone. */
static void harvest(struct plan *plan, uint64_t in, uint64_t bytes, unsigned clear)
{
	struct hv_change c = {.in = in, .bytes = bytes, .clear = clear};
	struct model *m = plan->model;

	for (unsigned i = 0; i < m->pieces; i++) {
		const struct model_piece p = m->piece[i];
		uint64_t end = p.in + p.bytes < in + bytes ? p.in + p.bytes : in + bytes;
		struct model_leaf leaf;

		for (uint64_t gpa = p.in > in ? p.in : in; gpa < end;
		     gpa = leaf.base + (FRAME_BYTES << (9 * leaf.level))) {
			unsigned marks;

			leaf = model_leaf(m, gpa);
			marks = model_marked(m, &leaf, false) ? PAGETABLE_ACCESSED : 0u;
			marks |= model_marked(m, &leaf, true) ? PAGETABLE_DIRTY : 0u;
			if (marks == 0)
				continue;
			c.told++;
			c.checked = hv_leaf_sum(c.checked, leaf.base, leaf.level, marks);
			model_unmark(m, &leaf, clear & PAGETABLE_ACCESSED, clear & PAGETABLE_DIRTY);
		}
	}
	step_add(plan, HV_HARVEST)->change = c;
	plan->tally.changes[HV_HARVEST - HV_MAP] += c.told;
}

static void harvest_any(struct plan *plan)
{
	const struct model_piece *p = random_piece(plan->model);
	uint64_t all = UINT64_C(1) << plan->model->phys_bits, in = p->in, bytes = p->bytes;
	unsigned clear = (unsigned)below(4);

	if (one_in(3)) {
		in = 0;
		bytes = all;
	} else if (one_in(2)) {
		in += FRAME_BYTES * below(bytes / FRAME_BYTES);
		bytes = p->in + bytes - in;
	}
	harvest(plan, in, bytes, clear);
}

/* A part of one leaf, mostly; of a run of them, sometimes. */
static struct model_piece random_part(const struct plan *plan)
{
	const struct model *m = plan->model;
	struct model_piece p;
	uint64_t first, frames;

	do
		p = *random_piece(m);
	while (p.in == m->home);
	frames = p.bytes >> FRAME_SHIFT;
	first = below(frames);
	if (one_in(3))
		first &= ~UINT64_C(511);
	frames = between(1, one_in(2) ? frames - first + 1 : 2 + (frames - first) / 8);
	return (struct model_piece){p.in + (first << FRAME_SHIFT), p.out + (first << FRAME_SHIFT),
				    frames << FRAME_SHIFT, p.attr};
}

/* Takes a part away or gives it other rights, and for two in three puts it back: what was split collapses. */
static void change_any(struct plan *plan)
{
	struct model_piece part = random_part(plan), other = part;
	bool back = !one_in(3), unmap = one_in(2);

	if (plan->model->pieces < 4)
		return;
	other.attr = random_attr(plan->model);
	change_do(plan, unmap ? HV_UNMAP : HV_PROTECT, unmap ? part : other);
	if (back)
		change_do(plan, unmap ? HV_MAP : HV_PROTECT, part);
}

/* ---- marks ---- */

static void marks_set(struct plan *plan, struct round *r, unsigned count, bool host)
{
	uint64_t accessed = UINT64_C(1) << (plan->header.format == PAGETABLE_EPT ? 8 : 5);

	for (unsigned i = 0; i < count; i++) {
		struct model_leaf leaf = model_leaf(plan->model, random_gpa(plan, r));
		struct hv_probe p = {.gpa = leaf.base, .level = (uint8_t)leaf.level};
		bool dirty = one_in(2);

		if (!leaf.present)
			continue;
		p.entry = accessed | (dirty ? accessed << 1 : 0);
		model_mark(plan->model, &leaf, true, dirty);
		step_add(plan, HV_MARK)->probe = p;
		if (host)
			*host_entry(plan, r, p.gpa, 0) |= p.entry;
	}
}

/* ---- leaves written by hand ---- */

static void poke(struct plan *plan, const struct model_leaf *leaf, uint64_t entry)
{
	step_add(plan, HV_POKE)->probe =
		(struct hv_probe){.gpa = leaf->base, .level = (uint8_t)leaf->level, .entry = entry};
}

static void poke_probe(struct plan *plan, const struct model_leaf *leaf, uint64_t entry)
{
	uint64_t gpa = leaf->base + (leaf->out == 0 ? HV_DATA : 0);
	struct model *m = plan->model;

	m->poked = true;
	m->poked_at = leaf->base;
	m->poked_entry = entry;
	poke(plan, leaf, entry);
	for (unsigned access = 0; access < HV_ACCESSES; access++)
		if (access % 2 == 0)
			probe_as(plan, gpa, (enum hv_access)access);
	m->poked = false;
	poke(plan, leaf, model_entry(m, leaf));
}

/* Rights and memory type, and with them what a format calls misconfigured. */
static void poke_codes(struct plan *plan, const struct model_leaf *leaf)
{
	bool ept = plan->model->format == PAGETABLE_EPT;
	uint64_t accessed = UINT64_C(1) << (ept ? 8 : 5), entry = model_entry(plan->model, leaf);

	entry &= ~(accessed | accessed << 1 | 0x3f | (ept ? 0 : UINT64_C(1) << 63));
	for (unsigned code = 1; code < 64; code++) {
		uint64_t marks = model_marked(plan->model, leaf, false) ? accessed : 0;

		if (model_marked(plan->model, leaf, true))
			marks |= accessed << 1;
		if (ept)
			poke_probe(plan, leaf, entry | code | marks);
		else if (code < 32) /* bit 5 is accessed: here, NX */
			poke_probe(plan, leaf, entry | (code & 0x1f) | marks | (uint64_t)one_in(2) << 63);
	}
}

static void poke_addresses(struct plan *plan, const struct model_leaf *leaf)
{
	uint64_t entry = model_entry(plan->model, leaf);

	for (unsigned bit = plan->model->phys_bits; bit < 52; bit++)
		poke_probe(plan, leaf, entry | UINT64_C(1) << bit);
	for (unsigned bit = FRAME_SHIFT; bit < FRAME_SHIFT + 9 * leaf->level; bit++)
		if (bit > FRAME_SHIFT || (plan->model->format == PAGETABLE_EPT && !plan->model->ignores_12))
			poke_probe(plan, leaf, entry | UINT64_C(1) << bit);
}

/* What the library refuses is just what the CPU would have called misconfigured. */
static void refuse_all(struct plan *plan, const struct round *r)
{
	uint64_t in = r->slot[0];

	while (!model_is_free(plan->model, in, FRAME_BYTES))
		in += FRAME_BYTES;
	for (unsigned rights = 0; rights < 8; rights++)
		for (unsigned memory = PAGETABLE_WRITE_BACK; memory <= PAGETABLE_WRITE_PROTECTED; memory++) {
			struct pagetable_attr attr = {rights, (enum pagetable_memory)memory};

			if (!model_takes(plan->model, attr))
				change_emit(plan, HV_REFUSED, (struct model_piece){in, 0, FRAME_BYTES, attr});
		}
}

static void round_poke(struct plan *plan, const struct round *r)
{
	bool seen[PAGETABLE_SIZES] = {false};

	refuse_all(plan, r);
	for (unsigned i = 0; i < plan->model->pieces; i++) {
		struct model_leaf leaf = model_leaf(plan->model, plan->model->piece[i].in);
		bool data = leaf.level == 2 ? leaf.out == 0 : leaf.out >= HV_DATA && leaf.out < HV_DATA_END;

		if (seen[leaf.level] || leaf.base == (plan->model->home & -FRAME_BYTES) || !data)
			continue;
		seen[leaf.level] = true;
		poke_codes(plan, &leaf);
		poke_addresses(plan, &leaf);
	}
}

/* ---- one wrong bit ---- */

/* Which bit, of a leaf as the manuals have it; 0: this leaf is none to spoil so. */
static uint64_t spoil_bit(const struct plan *plan, const struct model_leaf *leaf)
{
	bool ept = plan->model->format == PAGETABLE_EPT, write = leaf->attr.rights & PAGETABLE_WRITE;

	switch (plan->spoil) {
	case SPOIL_WRITE:
		return 2;
	case SPOIL_LINK:
		return write ? 2 : 0;
	case SPOIL_EXEC:
		return ept ? 4 : UINT64_C(1) << 63;
	case SPOIL_PRESENT:
		return 1;
	case SPOIL_LARGE:
		return leaf->level > 0 ? 0x80 : 0;
	case SPOIL_ADDRESS:
		return leaf->level < 2 ? FRAME_BYTES << (9 * leaf->level) : 0;
	case SPOIL_RESERVED: /* EPT: write-back becomes 2, which is no memory type */
		if (ept)
			return leaf->attr.memory == PAGETABLE_WRITE_BACK ? 0x20 : 0;
		return UINT64_C(1) << 51;
	case SPOIL_MARK: /* dirty, as no read leaves it */
		return plan->model->marks && !model_marked(plan->model, leaf, true) && !write ? (ept ? 0x200 : 0x40)
											      : 0;
	default:
		return 0;
	}
}

/* Spoils the host's pages at a leaf that probes can do everything with but what
 * its rights forbid; false iff this round has none. */
static bool round_spoil(struct plan *plan, const struct round *r, uint64_t *gpa)
{
	const struct model *m = plan->model;

	for (unsigned i = 0; i < m->pieces; i++) {
		struct model_leaf leaf = model_leaf(m, m->piece[i].in);
		uint64_t bit = leaf.base < m->home - GIB || leaf.base > m->home ? spoil_bit(plan, &leaf) : 0;
		bool open = (leaf.attr.rights & PAGETABLE_READ) &&
			    (m->format == PAGETABLE_EPT || (leaf.attr.rights & PAGETABLE_USER));

		if (bit == 0 || !open || leaf.out < HV_DATA || leaf.out >= HV_DATA_END)
			continue;
		*host_entry(plan, r, leaf.base, plan->spoil == SPOIL_LINK ? leaf.level + 1 : 0) ^= bit;
		*gpa = leaf.base;
		return true;
	}
	return false;
}

static void spoilt_probe(struct plan *plan, uint64_t gpa)
{
	for (unsigned access = 0; access < HV_ACCESSES; access++)
		probe_as(plan, gpa, (enum hv_access)access);
	if (plan->probes == 0)
		give_up("the spoilt leaf cannot be probed", gpa, plan->spoil);
}

/* ---- rounds ---- */

static void round_make(struct plan *plan, struct round *r, struct model *before)
{
	bool spoils = plan->spoil > SPOIL_LIBRARY;
	uint64_t steps, spoilt = 0;

	round_fill(plan, r);
	host_build(plan, r);
	steps = plan->header.steps;
	marks_set(plan, r, 20, true);
	plan->header.steps = (uint32_t)steps; /* the marks are in the pages */
	if (spoils && !round_spoil(plan, r, &spoilt))
		return;
	pages_keep(plan, r);
	*before = *plan->model;
	step_add(plan, HV_LOAD)->table = r->table;
	if (spoils) {
		spoilt_probe(plan, spoilt);
		return;
	}
	probe_all(plan, r, LEAVES_A_ROUND, RANDOM_A_ROUND);

	*plan->model = *before;
	step_add(plan, HV_TABLE)->table = r->table;
	for (unsigned i = 0; i < r->pieces; i++)
		change_emit(plan, HV_MAP, r->piece[i]);
	for (unsigned i = 0; i < plan->model->accessed.count; i++) {
		struct model_leaf leaf = model_leaf(plan->model, plan->model->accessed.span[i].first);

		step_add(plan, HV_MARK)->probe = (struct hv_probe){
			.gpa = leaf.base, .level = (uint8_t)leaf.level, .entry = model_entry(plan->model, &leaf)};
	}
	step_add(plan, HV_SAME)->table = r->table;
	probe_all(plan, r, LEAVES_A_ROUND / 4, RANDOM_A_ROUND / 4);
	for (unsigned i = 0; i < CHANGES; i++) {
		change_any(plan);
		probe_all(plan, r, 0, 12);
		if (i % 3 == 0)
			harvest_any(plan);
	}
	round_poke(plan, r);
}

/* Every kind of answer must have been asked for, or the plan proves less than it says. */
static bool tally_full(const struct plan_tally *t)
{
	for (unsigned s = 0; s < PAGETABLE_SIZES; s++)
		for (unsigned a = 0; a < 3; a++)
			for (unsigned o = 0; o < 3; o++)
				if (t->leaf[s][a][o] == 0)
					return false;
	for (unsigned l = 0; l < LEVELS; l++)
		if (t->absent[l] == 0 || t->walk[l][0] == 0 || t->walk[l][1] == 0 || t->changes[l] == 0)
			return false;
	return true;
}

void plan_make(struct plan *plan, uint64_t first_seed, uint64_t probes)
{
	struct round *r = calloc(1, sizeof(*r));
	struct model *before = calloc(1, sizeof(*before));

	plan->step = calloc(STEPS_MAX, sizeof(*plan->step));
	plan->page = calloc(PAGES_MAX, FRAME_BYTES);
	if (!r || !before || !plan->step || !plan->page)
		give_up("no memory for a plan", STEPS_MAX, PAGES_MAX);
	r->memory = aligned_alloc(FRAME_BYTES, HV_ARENA_FRAMES * FRAME_BYTES);
	seed(first_seed);
	if (!r->memory)
		give_up("no memory for an arena", HV_ARENA_FRAMES, 0);
	while (plan->probes < probes || (probes >= PROBES_ALL_KINDS && !tally_full(&plan->tally)))
		round_make(plan, r, before);
	plan->header.magic = HV_MAGIC;
	plan->header.pages_at =
		(sizeof(plan->header) + plan->header.steps * sizeof(*plan->step) + FRAME_BYTES - 1) & -FRAME_BYTES;
	free(r->memory);
	free(r);
	free(before);
}

void plan_free(struct plan *plan)
{
	free(plan->step);
	free(plan->page);
}
