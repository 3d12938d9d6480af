/* tests/unit/test_charts.c: what the pages of --report are made of: moments that thin out, round axes, intervals,
 * words for a shell. */
#include <check.h>
#undef fail
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "vmm/pack/axis.h"
#include "vmm/pack/html.h"
#include "vmm/pack/interval.h"
#include "vmm/pack/label.h"
#include "vmm/pack/moments.h"

/* ---- moments ---- */

static void is_whole(const struct moments *m)
{
	bool seen[MOMENTS_MAX] = {false};

	ck_assert_uint_le(m->count, m->most);
	for (uint32_t i = 0; i < m->most; i++) {
		ck_assert_uint_lt(m->place[i], m->most);
		ck_assert(!seen[m->place[i]]);
		seen[m->place[i]] = true;
	}
	for (uint32_t i = 1; i < m->count; i++)
		ck_assert_uint_ge(m->time_us[i], m->time_us[i - 1]);
}

/* Each place still has what was written there when its moment came, whatever was dropped since. */
START_TEST(moments_keep_their_places)
{
	uint64_t held[MOMENTS_MAX], time_us = 0;
	unsigned near = 0;
	struct moments m;

	seed(5);
	moments_init(&m, 40);
	for (unsigned i = 0; i < 300000; i++) {
		time_us += below(i % 1000 ? 50 : 2000000);
		if (!moments_due(&m, time_us))
			continue;
		held[moments_add(&m, time_us)] = time_us;
		is_whole(&m);
		for (uint32_t n = 0; n < m.count; n++)
			ck_assert_uint_eq(held[m.place[n]], m.time_us[n]);
	}
	ck_assert_uint_ge(m.count, 10);
	for (uint32_t i = 1; i < m.count; i++)
		near += m.time_us[i] / m.step_us == m.time_us[i - 1] / m.step_us;
	ck_assert_uint_le(near, 1);
}
END_TEST

START_TEST(moments_are_even)
{
	struct moments m;

	moments_init(&m, MOMENTS_MAX);
	for (uint64_t t = 0; t < 1000000; t++) {
		if (moments_due(&m, t))
			(void)moments_add(&m, t);
		ck_assert_uint_ge(m.count, t < MOMENTS_MAX / 2 ? t + 1 : MOMENTS_MAX / 2);
	}
	for (uint32_t i = 0; i < m.count; i++)
		ck_assert_uint_eq(m.time_us[i], i * m.step_us);
}
END_TEST

START_TEST(moments_at_the_ends)
{
	struct moments m;

	moments_init(&m, 2);
	for (unsigned i = 0; i < 10; i++) /* all at once: one is enough, but an end may be asked for */
		(void)moments_add(&m, UINT64_MAX / 2);
	is_whole(&m);
	ck_assert(!moments_due(&m, UINT64_MAX / 2));
	ck_assert_uint_eq(m.time_us[m.count - 1], UINT64_MAX / 2);
	(void)moments_add(&m, UINT64_MAX / 2 + 1);
	ck_assert_uint_eq(m.time_us[m.count - 1], UINT64_MAX / 2 + 1);
}
END_TEST

/* ---- axes ---- */

static const struct {
	enum quantity q;
	uint64_t value;
	const char *text;
} texts[] = {
	{QUANTITY_COUNT, 0, "0"},
	{QUANTITY_COUNT, 999, "999"},
	{QUANTITY_COUNT, 1000, "1,000"},
	{QUANTITY_COUNT, UINT64_MAX, "18,446,744,073,709,551,615"},
	{QUANTITY_MILLI, 37250, "37.250"},
	{QUANTITY_MILLI, 8100535, "8,100.535"},
	{QUANTITY_PPM, 0, "0.00 %"},
	{QUANTITY_PPM, 420799, "42.07 %"},
	{QUANTITY_PPM, 1000000, "100.00 %"},
	{QUANTITY_PPM, 1941992712, "194,199 %"},
	{QUANTITY_BYTES, 1, "1 bytes"},
	{QUANTITY_BYTES, 2 << 20, "2 MiB"},
	{QUANTITY_BYTES, UINT64_C(9) << 38, "2.25 TiB"},
	{QUANTITY_BYTES, UINT64_MAX, "15.9 EiB"},
	{QUANTITY_US, 0, "0 us"},
	{QUANTITY_US, 1500000, "1.50 s"},
	{QUANTITY_US, UINT64_C(12600000000), "3.50 h"},
	{QUANTITY_US, UINT64_C(8640000000000), "100 d"},
};

START_TEST(numbers_as_people_read_them)
{
	ck_assert_str_eq(quantity_text(texts[_i].q, texts[_i].value).s, texts[_i].text);
}
END_TEST

static const struct {
	enum quantity q;
	uint64_t most;
	const char *second, *unit; /* the tick above 0 */
	uint64_t ticks;
} axes[] = {
	{QUANTITY_COUNT, 0, "1", "", 1},
	{QUANTITY_COUNT, 3, "1", "", 3},
	{QUANTITY_COUNT, 12278, "5,000", "", 3},
	{QUANTITY_COUNT, 99999, "20,000", "", 5},
	{QUANTITY_COUNT, 100000, "20", "thousands", 5},
	{QUANTITY_COUNT, 1000001, "0.5", "millions", 3},
	{QUANTITY_COUNT, UINT64_C(3000000000), "1", "thousand millions", 3},
	{QUANTITY_MILLI, 3000, "1", "", 3},
	{QUANTITY_MILLI, UINT64_C(2000000000), "0.5", "millions", 4},
	{QUANTITY_PPM, 1000000, "20", "%", 5},
	{QUANTITY_PPM, 12345, "0.5", "%", 3},
	{QUANTITY_PPM, 3, "0.0001", "%", 3},
	{QUANTITY_BYTES, UINT64_C(407) << 40, "100", "TiB", 5},
	{QUANTITY_BYTES, UINT64_C(3) << 40, "1,000", "GiB", 4},
	{QUANTITY_US, UINT64_C(300000000000), "24", "hours", 4},
	{QUANTITY_US, UINT64_C(5400000000), "20", "minutes", 5},
	{QUANTITY_US, 0, "1", "microseconds", 1},
};

START_TEST(ticks_are_round)
{
	struct axis a = axis_make(axes[_i].q, axes[_i].most, 5);

	ck_assert_str_eq(axis_tick(&a, 1).s, axes[_i].second);
	ck_assert_str_eq(a.unit, axes[_i].unit);
	ck_assert_uint_eq(a.ticks, axes[_i].ticks);
}
END_TEST

static const struct {
	enum quantity q;
	uint64_t value;
	const char *text;
} shorts[] = {
	{QUANTITY_COUNT, 99999, "99,999"},
	{QUANTITY_COUNT, 131072, "131 k"},
	{QUANTITY_COUNT, 1048576, "1.04 M"},
	{QUANTITY_COUNT, UINT64_MAX, "18,446 P"},
	{QUANTITY_BYTES, UINT64_C(1) << 41, "2 TiB"},
};

START_TEST(numbers_of_few_letters)
{
	ck_assert_str_eq(quantity_short(shorts[_i].q, shorts[_i].value).s, shorts[_i].text);
}
END_TEST

START_TEST(an_axis_holds_its_most)
{
	seed(3);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t most = 1 + (below(UINT64_C(1) << 62) >> below(62));
		unsigned want = 1 + (unsigned)below(8);
		struct axis a = axis_make((enum quantity)(i % 5), most, want);

		ck_assert_uint_ge(a.ticks, 1);
		ck_assert_uint_le(a.ticks, want);
		ck_assert((unsigned __int128)a.ticks * a.step >= most);
		ck_assert((unsigned __int128)(a.ticks - 1) * a.step <= most);
		for (uint64_t n = 0; i < 20000 && n <= a.ticks && i % 5 != QUANTITY_PPM && i % 5 != QUANTITY_US; n++)
			ck_assert_uint_le(strlen(axis_tick(&a, n).s), 8);
	}
}
END_TEST

static const struct {
	enum quantity q;
	uint64_t least, most;
	const char *first, *second, *unit;
	uint64_t ticks;
} bands[] = {
	{QUANTITY_COUNT, 700, 786, "700", "750", "", 2},
	{QUANTITY_COUNT, 700, 1000, "0", "500", "", 2},
	{QUANTITY_COUNT, 500, 500, "0", "200", "", 3},
	{QUANTITY_COUNT, 0, 0, "0", "1", "", 1},
	{QUANTITY_COUNT, 5000000, 5000003, "5.000000", "5.000001", "millions", 3},
	{QUANTITY_PPM, 751600, 801400, "74", "76", "%", 4},
	{QUANTITY_BYTES, UINT64_C(2660) << 30, UINT64_C(2690) << 30, "2,660", "2,670", "GiB", 3},
	{QUANTITY_BYTES, (UINT64_C(100) << 40) - 1, UINT64_C(100) << 40, "99", "100", "TiB", 1},
	{QUANTITY_US, UINT64_C(3600000000), UINT64_C(3660000000), "3,600", "3,615", "seconds", 4},
};

START_TEST(close_values_have_an_axis_of_their_own)
{
	struct axis a = axis_between(bands[_i].q, bands[_i].least, bands[_i].most, 4);

	ck_assert_str_eq(axis_tick(&a, 0).s, bands[_i].first);
	ck_assert_str_eq(axis_tick(&a, 1).s, bands[_i].second);
	ck_assert_str_eq(a.unit, bands[_i].unit);
	ck_assert_uint_eq(a.ticks, bands[_i].ticks);
}
END_TEST

START_TEST(an_axis_holds_its_band)
{
	seed(4);
	for (unsigned i = 0; i < 50000; i++) {
		uint64_t most = 1 + (below(UINT64_C(1) << 62) >> below(62)),
			 least = most - (below(most + 1) >> below(62));
		unsigned want = 1 + (unsigned)below(8);
		struct axis a = axis_between((enum quantity)(i % 5), least, most, want);

		ck_assert_uint_ge(a.ticks, 1);
		ck_assert_uint_le(a.ticks, want + 1);
		ck_assert((unsigned __int128)a.first * a.step <= least);
		ck_assert((unsigned __int128)(a.first + a.ticks) * a.step >= most);
	}
}
END_TEST

/* ---- intervals ---- */

/* Sample: mean 5, variance 10, n 5: t(4) = 2.776, 2.776 * sqrt(10 / 5) = 3.93. */
START_TEST(interval_by_hand)
{
	const int64_t value[] = {1, 3, 5, 7, 9}, low[] = {-1000001, -1000003, -1000005, -1000007, -1000009};
	struct interval i = interval_of(value, 5);

	ck_assert(i.known && i.mean == 5 && i.half == 4);
	i = interval_of(low, 5);
	ck_assert(i.known && i.mean == -1000005 && i.half == 4);
	i = interval_of(value, 1);
	ck_assert(!i.known && i.mean == 1 && i.half == 0);
	i = interval_of((const int64_t[]){7, 7, 7}, 3);
	ck_assert(i.known && i.mean == 7 && i.half == 0);
	/* 12.706 * sqrt(2 * 500^2 / 2) */
	i = interval_of((const int64_t[]){0, 1000}, 2);
	ck_assert(i.mean == 500 && i.half == 6353);
}
END_TEST

/* As above, of numbers a 2^50 as large: only their last bits are lost. */
START_TEST(interval_of_large)
{
	const int64_t k = INT64_C(1) << 50, value[] = {1 * k, 3 * k, 5 * k, 7 * k, 9 * k};
	struct interval i = interval_of(value, 5);

	ck_assert_int_eq(i.mean, 5 * k);
	ck_assert_uint_gt(i.half, (uint64_t)k / 1000 * 3925);
	ck_assert_uint_lt(i.half, (uint64_t)k / 1000 * 3928);
}
END_TEST

START_TEST(t_falls)
{
	ck_assert_uint_eq(interval_t_milli(1), 12706);
	ck_assert_uint_eq(interval_t_milli(4), 2776);
	ck_assert_uint_eq(interval_t_milli(30), 2042);
	ck_assert_uint_eq(interval_t_milli(39), 2042);
	ck_assert_uint_eq(interval_t_milli(40), 2021);
	ck_assert_uint_eq(interval_t_milli(5000), 1962);
	for (uint32_t d = 1; d < 2000; d++)
		ck_assert_uint_ge(interval_t_milli(d), interval_t_milli(d + 1));
}
END_TEST

/* ---- text ---- */

static char *written(void (*write)(FILE *out, char *const *word), char *const *word)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	write(out, word);
	fclose(out);
	return text;
}

static void command(FILE *out, char *const *word)
{
	html_command(out, "slat pack", word, 5);
}

static void plain(FILE *out, char *const *word)
{
	html_text(out, word[0]);
}

START_TEST(words_for_a_shell)
{
	char plainly[] = "--fit=best", apart[] = "a b", quote[] = "it's", none[] = "", hostile[] = "$(x)<&>\n";
	char *const word[] = {plainly, apart, quote, none, hostile};
	char *text = written(command, word);

	ck_assert_str_eq(text, "slat pack --fit=best 'a b' 'it'\\''s' '' '$(x)&lt;&amp;&gt;&#10;'");
	free(text);
}
END_TEST

START_TEST(text_for_a_page)
{
	char hostile[] = "<script>\"&\t\x7f\xc3\xa9";
	char *const word[] = {hostile};
	char *text = written(plain, word);

	ck_assert_str_eq(text, "&lt;script&gt;&quot;&amp;  \xc3\xa9");
	free(text);
}
END_TEST

/* ---- lines ---- */

static const struct {
	const char *text;
	unsigned width;
	const char *line, *rest;
} lines[] = {
	{"", 10, "", ""},
	{"fit=best", 100, "fit=best", ""},
	{"compact=never on-refuse=drop", 120, "compact=never", "on-refuse=drop"},
	{"compact=never   on-refuse=drop", 120, "compact=never  ", "on-refuse=drop"},
	{"aaaaaaaaaa", 36, "aaaaa", "aaaaa"},
	{"a", 1, "a", ""},
	{"ab", 1, "a", "b"},
	{"\xc3\xa9\xc3\xa9", 1, "\xc3\xa9", "\xc3\xa9"},
	{"\xe6\x9d\xb1\xe4\xba\xac", 12, "\xe6\x9d\xb1", "\xe4\xba\xac"},
};

START_TEST(lines_break)
{
	const char *text = lines[_i].text;
	size_t line = label_line(text, lines[_i].width);

	ck_assert_uint_eq(line, strlen(lines[_i].line));
	ck_assert(strncmp(text, lines[_i].line, line) == 0);
	ck_assert_str_eq(label_rest(text, line), lines[_i].rest);
	ck_assert(line <= 1 || lines[_i].width < 12 || label_width(lines[_i].line) <= lines[_i].width);
}
END_TEST

START_TEST(lines_come_to_an_end)
{
	char text[64];

	seed(7);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned count = (unsigned)below(sizeof(text)), width = 1 + (unsigned)below(99), steps = 0;

		for (unsigned n = 0; n < count; n++)
			text[n] = (char)(1 + below(255));
		text[count] = '\0';
		for (const char *rest = text; *rest; rest = label_rest(rest, label_line(rest, width)))
			ck_assert_uint_lt(steps++, sizeof(text));
	}
}
END_TEST

Suite *charts_suite(void);

Suite *charts_suite(void)
{
	Suite *s = suite_create("charts");
	TCase *t = tcase_create("charts");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, moments_keep_their_places);
	tcase_add_test(t, moments_are_even);
	tcase_add_test(t, moments_at_the_ends);
	tcase_add_loop_test(t, numbers_as_people_read_them, 0, sizeof(texts) / sizeof(*texts));
	tcase_add_loop_test(t, ticks_are_round, 0, sizeof(axes) / sizeof(*axes));
	tcase_add_loop_test(t, numbers_of_few_letters, 0, sizeof(shorts) / sizeof(*shorts));
	tcase_add_test(t, an_axis_holds_its_most);
	tcase_add_loop_test(t, close_values_have_an_axis_of_their_own, 0, sizeof(bands) / sizeof(*bands));
	tcase_add_test(t, an_axis_holds_its_band);
	tcase_add_test(t, interval_by_hand);
	tcase_add_test(t, interval_of_large);
	tcase_add_test(t, t_falls);
	tcase_add_loop_test(t, lines_break, 0, sizeof(lines) / sizeof(*lines));
	tcase_add_test(t, lines_come_to_an_end);
	tcase_add_test(t, words_for_a_shell);
	tcase_add_test(t, text_for_a_page);
	suite_add_tcase(s, t);
	return s;
}
