/* tests/unit/test_leak.c: mm/leak: exact sums against a record, sampled ones against
 * their own stated error over many seeds, the tree line by line, the wrapper through the
 * conformance suite, no room, the checker on broken states, threads. What it does not
 * see: whether a program's stacks are the right ones. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/leak_impl.h"
#include "tests/unit/heap_bed.h"
#include "tests/unit/heap_trial.h"

#define CPUS   8u
#define STACKS 512u

static struct leak *leak_new(struct call_stacks *stacks, uint64_t sample, uint64_t from, uint32_t blocks_max)
{
	struct leak_config config = {.sample = sample,
				     .seed = from,
				     .cpus = CPUS,
				     .blocks_max = blocks_max,
				     .stacks = stacks,
				     .source = {NULL, bed_take}};
	size_t bytes = leak_meta_bytes(&config);
	struct leak *l;

	ck_assert_uint_gt(bytes, 0);
	ck_assert_int_eq(leak_init(bed_lines(bytes), bytes, &config, &l), MM_OK);
	ck_assert(leak_check(l));
	return l;
}

static void *address(uint64_t i)
{
	return (void *)(uintptr_t)(0x100000 + 16 * i);
}

/* ---- exact ---- */

#define LIVE 3000u

START_TEST(exact_as_a_record)
{
	static struct {
		size_t bytes;
		unsigned site;
	} live[LIVE];
	struct call_stacks *stacks = bed_stacks(STACKS);
	struct leak *l = leak_new(stacks, (uint64_t)_i, 1, LIVE);
	uint64_t bytes[40] = {0}, count[40] = {0}, all = 0, blocks = 0;
	struct leak_figures f;

	seed(5);
	memset(live, 0, sizeof(live));
	for (unsigned step = 0; step < 300000; step++) {
		uint64_t i = below(LIVE);

		if (live[i].bytes) {
			leak_free(l, (unsigned)below(CPUS), address(i));
			bytes[live[i].site] -= live[i].bytes;
			count[live[i].site]--;
			live[i].bytes = 0;
		} else {
			size_t asked = below(1 + below(100000));

			live[i].site = (unsigned)below(40);
			live[i].bytes = asked + (asked == 0);
			bed_at(1 + live[i].site, 100 + live[i].site % 5);
			leak_alloc(l, (unsigned)below(CPUS), address(i), asked);
			bytes[live[i].site] += live[i].bytes;
			count[live[i].site]++;
		}
		leak_free(l, 0, address(LIVE + below(LIVE))); /* never known */
		if (step % 8192 == 0)
			ck_assert(leak_check(l));
	}
	for (unsigned site = 0; site < 40; site++) {
		struct leak_site s;

		bed_at(1 + site, 100 + site % 5);
		s = leak_site_read(l, call_stacks_number(stacks, bed_now.pc, 3));
		ck_assert(s.bytes == bytes[site] && s.allocations == count[site] && s.sampled == count[site]);
		ck_assert_uint_eq(s.error, 0);
		all += bytes[site];
		blocks += count[site];
	}
	f = leak_figures_read(l);
	ck_assert(f.all.bytes == all && f.all.allocations == blocks && f.all.error == 0);
	ck_assert(f.unknown == 0 && f.unknown_bytes == 0 && f.sites <= 40 && f.sites > 30);
	ck_assert_uint_eq(leak_site_read(l, STACKS + 1).bytes, 0);
	ck_assert(leak_check(l));
	free(l);
	free(stacks);
}
END_TEST

/* ---- sampled ---- */

#define SEEDS  400u
#define BLOCKS 4000u

/* Over many seeds: the mean is the truth, most estimates are within two of their errors
 * and nearly all within four, and the errors are as large as the estimates scatter. */
START_TEST(sampled_within_its_error)
{
	static const uint64_t samples[] = {64, 500, 4096, 30000};
	struct call_stacks *stacks = bed_stacks(STACKS);
	uint64_t truth = 0, truth_count = 0, within_2 = 0, within_4 = 0;
	double mean = 0, mean_count = 0, scatter = 0, stated = 0;

	for (unsigned i = 0; i < SEEDS; i++) {
		struct leak *l = leak_new(stacks, samples[_i], i * 77, BLOCKS);
		struct leak_figures f;
		double off;

		truth = truth_count = 0;
		for (unsigned b = 0; b < BLOCKS; b++) {
			size_t bytes = 1 + b * b % 7919 % (b % 3 ? 300 : 7919);

			bed_at(1 + b % 7, 9);
			leak_alloc(l, b % CPUS, address(b), bytes);
			if (b % 4)
				leak_free(l, 0, address(b));
			else
				truth += bytes;
			truth_count += b % 4 == 0;
		}
		f = leak_figures_read(l);
		off = (double)f.all.bytes - (double)truth;
		within_2 += off * off <= 4.0 * (double)f.all.error * (double)f.all.error;
		within_4 += off * off <= 16.0 * (double)f.all.error * (double)f.all.error;
		mean += (double)f.all.bytes / SEEDS;
		mean_count += (double)f.all.allocations / SEEDS;
		scatter += off * off / SEEDS;
		stated += (double)f.all.error * (double)f.all.error / SEEDS;
		ck_assert_uint_le(f.all.sampled, BLOCKS);
		ck_assert(i % 50 || leak_check(l));
		free(l);
	}
	/* Four errors of a mean over SEEDS runs. */
	ck_assert_msg((mean - (double)truth) * (mean - (double)truth) <= 16 * scatter / SEEDS + 1, "%f, not %lu", mean,
		      truth);
	ck_assert_msg(stated >= scatter * 0.8 - 2 && stated <= scatter * 1.25 + 2 * (double)samples[_i], "%f, not %f",
		      stated, scatter);
	ck_assert(mean_count > (double)truth_count * 0.8 && mean_count < (double)truth_count * 1.2);
	ck_assert_uint_ge(within_2, SEEDS * 90 / 100);
	ck_assert_uint_ge(within_4, SEEDS * 98 / 100);
	free(stacks);
}
END_TEST

START_TEST(large_are_always_seen)
{
	struct call_stacks *stacks = bed_stacks(STACKS);
	struct leak *l = leak_new(stacks, 1000, 3, 100);
	struct leak_figures f;

	bed_at(1, 2);
	for (unsigned i = 0; i < 50; i++)
		leak_alloc(l, 0, address(i), 1000 + i);
	f = leak_figures_read(l);
	ck_assert(f.all.bytes == 50 * 1000 + 49 * 25 && f.all.allocations == 50 && f.all.error == 0);
	free(l);
	free(stacks);
}
END_TEST

START_TEST(cpu_out_of_range)
{
	leak_alloc(leak_new(NULL, 1000, 3, 100), CPUS, address(0), 1);
}
END_TEST

/* ---- the tree ---- */

struct page {
	size_t length;
	char text[32768];
};

static void add_line(void *self, const char *text, size_t length)
{
	struct page *p = self;

	ck_assert_uint_lt(p->length + length + 1, sizeof(p->text));
	memcpy(p->text + p->length, text, length);
	p->length += length;
	p->text[p->length++] = '\n';
	p->text[p->length] = 0;
}

static size_t name_of(void *self, uint64_t pc, char *out, size_t room)
{
	(void)self;
	if (pc == 0x1000)
		return (size_t)snprintf(out, room, "main");
	if (pc == 0x77) { /* longer than there is room for */
		memset(out, 'x', room);
		return room + 5;
	}
	return pc < 0x10 ? (size_t)snprintf(out, room, "f%u", (unsigned)pc) : 0;
}

static void print(const struct leak *l, struct page *p, bool folded, uint64_t least)
{
	struct leak_print to = {.line = add_line, .name = name_of, .self = p, .least = least};
	size_t bytes = leak_scratch_bytes(l);
	void *scratch = bed_lines(bytes);

	p->length = 0;
	p->text[0] = 0;
	if (folded)
		ck_assert_int_eq(leak_print_folded(l, scratch, bytes, &to), MM_OK);
	else
		ck_assert_int_eq(leak_print_tree(l, scratch, bytes, &to), MM_OK);
	free(scratch);
}

static void plant_tree(struct leak *l)
{
	bed_at(1, 2);
	leak_alloc(l, 0, address(1), 100);
	leak_alloc(l, 0, address(2), 1);
	bed_at(3, 2);
	leak_alloc(l, 0, address(3), 900);
	bed_at(0x55, 4);
	leak_alloc(l, 0, address(4), 5000);
	bed_now = (struct call_stack){.count = 0};
	leak_alloc(l, 0, address(5), 7);
	bed_at(1, 1);
	leak_alloc(l, 0, address(6), 777);
	leak_free(l, 0, address(6));
	bed_now = (struct call_stack){.count = 2, .pc = {2, 0x1000}}; /* an inner node that allocates by itself, too */
	leak_alloc(l, 0, address(7), 40);
}

START_TEST(tree_and_folded)
{
	static struct page p;
	struct call_stacks *stacks = bed_stacks(STACKS);
	struct leak *l = leak_new(stacks, 0, 1, 100);

	print(l, &p, false, 0);
	ck_assert_str_eq(p.text, "live: 0 bytes in 0 allocations at 0 sites\n"
				 "        bytes  allocations  call\n");
	print(l, &p, true, 0);
	ck_assert_str_eq(p.text, "");
	plant_tree(l);
	print(l, &p, false, 0);
	ck_assert_str_eq(p.text, "live: 6048 bytes in 6 allocations at 5 sites\n"
				 "        bytes  allocations  call\n"
				 "         6041            5  main\n"
				 "         5000            1    f4\n"
				 "         5000            1      0x55\n"
				 "         1041            4    f2\n"
				 "          900            1      f3\n"
				 "          101            2      f1\n"
				 "            7            1  (not known)\n");
	print(l, &p, false, 1000);
	ck_assert_str_eq(p.text, "live: 6048 bytes in 6 allocations at 5 sites\n"
				 "        bytes  allocations  call\n"
				 "         6041            5  main\n"
				 "         5000            1    f4\n"
				 "         5000            1      0x55\n"
				 "         1041            4    f2\n"
				 "         1001            3      (smaller: 2)\n"
				 "            7            1  (smaller: 1)\n");
	print(l, &p, true, 0);
	ck_assert_str_eq(p.text, "(not known) 7\n"
				 "main;f2 40\n"
				 "main;f2;f1 101\n"
				 "main;f2;f3 900\n"
				 "main;f4;0x55 5000\n");
	free(l);
	free(stacks);
}
END_TEST

/* Where the outer calls are not known, nobody stands for them. */
START_TEST(cut_is_a_root)
{
	static struct page p;
	struct call_stacks *stacks = bed_stacks(STACKS);
	struct leak *l = leak_new(stacks, 0, 1, 100);

	bed_at(1, 2);
	leak_alloc(l, 0, address(1), 100);
	bed_now = (struct call_stack){.count = 3, .pc = {1, 2, CALL_STACK_CUT}};
	leak_alloc(l, 0, address(2), 70);
	bed_now = (struct call_stack){.count = 3, .pc = {3, 2, CALL_STACK_CUT}};
	leak_alloc(l, 0, address(3), 5);
	print(l, &p, false, 0);
	ck_assert_str_eq(p.text, "live: 175 bytes in 3 allocations at 3 sites\n"
				 "        bytes  allocations  call\n"
				 "          100            1  main\n"
				 "          100            1    f2\n"
				 "          100            1      f1\n"
				 "           75            2  (deeper calls not recorded)\n"
				 "           75            2    f2\n"
				 "           70            1      f1\n"
				 "            5            1      f3\n");
	print(l, &p, true, 0);
	ck_assert_str_eq(p.text, "main;f2;f1 100\n"
				 "(deeper calls not recorded);f2;f1 70\n"
				 "(deeper calls not recorded);f2;f3 5\n");
	free(l);
	free(stacks);
}
END_TEST

START_TEST(tree_sampled)
{
	static struct page p;
	struct call_stacks *stacks = bed_stacks(2);
	struct leak *l = leak_new(stacks, 1000, 1, 2);
	struct call_stack deep = {.count = CALL_STACK_MAX};

	bed_at(1, 2);
	leak_alloc(l, 0, address(1), 999); /* seen with this seed */
	bed_at(3, 2);
	leak_alloc(l, 0, address(2), 4000);
	leak_alloc(l, 0, address(3), 6000); /* no room */
	print(l, &p, false, 0);
	ck_assert_str_eq(p.text,
			 "live: 5000 bytes in 2 allocations at 2 sites; an estimate from 2 samples, one in 1000 bytes\n"
			 "unknown: 1 more found no room to be recorded, some freed since: 6000 bytes\n"
			 "        bytes  std error  allocations  call\n"
			 "         5000         32            2  main\n"
			 "         5000         32            2    f2\n"
			 "         4000          0            1      f3\n"
			 "         1000         32            1      f1\n");
	leak_free(l, 0, address(1));
	for (unsigned i = 0; i < CALL_STACK_MAX; i++)
		deep.pc[i] = 0x77;
	bed_now = deep; /* no room for the stack */
	leak_alloc(l, 0, address(1), 2000);
	print(l, &p, true, 0);
	ck_assert_str_eq(p.text, "(not known) 2000\nmain;f2;f3 4000\n");
	free(l);
	free(stacks);
	stacks = bed_stacks(20);
	l = leak_new(stacks, 0, 1, 20);
	leak_alloc(l, 0, address(1), 2000);
	print(l, &p, true, 0); /* names are cut, the line is not */
	ck_assert_uint_eq(strlen(p.text), CALL_STACK_MAX * 129 + 5);
	free(l);
	free(stacks);
}
END_TEST

START_TEST(tree_of_many)
{
	static struct page p;
	struct call_stacks *stacks = bed_stacks(STACKS);
	struct leak *l = leak_new(stacks, 0, 1, STACKS);
	struct leak_print to = {.line = add_line, .self = &p};
	uint64_t last = UINT64_MAX, sum = 0;
	unsigned lines = 0;
	char *scratch;

	seed(9);
	for (unsigned i = 0; i < 300; i++) {
		bed_at(0x5000 + below(1000), 2);
		leak_alloc(l, 0, address(i), 1 + below(1000));
	}
	print(l, &p, false, 0);
	for (char *line = strtok(p.text, "\n"); line; line = strtok(NULL, "\n")) {
		uint64_t bytes = strtoull(line, NULL, 10);

		if (lines++ < 4)
			continue;
		ck_assert_uint_le(bytes, last);
		last = bytes;
		sum += bytes;
	}
	ck_assert_uint_eq(sum, leak_figures_read(l).all.bytes);
	ck_assert_uint_eq(lines - 4, leak_figures_read(l).sites);
	scratch = bed_lines(leak_scratch_bytes(l));
	ck_assert_int_eq(leak_print_tree(l, scratch, 5000, &to), MM_ENOMEM);
	ck_assert_int_eq(leak_print_folded(l, scratch, 5000, &to), MM_ENOMEM);
	free(scratch);
	free(l);
	free(stacks);
}
END_TEST

START_TEST(no_stacks)
{
	static struct page p;
	struct leak *l = leak_new(NULL, 0, 1, 10);

	leak_alloc(l, 0, address(1), 12);
	print(l, &p, false, 0);
	ck_assert_str_eq(p.text, "live: 12 bytes in 1 allocations at 1 sites\n"
				 "        bytes  allocations  call\n"
				 "           12            1  (not known)\n");
	ck_assert_uint_eq(leak_site_read(l, 0).bytes, 12);
	ck_assert(leak_check(l));
	free(l);
}
END_TEST

/* ---- no room ---- */

START_TEST(full)
{
	struct leak *l = leak_new(NULL, 0, 1, 5);
	struct leak_figures f;

	for (unsigned i = 0; i < 8; i++)
		leak_alloc(l, 0, address(i), 10);
	f = leak_figures_read(l);
	ck_assert(f.all.bytes == 50 && f.unknown == 3 && f.unknown_bytes == 30);
	leak_free(l, 0, address(7)); /* not known */
	leak_free(l, 0, address(0));
	leak_alloc(l, 0, address(9), 10);
	f = leak_figures_read(l);
	ck_assert(f.all.bytes == 50 && f.unknown == 3);
	ck_assert(leak_check(l));
	free(l);
	l = leak_new(NULL, 1000, 1, 1);
	for (unsigned i = 0; i < 1000; i++)
		leak_alloc(l, 0, address(i), 500);
	f = leak_figures_read(l);
	ck_assert(f.all.sampled == 1 && f.unknown_bytes == f.unknown * 1000);
	ck_assert(f.unknown > 400 && f.unknown < 600);
	free(l);
}
END_TEST

START_TEST(set_up_wrong)
{
	struct leak_config good = {.sample = 5, .cpus = 2, .blocks_max = 10}, c;
	size_t bytes = leak_meta_bytes(&good);
	unsigned char *meta = bed_lines(bytes + 64);
	struct leak *l;

#define REFUSED(change)                                                                                                \
	do {                                                                                                           \
		c = good;                                                                                              \
		change;                                                                                                \
		ck_assert_uint_eq(leak_meta_bytes(&c), 0);                                                             \
		ck_assert_int_eq(leak_init(meta, bytes, &c, &l), MM_EINVAL);                                           \
	} while (0)
	REFUSED(c.sample = LEAK_SAMPLE_MAX + 1);
	REFUSED(c.cpus = 0);
	REFUSED(c.cpus = 5000);
	REFUSED(c.blocks_max = 0);
	REFUSED(c.blocks_max = LEAK_BLOCKS_MAX + 1);
#undef REFUSED
	ck_assert_int_eq(leak_init(NULL, bytes, &good, &l), MM_EINVAL);
	ck_assert_int_eq(leak_init(meta + 8, bytes, &good, &l), MM_EINVAL);
	ck_assert_int_eq(leak_init(meta, bytes - 64, &good, &l), MM_EINVAL);
	ck_assert_int_eq(leak_init(meta, bytes, &good, &l), MM_OK);
	free(meta);
}
END_TEST

/* ---- the wrapper ---- */

struct world {
	struct bed bed;
	struct heap heap;
	struct leak *l;
	struct call_stacks *stacks;
	void *meta;
};

static void world_open(struct world *w, uint64_t sample)
{
	bed_open(&w->bed, 64 * TRIAL_MIB, CPUS);
	w->stacks = bed_stacks(STACKS);
	w->l = leak_new(w->stacks, sample, 1, 1 << 14);
	w->meta = bed_lines(leak_heap_meta_bytes());
	leak_heap(w->meta, w->l, &w->bed.heap, &w->heap);
	bed_at(1, 2);
}

static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	free(w->meta);
	free(w->l);
	free(w->stacks);
	bed_close(&w->bed);
}

START_TEST(conforms)
{
	struct world w;

	world_open(&w, _i ? 5000 : 0);
	seed(3);
	trial_random(&w.heap, 300000, 3000);
	ck_assert_uint_eq(leak_figures_read(w.l).all.allocations, 0);
	world_close(&w);
	world_open(&w, _i ? 5000 : 0);
	trial_conforms(&w.heap, HEAP_REUSES_AT_ONCE, 100000);
	ck_assert_uint_eq(leak_figures_read(w.l).all.bytes, 0);
	world_close(&w);
}
END_TEST

START_TEST(refusals_change_nothing)
{
	struct world w;
	void *old;

	world_open(&w, 0);
	old = heap_alloc(&w.heap, 0, 100);
	trial_refusals(&w.heap, &w.bed.heap, old, 100, w.l, sizeof(struct leak));
	ck_assert_uint_eq(leak_figures_read(w.l).all.bytes, 100);
	bed_at(7, 7);
	old = heap_realloc(&w.heap, 0, old, 100, 5000); /* now it is from there */
	ck_assert_uint_eq(leak_site_read(w.l, call_stacks_number(w.stacks, bed_now.pc, 3)).bytes, 5000);
	ck_assert_uint_eq(leak_figures_read(w.l).all.bytes, 5000);
	ck_assert_uint_ge(heap_usable(&w.heap, old), 5000);
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 1);
	heap_free(&w.heap, 0, NULL, 0);
	heap_free(&w.heap, 0, old, 5000);
	world_close(&w);
}
END_TEST

/* ---- broken on purpose ---- */

START_TEST(checker_objects)
{
	struct leak *l = leak_new(bed_stacks(STACKS), 1000, 1, 16);
	struct leak_block *b;
	uint32_t index, was, *bucket;

	for (unsigned i = 0; i < 8; i++) {
		bed_at(1 + i, 2);
		leak_alloc(l, 0, address(i), 999 + i);
	}
	for (unsigned i = 0; i < 3; i++)
		leak_free(l, 0, address(i));
	ck_assert(leak_check(l) && l->unused);
	index = l->made;
	b = &l->blocks[index];
	for (bucket = l->buckets; *bucket != index; bucket++)
		;
#define BROKEN(change, undo)                                                                                           \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!leak_check(l), "%s", #change);                                                          \
		undo;                                                                                                  \
		ck_assert(leak_check(l));                                                                              \
	} while (0)
	BROKEN(b->bytes++, b->bytes--);
	BROKEN(b->bytes = 0, b->bytes = 1006);
	BROKEN(b->address += 1 << 20, b->address -= 1 << 20);
	BROKEN(b->stack--, b->stack++);
	BROKEN(b->stack = STACKS + 1, b->stack = l->blocks[index].stack = 8);
	BROKEN(b->next = index, b->next = 0);
	BROKEN(b->next = 99, b->next = 0);
	BROKEN(was = l->unused; b->next = was, b->next = 0);
	BROKEN(*bucket = 0, *bucket = index);
	BROKEN(*bucket = 17, *bucket = index);
	BROKEN(l->live++, l->live--);
	BROKEN(l->live--, l->live++);
	BROKEN(l->made++, l->made--);
	BROKEN(l->config.blocks_max = 7, l->config.blocks_max = 16);
	BROKEN(was = l->unused; l->unused = 0, l->unused = was);
	BROKEN(was = l->unused; l->unused = 50, l->unused = was);
	BROKEN(was = l->blocks[l->unused].next; l->blocks[l->unused].next = l->unused, l->blocks[l->unused].next = was);
	BROKEN(l->sums[b->stack].large++, l->sums[b->stack].large--);
	BROKEN(l->sums[b->stack].large_bytes++, l->sums[b->stack].large_bytes--);
	BROKEN(l->sums[3].small++, l->sums[3].small--);
	BROKEN(l->sums[3].small_bytes++, l->sums[3].small_bytes--);
	BROKEN(l->sums[3].small_stand_for++, l->sums[3].small_stand_for--);
#undef BROKEN
	free(l->config.stacks);
	free(l);
}
END_TEST

/* The same address twice is the caller's bug, and the checker's to see. */
START_TEST(checker_sees_twins)
{
	struct leak *l = leak_new(NULL, 0, 1, 16);

	leak_alloc(l, 0, address(1), 5);
	leak_alloc(l, 0, address(1), 5);
	ck_assert(!leak_check(l));
	free(l);
}
END_TEST

/* ---- threads ---- */

struct crowd {
	struct world *w;
	unsigned cpu;
};

static void *crowd_run(void *arg)
{
	struct crowd *me = arg;
	void *held[100] = {0};

	for (unsigned i = 0; i < 40000; i++) {
		void **at = &held[i * 7919u % 100];

		bed_at(1 + i % 11, 2);
		heap_free(&me->w->heap, me->cpu, *at, 0);
		*at = heap_alloc(&me->w->heap, me->cpu, 1 + i % 3000);
		if (i % 5 == 0)
			*at = heap_realloc(&me->w->heap, me->cpu, *at, 0, 1 + i % 4000);
		if (!*at)
			return me;
	}
	for (unsigned i = 0; i < 99; i++)
		heap_free(&me->w->heap, me->cpu, held[i], 0);
	return NULL;
}

START_TEST(threads)
{
	struct world w;
	struct crowd crowd[4];
	pthread_t thread[4];

	world_open(&w, _i ? 3000 : 0);
	for (unsigned i = 0; i < 4; i++) {
		crowd[i] = (struct crowd){&w, i};
		ck_assert_int_eq(pthread_create(&thread[i], NULL, crowd_run, &crowd[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		void *wrong;

		leak_figures_read(w.l);
		pthread_join(thread[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
	ck_assert(_i || leak_figures_read(w.l).all.allocations == 4);
	world_close(&w);
}
END_TEST

Suite *leak_suite(void);
Suite *leak_suite(void)
{
	Suite *s = suite_create("leak");
	TCase *c = tcase_create("leak");

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, exact_as_a_record, 0, 2);
	tcase_add_loop_test(c, sampled_within_its_error, 0, 4);
	tcase_add_test(c, large_are_always_seen);
	tcase_add_test_raise_signal(c, cpu_out_of_range, SIGABRT);
	tcase_add_test(c, tree_and_folded);
	tcase_add_test(c, cut_is_a_root);
	tcase_add_test(c, tree_sampled);
	tcase_add_test(c, tree_of_many);
	tcase_add_test(c, no_stacks);
	tcase_add_test(c, full);
	tcase_add_test(c, set_up_wrong);
	tcase_add_loop_test(c, conforms, 0, 2);
	tcase_add_test(c, refusals_change_nothing);
	tcase_add_test(c, checker_objects);
	tcase_add_test(c, checker_sees_twins);
	tcase_add_loop_test(c, threads, 0, 2);
	suite_add_tcase(s, c);
	return s;
}
