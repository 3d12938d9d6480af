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
#define WORDS_MAX 64

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
	*o = (struct run_options){0};
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
	ck_assert(!o.memory.mlock && !o.memory.dontdump && !o.numa.strict && !o.numa.zones && !o.numa.nodes);
	ck_assert(!o.has_exit_zero && !o.timeout_ns && !o.json && !o.trace_exits && o.sandbox);
	ck_assert_ptr_null(o.cmdline);
}
END_TEST

START_TEST(everything_at_once)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse("--kernel=vm --initramfs i.gz --cmdline=console=ttyS0 --cpus boot=4 --memory "
			       "size=6G,hugepages=on,hugepage_size=2M,thp=off,prefault=on,shared=on,mlock=on,dontdump="
			       "on --name a-b.c_1 "
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
	ck_assert(o.memory.mlock && o.memory.dontdump);
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

#ifdef __SANITIZE_THREAD__ /* vmm/host.h */
#define POOL_MOST "8 GiB"
#else
#define POOL_MOST "1 TiB"
#endif

/* Each sentence names the option, the value and the limit. */
static const struct {
	const char *line, *sentence;
} refusals[] = {
	{"", "no image to boot: slat run [options] IMAGE"},
	{"a b", "two images: a and b; a guest boots one"},
	{"--bogus k", "unknown option --bogus; slat run --help lists them"},
	{"k --report", "--report needs a value"},
	{"k --json=on", "--json takes no value"},
	{"k --memory size=0", "--memory size=0: a guest needs 2 MiB at least, or --memory-zone"},
	{"k --memory size=4097K", "--memory size=4097K: not a multiple of 4K, the size of a page"},
	{"k --memory size=4097K1", "--memory size=4097K1: not a size; write bytes, or a number with K, M, G or T, at "
				   "most 4096 TiB, such as 512M"},
	{"k --memory size=3M,size=2097153", "--memory size=2097153: not a multiple of 4K, the size of a page"},
	{"k --memory sise=1G", "--memory: unknown key 'sise'; the keys are: size, hugepages, hugepage_size, thp, "
			       "prefault, shared, contiguous, "
			       "extent_size, mlock, dontdump"},
	{"k --memory size", "--memory size: a value is missing, as in size=VALUE"},
	{"k --memory size=", "--memory size: a value is missing, as in size=VALUE"},
	{"k --memory size=1G,", "--memory: an empty key=value pair"},
	{"k --memory mlock=yes", "--memory mlock=yes: the value is on or off"},
	{"k --memory dontdump=1", "--memory dontdump=1: the value is on or off"},
	{"k --memory thp=yes", "--memory thp=yes: the value is on or off"},
	{"k --memory size=64M,hugepage_size=1G", "--memory hugepage_size=1G: only with hugepages=on"},
	{"k --memory hugepage_size=2M,hugepages=off", "--memory hugepage_size=2M: only with hugepages=on"},
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
	{"k --pool size=1", "--pool size=1: not a size that is a multiple of 4K, at most " POOL_MOST ", such as 2G"},
	{"k --pool size=256M", "--pool size=256 MiB: less than the guest's RAM, --memory size=512 MiB"},
	{"k --pool taken=1M+4K", "--pool taken: a size is missing, as in --pool size=2G,taken=256M+4K"},
	{"k --pool size=1G,taken=1M", "--pool taken=1M: write START+SIZE, both multiples of 4K, such as 256M+4K"},
	{"k --disk readonly=on", "--disk readonly=on: a path is missing, as in --disk path=FILE"},
	{"k --disk a.img",
	 "--disk: unknown key 'a.img'; the keys are: path, readonly, direct, serial, num_queues, iommu, "
	 "packed"},
	{"k --disk path=", "--disk path: a value is missing, as in path=VALUE"},
	{"k --disk path=a,readonly=yes", "--disk readonly=yes: the value is on or off"},
	{"k --disk path=a,num_queues=17", "--disk num_queues=17: not a number of queues from 1 to 16"},
	{"k --disk path=a,num_queues=0", "--disk num_queues=0: not a number of queues from 1 to 16"},
	{"k --disk path=a,serial=123456789012345678901",
	 "--disk serial=123456789012345678901: a serial number has 20 characters at most"},
	{"k --disk path=a,serial=\x01", "--disk serial: a serial number has printable characters only"},
	{"k --disk path=a,iommu=on", "--disk iommu=on: there is no IOMMU; give --iommu, too"},
	{"k --rng iommu=on", "--rng iommu=on: there is no IOMMU; give --iommu, too"},
	{"k --net queues=2", "--net queues=2: write tap=NAME or user, one of the two"},
	{"k --net user,tap=t", "--net user,tap=t: write tap=NAME or user, one of the two"},
	{"k --net user=1", "--net user takes no value"},
	{"k --net user,queues=2", "--net queues=2: user has one pair of queues"},
	{"k --net tap=a/b", "--net tap=a/b: not a name of a network interface, which has 1 to 15 characters"},
	{"k --net tap=t,queues=5", "--net queues=5: not a number of pairs of queues from 1 to 4"},
	{"k --net user,mac=52:54:00:12:34",
	 "--net mac=52:54:00:12:34: not an address of one interface, such as 52:54:00:12:34:56"},
	{"k --net user,mac=52:54:00:12:34:5",
	 "--net mac=52:54:00:12:34:5: not an address of one interface, such as 52:54:00:12:34:56"},
	{"k --net user,mac=52:54:00:12:34:567",
	 "--net mac=52:54:00:12:34:567: not an address of one interface, such as 52:54:00:12:34:56"},
	{"k --net user,mac=01:00:5e:00:00:01",
	 "--net mac=01:00:5e:00:00:01: not an address of one interface, such as 52:54:00:12:34:56"},
	{"k --net user,mac=00:00:00:00:00:00",
	 "--net mac=00:00:00:00:00:00: not an address of one interface, such as 52:54:00:12:34:56"},
	{"k --console tty", "--console: unknown key 'tty'; the keys are: serial, virtio, iommu, packed"},
	{"k --iommu --console serial,iommu=on", "--console serial: iommu= is for virtio"},
	{"k --rng rate=0", "--rng rate=0: not a size for each second, such as 64K"},
	{"k --rng=rat=1", "--rng: unknown key 'rat'; the keys are: rate, iommu, packed"},
	{"k --balloon size=1M@", "--balloon size=1M@: not SIZE@SECONDS, such as 256M@10"},
	{"k --balloon size=256M@5,size=128M", "--balloon size=128M: each time must be later than the one before it"},
	{"k --balloon size=1M,size=2M", "--balloon size=2M: each time must be later than the one before it"},
	{"k --balloon size=1M@5,size=2M@5", "--balloon size=2M@5: each time must be later than the one before it"},
	{"k --balloon size=1M --balloon statistics=1",
	 "--balloon statistics=1: given twice, and a guest has one; size= may be repeated in it"},
	{"k --console serial,packed=on", "--console serial: packed= is for virtio"},
	{"k --balloon size=1M@x", "--balloon size=1M@x: not SIZE@SECONDS, such as 256M@10"},
	{"k --balloon size=1M@-1", "--balloon size=1M@-1: not SIZE@SECONDS, such as 256M@10"},
	{"k --balloon statistics=0", "--balloon statistics=0: not a number of seconds from 0.001 to 1000000"},
	{"k --net user,tcp=1234567890123456789012345678901,tcp=12345678901234567890123456789012",
	 "--net tcp=12345678901234567890123456789012: all of them together are longer than 63 characters"},
	{"k --net tap=t,tcp=22", "--net tap=t: tcp= and udp= are for user"},
	{"k --balloon size=1", "--balloon size=1: not a size that is a multiple of 4K, such as 256M"},
	{"k --balloon", "--balloon needs a value"},
	{"k --balloon 1G", "--balloon 1G: write --balloon size=1G"},
	{"k --balloon iommu=on",
	 "--balloon: unknown key 'iommu'; the keys are: size, statistics, deflate_on_oom, free_page_reporting, packed"},
	{"k --iommu=bypass", "--iommu bypass: a value is missing, as in bypass=VALUE"},
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

START_TEST(devices)
{
	static const uint8_t mac[] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse("k", &o, &f), 0);
	ck_assert_uint_eq(options_devices(&o), 0);
	ck_assert_int_eq(
		parse("--disk path=/a=b,readonly=on,direct=on,serial=S-1,num_queues=16,iommu=off,packed=on "
		      "--disk path=c --net tap=tap0,mac=52:54:00:AB:cd:ef,queues=4 --net user,iommu=off --console "
		      "virtio,packed=on --rng rate=64K --balloon size=256M,deflate_on_oom=on,free_page_reporting=on "
		      "--iommu k",
		      &o, &f),
		0);
	ck_assert_str_eq(o.image, "k");
	ck_assert_uint_eq(options_devices(&o), 8);
	ck_assert_uint_eq(o.disk[0].path.bytes, 4);
	ck_assert_mem_eq(o.disk[0].path.start, "/a=b", 4);
	ck_assert(o.disk[0].readonly && o.disk[0].direct && o.disk[0].queues == 16);
	ck_assert_str_eq(o.disk[0].serial, "S-1");
	ck_assert(o.disk[0].place.packed && !o.disk[0].place.behind);
	ck_assert(!o.disk[1].readonly && !o.disk[1].direct && o.disk[1].queues == 1 && !o.disk[1].serial[0]);
	ck_assert(!o.disk[1].place.packed && o.disk[1].place.behind);
	ck_assert_str_eq(o.net[0].tap, "tap0");
	ck_assert(!o.net[0].user && o.net[0].pairs == 4 && o.net[0].has_mac && o.net[0].place.behind);
	ck_assert_mem_eq(o.net[0].mac, mac, 6);
	ck_assert(o.net[1].user && o.net[1].pairs == 1 && !o.net[1].has_mac && !o.net[1].place.behind);
	ck_assert(o.console.virtio && o.console.place.packed && o.console.place.behind);
	ck_assert(o.rng.on && o.rng.rate == 65536 && o.rng.place.behind);
	ck_assert(o.balloon.on && o.balloon.deflate_on_oom && o.balloon.reporting && !o.balloon.place.packed);
	ck_assert_uint_eq(o.balloon.schedule.steps, 1);
	ck_assert_uint_eq(o.balloon.schedule.step[0].bytes, UINT64_C(256) << 20);
	ck_assert_uint_eq(o.balloon.schedule.statistics_ns, 0);
	ck_assert(o.iommu.on && !o.iommu.bypass && !o.iommu.place.packed);
}
END_TEST

/* --rng and --iommu: on by themselves; the next word is their value only if it can be nothing else. */
START_TEST(options_that_may_stand_alone)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse("--rng k", &o, &f), 0);
	ck_assert(o.rng.on && o.rng.rate == 0);
	ck_assert_str_eq(o.image, "k");
	ck_assert_int_eq(parse("k --rng", &o, &f), 0);
	ck_assert(o.rng.on && !o.rng.place.behind);
	ck_assert_int_eq(parse("--rng=packed=on k --iommu=off", &o, &f), 0);
	ck_assert(o.rng.on && o.rng.place.packed && !o.iommu.on);
	ck_assert_int_eq(parse("--rng off --iommu on k", &o, &f), 0);
	ck_assert(!o.rng.on && o.iommu.on);
	ck_assert_int_eq(parse("--iommu bypass=on,packed=on --rng iommu=off k --disk path=d", &o, &f), 0);
	ck_assert(o.iommu.on && o.iommu.bypass && o.iommu.place.packed && o.disk[0].place.behind &&
		  !o.rng.place.behind);
	ck_assert_int_eq(parse("--iommu --iommu=off --disk path=d,iommu=off k", &o, &f), 0);
	ck_assert(!o.iommu.on && !o.disk[0].place.behind);
	ck_assert_int_eq(parse("--iommu --kernel on", &o, &f), 0);
	ck_assert_str_eq(o.image, "on");
}
END_TEST

START_TEST(a_balloon_of_many_sizes)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse("k --balloon size=64M@1.5,size=0@20,statistics=0.5", &o, &f), 0);
	ck_assert_uint_eq(o.balloon.schedule.steps, 3);
	ck_assert_uint_eq(o.balloon.schedule.step[0].at_ns, 0);
	ck_assert_uint_eq(o.balloon.schedule.step[0].bytes, 0);
	ck_assert_uint_eq(o.balloon.schedule.step[1].at_ns, 1500000000);
	ck_assert_uint_eq(o.balloon.schedule.step[1].bytes, 64 << 20);
	ck_assert_uint_eq(o.balloon.schedule.step[2].at_ns, 20000000000);
	ck_assert_uint_eq(o.balloon.schedule.statistics_ns, 500000000);
	ck_assert(o.balloon.reporting);
	ck_assert_int_eq(parse("k --net user,tcp=22,udp=53,tcp=2222:80", &o, &f), 0);
	ck_assert_str_eq(o.net[0].tcp, "22,2222:80");
	ck_assert_str_eq(o.net[0].udp, "53");
	ck_assert_int_eq(parse("k --balloon free_page_reporting=off", &o, &f), 0);
	ck_assert(!o.balloon.reporting);
	ck_assert_uint_eq(o.balloon.schedule.steps, 1);
	ck_assert_uint_eq(o.balloon.schedule.step[0].bytes, 0);
}
END_TEST

START_TEST(so_many_devices)
{
	char line[512] = "k --rng";
	struct run_options o;
	struct failure f;

	for (unsigned i = 0; i < ABI_VIRTIO_MAX - 1; i++)
		strcat(line, " --disk path=d");
	ck_assert_int_eq(parse(line, &o, &f), 0);
	ck_assert_uint_eq(options_devices(&o), ABI_VIRTIO_MAX);
	strcat(line, " --iommu");
	ck_assert_int_eq(parse(line, &o, &f), EXIT_USAGE);
	ck_assert_str_eq(f.text,
			 "--iommu, --disk, --net, --console virtio, --rng and --balloon make 15 virtio devices; "
			 "a guest has 14 at most");
	strcat(line, " --disk path=d --disk path=e");
	ck_assert_int_eq(parse(line, &o, &f), EXIT_USAGE);
	ck_assert_str_eq(f.text, "--disk path=e: a guest has 14 virtio devices at most");
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
	tcase_add_test(t, devices);
	tcase_add_test(t, options_that_may_stand_alone);
	tcase_add_test(t, a_balloon_of_many_sizes);
	tcase_add_test(t, so_many_devices);
	tcase_add_test(t, so_many_ranges_of_a_kind);
	suite_add_tcase(s, t);
	return s;
}
