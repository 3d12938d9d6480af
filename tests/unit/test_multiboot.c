/* Multiboot 1: what a guest is given, and what does not fit. */
#include "tests/unit/fake_image.h"
#include "vmm/boot/bootdata.h"

#define MIB UINT64_C(0x100000)

static struct fake_image image;

static const struct elf_program PARTS[] = {
	{PT_LOAD, 0x1000, 0x800, 0xc0200000, 2 * MIB, 0x1800, 0x1000},
	{PT_LOAD, 0x2000, 0x1000, 0xc0100000, MIB, 0x1000, 0x1000},
};

static struct boot_image parsed(bool wide)
{
	fake_elf(&image, wide, 0xc0100010, PARTS, 2);
	fake_multiboot(&image, MULTIBOOT_PAGE_ALIGN | MULTIBOOT_WANT_MEMORY | MULTIBOOT_WANT_VIDEO);
	return fake_accepted(fake_bytes(&image));
}

static void check_info(struct fake_guest *g, const struct boot_entry *e)
{
	const struct multiboot_info *info = fake_at(g, e->rbx);
	const struct multiboot_mmap *map = fake_at(g, info->mmap_addr);

	ck_assert(e->rbx >= LAYOUT_BOOT_DATA && e->rbx < LAYOUT_LOW_END);
	ck_assert_uint_eq(info->flags, 0x24f);
	ck_assert_uint_eq(info->mem_lower_kib, 640);
	ck_assert_uint_eq(info->mem_upper_kib, (FAKE_TOP - MIB) / 1024);
	ck_assert_str_eq(fake_at(g, info->boot_loader_name), "slat");
	ck_assert_uint_eq(info->mmap_length, 3 * 24);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(map[i].size, 20);
		ck_assert_uint_eq(map[i].addr, fake_map[i].start);
		ck_assert_uint_eq(map[i].length, fake_map[i].bytes);
		ck_assert_uint_eq(map[i].type, fake_map[i].type);
	}
}

START_TEST(info_and_segments)
{
	struct fake_guest g;
	struct boot_image b = parsed(_i);
	struct boot_entry e;

	ck_assert_int_eq(b.format, BOOT_MULTIBOOT);
	fake_guest_init(&g);
	g.request.cmdline = "a=1 b";
	e = fake_loaded(&g, &b);
	ck_assert_uint_eq(e.rax, MULTIBOOT_LOADED);
	ck_assert_uint_eq(e.rip, MIB + 0x10);
	ck_assert(!e.long_mode && e.rsp == 0);
	fake_check_segments(&g, &b);
	check_info(&g, &e);
	ck_assert_str_eq(fake_at(&g, ((struct multiboot_info *)fake_at(&g, e.rbx))->cmdline), "dir/kernel.elf a=1 b");
	ck_assert_uint_eq(((struct multiboot_info *)fake_at(&g, e.rbx))->mods_count, 0);
	/* nothing else has changed */
	memcpy(g.before + LAYOUT_BOOT_DATA, fake_at(&g, LAYOUT_BOOT_DATA), LAYOUT_LOW_END - LAYOUT_BOOT_DATA);
	for (unsigned i = 0; i < b.segments; i++)
		memcpy(g.before + b.segment[i].gpa, fake_at(&g, b.segment[i].gpa), b.segment[i].bytes);
	ck_assert_mem_eq(g.before, g.memory.ram.host, FAKE_TOP);
	fake_guest_fini(&g);
}
END_TEST

START_TEST(modules)
{
	static uint8_t big[5000];
	struct boot_module list[] = {
		{{big, sizeof(big)}, "one x=1", "one"}, {{big, 0}, NULL, "none"}, {{big, 4096}, "three", "three"}};
	struct fake_guest g;
	struct boot_image b = parsed(false);
	struct boot_entry e;
	const struct multiboot_info *info;
	const struct multiboot_module *m;

	memset(big, 0x42, sizeof(big));
	fake_guest_init(&g);
	g.request.modules = list;
	g.request.modules_count = 3;
	e = fake_loaded(&g, &b);
	check_info(&g, &e);
	info = fake_at(&g, e.rbx);
	ck_assert_uint_eq(info->mods_count, 3);
	m = fake_at(&g, info->mods_addr);
	ck_assert_uint_eq(m[0].start, 0x202000); /* the image ends at 0x201800 */
	ck_assert_uint_eq(m[0].end, 0x202000 + 5000);
	ck_assert_uint_eq(m[1].start, 0x204000);
	ck_assert_uint_eq(m[1].end, 0x204000);
	ck_assert_uint_eq(m[2].start, 0x205000);
	ck_assert_mem_eq(fake_at(&g, m[0].start), big, 5000);
	ck_assert_mem_eq(fake_at(&g, m[2].start), big, 4096);
	ck_assert_str_eq(fake_at(&g, m[0].cmdline), "one x=1");
	ck_assert_str_eq(fake_at(&g, m[1].cmdline), "");
	fake_check_segments(&g, &b);
	fake_guest_fini(&g);
}
END_TEST

static void kludge(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end, uint32_t entry)
{
	struct multiboot_header h = {MULTIBOOT_MAGIC,
				     MULTIBOOT_KLUDGE,
				     0u - MULTIBOOT_MAGIC - MULTIBOOT_KLUDGE,
				     header,
				     load,
				     load_end,
				     bss_end,
				     entry};

	memcpy(image.data + FAKE_HEADER_AT, &h, sizeof(h));
}

/* The addresses in the header win, over a fine ELF and over garbage. */
START_TEST(kludge_wins)
{
	struct fake_guest g;
	struct boot_image b;

	parsed(true);
	if (_i)
		memset(image.data, 0, 64);
	kludge(0x300800, 0x300400, 0x301400, 0x303000, 0x300900);
	b = fake_accepted(fake_bytes(&image));
	ck_assert_uint_eq(b.segments, 1);
	ck_assert_uint_eq(b.segment[0].gpa, 0x300400);
	ck_assert_uint_eq(b.segment[0].bytes, 0x2c00);
	ck_assert_ptr_eq(b.segment[0].file.data, image.data + 0x400);
	ck_assert_uint_eq(b.segment[0].file.length, 0x1000);
	ck_assert_uint_eq(b.entry, 0x300900);
	fake_guest_init(&g);
	fake_loaded(&g, &b);
	fake_check_segments(&g, &b);
	fake_guest_fini(&g);
	kludge(0x300800, 0x300400, 0, 0, 0x300900); /* to the end of the file, no bss */
	b = fake_accepted(fake_bytes(&image));
	ck_assert_uint_eq(b.segment[0].bytes, 0x3c00);
}
END_TEST

START_TEST(bad_headers)
{
	parsed(true);
	fake_multiboot(&image, 1u << 3);
	fake_refused(fake_bytes(&image), "requires features 0x8");
	kludge(0x300000, 0x300400, 0, 0, 0x300900);
	fake_refused(fake_bytes(&image), "header_addr 0x300000 is below load_addr 0x300400");
	kludge(0x301000, 0x300000, 0, 0, 0x300900);
	fake_refused(fake_bytes(&image), "load_addr 0x300000 is before the file's first byte, which goes to 0x300800");
	kludge(0x300800, 0x300400, 0x300400, 0, 0x300900);
	fake_refused(fake_bytes(&image), "load_end_addr 0x300400 is not above load_addr");
	kludge(0x300800, 0x300400, 0x304001, 0, 0x300900);
	fake_refused(fake_bytes(&image),
		     "load_end_addr 0x304001 is past the file's last byte, which goes before 0x304000");
	kludge(0x300800, 0x300400, 0, 0x303fff, 0x300900);
	fake_refused(fake_bytes(&image), "bss_end_addr 0x303fff is below");
	kludge(0x300800, 0x300400, 0, 0, 0x304000);
	fake_refused(fake_bytes(&image), "the entry 0x304000 lies outside");
	kludge(0xffffffff, 0xfffffc00, 0, 0, 0xfffffd00);
	fake_refused(fake_bytes(&image), "too high");
	image.length = FAKE_HEADER_AT + 31;
	fake_refused(fake_bytes(&image), "cut off by the end of the file");
	parsed(true);
	memset(image.data, 0, 64);
	fake_refused(fake_bytes(&image), "no ELF, and without load addresses");
}
END_TEST

/* 4-byte aligned, right checksum, whole in the first 8 KiB. */
START_TEST(header_search)
{
	struct multiboot_header h = {MULTIBOOT_MAGIC, 0, 0u - MULTIBOOT_MAGIC, 0, 0, 0, 0, 0};

	fake_elf(&image, false, MIB, PARTS, 2);
	memcpy(image.data + 8192 - 12, &h, 12);
	ck_assert_int_eq(fake_accepted(fake_bytes(&image)).format, BOOT_MULTIBOOT);
	fake_elf(&image, false, MIB, PARTS, 2);
	memcpy(image.data + 8192 - 8, &h, 12);
	fake_refused(fake_bytes(&image), "neither a Multiboot header");
	fake_elf(&image, false, MIB, PARTS, 2);
	memcpy(image.data + FAKE_HEADER_AT + 2, &h, 12);
	fake_refused(fake_bytes(&image), "neither a Multiboot header");
	h.checksum++;
	fake_elf(&image, false, MIB, PARTS, 2);
	memcpy(image.data + FAKE_HEADER_AT, &h, 12);
	fake_refused(fake_bytes(&image), "neither a Multiboot header");
}
END_TEST

START_TEST(does_not_fit)
{
	static char long_line[0x10000];
	static uint8_t big[6 * 0x100000];
	struct boot_module module = {{big, sizeof(big)}, NULL, "big.img"};
	struct fake_guest g;
	struct boot_image b = parsed(false);

	fake_guest_init(&g);
	b.segment[0].bytes = 64 * MIB;
	fake_not_loaded(&g, &b,
			"segment 0 needs 64 MiB at 0x200000; RAM there ends at 0x800000: give more with --memory");
	b.segment[0].gpa = 0xa0000;
	fake_not_loaded(&g, &b, "segment 0 needs 64 MiB at 0xa0000, where there is no RAM");
	b.segment[0].gpa = 0x8f000;
	b.segment[0].bytes = 0x1001;
	fake_not_loaded(&g, &b, "overlaps the boot structures at 0x90000..0xa0000");
	b = parsed(false);
	memset(long_line, 'x', sizeof(long_line) - 1);
	g.request.cmdline = long_line;
	fake_not_loaded(&g, &b, "room for 0x10000");
	g.request.cmdline = NULL;
	g.request.modules = &module;
	g.request.modules_count = 1;
	fake_not_loaded(&g, &b, "big.img: no place for its 6 MiB");
	module.data.length = 2 * MIB;
	fake_loaded(&g, &b);
	fake_guest_fini(&g);
}
END_TEST

/* A guard: never written, and named. */
START_TEST(guards)
{
	struct fake_guest g;
	struct boot_image b = parsed(false);
	enum mm_err err;

	fake_guest_init(&g);
	err = pagetable_unmap(&g.memory.table, 0x201000, 0x1000, NULL);
	ck_assert_int_eq(err, MM_OK);
	fake_not_loaded(
		&g, &b,
		"segment 0, 6 KiB at 0x200000, would lie on a guard: --guard leaves nothing at 0x201000..0x202000");
	err = pagetable_unmap(&g.memory.table, LAYOUT_BOOT_DATA, 0x1000, NULL);
	ck_assert_int_eq(err, MM_OK);
	b.segments = 1;
	b.segment[0] = b.segment[1];
	fake_not_loaded(&g, &b, "the boot structures, ");
	fake_not_loaded(&g, &b, "would lie on a guard: --guard leaves nothing at 0x90000..0x91000");
	fake_guest_fini(&g);
}
END_TEST

/* Read-only for the guest, and no RAM in its map: an image that wants to lie there is burned into it. */
START_TEST(read_only_memory_is_burned)
{
	static const struct boot_range map[] = {
		{0, LAYOUT_BOOT_DATA, E820_RAM},
		{LAYOUT_BOOT_DATA, LAYOUT_HIGH_START - LAYOUT_BOOT_DATA, E820_RESERVED},
		{LAYOUT_HIGH_START, 0x200000 - LAYOUT_HIGH_START, E820_RAM},
		{0x200000, 0x1000, E820_RESERVED},
		{0x201000, 0xe00000, E820_RAM},
	};
	const struct pagetable_attr fixed = {PAGETABLE_READ | PAGETABLE_EXEC | PAGETABLE_USER, PAGETABLE_WRITE_BACK};
	struct boot_image b = parsed(false);
	struct boot_entry entry;
	struct failure f = {0};
	struct fake_guest g;
	uint8_t got[64];

	fake_guest_init(&g);
	g.request.map = map;
	g.request.map_count = 5;
	ck_assert_int_eq(pagetable_protect(&g.memory.table, 0x200000, 0x1000, fixed, NULL), MM_OK);
	ck_assert_int_eq(boot_load(&b, &g.request, &g.memory.ram, &entry, &f), 0);
	ck_assert(ram_read(&g.memory.ram, 0x200000, got, sizeof(got)));
	ck_assert_mem_eq(got, b.segment[0].file.data, sizeof(got));
	ck_assert(!ram_write(&g.memory.ram, 0x200000, got, sizeof(got)));
	fake_guest_fini(&g);
}
END_TEST

/* Whatever lay there before: only what is added is made zero. */
START_TEST(what_is_not_given_is_zero)
{
	static const uint8_t zeros[62];
	static struct bootdata b;

	memset(&b, 0xaa, sizeof(b));
	bootdata_init(&b);
	bootdata_add(&b, "x", 1, 1);
	bootdata_add(&b, NULL, 7, 16);
	bootdata_add(&b, "yz", 2, 64);
	ck_assert_uint_eq(b.used, 66);
	ck_assert(b.room[0] == 'x' && b.room[64] == 'y' && b.room[65] == 'z' && b.room[66] == 0xaa);
	ck_assert_mem_eq(b.room + 1, zeros, sizeof(zeros));
}
END_TEST

Suite *multiboot_suite(void);
Suite *multiboot_suite(void)
{
	Suite *suite = suite_create("multiboot");
	TCase *tcase = tcase_create("images");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, info_and_segments, 0, 2);
	tcase_add_test(tcase, modules);
	tcase_add_loop_test(tcase, kludge_wins, 0, 2);
	tcase_add_test(tcase, bad_headers);
	tcase_add_test(tcase, header_search);
	tcase_add_test(tcase, does_not_fit);
	tcase_add_test(tcase, guards);
	tcase_add_test(tcase, read_only_memory_is_burned);
	tcase_add_test(tcase, what_is_not_given_is_zero);
	suite_add_tcase(suite, tcase);
	return suite;
}
