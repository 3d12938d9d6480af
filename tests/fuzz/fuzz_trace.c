/* Any bytes as a trace of every format but SQLite's, and as a row of a SQLite file.
 * Input: a byte, its low bits the format, bit 3 whether what is bad is skipped, bit 4
 * gzip (the file is packed, and then changed where the second byte says); then the file. For
 * SQLite: eight doubles and what type they are.
 *
 * What is checked, of all that is taken: no time goes back, no guest arrives twice or departs
 * unknown, sizes are in range, arrivals are counted; what is refused has a sentence. What
 * was taken is written, read again, and is the same. */
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/must.h"
#include "vmm/pack/libsqlite.h"
#include "vmm/pack/libz.h"
#include "vmm/pack/trace.h"
#include "vmm/pack/trace_writer.h"

#define GUESTS	   65536u
#define DB_DOUBLES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct played {
	uint64_t events, arrivals, sum;
	bool failed, unwritten;
};

static char path[64];
static int file = -1;

static void put_file(const uint8_t *bytes, size_t size)
{
	if (file >= 0)
		close(file);
	file = memfd_create("trace", MFD_CLOEXEC);
	MUST(file >= 0 && write(file, bytes, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
}

static void must_be_sound(struct played *p, const struct event *e, uint64_t *now, bool *there)
{
	MUST(e->time_us >= *now && e->guest < GUESTS && there[e->guest] == (e->kind == EVENT_DEPART));
	if (e->kind == EVENT_ARRIVE)
		MUST(e->number == p->arrivals++ && e->size && e->size <= EVENT_SIZE_MAX);
	there[e->guest] = e->kind == EVENT_ARRIVE;
	*now = e->time_us;
	p->sum = p->sum * 31 + e->time_us + e->guest + e->size * 3 + e->cpu_millis + e->node * 5u + e->pinned +
		 2u * e->movable + e->life_us * 7;
	p->events++;
}

static void must_be_named(struct played *p, struct csv_field name)
{
	for (size_t i = 0; i < name.length; i++)
		p->sum = p->sum * 31 + (unsigned char)name.at[i];
}

/* Writes what it reads, too, unless w is NULL. */
static struct played play(const char *from, enum trace_format format, bool skip, struct text_file *w)
{
	const struct trace_options options = {.skip_bad = skip,
					      .machine_bytes = 1u << 30,
					      .machine_cpus = 64,
					      .machine = skip ? TRACE_MACHINE_ANY : TRACE_MACHINE_COMMON};
	struct failure f = {0}, g = {0};
	struct trace *t = trace_open(from, format, &options, &f);
	bool *there = calloc(GUESTS, sizeof(*there));
	struct played p = {0};
	struct event e;
	uint64_t now = 0;

	while (t) {
		const enum event_next got = trace_next(t, &e, &f);

		MUST((got == EVENT_FAILED) == (f.code != 0));
		if (got != EVENT_ONE)
			break;
		must_be_sound(&p, &e, &now, there);
		must_be_named(&p, trace_guest_name(t));
		if (w)
			MUST(trace_writer_add(w, &e, trace_guest_name(t), &g) == 0 ||
			     trace_guest_name(t).length > TEXT_FILE_NAME);
	}
	MUST((f.code == 0) == (f.text[0] == '\0') && (t || f.code));
	p.failed = f.code != 0;
	p.unwritten = g.code != 0;
	if (t)
		MUST(trace_stats_read(t).events == p.events);
	trace_close(t);
	free(there);
	return p;
}

static void play_and_back(enum trace_format format, bool skip)
{
	const struct trace_writer_options options = {.unit = "byte"};
	struct text_file *w;
	struct failure f = {0};
	struct played p, q;
	char back[64];

	snprintf(back, sizeof(back), "/dev/shm/slat-fuzz-back-%d", (int)getpid());
	w = trace_writer_open(back, &options, &f);
	MUST(w != NULL);
	p = play(path, format, skip, w);
	if (p.events == 0 || p.unwritten) {
		text_file_abandon(w);
		return;
	}
	MUST(text_file_close(w, &f) == 0);
	q = play(back, TRACE_SLAT, false, NULL);
	MUST(p.events == q.events && p.sum == q.sum && !q.failed);
	unlink(back);
}

static size_t pack(const uint8_t *data, size_t size, uint8_t *to, size_t room)
{
	struct failure f = {0};
	struct libz z;
	z_stream s = {0};

	MUST(libz_open(&z, LIBZ_SONAME, &f) == 0);
	MUST(z.deflate_init(&s, 1, Z_DEFLATED, LIBZ_GZIP, 8, 0, ZLIB_VERSION, (int)sizeof(s)) == Z_OK);
	s.next_in = (unsigned char *)(uintptr_t)data;
	s.avail_in = (unsigned)size;
	s.next_out = to;
	s.avail_out = (unsigned)room;
	MUST(z.deflate(&s, Z_FINISH) == Z_STREAM_END);
	z.deflate_end(&s);
	libz_close(&z);
	return s.total_out;
}

static void put_packed(const uint8_t *data, size_t size)
{
	const size_t room = size + 4096;
	uint8_t *packed = malloc(room);
	size_t length;

	if (size < 3) {
		free(packed);
		return;
	}
	length = pack(data + 2, size - 2, packed, room);
	if (data[0])
		packed[data[1] * 31u % length] ^= data[0];
	put_file(packed, data[1] % 3 ? length : length - data[1] % length);
	free(packed);
}

/* A value: a double of these bytes, or the integer, the text, the NULL that it begins. */
static void put_value(FILE *to, const uint8_t *data, unsigned kind)
{
	int64_t integer;
	double real;

	memcpy(&integer, data, sizeof(integer));
	memcpy(&real, data, sizeof(real));
	switch (kind % 4) {
	case 0:
		fprintf(to, "%.17g", real == real && real < 1e308 && real > -1e308 ? real : 9.0);
		break;
	case 1:
		fprintf(to, "%lld", (long long)integer);
		break;
	case 2:
		fprintf(to, "x'%02x'", data[0]);
		break;
	default:
		fprintf(to, "%s", data[0] % 2 ? "NULL" : "9e999");
	}
}

static void play_database(const uint8_t *data, size_t size, bool skip)
{
	char name[] = "/dev/shm/slat-fuzz-XXXXXX", *sql;
	const int fd = mkstemp(name);
	struct failure f = {0};
	struct libsqlite s;
	sqlite3 *db;
	size_t length;
	FILE *to = open_memstream(&sql, &length);

	fprintf(to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
		    "CREATE TABLE vm (vmId, vmTypeId, starttime, endtime);"
		    "CREATE TABLE vmType (vmTypeId, machineId, core, memory)");
	for (unsigned id = 0; size >= 1 + 8 * DB_DOUBLES;
	     id++, data += 1 + 8 * DB_DOUBLES, size -= 1 + 8 * DB_DOUBLES) {
		fprintf(to, "; INSERT INTO vm VALUES (%u, %u, ", id % 7, id);
		put_value(to, data + 1, data[0]);
		fprintf(to, ", ");
		put_value(to, data + 9, data[0] >> 2);
		fprintf(to, "); INSERT INTO vmType VALUES (%u, 0, ", id);
		put_value(to, data + 17, data[0] >> 4);
		fprintf(to, ", ");
		put_value(to, data + 25, data[0] >> 6);
		fprintf(to, ")");
	}
	fclose(to);
	MUST(fd >= 0 && libsqlite_open(&s, LIBSQLITE_SONAME, &f) == 0);
	MUST(s.open_v2(name, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
	MUST(s.exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
	s.close_v2(db);
	libsqlite_close(&s);
	play(name, TRACE_AZURE_PACKING_2020, skip, NULL);
	close(fd);
	unlink(name);
	free(sql);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum trace_format format;
	bool skip;

	if (size < 2)
		return 0;
	format = (enum trace_format)(data[0] % 8 % TRACE_FORMATS);
	skip = data[0] & 8;
	if (format == TRACE_AZURE_PACKING_2020) {
		play_database(data + 1, size - 1, skip);
		return 0;
	}
	put_file(data + 1, size - 1);
	if (data[0] & 16)
		put_packed(data + 1, size - 1);
	play_and_back(format, skip);
	return 0;
}
