/* vmm/pack/trace_writer.c
 *
 * What it is. The inverse of trace_events.c: what was written reads as the same
 * events, field for field. A guest's name is his number: of those that are there it is
 * nobody else's, and the reader, seeing the same arrivals and departures, gives out
 * the same numbers, if they were given out as live_table.h says.
 *
 * Words. The file is what the user named; the draft is what is written: a new file
 * beside it, which takes its name once it is whole and on the disk. Where the file is
 * no regular one (a pipe, /dev/stdout) there is nothing to keep, and the draft is it.
 *
 * The text of an event depends on nothing but the event. Gzip's bytes depend on the
 * zlib, too; its header has no time and no name in it.
 *
 * Failure. The first one sticks: what comes after it changes nothing, and the draft is
 * removed. A process that is killed leaves a draft, FILE.XXXXXX, never half a FILE.
 *
 * Rejected. O_TMPFILE: linkat() does not replace what is there. */
#include "vmm/pack/trace_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/pack/decimal.h"
#include "vmm/pack/libz.h"

#define TEXT_BYTES   65536u
#define PACKED_BYTES 65536u
#define EVENT_BYTES  256u /* of a line: nine numbers of up to 20 digits, and the words */
#define SECOND	     UINT64_C(1000000)
#define MEMORY_LEVEL 9 /* deflate's: the most memory, the most speed */

static const char draft_ending[] = ".XXXXXX";

struct trace_writer {
	struct alloc alloc;
	int fd;
	bool gzip;
	struct libz z;
	z_stream stream;
	char *text; /* [0, used): not yet written */
	size_t used;
	unsigned char *packed;
	char *draft; /* NULL: the file itself is written to */
	char path[];
};

static int cannot_write(const struct trace_writer *w, struct failure *f)
{
	return fail(f, EXIT_HOST, "cannot write the trace %s: %s", w->path, strerror(errno));
}

static int no_memory(const char *path, struct failure *f)
{
	return fail(f, EXIT_HOST, "no memory to write %s", path);
}

/* ---- bytes ---- */

static int write_all(struct trace_writer *w, const void *bytes, size_t size, struct failure *f)
{
	const char *at = bytes;

	while (size && !f->code) {
		ssize_t wrote = write(w->fd, at, size);

		if (wrote < 0 && errno != EINTR)
			return cannot_write(w, f);
		at += wrote > 0 ? wrote : 0;
		size -= wrote > 0 ? (size_t)wrote : 0;
	}
	return f->code;
}

static int pack(struct trace_writer *w, int flush, struct failure *f)
{
	z_stream *s = &w->stream;
	int code;

	s->next_in = (unsigned char *)w->text;
	s->avail_in = (unsigned)w->used;
	do {
		s->next_out = w->packed;
		s->avail_out = PACKED_BYTES;
		code = w->z.deflate(s, flush);
		if (write_all(w, w->packed, PACKED_BYTES - s->avail_out, f))
			return f->code;
	} while (s->avail_out == 0 || (flush == Z_FINISH && code == Z_OK));
	return 0;
}

static int flush_text(struct trace_writer *w, bool last, struct failure *f)
{
	if (w->gzip)
		pack(w, last ? Z_FINISH : Z_NO_FLUSH, f);
	else
		write_all(w, w->text, w->used, f);
	w->used = 0;
	return f->code;
}

/* ---- an event's text; room for EVENT_BYTES is there ---- */

static void put_text(struct trace_writer *w, const char *text)
{
	const size_t length = strlen(text);

	memcpy(w->text + w->used, text, length);
	w->used += length;
}

static void put_number(struct trace_writer *w, uint64_t value, uint64_t scale)
{
	w->used += decimal_format(value, scale, w->text + w->used);
}

static void put_arrival(struct trace_writer *w, const struct event *e)
{
	put_number(w, e->cpu_millis, EVENT_CPU_ONE);
	put_text(w, ",");
	put_number(w, e->size, 1);
	put_text(w, ",");
	if (e->node != EVENT_NODE_ANY)
		put_number(w, e->node, 1);
	put_text(w, e->pinned ? ",1," : ",0,");
	put_text(w, e->movable ? "1," : "0,");
	if (e->life_us != EVENT_LIFE_UNKNOWN)
		put_number(w, e->life_us, SECOND);
}

int trace_writer_add(struct trace_writer *w, const struct event *e, struct failure *f)
{
	if (f->code || (TEXT_BYTES - w->used < EVENT_BYTES && flush_text(w, false, f)))
		return f->code;
	put_number(w, e->time_us, SECOND);
	put_text(w, e->kind == EVENT_ARRIVE ? ",arrive," : ",depart,");
	put_number(w, e->guest, 1);
	put_text(w, ",");
	if (e->kind == EVENT_ARRIVE)
		put_arrival(w, e);
	else
		put_text(w, ",,,,,");
	put_text(w, "\n");
	return 0;
}

/* ---- opening and closing ---- */

static bool is_regular_or_absent(const char *path)
{
	struct stat s;

	return stat(path, &s) ? errno == ENOENT : S_ISREG(s.st_mode);
}

/* A new file has the rights that open() would have given it, not mkstemp()'s. */
static int open_draft(struct trace_writer *w, struct failure *f)
{
	const size_t length = strlen(w->path);
	mode_t mask;

	w->draft = alloc_resize(&w->alloc, NULL, length + sizeof(draft_ending), 1);
	if (!w->draft)
		return no_memory(w->path, f);
	memcpy(w->draft, w->path, length);
	memcpy(w->draft + length, draft_ending, sizeof(draft_ending));
	w->fd = mkostemp(w->draft, O_CLOEXEC);
	if (w->fd < 0) {
		cannot_write(w, f);
		free(w->draft);
		w->draft = NULL;
		return f->code;
	}
	mask = umask(0);
	umask(mask);
	return fchmod(w->fd, 0666 & ~mask) ? cannot_write(w, f) : 0;
}

static int open_file(struct trace_writer *w, struct failure *f)
{
	if (strcmp(w->path, "-") == 0)
		w->fd = STDOUT_FILENO;
	else if (is_regular_or_absent(w->path))
		return open_draft(w, f);
	else
		w->fd = open(w->path, O_WRONLY | O_CLOEXEC);
	return w->fd < 0 ? cannot_write(w, f) : 0;
}

static void *z_get(void *self, unsigned count, unsigned bytes)
{
	return alloc_zeroed(self, count, bytes);
}

static void z_put(void *self, void *memory)
{
	(void)self;
	free(memory);
}

static int start_gzip(struct trace_writer *w, struct failure *f)
{
	if (libz_open(&w->z, LIBZ_SONAME, f))
		return f->code;
	w->packed = alloc_resize(&w->alloc, NULL, PACKED_BYTES, 1);
	w->stream = (z_stream){.zalloc = z_get, .zfree = z_put, .opaque = &w->alloc};
	if (!w->packed || w->z.deflate_init(&w->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, LIBZ_GZIP, MEMORY_LEVEL,
					    Z_DEFAULT_STRATEGY, ZLIB_VERSION, (int)sizeof(w->stream)) != Z_OK)
		return no_memory(w->path, f);
	w->gzip = true;
	return 0;
}

static int start(struct trace_writer *w, bool bytes, struct failure *f)
{
	const size_t length = strlen(w->path);

	w->text = alloc_resize(&w->alloc, NULL, TEXT_BYTES, 1);
	if (!w->text)
		return no_memory(w->path, f);
	if (length > 3 && strcmp(w->path + length - 3, ".gz") == 0 && start_gzip(w, f))
		return f->code;
	put_text(w, "time_s,event,vm_id,cpu,");
	put_text(w, bytes ? "size_bytes" : "size");
	put_text(w, ",node,pinned,movable,life_s\n");
	return open_file(w, f);
}

struct trace_writer *trace_writer_open(const char *path, const struct trace_writer_options *options, struct failure *f)
{
	struct alloc alloc = {options->fail_after};
	struct trace_writer *w = alloc_zeroed(&alloc, 1, sizeof(*w) + strlen(path) + 1);

	if (!w) {
		no_memory(path, f);
		return NULL;
	}
	w->alloc = alloc;
	w->fd = -1;
	memcpy(w->path, path, strlen(path) + 1);
	if (start(w, options->bytes, f)) {
		trace_writer_abandon(w);
		return NULL;
	}
	return w;
}

void trace_writer_abandon(struct trace_writer *w)
{
	if (!w)
		return;
	if (w->fd > STDOUT_FILENO)
		close(w->fd);
	if (w->draft)
		unlink(w->draft);
	if (w->gzip)
		w->z.deflate_end(&w->stream);
	libz_close(&w->z);
	free(w->draft);
	free(w->packed);
	free(w->text);
	free(w);
}

int trace_writer_close(struct trace_writer *w, struct failure *f)
{
	flush_text(w, true, f);
	if (!f->code && w->draft && (fsync(w->fd) || rename(w->draft, w->path)))
		cannot_write(w, f);
	if (!f->code && w->draft) {
		free(w->draft);
		w->draft = NULL;
	}
	trace_writer_abandon(w);
	return f->code;
}
