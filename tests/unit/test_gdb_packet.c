/* Packets: every cut of a stream, every byte in a payload, and lies. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "vmm/gdb_packet.h"

Suite *gdb_packet_suite(void);

/* The events of a stream as a text: a letter each, and a packet's payload in brackets. */
static void events(struct gdb_parser *p, const char *data, size_t bytes, char *out)
{
	static const char letters[] = {[GDB_BAD] = 'b', [GDB_ACK] = '+', [GDB_NACK] = '-', [GDB_INTERRUPT] = 'i'};

	while (bytes) {
		enum gdb_event event;
		size_t taken = gdb_parse(p, (const uint8_t *)data, bytes, &event);

		ck_assert_uint_gt(taken, 0);
		ck_assert_uint_le(taken, bytes);
		data += taken;
		bytes -= taken;
		if (event == GDB_PACKET)
			out += sprintf(out, "[%.*s]", (int)p->bytes, p->payload);
		else if (event != GDB_NONE)
			*out++ = letters[event];
		*out = '\0';
	}
}

static const char stream[] = "+$g#67noise\x03$m10,4#2e-$x}\x03}]#00$?#3F$half$c#63$}#c1#da$?#zz$#00$#0";
static const char wanted[] = "+[g]i[m10,4]-b[?][c]bb[]";

START_TEST(every_cut)
{
	const size_t bytes = sizeof(stream) - 1;
	char got[256];

	for (size_t a = 0; a <= bytes; a++)
		for (size_t b = a; b <= bytes; b++) {
			struct gdb_parser p = {0};

			got[0] = '\0';
			events(&p, stream, a, got);
			events(&p, stream + a, b - a, got + strlen(got));
			events(&p, stream + b, bytes - b, got + strlen(got));
			ck_assert_str_eq(got, wanted);
		}
}
END_TEST

/* Random payloads of all lengths come back as they were. */
START_TEST(round_trip)
{
	static char payload[GDB_PACKET_MAX];
	static uint8_t wire[GDB_FRAME_MAX];
	static struct gdb_parser p;
	seed(1);

	for (unsigned i = 0; i < 2000; i++) {
		size_t bytes = i < 300 ? i : below(UINT64_MAX) % (GDB_PACKET_MAX + 1), length, at = 0, loose = 0;
		enum gdb_event event = GDB_NONE;

		for (size_t j = 0; j < bytes; j++)
			payload[j] = (char)(i % 7 ? (int)(below(UINT64_MAX) % 256) : "#$}*"[j % 4]);
		length = gdb_frame(payload, bytes, wire);
		ck_assert_uint_le(length, GDB_FRAME_MAX);
		for (size_t j = 1; j + 3 < length; j++)
			loose += wire[j] == '#' || wire[j] == '$' || wire[j] == '*';
		ck_assert_uint_eq(loose, 0);
		while (at < length) {
			ck_assert_int_eq(event, GDB_NONE);
			at += gdb_parse(&p, wire + at, 1 + below(UINT64_MAX) % (length - at), &event);
		}
		ck_assert_int_eq(event, GDB_PACKET);
		ck_assert_uint_eq(p.bytes, bytes);
		ck_assert_mem_eq(p.payload, payload, bytes + !bytes);
		ck_assert_int_eq(p.payload[bytes], 0);
	}
}
END_TEST

/* The longest is taken, one more is bad, and the next one is whole again. */
START_TEST(too_long)
{
	static struct gdb_parser p;
	static char wire[2 * GDB_PACKET_MAX];
	char got[2 * GDB_PACKET_MAX];

	for (size_t bytes = GDB_PACKET_MAX; bytes <= GDB_PACKET_MAX + 1; bytes++) {
		uint8_t sum = (uint8_t)('a' * bytes);
		int length;

		memset(wire, 'a', sizeof(wire));
		wire[0] = '$';
		length = (int)bytes + 1 + sprintf(wire + bytes + 1, "#%02x$g#67", sum);
		events(&p, wire, (size_t)length, got);
		if (bytes > GDB_PACKET_MAX)
			ck_assert_str_eq(got, "b[g]");
		else
			ck_assert_int_eq(strncmp(got, "[aaa", 4), 0);
	}
}
END_TEST

START_TEST(numbers)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t value;
		size_t taken;
	} cases[] = {
		{"0", true, 0, 1},
		{"fFg", true, 0xff, 2},
		{"ffffffffffffffff,", true, UINT64_MAX, 16},
		{"10000000000000000", false, 0, 0},
		{"", false, 0, 0},
		{",", false, 0, 0},
		{"g", false, 0, 0},
		{"0x1", true, 0, 1},
	};
	uint8_t bytes[3] = {9, 9, 9};
	const char *at;
	uint64_t value;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		at = cases[i].text;
		ck_assert_int_eq(gdb_number(&at, &value), cases[i].good);
		if (cases[i].good) {
			ck_assert_uint_eq(value, cases[i].value);
			ck_assert_ptr_eq(at, cases[i].text + cases[i].taken);
		}
	}
	at = "00aFf";
	ck_assert(!gdb_hex(&at, bytes, 3));
	at = "00aF7";
	ck_assert(gdb_hex(&at, bytes, 2));
	ck_assert_uint_eq(bytes[1], 0xaf);
	ck_assert_str_eq(at, "7");
	at = "word";
	ck_assert(!gdb_word(&at, "wordy"));
	ck_assert(gdb_word(&at, "wo"));
	ck_assert_str_eq(at, "rd");
}
END_TEST

/* What does not fit is cut, at the end, and nothing is written behind it. */
START_TEST(texts)
{
	static struct {
		struct gdb_text t;
		char guard;
	} x = {.guard = 'g'};
	char byte = 'Z';

	for (unsigned i = 0; i < GDB_PACKET_MAX - 1; i++)
		gdb_put(&x.t, "%c", 'a');
	ck_assert(!x.t.cut);
	gdb_put_hex(&x.t, &byte, 1);
	ck_assert(x.t.cut);
	ck_assert_uint_eq(x.t.bytes, GDB_PACKET_MAX - 1);
	x.t.cut = false;
	gdb_put(&x.t, "bcd");
	ck_assert(x.t.cut);
	ck_assert_uint_eq(x.t.bytes, GDB_PACKET_MAX);
	ck_assert_int_eq(x.t.at[GDB_PACKET_MAX - 1], 'b');
	ck_assert_int_eq(x.t.at[GDB_PACKET_MAX], 0);
	gdb_put(&x.t, "e");
	ck_assert_uint_eq(x.t.bytes, GDB_PACKET_MAX);
	ck_assert_int_eq(x.guard, 'g');
	x.t = (struct gdb_text){0};
	gdb_put_hex(&x.t, "\x01\xfe", 2);
	ck_assert_str_eq(x.t.at, "01fe");
}
END_TEST

Suite *gdb_packet_suite(void)
{
	Suite *s = suite_create("gdb_packet");
	TCase *t = tcase_create("packet");

	tcase_add_test(t, every_cut);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, too_long);
	tcase_add_test(t, numbers);
	tcase_add_test(t, texts);
	suite_add_tcase(s, t);
	return s;
}
