/* vmm/pack/text_file.c
 *
 * What it is. A buffer of text, by way of zlib if that is asked for, into a draft. Gzip's bytes depend on the zlib;
 * its header has no time and no name in it.
 *
 * Failure. The first one sticks, in the owner's *f: what comes after it changes nothing, and the file is as it was. */
#include "vmm/pack/text_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/pack/decimal.h"
#include "vmm/pack/draft.h"
#include "vmm/pack/libz.h"

#define TEXT_BYTES   (2 * TEXT_FILE_LINE)
#define PACKED_BYTES 65536u
#define MEMORY_LEVEL 9 /* deflate's: the most memory, the most speed */

struct text_file {
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

static int cannot_write(const struct text_file *t, struct failure *f)
{
	return fail(f, EXIT_HOST, "%s cannot be written: %s", t->path, strerror(errno));
}

static int no_memory(const char *path, struct failure *f)
{
	return fail(f, EXIT_HOST, "no memory to write %s", path);
}

/* ---- bytes ---- */

static int write_all(struct text_file *t, const void *bytes, size_t size, struct failure *f)
{
	const char *at = bytes;

	while (size && !f->code) {
		ssize_t wrote = write(t->draft.fd, at, size);

		if (wrote < 0 && errno != EINTR)
			return cannot_write(t, f);
		at += wrote > 0 ? wrote : 0;
		size -= wrote > 0 ? (size_t)wrote : 0;
	}
	return f->code;
}

static int pack(struct text_file *t, int flush, struct failure *f)
{
	z_stream *s = &t->stream;
	int code;

	s->next_in = (unsigned char *)t->text;
	s->avail_in = (unsigned)t->used;
	do {
		s->next_out = t->packed;
		s->avail_out = PACKED_BYTES;
		code = t->z.deflate(s, flush);
		if (write_all(t, t->packed, PACKED_BYTES - s->avail_out, f))
			return f->code;
	} while (s->avail_out == 0 || (flush == Z_FINISH && code == Z_OK));
	return 0;
}

static int flush_text(struct text_file *t, bool last, struct failure *f)
{
	if (t->gzip)
		pack(t, last ? Z_FINISH : Z_NO_FLUSH, f);
	else
		write_all(t, t->text, t->used, f);
	t->used = 0;
	return f->code;
}

/* ---- what is put ---- */

int text_file_room(struct text_file *t, size_t bytes, struct failure *f)
{
	MM_ASSERT(bytes <= TEXT_FILE_LINE, bytes, t->used);
	return f->code || TEXT_BYTES - t->used >= bytes ? f->code : flush_text(t, false, f);
}

void text_file_put(struct text_file *t, const char *text)
{
	const size_t length = strlen(text);

	memcpy(t->text + t->used, text, length);
	t->used += length;
}

void text_file_put_number(struct text_file *t, uint64_t value, uint64_t scale)
{
	t->used += decimal_format(value, scale, t->text + t->used);
}

static bool has(struct csv_field name, char c)
{
	return memchr(name.at, c, name.length) != NULL;
}

void text_file_put_name(struct text_file *t, struct csv_field name)
{
	const bool quoted = has(name, ',') || has(name, '"');

	if (quoted)
		t->text[t->used++] = '"';
	for (size_t i = 0; i < name.length; i++) {
		t->text[t->used++] = name.at[i];
		if (name.at[i] == '"')
			t->text[t->used++] = '"';
	}
	if (quoted)
		t->text[t->used++] = '"';
}

int text_file_judge_name(const struct text_file *t, struct csv_field name, struct failure *f)
{
	if (name.length > TEXT_FILE_NAME)
		return fail(f, EXIT_IMAGE, "%s: a guest's name is longer than %u bytes: \"%s\"", t->path,
			    TEXT_FILE_NAME, csv_excerpt(name.at, name.length).text);
	if (has(name, '\n'))
		return fail(f, EXIT_IMAGE, "%s: a guest's name has an end of line: \"%s\"", t->path,
			    csv_excerpt(name.at, name.length).text);
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

static int start_gzip(struct text_file *t, struct failure *f)
{
	if (libz_open(&t->z, LIBZ_SONAME, f))
		return f->code;
	t->packed = alloc_resize(&t->alloc, NULL, PACKED_BYTES, 1);
	t->stream = (z_stream){.zalloc = z_get, .zfree = z_put, .opaque = &t->alloc};
	if (!t->packed || t->z.deflate_init(&t->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, LIBZ_GZIP, MEMORY_LEVEL,
					    Z_DEFAULT_STRATEGY, ZLIB_VERSION, (int)sizeof(t->stream)) != Z_OK)
		return no_memory(t->path, f);
	t->gzip = true;
	return 0;
}

static int start(struct text_file *t, struct failure *f)
{
	const size_t length = strlen(t->path);

	t->text = alloc_resize(&t->alloc, NULL, TEXT_BYTES, 1);
	if (!t->text)
		return no_memory(t->path, f);
	if (length > 3 && strcmp(t->path + length - 3, ".gz") == 0 && start_gzip(t, f))
		return f->code;
	return draft_open(&t->draft, t->path, &t->alloc, f);
}

struct text_file *text_file_open(const char *path, uint64_t fail_after, struct failure *f)
{
	struct alloc alloc = {fail_after};
	struct text_file *t = alloc_zeroed(&alloc, 1, sizeof(*t) + strlen(path) + 1);

	if (!t) {
		no_memory(path, f);
		return NULL;
	}
	t->alloc = alloc;
	t->draft.fd = -1;
	memcpy(t->path, path, strlen(path) + 1);
	if (start(t, f)) {
		text_file_abandon(t);
		return NULL;
	}
	return t;
}

void text_file_abandon(struct text_file *t)
{
	if (!t)
		return;
	draft_drop(&t->draft);
	if (t->gzip)
		t->z.deflate_end(&t->stream);
	libz_close(&t->z);
	free(t->packed);
	free(t->text);
	free(t);
}

int text_file_close(struct text_file *t, struct failure *f)
{
	flush_text(t, true, f);
	if (!f->code)
		(void)draft_keep(&t->draft, f);
	text_file_abandon(t);
	return f->code;
}
