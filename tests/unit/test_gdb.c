/* A session with a fake target: what each command does, what a client that lies gets, what is said when. */
#include <check.h>

#include "tests/unit/gdb_fake.h"

Suite *gdb_suite(void);

static struct fake f;
static char said[4 * GDB_FRAME_MAX];

/* All that the session has to say now, as text. */
static const char *answers(void)
{
	size_t bytes, used = 0;
	const uint8_t *from;

	while (from = gdb_output(&f.g, &bytes), bytes) {
		size_t some = bytes > 7 ? 7 : bytes; /* a client that reads slowly */

		memcpy(said + used, from, some);
		used += some;
		gdb_sent(&f.g, some);
	}
	said[used] = '\0';
	return said;
}

static void raw(const char *data, size_t bytes)
{
	while (bytes) {
		size_t taken = gdb_input(&f.g, (const uint8_t *)data, bytes);

		ck_assert_uint_gt(taken, 0);
		data += taken;
		bytes -= taken;
		if (bytes)
			answers();
	}
}

/* A packet goes in; the payload of the answer comes out, or NULL where there is none. */
static const char *ask_bytes(const char *payload, size_t bytes)
{
	static uint8_t wire[GDB_FRAME_MAX];
	char *end;

	raw((const char *)wire, gdb_frame(payload, bytes, wire));
	answers();
	if (!f.g.no_ack || said[0] == '+') {
		ck_assert_int_eq(said[0], '+');
		memmove(said, said + 1, strlen(said));
	}
	if (!said[0])
		return NULL;
	ck_assert_int_eq(said[0], '$');
	end = strrchr(said, '#');
	ck_assert_ptr_nonnull(end);
	*end = '\0';
	return said + 1;
}

static const char *ask(const char *payload)
{
	return ask_bytes(payload, strlen(payload));
}

#define EXPECT(payload, answer) ck_assert_str_eq(ask(payload), answer)

static void setup(void)
{
	fake_open(&f);
}

START_TEST(attach)
{
	const struct gdb_target target = f.g.target;

	gdb_open(&f.g, &target);
	ck_assert_uint_eq(gdb_input(&f.g, (const uint8_t *)"$?#3f", 5), 0); /* not before all stand */
	fake_stop(&f, GDB_CAUSE_ATTACH, 1, GDB_BREAK_SOFT, 0);
	ck_assert_str_eq(answers(), "");
	EXPECT("?", "T05thread:2;");
	EXPECT("qC", "QC2");
	EXPECT("qAttached", "1");
	EXPECT("qCRC:0,1", "");
	EXPECT("vMustReplyEmpty", "");
	EXPECT("", "");
}
END_TEST

START_TEST(registers)
{
	char line[2 * GDB_REGS_BYTES + 8];

	ck_assert_uint_eq(strlen(ask("g")), 2 * GDB_REGS_BYTES);
	ck_assert_int_eq(strncmp(said + 1, "1010", 4), 0);
	EXPECT("p0", "1010101010101010");
	EXPECT("p10", "1010101010101010");
	EXPECT("p11", "10101010");
	EXPECT("p41", "E16");
	EXPECT("p", "E16");
	EXPECT("pffffffffffffffff", "E16");
	EXPECT("P0=1122334455667788", "OK");
	ck_assert_uint_eq(f.regs[0][1], 0x22);
	EXPECT("P0=11223344556677", "E16");
	EXPECT("P41=11223344", "E16");
	EXPECT("P0", "E16");
	memset(line, '7', sizeof(line));
	line[0] = 'G';
	line[1 + 2 * GDB_REGS_BYTES] = '\0';
	EXPECT(line, "OK");
	ck_assert_uint_eq(f.regs[0][GDB_REGS_BYTES - 1], 0x77);
	line[2 * GDB_REGS_BYTES] = '\0';
	EXPECT(line, "E16");
	EXPECT("Hg2", "OK");
	EXPECT("p0", "1111111111111111");
	f.refuse_regs = true;
	EXPECT("g", "E05");
	EXPECT("p0", "E05");
	EXPECT("P0=1122334455667788", "E05");
}
END_TEST

START_TEST(memory)
{
	char binary[] = "X10004,4:}#$*";

	EXPECT("m10000,4", "00070e15");
	EXPECT("m1fffe,8", "f1f8");
	EXPECT("m20000,1", "E0e");
	EXPECT("m0,ffffffffffffffff", "E0e");
	ck_assert_uint_eq(strlen(ask("m10000,ffffffffffffffff")), GDB_PACKET_MAX);
	EXPECT("m10000,0", "");
	EXPECT("m10000", "E16");
	EXPECT("m", "E16");
	EXPECT("M10000,2:abcd", "OK");
	EXPECT("m10000,3", "abcd0e");
	EXPECT("M10000,3:abcd", "E16");
	EXPECT("M10000,ffffffffffffffff:ab", "E16");
	EXPECT("M1ffff,2:abcd", "E0e");
	EXPECT("M0,0:", "OK");
	ck_assert_str_eq(ask_bytes(binary, sizeof(binary) - 1), "OK");
	ck_assert_mem_eq(f.memory + 4, "}#$*", 4);
	EXPECT("X10000,0:", "OK");
	EXPECT("X10000,5:abcd", "E16");
	EXPECT("X10000,ffffffffffffffff:abcd", "E16");
	ck_assert_str_eq(ask_bytes("X10000,2:\0\3", 11), "OK");
	ck_assert_mem_eq(f.memory, "\0\3", 2);
}
END_TEST

START_TEST(points)
{
	EXPECT("Z0,10000,1", "OK");
	EXPECT("Z1,10000,1", "OK");
	EXPECT("Z2,10000,4", "OK");
	EXPECT("Z3,10000,4", "");
	EXPECT("Z4,10000,9", "E16");
	EXPECT("Z4,10000,4", "OK");
	EXPECT("Z0,10008,1", "E1c");
	EXPECT("Z5,10000,1", "E16");
	EXPECT("Z0,10000", "E16");
	EXPECT("Z", "E16");
	f.points = 1;
	EXPECT("z0,10000,1", "OK");
	EXPECT("z0,10000,1", "E16");
	EXPECT("z9,10000,1", "E16");
}
END_TEST

START_TEST(threads)
{
	EXPECT("qfThreadInfo", "m1,2,3");
	EXPECT("qsThreadInfo", "l");
	EXPECT("T3", "OK");
	EXPECT("T4", "E16");
	EXPECT("Tx", "E16");
	EXPECT("qThreadExtraInfo,3", "66616b652032");
	EXPECT("qThreadExtraInfo,4", "E16");
	EXPECT("qThreadExtraInfo,-1", "E16");
	EXPECT("Hg3", "OK");
	EXPECT("qC", "QC3");
	EXPECT("Hg0", "OK");
	EXPECT("Hg-1", "OK");
	EXPECT("qC", "QC3");
	EXPECT("Hc-1", "OK");
	EXPECT("Hgffffffffffffffff", "E16");
	EXPECT("Hx1", "E16");
	EXPECT("H", "E16");
}
END_TEST

START_TEST(features)
{
	char text[20000] = "", line[64];
	size_t at = 0;

	ck_assert_ptr_nonnull(strstr(ask("qSupported:swbreak+;hwbreak+;xmlRegisters=i386"), "PacketSize=1000"));
	for (;;) {
		const char *got;

		snprintf(line, sizeof(line), "qXfer:features:read:target.xml:%zx,3fb", at);
		got = ask(line);
		strcat(text, got + 1);
		at = strlen(text);
		if (got[0] == 'l')
			break;
		ck_assert_int_eq(got[0], 'm');
	}
	ck_assert_ptr_nonnull(strstr(text, "<reg name=\"rax\""));
	ck_assert_ptr_nonnull(strstr(text, "</target>\n"));
	EXPECT("qXfer:features:read:target.xml:ffffffffffffffff,ffff", "l");
	EXPECT("qXfer:features:read:target.xml:0", "E16");
	EXPECT("qXfer:features:read:other.xml:0,10", "");
	ck_assert_uint_le(strlen(ask("qXfer:features:read:target.xml:0,ffffffffffffffff")), GDB_PACKET_MAX);
}
END_TEST

START_TEST(monitor)
{
	EXPECT("qRcmd,7461626c6520313233", "3132332069732061206c6f6e672073746f72790a");	    /* table 123 */
	EXPECT("qRcmd,7461626c65203078313233", "3132332069732061206c6f6e672073746f72790a"); /* table 0x123 */
	ck_assert_uint_gt(strlen(ask("qRcmd,68656c70")), 40);
	ck_assert_uint_gt(strlen(ask("qRcmd,666f6f")), 40);
	ck_assert_uint_gt(strlen(ask("qRcmd,zz")), 40);
	ck_assert_uint_gt(strlen(ask("qRcmd,")), 40);
	ck_assert_uint_eq(strlen(ask("qRcmd,7461626c6520666666")), GDB_PACKET_MAX); /* table fff: a story too long */
}
END_TEST

static void expect_actions(const char *letters)
{
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		ck_assert_int_eq("-rs"[f.actions[i]], letters[i]);
}

START_TEST(resume)
{
	static const struct {
		const char *command, *actions;
	} cases[] = {
		{"c", "rrr"},
		{"s", "-s-"},
		{"C05", "rrr"},
		{"S05", "-s-"},
		{"vCont;c", "rrr"},
		{"vCont;s:1;c", "srr"},
		{"vCont;s:2", "-s-"},
		{"vCont;t:1;c:3;s", "-sr"},
		{"vCont;C05:1;t", "r--"},
		{"vCont;c:-1", "rrr"},
		{"c20000", "rrr"},
		{"C05;20000", "rrr"},
	};

	EXPECT("vCont?", "vCont;c;C;s;S;t");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_open(&f);
		EXPECT("Hg2", "OK");
		ck_assert_ptr_null(ask(cases[i].command));
		ck_assert_uint_eq(f.resumed, 1);
		expect_actions(cases[i].actions);
	}
	fake_open(&f);
	EXPECT("Hc3", "OK");
	ck_assert_ptr_null(ask("c"));
	expect_actions("--r");
	fake_open(&f);
	EXPECT("Hc3", "OK");
	EXPECT("Hc0", "OK");
	ck_assert_ptr_null(ask("c"));
	expect_actions("rrr");
	fake_open(&f);
	EXPECT("Hc0", "OK");
	ck_assert_ptr_null(ask("s"));
	expect_actions("s--");
}
END_TEST

START_TEST(no_resume)
{
	static const char *const bad[] = {"vCont",   "vCont;",	   "vCont;x", "vCont;c:4", "vCont;t", "vCont;t:1",
					  "vCont;C", "vCont;s:1,", "vContx",  "cx",	   "vCont;s:"};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT(bad[i], "E16");
	f.refuse_regs = true;
	EXPECT("c20000", "E16");
	ck_assert_uint_eq(f.resumed, 0);
}
END_TEST

START_TEST(stops)
{
	EXPECT("QStartNoAckMode", "OK");
	ck_assert_ptr_null(ask("c"));
	EXPECT("g", "E10");
	EXPECT("m10000,1", "E10");
	raw("\x03", 1);
	ck_assert_uint_eq(f.interrupted, 1);
	fake_stop(&f, GDB_CAUSE_INTERRUPT, 2, GDB_BREAK_SOFT, 0);
	ck_assert_str_eq(answers(), "$T02thread:3;#d6");
	raw("\x03", 1);
	ck_assert_uint_eq(f.interrupted, 1);
	EXPECT("qC", "QC3");
	ck_assert_ptr_null(ask("c"));
	fake_stop(&f, GDB_CAUSE_POINT, 0, GDB_BREAK_SOFT, 0x1234);
	ck_assert_int_eq(strncmp(answers(), "$T05thread:1;#", 14), 0); /* the client did not say that it knows more */
	ask("qSupported:swbreak+;hwbreak+");
	EXPECT("?", "T05thread:1;swbreak:;");
	ck_assert_ptr_null(ask("c"));
	fake_stop(&f, GDB_CAUSE_POINT, 0, GDB_BREAK_HARD, 0x1234);
	ck_assert_int_eq(strncmp(answers(), "$T05thread:1;hwbreak:;#", 23), 0);
	ck_assert_ptr_null(ask("s"));
	fake_stop(&f, GDB_CAUSE_POINT, 0, GDB_WATCH_ACCESS, 0x1234);
	ck_assert_int_eq(strncmp(answers(), "$T05thread:1;awatch:1234;#", 26), 0);
	ck_assert_ptr_null(ask("s"));
	fake_stop(&f, GDB_CAUSE_STEP, 1, GDB_BREAK_SOFT, 0);
	ck_assert_int_eq(strncmp(answers(), "$T05thread:2;#", 14), 0);
	ck_assert_ptr_null(ask("s"));
	fake_stop(&f, GDB_CAUSE_CRASH, 1, GDB_BREAK_SOFT, 0);
	ck_assert_int_eq(strncmp(answers(), "$T0bthread:2;#", 14), 0);
}
END_TEST

START_TEST(acknowledgments)
{
	char first[64];

	raw("$qC#00", 6);
	ck_assert_str_eq(answers(), "-");
	raw("$qC#b4", 6);
	strcpy(first, answers());
	ck_assert_str_eq(first, "+$QC1#c5");
	raw("-", 1);
	ck_assert_str_eq(answers(), "$QC1#c5");
	raw("+", 1);
	ck_assert_str_eq(answers(), "");
	EXPECT("QStartNoAckMode", "OK");
	raw("$qC#00", 6);
	ck_assert_str_eq(answers(), "");
	raw("-", 1);
	ck_assert_str_eq(answers(), "");
	raw("$qC#b4", 6);
	ck_assert_str_eq(answers(), "$QC1#c5");
}
END_TEST

/* Two packets at once: the second is taken when the first one's answer is out. */
START_TEST(one_at_a_time)
{
	static const char two[] = "$qC#b4$?#3f";
	size_t taken = gdb_input(&f.g, (const uint8_t *)two, 11);

	ck_assert_uint_eq(taken, 6);
	ck_assert_uint_eq(gdb_input(&f.g, (const uint8_t *)two + taken, 5), 0);
	answers();
	ck_assert_uint_eq(gdb_input(&f.g, (const uint8_t *)two + taken, 5), 5);
}
END_TEST

START_TEST(leaves)
{
	EXPECT("D;1", "OK");
	ck_assert_uint_eq(f.released, 1);
	ck_assert(gdb_closing(&f.g));
	ck_assert_uint_eq(gdb_input(&f.g, (const uint8_t *)"+", 1), 0);
	fake_open(&f);
	EXPECT("vKill;1", "OK");
	ck_assert_uint_eq(f.killed, 1);
	fake_open(&f);
	ask("k");
	ck_assert_uint_eq(f.killed, 1);
	ck_assert(gdb_closing(&f.g));
	fake_open(&f);
	ck_assert_ptr_null(ask("c"));
	EXPECT("D", "OK"); /* while it runs, too */
	fake_stop(&f, GDB_CAUSE_STEP, 0, GDB_BREAK_SOFT, 0);
	ck_assert_str_eq(answers(), "");
	ck_assert_uint_eq(f.released, 1);
}
END_TEST

START_TEST(ends)
{
	gdb_ended(&f.g, 3, 0);
	ck_assert_str_eq(answers(), ""); /* it does not wait for the guest */
	ck_assert_ptr_null(ask("c"));
	gdb_ended(&f.g, 0x10c, 0);
	ck_assert_str_eq(answers(), "$W0c#ea");
	fake_open(&f);
	ck_assert_ptr_null(ask("c"));
	gdb_ended(&f.g, 18, 15);
	ck_assert_str_eq(answers(), "$X0f#ee");
}
END_TEST

Suite *gdb_suite(void)
{
	Suite *s = suite_create("gdb");
	TCase *t = tcase_create("session");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, attach);
	tcase_add_test(t, registers);
	tcase_add_test(t, memory);
	tcase_add_test(t, points);
	tcase_add_test(t, threads);
	tcase_add_test(t, features);
	tcase_add_test(t, monitor);
	tcase_add_test(t, resume);
	tcase_add_test(t, no_resume);
	tcase_add_test(t, stops);
	tcase_add_test(t, acknowledgments);
	tcase_add_test(t, one_at_a_time);
	tcase_add_test(t, leaves);
	tcase_add_test(t, ends);
	suite_add_tcase(s, t);
	return s;
}
