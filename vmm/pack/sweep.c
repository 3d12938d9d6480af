/* vmm/pack/sweep.c: many experiments.
 *
 * The file is JSON: {"options": [...], "cross": {"fit": ["first", "best"], "seed": [1, 2, 3]}}: options are words of
 * slat pack's command line, the trace among them; each key of cross is one of its options without the dashes, with the
 * values that it takes in turn. A point is one choice of each.
 *
 * What is kept. A folder with a file for each rank: lines of {"point": NAME, "contents": HASH, "result": {...}}, as
 * `slat pack --json` says it. A point is known by its options and by what the files that they name hold, the trace
 * and fleets: so the file may be given more values later, and only what is new is played; and a result of what a trace
 * was before is no result of what it is now. It stays where it is: who puts the old trace back has it again. No clock,
 * no name of a machine is in a result: whoever played it, it is the same.
 *
 * What files hold is looked at once, before anything is played; who writes to one while points are under way spoils
 * those, which are then not kept.
 *
 * Crash. A line is one write to a file that is appended to: it is there or not, but for a machine that dies: then the
 * last line is cut, which is no line, and taken away before the next is written. A disk that is full cuts one, too,
 * while other points are still under way: so each line begins with an end of line, and the cut one stays alone.
 *
 * Two at once. A rank's file is locked by who plays: a second one with the same folder and the same rank would play all
 * of it once more. Where locks are not to be had (some network file systems), it does, and loses nothing but time.
 *
 * Ranks do not speak with each other: a point is dealt out by a hash of its options, without the contents, so that
 * ranks whose copies of a trace differ still play each point once; that they do differ, is seen when all is joined. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/pack/contents.h"
#include "vmm/pack/file_uses.h"
#include "vmm/pack/json_file.h"
#include "vmm/pack/pack_json.h"
#include "vmm/pack/sweep.h"

#define NAME_MAX_BYTES 4096u
#define PATH_BYTES     4096u

/* ---- points ---- */

static int bad(struct failure *f, const char *file, const char *what)
{
	return fail(f, EXIT_USAGE,
		    "%s: %s: {\"options\": [\"--hosts\", \"10\", ..., \"TRACE\"], \"cross\": {\"fit\": [\"first\", "
		    "\"best\"]}}",
		    file, what);
}

/* A string as it is, a whole number in digits. */
static bool value_text(const json_t *value, char *text, size_t size)
{
	if (json_is_string(value))
		return (size_t)snprintf(text, size, "%s", json_string_value(value)) < size && !strchr(text, ' ');
	if (json_is_integer(value))
		return (size_t)snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < size;
	return false;
}

static bool name_add(char *name, const char *dashes, const char *word, const char *equals, const char *value)
{
	size_t used = strlen(name);

	return (size_t)snprintf(name + used, NAME_MAX_BYTES - used, "%s%s%s%s%s", used ? " " : "", dashes, word, equals,
				value) < NAME_MAX_BYTES - used;
}

/* The words of a point, in a copy of its name. */
static int words_of(char *copy, char **word)
{
	int words = 0;
	char *rest;

	for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
		word[words++] = w;
	return words;
}

static int point_parse(const struct sweep_point *p, char *copy, struct pack_options *o, struct failure *f)
{
	char *word[SWEEP_WORDS_MAX];

	snprintf(copy, NAME_MAX_BYTES, "%s", p->name);
	return pack_options_parse(words_of(copy, word), word, o, f);
}

static int point_judge(const struct sweep_point *p, struct failure *f)
{
	char copy[NAME_MAX_BYTES];
	struct failure its = {0};
	struct pack_options o;
	int code = point_parse(p, copy, &o, &its);

	if (!code && (o.help || o.csv || o.json || o.report || o.save || o.log))
		code = fail(&its, EXIT_USAGE,
			    "--help, --json, --csv, --report, --log and --save-trace are for one experiment");
	if (!code && o.trace && strcmp(o.trace, "-") == 0)
		code = fail(&its, EXIT_USAGE, "a trace on standard input is for one experiment");
	pack_options_free(&o);
	return code ? fail(f, (enum exit_code)code, "%.400s (point %.400s)", its.text, p->name) : 0;
}

static int point_make(struct sweep *s, uint32_t n, const char *file, json_t *options, json_t *cross, struct failure *f)
{
	char name[NAME_MAX_BYTES] = "", text[NAME_MAX_BYTES];
	uint32_t rest = s->points, pick = n;
	json_t *value, *values;
	const char *key;
	size_t i;

	json_array_foreach(options, i,
			   value) if (!value_text(value, text, sizeof(text)) ||
				      !name_add(name, "", text, "",
						"")) return bad(f, file,
								"options are words without spaces, or whole numbers");
	json_object_foreach(cross, key, values)
	{
		rest /= (uint32_t)json_array_size(values);
		value = json_array_get(values, pick / rest);
		pick %= rest;
		if (!value_text(value, text, sizeof(text)) || !name_add(name, "--", key, "=", text))
			return bad(f, file, "what is crossed are words without spaces, or whole numbers");
	}
	s->point[n].name = strdup(name);
	if (!s->point[n].name)
		return fail(f, EXIT_HOST, "no memory for %" PRIu32 " points", s->points);
	return point_judge(&s->point[n], f);
}

static int by_name(const void *a, const void *b)
{
	const struct sweep_point *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* NULL: no memory. */
static struct sweep_point **points_sorted(struct sweep *s, struct failure *f)
{
	struct sweep_point **sorted = calloc(s->points, sizeof(struct sweep_point *));

	if (!sorted) {
		(void)fail(f, EXIT_HOST, "no memory for %" PRIu32 " points", s->points);
		return NULL;
	}
	for (uint32_t i = 0; i < s->points; i++)
		sorted[i] = &s->point[i];
	qsort(sorted, s->points, sizeof(struct sweep_point *), by_name);
	return sorted;
}

/* What is known by its name has one of its own. */
static int points_differ(struct sweep *s, const char *file, struct failure *f)
{
	struct sweep_point **sorted = points_sorted(s, f);

	for (uint32_t i = 1; sorted && i < s->points && !f->code; i++)
		if (by_name(&sorted[i - 1], &sorted[i]) == 0)
			(void)fail(f, EXIT_USAGE, "%s: two points are the same: %.400s", file, sorted[i]->name);
	free(sorted);
	return f->code;
}

static int points_make(struct sweep *s, const char *file, json_t *root, struct failure *f)
{
	json_t *options = json_object_get(root, "options");
	json_t *cross = json_object_get(root, "cross"), *values;
	uint64_t points = 1;
	const char *key;

	if (!json_is_array(options) || !json_is_object(cross) || json_object_size(root) != 2)
		return bad(f, file, "it needs these two keys, and no other");
	if (json_array_size(options) + json_object_size(cross) > SWEEP_WORDS_MAX)
		return fail(f, EXIT_USAGE, "%s: a point has %u options at most, not %zu", file, SWEEP_WORDS_MAX,
			    json_array_size(options) + json_object_size(cross));
	json_object_foreach(cross, key, values)
	{
		if (!json_is_array(values) || json_array_size(values) == 0)
			return bad(f, file, "each key of cross has a list of values");
		points *= json_array_size(values);
		if (points > SWEEP_POINTS_MAX)
			return fail(f, EXIT_USAGE, "%s: more than %u points", file, SWEEP_POINTS_MAX);
	}
	s->points = (uint32_t)points;
	s->point = calloc(points, sizeof(*s->point));
	if (!s->point)
		return fail(f, EXIT_HOST, "no memory for %" PRIu64 " points", points);
	for (uint32_t i = 0; i < s->points; i++)
		if (point_make(s, i, file, options, cross, f))
			return f->code;
	return points_differ(s, file, f);
}

static char *folder_beside(const char *file)
{
	size_t length = strlen(file);
	char *path;

	if (length > 5 && strcmp(file + length - 5, ".json") == 0)
		length -= 5;
	return asprintf(&path, "%.*s.points", (int)length, file) < 0 ? NULL : path;
}

int sweep_open(struct sweep *s, const char *file, const char *folder, struct failure *f)
{
	json_t *root = json_file_read(file, "", f);

	*s = (struct sweep){.file = file};
	if (!root)
		return f->code;
	s->path = folder ? strdup(folder) : folder_beside(file);
	if (!s->path)
		(void)fail(f, EXIT_HOST, "no memory for a name");
	else
		(void)points_make(s, file, root, f);
	json_decref(root);
	return f->code;
}

/* ---- what they read ---- */

struct seen {
	struct contents contents;
	char path[];
};

static int by_path(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* NULL: *f. */
static const struct seen *look(struct sweep *s, const char *path, struct failure *f)
{
	const size_t bytes = sizeof(struct seen) + strlen(path) + 1;
	struct seen *seen = calloc(1, bytes), **found = NULL;

	if (seen) {
		memcpy(seen->path, path, strlen(path) + 1);
		found = tsearch(seen, &s->seen, by_path);
	}
	if (!found)
		(void)fail(f, EXIT_HOST, "no memory for a name");
	if (found && *found == seen) {
		(void)contents_read(&seen->contents, path, f);
		return f->code ? NULL : seen;
	}
	free(seen);
	return found ? *found : NULL;
}

/* Up to o->files of them, and the last is the trace; NULL: there is none. */
static const char *file_at(const struct pack_options *o, uint32_t i)
{
	return i < o->files ? o->file[i] : o->trace;
}

static int look_of(struct sweep *s, struct sweep_point *p, const struct pack_options *o, struct failure *f)
{
	p->contents = 0;
	for (uint32_t i = 0; i <= o->files && !f->code; i++) {
		const char *path = file_at(o, i);
		const struct seen *seen = path ? look(s, path, f) : NULL;

		if (seen)
			p->contents = contents_join(p->contents, seen->contents.hash);
	}
	return f->code;
}

int sweep_look(struct sweep *s, struct failure *f)
{
	char copy[NAME_MAX_BYTES];
	struct pack_options o;

	for (uint32_t i = 0; i < s->points && !f->code; i++) {
		if (point_parse(&s->point[i], copy, &o, f) == 0)
			(void)look_of(s, &s->point[i], &o, f);
		pack_options_free(&o);
	}
	return f->code;
}

static int still(struct sweep *s, const struct pack_options *o, struct failure *f)
{
	for (uint32_t i = 0; i <= o->files; i++) {
		const char *path = file_at(o, i);
		const struct seen *seen = path ? look(s, path, f) : NULL;

		if (seen && !contents_still(&seen->contents, path))
			(void)fail(f, EXIT_HOST, "%s was written to while it was played: what came out is not kept",
				   path);
	}
	return f->code;
}

/* Every file of results in the folder, as far as `take` returns 0. */
static int results_each(const struct sweep *s, int (*take)(void *self, const char *path, struct failure *f), void *self,
			struct failure *f)
{
	DIR *folder = opendir(s->path);
	struct dirent *entry;
	char path[PATH_BYTES];

	if (!folder)
		return errno == ENOENT ? 0 : fail(f, EXIT_HOST, "%s cannot be read: %s", s->path, strerror(errno));
	while (!f->code && (entry = readdir(folder)) != NULL) {
		size_t length = strlen(entry->d_name);

		if (length > 6 && strcmp(entry->d_name + length - 6, ".jsonl") == 0 &&
		    snprintf(path, sizeof(path), "%s/%s", s->path, entry->d_name) < (int)sizeof(path))
			(void)take(self, path, f);
	}
	closedir(folder);
	return f->code;
}

/* ---- what is not written over ---- */

struct spared {
	struct file_use out;
	struct failure *f;
};

static void spare(struct spared *s, const char *option, const char *path)
{
	const struct file_use use[] = {{option, path, false}, s->out};

	(void)file_uses_judge(use, 2, s->f);
}

static void spare_seen(const void *node, VISIT visit, void *self)
{
	const struct seen *const *seen = node;

	if (visit == preorder || visit == leaf)
		spare(self, "TRACE or --fleet", (*seen)->path);
}

static int spare_result(void *self, const char *path, struct failure *f)
{
	spare(self, "--out", path);
	return f->code;
}

static int spares_inputs(const struct sweep *s, struct spared *out)
{
	spare(out, "FILE", s->file);
	twalk_r(s->seen, spare_seen, out);
	return out->f->code;
}

int sweep_spares(const struct sweep *s, const char *option, const char *path, struct failure *f)
{
	struct spared spared = {{option, path, true}, f};

	return spares_inputs(s, &spared) ? f->code : results_each(s, spare_result, &spared, f);
}

void sweep_close(struct sweep *s)
{
	for (uint32_t i = 0; s->point && i < s->points; i++)
		free(s->point[i].name);
	tdestroy(s->seen, free);
	free(s->point);
	free(s->path);
	*s = (struct sweep){0};
}

/* FNV-1a (Fowler, Noll, Vo), its high half folded in: neighbours differ in the last character alone. */
bool sweep_is_mine(const struct sweep *s, uint32_t point, struct sweep_rank r)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (const char *c = s->point[point].name; *c; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	return (hash ^ hash >> 32) % r.ranks == r.rank;
}

/* ---- what is finished ---- */

struct done {
	struct sweep *s;
	struct sweep_point **sorted;
	json_t *results;
};

/* A point that the sweep has not, is passed over: it was another one's. */
static void line_take(struct done *d, const char *line, size_t bytes)
{
	json_t *root = json_loadb(line, bytes, 0, NULL);
	const char *name = json_string_value(json_object_get(root, "point"));
	json_t *result = json_object_get(root, "result");
	const char *contents = json_string_value(json_object_get(root, "contents"));
	struct sweep_point key = {.name = (char *)(uintptr_t)name}, *it = &key, **found = NULL;
	char text[CONTENTS_TEXT];

	if (name && json_is_object(result))
		found = bsearch(&it, d->sorted, d->s->points, sizeof(struct sweep_point *), by_name);
	if (found) {
		contents_text((*found)->contents, text);
		if (!contents || strcmp(contents, text) != 0) {
			(*found)->stale = true;
		} else {
			(*found)->done = true;
			if (d->results)
				json_array_set(d->results, (size_t)(*found - d->s->point), result);
		}
	}
	json_decref(root);
}

static int file_take(void *self, const char *path, struct failure *f)
{
	struct done *d = self;
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	ssize_t bytes;

	if (!file)
		return fail(f, EXIT_HOST, "%s cannot be read: %s", path, strerror(errno));
	while ((bytes = getline(&line, &size, file)) > 0)
		if (line[bytes - 1] == '\n')
			line_take(d, line, (size_t)bytes);
	free(line);
	fclose(file);
	return 0;
}

int sweep_read_done(struct sweep *s, json_t **results, struct failure *f)
{
	struct done d = {s, points_sorted(s, f), results ? json_array() : NULL};

	for (uint32_t i = 0; d.sorted && i < s->points; i++) {
		s->point[i].done = s->point[i].stale = false;
		if (results)
			json_array_append_new(d.results, json_null());
	}
	if (!d.sorted || results_each(s, file_take, &d, f) != 0)
		json_decref(d.results);
	else if (results)
		*results = d.results;
	free(d.sorted);
	return f->code;
}

/* ---- what is played ---- */

/* Where the last whole line ends. */
static int64_t last_end(int fd, int64_t size)
{
	char c;

	while (size > 0 && pread(fd, &c, 1, size - 1) == 1 && c != '\n')
		size--;
	return size;
}

int sweep_append_to(const struct sweep *s, struct sweep_rank r, struct failure *f)
{
	char path[PATH_BYTES];
	struct spared spared;
	struct stat stat;
	int fd;

	if (mkdir(s->path, 0777) < 0 && errno != EEXIST)
		return (void)fail(f, EXIT_HOST, "%s cannot be made: %s", s->path, strerror(errno)), -1;
	if (snprintf(path, sizeof(path), "%s/rank-%" PRIu32 "-of-%" PRIu32 ".jsonl", s->path, r.rank + 1, r.ranks) >=
	    (int)sizeof(path))
		return (void)fail(f, EXIT_HOST, "%s: a name too long", s->path), -1;
	spared = (struct spared){{"--out", path, true}, f};
	if (spares_inputs(s, &spared))
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		(void)fail(f, EXIT_HOST, "%s: another slat sweep is at work on it; --shard shares the points out",
			   path);
	else if (fd < 0 || fstat(fd, &stat) < 0 || ftruncate(fd, last_end(fd, stat.st_size)) < 0)
		(void)fail(f, EXIT_HOST, "%s cannot be written: %s", path, strerror(errno));
	if (f->code && fd >= 0)
		close(fd);
	if (f->code)
		return -1;
	return fd;
}

static int append(const struct sweep *s, int file, const struct sweep_point *p, json_t *result, struct failure *f)
{
	char contents[CONTENTS_TEXT];
	json_t *root;
	char *text, *line = NULL;
	ssize_t wrote = -1;
	int bytes;

	contents_text(p->contents, contents);
	root = json_pack("{s:s, s:s, s:o}", "point", p->name, "contents", contents, "result", result);
	text = json_dumps(root, JSON_COMPACT);
	bytes = text ? asprintf(&line, "\n%s\n", text) : -1;
	if (bytes >= 0)
		wrote = write(file, line, (size_t)bytes);
	if (bytes < 0 || wrote != bytes)
		(void)fail(f, EXIT_HOST, "a point cannot be written to %s: %s", s->path,
			   strerror(bytes < 0	 ? ENOMEM
				    : wrote >= 0 ? ENOSPC /* some of it could be */
						 : errno));
	if (bytes >= 0)
		free(line);
	free(text);
	json_decref(root);
	return f->code;
}

int sweep_play(struct sweep *s, uint32_t point, int file, struct failure *f)
{
	char copy[NAME_MAX_BYTES];
	struct experiment e;
	struct pack_options o;

	if (point_parse(&s->point[point], copy, &o, f) == 0 && experiment_run(&o, false, &e, f) == 0 &&
	    still(s, &o, f) == 0)
		(void)append(s, file, &s->point[point], pack_json(&o, &e), f);
	pack_options_free(&o);
	return f->code;
}
