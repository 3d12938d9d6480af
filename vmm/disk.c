/* vmm/disk.c: a raw file or block device of the host, behind a virtio block device.
 *
 * What it is. It takes steps (devices/virtio_blk.h) and has the kernel move their
 * bytes between the guest's buffers and the file: the segments of a step are the
 * iovecs of the call. It keeps no cache and knows no image format.
 *
 * Ways. Each step goes one way, or, where the host refuses that, the next:
 *   data        READ(V), WRITE(V); what a short transfer left goes on behind it
 *   flush       fdatasync: what was written before is durable when it returns
 *   discard     PUNCH_HOLE; else BLKDISCARD on a block device; else nothing, for
 *               it is a hint
 *   zero        PUNCH_HOLE if the driver lets the space go; else ZERO_RANGE; else
 *               zeros are written
 * A call is made through io_uring, one submission and at most one wake-up a burst,
 * or plainly, within submit(), where io_uring is not to be had (kernels before 5.10,
 * containers, seccomp): decided at open, by trying, and told by disk_way(). Both run
 * the same code but for the call itself.
 *
 * The ring takes six operations on one file and nothing else: restrictions that no
 * later call can lift. Else whoever takes over slat could open and connect through
 * it, past seccomp. It is its own event descriptor: readable while something ended,
 * so there is none to read empty. What ends within submission (a page cache's
 * hit) is taken right there, without a wake-up.
 *
 * Invariants
 *   D1  each op is free, or holds a step that owner.done() was not called for;
 *       in_flight of them are in the ring: none without a ring;
 *   D2  the ring's completion queue has room for all ops: none is lost or put off;
 *   D3  a step of direct=on whose offset, lengths or addresses the host does not take
 *       goes through `bounce`, whole, within submit(): so two that share a block
 *       never read, change and write it at once;
 *   D4  with a ring, what is called plainly copies COPY_BYTES_MAX at most, and after one
 *       that took longer than SLOW_NS none does for SLOW_REST_NS.
 *
 * Locks. An open file description's, on all of the file: writers exclusive, readers
 * shared; it ends with the process. QEMU's locks are bytes in the same space, so
 * the two respect each other. A block device is opened with O_EXCL by its writer: one
 * that is mounted is refused.
 *
 * Cost. Per burst with io_uring: one io_uring_enter() to submit, one poll() and its
 * wake-up if something did not end at once. Plain: one call a step, and the lock of
 * the device is held meanwhile. Small writes to the page cache are plain calls always:
 * file systems would have the ring pass them to a thread, 19 us for 4 KiB instead of 5.
 * Memory. 32 bytes for each request that the queues could hold; the rings, some
 * 20 KiB a queue; with direct=on, BOUNCE_BYTES, touched when first used.
 *
 * Failure. What the host refuses while the guest runs is an I/O error for the guest
 * and a line on stderr, at most one a second. When the kernel has no memory to take
 * what is submitted, it is asked again until it has.
 *
 * Rejected. SQPOLL: a host CPU that spins for a guest that sleeps. Registered
 * buffers: they would pin all guest memory, which relocation and the balloon take
 * back. DEFER_TASKRUN: only one thread may submit then, and a reset comes from a
 * vCPU's. An eventfd bound to the ring: one more system call a burst, to read it. */
#include "vmm/disk_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/loop.h"
#include "vmm/sys.h"

#define SUBMIT_ENTRIES 256u /* of one submission; more is several */
#define CALL_BYTES_MAX (UINT64_C(1) << 30)
#define BOUNCE_BYTES   (UINT64_C(256) << 10)
#define BOUNCE_ALIGN   4096u
#define ZERO_BYTES     (UINT64_C(64) << 10)
#define COPY_BYTES_MAX (UINT64_C(64) << 10)
#define SLOW_NS	       UINT64_C(20000000) /* more than a busy scheduler takes away, less than a throttle's pause */
#define SLOW_REST_NS   UINT64_C(1000000000)
#define LINE_NS	       UINT64_C(1000000000)
#define NAP_NS	       5000000
#define RELEASE_TRIES  50u /* a ring holds its file for some milliseconds after its process was killed */
#define QCOW2_MAGIC    "QFI\xfb"
#define PUNCH	       (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO	       (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)

_Static_assert(sizeof(struct dma_segment) == sizeof(struct iovec) &&
		       offsetof(struct dma_segment, host) == offsetof(struct iovec, iov_base) &&
		       offsetof(struct dma_segment, bytes) == offsetof(struct iovec, iov_len),
	       "segments are iovecs");
_Static_assert(VIRTIO_BLK_SEGMENTS <= 1024, "UIO_MAXIOV");

static _Alignas(BOUNCE_ALIGN) uint8_t zeros[ZERO_BYTES]; /* never written to */

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void nap(void)
{
	const int error = errno;

	nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
	errno = error;
}

/* ---- errors while the guest runs ---- */

static const char *op_name(enum blk_op op)
{
	static const char *const names[] = {"read", "write", "flush", "discard", "zero"};

	return names[op];
}

static void tell(struct disk *d, const struct blk_step *s, int error)
{
	const uint64_t now = loop_now();

	d->stats.errors++;
	if (d->told_ns && now - d->told_ns < LINE_NS) {
		d->untold++;
		return;
	}
	fprintf(stderr, "slat: disk %s: cannot %s %" PRIu64 " bytes at %" PRIu64 ": %s; the guest gets an I/O error",
		d->path, op_name(s->op), s->bytes, s->offset, strerror(error));
	if (d->untold)
		fprintf(stderr, " (and %" PRIu64 " more since the last line)", d->untold);
	fputc('\n', stderr);
	d->told_ns = now;
	d->untold = 0;
}

/* ---- one call ---- */

struct call { /* of data */
	const struct iovec *iov;
	unsigned count;
	struct iovec one; /* iov NULL: this alone */
};

/* What is left of the step, from op->done on. The rest of a segment that was done in part goes alone. */
static struct call call_data(const struct disk_op *op)
{
	const struct dma_segment *s = op->step->segment;
	unsigned left = op->step->segments;
	uint64_t skip = op->done;

	for (; skip >= s->bytes; left--)
		skip -= s++->bytes;
	if (skip || left == 1)
		return (struct call){.one = {s->host + skip, min(s->bytes - skip, CALL_BYTES_MAX)}};
	return (struct call){.iov = (const struct iovec *)(const void *)s, .count = left};
}

static struct call call_zeros(const struct disk_op *op, const struct iovec *pieces)
{
	const uint64_t left = op->step->bytes - op->done;

	if (!pieces || left < ZERO_BYTES)
		return (struct call){.one = {zeros, min(left, ZERO_BYTES)}};
	return (struct call){.iov = pieces, .count = (unsigned)min(left / ZERO_BYTES, ZERO_PIECES)};
}

static ssize_t transfer(int fd, bool read, const struct call *c, off_t at)
{
	if (c->iov)
		return read ? preadv(fd, c->iov, (int)c->count, at) : pwritev(fd, c->iov, (int)c->count, at);
	return read ? pread(fd, c->one.iov_base, c->one.iov_len, at) : pwrite(fd, c->one.iov_base, c->one.iov_len, at);
}

/* As the ring would answer: bytes, or -errno. */
static int64_t op_call(const struct disk *d, const struct disk_op *op)
{
	const struct blk_step *s = op->step;
	const off_t at = (off_t)(s->offset + op->done);
	struct call c;
	ssize_t result = -1;

	switch (op->way) {
	case WAY_DATA:
	case WAY_ZEROS:
		c = op->way == WAY_DATA ? call_data(op) : call_zeros(op, NULL);
		result = transfer(d->fd, s->op == BLK_READ, &c, at);
		break;
	case WAY_FLUSH:
		result = fdatasync(d->fd);
		break;
	case WAY_PUNCH:
	case WAY_ZERO:
		result = fallocate(d->fd, op->way == WAY_PUNCH ? PUNCH : ZERO, at, (off_t)s->bytes);
		break;
	}
	return result < 0 ? -errno : result;
}

static void prepare_transfer(struct io_uring_sqe *sqe, bool read, const struct call *c, uint64_t at)
{
	if (c->iov && read)
		io_uring_prep_readv(sqe, 0, c->iov, c->count, at);
	else if (c->iov)
		io_uring_prep_writev(sqe, 0, c->iov, c->count, at);
	else if (read)
		io_uring_prep_read(sqe, 0, c->one.iov_base, (unsigned)c->one.iov_len, at);
	else
		io_uring_prep_write(sqe, 0, c->one.iov_base, (unsigned)c->one.iov_len, at);
}

/* File 0 of the ring is the disk. */
static void op_prepare(struct disk_uring *u, const struct disk_op *op, struct io_uring_sqe *sqe)
{
	const struct blk_step *s = op->step;
	const uint64_t at = s->offset + op->done;
	struct call c;

	switch (op->way) {
	case WAY_DATA:
	case WAY_ZEROS:
		c = op->way == WAY_DATA ? call_data(op) : call_zeros(op, u->zeros);
		prepare_transfer(sqe, s->op == BLK_READ, &c, at);
		break;
	case WAY_FLUSH:
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
		break;
	case WAY_PUNCH:
	case WAY_ZERO:
		io_uring_prep_fallocate(sqe, 0, op->way == WAY_PUNCH ? PUNCH : ZERO, (off_t)at, (off_t)s->bytes);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

/* ---- what came of it ---- */

enum outcome { OP_OK, OP_FAILED, OP_AGAIN };

static enum outcome op_failed(struct disk *d, const struct disk_op *op, int error)
{
	if (!d->closing)
		tell(d, op->step, error);
	return OP_FAILED;
}

/* A discard that the host does not do is done; a block device may know it by another name. */
static enum outcome discard_otherwise(struct disk *d, const struct disk_op *op)
{
	uint64_t range[] = {op->step->offset, op->step->bytes};

	if (!d->block_device || ioctl(d->fd, BLKDISCARD, range) == 0 || errno == EOPNOTSUPP || errno == EINVAL)
		return OP_OK;
	return op_failed(d, op, errno);
}

/* The host does not do it this way: never (so it says), or not for these bytes. */
static enum outcome op_refused(struct disk *d, struct disk_op *op, int error)
{
	bool *never = op->way == WAY_PUNCH ? &d->no_punch : &d->no_zero;

	if (op->way != WAY_PUNCH && op->way != WAY_ZERO)
		return op_failed(d, op, error);
	if (error != EINVAL)
		*never = true;
	if (op->step->op == BLK_DISCARD)
		return discard_otherwise(d, op);
	op->way = op->way == WAY_PUNCH && !d->no_zero ? WAY_ZERO : WAY_ZEROS;
	return OP_AGAIN;
}

static enum outcome op_moved(struct disk *d, struct disk_op *op, uint64_t bytes)
{
	if (!bytes) /* somebody else made the file shorter */
		return op_failed(d, op, EIO);
	op->done += bytes;
	if (op->done == op->step->bytes)
		return OP_OK;
	d->stats.continued++;
	return OP_AGAIN;
}

static enum outcome op_result(struct disk *d, struct disk_op *op, int64_t result)
{
	switch (-result) {
	case EINTR:
	case EAGAIN:
		return OP_AGAIN;
	case ECANCELED: /* the thread that submitted it is gone */
		return d->closing ? OP_FAILED : OP_AGAIN;
	case EOPNOTSUPP:
	case ENOSYS:
	case ENODEV:
	case EINVAL:
		return op_refused(d, op, (int)-result);
	default:
		break;
	}
	if (result < 0)
		return op_failed(d, op, (int)-result);
	return op->way == WAY_DATA || op->way == WAY_ZEROS ? op_moved(d, op, (uint64_t)result) : OP_OK;
}

/* ---- direct=on, and bytes that it does not take as they are ---- */

static bool aligned(const struct disk *d, const struct blk_step *s)
{
	if ((s->offset | s->bytes) & (d->offset_align - 1))
		return false;
	for (unsigned i = 0; i < s->segments; i++)
		if ((uintptr_t)s->segment[i].host & (d->memory_align - 1) ||
		    s->segment[i].bytes & (d->offset_align - 1))
			return false;
	return true;
}

static int whole(const struct disk *d, bool read, uint64_t at, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes;) {
		const struct call c = {.one = {d->bounce + done, bytes - done}};
		ssize_t n = transfer(d->fd, read, &c, (off_t)(at + done));

		if (n < 0 && errno != EINTR)
			return errno;
		if (n == 0)
			return EIO;
		done += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

struct cursor { /* in a step's segments */
	const struct dma_segment *segment;
	uint64_t at;
};

static void copy(struct cursor *c, bool to_guest, uint8_t *buffer, uint64_t bytes)
{
	while (bytes) {
		uint64_t n = min(bytes, c->segment->bytes - c->at);
		uint8_t *guest = c->segment->host + c->at;

		memcpy(to_guest ? guest : buffer, to_guest ? buffer : guest, n);
		buffer += n;
		bytes -= n;
		c->at += n;
		if (c->at == c->segment->bytes)
			*c = (struct cursor){c->segment + 1, 0};
	}
}

static int bounce_piece(struct disk *d, const struct blk_step *s, struct cursor *c, uint64_t from, uint64_t end)
{
	const uint64_t first = from & ~(d->offset_align - 1);
	const uint64_t last = (end + d->offset_align - 1) & ~(d->offset_align - 1);
	int error = 0;

	if (s->op == BLK_READ || from != first || end != last)
		error = whole(d, true, first, last - first);
	if (error)
		return error;
	if (s->op == BLK_ZERO)
		memset(d->bounce + (from - first), 0, end - from);
	else
		copy(c, s->op == BLK_READ, d->bounce + (from - first), end - from);
	return s->op == BLK_READ ? 0 : whole(d, false, first, last - first);
}

static bool bounce(struct disk *d, const struct blk_step *s)
{
	struct cursor c = {s->segment, 0};
	uint64_t end = s->offset + s->bytes;

	d->stats.bounced++;
	for (uint64_t at = s->offset, next; at < end; at = next) {
		int error;

		next = min(end, (at & ~(d->offset_align - 1)) + BOUNCE_BYTES);
		error = bounce_piece(d, s, &c, at, next);
		if (error) {
			tell(d, s, error);
			return false;
		}
	}
	return true;
}

static bool must_bounce(const struct disk *d, const struct disk_op *op)
{
	return d->direct && (op->way == WAY_DATA || op->way == WAY_ZEROS) && !aligned(d, op->step);
}

/* ---- ops ---- */

static enum way first_way(const struct disk *d, const struct blk_step *s)
{
	switch (s->op) {
	case BLK_READ:
	case BLK_WRITE:
		return WAY_DATA;
	case BLK_FLUSH:
		return WAY_FLUSH;
	case BLK_DISCARD:
		return WAY_PUNCH;
	case BLK_ZERO:
		break;
	}
	if (s->unmap && !d->no_punch)
		return WAY_PUNCH;
	return d->no_zero ? WAY_ZEROS : WAY_ZERO;
}

static struct disk_op *op_new(struct disk *d, struct blk_step *step)
{
	struct disk_op *op = d->free;

	MM_ASSERT(op, d->in_flight, 0);
	d->free = op->next;
	*op = (struct disk_op){.step = step, .way = first_way(d, step)};
	return op;
}

static void op_end(struct disk *d, struct disk_op *op, bool ok)
{
	struct blk_step *step = op->step;

	op->next = d->free;
	d->free = op;
	if (!d->closing)
		d->owner.done(d->owner.self, step, ok);
}

/* The host takes none of what is queued, and never will: it is as if it had failed. */
static void ring_refused(struct disk *d, int error)
{
	struct io_uring_sq *sq = &d->uring->ring.sq;
	const unsigned head = *sq->khead, tail = sq->sqe_tail;
	struct disk_op *all = NULL;

	for (unsigned at = tail; at != head; at--) {
		struct disk_op *op = (struct disk_op *)(uintptr_t)sq->sqes[(at - 1) & sq->ring_mask].user_data;

		op->next = all;
		all = op;
	}
	d->in_flight -= tail - head;
	*sq->ktail = sq->sqe_head = sq->sqe_tail = head; /* no thread of the kernel's looks at it */
	while (all) {
		struct disk_op *op = all;

		all = op->next;
		op_end(d, op, op_failed(d, op, error) == OP_OK);
	}
}

/* The kernel has all that was queued, or it has failed. */
static void ring_submit(struct disk *d)
{
	struct io_uring *ring = &d->uring->ring;

	while (io_uring_sq_ready(ring)) {
		int result = io_uring_submit(ring);

		if (result >= 0 || result == -EINTR)
			continue;
		if (result == -EAGAIN || result == -EBUSY || result == -ENOMEM)
			nap();
		else
			ring_refused(d, -result);
	}
}

static void ring_queue(struct disk *d, struct disk_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&d->uring->ring);

	if (!sqe) {
		ring_submit(d);
		sqe = io_uring_get_sqe(&d->uring->ring);
	}
	MM_ASSERT(sqe, d->in_flight, 0);
	op_prepare(d->uring, op, sqe);
	io_uring_sqe_set_data(sqe, op);
}

/* Into the page cache, a write of some pages is a copy: that takes less than to wake a thread of the kernel's, which is
 * where the ring would have it done. Unless the host throttles those who write (D4). */
static bool better_plain(const struct disk *d, const struct disk_op *op, uint64_t now)
{
	return op->step->op == BLK_WRITE && !d->direct && op->step->bytes <= COPY_BYTES_MAX && now >= d->slow_until_ns;
}

static enum outcome op_plain(struct disk *d, struct disk_op *op, uint64_t now)
{
	enum outcome o = op_result(d, op, op_call(d, op));

	if (d->uring && loop_now() - now > SLOW_NS)
		d->slow_until_ns = now + SLOW_REST_NS;
	return o;
}

/* Sets it off: through the ring, or within. */
static void op_go(struct disk *d, struct disk_op *op)
{
	const uint64_t now = d->uring && op->step->op == BLK_WRITE ? loop_now() : 0;
	enum outcome o = OP_AGAIN;

	while (o == OP_AGAIN) {
		if (must_bounce(d, op)) {
			o = bounce(d, op->step) ? OP_OK : OP_FAILED;
		} else if (d->uring && !better_plain(d, op, now)) {
			d->in_flight++;
			ring_queue(d, op);
			return;
		} else {
			o = op_plain(d, op, now);
		}
	}
	op_end(d, op, o == OP_OK);
}

static void ring_reap(struct disk *d)
{
	struct io_uring *ring = &d->uring->ring;
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(ring, &cqe) == 0) {
		struct disk_op *op = io_uring_cqe_get_data(cqe);
		int result = cqe->res;
		enum outcome o;

		io_uring_cqe_seen(ring, cqe);
		d->in_flight--;
		o = op_result(d, op, result);
		if (o == OP_AGAIN)
			op_go(d, op);
		else
			op_end(d, op, o == OP_OK);
	}
}

/* ---- the backend ---- */

static void disk_submit(void *self, struct blk_step *step)
{
	struct disk *d = self;

	if (step->op == BLK_FLUSH && d->readonly)
		d->owner.done(d->owner.self, step, true);
	else
		op_go(d, op_new(d, step));
}

static void disk_kick(void *self)
{
	struct disk *d = self;

	ring_submit(d);
	ring_reap(d);
	ring_submit(d);
}

static void disk_drain(void *self)
{
	struct disk *d = self;
	struct io_uring_cqe *cqe;

	while (d->in_flight) {
		ring_submit(d);
		if (io_uring_wait_cqe(&d->uring->ring, &cqe) == 0)
			ring_reap(d);
	}
}

void disk_ready(struct disk *d)
{
	ring_reap(d);
	d->owner.completed(d->owner.self);
	ring_submit(d);
}

/* ---- opening ---- */

/* Before it is opened: a FIFO would wait for its other end. */
static int check_kind(struct disk *d, struct failure *f)
{
	struct stat s;

	if (stat(d->path, &s) != 0)
		return fail(f, EXIT_HOST, "--disk path=%s: %s%s", d->path, strerror(errno),
			    errno == ENOENT ? "; make one of 1 GiB by: truncate -s 1G FILE" : "");
	d->block_device = S_ISBLK(s.st_mode);
	if (S_ISREG(s.st_mode) || d->block_device)
		return 0;
	return fail(f, EXIT_HOST, "--disk path=%s is %s; it takes a raw image or a block device", d->path,
		    S_ISDIR(s.st_mode)	  ? "a directory"
		    : S_ISFIFO(s.st_mode) ? "a pipe"
		    : S_ISCHR(s.st_mode)  ? "a character device"
					  : "a socket");
}

static int refuse_open(const struct disk *d, int error, struct failure *f)
{
	const char *help = "";

	if (!d->readonly && (error == EACCES || error == EPERM || error == EROFS || error == ETXTBSY))
		help = "; to write to it you need the right, to read it readonly=on will do";
	else if (error == EBUSY)
		help = "; it is mounted, or another program's: unmount it, or use readonly=on";
	else if (error == EINVAL && d->direct)
		help = "; its file system may not know direct=on: use direct=off";
	return fail(f, EXIT_HOST, "cannot open --disk path=%s: %s%s", d->path, strerror(error), help);
}

static int open_file(struct disk *d, struct failure *f)
{
	int flags = O_CLOEXEC | (d->readonly ? O_RDONLY : O_RDWR) | (d->direct ? O_DIRECT : 0);

	if (d->block_device && !d->readonly)
		flags |= O_EXCL;
	for (unsigned tries = 0; tries < RELEASE_TRIES; tries++, nap()) {
		d->fd = open(d->path, flags);
		if (d->fd >= 0)
			return 0;
		if (errno != EBUSY)
			break;
	}
	return refuse_open(d, errno, f);
}

static int lock(struct disk *d, struct failure *f)
{
	struct flock all = {.l_type = d->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

	for (unsigned tries = 0; tries < RELEASE_TRIES; tries++, nap()) {
		d->locked = fcntl(d->fd, F_OFD_SETLK, &all) == 0;
		if (d->locked || (errno != EAGAIN && errno != EACCES))
			return 0; /* a file system without locks: nobody else could have one either */
	}
	return fail(f, EXIT_HOST, "--disk path=%s: another program %s; end that one first%s", d->path,
		    d->readonly ? "writes to it" : "has it open",
		    d->readonly ? "" : ", or, to share it, give all of them readonly=on");
}

static int read_size(struct disk *d, struct failure *f)
{
	struct stat s;
	uint64_t bytes = 0;

	if (fstat(d->fd, &s) != 0 || (d->block_device && ioctl(d->fd, BLKGETSIZE64, &bytes) != 0))
		return fail(f, EXIT_HOST, "cannot read the size of --disk path=%s: %s", d->path, strerror(errno));
	d->backend.bytes = d->block_device ? bytes : (uint64_t)s.st_size;
	if (!d->backend.bytes)
		return fail(f, EXIT_HOST, "--disk path=%s is empty; %s", d->path,
			    d->block_device ? "is there a medium?" : "give it a size: truncate -s 1G FILE");
	if (d->backend.bytes % VIRTIO_BLK_SECTOR)
		return fail(f, EXIT_HOST,
			    "--disk path=%s has %" PRIu64
			    " bytes, and a disk has sectors of %u; pad it: truncate -s %%%u %s",
			    d->path, d->backend.bytes, VIRTIO_BLK_SECTOR, VIRTIO_BLK_SECTOR, d->path);
	return 0;
}

/* The size of its blocks: 512 for a file, unless direct=on wants more. */
static int read_blocks(struct disk *d, struct failure *f)
{
	struct statx x = {0};
	int sector = VIRTIO_BLK_SECTOR;

	if (d->block_device && ioctl(d->fd, BLKSSZGET, &sector) != 0)
		return fail(f, EXIT_HOST, "cannot read the sector size of --disk path=%s: %s", d->path,
			    strerror(errno));
	d->memory_align = d->offset_align = d->block_device ? (uint64_t)sector : BOUNCE_ALIGN; /* before 6.1 */
	if (statx(d->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 && x.stx_dio_offset_align) {
		d->memory_align = x.stx_dio_mem_align;
		d->offset_align = x.stx_dio_offset_align;
	}
	if (d->direct && d->offset_align > (uint64_t)sector)
		sector = (int)d->offset_align;
	d->backend.block_bytes = (uint32_t)min((uint64_t)sector, 4096);
	if (d->direct && d->backend.bytes % d->offset_align)
		return fail(f, EXIT_HOST,
			    "--disk path=%s has %" PRIu64 " bytes; direct=on takes multiples of %" PRIu64
			    " here: truncate -s %%%" PRIu64 " %s, or use direct=off",
			    d->path, d->backend.bytes, d->offset_align, d->offset_align, d->path);
	return 0;
}

/* A guest would see its bytes as they are, and believe the disk is empty. */
static int check_format(struct disk *d, struct failure *f)
{
	_Alignas(BOUNCE_ALIGN) char head[BOUNCE_ALIGN];

	if (pread(d->fd, head, sizeof(head), 0) >= 4 && memcmp(head, QCOW2_MAGIC, 4) == 0)
		return fail(f, EXIT_HOST,
			    "--disk path=%s is a qcow2 image, and only raw ones are taken: qemu-img convert -O raw %s "
			    "FILE",
			    d->path, d->path);
	return 0;
}

static bool can_discard(const struct disk *d)
{
	char path[96];
	uint64_t max = 0;
	struct stat s;

	if (!d->block_device)
		return true;
	if (fstat(d->fd, &s) != 0)
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/discard_max_bytes", major(s.st_rdev),
		 minor(s.st_rdev));
	if (!sys_number(path, &max)) { /* a partition's are its disk's */
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../queue/discard_max_bytes", major(s.st_rdev),
			 minor(s.st_rdev));
		sys_number(path, &max);
	}
	return max > 0;
}

/* Nothing but this, ever (see the top). */
static int ring_restrict(struct io_uring *ring)
{
	static const uint8_t ops[] = {IORING_OP_READ,	IORING_OP_READV, IORING_OP_WRITE,
				      IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};
	struct io_uring_restriction r[sizeof(ops) + 2] = {
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_UNREGISTER_FILES}};

	for (size_t i = 0; i < sizeof(ops); i++)
		r[2 + i] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = ops[i]};
	return io_uring_register_restrictions(ring, r, sizeof(ops) + 2);
}

static int ring_setup(struct io_uring *ring, unsigned ops)
{
	struct io_uring_params p = {.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN,
				    .cq_entries = ops};
	int error = io_uring_queue_init_params(SUBMIT_ENTRIES, ring, &p);

	if (error != -EINVAL)
		return error;
	p = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE, .cq_entries = ops};
	return io_uring_queue_init_params(SUBMIT_ENTRIES, ring, &p); /* before 5.19 */
}

/* Without one, all goes by plain calls. */
static void ring_open(struct disk *d, unsigned ops)
{
	struct disk_uring *u = calloc(1, sizeof(*u));
	int error = u ? ring_setup(&u->ring, ops) : -ENOMEM;

	if (error < 0) {
		free(u);
		d->uring_error = -error;
		return;
	}
	if ((error = io_uring_register_files(&u->ring, &d->fd, 1)) < 0 || (error = ring_restrict(&u->ring)) < 0 ||
	    (error = io_uring_enable_rings(&u->ring)) < 0) {
		io_uring_queue_exit(&u->ring);
		free(u);
		d->uring_error = -error;
		return;
	}
	for (unsigned i = 0; i < ZERO_PIECES; i++)
		u->zeros[i] = (struct iovec){zeros, ZERO_BYTES};
	d->uring = u;
}

static int open_ops(struct disk *d, unsigned ops, struct failure *f)
{
	d->op = calloc(ops, sizeof(*d->op));
	d->bounce = d->direct ? aligned_alloc(BOUNCE_ALIGN, BOUNCE_BYTES) : NULL;
	if (!d->op || (d->direct && !d->bounce))
		return fail(f, EXIT_HOST, "no memory for the requests of --disk path=%s", d->path);
	for (unsigned i = ops; i--;) {
		d->op[i].next = d->free;
		d->free = &d->op[i];
	}
	return 0;
}

static void fill_backend(struct disk *d, const struct disk_config *c)
{
	struct blk_backend *b = &d->backend;

	b->self = d;
	b->readonly = d->readonly;
	b->discard = !d->readonly && can_discard(d);
	b->zero = !d->readonly;
	b->submit = disk_submit;
	b->kick = d->uring ? disk_kick : NULL;
	b->drain = disk_drain;
	if (c->serial)
		memcpy(b->serial, c->serial, strlen(c->serial));
}

int disk_open(struct disk *d, const struct disk_config *config, struct failure *f)
{
	const unsigned ops = config->num_queues * VIRTIO_BLK_QUEUE_SIZE;

	MM_ASSERT(config->num_queues && config->num_queues <= VIRTIO_BLK_QUEUES_MAX, config->num_queues, 0);
	MM_ASSERT(!config->serial || strlen(config->serial) <= VIRTIO_BLK_ID_BYTES, config->serial, 0);
	*d = (struct disk){.path = config->path, .fd = -1, .readonly = config->readonly, .direct = config->direct};
	if (check_kind(d, f) || open_file(d, f) || lock(d, f) || read_size(d, f) || read_blocks(d, f) ||
	    check_format(d, f) || open_ops(d, ops, f)) {
		disk_close(d);
		return f->code;
	}
	ring_open(d, ops);
	fill_backend(d, config);
	return 0;
}

void disk_close(struct disk *d)
{
	d->closing = true;
	if (d->uring) {
		disk_drain(d);
		/* The ring lives a little longer than this, and would keep the lock. */
		io_uring_unregister_files(&d->uring->ring);
		io_uring_queue_exit(&d->uring->ring);
	}
	free(d->uring);
	free(d->op);
	free(d->bounce);
	if (d->fd >= 0)
		close(d->fd);
	*d = (struct disk){.fd = -1};
}

bool disk_is(const struct disk *d, const struct stat *s)
{
	struct stat own;

	if (d->fd < 0 || fstat(d->fd, &own) != 0 || (own.st_mode & S_IFMT) != (s->st_mode & S_IFMT))
		return false;
	return d->block_device ? own.st_rdev == s->st_rdev : own.st_dev == s->st_dev && own.st_ino == s->st_ino;
}

const struct blk_backend *disk_backend(const struct disk *d)
{
	return &d->backend;
}

/* ---- a device and its worker ---- */

void disk_set_owner(struct disk *d, struct disk_owner owner)
{
	d->owner = owner;
}

int disk_wait_fd(const struct disk *d)
{
	return d->uring ? d->uring->ring.ring_fd : -1;
}

static void blk_done(void *self, struct blk_step *step, bool ok)
{
	virtio_blk_done(self, step, ok);
}

static void blk_completed(void *self)
{
	virtio_blk_completed(self);
}

static void worker_ready(void *self, unsigned index, short revents)
{
	(void)index;
	(void)revents;
	disk_ready(self);
}

/* What has ended first: it makes room. */
static bool worker_poll(void *self, bool last)
{
	struct disk *d = self;
	bool ended = d->uring && io_uring_cq_ready(&d->uring->ring) > 0;

	if (ended)
		disk_ready(d);
	return virtio_blk_poll(d->owner.self, last) || ended;
}

void disk_attach(struct disk *d, struct worker *w, struct virtio_blk *b)
{
	disk_set_owner(d, (struct disk_owner){b, blk_done, blk_completed});
	if (d->uring)
		worker_add(w, disk_wait_fd(d), POLLIN, d, 0, worker_ready);
	w->poll = worker_poll;
	w->poll_self = d;
}

const char *disk_way(const struct disk *d)
{
	return d->uring ? "io_uring" : "preadv";
}
