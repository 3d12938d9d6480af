/* vmm/cmd/run.c: `slat run`: one guest, in this process, on a pool of its own. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/acpi.h"
#include "vmm/cmd/cmd.h"
#include "vmm/devices.h"
#include "vmm/dirty_log.h"
#include "vmm/disk.h"
#include "vmm/gdb_server.h"
#include "vmm/janitor.h"
#include "vmm/limits.h"
#include "vmm/options.h"
#include "vmm/rebase.h"
#include "vmm/report.h"
#include "vmm/report_memory.h"
#include "vmm/sandbox.h"
#include "vmm/size.h"
#include "vmm/stitch.h"
#include "vmm/table_file.h"
#include "vmm/vm.h"
#include "vmm/zones.h"

#define ACPI_BYTES (LAYOUT_HIGH_START - LAYOUT_ACPI)
#define SHOWN_MAX  8u /* lines on stderr; the report has all */

_Static_assert(OPTIONS_CPUS_MAX <= VM_CPUS_MAX, "all that can be asked for");

static const char help[] =
	"slat run [options] IMAGE     run one guest\n"
	"\n"
	"IMAGE is a Multiboot ELF, a PVH ELF (vmlinux) or a Linux bzImage; the format is detected.\n"
	"\n"
	"  --kernel FILE              the same as IMAGE\n"
	"  --initramfs FILE           Linux: its initramfs; Multiboot and PVH: a module, may be repeated\n"
	"  --cmdline TEXT             the kernel's command line\n"
	"  --cpus boot=N              virtual CPUs: 1 to 255 (1)\n"
	"  --memory KEY=VALUE,...     size=512M           RAM: 2M or more; K, M, G, T\n"
	"                             hugepages=on|off    reserved huge pages (off)\n"
	"                             hugepage_size=2M|1G of hugepages=on: their size (2M)\n"
	"                             thp=on|off          transparent huge pages (on)\n"
	"                             prefault=on|off     touch all of it before the guest starts (off)\n"
	"                             shared=on|off       a memfd instead of private memory (off)\n"
	"                             contiguous=require  one block of the pool (require);\n"
	"                                 prefer|scatter  the fewest extents; extents in no order\n"
	"                             extent_size=2M      of scatter: a power of two, 4K to 1G\n"
	"                             mlock=on|off        keep all of it in memory (off)\n"
	"                             dontdump=on|off     leave it out of core dumps (off)\n"
	"  --memory-zone KEY=VALUE,...  instead of --memory size=: a part of the RAM; up to 16\n"
	"                             id=NAME,size=SIZE   its name, for --numa; what it has\n"
	"                             backing=anon|memfd  private memory; a memfd, the same as shared=on;\n"
	"                                 hugetlb|devdax  reserved huge pages, the same as hugepages=on;\n"
	"                                                 a device-dax (anon)\n"
	"                             hugepage_size=2M|1G of hugetlb (2M)\n"
	"                             file=/dev/daxX.Y    of devdax\n"
	"                             host_numa_node=LIST which nodes it may lie on, such as 0-3,8 (any)\n"
	"                             prefault=on|off     as for --memory (off)\n"
	"                             reserve=on|off      what it may come to need is set aside at once (off)\n"
	"                             weighted=on|off     over several nodes, each by the kernel's weight of it (off)\n"
	"  --numa KEY=VALUE,...       a node that the guest sees; up to 16\n"
	"                             guest_numa_id=N     from 0 on, without a gap\n"
	"                             cpus=LIST           such as 0-3,8; the others are node 0's\n"
	"                             memory_zones=A,B    of --memory-zone; without these, mem0 is all RAM\n"
	"                             distances=N@D,...   to node N: 11 to 255, both ways unless that is given (20)\n"
	"  --placement KEY=VALUE,...  policy=local|pack   one node, the emptiest; the fullest, else few (local);\n"
	"                                 spread          equal shares of all nodes, memory and CPUs;\n"
	"                                 interleave      equal shares of memory, CPUs on one;\n"
	"                                 contract        as --latency says\n"
	"                             host_numa_node=LIST which nodes may be used (any)\n"
	"  --latency 100ns            the mean that a CPU waits for memory at most; implies policy=contract\n"
	"  --latencies FILE           places by what slat probe --latency --json wrote, not by firmware (HMAT)\n"
	"  --strict                   what was asked from a node comes from there, or the run is refused or ended\n"
	"  --pool KEY=VALUE,...       size=SIZE           the pool's, if not the guest's RAM\n"
	"                             taken=START+SIZE    not free in it; may be repeated\n"
	"  --guard GPA+SIZE           maps nothing there: touching it ends the run; up to 16\n"
	"  --ro GPA+SIZE              read-only there: writing to it ends the run; up to 16\n"
	"  --on-fault end|report      of these two; report: tell, read ones, drop writes (end)\n"
	"  --disk KEY=VALUE,...       path=FILE           a raw file or block device; may be repeated\n"
	"                             readonly=on|off     nothing is written to it (off)\n"
	"                             direct=on|off       past the host's page cache (off)\n"
	"                             serial=TEXT         its name to the guest: up to 20 characters\n"
	"                             num_queues=N        1 to 16 (1)\n"
	"  --net KEY=VALUE,...        tap=NAME            a network interface of the host; may be repeated\n"
	"                             user                or passt, which needs no right\n"
	"                             tcp=PORTS,udp=PORTS of user: the host's that lead to the guest\n"
	"                             mac=ADDRESS         the guest's card's (any)\n"
	"                             queues=N            of tap: pairs of queues, 1 to 4 (1)\n"
	"  --console serial|virtio    where keys go, and a second way out (serial)\n"
	"  --rng[=rate=SIZE]          the host's entropy; bytes a second at most (1M)\n"
	"  --balloon KEY=VALUE,...    size=SIZE[@SECONDS] asked of the guest then, from its start; may be repeated\n"
	"                             deflate_on_oom=on|off       it may take it back in need (off)\n"
	"                             free_page_reporting=on|off  what it frees goes back to the host (on)\n"
	"                             statistics=SECONDS  between two of the guest, for the report\n"
	"  --iommu[=bypass=on|off]    a virtio-iommu before all that can be behind it; bypass: until a\n"
	"                             driver takes over, devices reach all memory (off)\n"
	"    of each of these         packed=on|off       offer packed rings (off)\n"
	"    but --balloon, --iommu   iommu=on|off        behind it or not (on with --iommu)\n"
	"  --name NAME                for the report and the process list\n"
	"  --timeout SECONDS          end the run that long after the guest's start (exit code 16)\n"
	"  --exit-zero V              a guest that writes V to port 0xf4 ends slat with 0\n"
	"  --report FILE              write what the run did as JSON; at SIGUSR1 as it is then, too\n"
	"  --json                     the same on stdout; the guest's console then goes to stderr\n"
	"  --dump-table FILE          write the table as it is at the end, for slat table; the guest is slower\n"
	"  --gdb tcp:PORT|unix:PATH   a debugger may connect there, on this machine: gdb's target remote\n"
	"  --wait                     with --gdb: the guest starts when the debugger says so\n"
	"  --trace exits              a line on stderr for each exit to slat\n"
	"  --sandbox on|off           off: no filter of slat's own system calls, for tools that add some (on)\n"
	"  --help                     this text\n"
	"\n"
	"Up to 14 devices in all. The guest's console is the terminal: Ctrl-A x ends the run, Ctrl-A a sends Ctrl-A.\n"
	"A guest that writes v to port 0xf4 ends the run with the odd exit code (v << 1) | 1, in 8 bits.\n"
	"slat's own are even: 0 powered off (or --exit-zero), 2 usage, 4 image, 6 host, 8 KVM cannot be\n"
	"used, 10 KVM could not go on, 12 reset, 14 panic, 16 timeout, 18 a signal, Ctrl-A x or gdb's kill,\n"
	"20 a guard touched or read-only memory written to.\n"
	"SIGUSR1: --report FILE is written as things are now; without a file of it, stderr gets a line of what is "
	"resident.\n"
	"The variable SLAT_KVM names another device node than /dev/kvm.\n"
	"\n"
	"Example:  slat run --kernel vmlinuz --initramfs initrd.gz --cmdline console=ttyS0 \\\n"
	"                   --cpus boot=2 --memory size=1G\n";

struct file {
	struct bytes bytes;
	const char *path;
};

struct out_file {
	const char *option, *path;
	FILE *stream;	 /* NULL: not asked for */
	bool created;	 /* by us, and not whole yet: a run that is refused leaves no such file behind */
	unsigned number; /* of the janitor's, if so */
	size_t written;	 /* bytes of the text that is there */
};

struct run { /* everything of one run; run_close() takes it down in reverse */
	struct memory *memory;
	struct run_options options;
	struct file image, module[OPTIONS_MODULES_MAX];
	struct boot_image boot;
	struct host host;
	struct zones *zones; /* NULL: one pool, by the kernel's choice */
	struct block_list blocks;
	struct block tables;
	struct vm vm;
	bool vm_open;
	struct out_file report, table;
	struct gdb_server *gdb;
	struct janitor janitor;
	bool reported; /* the next is open */
	struct resident resident;
	struct report_facts facts;
};

static int file_open(struct file *file, const char *path, const char *what, struct failure *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
	struct stat stat;
	void *data;

	if (fd < 0)
		return fail(f, EXIT_IMAGE, "cannot open the %s %s: %s", what, path, strerror(errno));
	if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
		close(fd);
		return fail(f, EXIT_IMAGE, "the %s %s is not a regular file", what, path);
	}
	if (stat.st_size == 0 || stat.st_size > (off_t)UINT32_MAX) {
		close(fd);
		return fail(f, EXIT_IMAGE, "the %s %s has %jd bytes; 1 to 4294967295 can be booted", what, path,
			    (intmax_t)stat.st_size);
	}
	data = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (data == MAP_FAILED)
		return fail(f, EXIT_HOST, "cannot map the %s %s: %s", what, path, strerror(errno));
	*file = (struct file){{data, (size_t)stat.st_size}, path};
	return 0;
}

static void file_close(struct file *file)
{
	if (file->bytes.data)
		munmap((void *)(uintptr_t)file->bytes.data, file->bytes.length);
	file->bytes.data = NULL;
}

/* Mapped memory is gone: a file was cut short while it is read, or the host has no page left for a memfd. That is the
 * host's refusal, but it comes as a signal; nothing but this can be said and done in its handler. */
static void on_lost_memory(int number)
{
	static const char sentence[] = "slat: mapped memory is gone (SIGBUS): was the image or initramfs cut short, or "
				       "is the host out of memory?\n";

	(void)number;
	/* NOLINTNEXTLINE(bugprone-signal-handler): it calls only what POSIX 2.4.3 lists as safe there */
	console_restore();
	(void)!write(STDERR_FILENO, sentence, sizeof(sentence) - 1);
	_exit(EXIT_HOST);
}

static int open_images(struct run *r, struct failure *f)
{
	signal(SIGBUS, on_lost_memory);
	if (file_open(&r->image, r->options.image, "image", f))
		return f->code;
	for (unsigned i = 0; i < r->options.modules; i++)
		if (file_open(&r->module[i], r->options.module[i], "initramfs", f))
			return f->code;
	return boot_parse(r->image.bytes, r->options.image, &r->boot, f);
}

/* Before the guest runs, so that a path that cannot be written is known at once. What is there already is opened with
 * signals as they are, since a pipe waits for its reader; what is made is made with them held back. */
static int out_open(struct out_file *out, struct janitor *janitor, const char *option, const char *path,
		    struct failure *f)
{
	int fd;

	if (!path)
		return 0;
	*out = (struct out_file){.option = option, .path = path};
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		vm_hold_signals();
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		out->created = fd >= 0;
		if (out->created)
			out->number = janitor_add(janitor, path);
	}
	if (fd < 0)
		return fail(f, EXIT_HOST, "%s %s: cannot be written: %s", option, path, strerror(errno));
	out->stream = fdopen(fd, "w");
	if (!out->stream) {
		close(fd);
		return fail(f, EXIT_HOST, "%s %s: %s", option, path, strerror(errno));
	}
	return 0;
}

/* By inode: a path has many names. Two texts in one device or pipe harm nothing that was there. */
static int judge_outs(const struct out_file *report, const struct out_file *table, struct failure *f)
{
	struct stat a, b;

	if (!report->stream || !table->stream || fstat(fileno(report->stream), &a) != 0 ||
	    fstat(fileno(table->stream), &b) != 0)
		return 0;
	if (!S_ISREG(a.st_mode) || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return 0;
	return fail(f, EXIT_USAGE, "%s %s and %s %s are one file, and it can hold one of the two", report->option,
		    report->path, table->option, table->path);
}

/* A report in a disk's place would be the end of the disk. */
static int judge_out_disk(const struct out_file *out, const struct devices *devices, struct failure *f)
{
	const struct disk *disk = NULL;
	struct stat s;

	if (out->stream && devices && fstat(fileno(out->stream), &s) == 0)
		disk = devices_disk(devices, &s);
	if (!disk)
		return 0;
	return fail(f, EXIT_USAGE, "%s %s and --disk path=%s are one file, and what is on the disk would be lost",
		    out->option, out->path, disk->path);
}

/* What was there is gone from here on. */
static int out_clear(const struct out_file *out, struct failure *f)
{
	if (ftruncate(fileno(out->stream), 0) != 0 && errno != EINVAL) /* EINVAL: a pipe or a terminal */
		return fail(f, EXIT_HOST, "%s %s: %s", out->option, out->path, strerror(errno));
	return 0;
}

/* It can be written over. */
static bool out_is_file(const struct out_file *out)
{
	struct stat s;

	return out->stream && fstat(fileno(out->stream), &s) == 0 && S_ISREG(s.st_mode);
}

/* In one call from its start, and what was longer becomes blank lines before it is cut off: whoever reads the file in
 * one go has one text whole. Signals do not cut short what goes to a file. text has room for them. */
static bool out_replace(struct out_file *out, char *text, size_t bytes)
{
	const size_t all = bytes > out->written ? bytes : out->written;
	ssize_t wrote;

	memset(text + bytes, '\n', all - bytes);
	wrote = pwrite(fileno(out->stream), text, all, 0);
	if (wrote >= 0 && (size_t)wrote < all)
		errno = ENOSPC;
	if (wrote != (ssize_t)all || ftruncate(fileno(out->stream), (off_t)bytes) != 0)
		return false;
	out->written = bytes;
	return true;
}

/* It is whole. */
static void out_keep(struct run *r, struct out_file *out)
{
	if (out->created)
		janitor_keep(&r->janitor, out->number);
	out->created = false;
}

static void out_close(const struct out_file *out)
{
	if (out->stream)
		fclose(out->stream);
}

static int open_gdb(struct run *r, struct failure *f)
{
	if (r->options.gdb.kind == GDB_ADDRESS_NONE)
		return 0;
	r->gdb = memory_alloc(r->memory, sizeof(*r->gdb));
	if (!r->gdb)
		return fail(f, EXIT_HOST, "no memory for --gdb");
	gdb_server_open(r->gdb, &r->options.gdb, f);
	if (r->gdb->path)
		janitor_add(&r->janitor, r->gdb->path);
	return f->code;
}

static void close_gdb(struct run *r)
{
	if (r->gdb)
		gdb_server_close(r->gdb);
	memory_free(r->memory, r->gdb);
}

/* A pool for the guest's RAM, with the history that was asked for. */
static int open_pool(struct run *r, const struct gather_request *ask, struct pool **pool, struct failure *f)
{
	const struct run_options *o = &r->options;
	const struct pool_config config = {
		.backing =
			{
				.bytes = o->pool.bytes,
				.hugepages = o->memory.hugepages,
				.huge = o->memory.huge,
				.thp = o->memory.thp,
				.shared = o->memory.shared,
				.lock = o->memory.mlock,
				.no_dump = o->memory.dontdump,
				.option = o->pool.bytes == o->memory.bytes ? "--memory" : "--pool",
			},
		.prefault = o->memory.prefault,
		.segments = 2 * (gather_blocks_most(ask, o->pool.taken) + o->pool.taken) + 2,
	};

	if (host_add_pool(&r->host, numa_roomiest(&r->host.numa), &config, pool, f))
		return f->code;
	if ((*pool)->backing.note[0])
		fprintf(stderr, "slat: %s\n", (*pool)->backing.note);
	for (unsigned i = 0; i < o->pool.taken; i++)
		if (pool_take(*pool, o->pool.take[i].start, o->pool.take[i].bytes, f))
			return f->code;
	return 0;
}

/* Whether the host has so many at all is judged where they are mapped. */
static int check_huge(const struct run *r, const struct limits *l, struct failure *f)
{
	const struct run_options *o = &r->options;
	const enum numa_huge_size size = numa_huge_of(o->memory.huge);
	static const char option[] = "--memory hugepages=on";
	struct numa_map *map;

	if (limits_check_huge(l, option, size, o->memory.bytes, f) || r->host.numa.nodes == 1)
		return f->code;
	map = memory_alloc(r->memory, sizeof(*map));
	if (!map)
		return fail(f, EXIT_HOST, "no memory for a list of the host's nodes");
	if (numa_map_read("", map, f) == 0)
		(void)limits_check_huge_nodes(l, map, option, size,
					      o->pool.bytes / pagetable_size_bytes(o->memory.huge), f);
	memory_free(r->memory, map);
	return f->code;
}

/* Touched beyond its control group's limit, slat would be killed without a word. */
static int check_limits(const struct run *r, struct failure *f)
{
	const struct run_options *o = &r->options;
	struct limits l;

	if ((!o->memory.prefault && !o->memory.hugepages) || limits_read("", &l, f))
		return f->code;
	if (o->memory.hugepages)
		return check_huge(r, &l, f);
	return limits_check_memory(&l, "--memory prefault=on", o->memory.bytes, f);
}

static int give_blocks(struct run *r, const struct gather_request *ask, struct failure *f)
{
	struct pool *pool;

	if (zones_asked(&r->options)) {
		r->zones = zones_open(r->memory, &r->options, &r->host, ask->blocks_max, &r->blocks, f);
		return r->zones ? 0 : f->code;
	}
	if (check_limits(r, f) || open_pool(r, ask, &pool, f))
		return f->code;
	return gather(pool, r->memory, ask, &r->blocks, f);
}

static int open_tables(struct run *r, struct failure *f)
{
	const enum pagetable_size leaf = block_list_leaf(&r->blocks);
	const struct stitch stitch = {r->blocks.block, r->blocks.count, &r->options.ranges};
	const struct pool_config config = {.backing.bytes = stitch_table_pages(&stitch, leaf) * FRAME_BYTES};
	struct pool *pool;

	if (host_add_pool(&r->host, HOST_TABLES, &config, &pool, f))
		return f->code;
	return pool_alloc(pool, config.backing.bytes, &r->tables, f);
}

static int give_memory(struct run *r, struct failure *f)
{
	const struct run_options *o = &r->options;
	const struct gather_request ask = {
		.kind = o->memory.contiguous,
		.bytes = o->memory.bytes,
		.extent_bytes = o->memory.extent_bytes,
		.blocks_max = (uint32_t)kvm_check(&r->vm.kvm, KVM_CAP_NR_MEMSLOTS),
	};
	struct vm_memory memory = {
		.host = &r->host,
		.tables = &r->tables,
		.ranges = &o->ranges,
		.log_writes = o->dump_table != NULL,
		.devices = options_devices(o) != 0,
	};

	if (host_open(&r->host, r->memory, f) || give_blocks(r, &ask, f) || open_tables(r, f))
		return f->code;
	memory.block = r->blocks.block;
	memory.blocks = r->blocks.count;
	memory.leaf = block_list_leaf(&r->blocks);
	memory.zones = r->zones;
	if (vm_add_memory(&r->vm, &memory, f))
		return f->code;
	return r->zones ? zones_verify(r->zones, f) : 0;
}

static int write_acpi(struct run *r, struct failure *f)
{
	const struct devices *d = r->vm.devices;
	const struct acpi_config config = {
		.gpa = LAYOUT_ACPI,
		.cpus = r->options.cpus,
		.virtio = d ? d->count : 0,
		.iommu = r->options.iommu.on,
		.behind = d ? devices_behind(d) : 0,
		.topology = r->zones && r->zones->topology.nodes ? &r->zones->topology : NULL,
	};
	uint8_t *tables = memory_alloc(r->memory, ACPI_BYTES);
	size_t bytes = tables ? acpi_build(&config, tables, ACPI_BYTES) : 0;
	bool covered = bytes && ram_covers(&r->vm.ram, LAYOUT_ACPI, bytes, PAGETABLE_READ);
	bool written = covered && ram_burn(&r->vm.ram, LAYOUT_ACPI, tables, bytes);

	memory_free(r->memory, tables);
	if (bytes && !covered)
		return fail(f, EXIT_IMAGE,
			    "the ACPI tables, %zu bytes at 0x%" PRIx64
			    ", would lie on a guard: --guard leaves nothing there",
			    bytes, LAYOUT_ACPI);
	return written ? 0 : fail(f, EXIT_HOST, "no room for the ACPI tables of %u CPUs", config.cpus);
}

static int load(struct run *r, struct boot_entry *entry, struct failure *f)
{
	struct boot_module modules[OPTIONS_MODULES_MAX];
	struct boot_range map[VM_MAP_MAX];
	const struct boot_request request = {
		.name = r->options.image,
		.cmdline = r->options.cmdline,
		.modules = modules,
		.modules_count = r->options.modules,
		.map = map,
		.map_count = vm_memory_map(&r->vm, map),
		.rsdp = LAYOUT_ACPI,
	};

	for (unsigned i = 0; i < r->options.modules; i++)
		modules[i] = (struct boot_module){r->module[i].bytes, r->module[i].path, r->module[i].path};
	if (boot_load(&r->boot, &request, &r->vm.ram, entry, f))
		return f->code;
	return write_acpi(r, f);
}

static void show_blocks(const struct vm *vm)
{
	const uint32_t shown = vm->guest.blocks <= SHOWN_MAX ? vm->guest.blocks : SHOWN_MAX;

	if (vm->guest.blocks > 1)
		fprintf(stderr, "slat: %" PRIu32 " extents:\n", vm->guest.blocks);
	for (uint32_t i = 0; i < shown; i++)
		fprintf(stderr, "slat: %shost frames [0x%" PRIx64 ", 0x%" PRIx64 ")\n",
			vm->guest.blocks > 1 ? "  " : "one block: ", vm->guest.block[i].first.n,
			vm->guest.block[i].first.n + vm->guest.block[i].bytes / FRAME_BYTES);
	if (shown < vm->guest.blocks)
		fprintf(stderr, "slat:   and %" PRIu32 " more\n", vm->guest.blocks - shown);
}

/* As the table has it, not as it was meant to be. */
static void show_ranges(const struct vm *vm)
{
	struct pagetable_run run;
	uint64_t at = 0;
	uint32_t n = 0;

	for (; pagetable_next_run(&vm->table, at, &run); at = run.in + run.bytes, n++)
		if (n < SHOWN_MAX)
			fprintf(stderr, "slat:   guest [0x%" PRIx64 ", 0x%" PRIx64 ") at host frame 0x%" PRIx64 "%s\n",
				run.in, run.in + run.bytes, run.out / FRAME_BYTES,
				run.attr.rights & PAGETABLE_WRITE ? "" : ", read-only");
	if (n > SHOWN_MAX)
		fprintf(stderr, "slat:   and %" PRIu32 " more\n", n - SHOWN_MAX);
}

/* Zones have pages of their own, and the table leaves of all sizes. */
static void show_leaves(const struct vm *vm, const struct pool *pool)
{
	static const char *const names[PAGETABLE_SIZES] = {"4K", "2M", "1G"};
	uint64_t leaves[PAGETABLE_SIZES];
	const char *between = "; leaves: ";

	vm_leaves_of(vm, pool, leaves);
	for (unsigned size = PAGETABLE_SIZES; size-- > 0;) {
		if (!leaves[size])
			continue;
		fprintf(stderr, "%s%" PRIu64 " of %s", between, leaves[size], names[size]);
		between = ", ";
	}
	fputc('\n', stderr);
}

static void show_rule(const struct zones *z, const struct zone *one)
{
	const struct ids *nodes = &one->rule.nodes;
	const uint64_t elsewhere = one->verified ? where_elsewhere(&one->where, nodes) : 0;
	const uint64_t misplaced = one->verified ? zones_misplaced(z, one, &one->where) : 0;

	fprintf(stderr, "%s, node %s", numa_policy_name(one->rule.policy), ids_format(nodes).s);
	if (elsewhere)
		fprintf(stderr, ", but %s elsewhere", size_format(elsewhere).s);
	if (misplaced > elsewhere)
		fprintf(stderr, ", but %s on another of these than asked", size_format(misplaced - elsewhere).s);
}

static void show_zones(const struct vm *vm)
{
	const struct zones *z = vm->guest.zones;

	fprintf(stderr, " in %u zone%s\n", z->count, z->count == 1 ? "" : "s");
	for (unsigned i = 0; i < z->count; i++) {
		const struct zone *one = &z->zone[i];

		fprintf(stderr, "slat:   %s: %s of %s memory, ", one->id, size_format(one->bytes).s,
			backing_kind_name(one->pool->backing.kind));
		if (one->ruled)
			show_rule(z, one);
		else
			fprintf(stderr, "node %u", one->pool->node);
		show_leaves(vm, one->pool);
	}
	if (z->latency_ps)
		fprintf(stderr,
			"slat:   a CPU waits %" PRIu32 ".%" PRIu32 " ns for memory on average (latencies: %s)\n",
			z->latency_ps / 1000, z->latency_ps % 1000 / 100, latency_source_name(z->latency_source));
}

/* Where the guest's memory lies: what this program is about. */
static void show_memory(const struct run *r)
{
	const struct vm *vm = &r->vm;
	const struct pool *pool = vm->guest.block->pool;
	struct pagetable_stats s = pagetable_stats_read(&vm->table);

	fprintf(stderr, "slat: %s (%s), %u CPU%s, %s", r->options.image, boot_format_name(r->boot.format), vm->cpus,
		vm->cpus == 1 ? "" : "s", size_format(vm->ram_bytes).s);
	if (r->zones)
		show_zones(vm);
	else
		fprintf(stderr, " of %s memory on node %u\n", backing_kind_name(pool->backing.kind), pool->node);
	show_blocks(vm);
	show_ranges(vm);
	fprintf(stderr,
		"slat: %s: %" PRIu64 " leaves of 1G, %" PRIu64 " of 2M, %" PRIu64 " of 4K in %" PRIu64
		" table pages; %" PRIu32 " memslot%s; %u TLB entries reach %s\n",
		vm->table.config.format == PAGETABLE_EPT ? "EPT" : "NPT", s.leaves[PAGETABLE_1G],
		s.leaves[PAGETABLE_2M], s.leaves[PAGETABLE_4K], s.tables, vm->slots.count,
		vm->slots.count == 1 ? "" : "s", VM_TLB_ENTRIES, size_format(vm_tlb_reach(vm)).s);
}

static void show_hints(const struct run *r)
{
	if (r->vm.kvm.module == KVM_MODULE_PVM && r->boot.format == BOOT_LINUX)
		fprintf(stderr, "slat: this host's KVM (kvm_pvm) interprets ring 0: a stock Linux may stop or hang\n");
	if (isatty(STDIN_FILENO))
		fprintf(stderr, "slat: keys go to the guest; Ctrl-A x ends the run\n");
}

static int exit_code(const struct run *r)
{
	const struct run_options *o = &r->options;
	uint32_t value = r->vm.end_value;

	switch ((enum vm_how)atomic_load(&r->vm.how)) {
	case VM_POWER_OFF:
		return EXIT_OK;
	case VM_DEBUG_EXIT:
		return o->has_exit_zero && value == o->exit_zero ? EXIT_OK : (int)((value << 1 | 1) & 0xff);
	case VM_RESET:
	case VM_TRIPLE_FAULT:
		return EXIT_RESET;
	case VM_PANIC:
		return EXIT_PANIC;
	case VM_TIMEOUT:
		return EXIT_TIMEOUT;
	case VM_SIGNAL:
	case VM_QUIT:
	case VM_KILLED:
		return EXIT_SIGNAL;
	case VM_FAULT:
		return EXIT_FAULT;
	case VM_REFUSED:
		return EXIT_HOST;
	case VM_RUNNING:
	case VM_INTERNAL:
		break;
	}
	return EXIT_INTERNAL;
}

static void show_end(const struct run *r)
{
	const struct vm *vm = &r->vm;
	enum vm_how how = (enum vm_how)atomic_load(&vm->how);
	uint64_t first = atomic_load(&vm->first_instruction_ns); /* a signal may have come before it */
	double seconds = vm->end_ns > first ? (double)(vm->end_ns - first) / 1e9 : 0;

	switch (how) {
	case VM_DEBUG_EXIT:
		fprintf(stderr, "slat: the guest left with value %" PRIu32 " after %.3f s\n", vm->end_value, seconds);
		break;
	case VM_INTERNAL:
	case VM_FAULT:
	case VM_REFUSED:
		fprintf(stderr, "slat: %s\n%s", vm->end_failure.text, vm->end_dump);
		break;
	case VM_TIMEOUT:
		fprintf(stderr, "slat: the guest ran longer than --timeout allows; ended after %.3f s\n", seconds);
		break;
	case VM_SIGNAL:
		fprintf(stderr, "slat: ended by signal %" PRIu32 " after %.3f s\n", vm->end_value, seconds);
		break;
	case VM_RUNNING:
	case VM_POWER_OFF:
	case VM_RESET:
	case VM_TRIPLE_FAULT:
	case VM_PANIC:
	case VM_QUIT:
	case VM_KILLED: {
		static const char *const words[] = {
			[VM_POWER_OFF] = "the guest powered off",
			[VM_RESET] = "the guest asked for a reset",
			[VM_TRIPLE_FAULT] = "the guest triple-faulted",
			[VM_PANIC] = "the guest's kernel panicked",
			[VM_QUIT] = "ended by Ctrl-A x",
			[VM_KILLED] = "ended by gdb's kill",
		};

		fprintf(stderr, "slat: %s after %.3f s\n", words[how], seconds);
	}
	}
}

static int out_failed(const struct out_file *out, const struct failure *why, struct failure *f)
{
	return fail(f, (enum exit_code)why->code, "%s %s: %s", out->option, out->path, why->text);
}

static int write_stream(FILE *to, const char *text, size_t bytes, struct failure *f)
{
	errno = 0;
	if (fwrite(text, 1, bytes, to) != bytes || fflush(to) != 0)
		fail(f, EXIT_HOST, "the report cannot be written: %s", errno ? strerror(errno) : "no memory");
	return f->code;
}

/* The first time, what was there before is gone. */
static int write_file(struct out_file *out, char *text, size_t bytes, struct failure *f)
{
	if (!out_is_file(out))
		return write_stream(out->stream, text, bytes, f);
	if (!out->written && out_clear(out, f))
		return f->code;
	if (!out_replace(out, text, bytes))
		fail(f, EXIT_HOST, "the report cannot be written: %s", strerror(errno));
	return f->code;
}

static int put_report(struct run *r, char *text, size_t bytes, struct failure *f)
{
	struct failure why = {0};

	if (write_file(&r->report, text, bytes, &why))
		return out_failed(&r->report, &why, f);
	out_keep(r, &r->report);
	return 0;
}

static int write_reports(struct run *r, struct failure *f)
{
	size_t bytes;
	char *text = r->options.json || r->report.stream ? report_text(&r->facts, r->report.written, &bytes, f) : NULL;

	if (text && r->options.json) {
		(void)fwrite(text, 1, bytes, stdout);
		(void)cmd_written(f);
	}
	if (text && !f->code && r->report.stream)
		put_report(r, text, bytes, f); /* whatever becomes of the table */
	memory_free(r->memory, text);
	return f->code;
}

/* SIGUSR1: the report as it is now. A pipe has room for so much, and then the run would wait for its reader: a line
 * on standard error does. */
static void tell_now(void *self)
{
	struct run *r = self;
	struct failure f = {0};
	size_t bytes;
	char *text;

	if (!out_is_file(&r->report)) {
		report_show(&r->vm, &r->resident, stderr);
		return;
	}
	r->facts.running = true;
	text = report_text(&r->facts, r->report.written, &bytes, &f);
	r->facts.running = false;
	if (text)
		put_report(r, text, bytes, &f);
	memory_free(r->memory, text);
	if (f.code)
		fprintf(stderr, "slat: %s\n", f.text);
}

static bool written(void *self, uint64_t gpa, uint64_t bytes)
{
	return dirty_log_any(self, gpa, bytes);
}

static uint64_t rebased(void *self, uint64_t hpa)
{
	return rebase_address(self, hpa);
}

/* The table that the guest ended with. A host that does not tell D, or addresses, costs the table nothing else. */
static int write_table(struct run *r, struct failure *f)
{
	struct failure no_log = {0}, no_address = {0}, why = {0};
	struct dirty_log log;
	const struct table_written dirty = {&log, written};
	struct rebase rebase;
	struct table_place place = {0, &rebase, rebased};

	if (f->code || !r->table.stream || out_clear(&r->table, f))
		return f->code;
	if (rebase_open(&rebase, r->memory, &r->host, &r->vm.table, r->resident.pagemap, &no_address))
		fprintf(stderr, "slat: --dump-table %s: %s\n", r->table.path, no_address.text);
	if (rebase.any)
		place.flag = no_address.code ? TABLE_FILE_NUMBERED_1G : TABLE_FILE_PHYSICAL_1G;
	if (dirty_log_read(&log, r->vm.fd, &r->vm.slots, &no_log))
		fprintf(stderr, "slat: --dump-table %s: D is not in it: %s\n", r->table.path, no_log.text);
	if (table_file_write(&r->vm.table, r->options.name, no_log.code ? NULL : &dirty, &place, r->table.stream, &why))
		out_failed(&r->table, &why, f);
	else
		out_keep(r, &r->table);
	dirty_log_free(&log);
	rebase_close(&rebase);
	return f->code;
}

static void run_close(struct run *r)
{
	if (r->vm_open)
		vm_close(&r->vm);
	close_gdb(r);
	pool_free(&r->tables);
	block_list_free(&r->blocks);
	zones_close(r->zones);
	host_close(&r->host);
	for (unsigned i = 0; i < r->options.modules; i++)
		file_close(&r->module[i]);
	file_close(&r->image);
	out_close(&r->report);
	out_close(&r->table);
	if (r->reported)
		resident_close(&r->resident);
	janitor_end(&r->janitor);
}

static int prepare(struct run *r, struct boot_entry *entry, struct failure *f)
{
	struct board_config board = {.cmdline = r->options.cmdline};

	if (open_images(r, f) || out_open(&r->report, &r->janitor, "--report", r->options.report, f) ||
	    out_open(&r->table, &r->janitor, "--dump-table", r->options.dump_table, f) ||
	    judge_outs(&r->report, &r->table, f))
		return f->code;
	vm_hold_signals();
	if (open_gdb(r, f) || janitor_start(&r->janitor, f))
		return f->code;
	resident_open(&r->resident);
	r->reported = true;
	board.initrd = r->module[0].bytes;
	r->vm_open = true;
	if (vm_open(&r->vm, r->memory, f) || give_memory(r, f) || vm_add_cpus(&r->vm, r->options.cpus, &board, f) ||
	    vm_add_devices(&r->vm, &r->options, f) || judge_out_disk(&r->report, r->vm.devices, f) ||
	    judge_out_disk(&r->table, r->vm.devices, f))
		return f->code;
	r->vm.trace_exits = r->options.trace_exits;
	r->vm.fault_report = r->options.fault_report;
	if (r->gdb)
		gdb_server_serve_vm(r->gdb, &r->vm, r->options.wait);
	return host_clear(&r->host, f) || load(r, entry, f) ? f->code : 0;
}

static int run(struct run *r, uint64_t start_ns, struct failure *f)
{
	const struct sandbox_config sandbox = {.filter = r->options.sandbox && !SANDBOX_SANITIZED};
	struct boot_entry entry;

	if (prepare(r, &entry, f))
		return f->code;
	if (r->options.name)
		prctl(PR_SET_NAME, r->options.name);
	r->facts = (struct report_facts){.vm = &r->vm,
					 .options = &r->options,
					 .format = r->boot.format,
					 .start_ns = start_ns,
					 .resident = &r->resident};
	r->vm.look = tell_now;
	r->vm.look_self = r;
	show_memory(r);
	show_hints(r);
	console_open(&r->vm.console, &r->vm.loop, r->options.json ? STDERR_FILENO : STDOUT_FILENO);
	if (sandbox_enter(&sandbox, f) || vm_start(&r->vm, &entry, r->options.timeout_ns, f))
		return f->code;
	vm_wait(&r->vm);
	if (r->gdb)
		gdb_server_ended(r->gdb, (unsigned)exit_code(r),
				 atomic_load(&r->vm.how) == VM_SIGNAL ? r->vm.end_value : 0);
	console_close(&r->vm.console);
	show_end(r);
	r->facts.code = exit_code(r);
	write_reports(r, f);
	return write_table(r, f) ? f->code : r->facts.code;
}

int cmd_run(int argc, char **argv, uint64_t start_ns)
{
	static struct run all; /* zeros that nobody writes: most of it is never touched */
	struct failure f = {0};
	struct memory memory;
	int code = EXIT_OK;
	struct run *r = &all;

	vm_hold_question();
	if (memory_open(&memory, &f))
		return cmd_refuse(&f);
	memory_lend_json(&memory);
	r->memory = &memory;
	if (!options_parse(argc, argv, &r->options, &f)) {
		if (r->options.help)
			code = cmd_say(help);
		else
			code = run(r, start_ns, &f);
	}
	run_close(r);
	memory_close(&memory);
	return f.code ? cmd_refuse(&f) : code;
}
