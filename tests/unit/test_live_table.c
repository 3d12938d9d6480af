/* The table of live guests beside an array of names: numbers, doubles, unknowns; what
 * it checks of itself; no memory at every point. */
#include <check.h>
#undef fail
#include <stdio.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "vmm/pack/live_table_impl.h"

Suite *live_table_suite(void);

#define NAMES 3000u
#define STEPS 600000

struct model { /* by name: its number, or LIVE_NONE; and numbers given up, the last on top */
	uint32_t guest[NAMES], given_up[NAMES], unused, next;
	uint64_t leaves[NAMES];
};

/* Some fit, some do not, some differ only in zeros or in their last byte. */
static size_t name_of(unsigned i, char *to)
{
	static const size_t lengths[] = {4, 8, 15, 16, 17, 31, 32, 33, 64, 5000};
	const size_t length = lengths[i % 10];

	memset(to, i % 3 ? 'x' : 0, length);
	memcpy(to + length - sizeof(i), &i, sizeof(i));
	return length;
}

static uint32_t model_add(struct model *m, unsigned name, uint64_t leaves)
{
	m->guest[name] = m->unused ? m->given_up[--m->unused] : m->next++;
	m->leaves[name] = leaves;
	return m->guest[name];
}

static void model_remove(struct model *m, unsigned name)
{
	m->given_up[m->unused++] = m->guest[name];
	m->guest[name] = LIVE_NONE;
}

static void step(struct live_table *t, struct model *m, unsigned range)
{
	const unsigned name = (unsigned)below(range);
	const uint32_t was = m->guest[name];
	uint32_t guest = 7777777;
	uint64_t leaves;
	char text[8192];
	const size_t length = name_of(name, text);

	EXPECT(live_table_find(t, text, length, &guest, &leaves) == (was == LIVE_NONE ? LIVE_UNKNOWN : LIVE_OK));
	EXPECT(was == LIVE_NONE ? guest == 7777777 : guest == was && leaves == m->leaves[name]);
	if (below(2)) {
		leaves = below(1000);
		EXPECT(live_table_add(t, text, length, leaves, &guest) == (was == LIVE_NONE ? LIVE_OK : LIVE_TWICE));
		EXPECT(was != LIVE_NONE || guest == model_add(m, name, leaves));
	} else if (was != LIVE_NONE && below(4) == 0) {
		live_table_remove_guest(t, was);
		model_remove(m, name);
	} else {
		EXPECT(live_table_remove(t, text, length, &guest) == (was == LIVE_NONE ? LIVE_UNKNOWN : LIVE_OK));
		if (was != LIVE_NONE)
			model_remove(m, name);
	}
}

START_TEST(beside_a_model)
{
	static struct model m;
	struct alloc alloc = {0};
	struct live_table *t = live_table_open(&alloc);

	seed(1);
	memset(m.guest, 0xff, sizeof(m.guest));
	for (int i = 0; i < STEPS; i++) {
		/* from a few to all and back, so that it grows, fills and drains */
		step(t, &m, 1 + (unsigned)below(i / 100000 % 2 ? 20 : NAMES));
		EXPECT(live_table_count(t) == m.next - m.unused);
		if (i % 20000 == 0)
			ck_assert(live_table_check(t));
	}
	ck_assert(live_table_check(t));
	ck_assert_uint_ge(live_table_count_max(t), live_table_count(t));
	live_table_close(t);
}
END_TEST

/* Memory is by those there, not by those that ever were. */
START_TEST(memory_stays)
{
	struct alloc alloc = {0};
	struct live_table *t = live_table_open(&alloc);
	uint32_t guest;

	for (uint32_t i = 0; i < 300000; i++) {
		EXPECT(live_table_add(t, (const char *)&i, sizeof(i), 0, &guest) == LIVE_OK);
		EXPECT(guest == i % 2);
		if (i % 2)
			for (uint32_t j = 0; j < 2; j++)
				live_table_remove_guest(t, j ^ 1u);
	}
	ck_assert(t->entries == 2 && t->room == LIVE_FIRST && t->buckets == LIVE_FIRST);
	ck_assert(live_table_count_max(t) == 2 && live_table_check(t));
	live_table_close(t);
}
END_TEST

/* So many that some have the same hash. */
START_TEST(same_hashes)
{
	struct alloc alloc = {0};
	struct live_table *t = live_table_open(&alloc);
	char name[32] = "a name that is not near";
	uint32_t guest;

	for (uint32_t i = 0; i < 600000; i++) {
		const bool far = i % 2;

		memcpy(name, &i, sizeof(i));
		EXPECT(live_table_add(t, name, far ? sizeof(name) : sizeof(i), 0, &guest) == LIVE_OK && guest == i);
	}
	live_table_close(t);
}
END_TEST

START_TEST(an_empty_name_is_a_name)
{
	struct alloc alloc = {0};
	struct live_table *t = live_table_open(&alloc);
	uint32_t guest;

	ck_assert_int_eq(live_table_add(t, "", 0, 0, &guest), LIVE_OK);
	ck_assert_int_eq(live_table_add(t, "\0", 1, 0, &guest), LIVE_OK);
	ck_assert_int_eq(live_table_add(t, "", 0, 0, &guest), LIVE_TWICE);
	ck_assert_int_eq(live_table_remove(t, "\0\0", 2, &guest), LIVE_UNKNOWN);
	ck_assert(live_table_check(t));
	live_table_close(t);
	live_table_close(NULL);
}
END_TEST

/* Each allocation refused in turn: nothing has changed, and the same add then succeeds. */
START_TEST(no_memory)
{
	struct alloc alloc = {0};
	struct live_table *t;
	unsigned refused = 0;

	for (uint64_t n = 1; n <= 2; n++) {
		alloc.fail_after = n;
		ck_assert_ptr_null(live_table_open(&alloc));
	}
	t = live_table_open(&alloc);
	for (unsigned i = 0; i < 1000; i++) {
		char text[8192];
		const size_t length = name_of(i, text);
		uint32_t guest = 9;
		bool added = false;

		for (uint64_t n = 1; !added; n++) {
			const struct live_table before = *t;

			alloc.fail_after = n;
			added = live_table_add(t, text, length, i, &guest) == LIVE_OK;
			if (added)
				break;
			refused++;
			ck_assert(t->count == before.count && t->entries == before.entries && t->free == before.free);
			ck_assert(live_table_check(t) && live_table_find(t, text, length, &guest, &(uint64_t){0}));
		}
		alloc.fail_after = 0;
		ck_assert_uint_eq(guest, i);
	}
	ck_assert_uint_gt(refused, 500);
	ck_assert(live_table_check(t));
	live_table_close(t);
}
END_TEST

START_TEST(as_many_as_there_may_be)
{
	struct alloc alloc = {0};
	struct live_table *t = live_table_open(&alloc);
	uint32_t guest;

	t->count = LIVE_MAX;
	ck_assert_int_eq(live_table_add(t, "a", 1, 0, &guest), LIVE_NO_ROOM);
	t->count = 0;
	ck_assert_int_eq(live_table_add(t, "a", 1, 0, &guest), LIVE_OK);
	live_table_close(t);
}
END_TEST

/* Whatever is broken on purpose is seen. */
START_TEST(check_objects)
{
	struct alloc alloc = {0};
	struct live_table *t = live_table_open(&alloc);
	struct live_entry *e;
	uint32_t guest, *chain, was;

	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(live_table_add(t, (const char *)&i, sizeof(i), 0, &guest), LIVE_OK);
	for (uint32_t i = 2; i < 5; i++)
		live_table_remove_guest(t, i);
	ck_assert(live_table_check(t));
	e = &t->entry[0];
	chain = &t->bucket[e->hash & (t->buckets - 1)];
#define BROKEN(field, value)                                                                                           \
	do {                                                                                                           \
		typeof(field) kept = (field);                                                                          \
		(field) = (value);                                                                                     \
		ck_assert_msg(!live_table_check(t), "%s", #field);                                                     \
		(field) = kept;                                                                                        \
		ck_assert(live_table_check(t));                                                                        \
	} while (0)
	BROKEN(*chain, LIVE_NONE);
	BROKEN(*chain, t->entries);
	BROKEN(*chain, 3);
	was = e->next;
	BROKEN(e->next, 0);
	ck_assert_uint_eq(was, e->next);
	BROKEN(e->hash, e->hash + 1);
	BROKEN(e->hash, e->hash ^ (1u << 31));
	BROKEN(e->length, 5);
	BROKEN(e->name.near[0], 'z');
	BROKEN(e->name.near[9], 'z');
	BROKEN(e->name.near[0], 1);
	BROKEN(t->free, LIVE_NONE);
	BROKEN(t->free, 0);
	BROKEN(t->free, 100);
	BROKEN(t->entry[t->free].next, t->free);
	BROKEN(t->entry[t->free].length, 4);
	BROKEN(t->count, 6);
	BROKEN(t->count_max, 6);
	BROKEN(t->room, 9);
	BROKEN(t->entries, 9);
#undef BROKEN
	live_table_close(t);
}
END_TEST

Suite *live_table_suite(void)
{
	Suite *suite = suite_create("live_table");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_test(all, beside_a_model);
	tcase_add_test(all, memory_stays);
	tcase_add_test(all, same_hashes);
	tcase_add_test(all, an_empty_name_is_a_name);
	tcase_add_test(all, no_memory);
	tcase_add_test(all, as_many_as_there_may_be);
	tcase_add_test(all, check_objects);
	suite_add_tcase(suite, all);
	return suite;
}
