/* probe.c: the inner guest touches one address; does the CPU do what the script says?
 *
 * For a probe the inner guest's own tables are written, five entries, into the
 * very frames where the script says that they lie, and taken back afterwards;
 * what the frames of HV_DATA hold is then again their stamps. A write that must
 * arrive is looked for in the frame where it must, and taken back too.
 *
 * Compared are: how the inner guest ended (HLT, or which fault, at which
 * address, with which bits of explanation), the value that it read or fetched,
 * and the entries on the way to the address: accessed and dirty marks, and
 * unless the script is blind every other bit. What the CPU may do or leave is
 * not a difference: a walk that ends in a fault may mark what it went through
 * (SDM vol. 3C, 29.3.5, and APM vol. 2, 15.25 leave it open); it is taken back,
 * so that what follows does not depend on it. */
#include "guests/hv/probe.h"

#include "guests/hv/inner.h"
#include "guests/runtime/console.h"
#include "guests/runtime/string.h"
#include "mm/pagetable.h"

#define REPORTS_MAX 8u
#define LEVELS	    PAGETABLE_LEVELS
#define LARGE	    (UINT64_C(1) << 7)
#define ADDRESS	    UINT64_C(0x000ffffffffff000)

/* The inner guest's own entries: present, write, accessed, dirty. */
#define INNER_ENTRY UINT64_C(0x63)

struct way { /* the entries that lead to an address, by level; the last one is at `level` */
	uint64_t *entry[LEVELS];
	unsigned level;
};

struct slot { /* an entry of the inner guest's tables, and what was there before */
	uint64_t *at, was;
};

static const struct inner_cpu *cpu;
static uint64_t present, accessed, dirty, root, home;
static bool blind, stale;
static unsigned reports;

static void *at(uint64_t hpa)
{
	return (void *)(uintptr_t)hpa;
}

static uint64_t word_at(uint64_t hpa)
{
	uint64_t word;

	memcpy(&word, at(hpa), sizeof(word));
	return word;
}

static void stamp(uint64_t hpa)
{
	uint8_t bytes[HV_STAMP_BYTES] = {[0] = 0xb8, [HV_STAMP_BYTES - 1] = 0xf4};
	uint32_t number = (uint32_t)(hpa >> FRAME_SHIFT);

	memcpy(bytes + 1, &number, sizeof(number));
	memcpy(at(hpa), bytes, sizeof(bytes));
	memcpy(at(hpa + HV_STAMP_MIDDLE), bytes, sizeof(bytes));
	memcpy(at(hpa + HV_STAMP_LAST), bytes, sizeof(bytes));
}

/* The part of the inner guest's tables that leads to its code never changes but
 * in `home`, the gpa at which all of it is seen. */
static void home_write(void)
{
	for (unsigned i = 0; i < 3; i++) {
		uint64_t *table = at(HV_HOME + (HV_HOME_CODE_TABLE + i) * FRAME_BYTES);
		uint64_t next = i < 2 ? HV_HOME_CODE_TABLE + i + 1 : HV_HOME_CODE;

		table[0] = (home + next * FRAME_BYTES) | INNER_ENTRY;
	}
}

void probe_init(const struct inner_cpu *with, const struct hv_header *header)
{
	bool ept = header->format == PAGETABLE_EPT;

	cpu = with;
	blind = header->blind;
	present = ept ? 7 : 1;
	accessed = UINT64_C(1) << (ept ? 8 : 5);
	dirty = accessed << 1;
	memset(at(HV_HOME), 0, HV_HOME_FRAMES * FRAME_BYTES);
	memcpy(at(HV_HOME + HV_HOME_CODE * FRAME_BYTES), inner_code, (size_t)(inner_code_end - inner_code));
	for (uint64_t hpa = HV_DATA; hpa < HV_DATA_END; hpa += FRAME_BYTES)
		stamp(hpa);
}

void probe_table(const struct hv_table *table, uint64_t pointer)
{
	root = pointer & ADDRESS;
	home = table->home;
	home_write();
	cpu->load(pointer);
	stale = false;
}

void probe_flush(void)
{
	cpu->flush();
	stale = false;
}

static unsigned index_of(uint64_t address, unsigned level)
{
	return address >> (FRAME_SHIFT + 9 * level) & 511;
}

static bool is_link(uint64_t entry, unsigned level)
{
	uint64_t to = entry & ADDRESS;

	return level > 0 && (entry & present) && !(entry & LARGE) && to >= HV_ARENA &&
	       to < HV_ARENA + HV_ARENA_FRAMES * FRAME_BYTES;
}

static void way_find(uint64_t gpa, struct way *out)
{
	uint64_t *table = at(root);

	for (out->level = LEVELS - 1;; out->level--) {
		uint64_t *entry = &table[index_of(gpa, out->level)];

		out->entry[out->level] = entry;
		if (!is_link(*entry, out->level))
			return;
		table = at(*entry & ADDRESS);
	}
}

/* ---- what differs ---- */

static bool differ(const struct hv_step *step, const char *what, uint64_t is, uint64_t must)
{
	const struct hv_probe *p = &step->probe;

	if (reports++ >= REPORTS_MAX)
		return false;
	console_print("hv: step %u, gpa 0x%lx, gva 0x%lx, access %u: %s is 0x%lx and must be 0x%lx\n", step->number,
		      p->gpa, p->gva, p->access, what, is, must);
	return false;
}

/* Takes back the marks that a fault may leave or not. */
static void forget_marks(uint64_t *entry, uint64_t must)
{
	if (*entry == (must | accessed) && *entry != must) {
		*entry = must;
		stale = true;
	}
}

static bool last_same(const struct hv_step *step, const struct way *way)
{
	uint64_t is = *way->entry[way->level], must = step->probe.entry, marks = accessed | dirty;

	if (!blind && (way->level != step->probe.level || (is & ~marks) != (must & ~marks)))
		return differ(step, way->level == step->probe.level ? "the entry" : "a level's entry", is, must);
	if (way->level == step->probe.level && (is & marks) != (must & marks))
		return differ(step, "the entry, by its marks,", is, must);
	return true;
}

static bool links_same(const struct hv_step *step, const struct way *way)
{
	unsigned is = 0;

	for (unsigned level = way->level + 1; level < LEVELS; level++)
		is |= *way->entry[level] & accessed ? 1u << level : 0;
	return is == step->probe.links || way->level != step->probe.level ||
	       differ(step, "the set of links that are accessed", is, step->probe.links);
}

static bool way_same(const struct hv_step *step, uint64_t gpa, bool fault)
{
	struct way way;
	bool last;

	way_find(gpa, &way);
	for (unsigned level = LEVELS - 1; fault && level > way.level; level--) {
		uint64_t without = *way.entry[level] & ~accessed;

		if (!(step->probe.links >> level & 1))
			forget_marks(way.entry[level], without);
	}
	if (fault)
		forget_marks(way.entry[way.level], step->probe.entry);
	last = last_same(step, &way);
	return links_same(step, &way) && last;
}

static bool fault_same(const struct hv_step *step, const struct inner_exit *e)
{
	const struct hv_probe *p = &step->probe;
	uint64_t gva = e->gva;

	if ((e->info & p->info_mask) != p->info)
		return differ(step, "the explanation", e->info & p->info_mask, p->info);
	if (e->gpa != p->fault_gpa)
		return differ(step, "the guest-physical address", e->gpa, p->fault_gpa);
	if (!e->gva_known)
		return true;
	if (p->fault_gva == HV_CODE_GVA)
		gva &= -FRAME_BYTES; /* where in it, each access has its own instruction */
	return gva == p->fault_gva || differ(step, "the linear address", gva, p->fault_gva);
}

static bool fetch_same(const struct hv_step *step, const struct inner_exit *e, uint64_t rax)
{
	const struct hv_probe *p = &step->probe;
	bool only_hlt = (p->gpa & (FRAME_BYTES - 1)) == FRAME_BYTES - 1;
	uint64_t rip = only_hlt ? p->gva : p->gva + HV_STAMP_BYTES - 1;

	if (e->rip != rip)
		return differ(step, "the end of the code", e->rip, rip);
	if (!only_hlt)
		rax = word_at(p->out + 1) & UINT32_MAX;
	return e->rax == rax || differ(step, "what ran", e->rax, rax);
}

static bool done_same(const struct hv_step *step, const struct inner_exit *e, uint64_t rax, uint64_t before)
{
	const struct hv_probe *p = &step->probe;
	bool one = p->access == HV_READ1 || p->access == HV_WRITE1;
	uint64_t mask = one ? 0xff : UINT64_MAX, is = e->rax & mask, must = before & mask;

	if (p->out == HV_NOWHERE)
		return true;
	if (p->access == HV_FETCH)
		return fetch_same(step, e, rax);
	if (p->access == HV_WRITE1 || p->access == HV_WRITE8) {
		is = word_at(p->out) & mask;
		must = rax & mask;
		memcpy(at(p->out), &before, one ? 1 : sizeof(before));
	}
	return is == must || differ(step, "the value", is, must);
}

/* ---- the probe ---- */

static struct slot slot_write(uint64_t table, unsigned index, uint64_t entry)
{
	struct slot s = {0};

	if (table == HV_NOWHERE)
		return s;
	s.at = (uint64_t *)at(table) + index;
	s.was = *s.at;
	*s.at = entry;
	return s;
}

static void slots_write(const struct hv_probe *p, struct slot slot[LEVELS + 1])
{
	for (unsigned level = 0; level < LEVELS; level++) {
		uint64_t next = level > 0 ? p->table[level - 1] : p->gpa & -FRAME_BYTES;

		slot[level] = slot_write(p->table_out[level], index_of(p->gva, level), next | INNER_ENTRY);
	}
	slot[LEVELS] = slot_write(p->table_out[LEVELS - 1], HV_CODE_SLOT,
				  (home + HV_HOME_CODE_TABLE * FRAME_BYTES) | INNER_ENTRY);
}

static void slots_restore(const struct slot slot[LEVELS + 1])
{
	for (unsigned i = 0; i < LEVELS + 1; i++)
		if (slot[i].at)
			*slot[i].at = slot[i].was;
}

static uint64_t code_for(unsigned access)
{
	static const uint8_t *const code[HV_ACCESSES] = {inner_read1, inner_read8, inner_write1, inner_write8,
							 inner_fetch};

	return HV_CODE_GVA + (uint64_t)(code[access] - inner_code);
}

static bool end_same(const struct hv_step *step, const struct inner_exit *e)
{
	static const enum inner_end must[] = {INNER_HALTED, INNER_VIOLATION, INNER_MISCONFIGURED};

	if (e->end == must[step->probe.outcome])
		return true;
	(void)differ(step, "the exit", e->reason, step->probe.outcome);
	if (reports <= REPORTS_MAX)
		console_print("hv:   info 0x%lx, gpa 0x%lx, rip 0x%lx\n", e->info, e->gpa, e->rip);
	return false;
}

bool probe_run(const struct hv_step *step)
{
	const struct hv_probe *p = &step->probe;
	bool fault = p->outcome != HV_DONE;
	uint64_t rax = UINT64_C(0x9e3779b97f4a7c15) * (step->number + 1), before = 0;
	struct inner_entry in = {.rip = code_for(p->access), .cr3 = p->table[LEVELS - 1], .rax = rax, .rdi = p->gva};
	struct slot slot[LEVELS + 1];
	struct inner_exit e;
	bool same;

	if (stale)
		probe_flush();
	slots_write(p, slot);
	if (p->out != HV_NOWHERE)
		before = word_at(p->out);
	cpu->run(&in, &e);
	slots_restore(slot);
	same = end_same(step, &e) && (fault ? fault_same(step, &e) : done_same(step, &e, rax, before));
	return way_same(step, fault ? p->fault_gpa : p->gpa, fault) && same;
}

bool probe_peek(const struct hv_step *step)
{
	return way_same(step, step->probe.gpa, false);
}

bool probe_write(const struct hv_step *step)
{
	struct way way;

	way_find(step->probe.gpa, &way);
	if (way.level != step->probe.level)
		return differ(step, "the last level", way.level, step->probe.level);
	if (step->kind == HV_MARK)
		*way.entry[way.level] |= step->probe.entry;
	else
		*way.entry[way.level] = step->probe.entry;
	stale = true;
	return true;
}
