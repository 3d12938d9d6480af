/* leak: memory that nobody gives back, and bugs, found by the heaps of mm/ that look
 * for them. A small server reads its settings and answers requests; it forgets some of
 * what it took, on purpose and counted. Then it prints who holds what, as a tree of
 * calls and as folded stacks, by all allocations and by a sample of them; and the
 * reports of an overrun, a use after free, a double free and a free of a middle, each
 * with the function that allocated and the one that freed.
 *
 * It is right when the tree's sums are those that were counted, the sample's within
 * four of its errors, and the reports those of the bugs.
 *
 * Stacks are taken by frame pointers: this file is compiled with them, mm/ is not. So
 * the frame to begin at is noted where memory is asked for. Names are those of the
 * table below, by where the functions begin. All of it runs in ring 3.
 *
 * Words of the command line: "requests=N" to answer; "sample=N" bytes. */
#include "mm/leak.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/guest_heap.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"
#include "mm/checked.h"

#define REQUESTS      1600u
#define SAMPLE	      4096u
#define STACKS	      64u
#define STACKS_DEPTH  16u /* in the mean, at most */
#define BLOCKS	      65536u
#define TEXT_BYTES    16384u
#define REPORTS_MAX   8u

#define SAMPLES_LEAST 30u /* fewer do not tell their own error */

/* A function of its own at its own address, for the names. */
#if __has_attribute(noclone)
#define OWN __attribute__((noinline, noclone)) static
#else
#define OWN __attribute__((noinline)) static
#endif

static struct shared {
	uint64_t requests, sample;
	struct heap checked, heap; /* heap: what the server calls */
	struct call_stacks *stacks;
	struct leak *leak;
	void *leak_meta;
	uintptr_t frame, outermost; /* of who asks; of the function where stacks end */
	uint64_t kept, kept_blocks; /* what was forgotten */
	size_t text_bytes;
	char text[TEXT_BYTES]; /* lines, each with its 0 */
	unsigned reports;
	struct checked_report report[REPORTS_MAX];
	const char *wrong;
} shared;

/* ---- memory, and from where it is asked for ---- */

static unsigned take_stack(void *self, uint64_t *pc, unsigned max)
{
	(void)self;
	return call_stack_walk(shared.frame, shared.frame, shared.outermost, pc, max);
}

OWN void *take(uint64_t bytes)
{
	shared.frame = (uintptr_t)__builtin_frame_address(0);
	return heap_alloc(&shared.heap, 0, bytes);
}

OWN void give(void *memory)
{
	shared.frame = (uintptr_t)__builtin_frame_address(0);
	heap_free(&shared.heap, 0, memory, 0);
}

OWN void look(void)
{
	shared.frame = (uintptr_t)__builtin_frame_address(0);
	heap_check(&shared.checked);
}

/* Counts what is forgotten from here on. */
static void forget(uint64_t bytes)
{
	shared.kept += bytes;
	shared.kept_blocks++;
}

/* ---- the server ---- */

OWN void log_line(uint64_t request)
{
	void *line = take(64 + request % 7);

	if (request % 4)
		give(line);
	else
		forget(64 + request % 7);
}

OWN void cache_add(uint64_t bytes)
{
	take(bytes);
	forget(bytes);
}

OWN void session_open(uint64_t request)
{
	void *session = take(200), *buffer = take(request % 3000 + 1);

	log_line(request);
	give(buffer);
	if (request % 8)
		give(session);
	else
		forget(200);
}

OWN void request_answer(uint64_t request)
{
	session_open(request);
	if (request % 16 == 0)
		cache_add(1000);
	log_line(request + 1);
}

OWN void settings_read(void)
{
	for (unsigned i = 0; i < 3; i++) {
		take(40);
		forget(40);
	}
	cache_add(5000);
}

OWN void serve(void)
{
	shared.outermost = (uintptr_t)__builtin_frame_address(0);
	shared.kept = shared.kept_blocks = 0;
	settings_read();
	for (uint64_t i = 0; i < shared.requests; i++)
		request_answer(i);
}

/* ---- bugs ---- */

OWN void spoil(unsigned char *at)
{
	__asm__ volatile("" : "+r"(at)); /* or the compiler would see the bug itself */
	*at ^= 0x55;
}

OWN unsigned char *bug_take(uint64_t bytes)
{
	return take(bytes);
}

OWN void bug_give(unsigned char *memory)
{
	give(memory);
}

OWN void bugs(void)
{
	unsigned char *p;

	shared.outermost = (uintptr_t)__builtin_frame_address(0);
	p = bug_take(24);
	spoil(p + 24);
	bug_give(p); /* the overrun */
	bug_give(p); /* twice */
	p = bug_take(100);
	bug_give(p + 16); /* its middle */
	bug_give(p);
	spoil(p + 7); /* after its free, which shows when the heap comes by */
	look();
}

/* ---- names ---- */

static size_t length_of(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

static const struct function {
	uintptr_t at;
	const char *name;
} functions[] = {
#define FUNCTION(name)                                                                                                 \
	{                                                                                                              \
		(uintptr_t)(name), #name                                                                               \
	}
	FUNCTION(take),		FUNCTION(give),		  FUNCTION(log_line),	   FUNCTION(cache_add),
	FUNCTION(session_open), FUNCTION(request_answer), FUNCTION(settings_read), FUNCTION(serve),
	FUNCTION(spoil),	FUNCTION(bug_take),	  FUNCTION(bug_give),	   FUNCTION(bugs),
};

/* The last one that begins before a return address. */
static const char *function_of(uint64_t pc)
{
	const struct function *best = NULL;

	for (const struct function *f = functions; f < functions + sizeof(functions) / sizeof(*f); f++)
		if (f->at < pc && (!best || f->at > best->at))
			best = f;
	return best ? best->name : "?";
}

static size_t name_write(void *self, uint64_t pc, char *out, size_t room)
{
	const char *name = function_of(pc);
	size_t length = length_of(name);

	(void)self;
	memcpy(out, name, length < room ? length : room);
	return length;
}

/* Only ring 0 has a console. */
static void line_keep(void *self, const char *text, size_t length)
{
	(void)self;
	if (shared.text_bytes + length + 1 > TEXT_BYTES)
		return;
	memcpy(shared.text + shared.text_bytes, text, length);
	shared.text_bytes += length;
	shared.text[shared.text_bytes++] = '\0';
}

static void report_keep(void *self, const struct checked_report *r)
{
	(void)self;
	if (shared.reports < REPORTS_MAX)
		shared.report[shared.reports] = *r;
	shared.reports++;
}

/* ---- in ring 3 ---- */

static void *lend(size_t bytes)
{
	void *memory = heap_alloc_aligned(guest_heap(), 0, bytes, 64);

	if (!memory)
		guest_panic("there is no room for what looks for leaks", bytes, 0);
	memset(memory, 0, bytes);
	return memory;
}

static uint64_t open(void *unused)
{
	size_t stacks_bytes = call_stacks_meta_bytes(STACKS, STACKS * STACKS_DEPTH), bytes = checked_meta_bytes(BLOCKS);
	struct checked_config config = {.low = 1 << 20,
					.high = memory_end(),
					.blocks_max = BLOCKS,
					.quarantine_bytes = 1 << 20,
					.source = {NULL, take_stack},
					.report = report_keep};

	(void)unused;
	guest_heap_open(1);
	shared.leak_meta = lend(leak_heap_meta_bytes());
	if (call_stacks_init(lend(stacks_bytes), stacks_bytes, STACKS, STACKS * STACKS_DEPTH, &shared.stacks) != MM_OK)
		guest_panic("the table of stacks could not be started", stacks_bytes, 0);
	config.below = *guest_heap();
	config.stacks = shared.stacks;
	if (checked_init(lend(bytes), bytes, &config, &shared.checked) != MM_OK)
		guest_panic("the checked heap could not be started", bytes, 0);
	return 0;
}

static void watch(uint64_t sample)
{
	struct leak_config config = {.sample = sample,
				     .seed = 1,
				     .cpus = 1,
				     .blocks_max = BLOCKS,
				     .stacks = shared.stacks,
				     .source = {NULL, take_stack}};
	size_t bytes = leak_meta_bytes(&config);

	if (leak_init(lend(bytes), bytes, &config, &shared.leak) != MM_OK)
		guest_panic("leak could not be started", bytes, sample);
	leak_heap(shared.leak_meta, shared.leak, &shared.checked, &shared.heap);
}

static void print(bool folded)
{
	const struct leak_print to = {.line = line_keep, .name = name_write};
	size_t bytes = leak_scratch_bytes(shared.leak);
	void *scratch = lend(bytes);
	enum mm_err err = folded ? leak_print_folded(shared.leak, scratch, bytes, &to)
				 : leak_print_tree(shared.leak, scratch, bytes, &to);

	heap_free(guest_heap(), 0, scratch, bytes);
	if (err != MM_OK)
		guest_panic("the tree could not be printed", bytes, err);
}

/* Whether what was found is what was forgotten. */
static bool agrees(uint64_t sample)
{
	struct leak_figures f = leak_figures_read(shared.leak);
	uint64_t off = f.all.bytes > shared.kept ? f.all.bytes - shared.kept : shared.kept - f.all.bytes;

	if (f.unknown > 0)
		shared.wrong = "some allocations found no room";
	else if (off > 4 * f.all.error && (sample == 0 || f.all.sampled >= SAMPLES_LEAST))
		shared.wrong = "the sum of the tree is not what was forgotten";
	else if (sample == 0 && f.all.allocations != shared.kept_blocks)
		shared.wrong = "the tree counts other allocations than were forgotten";
	else if (!leak_check(shared.leak))
		shared.wrong = "an invariant of leak is broken";
	return !shared.wrong;
}

static bool found(unsigned i, enum checked_kind kind, int64_t offset)
{
	const struct checked_report *r = &shared.report[i];

	return r->kind == kind && r->offset == offset &&
	       function_of(r->allocated.pc[0]) == function_of((uintptr_t)bug_take + 1);
}

static void bugs_agree(void)
{
	if (shared.reports != 4)
		shared.wrong = "there are not four reports of four bugs";
	else if (!found(0, CHECKED_OVERRUN, 24) || !found(1, CHECKED_DOUBLE_FREE, 0) || !found(2, CHECKED_MIDDLE, 16) ||
		 !found(3, CHECKED_USE_AFTER_FREE, 7))
		shared.wrong = "a report is not of its bug";
}

static uint64_t run_exact(void *unused)
{
	(void)unused;
	watch(0);
	serve();
	print(false);
	print(true);
	return agrees(0);
}

static uint64_t run_sampled(void *unused)
{
	(void)unused;
	shared.text_bytes = 0;
	watch(shared.sample);
	serve();
	print(false);
	return agrees(shared.sample);
}

static uint64_t run_bugs(void *unused)
{
	(void)unused;
	bugs();
	bugs_agree();
	return !shared.wrong;
}

/* ---- in ring 0 ---- */

static void print_text(void)
{
	for (size_t at = 0; at < shared.text_bytes; at += length_of(shared.text + at) + 1)
		console_print("leak: %s\n", shared.text + at);
}

static void print_stack(const char *what, const struct call_stack *s)
{
	if (s->count == 0)
		return;
	console_print("leak:   %s", what);
	for (unsigned i = 0; i < s->count; i++)
		console_print(" %s", function_of(s->pc[i]));
	console_print("\n");
}

static void print_reports(void)
{
	for (unsigned i = 0; i < shared.reports && i < REPORTS_MAX; i++) {
		const struct checked_report *r = &shared.report[i];

		console_print("leak: %s: offset %lu of %lu bytes\n", checked_kind_name(r->kind), (uint64_t)r->offset,
			      (uint64_t)r->bytes);
		print_stack("seen in", &r->now);
		print_stack("allocated in", &r->allocated);
		print_stack("freed in", &r->freed);
	}
}

int guest_main(const struct boot_info *boot)
{
	bool ok;
	uint64_t exact;

	shared.requests = text_option(boot->cmdline, "requests", REQUESTS);
	shared.sample = text_option(boot->cmdline, "sample", SAMPLE);
	ring3_call(open, NULL);
	ok = ring3_call(run_exact, NULL);
	print_text();
	exact = leak_figures_read(shared.leak).all.bytes;
	ok = ok && ring3_call(run_sampled, NULL);
	print_text();
	ok = ok && ring3_call(run_bugs, NULL);
	print_reports();
	if (!ok) {
		console_print("leak: %s\n", shared.wrong);
		return GUEST_FAILED;
	}
	console_print("leak: ok %lu bytes forgotten and found; by sampling %lu; 4 bugs\n", exact,
		      leak_figures_read(shared.leak).all.bytes);
	return GUEST_OK;
}
