/* What the points of a sweep came to, by policy: which are samples of which, what is better, and what the page says.
 * Points and results are written by hand; how pages look is seen in tests/browser.sh. */
#include <check.h>
#undef fail
#include <stdarg.h>
#include <string.h>

#include "tests/unit/trace_rig.h"
#include "vmm/pack/compare.h"
#include "vmm/pack/report_sweep.h"

Suite *compare_suite(void);

#define POINTS 400u

static struct sweep_point point[POINTS];
static struct sweep s;
static json_t *results;
static struct failure failure;
static char *page;

static void begin(void)
{
	rig_setup();
	s = (struct sweep){.point = point};
	results = json_array();
	failure = (struct failure){0};
	page = NULL;
}

static void end(void)
{
	for (uint32_t i = 0; i < s.points; i++)
		free(point[i].name);
	json_decref(results);
	free(page);
	rig_teardown();
}

/* Of the workload, or of a trace if it is "". */
static json_t *add(const char *workload, const char *choose, const char *wait, const char *name, ...)
	__attribute__((format(printf, 4, 5)));

static json_t *add(const char *workload, const char *choose, const char *wait, const char *name, ...)
{
	json_t *result = json_pack("{s:{s:s*, s:s, s:s, s:i, s:[{s:i}]}, s:{}}", "experiment", "workload",
				   workload[0] ? workload : NULL, "choose", choose, "on_refuse", wait, "granule", 2,
				   "hosts", "memory", 1000, "refused");
	va_list list;

	ck_assert(result && s.points < POINTS);
	json_object_set_new(result, "unit", json_string(strcmp(workload, "cargo") == 0 ? "metre" : "byte"));
	va_start(list, name);
	ck_assert_int_gt(vasprintf(&point[s.points++].name, name, list), 0);
	va_end(list);
	json_array_append_new(results, result);
	return result;
}

static void set(json_t *result, const char *key, uint64_t value)
{
	json_object_set_new(result, key, json_integer((json_int_t)value));
}

static void refused(json_t *result, uint64_t total, uint64_t units)
{
	set(json_object_get(result, "refused"), "total", total);
	set(json_object_get(result, "refused"), "units", units);
}

static const char *report(void)
{
	static char one[] = "--merge", *const word[] = {one};
	size_t size;

	ck_assert_int_eq(report_sweep(&s, results, rig_file(0), word, 1, &failure), 0);
	page = rig_read(rig_file(0), &size);
	return page;
}

static void says(const char *text)
{
	ck_assert_msg(strstr(page, text) != NULL, "%s is not in %.3000s", text, strstr(page, "<main>"));
}

static void says_not(const char *text)
{
	ck_assert_msg(strstr(page, text) == NULL, "%s is there", text);
}

static unsigned times(const char *text)
{
	unsigned n = 0;

	for (const char *at = page; (at = strstr(at, text)); at += strlen(text))
		n++;
	return n;
}

static const struct compare_figure *figure(const char *id)
{
	for (uint32_t i = 0; i < compare_figures_count; i++)
		if (strcmp(compare_figures[i].id, id) == 0)
			return &compare_figures[i];
	ck_abort_msg("no figure %s", id);
}

/* ---- samples ---- */

/* A trace is the same whatever the seed is: equal runs are one. */
START_TEST(a_trace_is_one_run)
{
	struct compare c;

	for (unsigned seed = 1; seed <= 3; seed++) {
		refused(add("", "best", "drop", "t.csv --fit=a --seed=%u", seed), 10, 100);
		refused(add("", "best", "drop", "t.csv --fit=b --seed=%u", seed), 13, 90);
	}
	ck_assert_int_eq(compare_open(&c, &s, results, &failure), 0);
	ck_assert(c.groups == 1 && c.policies == 2 && c.group[0]->runs == 1 && c.group[0]->policy[0]->played == 3);
	ck_assert(!compare_span(c.group[0], c.group[0]->policy[0], figure("refused")).known);
	compare_close(&c);
	(void)report();
	says("One run: nothing is known of chance.");
	says(">Guests refused</text>");
	says(">Refused, by what they asked for, bytes</text>");
	says(">3 more, of one run<");
	says(">20 bytes more, of one run<");
	says_not("±");
	says_not("both met the same guests");
	says_not("class=\"whisker\"");
}
END_TEST

/* Only who chooses at random has several runs of a trace, and whom it is compared with is the same in each. */
START_TEST(a_trace_and_luck)
{
	static const unsigned lucky[] = {10, 11, 12, 13, 14}, close[] = {14, 9, 15, 10, 16};
	struct compare_difference d;
	struct compare_span span;
	struct compare c;

	for (unsigned i = 0; i < 5; i++) {
		refused(add("", "best", "drop", "t.csv --choose=best --seed=%u", i), 20, 0);
		refused(add("", "random", "drop", "t.csv --choose=random --seed=%u", i), lucky[i], 0);
		refused(add("", "two", "drop", "t.csv --choose=two --seed=%u", i), close[i], 0);
	}
	ck_assert_int_eq(compare_open(&c, &s, results, &failure), 0);
	ck_assert(c.group[0]->runs == 5 && c.group[0]->policy[0]->runs == 1 && c.group[0]->policy[1]->runs == 5);
	span = compare_span(c.group[0], c.group[0]->policy[1], figure("refused"));
	ck_assert(span.known && span.mean == 12000 && span.half == 1963); /* 2.776 * sqrt(2.5 / 5) */
	d = compare_difference(c.group[0], c.group[0]->policy[0], c.group[0]->policy[1], figure("refused"));
	ck_assert(d.runs == 5 && d.mean == 8000 && d.half == 1963 && d.beyond && !d.same);
	d = compare_difference(c.group[0], c.group[0]->policy[2], c.group[0]->policy[1], figure("refused"));
	ck_assert(d.runs == 5 && d.mean == 800 && !d.beyond);
	compare_close(&c);
	(void)report();
	says("One trace: nothing is known of other guests.");
	says(">8 ± 1.96 more<");
	says("<td>no difference beyond chance</td>");
	says_not("are few");
}
END_TEST

/* Who met other guests, or other hosts, is compared with nobody. */
START_TEST(groups_are_apart)
{
	struct compare c;

	for (unsigned seed = 1; seed <= 2; seed++)
		for (unsigned hosts = 1; hosts <= 2; hosts++) {
			refused(add("vm", "best", "drop", "--hosts=%u --workload=vm --seed=%u", hosts, seed), seed,
				100);
			refused(add("cargo", "best", "drop", "--hosts=%u --workload=cargo --seed=%u", hosts, seed),
				seed + 1, 200);
		}
	ck_assert_int_eq(compare_open(&c, &s, results, &failure), 0);
	ck_assert(c.groups == 4 && c.policies == 4);
	ck_assert_str_eq(c.group[0]->name, "hosts=1 workload=vm");
	ck_assert_str_eq(c.group[1]->policy[0]->name, "");
	compare_close(&c);
	(void)report();
	says("<h2>hosts=2 workload=cargo</h2>");
	says("4 policies in 4 groups of other guests or hosts");
	says("2 seeds are few:");
	says_not("against the best");
	says_not("both met the same guests");
	ck_assert_uint_eq(times("id=\"refused\""), 1);
	ck_assert_uint_eq(times("id=\"refused3\""), 1);
	says("Refused, by what they asked for: 200 bytes");
	says("Refused, by what they asked for: 400");
}
END_TEST

/* A fraction is at most 1, and nothing is below 0. */
START_TEST(intervals_end_where_figures_do)
{
	json_t *a = add("vm", "best", "drop", "--seed=1"), *b = add("vm", "best", "drop", "--seed=2");

	set(a, "utilisation_mean_ppm", 707500);
	set(b, "utilisation_mean_ppm", 769700);
	refused(a, 0, 0);
	refused(b, 4, 0);
	(void)report();
	says("73.86 % (34.34 % to 100.00 %)");
	says("2 (0 to 27.4)");
	says_not(">120<");
	says_not(">150<");
}
END_TEST

START_TEST(the_same_in_each_run)
{
	for (unsigned seed = 1; seed <= 6; seed++) {
		refused(add("vm", "best", "drop", "--fit=a --seed=%u", seed), seed, 8);
		refused(add("vm", "best", "drop", "--fit=b --seed=%u", seed), seed + 3, 9);
		refused(add("vm", "best", "drop", "--fit=c --seed=%u", seed), seed, 10);
	}
	(void)report();
	says(">3 more in each of 6 runs<");
	says(">the same<");
	says_not("± 0");
}
END_TEST

/* ---- what is better ---- */

/* N: buddy uses most, because it rounds up, and what it has of guests is least. */
START_TEST(waste_is_no_use)
{
	json_t *a = add("", "best", "drop", "--fit=first"), *b = add("", "best", "drop", "--fit=buddy");

	set(a, "utilisation_mean_ppm", 801400);
	set(a, "internal_fragmentation_ppm", 0);
	set(b, "utilisation_mean_ppm", 860100);
	set(b, "internal_fragmentation_ppm", 126146);
	(void)report();
	says("Memory asked for by who lives, mean<");
	says("<th scope=\"row\">fit=first</th><td class=\"n\">80.14 %</td><td>best</td>");
	says("<th scope=\"row\">fit=buddy</th><td class=\"n\">75.16 %</td><td>4.97 percentage points less, of one "
	     "run</td>");
	says("neither more nor less is better");
	says(">86.01 %</text>");
	says_not("% less");
	says_not("% more");
}
END_TEST

/* Who waits is not refused, and who is refused does not wait. */
START_TEST(waiting_is_no_win)
{
	json_t *a = add("", "best", "drop", "--on-refuse=drop"), *b = add("", "best", "wait", "--on-refuse=wait");

	refused(a, 40, 400);
	refused(b, 0, 0);
	set(a, "utilisation_mean_ppm", 300000);
	set(b, "utilisation_mean_ppm", 400000);
	(void)report();
	says("neither is better: some policies refuse, some let wait");
	says_not(">best");
}
END_TEST

/* 2.776 * sqrt(10 / 5) * 0.2 of the differences. */
START_TEST(a_difference_of_percentages)
{
	for (unsigned n = 1; n <= 5; n++) {
		set(add("vm", "best", "drop", "--fit=a --seed=%u", n), "utilisation_mean_ppm", 500000 + 1000 * n);
		set(add("vm", "best", "drop", "--fit=b --seed=%u", n), "utilisation_mean_ppm", 400000 - 1000 * n);
	}
	(void)report();
	says(">10.60 ± 0.39 percentage points less<");
	says("50.30 % ± 0.19 %");
}
END_TEST

/* Whatever policies change is drawn, and nothing else. */
START_TEST(what_differs_is_drawn)
{
	static const struct {
		const char *key, *id, *text;
	} all[] = {
		{"internal_fragmentation_ppm", "internal", ">5.00 percentage points more, of one run<"},
		{"local_ppm", "local", ">5.00 percentage points less, of one run<"},
		{"hosts_empty_mean_milli", "empty", ">100<"},
		{"moves", "moves", ">100,000<"},
		{"units_moved", "moved", ">195 KiB<"},
		{"wait_mean_us", "wait", ">100 ms<"},
		{"wait_p99_us", "longwait", ">100 ms<"},
		{"waiting", "waiting", ">100,000<"},
	};
	char id[32];

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		json_t *a, *b;

		end();
		begin();
		a = add("", "best", "drop", "--compact=never");
		b = add("", "best", "wait", "--compact=refused");
		set(a, "external_fragmentation_ppm", 123400);
		set(b, "external_fragmentation_ppm", 123400);
		set(a, all[i].key, 100000);
		set(b, all[i].key, 50000);
		(void)report();
		says(all[i].text);
		for (unsigned n = 0; n < sizeof(all) / sizeof(*all); n++) {
			snprintf(id, sizeof(id), "id=\"%s\"", all[n].id);
			ck_assert_msg((strstr(page, id) != NULL) == (n == i), "%s, where %s differs", id, all[i].key);
		}
		says("External fragmentation, mean: 12.34 %");
		says_not("id=\"external\"");
		if (strstr(all[i].id, "wait"))
			says("neither is better: some policies refuse, some let wait");
	}
}
END_TEST

/* Of many the best and the worst, and the page says so: here, the first points are in the middle. */
START_TEST(both_ends_of_many)
{
	for (unsigned i = 0; i < 100; i++)
		refused(add("", "best", "drop", "--granule=%u", 1000 + (i + 50) % 100), 5000 + (i + 50) % 100, 7);
	(void)report();
	says("of 100 policies the 20 best and the 20 worst are drawn");
	ck_assert_uint_eq(times("class=\"name\""), 40);
	says(">granule=1000<");
	says(">granule=1019<");
	says_not(">granule=1020<");
	says_not(">granule=1050<");
	says_not(">granule=1079<");
	says(">granule=1080<");
	says(">granule=1099<");
	says(">99 more, of one run<");
	says("The axis begins at 5,000, not at 0.");
}
END_TEST

START_TEST(many_of_which_more_is_better)
{
	for (unsigned i = 0; i < 60; i++)
		set(add("", "best", "drop", "--granule=%u", 1000 + i), "utilisation_mean_ppm",
		    i < 50 ? 500000 : 100000 + i);
	(void)report();
	says(">granule=1000<");
	says(">best<");
	says(">granule=1050<");
	says("of 60 policies the 20 lowest and the 20 highest are drawn");
}
END_TEST

START_TEST(what_figures_mean)
{
	json_t *a = add("", "best", "drop", "--fit=a"), *b = add("", "best", "drop", "--fit=b");

	set(a, "external_fragmentation_ppm", 500000);
	set(b, "external_fragmentation_ppm", 600000);
	for (unsigned i = 0; i < 2; i++)
		set(json_array_get(json_object_get(json_object_get(i ? b : a, "experiment"), "hosts"), 0), "nodes", 2);
	(void)report();
	says("outside each host’s largest hole; an empty host of 2 nodes has about 50 %");
	says("that after the last arrival is in them");
}
END_TEST

START_TEST(means_as_csv)
{
	struct compare c;
	size_t size;
	FILE *out;

	for (unsigned n = 1; n <= 2; n++) {
		json_t *a = add("cargo", "best", "drop", "--host=memory=1,cpus=2 --seed=%u", n);

		refused(a, n, 10 * n);
		set(a, "utilisation_mean_ppm", 700000 + 100000 * n);
		json_t *b = add("cargo", "best", "drop", "--host=memory=\"2 --seed=%u", n);

		refused(b, 4, 40);
	}
	refused(add("", "best", "drop", "--host=memory=3 --seed=1"), 3, 7);
	ck_assert_int_eq(compare_open(&c, &s, results, &failure), 0);
	out = open_memstream(&page, &size);
	ck_assert_ptr_nonnull(out);
	compare_write(&c, out);
	fclose(out);
	compare_close(&c);
	ck_assert(strncmp(page, "guests,policy,figure,unit,runs,mean,half_width,low,high\n", 56) == 0);
	says("\n\"host=memory=1,cpus=2\",\"\",refused,count,2,1.5,6.353,0,7.853\n");
	says("\n\"host=memory=1,cpus=2\",\"\",amount,metre,2,30,128,0,158\n");
	says("\n\"host=memory=1,cpus=2\",\"\",use,ppm,2,850000,635300,214700,1000000\n");
	says("\n\"host=memory=\"\"2\",\"\",refused,count,2,4,0,4,4\n");
	says("\n\"host=memory=3\",\"\",amount,byte,1,14,,,\n");
	says_not("over,");
}
END_TEST

START_TEST(nowhere_to_write)
{
	refused(add("", "best", "drop", "--fit=first"), 1, 1);
	ck_assert_int_ne(report_sweep(&s, results, "/nonexistent/x", NULL, 0, &failure), 0);
}
END_TEST

Suite *compare_suite(void)
{
	Suite *suite = suite_create("compare");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, begin, end);
	tcase_add_test(all, a_trace_is_one_run);
	tcase_add_test(all, a_trace_and_luck);
	tcase_add_test(all, groups_are_apart);
	tcase_add_test(all, intervals_end_where_figures_do);
	tcase_add_test(all, the_same_in_each_run);
	tcase_add_test(all, waste_is_no_use);
	tcase_add_test(all, waiting_is_no_win);
	tcase_add_test(all, a_difference_of_percentages);
	tcase_add_test(all, what_differs_is_drawn);
	tcase_add_test(all, both_ends_of_many);
	tcase_add_test(all, many_of_which_more_is_better);
	tcase_add_test(all, what_figures_mean);
	tcase_add_test(all, means_as_csv);
	tcase_add_test(all, nowhere_to_write);
	suite_add_tcase(suite, all);
	return suite;
}
