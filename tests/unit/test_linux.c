/* Linux bzImage: what the set-up header asks for, and the zero page that the kernel gets. */
#include "tests/unit/fake_image.h"

#include <asm/bootparam.h>

#define MIB	  UINT64_C(0x100000)
#define SETUP	  0xa00u /* boot sector and 4 sectors of set-up code */
#define HEADER_AT 0x1f1u

static struct fake_image image;
static struct setup_header header;

static void put_header(void)
{
	memcpy(image.data + HEADER_AT, &header, sizeof(header));
}

/* A kernel of 0x3600 bytes that wants 1 MiB at 2 MiB. */
static void make(void)
{
	header = (struct setup_header){
		.setup_sects = 0, /* means 4 */
		.syssize = (0x4000 - SETUP) / 16,
		.boot_flag = 0xaa55,
		.jump = 0xeb | (HEADER_AT + sizeof(header) - 0x202) << 8,
		.header = 0x53726448, /* HdrS */
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 100,
		.pref_address = 2 * MIB,
		.init_size = MIB,
	};
	for (size_t i = 0; i < sizeof(image.data); i++)
		image.data[i] = (uint8_t)(i * 13 + (i >> 8));
	image.length = sizeof(image.data);
	put_header();
}

static void refused(const char *part)
{
	put_header();
	fake_refused(fake_bytes(&image), part);
	make();
}

START_TEST(refusals)
{
	make();
	header.version = 0x205;
	refused("Linux boot protocol 2.05; 2.12");
	header.version = 0x20b;
	refused("Linux boot protocol 2.11; 2.12");
	header.loadflags = 0;
	refused("a Linux zImage");
	header.xloadflags = XLF_CAN_BE_LOADED_ABOVE_4G;
	refused("a 32-bit Linux kernel (xloadflags 0x2)");
	header.kernel_alignment = 0;
	refused("alignment of 0x0");
	header.kernel_alignment = 0x300000;
	refused("alignment of 0x300000");
	header.pref_address = UINT64_C(0xfff80000);
	refused("past 4 GiB");
	header.pref_address = UINT64_MAX;
	refused("past 4 GiB");
	header.syssize++;
	refused("ends at byte 0x4010 of a file of 0x4000 bytes");
	header.setup_sects = 31;
	refused("set-up code of 0x4000 bytes in a file of 0x4000 bytes");
	header.jump = 0xeb | 0x5f << 8; /* ends before init_size does */
	refused("setup header of 0x70 bytes");
	image.length = 0x220;
	refused("ends at byte 0x26c of a file of 0x220 bytes");
}
END_TEST

START_TEST(every_truncation)
{
	make();
	for (size_t length = 0; length < image.length; length++)
		fake_refused((struct bytes){image.data, length}, "");
	fake_accepted(fake_bytes(&image));
}
END_TEST

static const struct boot_params *check_params(struct fake_guest *g, const struct boot_entry *e)
{
	const struct boot_params *p = fake_at(g, e->rsi);

	ck_assert_uint_eq(p->sentinel, 0);
	ck_assert_uint_eq(p->hdr.header, 0x53726448);
	ck_assert_uint_eq(p->hdr.version, 0x20f);
	ck_assert_uint_eq(p->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(p->hdr.code32_start, e->rip - 0x200);
	ck_assert_uint_eq(p->acpi_rsdp_addr, LAYOUT_ACPI);
	ck_assert_uint_eq(p->e820_entries, 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(p->e820_table[i].addr, fake_map[i].start);
		ck_assert_uint_eq(p->e820_table[i].size, fake_map[i].bytes);
		ck_assert_uint_eq(p->e820_table[i].type, fake_map[i].type);
	}
	return p;
}

/* Walks the entry's tables as a CPU does: 4 levels, 2M leaves, in guest RAM. */
static uint64_t translate(struct fake_guest *g, uint64_t cr3, uint64_t address)
{
	uint64_t table = cr3, entry = 0;

	for (int shift = 39; shift >= 21; shift -= 9) {
		memcpy(&entry, fake_at(g, table + (address >> shift & 511) * 8), 8);
		ck_assert_msg((entry & 3) == 3, "not present or not writable at level %d", shift);
		ck_assert(!(entry >> 63)); /* executable */
		table = entry & UINT64_C(0x000ffffffffff000);
	}
	ck_assert(entry & 0x80);
	return table + (address & 0x1fffff);
}

START_TEST(entry)
{
	static const uint64_t probes[] = {0,
					  LAYOUT_BOOT_DATA,
					  0x1fffff,
					  2 * MIB,
					  UINT64_C(0x3fffffff),
					  UINT64_C(0x40000000),
					  UINT64_C(0xfee00000),
					  UINT64_C(0xffffffff)};
	static uint8_t data[0x2345];
	struct boot_module initramfs = {{data, sizeof(data)}, NULL, "initramfs"};
	struct fake_guest g;
	struct boot_image b;
	struct boot_entry e;
	const struct boot_params *p;
	uint64_t gdt[4];

	make();
	memset(data, 0x17, sizeof(data));
	b = fake_accepted(fake_bytes(&image));
	ck_assert_int_eq(b.format, BOOT_LINUX);
	fake_guest_init(&g);
	g.request.cmdline = "console=ttyS0 quiet";
	g.request.modules = &initramfs;
	g.request.modules_count = 1;
	e = fake_loaded(&g, &b);
	ck_assert(e.long_mode);
	ck_assert_uint_eq(e.rip, 2 * MIB + 0x200);
	ck_assert_mem_eq(fake_at(&g, 2 * MIB), image.data + SETUP, image.length - SETUP);
	p = check_params(&g, &e);
	ck_assert_str_eq(fake_at(&g, p->hdr.cmd_line_ptr), "console=ttyS0 quiet");
	ck_assert_uint_eq(p->hdr.ramdisk_size, sizeof(data));
	ck_assert_uint_eq(p->hdr.ramdisk_image, FAKE_TOP - 0x3000);
	ck_assert_mem_eq(fake_at(&g, p->hdr.ramdisk_image), data, sizeof(data));
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
		ck_assert_uint_eq(translate(&g, e.cr3, probes[i]), probes[i]);
	ck_assert_uint_eq(e.gdt_bytes, sizeof(gdt));
	memcpy(gdt, fake_at(&g, e.gdt), sizeof(gdt));
	ck_assert(gdt[0] == 0 && gdt[1] == 0);
	ck_assert_uint_eq(gdt[2] >> 40 & 0x609a, 0x209a); /* long, present, code */
	ck_assert_uint_eq(gdt[3] >> 40 & 0x609a, 0x4092); /* 32-bit, present, writable data */
	fake_guest_fini(&g);
}
END_TEST

/* boot.rst, ramdisk_image: "zero if there is no initial ramdisk", whatever the file says. */
START_TEST(no_initramfs)
{
	struct fake_guest g;
	struct boot_image b;
	struct boot_entry e;
	const struct boot_params *p;

	make();
	header.ramdisk_image = 0x12345000;
	header.ramdisk_size = 0x1000;
	put_header();
	b = fake_accepted(fake_bytes(&image));
	fake_guest_init(&g);
	e = fake_loaded(&g, &b);
	p = check_params(&g, &e);
	ck_assert_uint_eq(p->hdr.ramdisk_image, 0);
	ck_assert_uint_eq(p->hdr.ramdisk_size, 0);
	fake_guest_fini(&g);
}
END_TEST

START_TEST(initramfs_limit)
{
	static uint8_t data[0x2000];
	struct boot_module initramfs = {{data, sizeof(data)}, NULL, "initramfs"};
	struct fake_guest g;
	struct boot_image b;
	struct boot_entry e;

	make();
	header.initrd_addr_max = 0x4fffff;
	put_header();
	b = fake_accepted(fake_bytes(&image));
	fake_guest_init(&g);
	g.request.modules = &initramfs;
	g.request.modules_count = 1;
	e = fake_loaded(&g, &b);
	ck_assert_uint_eq(check_params(&g, &e)->hdr.ramdisk_image, 0x500000 - 0x2000);
	b.linux_.initrd_max = 0x300000; /* where the kernel's room ends: below the kernel, then */
	e = fake_loaded(&g, &b);
	ck_assert_uint_eq(check_params(&g, &e)->hdr.ramdisk_image, 0x200000 - 0x2000);
	memcpy(g.before, g.memory.ram.host, FAKE_TOP);
	b.linux_.initrd_max = 0x100000;
	fake_not_loaded(&g, &b, "initramfs: no place for its 8 KiB beside the image in RAM below 0x100000");
	g.request.modules_count = 2;
	fake_not_loaded(&g, &b, "2 modules; Linux takes one");
	fake_guest_fini(&g);
}
END_TEST

/* A kernel that cannot lie where it prefers goes to the next place its alignment allows, if it is relocatable. */
START_TEST(relocation)
{
	static const struct boot_range map[] = {{0, LAYOUT_LOW_END, E820_RAM},
						{LAYOUT_HIGH_START, 2 * MIB, E820_RAM},
						{3 * MIB, MIB, E820_RESERVED},
						{4 * MIB, 2 * MIB, E820_RAM},
						{6 * MIB, 2 * MIB, E820_RAM}};
	struct fake_guest g;
	struct boot_image b;
	struct boot_entry e;

	make();
	header.init_size = 3 * MIB; /* only across the two touching lines */
	put_header();
	b = fake_accepted(fake_bytes(&image));
	fake_guest_init(&g);
	g.request.map = map;
	g.request.map_count = 5;
	e = fake_loaded(&g, &b);
	ck_assert_uint_eq(e.rip, 4 * MIB + 0x200);
	memcpy(g.before, g.memory.ram.host, FAKE_TOP);
	b.linux_.relocatable = false;
	fake_not_loaded(&g, &b, "the Linux kernel needs 3 MiB at 0x200000; RAM there ends at 0x300000: give more");
	b.linux_.relocatable = true;
	b.linux_.init_bytes = 5 * MIB;
	fake_not_loaded(&g, &b, "the Linux kernel needs 5 MiB at 0x200000");
	fake_guest_fini(&g);
}
END_TEST

START_TEST(command_line_and_map)
{
	static struct boot_range map[E820_MAX_ENTRIES_ZEROPAGE + 1];
	static char line[102];
	struct fake_guest g;
	struct boot_image b;
	struct boot_entry e;

	make();
	b = fake_accepted(fake_bytes(&image));
	fake_guest_init(&g);
	memset(line, 'x', 101);
	g.request.cmdline = line;
	fake_not_loaded(&g, &b, "a command line of 101 characters; this kernel takes at most 100");
	line[100] = 0;
	e = fake_loaded(&g, &b);
	ck_assert_str_eq(fake_at(&g, check_params(&g, &e)->hdr.cmd_line_ptr), line);
	memcpy(g.before, g.memory.ram.host, FAKE_TOP);
	memcpy(map, fake_map, sizeof(fake_map));
	for (unsigned i = 3; i < E820_MAX_ENTRIES_ZEROPAGE + 1; i++)
		map[i] = (struct boot_range){UINT64_C(0x100000000) + i * 0x1000, 0x1000, E820_RESERVED};
	g.request.map = map;
	g.request.map_count = E820_MAX_ENTRIES_ZEROPAGE + 1;
	fake_not_loaded(&g, &b, "a memory map of 129 lines; Linux takes at most 128");
	g.request.map_count--;
	e = fake_loaded(&g, &b);
	ck_assert_uint_eq(((struct boot_params *)fake_at(&g, e.rsi))->e820_entries, 128);
	fake_guest_fini(&g);
}
END_TEST

Suite *linux_suite(void);
Suite *linux_suite(void)
{
	Suite *suite = suite_create("linux");
	TCase *tcase = tcase_create("images");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, refusals);
	tcase_add_test(tcase, every_truncation);
	tcase_add_test(tcase, entry);
	tcase_add_test(tcase, no_initramfs);
	tcase_add_test(tcase, initramfs_limit);
	tcase_add_test(tcase, relocation);
	tcase_add_test(tcase, command_line_and_map);
	suite_add_tcase(suite, tcase);
	return suite;
}
