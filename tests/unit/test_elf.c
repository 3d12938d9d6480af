/* What is no image of ours, and ELF headers that lie: each by its sentence. */
#include "tests/unit/fake_image.h"

#define MIB UINT64_C(0x100000)

static struct fake_image image;

static void two_segments(bool wide, struct elf_program first, struct elf_program second)
{
	struct elf_program p[] = {first, second};

	fake_elf(&image, wide, p[0].vaddr, p, 2);
	fake_multiboot(&image, 0);
}

static const struct elf_program GOOD = {PT_LOAD, 0x1000, 0x1000, MIB, MIB, 0x2000, 0x1000};

static void text(const char *s, size_t length, const char *part)
{
	fake_refused((struct bytes){(const uint8_t *)s, length}, part);
}

START_TEST(no_image)
{
	static uint8_t sector[512];
	static uint8_t arm[0x100] = {[0x38] = 'A', 'R', 'M', 0x64};

	text("", 0, "the file is empty");
	text("\x1f\x8b\x08\0", 4, "starts with 0x1f 0x8b 0x08 0x00: a gzip file");
	text("\xfd\x37zXZ\0", 6, "an xz file");
	text("#!/bin/sh\necho\n", 15, "a script");
	text("hello world\n", 12, "a text file");
	text("MZ\x90\0", 4, "a PE/COFF program without a Linux setup header");
	text("\x01\x02", 2, "starts with 0x01 0x02, no image");
	text("\x7f", 1, "starts with 0x7f");
	sector[510] = 0x55;
	sector[511] = 0xaa;
	text((char *)sector, sizeof(sector), "a boot sector");
	text((char *)arm, sizeof(arm), "a Linux kernel for aarch64");
}
END_TEST

static void refused_after(size_t at, unsigned value, unsigned bytes, const char *part)
{
	struct fake_image changed = image;

	memcpy(changed.data + at, &value, bytes);
	fake_refused(fake_bytes(&changed), part);
}

START_TEST(not_for_us)
{
	static const struct {
		unsigned machine;
		const char *name;
	} machines[] = {
		{EM_AARCH64, "aarch64 (0xb7)"}, {EM_RISCV, "riscv"}, {EM_PPC64, "ppc64"}, {0xfeed, "unknown (0xfeed)"}};

	two_segments(true, GOOD, (struct elf_program){.type = PT_NULL});
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
		refused_after(18, machines[i].machine, 2, machines[i].name);
	refused_after(EI_DATA, ELFDATA2MSB, 1, "machine");
	refused_after(EI_CLASS, 3, 1, "unknown class 0x3");
	refused_after(16, ET_DYN, 2, "ET_DYN");
	refused_after(16, ET_REL, 2, "ET_REL");
	refused_after(16, ET_CORE, 2, "core dump");
	refused_after(16, 0x99, 2, "unknown type 0x99");
	two_segments(true, GOOD, (struct elf_program){.type = PT_INTERP});
	fake_refused(fake_bytes(&image), "dynamically linked");
	fake_elf(&image, true, MIB, &GOOD, 1);
	fake_refused(fake_bytes(&image), "neither a Multiboot header nor a PVH note");
}
END_TEST

START_TEST(lying_headers)
{
	two_segments(true, GOOD, (struct elf_program){.type = PT_NULL});
	refused_after(54, 55, 2, "program headers of 0x37 bytes each");
	refused_after(56, 0, 2, "without program headers");
	refused_after(56, 0xffff, 2, "0xffff program headers");
	refused_after(32, 0x3fff, 4, "at byte 0x3fff of a file of 0x4000 bytes");
	refused_after(36, 0xffffffff, 4, "at byte 0xffffffff00000040");
	for (int wide = 0; wide < 2; wide++) {
		struct elf_program bad = GOOD;

		bad.paddr = bad.vaddr = 8 * MIB;
		bad.offset = 0x3800;
		two_segments(wide, GOOD, bad);
		fake_refused(fake_bytes(&image), "segment 1 ends at byte 0x4800 of a file of 0x4000 bytes");
		bad.offset = 0x1000;
		bad.bytes = 0xfff;
		two_segments(wide, GOOD, bad);
		fake_refused(fake_bytes(&image), "segment 1 has 0x1000 bytes in the file and only 0xfff in memory");
		bad.bytes = 0x1000;
		bad.paddr = UINT64_C(0xfffff001);
		two_segments(wide, GOOD, bad);
		fake_refused(fake_bytes(&image), "segment 1, 0x1000 bytes at 0xfffff001, reaches past 4 GiB");
		bad.paddr = GOOD.paddr + 0x1fff;
		two_segments(wide, GOOD, bad);
		fake_refused(fake_bytes(&image), "segments 0 and 1 overlap at 0x101fff");
		two_segments(wide, GOOD, GOOD);
		fake_refused(fake_bytes(&image), "segments 0 and 1 overlap at 0x100000");
		two_segments(wide, (struct elf_program){.type = PT_NULL}, (struct elf_program){.type = PT_LOAD});
		fake_refused(fake_bytes(&image), "nothing to load");
	}
}
END_TEST

START_TEST(wrapping_values)
{
	struct elf_program bad = GOOD;

	bad.offset = UINT64_MAX - 0xfff;
	two_segments(true, GOOD, bad);
	fake_refused(fake_bytes(&image), "segment 1 starts at byte 0xfffffffffffff000");
	bad = GOOD;
	bad.paddr = UINT64_MAX - 0xfff;
	two_segments(true, GOOD, bad);
	fake_refused(fake_bytes(&image), "reaches past 4 GiB");
	bad.paddr = 8 * MIB;
	bad.bytes = UINT64_MAX;
	two_segments(true, GOOD, bad);
	fake_refused(fake_bytes(&image), "reaches past 4 GiB");
}
END_TEST

START_TEST(too_many_segments)
{
	struct elf_program p[BOOT_SEGMENTS_MAX + 1];
	struct multiboot_header h = {MULTIBOOT_MAGIC, 0, 0u - MULTIBOOT_MAGIC, 0, 0, 0, 0, 0};

	for (unsigned i = 0; i <= BOOT_SEGMENTS_MAX; i++) {
		p[i] = GOOD;
		p[i].vaddr = p[i].paddr = MIB + i * 0x2000;
	}
	fake_elf(&image, false, MIB, p, BOOT_SEGMENTS_MAX);
	memcpy(image.data + 0x1400, &h, sizeof(h)); /* past the program headers */
	ck_assert_uint_eq(fake_accepted(fake_bytes(&image)).segments, BOOT_SEGMENTS_MAX);
	fake_elf(&image, false, MIB, p, BOOT_SEGMENTS_MAX + 1);
	memcpy(image.data + 0x1400, &h, sizeof(h));
	fake_refused(fake_bytes(&image), "more than 64 segments");
}
END_TEST

/* An entry is virtual if a segment says so, else physical, else a lie. */
START_TEST(entry)
{
	for (int wide = 0; wide < 2; wide++) {
		struct elf_program p = GOOD;

		p.vaddr = UINT64_C(0xc0100000);
		fake_elf(&image, wide, p.vaddr + 0x10, &p, 1);
		fake_multiboot(&image, 0);
		ck_assert_uint_eq(fake_accepted(fake_bytes(&image)).entry, MIB + 0x10);
		fake_elf(&image, wide, p.vaddr + 0x2000, &p, 1);
		fake_multiboot(&image, 0);
		fake_refused(fake_bytes(&image), "the entry 0xc0102000 lies outside every segment");
		fake_elf(&image, wide, MIB + 0x1fff, &p, 1);
		fake_multiboot(&image, 0);
		ck_assert_uint_eq(fake_accepted(fake_bytes(&image)).entry, MIB + 0x1fff);
		fake_elf(&image, wide, MIB + 0x2000, &p, 1);
		fake_multiboot(&image, 0);
		fake_refused(fake_bytes(&image), "the entry 0x102000 lies outside every segment");
	}
}
END_TEST

/* Cut anywhere, the image is refused with a sentence: no byte outside is read. */
START_TEST(every_truncation)
{
	two_segments(_i & 1, GOOD, (struct elf_program){.type = PT_NULL});
	for (size_t length = 0; length < 0x2000; length++)
		fake_refused((struct bytes){image.data, length}, "");
	ck_assert_uint_eq(fake_accepted((struct bytes){image.data, 0x2000}).segments, 1);
}
END_TEST

Suite *elf_suite(void);
Suite *elf_suite(void)
{
	Suite *suite = suite_create("elf");
	TCase *tcase = tcase_create("headers");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, no_image);
	tcase_add_test(tcase, not_for_us);
	tcase_add_test(tcase, lying_headers);
	tcase_add_test(tcase, wrapping_values);
	tcase_add_test(tcase, too_many_segments);
	tcase_add_test(tcase, entry);
	tcase_add_loop_test(tcase, every_truncation, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite;
}
