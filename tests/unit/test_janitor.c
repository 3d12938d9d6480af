/* tests/unit/test_janitor.c: which files are there when slat has gone, however it went. */
#include "vmm/janitor.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *janitor_suite(void);

static char directory[] = "/tmp/slat-janitor-XXXXXX";
static char path[3][64];

static void make_files(void)
{
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%u", directory, i);
		close(open(path[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		ck_assert_int_eq(access(path[i], F_OK), 0);
	}
}

static void remove_files(void)
{
	for (unsigned i = 0; i < 3; i++)
		unlink(path[i]);
	ck_assert_int_eq(rmdir(directory), 0);
}

static void add_two(struct janitor *j)
{
	ck_assert_uint_eq(janitor_add(j, path[0]), 0);
	ck_assert_uint_eq(janitor_add(j, path[1]), 1);
}

static void assert_there(bool first, bool second)
{
	ck_assert_int_eq(access(path[0], F_OK) == 0, first);
	ck_assert_int_eq(access(path[1], F_OK) == 0, second);
	ck_assert_int_eq(access(path[2], F_OK), 0); /* nobody spoke of it */
}

START_TEST(no_file_is_no_process)
{
	struct janitor j = {0};
	struct failure f = {0};

	ck_assert_int_eq(janitor_start(&j, &f), 0);
	ck_assert_int_eq(j.process, 0);
	janitor_end(&j);
	assert_there(true, true);
}
END_TEST

START_TEST(a_run_that_never_began_leaves_nothing)
{
	struct janitor j = {0};

	add_two(&j);
	janitor_end(&j);
	assert_there(false, false);
}
END_TEST

START_TEST(what_is_kept_stays)
{
	struct janitor j = {0};
	struct failure f = {0};

	add_two(&j);
	ck_assert_int_eq(janitor_start(&j, &f), 0);
	assert_there(true, true);
	if (_i & 1)
		janitor_keep(&j, 0);
	if (_i & 2)
		janitor_keep(&j, 1);
	janitor_end(&j);
	assert_there(_i & 1, _i & 2);
	ck_assert_int_eq(waitpid(-1, NULL, 0), -1); /* the process is gone, too */
}
END_TEST

/* Signals that a terminal or `timeout` sends to the whole group are not for it. */
START_TEST(a_killed_owner_leaves_nothing)
{
	struct pollfd none = {.fd = -1};
	struct janitor j = {0};
	struct failure f = {0};
	pid_t owner;

	add_two(&j);
	owner = fork();
	if (owner == 0) {
		setpgid(0, 0);
		if (janitor_start(&j, &f))
			_exit(1);
		janitor_keep(&j, 1);
		kill(j.process, SIGINT);
		kill(j.process, SIGTERM);
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(owner, NULL, 0), owner);
	for (unsigned i = 0; i < 500 && access(path[0], F_OK) == 0; i++)
		poll(&none, 1, 10);
	assert_there(false, true);
}
END_TEST

/* Who reads what slat says sees its end when slat ends. */
START_TEST(it_holds_nobody_up)
{
	struct janitor j = {0};
	struct failure f = {0};
	int ends[2];
	char byte;

	add_two(&j);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(janitor_start(&j, &f), 0);
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	janitor_end(&j);
}
END_TEST

Suite *janitor_suite(void)
{
	Suite *suite = suite_create("janitor");
	TCase *tests = tcase_create("files");

	tcase_add_checked_fixture(tests, make_files, remove_files);
	tcase_add_test(tests, no_file_is_no_process);
	tcase_add_test(tests, a_run_that_never_began_leaves_nothing);
	tcase_add_loop_test(tests, what_is_kept_stays, 0, 4);
	tcase_add_test(tests, a_killed_owner_leaves_nothing);
	tcase_add_test(tests, it_holds_nobody_up);
	suite_add_tcase(suite, tests);
	return suite;
}
