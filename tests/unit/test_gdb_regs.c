/* Registers: GDB's block and KVM's structures say the same, and target.xml tells where. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/random.h"
#include "vmm/gdb_regs.h"

Suite *gdb_regs_suite(void);

static char xml[16384];

static size_t whole_xml(void)
{
	return gdb_regs_xml(0, xml, sizeof(xml) - 1);
}

static size_t place_of(const char *name)
{
	char text[64];
	const char *line, *found;
	size_t number = 0, offset, bytes;

	whole_xml();
	snprintf(text, sizeof(text), "<reg name=\"%s\" ", name);
	found = strstr(xml, text);
	ck_assert_msg(found != NULL, "%s", name);
	for (line = strstr(xml, "<reg "); line != found; line = strstr(line + 1, "<reg "))
		number++;
	ck_assert(gdb_regs_place(number, &offset, &bytes));
	return offset;
}

/* Numbers, places and widths of the description fill the block exactly. */
START_TEST(description)
{
	size_t offset = 0, at = 0, bytes = 0, number = 0, length = whole_xml();
	unsigned bits;

	ck_assert_uint_lt(length, sizeof(xml) - 1);
	for (const char *line = strstr(xml, "<reg "); line; line = strstr(line + 1, "<reg "), number++) {
		ck_assert_int_eq(sscanf(strstr(line, "bitsize"), "bitsize=\"%u\"", &bits), 1);
		ck_assert(gdb_regs_place(number, &offset, &bytes));
		ck_assert_uint_eq(offset, at);
		ck_assert_uint_eq(bytes * 8, bits);
		at += bytes;
	}
	ck_assert_uint_eq(at, GDB_REGS_BYTES);
	ck_assert_uint_eq(number, 65);
	ck_assert(!gdb_regs_place(number, &offset, &bytes));
	ck_assert(!gdb_regs_place(UINT64_MAX, &offset, &bytes));
	ck_assert(gdb_regs_place(GDB_REGS_RIP, &offset, &bytes));
	ck_assert_uint_eq(offset, place_of("rip"));
}
END_TEST

/* In pieces of every size it is the same text, and then there is no more. */
START_TEST(windows)
{
	size_t length = whole_xml();
	char piece[64];

	for (size_t room = 1; room <= sizeof(piece); room += 9) {
		for (size_t at = 0; at < length; at += room) {
			size_t got = gdb_regs_xml(at, piece, room);

			ck_assert_uint_eq(got, length - at < room ? length - at : room);
			ck_assert_mem_eq(piece, xml + at, got);
		}
		ck_assert_uint_eq(gdb_regs_xml(length, piece, room), 0);
		ck_assert_uint_eq(gdb_regs_xml(SIZE_MAX, piece, room), 0);
	}
}
END_TEST

static uint64_t number_at(const uint8_t *block, const char *name, size_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, block + place_of(name), bytes);
	return value;
}

START_TEST(places)
{
	struct gdb_regs r = {
		.regs = {.rax = 1, .r15 = 15, .rip = 0x123456789a, .rflags = 0x246, .rsp = 7},
		.sregs = {.cs.selector = 8,
			  .gs.selector = 0x33,
			  .fs.base = 5,
			  .gs.base = 6,
			  .cr0 = 0x80000011,
			  .cr8 = 9},
		.fpu = {.fcw = 0x37f, .ftwx = 0x81, .last_ip = 0x1122334455667788, .mxcsr = 0x1f80},
	};
	uint8_t block[GDB_REGS_BYTES];

	r.sregs.efer = 0xd01;
	r.fpu.fpr[7][9] = 0x40;
	r.fpu.xmm[15][15] = 0x99;
	gdb_regs_pack(&r, block);
	ck_assert_uint_eq(number_at(block, "rax", 8), 1);
	ck_assert_uint_eq(number_at(block, "rsp", 8), 7);
	ck_assert_uint_eq(number_at(block, "r15", 8), 15);
	ck_assert_uint_eq(number_at(block, "rip", 8), 0x123456789a);
	ck_assert_uint_eq(number_at(block, "eflags", 4), 0x246);
	ck_assert_uint_eq(number_at(block, "cs", 4), 8);
	ck_assert_uint_eq(number_at(block, "gs", 4), 0x33);
	ck_assert_uint_eq(block[place_of("st7") + 9], 0x40);
	ck_assert_uint_eq(number_at(block, "fctrl", 4), 0x37f);
	ck_assert_uint_eq(number_at(block, "ftag", 4), 0x3ffc);
	ck_assert_uint_eq(number_at(block, "fiseg", 4), 0x11223344);
	ck_assert_uint_eq(number_at(block, "fioff", 4), 0x55667788);
	ck_assert_uint_eq(block[place_of("xmm15") + 15], 0x99);
	ck_assert_uint_eq(number_at(block, "mxcsr", 4), 0x1f80);
	ck_assert_uint_eq(number_at(block, "fs_base", 8), 5);
	ck_assert_uint_eq(number_at(block, "gs_base", 8), 6);
	ck_assert_uint_eq(number_at(block, "cr0", 8), 0x80000011);
	ck_assert_uint_eq(number_at(block, "cr8", 8), 9);
	ck_assert_uint_eq(number_at(block, "efer", 8), 0xd01);
}
END_TEST

/* Out and in again, nothing has changed: neither what GDB sees nor what it does not. */
START_TEST(round_trip)
{
	seed(3);

	for (unsigned i = 0; i < 1000; i++) {
		uint8_t block[GDB_REGS_BYTES], again[GDB_REGS_BYTES];
		struct gdb_regs r, copy;

		for (size_t j = 0; j < sizeof(r); j++)
			((uint8_t *)&r)[j] = (uint8_t)below(UINT64_MAX);
		r.regs.rflags &= UINT32_MAX; /* the width that GDB knows */
		copy = r;
		gdb_regs_pack(&r, block);
		ck_assert_mem_eq(&r, &copy, sizeof(r));
		gdb_regs_unpack(block, &r);
		ck_assert_mem_eq(&r, &copy, sizeof(r));
		for (size_t j = 0; j < sizeof(block); j++)
			block[j] = (uint8_t)below(UINT64_MAX);
		gdb_regs_unpack(block, &r);
		gdb_regs_pack(&r, again);
		ck_assert_mem_eq(again, block, place_of("cs"));
		ck_assert_mem_eq(again + place_of("xmm0"), block + place_of("xmm0"), GDB_REGS_BYTES - place_of("xmm0"));
		ck_assert_uint_eq(r.sregs.tr.base, copy.sregs.tr.base);
	}
}
END_TEST

/* What was put into the area comes out again; its bits say that it counts, and the rest of it stays. */
START_TEST(xsave)
{
	struct kvm_xsave x, copy;
	struct kvm_fpu in = {0}, out;
	uint8_t *area = (uint8_t *)&x;

	seed(4);
	for (size_t i = 0; i < sizeof(x.region); i++)
		area[i] = (uint8_t)below(UINT64_MAX);
	area[512] = 4;
	copy = x;
	for (size_t i = 0; i < sizeof(in.fpr); i++)
		in.fpr[i / 16][i % 16] = (uint8_t)below(UINT64_MAX);
	for (size_t i = 0; i < sizeof(in.xmm); i++)
		in.xmm[i / 16][i % 16] = (uint8_t)below(UINT64_MAX);
	in.fcw = 0x37f;
	in.fsw = 0x3800;
	in.ftwx = 0x81;
	in.last_opcode = 0x123;
	in.last_ip = 0x1122334455667788;
	in.last_dp = 0x8877665544332211;
	in.mxcsr = 0x1fa0;
	gdb_regs_to_xsave(&in, &x);
	gdb_regs_from_xsave(&x, &out);
	ck_assert_mem_eq(&in, &out, sizeof(in));
	ck_assert_uint_eq(area[24] | area[25] << 8, 0x1fa0);
	ck_assert_uint_eq(area[4], 0x81);
	ck_assert_mem_eq(area + 160, in.xmm, sizeof(in.xmm));
	ck_assert_uint_eq(area[512], 7);
	ck_assert_mem_eq(area + 513, (uint8_t *)&copy + 513, sizeof(x.region) - 513);
	ck_assert_mem_eq(area + 416, (uint8_t *)&copy + 416, 96);
}
END_TEST

Suite *gdb_regs_suite(void)
{
	Suite *s = suite_create("gdb_regs");
	TCase *t = tcase_create("regs");

	tcase_add_test(t, description);
	tcase_add_test(t, windows);
	tcase_add_test(t, places);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, xsave);
	suite_add_tcase(s, t);
	return s;
}
