/* Sizes, lists and the command line of `slat run`: what is taken, and each sentence that refuses. */
#include <check.h>
#undef fail
#include <stdio.h>
#include <string.h>

#include "vmm/options.h"
#include "vmm/size.h"
#include "vmm/sys.h"

Suite *options_suite(void);

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define WORDS_MAX 32

static const struct {
	const char *text;
	bool good;
	uint64_t bytes;
} sizes[] = {
	{"0", true, 0},
	{"4096", true, 4096},
	{"0x1000", true, 4096},
	{"64K", true, 65536},
	{"512m", true, UINT64_C(512) << 20},
	{"5G", true, UINT64_C(5) << 30},
	{"16777215T", true, UINT64_C(16777215) << 40},
	{"16777216T", false, 0}, /* 2^64 */
	{"18446744073709551615", true, UINT64_MAX},
	{"18446744073709551616", false, 0},
	{"", false, 0},
	{"K", false, 0},
	{"-1", false, 0},
	{"+1", false, 0},
	{" 1", false, 0},
	{"1 ", false, 0},
	{"1KB", false, 0},
	{"1.5G", false, 0},
	{"1P", false, 0},
	{"0x", false, 0},
};

START_TEST(size_is_parsed_exactly)
{
	uint64_t bytes = 77;

	ck_assert_int_eq(size_parse(sizes[_i].text, &bytes), sizes[_i].good);
	ck_assert_uint_eq(bytes, sizes[_i].good ? sizes[_i].bytes : 77);
}
END_TEST

START_TEST(size_is_written_exactly)
{
	ck_assert_str_eq(size_format(0).s, "0 bytes");
	ck_assert_str_eq(size_format(17).s, "17 bytes");
	ck_assert_str_eq(size_format(33564 << 10).s, "33564 KiB");
	ck_assert_str_eq(size_format(UINT64_C(5) << 30).s, "5 GiB");
	ck_assert_str_eq(size_format(UINT64_C(1) << 50).s, "1024 TiB");
	ck_assert_str_eq(size_format(UINT64_MAX).s, "18446744073709551615 bytes");
}
END_TEST

static void collect(void *self, unsigned number)
{
	strcat(self, (char[]){(char)('0' + number), 0});
}

START_TEST(list_of_numbers)
{
	char seen[64] = "";

	ck_assert(sys_list("0-2,5,7-7", collect, seen));
	ck_assert_str_eq(seen, "01257");
	ck_assert(!sys_list("1-", collect, seen));
	ck_assert(!sys_list("x", collect, seen));
	ck_assert(!sys_list("3-1", collect, seen));
	ck_assert(!sys_list("0-4000000000", collect, seen));
	ck_assert(!sys_list("1;2", collect, seen));
}
END_TEST

/* Splits at blanks; an argument cannot hold one here. */
static int parse(const char *line, struct run_options *o, struct failure *f)
{
	static char copy[512];
	char *argv[WORDS_MAX];
	int argc = 0;

	*f = (struct failure){0};
	strcpy(copy, line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
		ck_assert_int_lt(argc, WORDS_MAX);
		argv[argc++] = word;
	}
	return options_parse(argc, argv, o, f);
}

START_TEST(defaults)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse("k.elf", &o, &f), 0);
	ck_assert_str_eq(o.image, "k.elf");
	ck_assert_uint_eq(o.cpus, 1);
	ck_assert_uint_eq(o.memory.bytes, UINT64_C(512) << 20);
	ck_assert(o.memory.thp && !o.memory.hugepages && !o.memory.shared && !o.memory.prefault);
	ck_assert(!o.has_exit_zero && !o.timeout_ns && !o.json && !o.trace_exits && o.sandbox);
	ck_assert_ptr_null(o.cmdline);
}
END_TEST

START_TEST(everything_at_once)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse("--kernel=vm --initramfs i.gz --cmdline=console=ttyS0 --cpus boot=4 --memory "
			       "size=6G,hugepages=on,hugepage_size=2M,thp=off,prefault=on,shared=on --name a-b.c_1 "
			       "--timeout 1.5 --exit-zero 0x10 --report r --json --trace exits --sandbox off",
			       &o, &f),
			 0);
	ck_assert_str_eq(o.image, "vm");
	ck_assert_uint_eq(o.modules, 1);
	ck_assert_str_eq(o.module[0], "i.gz");
	ck_assert_str_eq(o.cmdline, "console=ttyS0");
	ck_assert_uint_eq(o.cpus, 4);
	ck_assert_uint_eq(o.memory.bytes, UINT64_C(6) << 30);
	ck_assert(!o.memory.thp && o.memory.hugepages && o.memory.shared && o.memory.prefault);
	ck_assert_str_eq(o.name, "a-b.c_1");
	ck_assert_uint_eq(o.timeout_ns, 1500000000);
	ck_assert(o.has_exit_zero && o.exit_zero == 16);
	ck_assert(o.json && o.trace_exits && !o.sandbox);
}
END_TEST

START_TEST(options_may_follow_the_image_and_dashes_end_them)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse("k --report r", &o, &f), 0);
	ck_assert_str_eq(o.report, "r");
	ck_assert_ptr_null(o.dump_table);
	ck_assert_int_eq(parse("k --dump-table=t", &o, &f), 0);
	ck_assert_str_eq(o.dump_table, "t");
	ck_assert_int_eq(parse("--json -- --odd-name", &o, &f), 0);
	ck_assert_str_eq(o.image, "--odd-name");
	ck_assert_int_eq(parse("--nonsense --help", &o, &f), EXIT_USAGE);
	ck_assert_int_eq(parse("--help --nonsense", &o, &f), 0);
	ck_assert(o.help);
}
END_TEST

/* Each sentence names the option, the value and the limit. */
static const struct {
	const char *line, *sentence;
} refusals[] = {
	{"", "no image to boot: slat run [options] IMAGE"},
	{"a b", "two images: a and b; a guest boots one"},
	{"--bogus k", "unknown option --bogus; slat run --help lists them"},
	{"k --report", "--report needs a value"},
	{"k --json=on", "--json takes no value"},
	{"k --memory size=0", "--memory size=0: a guest needs 2 MiB at least"},
	{"k --memory size=4097K", "--memory size=4097K: not a multiple of 4K, the size of a page"},
	{"k --memory size=4097K1",
	 "--memory size=4097K1: not a size; write bytes, or a number with K, M, G or T, such as 512M"},
	{"k --memory size=3M,size=2097153", "--memory size=2097153: not a multiple of 4K, the size of a page"},
	{"k --memory sise=1G", "--memory: unknown key 'sise'; the keys are: size, hugepages, hugepage_size, thp, "
			       "prefault, shared, contiguous, "
			       "extent_size"},
	{"k --memory size", "--memory size: a value is missing, as in size=VALUE"},
	{"k --memory size=", "--memory size: a value is missing, as in size=VALUE"},
	{"k --memory size=1G,", "--memory: an empty key=value pair"},
	{"k --memory thp=yes", "--memory thp=yes: the value is on or off"},
	{"k --memory hugepage_size=4M", "--memory hugepage_size=4M: huge pages are of 2M or 1G"},
	{"k --memory size=1025M,hugepages=on,hugepage_size=1G",
	 "--memory size=1025 MiB: with hugepages=on, a multiple of 1G"},
	{"k --memory size=33M,hugepages=on", "--memory size=33 MiB: with hugepages=on, a multiple of 2M"},
	{"k --cpus boot=0", "--cpus boot=0: not a number of CPUs from 1 to 255"},
	{"k --cpus boot=-2", "--cpus boot=-2: not a number of CPUs from 1 to 255"},
	{"k --cpus boot=256", "--cpus boot=256: not a number of CPUs from 1 to 255"},
	{"k --cpus 4", "--cpus 4: write --cpus boot=4"},
	{"k --memory 1G", "--memory 1G: write --memory size=1G"},
	{"k --report -", "--report -: for standard output use --json"},
	{"k --dump-table", "--dump-table needs a value"},
	{"k --dump-table -", "--dump-table -: a file is needed, for slat table to read"},
	{"k --timeout 0", "--timeout 0: not a number of seconds from 0.001 to 1000000"},
	{"k --timeout nan", "--timeout nan: not a number of seconds from 0.001 to 1000000"},
	{"k --timeout 1s", "--timeout 1s: not a number of seconds from 0.001 to 1000000"},
	{"k --exit-zero -1", "--exit-zero -1: not a number that a guest can write to port 0xf4 (0 to 0xffffffff)"},
	{"k --exit-zero 4294967296",
	 "--exit-zero 4294967296: not a number that a guest can write to port 0xf4 (0 to 0xffffffff)"},
	{"k --trace everything", "--trace everything: unknown; what can be traced: exits"},
	{"k --sandbox 1", "--sandbox 1: the value is on or off"},
	{"k --gdb 1234", "--gdb 1234: write tcp:PORT or unix:PATH"},
	{"k --gdb udp:1", "--gdb udp:1: write tcp:PORT or unix:PATH"},
	{"k --gdb tcp:", "--gdb tcp:: not a port from 0 (any that is free) to 65535"},
	{"k --gdb tcp:-1", "--gdb tcp:-1: not a port from 0 (any that is free) to 65535"},
	{"k --gdb tcp:65536", "--gdb tcp:65536: not a port from 0 (any that is free) to 65535"},
	{"k --gdb unix:", "--gdb unix: a path has 1 to 107 bytes, this one 0"},
	{"k --wait", "--wait waits for a debugger: give --gdb, too"},
	{"k --wait=1 --gdb tcp:1", "--wait takes no value"},
	{"k --name a/b", "--name a/b: a name has letters, digits, and - _ . only"},
	{"k --name=", "--name '': a name has 1 to 63 characters"},
	{"k --guard 4K", "--guard 4K: write GPA+SIZE, such as 0x1000000+4K"},
	{"k --ro 0x1000+", "--ro 0x1000+: write GPA+SIZE, such as 0x1000000+4K"},
	{"k --guard 0x100000000000000000000000000000+4K",
	 "--guard 0x100000000000000000000000000000+4K: write GPA+SIZE, such as 0x1000000+4K"},
	{"k --guard 0x1001+4K",
	 "--guard 0x1001+4K: address and size are multiples of 4K, the size of a page, and not 0 bytes"},
	{"k --ro 1M+0", "--ro 1M+0: address and size are multiples of 4K, the size of a page, and not 0 bytes"},
	{"k --ro 0xfffffffffffff000+8K", "--ro 0xfffffffffffff000+8K: no guest address is so high"},
	{"k --guard 512M+4K", "--guard 0x20000000+0x1000 is not inside the guest's RAM, 0x0..0x20000000"},
	{"k --memory size=4G --guard 0xbffff000+8K",
	 "--guard 0xbffff000+0x2000 is not inside the guest's RAM, 0x0..0xc0000000 and 0x100000000..0x140000000"},
	{"k --memory size=4G --ro 5G+4K",
	 "--ro 0x140000000+0x1000 is not inside the guest's RAM, 0x0..0xc0000000 and 0x100000000..0x140000000"},
	{"k --guard 16M+8K --ro 0x1001000+4K", "--ro 0x1001000+4K overlaps --guard 0x1000000+0x2000"},
	{"k --guard 16M+4K --guard 0xfff000+16K", "--guard 0xfff000+16K overlaps --guard 0x1000000+0x1000"},
	{"k --on-fault stop", "--on-fault stop: the value is end or report"},
	{"k --memory contiguous=maybe", "--memory contiguous=maybe: the value is require, prefer or scatter"},
	{"k --memory contiguous=scatter,extent_size=3M", "--memory extent_size=3M: a power of two from 4K to 1G"},
	{"k --memory contiguous=scatter,extent_size=2G", "--memory extent_size=2G: a power of two from 4K to 1G"},
	{"k --memory extent_size=4K", "--memory extent_size=4 KiB: only with contiguous=scatter"},
	{"k --pool size=1", "--pool size=1: not a size that is a multiple of 4K, such as 2G"},
	{"k --pool size=256M", "--pool size=256 MiB: less than the guest's RAM, --memory size=512 MiB"},
	{"k --pool taken=1M+4K", "--pool taken: a size is missing, as in --pool size=2G,taken=256M+4K"},
	{"k --pool size=1G,taken=1M", "--pool taken=1M: write START+SIZE, both multiples of 4K, such as 256M+4K"},
	{"k --memory size=4M,hugepages=on --pool size=5M", "--pool size=5 MiB: with hugepages=on, a multiple of 2M"},
};

START_TEST(refusal)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse(refusals[_i].line, &o, &f), EXIT_USAGE);
	ck_assert_str_eq(f.text, refusals[_i].sentence);
}
END_TEST

START_TEST(ranges_are_sorted_and_may_touch)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse("k --guard 0x3000+4K --ro 0x1000+8K --guard=256K+4K --on-fault report --pool "
			       "size=2G,taken=0+4K,taken=1G+2M --memory contiguous=scatter,extent_size=4K",
			       &o, &f),
			 0);
	ck_assert_uint_eq(o.ranges.count, 3);
	ck_assert_uint_eq(o.ranges.range[0].gpa, 0x1000);
	ck_assert_int_eq(o.ranges.range[0].kind, GUEST_READONLY);
	ck_assert_uint_eq(o.ranges.range[1].gpa, 0x3000);
	ck_assert_int_eq(o.ranges.range[1].kind, GUEST_GUARD);
	ck_assert_ptr_eq(guest_ranges_from(&o.ranges, 0), &o.ranges.range[0]);
	ck_assert_ptr_eq(guest_ranges_from(&o.ranges, 0x2fff), &o.ranges.range[0]);
	ck_assert_ptr_eq(guest_ranges_from(&o.ranges, 0x3000), &o.ranges.range[1]);
	ck_assert_ptr_null(guest_ranges_from(&o.ranges, 260 << 10));
	ck_assert(o.fault_report);
	ck_assert_uint_eq(o.pool.bytes, UINT64_C(2) << 30);
	ck_assert_uint_eq(o.pool.taken, 2);
	ck_assert_uint_eq(o.pool.take[1].start, UINT64_C(1) << 30);
	ck_assert_int_eq(o.memory.contiguous, GATHER_SCATTER);
	ck_assert_uint_eq(o.memory.extent_bytes, 4096);
}
END_TEST

START_TEST(so_many_ranges_of_a_kind)
{
	struct guest_ranges r = {0};
	struct failure f = {0};
	char text[32];

	for (unsigned i = 0; i < 2 * GUEST_RANGES_EACH; i++) {
		snprintf(text, sizeof(text), "%uK+4K", 4 * (2 * GUEST_RANGES_EACH - i));
		ck_assert_int_eq(guest_ranges_add(&r, i % 2 ? GUEST_GUARD : GUEST_READONLY, text, &f), 0);
	}
	ck_assert_int_eq(guest_ranges_add(&r, GUEST_GUARD, "1G+4K", &f), EXIT_USAGE);
	ck_assert_str_eq(f.text, "--guard 1G+4K: more than 16 of them");
	f = (struct failure){0};
	ck_assert_int_eq(guest_ranges_check(&r, UINT64_C(2) << 20, &f), 0);
}
END_TEST

Suite *options_suite(void)
{
	Suite *s = suite_create("options");
	TCase *t = tcase_create("options");

	tcase_add_loop_test(t, size_is_parsed_exactly, 0, COUNT(sizes));
	tcase_add_test(t, size_is_written_exactly);
	tcase_add_test(t, list_of_numbers);
	tcase_add_test(t, defaults);
	tcase_add_test(t, everything_at_once);
	tcase_add_test(t, options_may_follow_the_image_and_dashes_end_them);
	tcase_add_loop_test(t, refusal, 0, COUNT(refusals));
	tcase_add_test(t, ranges_are_sorted_and_may_touch);
	tcase_add_test(t, so_many_ranges_of_a_kind);
	suite_add_tcase(s, t);
	return s;
}
