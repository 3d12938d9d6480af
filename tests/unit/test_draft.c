/* A draft is there whole or not at all, whatever fails on the way; and what a file holds has a name. */
#include <check.h>
#undef fail
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/unit/trace_rig.h"
#include "vmm/pack/contents.h"
#include "vmm/pack/draft.h"

Suite *draft_suite(void);

#define LIMIT 8192u

static bool holds(const char *path, const char *text)
{
	size_t size = 0;
	char *bytes = rig_read(path, &size);
	const bool same = bytes && size == strlen(text) && memcmp(bytes, text, size) == 0;

	free(bytes);
	return same;
}

static void open_it(struct draft *d, const char *path)
{
	struct failure f = {0};
	struct alloc alloc = {0};

	ck_assert_msg(draft_open_stream(d, path, &alloc, &f) == 0, "%s", f.text);
	ck_assert(d->out != NULL);
}

/* Files cannot grow beyond LIMIT from here on: a disk that is full, without one. */
static void fill_disk(void)
{
	const struct rlimit full = {LIMIT, RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
}

START_TEST(is_kept)
{
	struct failure f = {0};
	struct draft d;

	for (int old = 0; old < 2; old++) {
		open_it(&d, rig_file(0));
		fprintf(d.out, "new %d", old);
		ck_assert(access(rig_file(0), F_OK) == (old ? 0 : -1));
		ck_assert_int_eq(draft_keep(&d, &f), 0);
		ck_assert(d.out == NULL && holds(rig_file(0), old ? "new 1" : "new 0"));
	}
}
END_TEST

/* The teardown looks that nothing is left of it. */
START_TEST(is_dropped)
{
	struct draft d;

	rig_write(0, "old", 3);
	for (unsigned bytes = 0; bytes < 100000; bytes = bytes * 3 + 1) {
		open_it(&d, rig_file(0));
		for (unsigned i = 0; i < bytes; i++)
			fputc('x', d.out);
		draft_drop(&d);
		ck_assert(d.out == NULL && holds(rig_file(0), "old"));
	}
}
END_TEST

/* Wherever the disk is full: in what is flushed at the end, or long before, with more to come. What is said is why the
 * first write failed, whatever errno has become since. */
START_TEST(full_disk)
{
	static const unsigned sizes[] = {LIMIT + 1, LIMIT + 4095, 3 * LIMIT, 100 * LIMIT};

	rig_write(0, "old", 3);
	fill_disk();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct failure f = {0};
		struct draft d;
		char expected[160];

		open_it(&d, rig_file(0));
		for (unsigned n = 0; n < sizes[i]; n++)
			fputc('x', d.out);
		errno = EBADF;
		ck_assert_int_eq(draft_keep(&d, &f), EXIT_HOST);
		snprintf(expected, sizeof(expected), "%s cannot be written: File too large", rig_file(0));
		ck_assert_str_eq(f.text, expected);
		ck_assert(d.out == NULL && d.temp == NULL && holds(rig_file(0), "old"));
	}
}
END_TEST

START_TEST(just_fits)
{
	struct failure f = {0};
	struct draft d;
	struct stat s;

	fill_disk();
	open_it(&d, rig_file(0));
	for (unsigned n = 0; n < LIMIT; n++)
		fputc('x', d.out);
	ck_assert_int_eq(draft_keep(&d, &f), 0);
	ck_assert(stat(rig_file(0), &s) == 0 && s.st_size == LIMIT);
}
END_TEST

START_TEST(no_memory)
{
	struct failure f = {0};
	struct draft d;
	unsigned refused = 0;

	rig_write(0, "old", 3);
	for (uint64_t n = 1;; n++) {
		struct alloc alloc = {n};
		char expected[160];

		f = (struct failure){0};
		if (draft_open_stream(&d, rig_file(0), &alloc, &f) == 0)
			break;
		snprintf(expected, sizeof(expected), "no memory to write %s", rig_file(0));
		ck_assert(f.code == EXIT_HOST && strcmp(f.text, expected) == 0);
		ck_assert(d.out == NULL && d.temp == NULL && holds(rig_file(0), "old"));
		refused++;
	}
	ck_assert_uint_eq(refused, 2);
	draft_drop(&d);
}
END_TEST

/* The folder goes away, or a folder takes its name, between the first byte and the last. */
START_TEST(its_place_is_gone)
{
	struct failure f = {0};
	struct draft d;

	open_it(&d, rig_file(0));
	fputs("new", d.out);
	ck_assert_int_eq(mkdir(rig_file(0), 0700), 0);
	ck_assert_int_eq(draft_keep(&d, &f), EXIT_HOST);
	ck_assert_msg(strstr(f.text, ": Is a directory") != NULL, "%s", f.text);
	ck_assert(d.temp == NULL && rmdir(rig_file(0)) == 0);
	f = (struct failure){0};
	open_it(&d, rig_file(0));
	ck_assert_int_eq(unlink(d.temp->path), 0);
	ck_assert_int_eq(draft_keep(&d, &f), EXIT_HOST);
	ck_assert_msg(strstr(f.text, ": No such file") != NULL, "%s", f.text);
}
END_TEST

/* It is written to as it is; a reader that is gone is an error as any. */
START_TEST(no_regular_file)
{
	struct failure f = {0};
	struct alloc alloc = {0};
	struct draft d;
	char got[8] = "";
	int reader;

	ck_assert_int_eq(mkfifo(rig_file(0), 0600), 0);
	reader = open(rig_file(0), O_RDONLY | O_NONBLOCK);
	open_it(&d, rig_file(0));
	ck_assert(d.temp == NULL);
	fputs("new", d.out);
	ck_assert_int_eq(draft_keep(&d, &f), 0);
	ck_assert(read(reader, got, sizeof(got)) == 3 && strcmp(got, "new") == 0);
	open_it(&d, rig_file(0));
	fputs("dropped", d.out);
	draft_drop(&d);
	ck_assert(read(reader, got, sizeof(got)) == 0);
	signal(SIGPIPE, SIG_IGN);
	open_it(&d, rig_file(0));
	fputs("new", d.out);
	close(reader);
	ck_assert_int_eq(draft_keep(&d, &f), EXIT_HOST);
	ck_assert_msg(strstr(f.text, "cannot be written: Broken pipe") != NULL, "%s", f.text);
	f = (struct failure){0};
	ck_assert_int_eq(draft_open_stream(&d, "/nonexistent/x", &alloc, &f), EXIT_HOST);
	ck_assert(d.out == NULL);
}
END_TEST

/* ---- contents ---- */

static const char *name_of(const char *bytes, size_t size)
{
	static char text[CONTENTS_TEXT];
	struct contents c;
	struct failure f = {0};

	rig_write(0, bytes, size);
	ck_assert_int_eq(contents_read(&c, rig_file(0), &f), 0);
	contents_text(c.hash, text);
	return text;
}

/* The published ones of FNV-1a, 128 bits (draft-eastlake-fnv). */
START_TEST(known_names)
{
	ck_assert_str_eq(name_of("", 0), "6c62272e07bb014262b821756295c58d");
	ck_assert_str_eq(name_of("a", 1), "d228cb696f1a8caf78912b704e4a8964");
	ck_assert_str_eq(name_of("foobar", 6), "343e1662793c64bf6f0d3597ba446f18");
}
END_TEST

/* However it is cut into buffers: the sum of one file is not that of its parts in another order. */
START_TEST(each_byte_counts)
{
	const size_t size = 200000;
	char *bytes = calloc(1, size), *first, *other;

	first = strdup(name_of(bytes, size));
	for (size_t at = 0; at < size; at += 33333) {
		bytes[at] ^= 1;
		other = strdup(name_of(bytes, size));
		bytes[at] ^= 1;
		ck_assert_str_ne(first, other);
		free(other);
	}
	ck_assert_str_ne(first, name_of(bytes, size - 1));
	ck_assert_str_eq(first, name_of(bytes, size));
	ck_assert(contents_join(contents_join(0, 1), 2) != contents_join(contents_join(0, 2), 1));
	ck_assert(contents_join(0, 1) != 1 && contents_join(0, 1) != contents_join(contents_join(0, 1), 1));
	free(first);
	free(bytes);
}
END_TEST

START_TEST(what_cannot_be_read)
{
	static const char *const paths[] = {"/nonexistent/x", "/dev/zero", "/tmp"};
	struct contents c;

	for (unsigned i = 0; i < 3; i++) {
		struct failure f = {0};

		ck_assert_int_eq(contents_read(&c, paths[i], &f), EXIT_HOST);
		ck_assert_msg(strstr(f.text, i ? "is no regular file" : "cannot be read: No such file"), "%s", f.text);
	}
}
END_TEST

START_TEST(still_the_same)
{
	struct contents c;
	struct failure f = {0};
	struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

	rig_write(0, "one", 3);
	ck_assert_int_eq(utimensat(AT_FDCWD, rig_file(0), old, 0), 0);
	ck_assert_int_eq(contents_read(&c, rig_file(0), &f), 0);
	ck_assert(contents_still(&c, rig_file(0)));
	ck_assert(!contents_still(&c, "/nonexistent"));
	rig_write(0, "two", 3);
	ck_assert(!contents_still(&c, rig_file(0)));
	ck_assert_int_eq(utimensat(AT_FDCWD, rig_file(0), old, 0), 0);
	ck_assert(contents_still(&c, rig_file(0))); /* who sets the clock back, deceives it */
	rig_write(0, "three", 5);
	ck_assert_int_eq(utimensat(AT_FDCWD, rig_file(0), old, 0), 0);
	ck_assert(!contents_still(&c, rig_file(0)));
}
END_TEST

Suite *draft_suite(void)
{
	Suite *suite = suite_create("draft");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, rig_setup, rig_teardown);
	tcase_add_test(all, is_kept);
	tcase_add_test(all, is_dropped);
	tcase_add_test(all, full_disk);
	tcase_add_test(all, just_fits);
	tcase_add_test(all, no_memory);
	tcase_add_test(all, its_place_is_gone);
	tcase_add_test(all, no_regular_file);
	tcase_add_test(all, known_names);
	tcase_add_test(all, each_byte_counts);
	tcase_add_test(all, what_cannot_be_read);
	tcase_add_test(all, still_the_same);
	suite_add_tcase(suite, all);
	return suite;
}
