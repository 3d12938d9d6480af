/* Files of JSON that say what to play: what cannot be read is not what the user wrote wrong; and a point whose trace
 * is written to under its feet is not kept. The command is in tests/cli.sh, any bytes in fuzz_pack_files.c. */
#include <check.h>
#undef fail
#include <string.h>

#include "tests/unit/trace_rig.h"
#include "vmm/pack/fleet_file.h"
#include "vmm/pack/json_file.h"
#include "vmm/pack/sweep.h"

Suite *sweep_suite(void);

/* ---- memory that is refused to jansson ---- */

static uint64_t refuse_at, asked;

static void *refusing(size_t bytes)
{
	return ++asked == refuse_at ? NULL : malloc(bytes);
}

static void refuse(uint64_t at)
{
	asked = 0;
	refuse_at = at;
}

static int taken(void *self, const struct fleet_kind *k, struct failure *f)
{
	(void)f;
	ck_assert(k->hosts == 3 && strcmp(k->list, "nodes=2,memory=8G") == 0 && k->latency_ns.at[1][0] == 170);
	++*(unsigned *)self;
	return 0;
}

static const char fleet[] = "[{\"hosts\": 3, \"nodes\": 2, \"memory\": \"8G\", \"latency\": [[80, 160], [170, 80]]}]";

START_TEST(fleet_without_memory)
{
	unsigned kinds = 0, refused = 0, said = 0;

	rig_write(0, fleet, sizeof(fleet) - 1);
	json_set_alloc_funcs(refusing, free);
	for (uint64_t n = 1;; n++) {
		struct failure f = {0};
		char expected[160];
		int code;

		refuse(n);
		code = fleet_file_read(rig_file(0), taken, &kinds, &f);
		if (code == 0 && asked < n)
			break;
		if (code == 0)
			continue; /* it did without */
		snprintf(expected, sizeof(expected), "--fleet: %s: no memory to read it", rig_file(0));
		if (code != EXIT_USAGE ||
		    !strstr(f.text, " near '")) { /* jansson takes a word without memory for none */
			ck_assert_int_eq(code, EXIT_HOST);
			ck_assert_str_eq(f.text, expected);
			said++;
		}
		ck_assert_uint_eq(kinds, 0);
		refused++;
	}
	ck_assert_uint_eq(kinds, 1);
	ck_assert_uint_gt(said, 10);
	ck_assert_uint_lt(refused - said, said);
}
END_TEST

static int refuses(void *self, const struct fleet_kind *k, struct failure *f)
{
	(void)self;
	(void)k;
	return fail(f, EXIT_HOST, "not today");
}

START_TEST(files_that_cannot_be_read)
{
	struct failure f = {0};
	unsigned kinds = 0;
	struct sweep s;

	ck_assert_int_eq(fleet_file_read("/nonexistent", taken, &kinds, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--fleet: /nonexistent: it cannot be read: No such file or directory");
	f = (struct failure){0};
	ck_assert_int_eq(fleet_file_read("/tmp", taken, &kinds, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--fleet: /tmp: it cannot be read: Is a directory");
	f = (struct failure){0};
	ck_assert_int_eq(sweep_open(&s, "/tmp", NULL, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "/tmp: it cannot be read: Is a directory");
	sweep_close(&s);
	f = (struct failure){0};
	rig_write(0, fleet, 20); /* cut short: that is what the user wrote */
	ck_assert_int_eq(fleet_file_read(rig_file(0), taken, &kinds, &f), EXIT_USAGE);
	ck_assert_msg(strstr(f.text, "line 1: ") != NULL, "%s", f.text);
	f = (struct failure){0};
	rig_write(0, fleet, sizeof(fleet) - 1);
	ck_assert_int_eq(fleet_file_read(rig_file(0), refuses, NULL, &f), EXIT_HOST);
	ck_assert_msg(strstr(f.text, ", kind 0 (from 0): not today") != NULL, "%s", f.text);
	ck_assert_uint_eq(kinds, 0);
}
END_TEST

/* ---- points ---- */

static const char trace[] = "time_s,event,vm_id,size\n0,arrive,a,7\n1,depart,a,\n";

static void sweep_of(struct sweep *s)
{
	struct failure f = {0};
	char text[256];

	rig_write(0, trace, sizeof(trace) - 1);
	snprintf(text, sizeof(text), "{\"options\": [\"%s\"], \"cross\": {\"fit\": [\"first\", \"best\"]}}",
		 rig_file(0));
	rig_write(1, text, strlen(text));
	ck_assert_msg(sweep_open(s, rig_file(1), rig_dir, &f) == 0 && sweep_look(s, &f) == 0, "%s", f.text);
	ck_assert(s->points == 2 && s->point[0].contents != 0 && s->point[0].contents == s->point[1].contents);
}

START_TEST(written_to_while_played)
{
	struct failure f = {0};
	struct sweep s;
	int file;

	sweep_of(&s);
	file = sweep_append_to(&s, (struct sweep_rank){0, 1}, &f);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(sweep_play(&s, 0, file, &f), 0);
	rig_write(0, trace, sizeof(trace) - 14); /* one event less */
	ck_assert_int_eq(sweep_play(&s, 1, file, &f), EXIT_HOST);
	ck_assert_msg(strstr(f.text, " was written to while it was played") != NULL, "%s", f.text);
	close(file);
	f = (struct failure){0};
	ck_assert_int_eq(sweep_read_done(&s, NULL, &f), 0);
	ck_assert(s.point[0].done && !s.point[0].stale && !s.point[1].done && !s.point[1].stale);
	ck_assert_int_eq(sweep_look(&s, &f), 0); /* once and for all: it is another sweep that sees it */
	ck_assert_int_eq(sweep_read_done(&s, NULL, &f), 0);
	ck_assert(s.point[0].done);
	sweep_close(&s);
	sweep_of(&s); /* it is as it was */
	ck_assert_int_eq(sweep_read_done(&s, NULL, &f), 0);
	ck_assert(s.point[0].done && !s.point[1].done);
	sweep_close(&s);
	snprintf(rig_path[2], sizeof(rig_path[2]), "%s/rank-1-of-1.jsonl", rig_dir);
	ck_assert_int_eq(unlink(rig_path[2]), 0);
}
END_TEST

Suite *sweep_suite(void)
{
	Suite *suite = suite_create("sweep");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, rig_setup, rig_teardown);
	tcase_add_test(all, fleet_without_memory);
	tcase_add_test(all, files_that_cannot_be_read);
	tcase_add_test(all, written_to_while_played);
	suite_add_tcase(suite, all);
	return suite;
}
