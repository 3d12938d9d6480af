/* tests/unit/test_foresight.c: how long guests stay, beside a list of who came when; from files in which
 * names come again and some never leave. Then what cannot be read, or not twice, and no memory at each point. */
#include <check.h>
#undef fail
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "vmm/pack/foresight.h"

#define NAMES  3000u
#define EVENTS 20000u

static char path[64];
static uint64_t life[EVENTS];
static uint32_t arrivals;

static void trace_make(uint32_t names)
{
	uint64_t time = 0, came[NAMES];
	uint32_t number[NAMES];
	bool there[NAMES] = {false};
	FILE *out = fopen(path, "w");

	ck_assert(out != NULL);
	fputs("time_s,event,vm_id,size\n", out);
	arrivals = 0;
	for (uint32_t i = 0; i < EVENTS; i++) {
		uint32_t name = (uint32_t)below(names);

		time += below(5);
		if (there[name]) {
			life[number[name]] = (time - came[name]) * 1000000;
			fprintf(out, "%lu,depart,%u,\n", (unsigned long)time, name);
		} else {
			life[arrivals] = EVENT_LIFE_UNKNOWN;
			came[name] = time;
			number[name] = arrivals++;
			fprintf(out, "%lu,arrive,%u,7\n", (unsigned long)time, name);
		}
		there[name] = !there[name];
	}
	ck_assert_int_eq(fclose(out), 0);
}

static void setup(void)
{
	snprintf(path, sizeof(path), "/tmp/slat_foresight.%d", (int)getpid());
}

static void teardown(void)
{
	(void)unlink(path);
}

static const struct trace_options plain = {.machine = TRACE_MACHINE_ANY};

START_TEST(lives)
{
	seed(3);
	for (uint32_t names = 1; names <= NAMES; names = names * 3 + 7) {
		struct failure f = {0};
		struct foresight *s;

		trace_make(names);
		s = foresight_open(path, TRACE_SLAT, &plain, &f);
		ck_assert_msg(s != NULL, "%s", f.text);
		for (uint32_t i = 0; i < arrivals; i++)
			ck_assert_uint_eq(foresight_life(s, i), life[i]);
		ck_assert_uint_eq(foresight_life(s, arrivals), EVENT_LIFE_UNKNOWN);
		foresight_close(s);
	}
	foresight_close(NULL);
}
END_TEST

static void refused(const char *name, int code, const char *says, uint64_t fail_after)
{
	struct trace_options options = {.machine = TRACE_MACHINE_ANY, .fail_after = fail_after};
	struct failure f = {0};

	ck_assert(foresight_open(name, TRACE_SLAT, &options, &f) == NULL);
	ck_assert_msg(f.code == code && strstr(f.text, says), "%d: %s", f.code, f.text);
}

START_TEST(refusals)
{
	struct trace_options options = {.machine = TRACE_MACHINE_ANY, .skip_bad = true};
	struct failure f = {0};
	struct foresight *s;
	FILE *out;

	refused("/nonexistent/x", EXIT_HOST, "/nonexistent/x cannot be read: No such file", 0);
	refused("-", EXIT_USAGE, "--lifetimes known: standard input has no column life_s, and is no file", 0);
	refused("/dev/null", EXIT_USAGE, "/dev/null has no column life_s", 0);
	out = fopen(path, "w");
	ck_assert(out != NULL);
	fputs("time_s,event,vm_id,size\n1,arrive,a,1\n0,depart,a,\n3,depart,a,\n", out);
	ck_assert_int_eq(fclose(out), 0);
	refused(path, EXIT_IMAGE, "line 3: time goes back", 0);
	s = foresight_open(path, TRACE_SLAT, &options, &f);
	ck_assert(s != NULL && foresight_life(s, 0) == 2000000);
	foresight_close(s);
	seed(9);
	trace_make(NAMES);
	for (uint64_t n = 1; n <= 3; n++)
		refused(path, EXIT_HOST,
			n == 1 ? "no memory for the lifetimes of /tmp" : "no memory for the lifetimes of 1", n);
}
END_TEST

Suite *foresight_suite(void);

Suite *foresight_suite(void)
{
	Suite *suite = suite_create("foresight");
	TCase *tests = tcase_create("plain");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, lives);
	tcase_add_test(tests, refusals);
	suite_add_tcase(suite, tests);
	return suite;
}
