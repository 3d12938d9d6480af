/* vmm/preload_modes.c: SLAT_MALLOC, the wrappers that it asks for, and their reports.
 *
 * The environment is read before libc has set its own up, since a program may allocate
 * before any constructor runs: from what the kernel left above the first stack frame.
 *
 * The order of wrappers: inject over leak over checked over the heap: what is quarantined is not a leak, and
 * what is refused on purpose is what the program asked for, not what the wrappers did.
 *
 * Not told: anything after our destructor, which runs after the program's own; and
 * nothing at all if the process ends by _exit() or a signal. While other threads still
 * run then, checked does not look through its blocks: they come and go. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mm/checked.h"
#include "mm/inject.h"
#include "vmm/heap_report.h"
#include "vmm/preload_direct.h"
#include "vmm/preload_heap.h"
#include "vmm/preload_modes.h"
#include "vmm/preload_range.h"
#include "vmm/preload_slot.h"
#include "vmm/preload_stack.h"
#include "vmm/preload_text.h"

#define STACKS_MAX	 (1u << 17)
#define STACK_PCS	 (PRELOAD_STACK_DEPTH + 1)
#define LEAK_BLOCKS	 (UINT32_C(1) << 24)
#define CHECKED_BLOCKS	 CHECKED_BLOCKS_MAX  /* 8 bytes of addresses for each 512 of them */
#define LEAK_SAMPLED	 (UINT32_C(1) << 16) /* blocks at least: so many that chance makes no difference */
#define QUARANTINE_BYTES (UINT64_C(16) << 20)
#define FILE_MAX	 256u
#define FAIL_MAX	 (UINT64_C(1) << 40)
#define REFUSALS_TOLD	 16u

extern void *__libc_stack_end; /* where the kernel put argc; the dynamic linker's */

static struct {
	bool checked, leak, stats, fail;
	struct heap checked_heap; /* below leak's, if both are there */
	struct inject inject;
	uint64_t sample, fail_nth, fail_ppm, fail_seed;
	char file[FILE_MAX];
	struct leak *leaks;
	struct call_stacks *stacks;
} modes;

struct leak *preload_modes_sampler;

/* ---- words ---- */

static const char *environment(const char *name)
{
	char **word = (char **)__libc_stack_end + 1; /* the arguments, NULL, the environment, NULL */
	size_t length = strlen(name);

	while (*word)
		word++;
	for (word++; *word; word++)
		if (strncmp(*word, name, length) == 0 && (*word)[length] == '=')
			return *word + length + 1;
	return NULL;
}

/* "what: 'word'why" */
static void complain(const char *what, const char *word, size_t length, const char *why)
{
	struct preload_text text = {0};
	char copy[FILE_MAX + 24];

	length = length < sizeof(copy) ? length : sizeof(copy) - 1;
	memcpy(copy, word, length);
	copy[length] = '\0';
	preload_text_add(&text, "libslatmalloc: SLAT_MALLOC: ");
	preload_text_add(&text, what);
	preload_text_add(&text, ": '");
	preload_text_add(&text, copy);
	preload_text_add(&text, "'");
	preload_text_add(&text, why);
	preload_text_add(&text, "\n");
	preload_text_write(&text, STDERR_FILENO);
}

static bool is(const char *word, size_t length, const char *known)
{
	return strlen(known) == length && memcmp(word, known, length) == 0;
}

static bool begins(const char *word, size_t length, const char *known)
{
	return length > strlen(known) && memcmp(word, known, strlen(known)) == 0;
}

/* Words with a number, 0 to `most`. */
static const struct {
	const char *name;
	uint64_t most, *to;
	bool fail;
} numbered[] = {
	{"sample=", LEAK_SAMPLE_MAX, &modes.sample, false},
	{"fail=", FAIL_MAX, &modes.fail_nth, true},
	{"fail_ppm=", 1000000, &modes.fail_ppm, true},
	{"fail_seed=", FAIL_MAX, &modes.fail_seed, false},
};

/* False: it is none, or above `most`, and *out is as it was. */
static bool number(const char *digits, size_t length, uint64_t most, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < length; i++) {
		if (digits[i] < '0' || digits[i] > '9' || n > most)
			return false;
		n = n * 10 + (uint64_t)(digits[i] - '0');
	}
	if (n > most)
		return false;
	*out = n;
	return true;
}

/* False: it is no word with a number. */
static bool read_number(const char *word, size_t length)
{
	for (size_t i = 0; i < sizeof(numbered) / sizeof(numbered[0]); i++) {
		size_t name = strlen(numbered[i].name);
		struct preload_text what = {0};

		if (!begins(word, length, numbered[i].name))
			continue;
		if (number(word + name, length - name, numbered[i].most, numbered[i].to)) {
			modes.fail |= numbered[i].fail;
			return true;
		}
		preload_text_add(&what, numbered[i].name);
		preload_text_add(&what, "N: N is 0 to ");
		preload_text_number(&what, numbered[i].most);
		preload_text_add(&what, ", and it goes on without");
		complain(what.bytes, word, length, "");
		return true;
	}
	return false;
}

/* Of leak=FILE. */
static void read_file(const char *word, size_t length)
{
	if (length - 5 >= FILE_MAX) {
		complain("leak: a name of at most 255 bytes, and it goes on without", word, length, "");
		return;
	}
	modes.leak = true;
	memcpy(modes.file, word + 5, length - 5);
	modes.file[length - 5] = '\0';
}

static void read_word(const char *word, size_t length)
{
	if (length == 0 || is(word, length, "stats=0"))
		return;
	if (is(word, length, "checked")) {
		modes.checked = true;
	} else if (is(word, length, "stats=1") || is(word, length, "stats")) {
		modes.stats = true;
	} else if (begins(word, length, "leak=")) {
		read_file(word, length);
	} else if (!read_number(word, length)) {
		complain("a word that it does not know, and goes on without", word, length,
			 " (known: checked, leak=FILE, sample=N, stats=1, fail=N, fail_ppm=N, fail_seed=N)");
	}
}

static void read_words(const char *words)
{
	while (words && *words) {
		size_t length = strcspn(words, ",");

		read_word(words, length);
		words += length + (words[length] == ',');
	}
}

/* ---- wrappers ---- */

static void *map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
}

static void report(void *self, const struct checked_report *r)
{
	int was = errno, state;

	(void)self;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* a fork would wait for it for ever */
	heap_report_write(STDERR_FILENO, r, "seen at the end");
	pthread_setcancelstate(state, NULL);
	errno = was;
}

/* A header of a block that is a mapping of its own lies at its start, unless the block is aligned to more: then it
 * is searched for, which takes as long as there are records. */
static bool readable(void *self, uintptr_t at, uintptr_t end)
{
	(void)self;
	if (preload_range_is_mapped(at, end))
		return true;
	return at % FRAME_BYTES == 0 && at < end && preload_direct_bytes((const void *)at) >= end - at;
}

bool preload_modes_checking(void)
{
	return modes.checked_heap.self;
}

size_t preload_modes_known(const void *memory)
{
	uintptr_t end = (uintptr_t)memory;

	if (!preload_modes_checking() ||
	    !preload_range_is_mapped(end - CHECKED_HEADER_BYTES - CHECKED_REDZONE_DEFAULT, end))
		return 0;
	return checked_known(&modes.checked_heap, memory);
}

static bool wrap_checked(struct heap *heap)
{
	struct checked_config config = {
		.below = *heap,
		.low = 1, /* nowhere but as follows */
		.high = 1,
		.readable = readable,
		.blocks_max = CHECKED_BLOCKS,
		.quarantine_bytes = QUARANTINE_BYTES,
		.stacks = modes.stacks,
		.source = {NULL, preload_stack_near},
		.report = report,
	};
	size_t bytes = checked_meta_bytes(CHECKED_BLOCKS);
	void *meta = map(bytes);

	if (!meta || checked_init(meta, bytes, &config, heap) != MM_OK)
		return false;
	modes.checked_heap = *heap;
	return true;
}

/* A block that is recorded stands for a sample at least. In a table no larger than that needs, what a free looks at
 * is in the processor's cache. */
static uint32_t leak_blocks(uint64_t most)
{
	uint64_t blocks = modes.sample > 1 ? 2 * most / modes.sample : LEAK_BLOCKS;

	blocks = blocks > LEAK_SAMPLED ? blocks : LEAK_SAMPLED;
	return blocks < LEAK_BLOCKS ? (uint32_t)blocks : LEAK_BLOCKS;
}

static bool wrap_leak(struct heap *heap, unsigned cpus, uint64_t most)
{
	struct leak_config config = {.sample = modes.sample,
				     .seed = (uintptr_t)heap->self ^ (uint64_t)getpid(),
				     .cpus = cpus,
				     .blocks_max = leak_blocks(most),
				     .stacks = modes.stacks,
				     .source = {NULL, preload_stack_whole}};
	size_t bytes = leak_meta_bytes(&config);
	void *meta = map(bytes), *front = map(leak_heap_meta_bytes());
	struct heap below = *heap;

	if (!meta || !front || leak_init(meta, bytes, &config, &modes.leaks) != MM_OK) {
		unmap(meta, bytes);
		unmap(front, leak_heap_meta_bytes());
		return false;
	}
	leak_heap(front, modes.leaks, &below, heap);
	return true;
}

/* What this thread was refused, until it has left the heap: only then it is told, so that no fork waits for it. */
static __thread struct inject_refusal refusal __attribute__((tls_model("initial-exec"))); /* nth 0: nothing */

static void refused(void *unused, const struct inject_refusal *now)
{
	(void)unused;
	refusal = *now;
}

static void tell_refusal(const struct inject_refusal *r)
{
	static uint32_t told;
	struct call_stack asked;

	if (r->nth != modes.fail_nth && __atomic_fetch_add(&told, 1, __ATOMIC_RELAXED) >= REFUSALS_TOLD)
		return;
	asked.count = preload_stack_whole(NULL, asked.pc, CALL_STACK_MAX);
	heap_report_refusal(STDERR_FILENO, r, &asked);
}

static void wrap_inject(struct heap *heap)
{
	struct heap below = *heap;

	inject_init(&modes.inject, &below, &(struct call_stack_source){0}, heap);
	inject_tell(&modes.inject, refused, NULL);
	inject_nth(&modes.inject, modes.fail_nth);
	inject_chance(&modes.inject, (uint32_t)modes.fail_ppm, modes.fail_seed);
}

static bool make_stacks(void)
{
	size_t bytes = call_stacks_meta_bytes(STACKS_MAX, (uint64_t)STACKS_MAX * STACK_PCS);
	void *meta = map(bytes);

	return meta &&
	       call_stacks_init(meta, bytes, STACKS_MAX, (uint64_t)STACKS_MAX * STACK_PCS, &modes.stacks) == MM_OK;
}

static void go_without(const char *mode, const char *more)
{
	struct preload_text text = {0};

	preload_text_add(&text, "libslatmalloc: SLAT_MALLOC: the host has no memory for ");
	preload_text_add(&text, mode);
	preload_text_add(&text, ", and the program goes on without it");
	preload_text_add(&text, more);
	preload_text_add(&text, "\n");
	preload_text_write(&text, STDERR_FILENO);
}

static void wrap_watching(struct heap *heap, unsigned cpus, uint64_t most)
{
	bool stacks = make_stacks();

	if (modes.checked && !(stacks && wrap_checked(heap)))
		go_without("checked", "");
	if (!modes.leak)
		return;
	if (!stacks || !wrap_leak(heap, cpus, most))
		go_without("leak", " (it reserves some 600 MiB of addresses, which RLIMIT_AS counts)");
	else if (!modes.checked && !modes.fail && modes.sample > 1)
		preload_modes_sampler = modes.leaks;
}

bool preload_modes_wrap(struct heap *heap, unsigned cpus, uint64_t most)
{
	if (!getauxval(AT_SECURE)) /* else its caller could have files written that only its owner may */
		read_words(environment("SLAT_MALLOC"));
	if (!modes.checked && !modes.leak && !modes.fail)
		return modes.stats;
	preload_stack_begin();
	if (modes.checked || modes.leak)
		wrap_watching(heap, cpus, most);
	if (modes.fail)
		wrap_inject(heap);
	return true;
}

static void tell_limit(void)
{
	static uint32_t told;
	struct preload_text text = {0};
	struct checked_stats stats;
	struct preload_visit visit;

	if (!preload_modes_checking() || __atomic_load_n(&told, __ATOMIC_RELAXED))
		return;
	visit = preload_enter(); /* it takes a lock, which a fork must not find taken */
	stats = checked_stats_read(&modes.checked_heap);
	preload_leave(visit);
	if (stats.blocks < CHECKED_BLOCKS || __atomic_exchange_n(&told, 1, __ATOMIC_RELAXED))
		return;
	preload_text_add(&text, "libslatmalloc: SLAT_MALLOC: checked: ");
	preload_text_number(&text, stats.blocks);
	preload_text_add(&text, " blocks are live, it can watch no more, and the program is refused more\n");
	preload_text_write(&text, STDERR_FILENO);
}

bool preload_modes_refused(void)
{
	struct inject_refusal now = refusal;
	int state;

	refusal.nth = 0;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* malloc() is no place for it */
	if (now.nth > 0)
		tell_refusal(&now);
	else
		tell_limit();
	pthread_setcancelstate(state, NULL);
	return now.nth > 0;
}

/* ---- reports ---- */

static void add_figure(struct preload_text *text, const char *before, uint64_t n, const char *after)
{
	preload_text_add(text, before);
	preload_text_number(text, n);
	preload_text_add(text, after);
}

void preload_stats_write(int fd)
{
	struct heap_stats stats = heap_stats_read(&preload_heap);
	struct preload_text text = {0};

	add_figure(&text, "libslatmalloc: process ", (uint64_t)getpid(), ": ");
	add_figure(&text, "", stats.allocations, " blocks live, ");
	if (!preload_heap_fronted) /* else magazines serve, and count nothing */
		add_figure(&text, "", stats.bytes_asked, " bytes asked, ");
	add_figure(&text, "", stats.bytes_given, " bytes given, ");
	add_figure(&text, "", stats.bytes_held, " bytes held, ");
	add_figure(&text, "", stats.bytes_total, " bytes from the host\n");
	preload_text_write(&text, fd);
}

/* %p becomes the process. */
static void file_name(char *out, size_t room)
{
	const char *at = strstr(modes.file, "%p");
	struct preload_text text = {0};

	if (at) {
		char first[FILE_MAX];

		memcpy(first, modes.file, (size_t)(at - modes.file));
		first[at - modes.file] = '\0';
		preload_text_add(&text, first);
		preload_text_number(&text, (uint64_t)getpid());
		preload_text_add(&text, at + 2);
	} else {
		preload_text_add(&text, modes.file);
	}
	text.length = text.length < room ? text.length : room - 1;
	memcpy(out, text.bytes, text.length);
	out[text.length] = '\0';
}

static void complain_of_file(const char *name, int failed)
{
	struct preload_text why = {0};
	const char *words = strerrordesc_np(failed); /* in English, and without a heap */

	if (failed == EAGAIN)
		words = "threads that still run come to new places faster than it can be written";
	preload_text_add(&why, ": ");
	preload_text_add(&why, words ? words : "not known why");
	complain("cannot write this file", name, strlen(name), why.bytes);
}

static void write_leaks(void)
{
	size_t length = strlen(modes.file);
	bool folded = length >= 7 && strcmp(modes.file + length - 7, ".folded") == 0;
	char name[FILE_MAX + 24];
	int fd, failed;

	file_name(name, sizeof(name));
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
	failed = fd < 0 ? errno
			: heap_report_leaks(fd, modes.leaks, modes.stacks,
					    folded ? HEAP_REPORT_FOLDED : HEAP_REPORT_TREE, 0);
	if (failed)
		complain_of_file(name, failed);
	if (fd >= 0)
		close(fd);
}

static void write_refusals(void)
{
	struct inject_stats stats = inject_stats_read(&modes.inject);
	struct preload_text text = {0};

	add_figure(&text, "libslatmalloc: process ", (uint64_t)getpid(), ": ");
	add_figure(&text, "", stats.refused, " of ");
	add_figure(&text, "", stats.asked, " allocations refused, as it was told to\n");
	preload_text_write(&text, STDERR_FILENO);
}

/* Nobody can begin a thread while there is none but this one. Without /proc: as far as libc knows. */
static bool is_alone(void)
{
	struct stat tasks; /* a directory has two links, and one for each that is in it */

	return __libc_single_threaded || (stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink == 3);
}

void preload_modes_end(void)
{
	int was = errno, state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* exit() would not come to its end */
	preload_stack_called_from(0);
	if (preload_modes_checking() && is_alone())
		checked_look(&modes.checked_heap);
	if (modes.leaks)
		write_leaks();
	if (modes.fail)
		write_refusals();
	if (modes.stats)
		preload_stats_write(STDERR_FILENO);
	pthread_setcancelstate(state, NULL);
	errno = was;
}
