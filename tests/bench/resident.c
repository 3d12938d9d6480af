/* tests/bench/resident.c: what it costs to tell where a guest's memory is, as a report does that is read each second:
 * beside one read of /proc/self/smaps_rollup by the same process, in which the kernel looks at the same page tables.
 *
 *   resident OUT.json
 *
 * BYTES are there, touched, in 4K pages or in transparent huge ones, private or of a memfd. Files are open before; a
 * read begins at their start.
 *   "slat"          resident, huge, shared and by node.
 *   "smaps_rollup"  the file read to its end, and nothing made of it. slat is to cost at most 1.2 times that.
 *
 * What it cannot see: more nodes than one, and a guest that touches memory meanwhile, which waits for the kernel's
 * lock of the mappings as long as such a read lasts. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "vmm/backing.h"
#include "vmm/prefault.h"
#include "vmm/where.h"

#define BYTES (UINT64_C(1) << 30)
#define READS 64u /* in a round, of huge pages; of 4K pages one takes as long */
#define US    1e3

static const char *const peers[] = {"smaps_rollup", NULL};

struct residing {
	struct backing_config config;
	unsigned reads;
	struct backing backing;
	int maps, rollup;
	FILE *smaps;
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
	r->maps = where_maps_open();
	r->smaps = backing_smaps_open();
	r->rollup = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	if (r->maps < 0 || !r->smaps || r->rollup < 0)
		bench_refuse("the kernel does not tell where memory is", NULL);
}

static void unmake(struct residing *r)
{
	close(r->rollup);
	close(r->maps);
	fclose(r->smaps);
	backing_close(&r->backing);
}

static void ask(const struct residing *r)
{
	struct backing_use use;
	struct where nodes;

	if (!where_resident(r->maps, r->backing.host, r->backing.bytes, &nodes) || nodes.absent_bytes)
		bench_refuse("not all of it is there", NULL);
	use = backing_use_read(&r->backing, r->smaps);
	if (use.resident < BYTES)
		bench_refuse("not all of it is there", NULL);
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

static double round_of_reads(void *self, unsigned column)
{
	const struct residing *r = self;
	double start = bench_ns();

	if (column == BENCH_FLOOR)
		return NAN;
	for (unsigned i = 0; i < r->reads; i++) {
		if (column == BENCH_SLAT)
			ask(r);
		else
			read_rollup(r);
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
		{"1 GiB, transparent huge pages", {.config.thp = true, .reads = READS}},
		{"1 GiB, shared, 4K pages", {.config.shared = true, .reads = 1}},
	};
	struct bench b;

	if (argc != 2)
		bench_refuse("resident OUT.json", NULL);
	bench_pin(0);
	bench_open(&b, peers);
	printf("smaps_rollup (/ peer: at most 1.2): read once, from its start to its end\n");
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		make(&all[i].memory);
		bench_case(&b, all[i].name, "us", round_of_reads, &all[i].memory);
		unmake(&all[i].memory);
	}
	return bench_close(&b, argv[1]);
}
