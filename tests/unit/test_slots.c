/* Memslots derived from a table: after random changes of the table, the slots
 * equal those rebuilt from nothing, no slot was touched that did not have to
 * be, and ids stay distinct, below the limit, and are used again. */
#include <check.h>
#undef fail
#include <stdlib.h>
#include <string.h>

#include "vmm/slots.h"
#include "vmm/table_pages.h"

Suite *slots_suite(void);

#define FRAMES 64u
#define ROUNDS 3000
#define TABLES 128u
#define MANY   32764u

struct machine {
	struct memory memory;
	struct table_pages pages;
	struct pagetable table;
	struct ram ram;
	uint8_t *arena;
};

static void machine_open(struct machine *m, enum pagetable_size leaf, uint64_t bytes)
{
	struct block block = {.first = {0}, .bytes = TABLES * FRAME_BYTES};
	struct pagetable_config config = {
		.format = PAGETABLE_NPT,
		.phys_bits = 46,
		.leaf_max = leaf,
		.arena_first = {0},
		.arena_frames = TABLES,
	};
	struct failure f = {0};

	m->arena = aligned_alloc(FRAME_BYTES, block.bytes);
	block.host = m->arena;
	ck_assert_int_eq(memory_open(&m->memory, &f), 0);
	ck_assert_int_eq(table_pages_open(&m->pages, &m->memory, &block, &f), 0);
	config.arena = m->arena;
	config.pages = table_pages_source(&m->pages);
	ck_assert_int_eq(pagetable_init(&m->table, &config), MM_OK);
	m->ram = (struct ram){&m->table, (uint8_t *)UINT64_C(0x7f0000000000), UINT64_C(1) << 40, bytes};
}

static void machine_close(struct machine *m)
{
	pagetable_fini(&m->table);
	table_pages_close(&m->pages);
	memory_close(&m->memory);
	free(m->arena);
}

static void check_sorted(const struct slots *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		ck_assert_uint_lt(s->slot[i].id, s->limit);
		if (i)
			ck_assert_uint_le(s->slot[i - 1].gpa + s->slot[i - 1].bytes, s->slot[i].gpa);
		for (uint32_t k = 0; k < i; k++)
			ck_assert_uint_ne(s->slot[k].id, s->slot[i].id);
	}
}

/* As KVM would take it: removals, then additions, or only the first of them. */
static void play(struct slots *s, const struct slots_change *c, uint32_t removed, uint32_t added)
{
	struct failure f = {0};

	ck_assert_int_eq(slots_reserve(s, c, &f), 0);
	slots_note(s, c, removed, added);
	check_sorted(s);
}

/* What the slots should be, frame by frame, from walks alone. */
static uint32_t naive(const struct machine *m, struct slot *out)
{
	uint32_t count = 0;

	for (uint64_t gpa = 0; gpa < FRAMES * FRAME_BYTES; gpa += FRAME_BYTES) {
		struct pagetable_leaf leaf;
		struct slot *last = count ? &out[count - 1] : NULL;
		uint64_t host;
		bool readonly;

		if (!pagetable_walk(&m->table, gpa, &leaf))
			continue;
		host = (uintptr_t)m->ram.host + (leaf.out - m->ram.host_base);
		readonly = !(leaf.attr.rights & PAGETABLE_WRITE);
		if (last && last->gpa + last->bytes == gpa && last->host + last->bytes == host &&
		    last->readonly == readonly)
			last->bytes += FRAME_BYTES;
		else
			out[count++] = (struct slot){0, gpa, FRAME_BYTES, host, readonly};
	}
	return count;
}

static void change_at_random(struct machine *m)
{
	uint64_t first = (uint64_t)(rand() % FRAMES), count = 1 + (uint64_t)rand() % (FRAMES - first);
	struct pagetable_attr attr = {.rights = PAGETABLE_READ | PAGETABLE_USER};
	uint64_t out = m->ram.host_base + (rand() % 4 ? first : (uint64_t)rand() % FRAMES) * FRAME_BYTES;

	if (rand() % 2)
		attr.rights |= PAGETABLE_WRITE;
	if (rand() % 2)
		attr.rights |= PAGETABLE_EXEC; /* not a slot's business */
	switch (rand() % 3) {
	case 0:
		(void)!pagetable_map(&m->table, first * FRAME_BYTES, out, count * FRAME_BYTES, attr);
		break;
	case 1:
		ck_assert_int_eq(pagetable_unmap(&m->table, first * FRAME_BYTES, count * FRAME_BYTES, NULL), MM_OK);
		break;
	default:
		ck_assert_int_eq(pagetable_protect(&m->table, first * FRAME_BYTES, count * FRAME_BYTES, attr, NULL),
				 MM_OK);
	}
	pagetable_flushed(&m->table);
}

START_TEST(slots_follow_the_table)
{
	struct machine m;
	struct slots s;
	struct slot want[FRAMES];

	srand(7);
	machine_open(&m, PAGETABLE_4K, FRAMES * FRAME_BYTES);
	slots_init(&s, &m.memory, FRAMES);
	for (int round = 0; round < ROUNDS; round++) {
		struct slots_change c;
		struct failure f = {0};
		uint32_t count;

		change_at_random(&m);
		ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), 0);
		for (uint32_t i = 0; i < c.removals; i++)
			for (uint32_t k = 0; k < c.additions; k++) /* nothing goes only to come back */
				ck_assert(c.remove[i].gpa != c.add[k].gpa || c.remove[i].bytes != c.add[k].bytes ||
					  c.remove[i].host != c.add[k].host ||
					  c.remove[i].readonly != c.add[k].readonly);
		if (rand() % 4 == 0) { /* KVM refuses one of them, and the rest is asked for the next time */
			bool early = c.removals && rand() % 2;

			play(&s, &c, early ? (uint32_t)rand() % c.removals : c.removals,
			     early || !c.additions ? 0 : (uint32_t)rand() % c.additions);
			slots_change_free(&c);
			ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), 0);
		}
		play(&s, &c, c.removals, c.additions);
		slots_change_free(&c);
		count = naive(&m, want);
		ck_assert_uint_eq(s.count, count);
		for (uint32_t i = 0; i < count; i++) {
			ck_assert_uint_eq(s.slot[i].gpa, want[i].gpa);
			ck_assert_uint_eq(s.slot[i].bytes, want[i].bytes);
			ck_assert_uint_eq(s.slot[i].host, want[i].host);
			ck_assert_int_eq(s.slot[i].readonly, want[i].readonly);
		}
		ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), 0); /* and then there is nothing to do */
		ck_assert_uint_eq(c.removals + c.additions, 0);
		slots_change_free(&c);
	}
	slots_fini(&s);
	machine_close(&m);
}
END_TEST

START_TEST(too_many_slots_are_refused_and_named)
{
	const struct pagetable_attr attr = {.rights = PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_USER};
	struct machine m;
	struct slots s;
	struct slots_change c;
	struct failure f = {0};

	machine_open(&m, PAGETABLE_4K, FRAMES * FRAME_BYTES);
	slots_init(&s, &m.memory, 3);
	for (uint64_t i = 0; i < 4; i++)
		ck_assert_int_eq(pagetable_map(&m.table, 2 * i * FRAME_BYTES, m.ram.host_base + 2 * i * FRAME_BYTES,
					       FRAME_BYTES, attr),
				 MM_OK);
	ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "the guest's memory falls into 4 slots and KVM has 3 here");
	ck_assert_uint_eq(c.additions, 0);
	slots_fini(&s);
	machine_close(&m);
}
END_TEST

/* Whichever allocation is refused: a sentence, the slots as they were, and nothing left behind (memory_close() looks).
 */
START_TEST(no_memory_is_refused)
{
	const struct pagetable_attr attr = {.rights = PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_USER};
	struct slots_change c;
	struct machine m;
	struct slots s;
	uint64_t n = 1;

	machine_open(&m, PAGETABLE_4K, FRAMES * FRAME_BYTES);
	slots_init(&s, &m.memory, FRAMES);
	for (uint64_t i = 0; i < 20; i++)
		ck_assert_int_eq(pagetable_map(&m.table, 2 * i * FRAME_BYTES, m.ram.host_base + 2 * i * FRAME_BYTES,
					       FRAME_BYTES, attr),
				 MM_OK);
	for (;; n++) {
		struct failure f = {0};

		heap_fail_after(&m.memory.heap, n);
		if (slots_derive(&s, &m.ram, &c, &f) == 0)
			break;
		ck_assert_int_eq(f.code, EXIT_HOST);
		ck_assert_str_eq(f.text, "no memory for the list of memslots");
		ck_assert_uint_eq(c.additions + c.removals + s.count, 0);
	}
	heap_fail_after(&m.memory.heap, 0);
	ck_assert_uint_eq(n, 7); /* which stay, the list grown four times, which ids are used */
	ck_assert_uint_eq(c.additions, 20);
	slots_change_free(&c);
	slots_fini(&s);
	machine_close(&m);
}
END_TEST

/* A guard inside a 2M leaf: two slots, and when it goes, one leaf and the one slot again. */
START_TEST(a_guard_splits_a_leaf_and_its_slot)
{
	const struct pagetable_attr attr = {.rights = PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_USER};
	const uint64_t mib2 = pagetable_size_bytes(PAGETABLE_2M), hole = mib2 / 2;
	struct slots_change c;
	struct failure f = {0};
	struct machine m;
	struct slots s;

	machine_open(&m, PAGETABLE_2M, 4 * mib2);
	slots_init(&s, &m.memory, FRAMES);
	ck_assert_int_eq(pagetable_map(&m.table, 0, m.ram.host_base, 4 * mib2, attr), MM_OK);
	ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), 0);
	ck_assert_uint_eq(c.additions, 1);
	play(&s, &c, c.removals, c.additions);
	slots_change_free(&c);

	ck_assert_int_eq(pagetable_unmap(&m.table, hole, FRAME_BYTES, NULL), MM_OK);
	pagetable_flushed(&m.table);
	ck_assert_uint_eq(pagetable_stats_read(&m.table).leaves[PAGETABLE_4K], 511);
	ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), 0);
	ck_assert_uint_eq(c.removals, 1);
	ck_assert_uint_eq(c.additions, 2);
	ck_assert_uint_eq(c.add[0].bytes, hole);
	ck_assert_uint_eq(c.add[1].gpa, hole + FRAME_BYTES);
	play(&s, &c, c.removals, c.additions);
	slots_change_free(&c);

	ck_assert_int_eq(pagetable_map(&m.table, hole, m.ram.host_base + hole, FRAME_BYTES, attr), MM_OK);
	pagetable_flushed(&m.table);
	ck_assert_uint_eq(pagetable_stats_read(&m.table).leaves[PAGETABLE_4K], 0);
	ck_assert_uint_eq(pagetable_stats_read(&m.table).leaves[PAGETABLE_2M], 4);
	ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), 0);
	ck_assert_uint_eq(c.removals, 2);
	ck_assert_uint_eq(c.additions, 1);
	play(&s, &c, c.removals, c.additions);
	slots_change_free(&c);
	ck_assert_uint_eq(s.count, 1);
	ck_assert_uint_eq(s.slot[0].bytes, 4 * mib2);
	slots_fini(&s);
	machine_close(&m);
}
END_TEST

/* All that KVM has, in no order: ids, order and cost hold. */
START_TEST(as_many_as_there_can_be)
{
	const struct pagetable_attr attr = {.rights = PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_USER};
	const uint64_t count = MANY;
	struct slots_change c;
	struct failure f = {0};
	struct machine m;
	struct slots s;

	machine_open(&m, PAGETABLE_4K, 2 * count * FRAME_BYTES);
	slots_init(&s, &m.memory, MANY);
	for (uint64_t i = 0; i < count; i++) /* 7919 is prime: each frame once */
		ck_assert_int_eq(pagetable_map(&m.table, i * FRAME_BYTES,
					       m.ram.host_base + i * 7919 % count * FRAME_BYTES, FRAME_BYTES, attr),
				 MM_OK);
	ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), 0);
	ck_assert_uint_eq(c.additions, MANY);
	ck_assert_int_eq(slots_reserve(&s, &c, &f), 0);
	slots_note(&s, &c, 0, c.additions);
	slots_change_free(&c);
	for (uint64_t i = 0; i < count; i += 2)
		ck_assert_int_eq(pagetable_unmap(&m.table, i * FRAME_BYTES, FRAME_BYTES, NULL), MM_OK);
	pagetable_flushed(&m.table);
	ck_assert_int_eq(slots_derive(&s, &m.ram, &c, &f), 0);
	ck_assert_uint_eq(c.removals, MANY / 2);
	ck_assert_uint_eq(c.additions, 0);
	slots_note(&s, &c, c.removals, 0);
	slots_change_free(&c);
	ck_assert_uint_eq(s.count, MANY / 2);
	for (uint32_t i = 0; i < s.count; i++)
		ck_assert_uint_eq(s.slot[i].gpa, (2 * (uint64_t)i + 1) * FRAME_BYTES);
	slots_fini(&s);
	machine_close(&m);
}
END_TEST

Suite *slots_suite(void)
{
	Suite *s = suite_create("slots");
	TCase *t = tcase_create("slots");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, slots_follow_the_table);
	tcase_add_test(t, too_many_slots_are_refused_and_named);
	tcase_add_test(t, no_memory_is_refused);
	tcase_add_test(t, a_guard_splits_a_leaf_and_its_slot);
	tcase_add_test(t, as_many_as_there_can_be);
	suite_add_tcase(s, t);
	return s;
}
