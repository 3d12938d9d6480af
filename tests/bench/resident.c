/* tests/bench/resident.c: what it costs to tell where a guest's memory is, as a report does that is read each second
 * (vmm/resident.h), beside one read of /proc/self/smaps_rollup by the same process.
 *
 *   resident OUT.json
 *
 * BYTES are there, touched, in 4K pages or in transparent huge ones, private or of a memfd that nobody else maps.
 *   "slat"          all that resident_read() tells: configured, resident, huge, shared, by node, high-water.
 *   "smaps_rollup"  the file read from its start to its end, and nothing made of it. It has not got all of that, and
 *                   the kernel looks at each page for it. slat is to cost at most 1.2 times that.
 *   "floor"         where nodes are asked for, the two walks of the kernel's that are the least that can tell all but
 *                   the high water: numa_maps as far as the guest's memory, and a scan for huge pages; nothing is
 *                   made of them.
 * On a host of one node nobody need ask the kernel which node pages are on. The rows "nodes asked for" are as if there
 * were more: of several the kernel's answer costs the same, as it looks at each page, wherever that is.
 *
 * What it cannot see: a guest that touches memory meanwhile, which may wait for the kernel's
 * lock of the mappings while it is read. */
#include "vmm/resident.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "vmm/pagemap.h"
#include "vmm/prefault.h"

#define BYTES	   (UINT64_C(1) << 30)
#define READS_HUGE 16u /* in a round; one of 4K pages takes longer than all of them */
#define US	   1e3

static const char *const peers[] = {"smaps_rollup", NULL};

struct residing {
	struct backing_config config;
	unsigned reads;
	bool nodes; /* are asked for */
	struct backing backing;
	struct resident kernel;
	int rollup;
};

static void make(struct residing *r)
{
	struct prefault work = {0};
	struct failure f = {0};

	r->config.bytes = BYTES;
	if (backing_open(&r->backing, &r->config, &f))
		bench_refuse(f.text, NULL);
	work.host = r->backing.host;
	work.bytes = r->backing.bytes;
	if (prefault_touch(&work))
		bench_refuse("the host could not provide all of it", NULL);
	resident_open(&r->kernel);
	r->rollup = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	if (r->rollup < 0)
		bench_refuse("there is no smaps_rollup", NULL);
}

static void unmake(struct residing *r)
{
	close(r->rollup);
	resident_close(&r->kernel);
	backing_close(&r->backing);
}

/* It looks like a host of two nodes now. */
static void ask_for_nodes(struct residing *r)
{
	static const char two[] = "0-1\n";
	const int nodes = memfd_create("has_memory", MFD_CLOEXEC);

	if (nodes < 0 || write(nodes, two, sizeof(two) - 1) != sizeof(two) - 1)
		bench_refuse("the host has no memory for this", NULL);
	if (r->kernel.nodes >= 0)
		close(r->kernel.nodes);
	r->kernel.nodes = nodes;
	r->nodes = true;
}

static void ask(struct residing *r)
{
	const struct backing *b = &r->backing;
	static struct resident_use use;
	static struct resident_sum sum;

	resident_read(&r->kernel, &b, 1, &use, &sum);
	if (use.resident < BYTES || use.where.absent_bytes || !use.where_known || !sum.high_known)
		bench_refuse("not all of it is known, or there", NULL);
}

static void read_rollup(const struct residing *r)
{
	char text[4096];
	ssize_t got;

	if (lseek(r->rollup, 0, SEEK_SET))
		bench_refuse("smaps_rollup cannot be read again", NULL);
	do
		got = read(r->rollup, text, sizeof(text));
	while (got > 0 || (got < 0 && errno == EINTR));
	if (got < 0)
		bench_refuse("smaps_rollup cannot be read", NULL);
}

/* To the end of the line of the guest's memory. */
static void walk_nodes(const struct residing *r)
{
	const size_t piece = 256;
	char text[8192], first[24];
	size_t used = 0;
	ssize_t got;
	char *line;

	snprintf(first, sizeof(first), "%" PRIxPTR " ", (uintptr_t)r->backing.host);
	if (lseek(r->kernel.maps, 0, SEEK_SET))
		bench_refuse("the kernel has no numa_maps", NULL);
	do {
		got = used + piece < sizeof(text) ? read(r->kernel.maps, text + used, piece) : 0;
		used += got > 0 ? (size_t)got : 0;
		text[used] = '\0';
		line = strstr(text, first);
	} while (got > 0 && !(line && strchr(line, '\n')));
	if (got <= 0)
		bench_refuse("numa_maps does not have the guest's memory", NULL);
}

static void walk_huge(const struct residing *r)
{
	struct pagemap_run run[2];
	struct pagemap_scan scan = {
		.size = sizeof(scan),
		.from = (uintptr_t)r->backing.host,
		.to = (uintptr_t)r->backing.host + BYTES,
		.runs = (uintptr_t)run,
		.runs_max = 2,
		.all = PAGEMAP_IS_HUGE,
		.told = PAGEMAP_IS_HUGE,
	};

	if (ioctl(r->kernel.pagemap, PAGEMAP_SCAN_REQUEST, &scan) < 0)
		bench_refuse("the kernel has no scan of pagemap", NULL);
}

static double round_of_reads(void *self, unsigned column)
{
	struct residing *r = self;
	double start = bench_ns();

	if (column == BENCH_FLOOR && !r->nodes)
		return NAN;
	for (unsigned i = 0; i < r->reads; i++) {
		if (column == BENCH_SLAT) {
			ask(r);
		} else if (column == BENCH_PEER) {
			read_rollup(r);
		} else {
			walk_nodes(r);
			walk_huge(r);
		}
	}
	return (bench_ns() - start) / US / r->reads;
}

int main(int argc, char **argv)
{
	static struct {
		const char *name;
		struct residing memory;
	} all[] = {
		{"1 GiB, 4K pages", {.reads = 1}},
		{"1 GiB, transparent huge pages", {.config.thp = true, .reads = READS_HUGE}},
		{"1 GiB, shared, 4K pages", {.config.shared = true, .reads = 1}},
	};
	char name[64];
	struct bench b;

	if (argc != 2)
		bench_refuse("resident OUT.json", NULL);
	bench_pin(0);
	bench_open(&b, peers);
	printf("smaps_rollup (/ peer: at most 1.2): read once, from its start to its end\n");
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct residing *r = &all[i].memory;

		make(r);
		bench_case(&b, all[i].name, "us", round_of_reads, r);
		ask_for_nodes(r);
		snprintf(name, sizeof(name), "%s, nodes asked for", all[i].name);
		bench_case(&b, name, "us", round_of_reads, r);
		unmake(r);
	}
	return bench_close(&b, argv[1]);
}
