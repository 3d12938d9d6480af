/* PVH: the note, the start info, the initramfs. */
#include "tests/unit/fake_image.h"

#define MIB	 UINT64_C(0x100000)
#define NOTES_AT 0x900u

static struct fake_image image;

/* Appends one note; returns where the next one goes. */
static size_t note(size_t at, const char *name, uint32_t type, const void *value, uint32_t bytes, size_t align)
{
	Elf64_Nhdr h = {(uint32_t)strlen(name) + 1, bytes, type};

	memcpy(image.data + at, &h, sizeof(h));
	at += sizeof(h);
	memcpy(image.data + at, name, h.n_namesz);
	at = (at + h.n_namesz + align - 1) & ~(align - 1);
	memcpy(image.data + at, value, bytes);
	return (at + bytes + align - 1) & ~(align - 1);
}

static const struct elf_program PART = {PT_LOAD, 0x1000, 0x1000, UINT64_C(0xffffffff81000000), 2 * MIB, 0x3000, 0x1000};

/* An ELF whose notes are somebody else's, a wrong type of Xen's, and the entry. */
static void make(bool wide, uint64_t entry, uint32_t entry_bytes, size_t align, size_t notes_bytes)
{
	struct elf_program p[] = {PART, {PT_NOTE, NOTES_AT, 0, 0, 0, 0, align}};
	size_t at = NOTES_AT;

	p[1].file_bytes = p[1].bytes = notes_bytes;
	fake_elf(&image, wide, 0, p, 2);
	at = note(at, "GNU", 18, "abcdefghijklmnopqrst", 19, align);
	at = note(at, "Xen", 6, "linux", 6, align);
	note(at, "Xen", PVH_NOTE_TYPE, &entry, entry_bytes, align);
}

START_TEST(note_forms)
{
	static const size_t aligns[] = {4, 8};

	for (int wide = 0; wide < 2; wide++)
		for (uint32_t bytes = 4; bytes <= 8; bytes += 4)
			for (size_t i = 0; i < 2; i++) {
				struct boot_image b;

				make(wide, 2 * MIB + 0x80, bytes, aligns[i], 0x80);
				b = fake_accepted(fake_bytes(&image));
				ck_assert_int_eq(b.format, BOOT_PVH);
				ck_assert_uint_eq(b.entry, 2 * MIB + 0x80);
				ck_assert_uint_eq(b.segments, 1);
			}
}
END_TEST

START_TEST(bad_notes)
{
	make(true, 2 * MIB + 0x3000, 4, 4, 0x80);
	fake_refused(fake_bytes(&image), "the PVH entry 0x203000 lies outside every segment");
	make(true, 2 * MIB, 4, 4, 0x4000);
	fake_refused(fake_bytes(&image), "notes of 0x4000 bytes at byte 0x900 of a file of 0x4000 bytes");
	make(true, 2 * MIB, 2, 4, 0x80);
	fake_refused(fake_bytes(&image), "neither a Multiboot header nor a PVH note");
	/* the entry's value is cut off */
	make(true, 2 * MIB, 4, 4, 12 + 4 + 20 + 12 + 4 + 8 + 12 + 4 + 3);
	fake_refused(fake_bytes(&image), "neither a Multiboot header nor a PVH note");
	make(true, 2 * MIB, 4, 4, 12 + 4 + 20 + 12 + 4 + 8 + 12 + 4 + 4);
	fake_accepted(fake_bytes(&image));
	make(true, 2 * MIB, 4, 4, 0x80);
	memset(image.data + NOTES_AT, 0xff, 4); /* a name of 4 GiB */
	fake_refused(fake_bytes(&image), "neither a Multiboot header nor a PVH note");
}
END_TEST

START_TEST(multiboot_first)
{
	make(true, 2 * MIB, 4, 4, 0x80);
	memcpy(image.data + 24, &(uint64_t){2 * MIB}, 8); /* the ELF's own entry */
	fake_multiboot(&image, 0);
	ck_assert_int_eq(fake_accepted(fake_bytes(&image)).format, BOOT_MULTIBOOT);
}
END_TEST

START_TEST(start_info)
{
	static uint8_t data[3 * 4096 - 5];
	struct boot_module modules[] = {{{data, sizeof(data)}, NULL, "initramfs"}, {{data, 1}, "second", "second"}};
	struct fake_guest g;
	struct boot_image b;
	struct boot_entry e;
	const struct pvh_start_info *info;
	const struct pvh_module *m;
	const struct pvh_memmap *map;

	memset(data, 0x21, sizeof(data));
	make(_i, 2 * MIB + 0x80, 4, 4, 0x80);
	b = fake_accepted(fake_bytes(&image));
	fake_guest_init(&g);
	g.request.cmdline = "console=ttyS0";
	g.request.modules = modules;
	g.request.modules_count = 2;
	e = fake_loaded(&g, &b);
	ck_assert(e.rip == b.entry && !e.long_mode && e.rax == 0);
	fake_check_segments(&g, &b);
	info = fake_at(&g, e.rbx);
	ck_assert_uint_eq(info->magic, PVH_MAGIC);
	ck_assert_uint_eq(info->version, 1);
	ck_assert_uint_eq(info->flags, 0);
	ck_assert_uint_eq(info->rsdp, LAYOUT_ACPI);
	ck_assert_str_eq(fake_at(&g, info->cmdline), "console=ttyS0");
	ck_assert_uint_eq(info->memmap_entries, 3);
	map = fake_at(&g, info->memmap);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(map[i].start, fake_map[i].start);
		ck_assert_uint_eq(map[i].bytes, fake_map[i].bytes);
		ck_assert_uint_eq(map[i].type, fake_map[i].type);
	}
	ck_assert_uint_eq(info->modules_count, 2);
	m = fake_at(&g, info->modules);
	ck_assert_uint_eq(m[0].start, FAKE_TOP - 3 * 4096); /* as high as it fits */
	ck_assert_uint_eq(m[0].bytes, sizeof(data));
	ck_assert_mem_eq(fake_at(&g, m[0].start), data, sizeof(data));
	ck_assert_uint_eq(m[1].start, FAKE_TOP - 4 * 4096);
	ck_assert_str_eq(fake_at(&g, m[1].cmdline), "second");
	fake_guest_fini(&g);
}
END_TEST

/* An image at the top of RAM: the initramfs goes below it. */
START_TEST(initramfs_below)
{
	static uint8_t data[0x5000];
	struct boot_module module = {{data, sizeof(data)}, NULL, "initramfs"};
	struct fake_guest g;
	struct boot_image b;
	const struct pvh_start_info *info;

	make(true, 2 * MIB, 4, 4, 0x80);
	b = fake_accepted(fake_bytes(&image));
	b.segment[0].gpa = b.entry = FAKE_TOP - 0x4000;
	fake_guest_init(&g);
	g.request.modules = &module;
	g.request.modules_count = 1;
	info = fake_at(&g, fake_loaded(&g, &b).rbx);
	ck_assert_uint_eq(((struct pvh_module *)fake_at(&g, info->modules))->start, FAKE_TOP - 0x9000);
	fake_check_segments(&g, &b);
	fake_guest_fini(&g);
}
END_TEST

Suite *pvh_suite(void);
Suite *pvh_suite(void)
{
	Suite *suite = suite_create("pvh");
	TCase *tcase = tcase_create("images");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, note_forms);
	tcase_add_test(tcase, bad_notes);
	tcase_add_test(tcase, multiboot_first);
	tcase_add_loop_test(tcase, start_info, 0, 2);
	tcase_add_test(tcase, initramfs_below);
	suite_add_tcase(suite, tcase);
	return suite;
}
