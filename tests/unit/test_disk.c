/* A disk on files of this host: data against a model, both ways (io_uring, and plain calls where a seccomp filter
 * refuses it), buffered and direct; what is durable behind a flush, what a discard gives back, who may open
 * what, and what the host's errors become. On a loop device, too, where there is one.
 *
 * Not seen: that the medium itself kept what a flush wrote. */
#include <check.h>
#undef fail
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/loop.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/device_fakes.h"
#include "tests/unit/random.h"
#include "vmm/disk_impl.h"

Suite *disk_suite(void);

#define BYTES	  (UINT64_C(4) << 20)
#define MEMORY	  (UINT64_C(2) << 20)
#define TRIPS	  32u
#define PIECES	  12u
#define ROUNDS	  3000u
#define CACHESTAT 451

enum { PLAIN = 1, DIRECT = 2 }; /* of the loop tests' number */

struct trip {
	struct blk_step step;
	struct dma_segment segment[PIECES];
	bool live, ended, ok;
	uint64_t memory; /* where its bytes are: offset */
};

static struct {
	struct disk disk;
	struct failure failure;
	char path[128];
	struct trip trip[TRIPS];
	unsigned ended, bursts;
	uint8_t *memory, *model;
} t;

/* ---- opening, with and without io_uring ---- */

/* Of this thread alone. */
static void refuse_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

static void *open_refused(void *config)
{
	refuse_io_uring();
	disk_open(&t.disk, config, &t.failure);
	return NULL;
}

static void note_done(void *self, struct blk_step *step, bool ok)
{
	struct trip *f = (struct trip *)(void *)step;

	(void)self;
	ck_assert(!f->ended);
	f->ended = true;
	f->ok = ok;
	t.ended++;
}

static void note_completed(void *self)
{
	(void)self;
	t.bursts++;
}

static int open_config(struct disk_config config, unsigned how)
{
	pthread_t thread;

	t.failure = (struct failure){0};
	config.path = config.path ? config.path : t.path;
	config.num_queues = config.num_queues ? config.num_queues : 1;
	config.direct = how & DIRECT;
	if (how & PLAIN) {
		ck_assert_int_eq(pthread_create(&thread, NULL, open_refused, &config), 0);
		pthread_join(thread, NULL);
		ck_assert(t.failure.code || (!t.disk.uring && t.disk.uring_error == EPERM));
		ck_assert(t.failure.code || strcmp(disk_way(&t.disk), "preadv") == 0);
	} else {
		disk_open(&t.disk, &config, &t.failure);
	}
	disk_set_owner(&t.disk, (struct disk_owner){NULL, note_done, note_completed});
	return t.failure.code;
}

/* A file of BYTES bytes at random, beside the build's own (a disk's file system, not a tmpfs, where that is so). */
static void file_new(void)
{
	int fd;

	snprintf(t.path, sizeof(t.path), "%s/slat-disk-XXXXXX", getenv("BUILD") ? getenv("BUILD") : "/var/tmp");
	fd = mkstemp(t.path);
	if (fd < 0) {
		snprintf(t.path, sizeof(t.path), "/tmp/slat-disk-XXXXXX");
		fd = mkstemp(t.path);
	}
	ck_assert_int_ge(fd, 0);
	t.model = malloc(BYTES);
	ck_assert_int_eq(posix_memalign((void **)&t.memory, 4096, MEMORY), 0);
	for (uint64_t i = 0; i < BYTES; i++)
		t.model[i] = (uint8_t)below(256);
	ck_assert_int_eq(write(fd, t.model, BYTES), (int64_t)BYTES);
	close(fd);
}

static void file_free(void)
{
	disk_close(&t.disk);
	unlink(t.path);
	free(t.model);
	free(t.memory);
}

static void make(unsigned how)
{
	seed(MODEL_SEED);
	memset(&t, 0, sizeof(t));
	file_new();
	ck_assert_msg(open_config((struct disk_config){0}, how) == 0, "%s", t.failure.text);
	ck_assert(t.disk.locked);
}

/* ---- steps ---- */

static void submit(struct trip *f)
{
	const struct blk_backend *b = disk_backend(&t.disk);

	f->live = true;
	f->ended = false;
	b->submit(b->self, &f->step);
}

static void kick(void)
{
	const struct blk_backend *b = disk_backend(&t.disk);

	if (b->kick)
		b->kick(b->self);
}

static void wait_for(unsigned ended)
{
	while (t.ended < ended) {
		struct pollfd p = {.fd = disk_wait_fd(&t.disk), .events = POLLIN};

		ck_assert_int_ge(p.fd, 0);
		ck_assert_int_eq(poll(&p, 1, 10000), 1);
		disk_ready(&t.disk);
	}
}

static bool run(enum blk_op op, uint64_t offset, uint64_t bytes, bool unmap)
{
	struct trip *f = &t.trip[0];

	*f = (struct trip){.step = {.op = op, .offset = offset, .bytes = bytes, .unmap = unmap}};
	if (op == BLK_READ || op == BLK_WRITE) {
		f->segment[0] = (struct dma_segment){t.memory, bytes};
		f->step.segment = f->segment;
		f->step.segments = 1;
	}
	t.ended = 0;
	submit(f);
	kick();
	wait_for(1);
	return f->ok;
}

static void file_must_be_the_model(void)
{
	int fd = open(t.path, O_RDONLY);
	uint8_t *all = malloc(BYTES);

	ck_assert_int_eq(read(fd, all, BYTES), (int64_t)BYTES);
	ck_assert_mem_eq(all, t.model, BYTES);
	free(all);
	close(fd);
}

/* ---- data ---- */

#define STRIDE (MEMORY / TRIPS)
#define REACH  (BYTES / TRIPS) /* of the disk: each trip its own part */

/* Up to PIECES pieces; those of a direct disk are mostly as it likes them. */
static void cut(struct trip *f, uint64_t bytes, bool rough)
{
	uint64_t at = f->memory + (rough ? below(64) : 0), grain = rough ? 1 : 512;

	f->step.bytes = bytes;
	f->step.segment = f->segment;
	f->step.segments = 0;
	while (bytes) {
		uint64_t n = f->step.segments == PIECES - 1 ? bytes : (1 + below(bytes / grain)) * grain;

		f->segment[f->step.segments++] = (struct dma_segment){t.memory + at, n};
		at += n + below(3) * grain;
		bytes -= n;
	}
}

static void fill_segments(const struct trip *f, uint64_t offset)
{
	for (unsigned i = 0; i < f->step.segments; offset += f->segment[i++].bytes)
		for (uint64_t j = 0; j < f->segment[i].bytes; j++)
			t.model[offset + j] = f->segment[i].host[j] = (uint8_t)below(256);
}

static void start(unsigned n)
{
	struct trip *f = &t.trip[n];
	const bool rough = below(4) == 0;
	uint64_t sectors = 1 + below(40), sector = below(REACH / 512 - sectors);

	*f = (struct trip){.memory = n * STRIDE};
	f->step.op = below(3) ? (below(2) ? BLK_READ : BLK_WRITE) : BLK_ZERO;
	f->step.offset = n * REACH + sector * 512;
	f->step.unmap = below(2);
	if (f->step.op == BLK_ZERO) {
		f->step.bytes = sectors * 512;
		memset(t.model + f->step.offset, 0, f->step.bytes);
	} else {
		cut(f, sectors * 512, rough);
	}
	if (f->step.op == BLK_WRITE)
		fill_segments(f, f->step.offset);
	submit(f);
}

static void check(const struct trip *f)
{
	uint64_t at = f->step.offset;

	EXPECT(f->ok);
	for (unsigned i = 0; f->step.op == BLK_READ && i < f->step.segments; at += f->segment[i++].bytes)
		EXPECT(memcmp(f->segment[i].host, t.model + at, f->segment[i].bytes) == 0);
}

START_TEST(holds_what_a_model_holds)
{
	unsigned count = 0;

	make((unsigned)_i & 3);
	t.disk.no_zero = t.disk.no_punch = _i & 4; /* zeros are written */
	if (_i & 4)
		t.disk.offset_align = 4096; /* blocks that some steps have a part of only */
	for (unsigned round = 0; round < ROUNDS / TRIPS * 2; round++) {
		t.ended = 0;
		count = 0;
		for (unsigned n = 0; n < TRIPS; n++)
			if (below(2)) {
				start(n);
				count++;
			}
		kick();
		if (round % 4)
			wait_for(count);
		else
			disk_backend(&t.disk)->drain(&t.disk);
		ck_assert_uint_eq(t.ended, count);
		ck_assert_uint_eq(t.disk.in_flight, 0);
		for (unsigned n = 0; n < TRIPS; n++) {
			if (t.trip[n].live)
				check(&t.trip[n]);
			t.trip[n].live = false;
		}
	}
	ck_assert_uint_eq(t.disk.stats.errors, 0);
	ck_assert_int_eq(t.disk.stats.bounced > 0, _i & DIRECT ? 1 : 0);
	file_must_be_the_model();
	file_free();
}
END_TEST

/* More than the ring takes at once, and more than its completion queue was by default. */
START_TEST(many_steps_are_one_burst)
{
	enum { MANY = 3 * VIRTIO_BLK_QUEUE_SIZE + 7 };
	struct trip *many = calloc(MANY, sizeof(*many));

	seed(MODEL_SEED);
	memset(&t, 0, sizeof(t));
	file_new();
	ck_assert_int_eq(open_config((struct disk_config){.num_queues = 4}, (unsigned)_i), 0);
	for (unsigned n = 0; n < MANY; n++) {
		many[n].segment[0] = (struct dma_segment){t.memory + n * 512, 512};
		many[n].step = (struct blk_step){
			.op = BLK_READ, .offset = n * 512, .bytes = 512, .segment = many[n].segment, .segments = 1};
		submit(&many[n]);
	}
	kick();
	wait_for(MANY);
	ck_assert_mem_eq(t.memory, t.model, MANY * 512);
	free(many);
	file_free();
}
END_TEST

/* ---- flush ---- */

struct cachestat_range {
	uint64_t offset, bytes;
};
struct cachestat_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static bool dirty(uint64_t *pages)
{
	const struct cachestat_range all = {0, BYTES};
	struct cachestat_counts counts;

	if (syscall(CACHESTAT, t.disk.fd, &all, &counts, 0) != 0)
		return false;
	*pages = counts.dirty + counts.writeback;
	return true;
}

START_TEST(nothing_is_dirty_behind_a_flush)
{
	uint64_t pages = 0;

	make((unsigned)_i);
	ck_assert(run(BLK_FLUSH, 0, 0, false));
	if (!dirty(&pages) || pages) {
		printf("disk: flush not tested: no cachestat() here, or a file system in memory\n");
		file_free();
		return;
	}
	memset(t.memory, 1, 65536);
	ck_assert(run(BLK_WRITE, 0, 65536, false));
	ck_assert(dirty(&pages) && pages > 0);
	ck_assert(run(BLK_FLUSH, 0, 0, false));
	ck_assert(dirty(&pages) && pages == 0);
	file_free();
}
END_TEST

/* ---- space ---- */

static uint64_t held(void)
{
	struct stat s;

	ck_assert_int_eq(stat(t.path, &s), 0);
	return (uint64_t)s.st_blocks * 512;
}

START_TEST(discards_give_space_back)
{
	uint64_t before;

	make((unsigned)_i);
	ck_assert(disk_backend(&t.disk)->discard && disk_backend(&t.disk)->zero);
	ck_assert(run(BLK_FLUSH, 0, 0, false));
	before = held();
	ck_assert(run(BLK_DISCARD, 1 << 20, 1 << 20, false));
	ck_assert_uint_le(held(), before - (1 << 20));
	ck_assert(run(BLK_ZERO, 2 << 20, 1 << 20, true));
	ck_assert_uint_le(held(), before - (2 << 20));
	memset(t.model + (1 << 20), 0, 2 << 20);
	file_must_be_the_model();
	ck_assert(run(BLK_ZERO, 1 << 20, 1 << 20, false)); /* to be kept: space is there again */
	ck_assert(run(BLK_ZERO, 512, 512, false));
	memset(t.model + 512, 0, 512);
	file_must_be_the_model();
	ck_assert(run(BLK_FLUSH, 0, 0, false));
	ck_assert_uint_gt(held(), before - (2 << 20) + (1 << 19));
	t.disk.no_punch = t.disk.no_zero = true; /* a file system that has neither */
	memset(t.model + (3 << 20) + 512, 0, (1 << 20) - 512);
	ck_assert(run(BLK_ZERO, (3 << 20) + 512, (1 << 20) - 512, true));
	file_must_be_the_model();
	file_free();
}
END_TEST

/* ---- who may ---- */

static int open_other(struct disk *other, bool readonly)
{
	static struct failure f;

	f = (struct failure){0};
	disk_open(other, &(struct disk_config){.path = t.path, .readonly = readonly, .num_queues = 1}, &f);
	if (f.code) {
		ck_assert_int_eq(f.code, EXIT_HOST);
		ck_assert_ptr_nonnull(strstr(f.text, t.path));
		ck_assert_ptr_nonnull(strstr(f.text, "another program"));
	}
	return f.code;
}

START_TEST(one_writer_or_many_readers)
{
	struct disk a, b;

	make(0);
	ck_assert_int_ne(open_other(&a, false), 0);
	ck_assert_int_ne(open_other(&a, true), 0);
	disk_close(&a); /* fine on one that did not open */
	disk_close(&t.disk);
	ck_assert_int_eq(open_other(&a, true), 0);
	ck_assert_int_eq(open_other(&b, true), 0);
	ck_assert_int_ne(open_config((struct disk_config){0}, 0), 0);
	ck_assert_ptr_nonnull(strstr(t.failure.text, "readonly=on"));
	disk_close(&a);
	disk_close(&b);
	ck_assert_int_eq(open_config((struct disk_config){0}, 0), 0);
	file_free();
}
END_TEST

/* The kernel tears a killed process' ring down later than its descriptors: the lock must not outlive it for the user.
 */
START_TEST(a_killed_writer_lets_go)
{
	make(0);
	disk_close(&t.disk);
	for (unsigned round = 0; round < 5; round++) {
		pid_t child = fork();

		if (child == 0) {
			for (unsigned n = open_config((struct disk_config){0}, 0) ? TRIPS : 0; n < TRIPS; n++)
				start(n);
			kick();
			raise(SIGKILL);
		}
		ck_assert_int_eq(waitpid(child, NULL, 0), child);
		ck_assert_msg(open_config((struct disk_config){0}, 0) == 0, "%s", t.failure.text);
		disk_close(&t.disk);
	}
	file_free();
}
END_TEST

START_TEST(readonly_is_for_reading)
{
	seed(MODEL_SEED);
	memset(&t, 0, sizeof(t));
	file_new();
	chmod(t.path, 0400);
	ck_assert_int_eq(open_config((struct disk_config){.readonly = true, .serial = "abc"}, (unsigned)_i), 0);
	ck_assert(disk_backend(&t.disk)->readonly);
	ck_assert(!disk_backend(&t.disk)->discard && !disk_backend(&t.disk)->zero);
	ck_assert_mem_eq(disk_backend(&t.disk)->serial, "abc\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	ck_assert_uint_eq(disk_backend(&t.disk)->bytes, BYTES);
	ck_assert(run(BLK_FLUSH, 0, 0, false));
	ck_assert(run(BLK_READ, 512, 4096, false));
	ck_assert_mem_eq(t.memory, t.model + 512, 4096);
	ck_assert(!run(BLK_WRITE, 0, 4096, false)); /* the device sees to that; the descriptor does, too */
	file_must_be_the_model();
	file_free();
}
END_TEST

static void refused(struct disk_config config, enum exit_code code, const char *phrase)
{
	ck_assert_int_eq(open_config(config, 0), code);
	ck_assert_msg(strstr(t.failure.text, phrase) != NULL, "%s", t.failure.text);
	ck_assert_int_eq(t.disk.fd, -1);
}

START_TEST(what_is_no_disk_is_refused)
{
	char name[160];

	seed(MODEL_SEED);
	memset(&t, 0, sizeof(t));
	file_new();
	refused((struct disk_config){.path = "/"}, EXIT_HOST, "is a directory");
	refused((struct disk_config){.path = "/dev/null"}, EXIT_HOST, "a character device");
	refused((struct disk_config){.path = "/nowhere/at/all"}, EXIT_HOST, "truncate -s 1G");
	snprintf(name, sizeof(name), "%s.fifo", t.path);
	ck_assert_int_eq(mkfifo(name, 0600), 0);
	refused((struct disk_config){.path = name}, EXIT_HOST, "a pipe"); /* and does not wait */
	unlink(name);
	ck_assert_int_eq(truncate(t.path, 1000), 0);
	refused((struct disk_config){0}, EXIT_HOST, "truncate -s %512");
	ck_assert_int_eq(truncate(t.path, 0), 0);
	refused((struct disk_config){0}, EXIT_HOST, "is empty");
	ck_assert_int_eq(truncate(t.path, 4096), 0);
	ck_assert_int_eq(open_config((struct disk_config){.serial = "12345678901234567890"}, 0), 0);
	memcpy(t.memory, "QFI\xfb", 4);
	ck_assert(run(BLK_WRITE, 0, 512, false));
	disk_close(&t.disk);
	refused((struct disk_config){0}, EXIT_HOST, "qemu-img convert");
	file_free();
}
END_TEST

/* ---- the host's errors ---- */

START_TEST(errors_are_told_once)
{
	char *said = NULL;
	size_t size = 0;
	FILE *real = stderr;
	unsigned lines = 0;

	make((unsigned)_i);
	ck_assert_int_eq(truncate(t.path, 6144), 0); /* behind its back */
	stderr = open_memstream(&said, &size);
	for (unsigned n = 0; n < 5; n++)
		ck_assert(!run(BLK_READ, 4096, 4096, false));
	ck_assert(run(BLK_READ, 0, 4096, false));
	fclose(stderr);
	stderr = real;
	for (size_t i = 0; i < size; i++)
		lines += said[i] == '\n';
	ck_assert_uint_eq(lines, 1);
	ck_assert_ptr_nonnull(strstr(said, t.path));
	ck_assert_ptr_nonnull(strstr(said, "cannot read 4096 bytes at 4096"));
	ck_assert_uint_eq(t.disk.stats.errors, 5);
	ck_assert_uint_eq(t.disk.stats.continued, 5); /* it went on where the first half ended */
	free(said);
	file_free();
}
END_TEST

/* What was done in part goes on with the segment behind, not with nothing of the one that is done: the host says
 * why it does no more. */
START_TEST(goes_on_behind_a_segment)
{
	struct rlimit loose, tight;
	struct trip *f = &t.trip[0];
	char *said = NULL;
	size_t size = 0;
	FILE *real = stderr;

	make((unsigned)_i);
	*f = (struct trip){.step = {.op = BLK_WRITE, .offset = 4096, .bytes = 4096, .segments = 3}};
	f->step.segment = f->segment;
	for (unsigned i = 0; i < 3; i++)
		f->segment[i] = (struct dma_segment){t.memory + 4096 * i, i < 2 ? 1024 : 2048};
	memset(t.memory, 0x5a, MEMORY);
	memset(t.model + 4096, 0x5a, 2048);
	ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	stderr = open_memstream(&said, &size);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &loose), 0);
	tight = (struct rlimit){6144, loose.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
	submit(f);
	kick();
	wait_for(1);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &loose), 0);
	fclose(stderr);
	stderr = real;
	ck_assert(!f->ok);
	ck_assert_uint_eq(t.disk.stats.continued, 1);
	ck_assert_ptr_nonnull(strstr(said, strerror(EFBIG)));
	free(said);
	file_must_be_the_model();
	file_free();
}
END_TEST

START_TEST(a_full_host_is_an_error)
{
	int full;

	make(PLAIN);
	full = open("/dev/full", O_RDWR);
	ck_assert_int_ge(full, 0);
	ck_assert_int_ge(dup2(full, t.disk.fd), 0);
	close(full);
	ck_assert(!run(BLK_WRITE, 0, 4096, false));
	ck_assert_uint_eq(t.disk.stats.errors, 1);
	file_free();
}
END_TEST

/* ---- what the ring may ---- */

/* The host takes nothing through the ring any more: the guest's requests fail, and slat goes on. */
START_TEST(a_ring_that_is_refused)
{
	int fd;

	make(0);
	if (t.disk.uring) {
		fd = t.disk.uring->ring.enter_ring_fd;
		t.disk.uring->ring.enter_ring_fd = -1;
		ck_assert(!run(BLK_READ, 0, 4096, false));
		ck_assert(!run(BLK_FLUSH, 0, 0, false));
		ck_assert_uint_eq(t.disk.stats.errors, 2);
		ck_assert_uint_eq(t.disk.in_flight, 0);
		t.disk.uring->ring.enter_ring_fd = fd;
		ck_assert(run(BLK_READ, 0, 4096, false));
		ck_assert_mem_eq(t.memory, t.model, 4096);
	}
	file_free();
}
END_TEST

START_TEST(the_ring_opens_nothing)
{
	struct io_uring *ring;
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;

	make(0);
	if (!t.disk.uring) {
		printf("disk: no io_uring here (%s): not tested\n", strerror(t.disk.uring_error));
		file_free();
		return;
	}
	ring = &t.disk.uring->ring;
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	io_uring_submit(ring);
	ck_assert_int_eq(io_uring_wait_cqe(ring, &cqe), 0);
	ck_assert_int_eq(cqe->res, -EACCES);
	io_uring_cqe_seen(ring, cqe);
	sqe = io_uring_get_sqe(ring); /* nor any other file */
	io_uring_prep_read(sqe, t.disk.fd, t.memory, 512, 0);
	io_uring_submit(ring);
	ck_assert_int_eq(io_uring_wait_cqe(ring, &cqe), 0);
	ck_assert_int_eq(cqe->res, -EACCES);
	io_uring_cqe_seen(ring, cqe);
	ck_assert_int_lt(io_uring_register_eventfd(ring, 0), 0);
	file_free();
}
END_TEST

/* Closed with steps in flight: they end first, and nobody is told. */
START_TEST(a_close_ends_what_is_in_flight)
{
	make((unsigned)_i);
	for (unsigned n = 0; n < TRIPS; n++)
		start(n);
	t.ended = 0;
	disk_close(&t.disk);
	ck_assert_uint_eq(t.ended, 0);
	file_free();
}
END_TEST

/* ---- a block device ---- */

static int loop_new(char *path, size_t size)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file = open(t.path, O_RDWR | O_CLOEXEC);
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE), fd = -1;

	if (n >= 0) {
		snprintf(path, size, "/dev/loop%d", n);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (fd >= 0 && ioctl(fd, LOOP_SET_FD, file) != 0) {
		close(fd);
		fd = -1;
	}
	close(control);
	close(file);
	return fd;
}

START_TEST(a_block_device_is_a_disk)
{
	char path[64];
	struct disk other;
	struct failure f = {0};
	uint64_t before;
	int loop;

	seed(MODEL_SEED);
	memset(&t, 0, sizeof(t));
	file_new();
	loop = loop_new(path, sizeof(path));
	if (loop < 0) {
		printf("disk: no loop device here: block devices not tested\n");
		file_free();
		return;
	}
	ck_assert_msg(open_config((struct disk_config){.path = path}, (unsigned)_i) == 0, "%s", t.failure.text);
	ck_assert_uint_eq(disk_backend(&t.disk)->bytes, BYTES);
	ck_assert_uint_eq(disk_backend(&t.disk)->block_bytes, 512);
	ck_assert(disk_backend(&t.disk)->discard);
	disk_open(&other, &(struct disk_config){.path = path, .num_queues = 1}, &f);
	ck_assert_int_eq(f.code, EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "readonly=on"));
	for (unsigned n = 0; n < TRIPS; n++)
		start(n);
	kick();
	wait_for(TRIPS);
	for (unsigned n = 0; n < TRIPS; n++)
		check(&t.trip[n]);
	ck_assert(run(BLK_FLUSH, 0, 0, false));
	file_must_be_the_model();
	before = held();
	ck_assert(run(BLK_DISCARD, 1 << 20, 1 << 20, false));
	ck_assert(run(BLK_FLUSH, 0, 0, false));
	ck_assert_uint_lt(held(), before);
	t.disk.no_punch = true; /* by its other name */
	ck_assert(run(BLK_DISCARD, 2 << 20, 1 << 20, false));
	ioctl(loop, LOOP_CLR_FD, 0);
	close(loop);
	file_free();
}
END_TEST

Suite *disk_suite(void)
{
	Suite *s = suite_create("disk");
	TCase *c = tcase_create("disk");

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, holds_what_a_model_holds, 0, 8);
	tcase_add_loop_test(c, many_steps_are_one_burst, 0, 2);
	tcase_add_loop_test(c, nothing_is_dirty_behind_a_flush, 0, 2);
	tcase_add_loop_test(c, discards_give_space_back, 0, 2);
	tcase_add_test(c, one_writer_or_many_readers);
	tcase_add_test(c, a_killed_writer_lets_go);
	tcase_add_loop_test(c, readonly_is_for_reading, 0, 4);
	tcase_add_test(c, what_is_no_disk_is_refused);
	tcase_add_loop_test(c, errors_are_told_once, 0, 2);
	tcase_add_loop_test(c, goes_on_behind_a_segment, 0, 2);
	tcase_add_test(c, a_full_host_is_an_error);
	tcase_add_test(c, a_ring_that_is_refused);
	tcase_add_test(c, the_ring_opens_nothing);
	tcase_add_loop_test(c, a_close_ends_what_is_in_flight, 0, 2);
	tcase_add_loop_test(c, a_block_device_is_a_disk, 0, 4);
	suite_add_tcase(s, c);
	return s;
}
