/* tests/unit/test_flight.c: uses begin and end as a model says; drain waits for all uses of the call
 * that overlap and for no others; users and takers that meet never touch at once what
 * was taken (plain memory, so that ThreadSanitizer sees it, too); the check
 * objects. */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "devices/flight.h"
#include "tests/unit/random.h"

/* ck_assert() tells the runner where it is each time, which is dear in a loop. */
#define MUST(x) ((x) ? (void)0 : ck_abort_msg("%s", #x))

static struct flight f;

static unsigned waited;

static void never(void *self)
{
	(void)self;
	ck_abort_msg("waited for what is not there");
}

START_TEST(all_slots)
{
	bool seen[FLIGHT_SLOTS] = {false};

	flight_init(&f);
	ck_assert(flight_check(&f));
	for (unsigned round = 0; round < 2; round++) {
		memset(seen, 0, sizeof(seen));
		for (unsigned i = 0; i < FLIGHT_SLOTS; i++) {
			unsigned slot = flight_begin(&f, i * 4096, i * 4096 + 4095);

			ck_assert_uint_lt(slot, FLIGHT_SLOTS);
			ck_assert(!seen[slot]);
			seen[slot] = true;
			ck_assert(flight_check(&f));
		}
		ck_assert_uint_eq(flight_begin(&f, 0, 1), FLIGHT_NONE);
		ck_assert(flight_check(&f));
		flight_drain(&f, FLIGHT_SLOTS * 4096, UINT64_MAX, never, NULL);
		for (unsigned i = 0; i < FLIGHT_SLOTS; i++)
			flight_end(&f, (i * 7) % FLIGHT_SLOTS);
		ck_assert(flight_check(&f));
		flight_drain(&f, 0, UINT64_MAX, never, NULL);
	}
}
END_TEST

static void end_it(void *self)
{
	if (++waited == 3)
		flight_end(&f, *(unsigned *)self);
}

static bool waits_for(uint64_t first, uint64_t last, uint64_t drain_first, uint64_t drain_last)
{
	unsigned slot;

	flight_init(&f);
	slot = flight_begin(&f, first, last);
	waited = 0;
	flight_drain(&f, drain_first, drain_last, end_it, &slot);
	return waited == 3;
}

START_TEST(edges)
{
	ck_assert(waits_for(0, 0, 0, 0));
	ck_assert(waits_for(0, UINT64_MAX, 5, 5));
	ck_assert(waits_for(5, 5, 0, UINT64_MAX));
	ck_assert(waits_for(UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX));
	ck_assert(waits_for(10, 20, 20, 30));
	ck_assert(waits_for(10, 20, 0, 10));
	ck_assert(!waits_for(10, 20, 21, 30));
	ck_assert(!waits_for(10, 20, 0, 9));
	ck_assert(!waits_for(UINT64_MAX, UINT64_MAX, 0, UINT64_MAX - 1));
	ck_assert(!waits_for(0, 0, 1, UINT64_MAX));
}
END_TEST

/* The same slot is used again at once, for the same range, for ever. */
static void begin_anew(void *self)
{
	unsigned *slot = self;

	ck_assert_uint_eq(++waited, 1);
	flight_end(&f, *slot);
	*slot = flight_begin(&f, 0, 100);
}

START_TEST(later_uses_are_not_waited_for)
{
	unsigned slot;

	flight_init(&f);
	slot = flight_begin(&f, 0, 100);
	waited = 0;
	flight_drain(&f, 0, 100, begin_anew, &slot);
	ck_assert_uint_eq(waited, 1);
	ck_assert(flight_check(&f));
}
END_TEST

/* ---- a model ---- */

static struct {
	uint64_t first, last;
	bool used;
	bool owed; /* in use when drain was called, and overlaps */
} model[FLIGHT_SLOTS];
static unsigned live, owed;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define USES 200000u
#else
#define USES 1000000u
#endif

static void any_use(void)
{
	unsigned slot = (unsigned)below(FLIGHT_SLOTS);
	uint64_t first = below(1000), last = first + below(100);

	if (below(2)) {
		slot = flight_begin(&f, first, last);
		MUST((slot == FLIGHT_NONE) == (live == FLIGHT_SLOTS));
		if (slot == FLIGHT_NONE)
			return;
		MUST(!model[slot].used);
		model[slot].used = true;
		model[slot].first = first;
		model[slot].last = last;
		live++;
	} else if (model[slot].used) {
		flight_end(&f, slot);
		owed -= model[slot].owed;
		model[slot].used = model[slot].owed = false;
		live--;
	}
}

static void wait_some(void *self)
{
	(void)self;
	MUST(owed > 0); /* or it waits for what it should not */
	for (unsigned i = 0; i < 64; i++)
		any_use();
}

START_TEST(random_uses)
{
	seed(600);
	flight_init(&f);
	for (unsigned i = 0; i < USES; i++) {
		uint64_t first = below(1200), last = first + below(200);

		any_use();
		if (i % 64 == 0)
			MUST(flight_check(&f));
		if (below(500) != 0)
			continue;
		owed = 0;
		for (unsigned s = 0; s < FLIGHT_SLOTS; s++) {
			model[s].owed = model[s].used && model[s].first <= last && model[s].last >= first;
			owed += model[s].owed;
		}
		flight_drain(&f, first, last, wait_some, NULL);
		MUST(owed == 0);
	}
}
END_TEST

/* ---- threads: plain pages behind gates ---- */

#define GATES  4u
#define USERS  3u
#define TAKERS 2u

static struct {
	_Alignas(64) uint64_t open; /* atomic */
	uint64_t page;		    /* plain: the users' own parts while open, the taker's while closed and drained */
	uint64_t part[USERS];
} gate[GATES];
static struct flight flights[USERS];
static pthread_mutex_t taking = PTHREAD_MUTEX_INITIALIZER;
static uint64_t done; /* atomic */
static uint64_t uses_total, rounds_total;

static void yield(void *self)
{
	(void)self;
	sched_yield();
}

static void *user(void *self)
{
	struct flight *mine = self;
	unsigned me = (unsigned)(mine - flights);
	uint64_t x = me, uses = 0, all = 0;

	while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
		unsigned g = (unsigned)((x = x * 6364136223846793005u + 1442695040888963407u) >> 60) % GATES;
		unsigned slot = flight_begin(mine, g * 4096, g * 4096 + 4095);

		if (__atomic_load_n(&gate[g].open, __ATOMIC_SEQ_CST)) {
			gate[g].part[me] = gate[g].page;
			uses++;
		}
		flight_end(mine, slot);
		if (++all % 64 == 0) /* there may be fewer CPUs than threads */
			sched_yield();
	}
	__atomic_fetch_add(&uses_total, uses, __ATOMIC_RELAXED);
	return NULL;
}

#define SECONDS 2

static void *taker(void *self)
{
	time_t end = time(NULL) + SECONDS + 1;

	(void)self;
	for (uint64_t i = 0; time(NULL) < end; i++) {
		unsigned g = (unsigned)(i * 7 % GATES);

		pthread_mutex_lock(&taking);
		__atomic_store_n(&gate[g].open, 0, __ATOMIC_SEQ_CST);
		for (unsigned u = 0; u < USERS; u++)
			flight_drain(&flights[u], g * 4096, g * 4096 + 4095, yield, NULL);
		gate[g].page = i;
		for (unsigned u = 0; u < USERS; u++)
			gate[g].part[u] = UINT64_MAX;
		for (unsigned n = 0; n < 200; n++)
			__builtin_ia32_pause();
		for (unsigned u = 0; u < USERS; u++)
			MUST(gate[g].part[u] == UINT64_MAX);
		MUST(gate[g].page == i);
		__atomic_store_n(&gate[g].open, 1, __ATOMIC_SEQ_CST);
		rounds_total++;
		pthread_mutex_unlock(&taking);
	}
	return NULL;
}

START_TEST(users_and_takers)
{
	pthread_t users[USERS], takers[TAKERS];

	for (unsigned i = 0; i < GATES; i++)
		gate[i].open = 1;
	for (unsigned i = 0; i < USERS; i++) {
		flight_init(&flights[i]);
		ck_assert_int_eq(pthread_create(&users[i], NULL, user, &flights[i]), 0);
	}
	for (unsigned i = 0; i < TAKERS; i++)
		ck_assert_int_eq(pthread_create(&takers[i], NULL, taker, NULL), 0);
	for (unsigned i = 0; i < TAKERS; i++)
		pthread_join(takers[i], NULL);
	__atomic_store_n(&done, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < USERS; i++)
		pthread_join(users[i], NULL);
	for (unsigned i = 0; i < USERS; i++)
		ck_assert(flight_check(&flights[i]));
	ck_assert_uint_gt(rounds_total, 0);
	ck_assert_uint_gt(uses_total, 0);
}
END_TEST

/* ---- the check ---- */

#define BROKEN(change, back)                                                                                           \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!flight_check(&f), "%s does not matter", #change);                                       \
		back;                                                                                                  \
		ck_assert(flight_check(&f));                                                                           \
	} while (0)

START_TEST(check_objects)
{
	unsigned a, b, next;

	flight_init(&f);
	a = flight_begin(&f, 10, 20);
	b = flight_begin(&f, 30, 40);
	ck_assert(flight_check(&f));
	BROKEN(f.live++, f.live--);
	BROKEN(f.live--, f.live++);
	BROKEN(f.used[a / 64] ^= UINT64_C(1) << a % 64, f.used[a / 64] ^= UINT64_C(1) << a % 64);
	BROKEN(f.used[7] ^= 1, f.used[7] ^= 1);
	BROKEN(f.slot[b].first = 41, f.slot[b].first = 30);
	BROKEN(f.slot[b].serial = f.serial, f.slot[b].serial = f.serial - 1);
	next = f.free;
	BROKEN(f.free = a, f.free = next);
	BROKEN(f.free = FLIGHT_NONE, f.free = next);
	BROKEN(f.free = FLIGHT_NONE + 1, f.free = next);
	BROKEN(f.slot[100].next = 50, f.slot[100].next = 101);
}
END_TEST

Suite *flight_suite(void);

Suite *flight_suite(void)
{
	Suite *suite = suite_create("flight");
	TCase *plain = tcase_create("plain");

	tcase_add_test(plain, all_slots);
	tcase_add_test(plain, edges);
	tcase_add_test(plain, later_uses_are_not_waited_for);
	tcase_add_test(plain, random_uses);
	tcase_add_test(plain, users_and_takers);
	tcase_add_test(plain, check_objects);
	tcase_set_timeout(plain, 60);
	suite_add_tcase(suite, plain);
	return suite;
}
