/* tests/preload.c: what libslatmalloc.so must do, one case a run: preload CASE. It is
 * built twice: as it is, to be run with the library preloaded, and together with the
 * library's own files under other names (PRELOAD_STATIC), for the thread sanitizer.
 *
 * Blocks are checked against a shadow: each is filled with what its address and number say, and read
 * again before it is resized or freed. Ends with 0, or tells the first line that did not hold. */
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define expect(condition) ((condition) ? (void)0 : broken(__LINE__, #condition))

#define KIB		  1024u
#define MIB		  (1024u * KIB)

static _Noreturn void broken(int line, const char *what)
{
	fprintf(stderr, "tests/preload.c:%d: %s (errno %d)\n", line, what, errno);
	_exit(1);
}

/* Each thread has a seed of its own (splitmix64). */
static uint64_t random_next(uint64_t *seed)
{
	uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* ---- the shadow ---- */

struct block {
	unsigned char *at;
	size_t bytes;
	uint64_t number;
};

static unsigned char pattern(uint64_t number, size_t at)
{
	return (unsigned char)((number * UINT64_C(0x9e3779b97f4a7c15) >> 56) + at * 7);
}

/* Of a large one its ends, and a byte a page. */
static size_t step(size_t bytes, size_t at)
{
	return bytes > 64 * KIB && at >= 256 && at + 5000 < bytes ? 4099 : 1;
}

static void fill(struct block *b, uint64_t number)
{
	b->number = number;
	for (size_t i = 0; i < b->bytes; i += step(b->bytes, i))
		b->at[i] = pattern(number, i);
}

static void check(const struct block *b, size_t bytes)
{
	for (size_t i = 0; i < b->bytes && i < bytes; i += step(b->bytes, i))
		expect(b->at[i] == pattern(b->number, i));
}

/* Mostly small, some pages, now and then megabytes. */
static size_t any_size(uint64_t *seed)
{
	uint64_t r = random_next(seed);

	switch (r % 64) {
	case 0:
		return (r >> 8) % (3 * MIB);
	case 1 ... 3:
		return (r >> 8) % (100 * KIB);
	case 4 ... 11:
		return (r >> 8) % (17 * KIB);
	default:
		return (r >> 8) % 700;
	}
}

static void get(struct block *b, uint64_t *seed)
{
	uint64_t r = random_next(seed);
	size_t align = 16;

	b->bytes = any_size(seed);
	switch (r % 8) {
	case 0:
		b->at = calloc(b->bytes / 8 + 1, 8);
		expect(b->at);
		for (size_t i = 0; i < b->bytes; i += step(b->bytes, i))
			expect(b->at[i] == 0);
		break;
	case 1:
		align = (size_t)16 << (r >> 8) % 10;
		b->at = aligned_alloc(align, b->bytes);
		break;
	default:
		b->at = malloc(b->bytes);
	}
	expect(b->at && (uintptr_t)b->at % align == 0);
	if (r % 16 == 7) {
		expect(malloc_usable_size(b->at) >= b->bytes);
		b->bytes = malloc_usable_size(b->at);
	}
	fill(b, r);
}

static void resize(struct block *b, uint64_t *seed)
{
	size_t old = b->bytes, bytes = any_size(seed) + 1;
	struct block now = *b;

	now.at = realloc(b->at, bytes);
	expect(now.at);
	if (bytes < old && step(old, 256) == 1)
		now.bytes = bytes;
	if (bytes >= old || step(old, 256) == 1)
		check(&now, bytes < old ? bytes : old);
	now.bytes = bytes;
	fill(&now, random_next(seed));
	*b = now;
}

static void put(struct block *b)
{
	check(b, b->bytes);
	free(b->at);
	b->at = NULL;
}

static void churn(struct block *blocks, size_t n, unsigned steps, uint64_t *seed)
{
	for (unsigned i = 0; i < steps; i++) {
		struct block *b = &blocks[random_next(seed) % n];

		if (!b->at)
			get(b, seed);
		else if (random_next(seed) % 4 == 0)
			resize(b, seed);
		else
			put(b);
	}
}

static void put_all(struct block *blocks, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (blocks[i].at)
			put(&blocks[i]);
}

static void model(void)
{
	static struct block blocks[2000];
	uint64_t seed = 11;

	churn(blocks, 2000, 100000, &seed);
	put_all(blocks, 2000);
	malloc_trim(0);
	churn(blocks, 100, 10000, &seed);
	put_all(blocks, 2000);
}

/* ---- threads ---- */

/* Each thread leaves blocks here, and frees what another left. */
static struct block market[64];
static pthread_mutex_t market_lock = PTHREAD_MUTEX_INITIALIZER;

static void trade(struct block *mine, uint64_t *seed)
{
	struct block *place = &market[random_next(seed) % 64], other;

	pthread_mutex_lock(&market_lock);
	other = *place;
	*place = *mine;
	pthread_mutex_unlock(&market_lock);
	*mine = other;
}

static void *trader(void *number)
{
	struct block *blocks = calloc(100, sizeof(*blocks));
	uint64_t seed = (uintptr_t)number;

	for (unsigned i = 0; i < 30; i++) {
		churn(blocks, 100, 50, &seed);
		trade(&blocks[random_next(&seed) % 100], &seed);
	}
	put_all(blocks, 90);
	for (unsigned i = 90; i < 100; i++) /* of an ended thread, blocks live on */
		trade(&blocks[i], &seed);
	put_all(blocks, 100);
	free(blocks);
	return NULL;
}

static void run_threads(unsigned at_once, unsigned rounds)
{
	pthread_t threads[128];

	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < at_once; i++)
			expect(pthread_create(&threads[i], NULL, trader, (void *)(uintptr_t)(r * 1000 + i + 1)) == 0);
		for (unsigned i = 0; i < at_once; i++)
			expect(pthread_join(threads[i], NULL) == 0);
	}
	put_all(market, 64);
}

static void threads(void)
{
	run_threads(8, 10);
}

static void crowd(void) /* more than have a slot of their own */
{
	run_threads(120, 1);
}

/* Destructors of other keys come before ours and after it, and allocate in each round. */
static pthread_key_t keys[40];

static void late(void *memory)
{
	static __thread unsigned rounds;
	void *more = malloc(100);

	expect(more);
	memset(more, 1, 100);
	free(memory);
	if (++rounds < 100)
		expect(pthread_setspecific(keys[rounds % 40], more) == 0);
	else
		free(more);
}

static void *leaver(void *unused)
{
	for (unsigned i = 0; i < 40; i++)
		expect(pthread_setspecific(keys[i], malloc(i * 50 + 1)) == 0);
	return unused;
}

static void leaving(void)
{
	pthread_t threads[16];

	for (unsigned i = 0; i < 40; i++)
		expect(pthread_key_create(&keys[i], late) == 0);
	for (unsigned r = 0; r < 60; r++) {
		for (unsigned i = 0; i < 16; i++)
			expect(pthread_create(&threads[i], NULL, leaver, NULL) == 0);
		for (unsigned i = 0; i < 16; i++)
			expect(pthread_join(threads[i], NULL) == 0);
	}
}

/* ---- forks ---- */

/* Forks, works in the child, if there is something to do, and sees it end well; what hangs is ended. */
static void in_a_child(void *(*work)(void *))
{
	int status;
	pid_t pid;

	alarm(20);
	pid = fork();
	expect(pid >= 0);
	if (pid == 0) {
		alarm(20);
		if (work)
			work(NULL);
		_exit(0);
	}
	expect(waitpid(pid, &status, 0) == pid && status == 0);
}

static bool enough;
static void *victims[100];

static void *unresting(void *number)
{
	struct block *blocks = calloc(200, sizeof(*blocks));
	uint64_t seed = (uintptr_t)number;

	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		churn(blocks, 200, 100, &seed);
	put_all(blocks, 200);
	free(blocks);
	return NULL;
}

/* Magazines hold few of these, so that locks are taken all the time: a fork often finds it in the midst. */
static void *inside(void *unused)
{
	void *held[64];

	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		for (unsigned i = 0; i < 64; i++)
			held[i] = malloc(16000);
		for (unsigned i = 0; i < 64; i++)
			free(held[i]);
	}
	return unused;
}

static void child(uint64_t seed)
{
	struct block *blocks = calloc(300, sizeof(*blocks));

	for (unsigned i = 0; i < 100; i++) {
		victims[i] = malloc(16000);
		free(malloc(40 * MIB));
	}
	for (unsigned i = 0; i < 100; i++)
		free(victims[i]);
	churn(blocks, 300, 1000, &seed);
	put_all(blocks, 300);
	free(blocks);
	if (seed % 8 == 0)
		run_threads(3, 1);
	if (seed % 16 == 1) { /* a child of a child */
		pid_t pid = fork();

		if (pid == 0)
			_exit(!malloc(10));
		expect(waitpid(pid, NULL, 0) == pid);
	}
	malloc_trim(0);
	_exit(0);
}

static void forks(void)
{
	pthread_t threads[4];
	int status;

	for (unsigned i = 0; i < 4; i++)
		expect(pthread_create(&threads[i], NULL, i < 2 ? unresting : inside, (void *)(uintptr_t)(i + 1)) == 0);
	for (unsigned i = 0; i < 40; i++) {
		pid_t pid = fork();

		expect(pid >= 0);
		if (pid == 0) {
			enough = true;
			alarm(60);
			child(i);
		}
		expect(waitpid(pid, &status, 0) == pid && status == 0);
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 4; i++)
		expect(pthread_join(threads[i], NULL) == 0);
}

/* Who only asks takes locks, too. */
static void *asking(void *block)
{
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		expect(malloc_usable_size(block) >= 40 * MIB);
	return NULL;
}

static void *asking_once(void *unused)
{
	free(malloc(40 * MIB));
	return unused;
}

static void forks_while_asked(void)
{
	void *block = malloc(40 * MIB);
	pthread_t thread;

	expect(block && pthread_create(&thread, NULL, asking, block) == 0);
	for (unsigned i = 0; i < 100; i++)
		in_a_child(asking_once);
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	expect(pthread_join(thread, NULL) == 0);
	free(block);
}

/* Nothing in the heap is a place where a thread may be cancelled: who were has left it, and forks do not wait for them.
 */
static void cancelled(void)
{
	pthread_t threads[16];
	void *result;

	for (unsigned i = 0; i < 16; i++)
		expect(pthread_create(&threads[i], NULL, inside, NULL) == 0);
	usleep(100000);
	for (unsigned i = 0; i < 16; i++)
		expect(pthread_cancel(threads[i]) == 0);
	usleep(500000);
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 16; i++)
		expect(pthread_join(threads[i], &result) == 0 && result == NULL);
	in_a_child(NULL);
}

/* ---- promises ---- */

static void aligned(void)
{
	void *memory = NULL;

	for (size_t align = 16; align <= 256 * MIB; align *= 2) {
		for (size_t bytes = 0; bytes <= 3 * align && bytes < 20 * MIB; bytes = bytes * 3 + 1) {
			unsigned char *a = memalign(align, bytes), *b;

			expect(a && (uintptr_t)a % align == 0 && malloc_usable_size(a) >= bytes);
			memset(a, 1, bytes);
			expect(posix_memalign(&memory, align, bytes) == 0 && (uintptr_t)memory % align == 0);
			b = realloc(a, bytes + 100);
			expect(b && (bytes == 0 || (b[0] == 1 && b[bytes - 1] == 1)));
			free(b);
			free(memory);
		}
	}
	errno = 77;
	expect(posix_memalign(&memory, 24, 8) == EINVAL && posix_memalign(&memory, 4, 8) == EINVAL && errno == 77);
	expect(posix_memalign(&memory, 64, PTRDIFF_MAX) == ENOMEM && errno == 77);
	expect(!aligned_alloc(48, 96) && errno == EINVAL);
	memory = memalign(48, 96);
	expect((uintptr_t)memory % 64 == 0);
	free(memory);
	memory = valloc(1);
	expect(memory && (uintptr_t)memory % 4096 == 0);
	free(memory);
	memory = pvalloc(4097);
	expect(malloc_usable_size(memory) >= 8192);
	free(memory);
}

static void zeroes(void)
{
	uint64_t seed = 5;

	for (unsigned i = 0; i < 3000; i++) {
		size_t bytes = any_size(&seed) + 1;
		unsigned char *dirty = malloc(bytes), *clean;

		memset(dirty, 0xff, bytes);
		free(dirty);
		clean = calloc(1, bytes);
		expect(clean && clean[0] == 0 && memcmp(clean, clean + 1, bytes - 1) == 0);
		memset(clean, 0xff, bytes);
		free(clean);
	}
}

static void edges(void)
{
	volatile size_t huge = (size_t)PTRDIFF_MAX + 1, most = SIZE_MAX;
	size_t nothing = malloc_usable_size(NULL);
	void *a = malloc(nothing), *b = malloc(nothing), *c;

	expect(a && b && a != b);
	errno = 0;
	expect(!malloc(huge) && errno == ENOMEM);
	expect(!malloc(most) && !malloc(most - 100) && !calloc(most / 2, 3) && !calloc(huge, 1));
	expect(!malloc((size_t)PTRDIFF_MAX) && !malloc((size_t)PTRDIFF_MAX - 5000));
	expect(!aligned_alloc(16, huge) && !aligned_alloc((size_t)1 << 62, 1) && !pvalloc(most));
	errno = 0;
	expect(!realloc(a, huge) && errno == ENOMEM);
	errno = 0;
	expect(!reallocarray(a, most / 2, 3) && errno == ENOMEM);
	errno = 55;
	c = reallocarray(a, 10, 10);
	expect(c && errno == 55);
	free(b);
	free(c);
	free(NULL);
	c = malloc(64 * MIB);
	free(c);
	c = malloc(4000);
	c = realloc(c, 100 * MIB);
	expect(c);
	c = realloc(c, 10);
	free(c);
	expect(errno == 55);
	expect(!realloc(malloc(5), nothing) && malloc_usable_size(NULL) == 0);
}

/* A vector that grows keeps what it has, across every border between sizes. */
static void growing(void)
{
	for (unsigned by = 0; by < 3; by++) {
		struct block b = {malloc(1), 1, 0};

		fill(&b, 3);
		while (b.bytes < 200 * MIB) {
			struct block old = b;
			size_t more = by == 0 ? b.bytes : by == 1 ? b.bytes / 8 + 1 : b.bytes / 2 + 4097;

			b.at = realloc(b.at, b.bytes + more);
			expect(b.at);
			old.at = b.at;
			check(&old, old.bytes);
			b.bytes += more;
			fill(&b, b.bytes);
		}
		free(b.at);
	}
}

/* ---- the host ---- */

static void pages_read(size_t *mapped, size_t *resident)
{
	FILE *file = fopen("/proc/self/statm", "r");

	expect(file && fscanf(file, "%zu %zu", mapped, resident) == 2);
	fclose(file);
}

static size_t resident(void)
{
	size_t all, there;

	pages_read(&all, &there);
	return there * 4096;
}

static size_t mapped(void)
{
	size_t all, there;

	pages_read(&all, &there);
	return all * 4096;
}

static void **chain(size_t bytes, size_t n)
{
	void **first = NULL;

	for (size_t i = 0; i < n; i++) {
		void **one = malloc(bytes);

		expect(one);
		memset(one, 1, bytes);
		*one = first;
		first = one;
	}
	return first;
}

static void unchain(void **first)
{
	while (first) {
		void **next = *first;

		free(first);
		first = next;
	}
}

static void giving_back(void)
{
	static const size_t sizes[] = {40, 1000, 5000, 40000, 900000, 3000000};
	size_t before = resident();

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unchain(chain(sizes[i], 200 * MIB / sizes[i]));
		malloc_trim(0);
		expect(resident() < before + 8 * MIB);
	}
	unchain(chain(900000, 300)); /* by itself */
	expect(resident() < before + 100 * MIB);
}

static pthread_barrier_t met;
#define FILLER_BLOCKS 3000u
#define TIRED_BLOCKS  300u

/* All have at the same time what they ask for: some MiB each. Then they end. */
static void *filler(void *unused)
{
	char *blocks[FILLER_BLOCKS];

	for (unsigned i = 0; i < FILLER_BLOCKS; i++) {
		expect(blocks[i] = malloc(i + 1));
		memset(blocks[i], 1, i + 1);
	}
	pthread_barrier_wait(&met);
	for (unsigned i = 0; i < FILLER_BLOCKS; i++)
		free(blocks[i]);
	return unused;
}

static void fill_by_threads(unsigned n)
{
	pthread_t threads[128];

	expect(pthread_barrier_init(&met, NULL, n) == 0);
	for (unsigned i = 0; i < n; i++)
		expect(pthread_create(&threads[i], NULL, filler, NULL) == 0);
	for (unsigned i = 0; i < n; i++)
		expect(pthread_join(threads[i], NULL) == 0);
	pthread_barrier_destroy(&met);
}

/* Of 100 threads that had 450 MB glibc keeps 2 MiB. Again with threads that wait meanwhile, with free frames of theirs.
 */
static void *tired(void *unused)
{
	char *blocks[TIRED_BLOCKS];

	for (unsigned i = 0; i < TIRED_BLOCKS; i++) {
		size_t bytes = 20000 + i % 7 * 30000;

		expect(blocks[i] = malloc(bytes));
		memset(blocks[i], 1, bytes);
	}
	for (unsigned i = 0; i < TIRED_BLOCKS; i++)
		free(blocks[i]);
	pthread_barrier_wait(&met); /* all are free */
	pthread_barrier_wait(&met); /* all was looked at */
	return unused;
}

static void giving_back_threads(void)
{
	pthread_t threads[30];
	size_t before = resident();

	for (unsigned round = 0; round < 3; round++) {
		fill_by_threads(100);
		malloc_trim(0);
		expect(resident() < before + 5 * MIB);
	}
	expect(pthread_barrier_init(&met, NULL, 31) == 0);
	for (unsigned i = 0; i < 30; i++)
		expect(pthread_create(&threads[i], NULL, tired, NULL) == 0);
	pthread_barrier_wait(&met);
	malloc_trim(0);
	expect(resident() < before + 6 * MIB);
	pthread_barrier_wait(&met);
	for (unsigned i = 0; i < 30; i++)
		expect(pthread_join(threads[i], NULL) == 0);
	model();
}

/* Nobody asks for it, but the program goes on with something else: what ended threads left goes home. */
static void giving_back_by_itself(void)
{
	size_t before = resident();
	static char *blocks[20000];

	fill_by_threads(50);
	for (time_t end = time(NULL) + 20; resident() > before + 64 * MIB;) {
		expect(time(NULL) < end);
		for (unsigned i = 0; i < 20000; i++) {
			expect(blocks[i] = malloc(100 + i % 2000));
			blocks[i][0] = 1;
		}
		for (unsigned i = 0; i < 20000; i++)
			free(blocks[i]);
		usleep(2000);
	}
}

/* Threads that find nothing at the same time do not each map as much as one needs. */
static void growing_together(void)
{
	size_t before = mapped();

	fill_by_threads(50);
	expect(mapped() < before + 1000 * MIB);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* mallinfo() is, and programs call it */
/* What programs ask libc's heap of itself is said of this one. */
static void figures(void)
{
	void **small = chain(1000, 10000);
	char *large = malloc(50 * MIB), text[1000] = "";
	struct mallinfo2 wide = mallinfo2();
	struct mallinfo narrow = mallinfo();
	FILE *stream = fmemopen(text, sizeof(text), "w");

	expect(large);
	memset(large, 1, 50);
	expect(wide.hblks == 1 && wide.hblkhd >= 50 * MIB && wide.hblkhd < 51 * MIB);
	expect(wide.uordblks >= 10000000 && wide.uordblks < 13000000);
	expect(wide.arena == wide.uordblks + wide.fordblks && wide.arena < 20000000);
	expect(narrow.hblks == 1 && (size_t)narrow.hblkhd == wide.hblkhd && (size_t)narrow.uordblks == wide.uordblks);
	expect((size_t)narrow.arena == wide.arena);
	expect(stream && malloc_info(0, stream) == 0 && malloc_info(1, stream) == -1 && errno == EINVAL);
	fclose(stream);
	expect(strstr(text, "<malloc version=\"1\">") && strstr(text, "<total type=\"mmap\" count=\"1\" size=\"524"));
	expect(strcmp(text + strlen(text) - 10, "</malloc>\n") == 0);
	expect(mallopt(M_ARENA_MAX, 1) == 1 && mallopt(M_MMAP_THRESHOLD, 65536) == 1 && mallopt(12345, 1) == 0);
	malloc_stats();
	unchain(small);
	free(large);
	wide = mallinfo2();
	expect(wide.hblks == 0 && wide.uordblks < 100000);
}
#pragma GCC diagnostic pop

/* What one size used is there for another: the most that is resident does not add up. */
static void reuse(void)
{
	struct rusage used;

	for (size_t bytes = 64; bytes < MIB; bytes *= 3)
		unchain(chain(bytes, 100 * MIB / bytes));
	getrusage(RUSAGE_SELF, &used);
	expect((size_t)used.ru_maxrss * KIB < 170 * MIB);
}

/* Blocks of this size until there is no more; then all of it again. */
static size_t exhaust(size_t bytes)
{
	void **first = NULL, **one;
	size_t n = 0;

	for (errno = 0; (one = malloc(bytes)); n++) {
		*one = first;
		first = one;
	}
	expect(errno == ENOMEM);
	unchain(first);
	return n;
}

static void limit(void)
{
	struct rlimit as = {300 * MIB, 300 * MIB};
	static const size_t sizes[] = {5000000, 100, 20000, 1000, 300000};

	expect(setrlimit(RLIMIT_AS, &as) == 0);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			expect(exhaust(sizes[i]) * sizes[i] > 100 * MIB);
	model();
}

/* ---- bugs: each must end the process, with a sentence ---- */

/* 1.7 GiB under `checked`. */
static void lots(void)
{
	void **last = NULL, **next;

	for (unsigned i = 0; i < 17000000; i++, last = next) {
		next = malloc(sizeof(*next));
		expect(next != NULL);
		*next = last;
	}
}

static void *volatile victim;

static void *free_victim(void *unused)
{
	free(victim);
	return unused;
}

static void double_free(void)
{
	victim = malloc(100);
	free(victim);
	free(victim);
}

/* With others between, all of them in magazines: where another could get it twice. */
static void double_free_between(void)
{
	void *other = malloc(100);

	victim = malloc(100);
	free(victim);
	free(other);
	free(victim);
}

static void double_free_other_thread(void)
{
	pthread_t thread;

	victim = malloc(100);
	free(victim);
	expect(pthread_create(&thread, NULL, free_victim, NULL) == 0);
	pthread_join(thread, NULL);
}

static void double_free_later(void)
{
	void *other[200];

	victim = malloc(100);
	for (unsigned i = 0; i < 200; i++)
		other[i] = malloc(100);
	free(victim);
	for (unsigned i = 0; i < 200; i++)
		free(other[i]);
	free(victim);
	malloc_trim(0);
}

static void double_free_large(void)
{
	victim = malloc(100000);
	free(victim);
	free(victim);
}

static void double_free_huge(void)
{
	victim = malloc(50 * MIB);
	free(victim);
	free(victim);
}

static void free_middle(void)
{
	victim = malloc(100);
	free((char *)victim + 8);
}

static void free_middle_aligned(void)
{
	victim = malloc(100);
	free((char *)victim + 16);
}

static void free_middle_huge(void)
{
	victim = malloc(50 * MIB);
	free((char *)victim + 4096);
}

static void free_stack(void)
{
	char here[100];

	victim = here + 16;
	free(victim);
	victim = NULL;
}

/* ---- bugs that only checked mode sees ---- */

static void overrun(void)
{
	char *block = malloc(24);

	victim = block;
	((volatile char *)block)[24] = 1;
	free(victim);
}

static void underrun(void)
{
	char *block = malloc(24);

	victim = block;
	((volatile char *)block)[-1] = 1;
	free(victim);
}

static void after_free(void)
{
	char *block = malloc(24);

	victim = block;
	free(victim);
	((volatile char *)block)[3] = 1;
}

/* Never inlined: its name is in the tree. */
__attribute__((noinline)) static void leaks(void)
{
	for (unsigned i = 0; i < 70; i++)
		victim = malloc(100);
}

/* 60 MB live, of 90 that were there: what estimates are held against. */
__attribute__((noinline)) static void sampled_leaks(void)
{
	static void *kept[90000];

	for (unsigned i = 0; i < 90000; i++)
		expect(kept[i] = i % 2 ? malloc(1000) : calloc(10, 100));
	for (unsigned i = 0; i < 90000; i += 3)
		free(kept[i]);
}

/* Asks in each of the ways, 40 times in all, and writes which were refused, a line each; nothing but these asks. */
__attribute__((noinline)) static void refusals(void)
{
	struct block kept[40] = {{0}};

	for (unsigned i = 0; i < 40; i++) {
		struct block *b = &kept[i], *last = &kept[i - (i > 0)];
		char line[8];
		void *memory;

		errno = 0;
		b->bytes = 100 + i;
		if (i % 5 == 4 && last->at) { /* refused, it is as it was */
			memory = realloc(last->at, 5000);
			check(&(struct block){memory ? memory : last->at, last->bytes, last->number}, last->bytes);
			if (memory)
				last->at = memory;
		} else {
			memory = i % 5 == 1   ? calloc(b->bytes, 1)
				 : i % 5 == 2 ? aligned_alloc(256, b->bytes)
				 : i % 5 == 0 ? malloc((b->bytes = (i ? 20 * KIB : 3 * MIB)))
					      : malloc(b->bytes);
			b->at = memory;
			if (memory)
				fill(b, i);
		}
		expect(errno == (memory ? 0 : ENOMEM));
		if (!memory)
			expect(write(STDOUT_FILENO, line, (size_t)snprintf(line, sizeof(line), "%u\n", i)) > 0);
	}
	for (unsigned i = 0; i < 40; i++)
		if (kept[i].at)
			put(&kept[i]);
}

/* ---- what is told, and where ---- */

/* Something that is told: refusals with fail=, and with checked a second free, which is lived through there. */
static void *troubled(void *unused)
{
	const char *words = getenv("SLAT_MALLOC");
	void *last = NULL;

	for (unsigned i = 0; i < 200; i++) {
		void *memory = malloc(100 + i);

		free(last);
		if (words && strstr(words, "checked"))
			free(last);
		last = memory;
	}
	free(last);
	return unused;
}

/* Not at a place where it may be cancelled. */
static void spin_until(const bool *set)
{
	while (!__atomic_load_n(set, __ATOMIC_ACQUIRE))
		;
}

static void *cancelled_already(void *go)
{
	spin_until(go);
	return troubled(go);
}

/* malloc() and free() are no places where a thread may be cancelled, whatever they tell. */
static void told_cancelled(void)
{
	static bool go;
	pthread_t thread;
	void *result;

	expect(pthread_create(&thread, NULL, cancelled_already, &go) == 0);
	expect(pthread_cancel(thread) == 0);
	__atomic_store_n(&go, true, __ATOMIC_RELEASE);
	expect(pthread_join(thread, &result) == 0 && result == &go);
	in_a_child(NULL);
}

static void told_on_a_small_stack(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	expect(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 16 * KIB) == 0);
	expect(pthread_create(&thread, &attributes, troubled, NULL) == 0);
	expect(pthread_join(thread, NULL) == 0);
	pthread_attr_destroy(&attributes);
}

static void wait_until(const bool *set)
{
	while (!__atomic_load_n(set, __ATOMIC_ACQUIRE))
		usleep(1000);
}

/* Has the loader's lock; when a fork begins, it asks for memory. */
static struct {
	bool held, forks;
} lock;

static int with_the_lock(struct dl_phdr_info *info, size_t bytes, void *unused)
{
	(void)info;
	(void)bytes;
	(void)unused;
	if (!lock.held) {
		__atomic_store_n(&lock.held, true, __ATOMIC_RELEASE);
		wait_until(&lock.forks);
		usleep(300000);
		free(malloc(20));
	}
	return 0;
}

static void *holder(void *unused)
{
	dl_iterate_phdr(with_the_lock, NULL);
	return unused;
}

/* Whoever tells while another has the loader's lock, and that waits for a fork, which waits for whoever is in the heap.
 */
static void told_beside_a_fork(void)
{
	pthread_t holds, tells;

	expect(pthread_create(&holds, NULL, holder, NULL) == 0);
	wait_until(&lock.held);
	expect(pthread_create(&tells, NULL, troubled, NULL) == 0);
	usleep(200000);
	__atomic_store_n(&lock.forks, true, __ATOMIC_RELEASE);
	in_a_child(NULL);
	expect(pthread_join(holds, NULL) == 0 && pthread_join(tells, NULL) == 0);
}

/* In a child the loader's lock stays taken if another had it at the fork. */
static void told_in_a_child(void)
{
	pthread_t holds;

	expect(pthread_create(&holds, NULL, holder, NULL) == 0);
	wait_until(&lock.held);
	in_a_child(troubled);
	__atomic_store_n(&lock.forks, true, __ATOMIC_RELEASE);
	expect(pthread_join(holds, NULL) == 0);
}

static void *cancelled_and_exits(void *go)
{
	spin_until(go);
	exit(0);
}

/* Its thread is to be cancelled, and exit() is no place for it. */
static void told_at_the_end(void)
{
	static bool go;
	pthread_t thread;

	expect(pthread_create(&thread, NULL, cancelled_and_exits, &go) == 0);
	expect(pthread_cancel(thread) == 0);
	__atomic_store_n(&go, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	expect(!"exit() did not come to its end");
}

/* No page more than it has. */
static void told_without_memory(void)
{
	unsigned long pages;
	FILE *statm = fopen("/proc/self/statm", "r");
	struct rlimit limit;

	expect(statm && fscanf(statm, "%lu", &pages) == 1 && fclose(statm) == 0);
	limit.rlim_cur = limit.rlim_max = pages * 4096;
	expect(setrlimit(RLIMIT_AS, &limit) == 0);
	troubled(NULL);
}

static void *refused_often(void *unused)
{
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		free(malloc(100));
	return unused;
}

static void *refused_a_while(void *unused)
{
	for (unsigned i = 0; i < 20; i++)
		free(malloc(50));
	return unused;
}

/* Whatever lock a refusal takes is not taken in a child. */
static void told_and_forked(void)
{
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++)
		while (pthread_create(&threads[i], NULL, refused_often, NULL) != 0) /* it asks, too */
			;
	for (unsigned i = 0; i < 300; i++)
		in_a_child(refused_a_while);
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 2; i++)
		expect(pthread_join(threads[i], NULL) == 0);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"model", model},
	{"threads", threads},
	{"crowd", crowd},
	{"leaving", leaving},
	{"forks_while_asked", forks_while_asked},
	{"cancelled", cancelled},
	{"forks", forks},
	{"aligned", aligned},
	{"zeroes", zeroes},
	{"edges", edges},
	{"growing", growing},
	{"figures", figures},
	{"giving_back", giving_back},
	{"giving_back_threads", giving_back_threads},
	{"giving_back_by_itself", giving_back_by_itself},
	{"growing_together", growing_together},
	{"reuse", reuse},
	{"limit", limit},
	{"lots", lots},
	{"double_free", double_free},
	{"double_free_between", double_free_between},
	{"double_free_other_thread", double_free_other_thread},
	{"double_free_later", double_free_later},
	{"double_free_large", double_free_large},
	{"double_free_huge", double_free_huge},
	{"free_middle", free_middle},
	{"free_middle_aligned", free_middle_aligned},
	{"free_middle_huge", free_middle_huge},
	{"free_stack", free_stack},
	{"overrun", overrun},
	{"underrun", underrun},
	{"after_free", after_free},
	{"leaks", leaks},
	{"sampled_leaks", sampled_leaks},
	{"refusals", refusals},
	{"told_cancelled", told_cancelled},
	{"told_on_a_small_stack", told_on_a_small_stack},
	{"told_beside_a_fork", told_beside_a_fork},
	{"told_and_forked", told_and_forked},
	{"told_in_a_child", told_in_a_child},
	{"told_at_the_end", told_at_the_end},
	{"told_without_memory", told_without_memory},
};

int main(int argc, char **argv)
{
	for (unsigned i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return 0;
		}
	}
	fprintf(stderr, "usage: preload CASE\n");
	return 2;
}
