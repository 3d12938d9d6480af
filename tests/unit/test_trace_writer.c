/* What is written reads as the same events, field for field, plain and gzip; a file is
 * there whole or as it was before, whatever fails. */
#include "tests/unit/trace_rig.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"

Suite *trace_writer_suite(void);

#define EVENTS 20000
#define LIVE   500

static const struct trace_writer_options bytes = {.unit = "byte"}, units = {.unit = "unit"};
static const struct trace_options strict = {0};

/* Events as a generator makes them: numbers of guests as live_table.h gives them out. */
static struct event *random_events(void)
{
	struct event *events = calloc(EVENTS, sizeof(*events));
	uint32_t given_up[LIVE], live[LIVE], unused = 0, count = 0, next = 0;
	uint64_t now = 0, arrivals = 0;

	for (unsigned i = 0; i < EVENTS; i++) {
		struct event *e = &events[i];
		const unsigned who = count ? (unsigned)below(count) : 0;

		now += below(3) ? 0 : below(UINT64_C(1) << (1 + below(40)));
		*e = (struct event){.time_us = now, .kind = EVENT_DEPART};
		if (count < LIVE && (count == 0 || below(2))) {
			e->kind = EVENT_ARRIVE;
			e->guest = live[count++] = unused ? given_up[--unused] : next++;
			e->number = arrivals++;
			e->size = below(10) ? 1 + below(UINT64_C(1) << (1 + below(62))) : EVENT_SIZE_MAX;
			e->cpu_millis = below(2) ? 1000 * (uint32_t)below(64) : (uint32_t)below(UINT64_C(1) << 32);
			e->node = below(2) ? EVENT_NODE_ANY : (uint32_t)below(UINT32_MAX);
			e->pinned = below(2);
			e->movable = below(2);
			e->life_us = EVENT_LIFE_UNKNOWN;
		} else {
			e->guest = given_up[unused++] = live[who];
			live[who] = live[--count];
		}
	}
	return events;
}

/* Lives are told afterwards, of those that depart; of the others some. */
static void tell_lives(struct event *events)
{
	uint32_t arrived[LIVE];

	for (unsigned i = 0; i < EVENTS; i++)
		if (events[i].kind == EVENT_ARRIVE) {
			arrived[events[i].guest] = i;
			events[i].life_us = i % 3 ? EVENT_LIFE_UNKNOWN : EVENT_TIME_MAX - i;
		} else {
			struct event *e = &events[arrived[events[i].guest]];

			e->life_us = i % 2 ? EVENT_LIFE_UNKNOWN : events[i].time_us - e->time_us;
		}
}

/* What the guest of that number is called; until the next is asked for. */
static struct csv_field called(uint32_t guest)
{
	static const char *const forms[] = {"%u", "vm-%u", "a \"quoted\", %u", "a-very-long-name-of-a-guest-%u"};
	static char name[64];

	return (struct csv_field){name, (size_t)snprintf(name, sizeof(name), forms[guest % 4], guest)};
}

static int write_events(const char *path, const struct event *events, size_t count,
			const struct trace_writer_options *options, struct failure *f)
{
	struct text_file *w = trace_writer_open(path, options, f);

	if (!w)
		return f->code;
	for (size_t i = 0; i < count; i++)
		if (trace_writer_add(w, &events[i], called(events[i].guest), f))
			break;
	return text_file_close(w, f);
}

static void reads_back(const char *path, const struct event *events, size_t count)
{
	struct failure f = {0};
	struct trace *t = trace_open(path, TRACE_SLAT, &strict, &f);
	struct event e;

	ck_assert_msg(t != NULL, "%s", f.text);
	for (size_t i = 0; i < count; i++) {
		const struct event *x = &events[i];
		const struct csv_field is = called(x->guest);

		if (trace_next(t, &e, &f) != EVENT_ONE)
			ck_abort_msg("event %zu: %s", i, f.text);
		EXPECT(e.time_us == x->time_us && e.kind == x->kind && e.guest == x->guest && e.number == x->number);
		EXPECT(e.size == x->size && e.life_us == x->life_us && e.cpu_millis == x->cpu_millis);
		EXPECT(trace_guest_name(t).length == is.length &&
		       memcmp(trace_guest_name(t).at, is.at, is.length) == 0);
		EXPECT(e.node == x->node && e.pinned == x->pinned && e.movable == x->movable);
	}
	ck_assert_int_eq(trace_next(t, &e, &f), EVENT_END);
	ck_assert_uint_eq(trace_stats_read(t).columns_ignored, 0);
	trace_close(t);
}

START_TEST(reads_as_it_was)
{
	seed(1);
	for (int i = 0; i < 4; i++) {
		struct event *events = random_events();

		tell_lives(events);
		for (unsigned file = 2; file < 4; file++) {
			struct failure f = {0};

			ck_assert_int_eq(write_events(rig_file(file), events, EVENTS, i % 2 ? &bytes : &units, &f), 0);
			reads_back(rig_file(file), events, EVENTS);
		}
		free(events);
	}
}
END_TEST

static const struct event few[] = {
	{.time_us = 1500000,
	 .kind = EVENT_ARRIVE,
	 .size = 7,
	 .cpu_millis = 1250,
	 .node = EVENT_NODE_ANY,
	 .movable = true,
	 .life_us = 1},
	{.time_us = 1500001, .kind = EVENT_DEPART},
	{.time_us = 2000000,
	 .kind = EVENT_ARRIVE,
	 .number = 1,
	 .size = 8,
	 .node = 3,
	 .pinned = true,
	 .life_us = EVENT_LIFE_UNKNOWN},
};
#define FEW (sizeof(few) / sizeof(few[0]))

/* The column of sizes says their unit, and is read as that. */
START_TEST(its_text)
{
	static const char *const unit[][2] = {
		{"byte", "size_bytes"}, {"MHz", "size_mhz"}, {"metre", "size_metre"}, {"unit", "size"}};

	for (int i = 0; i < 4; i++) {
		const struct trace_writer_options of = {.unit = unit[i][0]};
		struct failure f = {0};
		size_t size = 0;
		char expected[256], *text;

		snprintf(expected, sizeof(expected),
			 "time_s,event,vm_id,cpu,%s,node,pinned,movable,life_s\n"
			 "1.5,arrive,0,1.25,7,,0,1,0.000001\n1.500001,depart,0,,,,,,\n2,arrive,0,0,8,3,1,0,\n",
			 unit[i][1]);
		ck_assert_int_eq(write_events(rig_file(2), few, FEW, &of, &f), 0);
		ck_assert_str_eq(trace_unit_of(rig_file(2)), unit[i][0]);
		text = rig_read(rig_file(2), &size);
		ck_assert_str_eq(text, expected);
		free(text);
	}
}
END_TEST

/* The longest line there is has room. */
START_TEST(longest)
{
	struct event e = {.time_us = EVENT_TIME_MAX,
			  .guest = 0,
			  .size = EVENT_SIZE_MAX,
			  .cpu_millis = UINT32_MAX,
			  .node = EVENT_NODE_ANY - 1,
			  .pinned = true,
			  .movable = true,
			  .life_us = EVENT_TIME_MAX};
	struct event *events = calloc(3000, sizeof(e));
	struct failure f = {0};

	for (unsigned i = 0; i < 3000; i++) {
		events[i] = e;
		events[i].guest = events[i].number = i;
	}
	ck_assert_int_eq(write_events(rig_file(2), events, 3000, &bytes, &f), 0);
	reads_back(rig_file(2), events, 3000);
	free(events);
}
END_TEST

/* Names as long as may be, which double; what would not be read as it is, is not written. */
START_TEST(names)
{
	struct failure f = {0}, long_f = {0}, end_f = {0};
	struct text_file *w = trace_writer_open(rig_file(2), &bytes, &f);
	char *name = malloc(TEXT_FILE_NAME + 1);
	struct trace *t;
	struct event e;

	memset(name, '"', TEXT_FILE_NAME + 1);
	for (unsigned i = 0; i < 9; i++) {
		e = few[i % 2];
		e.time_us = i;
		e.life_us = EVENT_LIFE_UNKNOWN;
		ck_assert_int_eq(trace_writer_add(w, &e, (struct csv_field){name, TEXT_FILE_NAME}, &f), 0);
	}
	ck_assert_int_eq(trace_writer_add(w, &e, (struct csv_field){name, TEXT_FILE_NAME + 1}, &long_f), EXIT_IMAGE);
	ck_assert_int_eq(trace_writer_add(w, &e, (struct csv_field){"a\nb", 3}, &end_f), EXIT_IMAGE);
	ck_assert_msg(strstr(end_f.text, ": a guest's name has an end of line: \"a\\x0ab\""), "%s", end_f.text);
	ck_assert_int_eq(text_file_close(w, &f), 0);
	t = trace_open(rig_file(2), TRACE_SLAT, &strict, &f);
	for (unsigned i = 0; i < 9; i++) {
		ck_assert_int_eq(trace_next(t, &e, &f), EVENT_ONE);
		ck_assert(trace_guest_name(t).length == TEXT_FILE_NAME &&
			  memcmp(trace_guest_name(t).at, name, TEXT_FILE_NAME) == 0);
	}
	trace_close(t);
	free(name);
}
END_TEST

static bool is_old(unsigned file)
{
	size_t size = 0;
	char *text = rig_read(rig_file(file), &size);
	const bool old = text && strcmp(text, "old") == 0;

	free(text);
	return old;
}

/* What was there stays, until all is in its place; nothing else is left (the teardown looks). */
START_TEST(whole_or_not_at_all)
{
	for (unsigned file = 2; file < 4; file++) {
		struct failure f = {0}, g = {.code = EXIT_IMAGE};
		struct text_file *w;
		struct stat s;

		rig_write(file, "old", 3);
		w = trace_writer_open(rig_file(file), &bytes, &f);
		ck_assert_int_eq(trace_writer_add(w, &few[0], called(0), &f), 0);
		ck_assert(is_old(file));
		text_file_abandon(w);
		ck_assert(is_old(file));
		w = trace_writer_open(rig_file(file), &bytes, &f);
		ck_assert_int_eq(trace_writer_add(w, &few[0], called(0), &g),
				 EXIT_IMAGE); /* of whoever made the event */
		ck_assert_int_eq(text_file_close(w, &g), EXIT_IMAGE);
		ck_assert(is_old(file));
		umask(027);
		ck_assert_int_eq(write_events(rig_file(file), few, FEW, &bytes, &f), 0);
		reads_back(rig_file(file), few, FEW);
		ck_assert(stat(rig_file(file), &s) == 0 && (s.st_mode & 0777) == 0640);
	}
	text_file_abandon(NULL);
}
END_TEST

/* The same events, the same bytes. */
START_TEST(same_bytes)
{
	for (unsigned file = 2; file < 4; file++) {
		struct failure f = {0};
		char *text[2];
		size_t size[2] = {0};

		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(write_events(rig_file(file), few, FEW, &bytes, &f), 0);
			text[i] = rig_read(rig_file(file), &size[i]);
		}
		ck_assert(size[0] == size[1] && memcmp(text[0], text[1], size[0]) == 0);
		free(text[0]);
		free(text[1]);
	}
}
END_TEST

START_TEST(where_it_cannot_be)
{
	struct failure f = {0}, g = {0};
	struct event *events = random_events();

	ck_assert_int_eq(write_events("/nonexistent/t.csv", few, FEW, &bytes, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "/nonexistent/t.csv cannot be written: No such file or directory");
	ck_assert_int_eq(write_events("/dev/full", events, EVENTS, &bytes, &g), EXIT_HOST);
	ck_assert_str_eq(g.text, "/dev/full cannot be written: No space left on device");
	f = g = (struct failure){0};
	ck_assert_int_eq(write_events("/dev/full", few, FEW, &bytes, &f), EXIT_HOST); /* at the end only */
	ck_assert_int_eq(write_events("/dev/null", few, FEW, &bytes, &g), 0);
	f = (struct failure){0};
	ck_assert_int_eq(write_events(rig_dir, few, FEW, &bytes, &f), EXIT_HOST);
	ck_assert_msg(strstr(f.text, ": Is a directory"), "%s", f.text);
	free(events);
}
END_TEST

START_TEST(standard_output)
{
	const int kept = dup(STDOUT_FILENO), file = open(rig_file(0), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	struct failure f = {0};

	fflush(stdout);
	ck_assert(dup2(file, STDOUT_FILENO) == STDOUT_FILENO && kept >= 0);
	ck_assert_int_eq(write_events("-", few, FEW, &bytes, &f), 0);
	dup2(kept, STDOUT_FILENO);
	close(file);
	reads_back(rig_file(0), few, FEW);
}
END_TEST

START_TEST(no_memory)
{
	for (unsigned file = 2; file < 4; file++) {
		unsigned refused = 0;

		rig_write(file, "old", 3);
		for (uint64_t n = 1;; n++) {
			const struct trace_writer_options options = {.unit = "byte", .fail_after = n};
			struct failure f = {0};

			if (write_events(rig_file(file), few, FEW, &options, &f) == 0)
				break;
			ck_assert(f.code == EXIT_HOST && strncmp(f.text, "no memory to write ", 19) == 0);
			ck_assert(is_old(file));
			refused++;
		}
		ck_assert_uint_ge(refused, file == 2 ? 3 : 5);
		reads_back(rig_file(file), few, FEW);
	}
}
END_TEST

Suite *trace_writer_suite(void)
{
	Suite *suite = suite_create("trace_writer");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, rig_setup, rig_teardown);
	tcase_add_test(all, reads_as_it_was);
	tcase_add_test(all, its_text);
	tcase_add_test(all, longest);
	tcase_add_test(all, names);
	tcase_add_test(all, whole_or_not_at_all);
	tcase_add_test(all, same_bytes);
	tcase_add_test(all, where_it_cannot_be);
	tcase_add_test(all, standard_output);
	tcase_add_test(all, no_memory);
	suite_add_tcase(suite, all);
	return suite;
}
