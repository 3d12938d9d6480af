/* mm/leak.c: live bytes by call stack.
 *
 * What it is. A table of the blocks that are recorded, by address; a sum for each
 * stack; and what prints these sums as a tree. It owns no heap: it is told, by a
 * wrapper of its own or by whoever serves memory. It does not say that something is
 * lost, only who holds what: what still stands there at the end is for the reader.
 *
 * Words. Sample: T, the bytes that one die is thrown for, in the mean. Stand for: a
 * block of s < T bytes that is recorded counts for T bytes and T / s allocations; one
 * of T and more for itself. Small and large: below T, and not. Unknown: a block that
 * was to be recorded and found no room.
 *
 * Why that is right. Each block is recorded with probability p = min(1, s / T), alone
 * and by a die of its own; counted as s / p it contributes s in the mean, whatever
 * others do, so each sum over any set of blocks is unbiased. Its variance is the sum
 * over the set of s^2 (1 - p) / p = s (T - s) for the small; over what was recorded,
 * T (T - s) each estimates the same without bias. That is what `error` is the root of.
 * So 100 recorded blocks tell a site to 10 %, and a site that holds less than T may not
 * be seen. The die is 64 random bits times T: p is right to 2^-34.
 *
 * Invariants, verified by leak_check():
 *   I1  each block up to `made` is in the bucket of its address, or in the list of
 *       those not in use; each once; no address twice;
 *   I2  the sums are those of the blocks, stack by stack;
 *   I3  `live` is how many blocks are in buckets.
 *
 * Threads. Blocks, buckets and sums are written under one lock; sampled calls alone
 * come there. A free looks at its bucket with no lock: whoever frees a recorded block
 * knows its address from its allocation, so sees the bucket in use, since only this
 * free takes it out. Sums are read with no lock: each word is as it was at some moment.
 *
 * Cost. As in leak.h. Not sampled: 3 multiplications; a free: a multiplication and a
 * load. With T of 512 KiB some thousand buckets are in use, and hot. Printing: sorts
 * all stacks, O(n log n) comparisons of CALL_STACK_MAX addresses at most. Memory: a
 * block 24 bytes and a bucket or two; a stack 40 bytes.
 *
 * Failure. No room for a block: counted as unknown, with what it would stand for. Its
 * free is not seen, so unknown only grows: above 0 the sums are lower bounds. No room
 * for a stack: all such blocks are one site, which is not known.
 *
 * Rejected. One die for each T bytes that pass (geometric gaps, as heap profilers do):
 * saves the multiplications, costs a logarithm for each sample, and its weights an
 * exponential function. Every T-th byte without chance: programs repeat themselves, and
 * then the error is not known. Samples in the blocks themselves: a header for each.
 * Nodes of the tree kept up to date: sixteen sums an allocation for what is asked once. */
#include "mm/leak_impl.h"
#include "mm/port.h"

#define GOLDEN	    UINT64_C(0x9e3779b97f4a7c15)
#define NAME_BYTES  128u
#define LINE_BYTES  (CALL_STACK_MAX * (NAME_BYTES + 1) + 128)
#define NOT_KNOWN   "(not known)"
#define CUT	    "(deeper calls not recorded)"
#define CPUS_MAX    4096u
#define STACKS_MORE 256u /* that may come between asking for the scratch and using it */

static size_t line_up(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static size_t at_least_1(size_t bytes)
{
	return bytes + (bytes == 0);
}

static uint64_t sample_of(const struct leak *l)
{
	return l->config.sample;
}

/* ---- the die ---- */

bool leak_samples(struct leak *l, unsigned cpu, size_t bytes)
{
	uint64_t x, *state;

	bytes = at_least_1(bytes);
	if (bytes >= sample_of(l))
		return true;
	MM_ASSERT(cpu < l->config.cpus, cpu, l->config.cpus);
	state = &l->dice[cpu].state;
	x = *state += GOLDEN;
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return (uint64_t)((unsigned __int128)x * sample_of(l) >> 64) < bytes;
}

/* ---- sums ---- */

static uint64_t read_now(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* With the lock held. */
static void add(uint64_t *word, uint64_t by)
{
	__atomic_store_n(word, read_now(word) + by, __ATOMIC_RELAXED);
}

static void sum_count(struct leak *l, const struct leak_block *b, uint64_t sign)
{
	struct leak_sum *sum = &l->sums[b->stack];

	if (b->bytes < sample_of(l)) {
		add(&sum->small, sign);
		add(&sum->small_bytes, sign * b->bytes);
		add(&sum->small_stand_for, sign * ((sample_of(l) << LEAK_COUNT_SHIFT) / b->bytes));
	} else {
		add(&sum->large, sign);
		add(&sum->large_bytes, sign * b->bytes);
	}
}

static struct leak_sum sum_read(const struct leak *l, uint32_t stack)
{
	const struct leak_sum *sum = &l->sums[stack];

	return (struct leak_sum){.small = read_now(&sum->small),
				 .small_bytes = read_now(&sum->small_bytes),
				 .large = read_now(&sum->large),
				 .large_bytes = read_now(&sum->large_bytes),
				 .small_stand_for = read_now(&sum->small_stand_for)};
}

static void sum_add(struct leak_sum *to, const struct leak_sum *by)
{
	to->small += by->small;
	to->small_bytes += by->small_bytes;
	to->large += by->large;
	to->large_bytes += by->large_bytes;
	to->small_stand_for += by->small_stand_for;
}

/* The least whole number whose square is not below x. */
static uint64_t root_up(unsigned __int128 x)
{
	uint64_t root = 0;

	for (uint64_t bit = UINT64_C(1) << 63; bit; bit >>= 1)
		if ((unsigned __int128)(root | bit) * (root | bit) <= x)
			root |= bit;
	return root + ((unsigned __int128)root * root < x);
}

static uint64_t bytes_of(const struct leak *l, const struct leak_sum *sum)
{
	return sum->small * sample_of(l) + sum->large_bytes;
}

static struct leak_site site_of(const struct leak *l, const struct leak_sum *sum)
{
	uint64_t most = sum->small * sample_of(l), half = UINT64_C(1) << (LEAK_COUNT_SHIFT - 1);
	/* The words of a sum that is written meanwhile may be of different moments. */
	uint64_t apart = most > sum->small_bytes ? most - sum->small_bytes : 0;

	return (struct leak_site){.bytes = bytes_of(l, sum),
				  .allocations = sum->large + ((sum->small_stand_for + half) >> LEAK_COUNT_SHIFT),
				  .error = root_up((unsigned __int128)apart * sample_of(l)),
				  .sampled = sum->small + sum->large};
}

struct leak_site leak_site_read(const struct leak *l, uint32_t stack)
{
	struct leak_sum sum = {0};

	if (stack <= l->stacks_max)
		sum = sum_read(l, stack);
	return site_of(l, &sum);
}

/* ---- blocks ---- */

static uint32_t *bucket_of(const struct leak *l, const void *memory)
{
	return &l->buckets[(uintptr_t)memory * GOLDEN >> l->shift];
}

/* With the lock held. 0: there is none. */
static uint32_t block_take(struct leak *l)
{
	uint32_t index = l->unused;

	if (index) {
		l->unused = l->blocks[index].next;
		return index;
	}
	return l->made < l->config.blocks_max ? ++l->made : 0;
}

static void record(struct leak *l, const struct leak_block *b)
{
	uint32_t *bucket = bucket_of(l, (const void *)b->address), index;

	lock_take(&l->lock);
	index = block_take(l);
	if (index) {
		l->blocks[index] = *b;
		l->blocks[index].next = *bucket;
		__atomic_store_n(bucket, index, __ATOMIC_RELAXED);
		l->live++;
		sum_count(l, b, 1);
	} else {
		add(&l->unknown, 1);
		add(&l->unknown_bytes, b->bytes < sample_of(l) ? sample_of(l) : b->bytes);
	}
	lock_drop(&l->lock);
}

/* With the lock held. */
static void unlink_block(struct leak *l, uint32_t *bucket, uint32_t before, uint32_t index)
{
	struct leak_block *b = &l->blocks[index];

	if (before)
		l->blocks[before].next = b->next;
	else
		__atomic_store_n(bucket, b->next, __ATOMIC_RELAXED);
	sum_count(l, b, UINT64_MAX);
	l->live--;
	b->next = l->unused;
	l->unused = index;
}

bool leak_may_know(const struct leak *l, const void *memory)
{
	return __atomic_load_n(bucket_of(l, memory), __ATOMIC_RELAXED) != 0;
}

/* Takes it out, if it is recorded: true, and *was. */
static bool forget(struct leak *l, const void *memory, struct leak_block *was)
{
	uint32_t *bucket = bucket_of(l, memory), before = 0, index;

	if (__builtin_expect(!leak_may_know(l, memory), 1))
		return false;
	lock_take(&l->lock);
	for (index = *bucket; index && l->blocks[index].address != (uintptr_t)memory; index = l->blocks[index].next)
		before = index;
	if (index) {
		*was = l->blocks[index];
		unlink_block(l, bucket, before, index);
	}
	lock_drop(&l->lock);
	return index != 0;
}

void leak_record(struct leak *l, const void *memory, size_t bytes)
{
	struct leak_block b = {.address = (uintptr_t)memory, .bytes = at_least_1(bytes)};

	b.stack = call_stacks_take(l->config.stacks, &l->config.source);
	record(l, &b);
}

void leak_alloc(struct leak *l, unsigned cpu, const void *memory, size_t bytes)
{
	if (__builtin_expect(leak_samples(l, cpu, bytes), 0))
		leak_record(l, memory, bytes);
}

void leak_free(struct leak *l, unsigned cpu, const void *memory)
{
	struct leak_block was;

	(void)cpu;
	forget(l, memory, &was);
}

struct leak_figures leak_figures_read(const struct leak *l)
{
	struct leak_figures f = {.unknown = read_now(&l->unknown), .unknown_bytes = read_now(&l->unknown_bytes)};
	struct leak_sum all = {0};

	for (uint32_t stack = 0; stack <= l->stacks_max; stack++) {
		struct leak_sum sum = sum_read(l, stack);

		sum_add(&all, &sum);
		f.sites += sum.small + sum.large > 0;
	}
	f.all = site_of(l, &all);
	return f;
}

/* ---- a heap that tells ---- */

struct leak_wrap {
	struct heap_ops ops;
	struct heap below;
	struct leak *leak;
};

static void *wrap_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct leak_wrap *w = self;
	void *memory = heap_alloc_aligned(&w->below, cpu, bytes, align);

	if (memory)
		leak_alloc(w->leak, cpu, memory, bytes);
	return memory;
}

static void wrap_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct leak_wrap *w = self;

	leak_free(w->leak, cpu, memory);
	heap_free(&w->below, cpu, memory, bytes);
}

/* Forgotten before it may move: whoever gets the old address next is another block. */
static void *wrap_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct leak_wrap *w = self;
	struct leak_block was;
	bool known = memory && forget(w->leak, memory, &was);
	void *now = heap_realloc(&w->below, cpu, memory, old_bytes, bytes);

	if (now)
		leak_alloc(w->leak, cpu, now, bytes);
	else if (known)
		record(w->leak, &was);
	return now;
}

static size_t wrap_usable(void *self, const void *memory)
{
	struct leak_wrap *w = self;

	return heap_usable(&w->below, memory);
}

static struct heap_stats wrap_stats(void *self)
{
	struct leak_wrap *w = self;

	return heap_stats_read(&w->below);
}

static bool wrap_check(void *self)
{
	struct leak_wrap *w = self;

	return leak_check(w->leak) && heap_check(&w->below);
}

static void wrap_fail_after(void *self, uint64_t n)
{
	struct leak_wrap *w = self;

	heap_fail_after(&w->below, n);
}

size_t leak_heap_meta_bytes(void)
{
	return line_up(sizeof(struct leak_wrap));
}

void leak_heap(void *meta, struct leak *l, const struct heap *below, struct heap *out)
{
	struct leak_wrap *w = meta;

	*w = (struct leak_wrap){.ops = {.alloc = wrap_alloc,
					.free = wrap_free,
					.realloc = wrap_realloc,
					.usable = wrap_usable,
					.stats = wrap_stats,
					.check = wrap_check,
					.fail_after = wrap_fail_after},
				.below = *below,
				.leak = l};
	*out = (struct heap){.self = w, .ops = &w->ops};
}

/* ---- the tree ---- */

struct node { /* one call, below those that led to it; index 0 is the root, and nobody's child */
	uint64_t pc;
	struct leak_sum sum;
	uint32_t child, last, next;
};

struct text { /* a line, while it is made */
	char *at;
	size_t length;
};

struct tree {
	const struct leak *leak;
	const struct leak_print *print;
	struct text text;
	uint32_t *order; /* [stacks]: those with something live */
	uint32_t stacks;
	struct node *nodes;
	uint32_t count;
};

static size_t order_bytes(uint32_t stacks)
{
	return line_up((stacks + 1) * sizeof(uint32_t));
}

static size_t tree_bytes(uint32_t stacks, uint64_t pcs)
{
	return line_up(LINE_BYTES) + order_bytes(stacks) + (pcs + 2) * sizeof(struct node);
}

size_t leak_scratch_bytes(const struct leak *l)
{
	struct call_stacks_stats s = {0};

	if (l->config.stacks)
		s = call_stacks_stats_read(l->config.stacks);
	return tree_bytes(s.stacks + STACKS_MORE, s.pcs + STACKS_MORE * CALL_STACK_MAX);
}

/* -- text -- */

static void put(struct text *t, char c)
{
	if (t->length < LINE_BYTES)
		t->at[t->length++] = c;
}

static void put_text(struct text *t, const char *text)
{
	while (*text)
		put(t, *text++);
}

static void put_spaces(struct text *t, unsigned n)
{
	while (n-- > 0)
		put(t, ' ');
}

/* Right-aligned in `width`. */
static void put_number(struct text *t, uint64_t n, unsigned base, unsigned width)
{
	char digits[24];
	unsigned count = 0;

	do {
		digits[count++] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n > 0);
	if (count < width)
		put_spaces(t, width - count);
	while (count > 0)
		put(t, digits[--count]);
}

static void put_name(struct tree *t, uint64_t pc)
{
	char name[NAME_BYTES];
	size_t length = 0;

	if (pc == 0) {
		put_text(&t->text, NOT_KNOWN);
		return;
	}
	if (pc == CALL_STACK_CUT) {
		put_text(&t->text, CUT);
		return;
	}
	if (t->print->name)
		length = t->print->name(t->print->self, pc, name, sizeof(name));
	for (size_t i = 0; i < length && i < sizeof(name); i++)
		put(&t->text, name[i]);
	if (length == 0) {
		put_text(&t->text, "0x");
		put_number(&t->text, pc, 16, 0);
	}
}

static void end_line(struct tree *t)
{
	t->print->line(t->print->self, t->text.at, t->text.length);
	t->text.length = 0;
}

/* -- order -- */

/* Outermost call first; a stack before those that it leads to. */
static bool comes_before(const struct tree *t, uint32_t a, uint32_t b)
{
	struct call_stack x = call_stacks_read(t->leak->config.stacks, a);
	struct call_stack y = call_stacks_read(t->leak->config.stacks, b);
	uint32_t i = x.count, j = y.count;

	while (i > 0 && j > 0) {
		i--;
		j--;
		if (x.pc[i] != y.pc[j])
			return x.pc[i] < y.pc[j];
	}
	return x.count < y.count;
}

static void sink(struct tree *t, uint32_t at, uint32_t count)
{
	uint32_t moving = t->order[at], child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count && comes_before(t, t->order[child], t->order[child + 1]))
			child++;
		if (!comes_before(t, moving, t->order[child]))
			break;
		t->order[at] = t->order[child];
		at = child;
	}
	t->order[at] = moving;
}

/* A heap sort: in place, and never worse than n log n. */
static void sort_stacks(struct tree *t)
{
	for (uint32_t at = t->stacks / 2; at-- > 0;)
		sink(t, at, t->stacks);
	for (uint32_t end = t->stacks; end > 1;) {
		uint32_t last = t->order[--end];

		t->order[end] = t->order[0];
		t->order[0] = last;
		sink(t, 0, end);
	}
}

static uint32_t merge(const struct tree *t, uint32_t a, uint32_t b)
{
	uint32_t first = 0, *end = &first;

	while (a && b) {
		bool a_next = bytes_of(t->leak, &t->nodes[a].sum) >= bytes_of(t->leak, &t->nodes[b].sum);
		uint32_t *from = a_next ? &a : &b;

		*end = *from;
		end = &t->nodes[*from].next;
		*from = *end;
	}
	*end = a ? a : b;
	return first;
}

/* Siblings by bytes, most first: runs of 1, 2, 4.. are merged, the i-th slot holds 2^i. */
static uint32_t sort_siblings(const struct tree *t, uint32_t first)
{
	uint32_t run[32] = {0}, all = 0;

	while (first) {
		uint32_t one = first;
		unsigned i = 0;

		first = t->nodes[one].next;
		t->nodes[one].next = 0;
		for (; run[i]; i++) {
			one = merge(t, run[i], one);
			run[i] = 0;
		}
		run[i] = one;
	}
	for (unsigned i = 0; i < 32; i++)
		all = merge(t, run[i], all);
	return all;
}

/* -- growing it -- */

static bool tree_init(struct tree *t, const struct leak *l, void *scratch, size_t bytes, const struct leak_print *print)
{
	struct call_stacks_stats s = {0};
	unsigned char *at = scratch;

	if (l->config.stacks)
		s = call_stacks_stats_read(l->config.stacks);
	if (bytes < tree_bytes(s.stacks, s.pcs))
		return false;
	*t = (struct tree){.leak = l, .print = print, .text.at = scratch};
	at += line_up(LINE_BYTES);
	t->order = (uint32_t *)at;
	t->nodes = (struct node *)(at + order_bytes(s.stacks));
	for (uint32_t stack = 0; stack <= s.stacks; stack++) {
		struct leak_sum sum = sum_read(l, stack);

		if (sum.small + sum.large > 0)
			t->order[t->stacks++] = stack;
	}
	sort_stacks(t);
	return true;
}

static uint32_t node_new(struct tree *t, uint64_t pc)
{
	t->nodes[t->count] = (struct node){.pc = pc};
	return t->count++;
}

/* Stacks come sorted, so that the one it needs is the last child or new. */
static uint32_t child_for(struct tree *t, uint32_t parent, uint64_t pc)
{
	struct node *p = &t->nodes[parent];
	uint32_t child;

	if (p->last && t->nodes[p->last].pc == pc)
		return p->last;
	child = node_new(t, pc);
	if (p->last)
		t->nodes[p->last].next = child;
	else
		p->child = child;
	p->last = child;
	return child;
}

static void grow(struct tree *t, uint32_t stack)
{
	struct call_stack s = call_stacks_read(t->leak->config.stacks, stack);
	struct leak_sum sum = sum_read(t->leak, stack);
	uint32_t at = 0;

	if (s.count == 0)
		s = (struct call_stack){.count = 1};
	sum_add(&t->nodes[0].sum, &sum);
	for (uint32_t i = s.count; i-- > 0;) {
		at = child_for(t, at, s.pc[i]);
		sum_add(&t->nodes[at].sum, &sum);
	}
}

/* -- printing it -- */

static void put_site(struct tree *t, const struct leak_sum *sum, unsigned depth)
{
	struct leak_site site = site_of(t->leak, sum);

	put_number(&t->text, site.bytes, 10, 13);
	if (sample_of(t->leak) > 1)
		put_number(&t->text, site.error, 10, 11);
	put_number(&t->text, site.allocations, 10, 13);
	put_spaces(&t->text, 2 + 2 * depth);
}

static void print_below(struct tree *t, uint32_t parent, unsigned depth)
{
	struct leak_sum rest = {0};
	uint32_t smaller = 0;

	for (uint32_t i = t->nodes[parent].child; i; i = t->nodes[i].next) {
		if (bytes_of(t->leak, &t->nodes[i].sum) < t->print->least) {
			sum_add(&rest, &t->nodes[i].sum);
			smaller++;
			continue;
		}
		put_site(t, &t->nodes[i].sum, depth);
		put_name(t, t->nodes[i].pc);
		end_line(t);
		print_below(t, i, depth + 1);
	}
	if (!smaller)
		return;
	put_site(t, &rest, depth);
	put_text(&t->text, "(smaller: ");
	put_number(&t->text, smaller, 10, 0);
	put_text(&t->text, ")");
	end_line(t);
}

static void print_head(struct tree *t)
{
	struct leak_site all = site_of(t->leak, &t->nodes[0].sum);
	uint64_t unknown = read_now(&t->leak->unknown);

	put_text(&t->text, "live: ");
	put_number(&t->text, all.bytes, 10, 0);
	put_text(&t->text, " bytes in ");
	put_number(&t->text, all.allocations, 10, 0);
	put_text(&t->text, " allocations at ");
	put_number(&t->text, t->stacks, 10, 0);
	put_text(&t->text, " sites");
	if (sample_of(t->leak) > 1) {
		put_text(&t->text, "; an estimate from ");
		put_number(&t->text, all.sampled, 10, 0);
		put_text(&t->text, " samples, one in ");
		put_number(&t->text, sample_of(t->leak), 10, 0);
		put_text(&t->text, " bytes");
	}
	end_line(t);
	if (unknown > 0) {
		put_text(&t->text, "unknown: ");
		put_number(&t->text, unknown, 10, 0);
		put_text(&t->text, " more found no room to be recorded, some freed since: ");
		put_number(&t->text, read_now(&t->leak->unknown_bytes), 10, 0);
		put_text(&t->text, " bytes");
		end_line(t);
	}
	put_text(&t->text, sample_of(t->leak) > 1 ? "        bytes  std error  allocations  call"
						  : "        bytes  allocations  call");
	end_line(t);
}

enum mm_err leak_print_tree(const struct leak *l, void *scratch, size_t scratch_bytes, const struct leak_print *print)
{
	struct tree t;

	if (!tree_init(&t, l, scratch, scratch_bytes, print))
		return MM_ENOMEM;
	node_new(&t, 0);
	for (uint32_t i = 0; i < t.stacks; i++)
		grow(&t, t.order[i]);
	for (uint32_t i = 0; i < t.count; i++)
		t.nodes[i].child = sort_siblings(&t, t.nodes[i].child);
	print_head(&t);
	print_below(&t, 0, 0);
	return MM_OK;
}

enum mm_err leak_print_folded(const struct leak *l, void *scratch, size_t scratch_bytes, const struct leak_print *print)
{
	struct tree t;

	if (!tree_init(&t, l, scratch, scratch_bytes, print))
		return MM_ENOMEM;
	for (uint32_t i = 0; i < t.stacks; i++) {
		struct call_stack s = call_stacks_read(l->config.stacks, t.order[i]);
		struct leak_sum sum = sum_read(l, t.order[i]);

		if (s.count == 0)
			s.count = 1;
		for (uint32_t j = s.count; j-- > 0;) {
			put_name(&t, s.pc[j]);
			put(&t.text, j > 0 ? ';' : ' ');
		}
		put_number(&t.text, bytes_of(l, &sum), 10, 0);
		end_line(&t);
	}
	return MM_OK;
}

/* ---- what must hold ---- */

/* What the sums of all stacks come to if each word of each is taken so often. */
static void sum_add_for(struct leak_sum *to, const struct leak_sum *by, uint32_t stack)
{
	uint64_t weight = stack * GOLDEN | 1;

	to->small += weight * by->small;
	to->small_bytes += weight * by->small_bytes;
	to->large += weight * by->large;
	to->large_bytes += weight * by->large_bytes;
	to->small_stand_for += weight * by->small_stand_for;
}

static void block_add_for(const struct leak *l, const struct leak_block *b, struct leak_sum *to)
{
	struct leak_sum one = {.large = 1, .large_bytes = b->bytes};

	if (b->bytes < sample_of(l))
		one = (struct leak_sum){.small = 1,
					.small_bytes = b->bytes,
					.small_stand_for = (sample_of(l) << LEAK_COUNT_SHIFT) / b->bytes};
	sum_add_for(to, &one, b->stack);
}

/* Whether the chain from `first` on ends, within `most` blocks, none of them at `address`. */
static bool chain_ends(const struct leak *l, uint32_t first, uint32_t most, uintptr_t address)
{
	for (uint32_t i = first; i; i = l->blocks[i].next, most--)
		if (most == 0 || i > l->made || l->blocks[i].address == address)
			return false;
	return true;
}

static bool bucket_holds(const struct leak *l, const uint32_t *bucket, uint32_t *blocks, struct leak_sum *sums)
{
	for (uint32_t i = *bucket; i; i = l->blocks[i].next) {
		const struct leak_block *b = &l->blocks[i];

		if (i > l->made || ++*blocks > l->live || b->bytes == 0 || b->stack > l->stacks_max)
			return false;
		if (bucket_of(l, (const void *)b->address) != bucket)
			return false;
		if (!chain_ends(l, b->next, l->live, b->address))
			return false;
		block_add_for(l, b, sums);
	}
	return true;
}

static bool unused_holds(const struct leak *l)
{
	uint32_t count = 0;

	for (uint32_t i = l->unused; i; i = l->blocks[i].next)
		if (i > l->made || ++count > l->made)
			return false;
	return count + l->live == l->made && l->made <= l->config.blocks_max;
}

bool leak_check(const struct leak *l)
{
	struct leak_sum of_blocks = {0}, of_sums = {0};
	uint32_t blocks = 0;

	for (uint64_t i = 0; i < UINT64_C(1) << (64 - l->shift); i++)
		if (!bucket_holds(l, &l->buckets[i], &blocks, &of_blocks))
			return false;
	for (uint32_t stack = 0; stack <= l->stacks_max; stack++)
		sum_add_for(&of_sums, &l->sums[stack], stack);
	return blocks == l->live && unused_holds(l) && __builtin_memcmp(&of_blocks, &of_sums, sizeof(of_sums)) == 0;
}

/* ---- set up ---- */

struct layout {
	size_t dice, buckets, blocks, sums, all; /* offsets */
	unsigned bits;				 /* of a bucket's number */
	uint32_t stacks_max;
};

static struct layout layout_of(const struct leak_config *config)
{
	struct layout at = {.dice = line_up(sizeof(struct leak)),
			    .bits = 32 - (unsigned)__builtin_clz(config->blocks_max)};

	if (config->stacks)
		at.stacks_max = call_stacks_stats_read(config->stacks).stacks_max;
	at.buckets = at.dice + config->cpus * sizeof(struct leak_die);
	at.blocks = at.buckets + line_up((UINT64_C(1) << at.bits) * sizeof(uint32_t));
	at.sums = at.blocks + line_up(((size_t)config->blocks_max + 1) * sizeof(struct leak_block));
	at.all = at.sums + line_up(((size_t)at.stacks_max + 1) * sizeof(struct leak_sum));
	return at;
}

static bool in_range(const struct leak_config *config)
{
	return config->sample <= LEAK_SAMPLE_MAX && config->blocks_max - 1 < LEAK_BLOCKS_MAX &&
	       config->cpus - 1 < CPUS_MAX;
}

size_t leak_meta_bytes(const struct leak_config *config)
{
	return in_range(config) ? layout_of(config).all : 0;
}

enum mm_err leak_init(void *meta, size_t meta_bytes, const struct leak_config *config, struct leak **out)
{
	unsigned char *base = meta;
	struct leak *l = meta;
	struct layout at;

	if (!in_range(config) || !meta || (uintptr_t)meta % 64)
		return MM_EINVAL;
	at = layout_of(config);
	if (meta_bytes < at.all)
		return MM_EINVAL;
	*l = (struct leak){.config = *config,
			   .shift = 64 - at.bits,
			   .stacks_max = at.stacks_max,
			   .dice = (struct leak_die *)(base + at.dice),
			   .buckets = (uint32_t *)(base + at.buckets),
			   .blocks = (struct leak_block *)(base + at.blocks),
			   .sums = (struct leak_sum *)(base + at.sums)};
	if (l->config.sample == 0)
		l->config.sample = 1;
	for (unsigned cpu = 0; cpu < config->cpus; cpu++)
		l->dice[cpu].state = config->seed + cpu * UINT64_C(0xd1342543de82ef95);
	*out = l;
	return MM_OK;
}
