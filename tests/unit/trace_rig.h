/* tests/unit/trace_rig.h: traces in files of a directory that goes when the test ends,
 * and what is read of them, as text. */
#ifndef SLAT_TESTS_UNIT_TRACE_RIG_H
#define SLAT_TESTS_UNIT_TRACE_RIG_H

#include <check.h>
#undef fail
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/pack/libsqlite.h"
#include "vmm/pack/libz.h"
#include "vmm/pack/trace.h"
#include "vmm/pack/trace_writer.h"

#define RIG_FILES 4

static char rig_dir[64], rig_path[RIG_FILES][96];

static inline const char *rig_file(unsigned i)
{
	static const char *const names[RIG_FILES] = {"a", "b", "c.csv", "d.csv.gz"};

	snprintf(rig_path[i], sizeof(rig_path[i]), "%s/%s", rig_dir, names[i]);
	return rig_path[i];
}

static inline void rig_setup(void)
{
	strcpy(rig_dir, "/tmp/slat-trace-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig_dir));
}

static inline void rig_teardown(void)
{
	for (unsigned i = 0; i < RIG_FILES; i++)
		unlink(rig_file(i));
	ck_assert_msg(rmdir(rig_dir) == 0, "something was left in %s", rig_dir);
}

static inline const char *rig_write(unsigned i, const void *bytes, size_t size)
{
	FILE *to = fopen(rig_file(i), "wb");

	ck_assert(to && fwrite(bytes, 1, size, to) == size && fclose(to) == 0);
	return rig_path[i];
}

/* The bytes of the file, with a 0 behind; to be freed. */
static inline char *rig_read(const char *path, size_t *size)
{
	FILE *from = fopen(path, "rb");
	char *bytes;

	if (!from)
		return NULL;
	fseek(from, 0, SEEK_END);
	*size = (size_t)ftell(from);
	rewind(from);
	bytes = calloc(1, *size + 1);
	ck_assert(bytes && fread(bytes, 1, *size, from) == *size);
	fclose(from);
	return bytes;
}

/* As gzip would; returns the length. `to` has room for size + 1024. */
static inline size_t rig_gzip(const void *bytes, size_t size, void *to)
{
	struct failure f = {0};
	struct libz z;
	z_stream s = {0};

	ck_assert_int_eq(libz_open(&z, LIBZ_SONAME, &f), 0);
	ck_assert_int_eq(z.deflate_init(&s, 6, Z_DEFLATED, LIBZ_GZIP, 8, 0, ZLIB_VERSION, (int)sizeof(s)), Z_OK);
	s.next_in = (unsigned char *)(uintptr_t)bytes;
	s.avail_in = (unsigned)size;
	s.next_out = to;
	s.avail_out = (unsigned)size + 1024;
	ck_assert_int_eq(z.deflate(&s, Z_FINISH), Z_STREAM_END);
	z.deflate_end(&s);
	libz_close(&z);
	return s.total_out;
}

/* "time_us+guest size cpu_millis" of arrivals, with "@node", "p" (pinned), "f" (not movable)
 * and "~life_us" where they are not usual, "time_us-guest" of departures, one a space. */
static inline void rig_tell(FILE *to, const struct event *e)
{
	if (e->kind == EVENT_DEPART) {
		fprintf(to, "%" PRIu64 "-%u ", e->time_us, e->guest);
		return;
	}
	fprintf(to, "%" PRIu64 "+%u:%" PRIu64 ":%u", e->time_us, e->guest, e->size, e->cpu_millis);
	if (e->node != EVENT_NODE_ANY)
		fprintf(to, "@%u", e->node);
	fprintf(to, "%s%s", e->pinned ? "p" : "", e->movable ? "" : "f");
	if (e->life_us != EVENT_LIFE_UNKNOWN)
		fprintf(to, "~%" PRIu64, e->life_us);
	fputc(' ', to);
}

struct rig_told {
	char *text; /* all events; to be freed */
	struct trace_stats stats;
	struct failure f;
};

static inline struct rig_told rig_play(const char *path, enum trace_format format, const struct trace_options *options)
{
	struct rig_told told = {0};
	struct trace *t = trace_open(path, format, options, &told.f);
	uint64_t arrivals = 0;
	struct event e;
	size_t size;
	FILE *to = open_memstream(&told.text, &size);

	ck_assert((t != NULL) == (told.f.code == 0));
	while (t) {
		const enum event_next got = trace_next(t, &e, &told.f);

		ck_assert((got == EVENT_FAILED) == (told.f.code != 0));
		if (got != EVENT_ONE)
			break;
		ck_assert(e.kind == EVENT_DEPART || e.number == arrivals++);
		rig_tell(to, &e);
	}
	if (t)
		told.stats = trace_stats_read(t);
	trace_close(t);
	fclose(to);
	return told;
}

#endif
