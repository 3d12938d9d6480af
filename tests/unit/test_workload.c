/* Workloads: the same events, bit for bit, from every compiler; beside libm, and in
 * their means and shares, what they are said to be; options; no memory. */
#include "tests/unit/trace_rig.h"

#include <math.h>

#include "tests/unit/expect.h"
#include "vmm/pack/random.h"
#include "vmm/pack/workload.h"

Suite *workload_suite(void);

#define DRAWS 200000

static const char *const kinds[WORKLOADS] = {"vm", "tasks", "spectrum", "cargo", "uniform", "exponential"};

/* ---- random numbers ---- */

START_TEST(first_numbers)
{
	struct random r = {0};

	/* of splitmix64 with seed 0, as published */
	ck_assert_uint_eq(random_next(&r), UINT64_C(0xe220a8397b1dcdaf));
	ck_assert_uint_eq(random_next(&r), UINT64_C(0x6e789e6aa1b965f4));
	ck_assert_uint_eq(random_next(&r), UINT64_C(0x06c45d188009454f));
}
END_TEST

START_TEST(table_of_logarithms)
{
	static struct random_log table;

	random_log_make(&table);
	for (unsigned i = 0; i <= 1u << RANDOM_LOG_BITS; i++) {
		const double exact = log2(1 + (double)i / (1u << RANDOM_LOG_BITS)) * (double)RANDOM_ONE;

		EXPECT(exact - (double)table.at[i] < 1.001 && exact - (double)table.at[i] > -0.001); /* rounded down */
		EXPECT(i == 0 || table.at[i] > table.at[i - 1]);
	}
}
END_TEST

/* Each draw beside libm's of the same random bits. */
START_TEST(exponential_beside_libm)
{
	static struct random_log table;
	struct random r = random_open(1, 0);
	double sum = 0, squares = 0, above = 0;

	random_log_make(&table);
	for (int i = 0; i < DRAWS; i++) {
		struct random same = r;
		const double x = (double)random_exponential(&r, &table) / (double)RANDOM_ONE;

		EXPECT(fabsl(x + logl((long double)random_next(&same) / 18446744073709551616.0L)) < 3e-7);
		EXPECT(same.state == r.state);
		sum += x;
		squares += x * x;
		above += x > log1p(1); /* half of them */
	}
	ck_assert(fabs(sum / DRAWS - 1) < 0.01 && fabs(squares / DRAWS - 2) < 0.05);
	ck_assert(fabs(above / DRAWS - 0.5) < 0.005);
}
END_TEST

/* What a state has to be for the next number to be 0, 1 or 2^64 - 1: splitmix64 is a bijection. */
static uint64_t unshift(uint64_t x, unsigned shift)
{
	return x ^ (x >> shift) ^ (x >> 2 * shift) ^ (shift < 22 ? x >> 3 * shift : 0);
}

static uint64_t inverse(uint64_t odd)
{
	uint64_t x = odd;

	for (int i = 0; i < 6; i++)
		x *= 2 - odd * x;
	return x;
}

static struct random just_before(uint64_t number)
{
	uint64_t x = unshift(number, 31);

	x = unshift(x * inverse(UINT64_C(0x94d049bb133111eb)), 27);
	x = unshift(x * inverse(UINT64_C(0xbf58476d1ce4e5b9)), 30);
	return (struct random){x - UINT64_C(0x9e3779b97f4a7c15)};
}

START_TEST(exponential_at_its_ends)
{
	static const uint64_t numbers[] = {
		0, 1, 2, 3, UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 63, (UINT64_C(1) << 63) - 1};
	static struct random_log table;

	random_log_make(&table);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct random r = just_before(numbers[i]), s = r;
		const uint64_t x = random_exponential(&r, &table);
		const double u = (double)(numbers[i] ? numbers[i] : 1) / 18446744073709551616.0;

		ck_assert_uint_eq(random_next(&s), numbers[i]);
		ck_assert(x < RANDOM_EXP_MAX && fabs((double)x / (double)RANDOM_ONE + log(u)) < 3e-7);
		r = just_before(numbers[i]);
		ck_assert_uint_le(random_exponential_of(&r, &table, RANDOM_SCALE_MAX), 45 * RANDOM_SCALE_MAX);
	}
}
END_TEST

START_TEST(below_is_even)
{
	struct random r = random_open(2, 0);
	unsigned count[7] = {0}, even = 0;

	for (int i = 0; i < 70000; i++)
		count[random_below(&r, 7)]++;
	for (int i = 0; i < 7; i++)
		ck_assert(count[i] > 9600 && count[i] < 10400);
	/* of two thirds of 2^64, a third of the words is refused: or even numbers were as likely again */
	for (int i = 0; i < 30000; i++) {
		const uint64_t n = UINT64_C(0xaaaaaaaaaaaaaaab), x = random_below(&r, n);

		EXPECT(x < n);
		even += x % 2 == 0;
	}
	ck_assert(even > 14500 && even < 15500);
	ck_assert_uint_eq(random_below(&r, 1), 0);
}
END_TEST

START_TEST(streams_differ)
{
	struct random a = random_open(1, 0), b = random_open(1, 1), c = random_open(2, 0), d = random_open(1, 0);
	unsigned same = 0;

	for (int i = 0; i < 1000; i++) {
		const uint64_t x = random_next(&a), y = random_next(&b), z = random_next(&c);

		same += x == y || y == z || x == z;
		EXPECT(random_next(&d) == x);
	}
	ck_assert_uint_eq(same, 0);
}
END_TEST

/* ---- events ---- */

static uint64_t sum_of(enum workload_kind kind, const struct workload_options *options)
{
	struct failure f = {0};
	struct workload *w = workload_open(kind, options, &f);
	uint64_t sum = 0;
	struct event e;

	ck_assert_msg(w != NULL, "%s", f.text);
	while (workload_next(w, &e, &f) == EVENT_ONE)
		sum = ((sum * 31 + e.time_us) * 31 + e.guest * 2u + e.kind) * 31 + e.size + e.life_us * 7 +
		      e.cpu_millis;
	ck_assert_int_eq(f.code, 0);
	workload_close(w);
	return sum;
}

/* These change only when a workload does: then its results are no longer comparable. */
static const uint64_t sums[WORKLOADS] = {UINT64_C(0xfe3c1ef5462bc3d8), UINT64_C(0x598253d518233fb0),
					 UINT64_C(0x3fb7ec1aa43f4096), UINT64_C(0xe0d9695b232d27be),
					 UINT64_C(0x83bac9e5ddfbf134), UINT64_C(0xc2e1e44bc22ea589)};

START_TEST(same_on_every_machine)
{
	for (unsigned kind = 0; kind < WORKLOADS; kind++) {
		const struct workload_options options = {.seed = 42, .arrivals = 10000},
					      other = {.seed = 43, .arrivals = 10000};
		const uint64_t sum = sum_of((enum workload_kind)kind, &options);

		ck_assert_msg(sum == sums[kind], "%s: 0x%016" PRIx64, kinds[kind], sum);
		ck_assert_uint_ne(sum_of((enum workload_kind)kind, &other), sum);
	}
}
END_TEST

struct seen {
	double size, life, cpu; /* means */
	uint64_t least, most, last_us;
	uint64_t arrivals, departures;
};

static struct seen look(enum workload_kind kind, const struct workload_options *options)
{
	struct failure f = {0};
	struct workload *w = workload_open(kind, options, &f);
	struct seen s = {.least = UINT64_MAX};
	uint64_t now = 0;
	struct event e;

	ck_assert_msg(w != NULL, "%s", f.text);
	while (workload_next(w, &e, &f) == EVENT_ONE) {
		EXPECT(e.time_us >= now);
		now = e.time_us;
		if (e.kind == EVENT_DEPART) {
			s.departures++;
			continue;
		}
		EXPECT(e.number == s.arrivals && e.size && e.size <= EVENT_SIZE_MAX);
		EXPECT(e.life_us != EVENT_LIFE_UNKNOWN && e.node == EVENT_NODE_ANY && e.movable && !e.pinned);
		s.arrivals++;
		s.size += (double)e.size;
		s.life += (double)e.life_us;
		s.cpu += e.cpu_millis;
		s.least = e.size < s.least ? e.size : s.least;
		s.most = e.size > s.most ? e.size : s.most;
		s.last_us = now;
	}
	s.size /= (double)s.arrivals;
	s.life /= (double)s.arrivals;
	s.cpu /= (double)s.arrivals;
	workload_close(w);
	return s;
}

static bool near(double value, double expected, double part)
{
	return fabs(value - expected) < part * expected;
}

START_TEST(means_are_as_asked)
{
	for (unsigned kind = 0; kind < WORKLOADS; kind++) {
		const struct workload_options o = {
			.seed = 7, .arrivals = DRAWS, .interval_us = 12345, .life_us = 777777};
		const struct seen s = look((enum workload_kind)kind, &o);

		ck_assert(s.arrivals == DRAWS && s.departures == DRAWS);
		ck_assert(near((double)s.last_us, 12345.0 * DRAWS, 0.01));
		ck_assert_msg(near(s.life, 777777, 0.02), "%s: %f", kinds[kind], s.life);
	}
}
END_TEST

START_TEST(sizes_are_as_said)
{
	const double mib = 1 << 20;
	const struct workload_options o = {.seed = 3, .arrivals = DRAWS};
	const struct workload_options wide = {.seed = 3, .arrivals = DRAWS, .size_min = 100, .size_max = 1000};
	const struct workload_options mean = {.seed = 3, .arrivals = DRAWS, .size_mean = 1000};
	struct seen s = look(WORKLOAD_VM, &o);

	/* 604 * 1792 + 185 * 3584 + 99 * 7168 + 90 * 14336 + 16 * 768 + 6 * 57344, of 1000 */
	ck_assert(near(s.size, 4101.6 * mib, 0.01) && near(s.cpu, 2154, 0.01));
	ck_assert(s.least == 768 << 20 && s.most == UINT64_C(57344) << 20);
	s = look(WORKLOAD_TASKS, &o);
	ck_assert(s.least == 17 << 20 && s.most <= UINT64_C(4096) << 20 && s.most > UINT64_C(4050) << 20);
	ck_assert(near(s.size, 1.5 * 16 * 255 / 8 * mib, 0.02)); /* the mean of eight ranges' middles */
	s = look(WORKLOAD_SPECTRUM, &o);
	ck_assert(s.least == 5 && s.most == 100 && near(s.size, 435.0 / 14, 0.01) && s.cpu == 0);
	s = look(WORKLOAD_CARGO, &o);
	ck_assert(s.least == 3 && s.most == 20 && near(s.size, 11.5, 0.01));
	s = look(WORKLOAD_UNIFORM, &wide);
	ck_assert(s.least == 100 && s.most == 1000 && near(s.size, 550, 0.01));
	s = look(WORKLOAD_EXPONENTIAL, &mean);
	ck_assert(s.least == 1 && s.most > 8000 && near(s.size, 999.5, 0.01)); /* what is rounded down is 1/2 */
	s = look(WORKLOAD_TASKS, &wide);
	ck_assert(s.least == 1 << 20 && s.most == 1 << 20 && s.cpu == 100);
}
END_TEST

/* Other sizes and lives meet the same arrivals. */
START_TEST(streams_are_apart)
{
	const struct workload_options a = {.seed = 5, .arrivals = 1000};
	const struct workload_options b = {.seed = 5, .arrivals = 1000, .size_max = 1u << 20, .life_us = 9};
	struct failure f = {0};
	struct workload *x = workload_open(WORKLOAD_UNIFORM, &a, &f), *y = workload_open(WORKLOAD_UNIFORM, &b, &f);

	for (int i = 0; i < 1000; i++) {
		struct event e, g;

		do
			EXPECT(workload_next(x, &e, &f) == EVENT_ONE);
		while (e.kind != EVENT_ARRIVE);
		do
			EXPECT(workload_next(y, &g, &f) == EVENT_ONE);
		while (g.kind != EVENT_ARRIVE);
		EXPECT(e.time_us == g.time_us);
	}
	workload_close(x);
	workload_close(y);
}
END_TEST

/* Written and read again, it is the same, and the first numbers of guests with it. */
START_TEST(saved)
{
	const struct workload_options options = {.seed = 9, .arrivals = 5000};
	const struct trace_writer_options w_options = {.unit = "byte"};
	const struct trace_options strict = {0};

	for (unsigned kind = 0; kind < WORKLOADS; kind++) {
		struct failure f = {0};
		struct workload *w = workload_open((enum workload_kind)kind, &options, &f);
		struct text_file *out = trace_writer_open(rig_file(2), &w_options, &f);
		bool there[5000] = {0};
		struct rig_told told;
		struct event e;
		char *text;
		size_t size;
		FILE *to = open_memstream(&text, &size);

		while (workload_next(w, &e, &f) == EVENT_ONE) {
			const uint64_t number = e.kind == EVENT_ARRIVE ? e.number : workload_departed(w);
			char name[32];

			EXPECT(number < options.arrivals && there[number] == (e.kind == EVENT_DEPART));
			there[number] = e.kind == EVENT_ARRIVE;
			snprintf(name, sizeof(name), "%" PRIu64, number);
			EXPECT(trace_writer_add(out, &e, (struct csv_field){name, strlen(name)}, &f) == 0);
			rig_tell(to, &e);
		}
		fclose(to);
		workload_close(w);
		ck_assert_int_eq(text_file_close(out, &f), 0);
		told = rig_play(rig_file(2), TRACE_SLAT, &strict);
		ck_assert_int_eq(told.f.code, 0);
		ck_assert(strcmp(told.text, text) == 0);
		free(told.text);
		free(text);
	}
}
END_TEST

static const struct {
	enum workload_kind kind;
	struct workload_options options;
	const char *sentence;
} refused[] = {
	{WORKLOAD_VM, {.size_max = 5}, "the workload vm has no smallest and largest size"},
	{WORKLOAD_SPECTRUM, {.size_min = 5}, "the workload spectrum has no smallest and largest size"},
	{WORKLOAD_UNIFORM, {.size_mean = 5}, "the workload uniform has no mean size"},
	{WORKLOAD_UNIFORM, {.size_min = 500}, "a workload's sizes go from the smallest to the largest, up to 2^55"},
	{WORKLOAD_UNIFORM, {.size_max = WORKLOAD_SIZE_MAX + 1}, "a workload's sizes go"},
	{WORKLOAD_EXPONENTIAL, {.size_mean = WORKLOAD_SIZE_MAX + 1}, "a workload's sizes go"},
	{WORKLOAD_VM, {.arrivals = WORKLOAD_ARRIVALS_MAX + 1}, "a workload takes at most 2^40 arrivals"},
	{WORKLOAD_VM, {.life_us = WORKLOAD_TIME_MAX / 2 + 1}, "a workload takes at most 2^40 arrivals"},
	{WORKLOAD_VM,
	 {.arrivals = 1000, .interval_us = WORKLOAD_TIME_MAX / 2000 + 1},
	 "a workload takes at most 2^40 arr"},
	{WORKLOAD_VM, {.interval_us = UINT64_MAX}, "a workload takes at most 2^40 arrivals"},
};

START_TEST(options_out_of_range)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct failure f = {0};

		ck_assert_ptr_null(workload_open(refused[i].kind, &refused[i].options, &f));
		ck_assert_int_eq(f.code, EXIT_USAGE);
		ck_assert_msg(strstr(f.text, refused[i].sentence) == f.text, "%s", f.text);
	}
}
END_TEST

/* The largest of all: nothing wraps. */
START_TEST(at_the_limits)
{
	const struct workload_options o[] = {
		{.arrivals = 2000, .interval_us = WORKLOAD_TIME_MAX / 4000, .life_us = WORKLOAD_TIME_MAX / 2},
		{.arrivals = 2000, .size_max = WORKLOAD_SIZE_MAX},
		{.arrivals = 2000, .size_mean = WORKLOAD_SIZE_MAX},
		{.arrivals = 2000, .size_min = WORKLOAD_SIZE_MAX, .size_max = WORKLOAD_SIZE_MAX},
		{.arrivals = 2000, .size_mean = 1},
	};

	ck_assert_uint_eq(look(WORKLOAD_VM, &o[0]).departures, 2000);
	ck_assert_uint_gt(look(WORKLOAD_TASKS, &o[1]).most, WORKLOAD_SIZE_MAX / 2);
	ck_assert_uint_gt(look(WORKLOAD_UNIFORM, &o[1]).most, WORKLOAD_SIZE_MAX / 2);
	ck_assert_uint_gt(look(WORKLOAD_EXPONENTIAL, &o[2]).most, WORKLOAD_SIZE_MAX);
	ck_assert_uint_eq(look(WORKLOAD_TASKS, &o[3]).least, WORKLOAD_SIZE_MAX);
	ck_assert_uint_eq(look(WORKLOAD_EXPONENTIAL, &o[4]).most, 1);
}
END_TEST

START_TEST(no_memory)
{
	for (uint64_t n = 1;; n++) {
		const struct workload_options options = {.arrivals = 1000, .life_us = 100000000000, .fail_after = n};
		struct failure f = {0};
		struct workload *w = workload_open(WORKLOAD_VM, &options, &f);
		struct event e;

		while (w && workload_next(w, &e, &f) == EVENT_ONE)
			;
		workload_close(w);
		if (!f.code) {
			ck_assert_uint_gt(n, 10);
			break;
		}
		ck_assert(f.code == EXIT_HOST && strncmp(f.text, "no memory for ", 14) == 0);
	}
}
END_TEST

START_TEST(names)
{
	enum workload_kind kind;

	for (unsigned i = 0; i < WORKLOADS; i++) {
		ck_assert(workload_kind_parse(kinds[i], &kind) && kind == (enum workload_kind)i);
		ck_assert_str_eq(workload_kind_name(kind), kinds[i]);
	}
	ck_assert(!workload_kind_parse("vms", &kind));
	ck_assert_str_eq(workload_unit(WORKLOAD_SPECTRUM), "MHz");
}
END_TEST

Suite *workload_suite(void)
{
	Suite *suite = suite_create("workload");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, rig_setup, rig_teardown);
	tcase_add_test(all, first_numbers);
	tcase_add_test(all, table_of_logarithms);
	tcase_add_test(all, exponential_beside_libm);
	tcase_add_test(all, exponential_at_its_ends);
	tcase_add_test(all, below_is_even);
	tcase_add_test(all, streams_differ);
	tcase_add_test(all, same_on_every_machine);
	tcase_add_test(all, means_are_as_asked);
	tcase_add_test(all, sizes_are_as_said);
	tcase_add_test(all, streams_are_apart);
	tcase_add_test(all, saved);
	tcase_add_test(all, options_out_of_range);
	tcase_add_test(all, at_the_limits);
	tcase_add_test(all, no_memory);
	tcase_add_test(all, names);
	suite_add_tcase(suite, all);
	return suite;
}
