/* The VMM's own memory: it serves and takes back, refuses in one sentence, minds
 * its thread and its leaks; jansson lives on it; table pages come from a block of
 * frames, each once, all of them. */
#include <check.h>
#undef fail
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mm/port.h"
#include "tests/unit/heap_trial.h"
#include "tests/unit/random.h"
#include "vmm/memory.h"
#include "vmm/table_pages.h"

Suite *memory_suite(void);

#define LIVE   200u
#define ROUNDS 20000u

static void open_memory(struct memory *m)
{
	struct failure f = {0};

	ck_assert_int_eq(memory_open(m, &f), 0);
	ck_assert_int_eq(f.code, 0);
}

static uint64_t live(const struct memory *m)
{
	return heap_stats_read(&m->heap).allocations;
}

struct piece {
	uint8_t *at;
	size_t bytes;
	uint8_t mark;
};

static bool intact(const struct piece *p)
{
	for (size_t i = 0; i < p->bytes; i++)
		if (p->at[i] != p->mark)
			return false;
	return true;
}

static void paint(struct piece *p, uint8_t mark)
{
	p->mark = mark;
	memset(p->at, mark, p->bytes);
}

START_TEST(serves_and_takes_back)
{
	struct piece piece[LIVE] = {0};
	struct memory m;

	seed(7);
	open_memory(&m);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct piece *p = &piece[below(LIVE)];
		size_t bytes = (size_t)1 << below(17);

		bytes += below(bytes);
		ck_assert(intact(p));
		if (p->at && below(2)) {
			memory_free(&m, p->at);
			*p = (struct piece){0};
			continue;
		}
		p->at = memory_realloc(&m, p->at, bytes);
		ck_assert_ptr_nonnull(p->at);
		p->bytes = bytes < p->bytes ? bytes : p->bytes; /* what both lengths share is kept */
		ck_assert(intact(p));
		p->bytes = bytes;
		paint(p, (uint8_t)round);
	}
	ck_assert(heap_check(&m.heap));
	for (unsigned i = 0; i < LIVE; i++)
		memory_free(&m, piece[i].at);
	ck_assert_uint_eq(live(&m), 0);
	memory_close(&m);
	ck_assert_ptr_null(m.arena);
	memory_close(&m); /* a zeroed one */
}
END_TEST

START_TEST(zeroed_aligned_and_nothing)
{
	struct memory m;
	uint8_t *dirty, *clear;

	open_memory(&m);
	dirty = memory_alloc(&m, 3000);
	memset(dirty, 0xff, 3000);
	memory_free(&m, dirty);
	clear = memory_alloc_zeroed(&m, 300, 10);
	for (unsigned i = 0; i < 3000; i++)
		ck_assert_uint_eq(clear[i], 0);
	memory_free(&m, clear);
	ck_assert_ptr_null(memory_alloc_zeroed(&m, SIZE_MAX / 2, 4)); /* the product overflows */
	for (size_t align = 16; align <= FRAME_BYTES; align *= 2) {
		void *at = memory_alloc_aligned(&m, 552, align);

		ck_assert_uint_eq((uintptr_t)at % align, 0);
		memory_free(&m, at);
	}
	memory_free(NULL, NULL);
	memory_close(&m);
}
END_TEST

START_TEST(full_is_null_and_changes_nothing)
{
	static void *taken[1000];
	struct memory m;
	unsigned n = 0;

	open_memory(&m);
	while (n < 1000 && (taken[n] = memory_alloc(&m, 250000)))
		n++;
	ck_assert_uint_gt(n, 200);
	ck_assert_uint_lt(n, 1000);
	ck_assert_uint_eq(live(&m), n);
	ck_assert_ptr_null(memory_realloc(&m, taken[0], 32 << 20));
	ck_assert_uint_eq(live(&m), n);
	while (n > 0)
		memory_free(&m, taken[--n]);
	memory_close(&m);
}
END_TEST

START_TEST(refusal_is_one_sentence)
{
	struct rlimit now, none;
	struct failure f = {0};
	struct memory m;
	int code;

	ck_assert_int_eq(getrlimit(RLIMIT_AS, &now), 0);
	none = now;
	none.rlim_cur = 1 << 20; /* of address space: less than is mapped already */
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &none), 0);
	code = memory_open(&m, &f);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &now), 0);
	ck_assert_int_eq(code, EXIT_HOST);
	ck_assert_str_eq(f.text,
			 "the host cannot map 128 MiB of address space for slat itself: Cannot allocate memory");
	memory_close(&m);
}
END_TEST

static void *take_elsewhere(void *m)
{
	return memory_alloc(m, 1);
}

START_TEST(another_thread_ends_the_program)
{
	struct memory m;
	pthread_t thread;

	open_memory(&m);
	pthread_create(&thread, NULL, take_elsewhere, &m);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(a_leak_ends_the_program)
{
	struct memory m;

	open_memory(&m);
	ck_assert_ptr_nonnull(memory_alloc(&m, 1));
	memory_close(&m);
}
END_TEST

START_TEST(json_lives_on_it)
{
	struct memory m;
	uint64_t before;
	json_t *all;
	char *text;

	open_memory(&m);
	memory_lend_json(&m);
	before = live(&m);
	all = json_pack("{s:[i,i,s], s:s}", "list", 1, 2, "three", "key", "value");
	ck_assert_uint_gt(live(&m), before + 5);
	text = json_dumps(all, JSON_COMPACT);
	ck_assert_str_eq(text, "{\"list\":[1,2,\"three\"],\"key\":\"value\"}");
	memory_free(&m, text);
	json_decref(all);
	ck_assert_uint_eq(live(&m), before);
	memory_close(&m);
	all = json_string("libc's again");
	ck_assert_ptr_nonnull(all);
	json_decref(all);
}
END_TEST

START_TEST(conforms)
{
	struct memory m;

	open_memory(&m);
	trial_suite((struct heap_conformance){.heap = &m.heap, .seed = 3, .operations = 20000});
	memory_close(&m);
}
END_TEST

/* ---- what the address sanitizer sees of it ---- */

static volatile uint8_t sink;

static void read_within(struct memory *m, size_t bytes)
{
	volatile uint8_t *at = memory_alloc(m, bytes);

	for (size_t i = 0; i < bytes; i++)
		at[i] = 1;
	at = memory_realloc(m, (void *)(uintptr_t)at, bytes / 2 + 1);
	at = memory_realloc(m, (void *)(uintptr_t)at, 2 * bytes + 1);
	sink = at[2 * bytes];
	memory_free(m, (void *)(uintptr_t)at);
	at = memory_alloc_zeroed(m, 1, bytes); /* the same place again */
	sink = at[bytes - 1];
}

static void read_beyond(struct memory *m, size_t bytes)
{
	volatile uint8_t *at = memory_alloc(m, bytes);

	sink = at[bytes];
}

static void write_beyond(struct memory *m, size_t bytes)
{
	volatile uint8_t *at = memory_alloc_zeroed(m, 1, bytes);

	at[bytes] = 1;
}

static void read_freed(struct memory *m, size_t bytes)
{
	volatile uint8_t *at = memory_alloc(m, bytes);

	memory_free(m, (void *)(uintptr_t)at);
	sink = at[0];
}

static void write_shrunk(struct memory *m, size_t bytes)
{
	volatile uint8_t *at = memory_realloc(m, memory_alloc(m, bytes), bytes - 1);

	at[bytes - 1] = 1;
}

static void read_moved(struct memory *m, size_t bytes)
{
	volatile uint8_t *at = memory_alloc(m, bytes);

	memory_realloc(m, (void *)(uintptr_t)at, 4 * bytes) ? (void)(sink = at[0]) : abort();
}

static void read_never_taken(struct memory *m, size_t bytes)
{
	const volatile uint8_t *last = m->arena + m->redzone.bytes - 1;

	(void)bytes;
	sink = *last;
}

static const struct {
	void (*access)(struct memory *m, size_t bytes);
	bool wrong;
} accesses[] = {
	{read_within, false}, {read_beyond, true}, {write_beyond, true},     {read_freed, true},
	{write_shrunk, true}, {read_moved, true},  {read_never_taken, true},
};
#define ACCESSES ((int)(sizeof(accesses) / sizeof(accesses[0])))

/* What a child says that does it, and whether it came through. */
static bool survives(struct memory *m, int access, size_t bytes, char *said, size_t room)
{
	int ends[2], status;
	ssize_t got;
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		accesses[access].access(m, bytes);
		_exit(0);
	}
	close(ends[1]);
	for (size_t at = 0; (got = read(ends[0], said + at, room - 1 - at)) > 0;)
		said[at += (size_t)got] = 0;
	close(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

START_TEST(the_sanitizer_sees)
{
	static const size_t lengths[] = {2, 24, 64, 1000, 4096, 100000};
	static char said[65536];
	struct memory m;

	open_memory(&m);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		said[0] = 0;
		ck_assert(survives(&m, _i, lengths[i], said, sizeof(said)) != accesses[_i].wrong);
		ck_assert((strstr(said, "use-after-poison") != NULL) == accesses[_i].wrong);
	}
	memory_close(&m);
}
END_TEST

#define PAGES 300u

static struct block fake_block(uint64_t frames)
{
	return (struct block){.first = {UINT64_C(1) << 30}, .bytes = frames * FRAME_BYTES};
}

START_TEST(table_pages_are_the_block_each_once)
{
	const struct block block = fake_block(_i ? PAGES : 1);
	const uint64_t pages = block.bytes / FRAME_BYTES;
	struct pagetable_pages source;
	struct table_pages t;
	struct failure f = {0};
	struct memory m;
	struct pfn page;

	open_memory(&m);
	ck_assert_int_eq(table_pages_open(&t, &m, &block, &f), 0);
	source = table_pages_source(&t);
	for (unsigned round = 0; round < 3; round++) {
		bool seen[PAGES] = {0};

		for (uint64_t i = 0; i < pages; i++) {
			ck_assert_int_eq(source.get(source.self, &page), MM_OK);
			ck_assert_uint_ge(page.n, block.first.n);
			ck_assert_uint_lt(page.n - block.first.n, pages);
			ck_assert(!seen[page.n - block.first.n]);
			seen[page.n - block.first.n] = true;
		}
		ck_assert_int_eq(source.get(source.self, &page), MM_ENOMEM);
		for (uint64_t i = 0; i < pages; i++) /* not in the order they came */
			source.put(source.self, (struct pfn){block.first.n + i * 7 % pages});
		ck_assert(frames_check(&t.frames));
	}
	table_pages_close(&t);
	table_pages_close(&t); /* a zeroed one */
	memory_close(&m);
}
END_TEST

START_TEST(a_page_of_another_block_ends_the_program)
{
	const struct block block = fake_block(8);
	struct pagetable_pages source;
	struct table_pages t;
	struct failure f = {0};
	struct memory m;

	open_memory(&m);
	ck_assert_int_eq(table_pages_open(&t, &m, &block, &f), 0);
	source = table_pages_source(&t);
	source.put(source.self, (struct pfn){block.first.n + (_i ? 8 : UINT64_MAX)});
}
END_TEST

START_TEST(no_memory_for_table_pages)
{
	const struct block block = fake_block(UINT64_C(1) << 29); /* 2 TiB of tables: 128 MiB of books */
	struct failure f = {0};
	struct table_pages t;
	struct memory m;

	open_memory(&m);
	ck_assert_int_eq(table_pages_open(&t, &m, &block, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "no memory for the books of the second-level table's pages ("));
	table_pages_close(&t);
	memory_close(&m);
}
END_TEST

Suite *memory_suite(void)
{
	Suite *s = suite_create("memory");
	TCase *t = tcase_create("memory");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, serves_and_takes_back);
	tcase_add_test(t, zeroed_aligned_and_nothing);
	tcase_add_test(t, full_is_null_and_changes_nothing);
	tcase_add_test(t, refusal_is_one_sentence);
	tcase_add_test_raise_signal(t, another_thread_ends_the_program, SIGABRT);
	tcase_add_test_raise_signal(t, a_leak_ends_the_program, SIGABRT);
	tcase_add_test(t, json_lives_on_it);
	tcase_add_test(t, conforms);
	if (MM_ADDRESS_SANITIZER) /* else there is nothing to see: make asan has it */
		tcase_add_loop_test(t, the_sanitizer_sees, 0, ACCESSES);
	tcase_add_loop_test(t, table_pages_are_the_block_each_once, 0, 2);
	tcase_add_loop_test_raise_signal(t, a_page_of_another_block_ends_the_program, SIGABRT, 0, 2);
	tcase_add_test(t, no_memory_for_table_pages);
	suite_add_tcase(s, t);
	return s;
}
