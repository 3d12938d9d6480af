/* vmm/pack/lines.c
 *
 * What it is. One buffer that is filled by read() or by inflate(), and searched for
 * ends of lines. It is no reader of CSV: a quote means nothing here, so that one bad
 * line never swallows those behind it.
 *
 * Words. The input is the bytes of the file; where it is gzip they are unpacked into
 * the buffer, else the buffer is read directly, but for the first bytes, which are
 * looked at. A member is one gzip stream: a file may be several, one behind the other.
 *
 * Invariants: at <= filled <= BUFFER_BYTES; what is in [at, filled) has not been
 * given; in_stream iff a member has begun and not ended.
 *
 * Cost. Each byte is read, searched and, where a line crosses the end of the
 * buffer, moved: at most LINES_MAX of BUFFER_BYTES. Memory: both buffers, and some
 * 40 KiB of zlib's own, however long the file is.
 *
 * Failure. A member that the file ends in is a failure even if the caller skips
 * what is bad: the rest of the trace is not there. Bytes behind the last member that
 * begin no other are for the owner to judge: gzip(1) ignores them.
 *
 * Rejected. mmap(): no pipes, and a file cut while it is read would be a signal.
 * gzread(): it takes a truncated file's end for the end, unless one asks again. */
#include "vmm/pack/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (4u * LINES_MAX)
#define INPUT_BYTES  65536u

static const char mark[3] = "\xef\xbb\xbf"; /* of byte order, in UTF-8 */

/* Like read(), but whole: 0 is the end only. */
static ssize_t read_some(struct lines *l, void *to, size_t bytes, struct failure *f)
{
	ssize_t got;

	do
		got = read(l->fd, to, bytes);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		fail(f, EXIT_HOST, "cannot read %s: %s", l->name, strerror(errno));
	return got;
}

static int fill_input(struct lines *l, struct failure *f)
{
	ssize_t got;

	if (l->input_at == l->input_filled)
		l->input_at = l->input_filled = 0;
	got = read_some(l, l->input + l->input_filled, INPUT_BYTES - l->input_filled, f);
	if (got > 0)
		l->input_filled += (size_t)got;
	l->end = got == 0;
	return f->code;
}

/* ---- gzip ---- */

static void *z_get(void *self, unsigned count, unsigned bytes)
{
	return alloc_zeroed(self, count, bytes);
}

static void z_put(void *self, void *memory)
{
	(void)self;
	free(memory);
}

static int start_gzip(struct lines *l, struct failure *f)
{
	if (libz_open(&l->z, LIBZ_SONAME, f))
		return f->code;
	l->stream = (z_stream){.zalloc = z_get, .zfree = z_put, .opaque = l->alloc};
	if (l->z.inflate_init(&l->stream, LIBZ_GZIP, ZLIB_VERSION, (int)sizeof(l->stream)) != Z_OK)
		return fail(f, EXIT_HOST, "no memory to unpack %s", l->name);
	l->gzip = l->in_stream = true;
	return 0;
}

static bool at_magic(const struct lines *l)
{
	return l->input_filled - l->input_at >= 2 && l->input[l->input_at] == LIBZ_MAGIC_0 &&
	       l->input[l->input_at + 1] == LIBZ_MAGIC_1;
}

/* Behind a member: another one, the end, or what is neither. */
static int next_member(struct lines *l, struct failure *f)
{
	while (l->input_filled - l->input_at < 2 && !l->end) {
		memmove(l->input, l->input + l->input_at, l->input_filled - l->input_at);
		l->input_filled -= l->input_at;
		l->input_at = 0;
		if (fill_input(l, f))
			return f->code;
	}
	if (l->input_at == l->input_filled)
		return 0;
	if (at_magic(l)) {
		l->in_stream = l->z.inflate_reset(&l->stream) == Z_OK;
		return 0;
	}
	l->end = l->trailing = true;
	l->input_at = l->input_filled;
	if (!l->skip_trailing)
		return fail(f, EXIT_IMAGE, "%s: behind the gzip stream lie bytes that are none", l->name);
	return 0;
}

static int unpack(struct lines *l, struct failure *f)
{
	z_stream *s = &l->stream;
	int code;

	if (l->input_at == l->input_filled && !l->end && fill_input(l, f))
		return f->code;
	s->next_in = l->input + l->input_at;
	s->avail_in = (unsigned)(l->input_filled - l->input_at);
	s->next_out = (unsigned char *)l->buffer + l->filled;
	s->avail_out = (unsigned)(BUFFER_BYTES - l->filled);
	code = l->z.inflate(s, Z_NO_FLUSH);
	l->input_at = l->input_filled - s->avail_in;
	l->filled = BUFFER_BYTES - s->avail_out;
	if (code == Z_STREAM_END) {
		l->in_stream = false;
		return 0;
	}
	if (code == Z_MEM_ERROR)
		return fail(f, EXIT_HOST, "no memory to unpack %s", l->name);
	if (code != Z_OK && code != Z_BUF_ERROR)
		return fail(f, EXIT_IMAGE, "%s: the gzip stream is damaged: %s", l->name, s->msg ? s->msg : "its form");
	if (l->end && l->input_at == l->input_filled && s->avail_out)
		return fail(f, EXIT_IMAGE, "%s: the gzip stream is cut short: the rest of the trace is missing",
			    l->name);
	return 0;
}

/* ---- the buffer ---- */

/* Puts at least a byte into the buffer, which has room, or finds that there is none. */
static int fill(struct lines *l, struct failure *f)
{
	const size_t before = l->filled, left = l->input_filled - l->input_at;
	ssize_t got;

	if (!l->gzip && left) {
		memcpy(l->buffer + l->filled, l->input + l->input_at, left);
		l->filled += left;
		l->input_at = l->input_filled;
		return 0;
	}
	if (!l->gzip) {
		got = read_some(l, l->buffer + l->filled, BUFFER_BYTES - l->filled, f);
		l->filled += got > 0 ? (size_t)got : 0;
		l->end = got == 0;
		return f->code;
	}
	while (!f->code && l->filled == before && (l->in_stream || !l->end || l->input_at < l->input_filled))
		if (l->in_stream)
			unpack(l, f);
		else
			next_member(l, f);
	return f->code;
}

static bool at_end(const struct lines *l)
{
	return l->end && !l->in_stream && l->input_at == l->input_filled;
}

static void trim(const struct lines *l, const char **line, size_t *length)
{
	if (*length && (*line)[*length - 1] == '\r')
		--*length;
	if (l->number == 1 && *length >= sizeof(mark) && memcmp(*line, mark, sizeof(mark)) == 0) {
		*line += sizeof(mark);
		*length -= sizeof(mark);
	}
}

/* Passes over what is left of a line that is too long. The buffer's first bytes stay, to be shown. */
static int drop_line(struct lines *l, struct failure *f)
{
	const size_t shown = LINES_MAX;
	const char *newline = NULL;

	while (!newline && !at_end(l)) {
		l->filled = shown;
		if (fill(l, f))
			return f->code;
		newline = memchr(l->buffer + shown, '\n', l->filled - shown);
	}
	l->at = newline ? (size_t)(newline - l->buffer) + 1 : l->filled;
	return 0;
}

static enum lines_next give(struct lines *l, size_t size, size_t ending, const char **line, size_t *length)
{
	*line = l->buffer + l->at;
	*length = size;
	l->at += size + ending;
	l->number++;
	trim(l, line, length);
	return *length > LINES_MAX ? LINES_LONG : LINES_ONE;
}

enum lines_next lines_next(struct lines *l, const char **line, size_t *length, struct failure *f)
{
	size_t searched = 0;

	for (;;) {
		const char *from = l->buffer + l->at;
		const size_t size = l->filled - l->at;
		const char *newline = memchr(from + searched, '\n', size - searched);

		if (newline)
			return give(l, (size_t)(newline - from), 1, line, length);
		searched = size;
		if (at_end(l))
			return size ? give(l, size, 0, line, length) : LINES_END;
		memmove(l->buffer, from, size);
		l->at = 0;
		l->filled = size;
		if (size > LINES_MAX + sizeof(mark) + 1)
			break;
		if (fill(l, f))
			return LINES_FAILED;
	}
	l->number++;
	*line = l->buffer;
	*length = LINES_MAX;
	return drop_line(l, f) ? LINES_FAILED : LINES_LONG;
}

/* ---- opening and closing ---- */

static int look(struct lines *l, struct failure *f)
{
	l->buffer = alloc_resize(l->alloc, NULL, BUFFER_BYTES, 1);
	l->input = alloc_resize(l->alloc, NULL, INPUT_BYTES, 1);
	if (!l->buffer || !l->input)
		return fail(f, EXIT_HOST, "no memory to read %s", l->name);
	while (l->input_filled < 2 && !l->end)
		if (fill_input(l, f))
			return f->code;
	return at_magic(l) ? start_gzip(l, f) : 0;
}

int lines_open(struct lines *l, const char *path, struct alloc *alloc, struct failure *f)
{
	const bool standard = strcmp(path, "-") == 0;

	*l = (struct lines){.alloc = alloc, .name = standard ? "standard input" : path};
	l->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (l->fd < 0)
		return fail(f, EXIT_HOST, "cannot open the trace %s: %s", path, strerror(errno));
	if (look(l, f))
		lines_close(l);
	return f->code;
}

void lines_close(struct lines *l)
{
	if (l->gzip)
		l->z.inflate_end(&l->stream);
	libz_close(&l->z);
	free(l->buffer);
	free(l->input);
	if (l->name && l->fd > STDIN_FILENO)
		close(l->fd);
	*l = (struct lines){0};
}
