/* vmm/pack/trace_writer.c
 *
 * What it is. The inverse of trace_events.c: what was written reads as the same
 * events, field for field. A guest's name is his number: of those that are there it is
 * nobody else's, and the reader, seeing the same arrivals and departures, gives out
 * the same numbers, if they were given out as live_table.h says.
 *
 * The text of an event depends on nothing but the event. Gzip's bytes depend on the
 * zlib, too; its header has no time and no name in it.
 *
 * Failure. The first one sticks: what comes after it changes nothing, and the file is as
 * it was (draft.h). */
#include "vmm/pack/trace_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "vmm/pack/decimal.h"
#include "vmm/pack/draft.h"
#include "vmm/pack/libz.h"

#define TEXT_BYTES   65536u
#define PACKED_BYTES 65536u
#define EVENT_BYTES  256u /* of a line: nine numbers of up to 20 digits, and the words */
#define SECOND	     UINT64_C(1000000)
#define MEMORY_LEVEL 9 /* deflate's: the most memory, the most speed */

struct trace_writer {
	struct alloc alloc;
	struct draft draft;
	bool gzip;
	struct libz z;
	z_stream stream;
	char *text; /* [0, used): not yet written */
	size_t used;
	unsigned char *packed;
	char path[];
};

static int cannot_write(const struct trace_writer *w, struct failure *f)
{
	return fail(f, EXIT_HOST, "%s cannot be written: %s", w->path, strerror(errno));
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
		ssize_t wrote = write(w->draft.fd, at, size);

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
	return draft_open(&w->draft, w->path, &w->alloc, f);
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
	w->draft.fd = -1;
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
	draft_drop(&w->draft);
	if (w->gzip)
		w->z.deflate_end(&w->stream);
	libz_close(&w->z);
	free(w->packed);
	free(w->text);
	free(w);
}

int trace_writer_close(struct trace_writer *w, struct failure *f)
{
	flush_text(w, true, f);
	if (!f->code)
		(void)draft_keep(&w->draft, f);
	trace_writer_abandon(w);
	return f->code;
}
