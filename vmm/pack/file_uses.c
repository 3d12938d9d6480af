/* vmm/pack/file_uses.c: files that a command would write over.
 *
 * It looks before anything is written: whoever makes links meanwhile has what he wants. What is no regular file (a
 * terminal, a pipe, /dev/null) keeps nothing that could be lost, and is refused by its name alone. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/pack/file_uses.h"

struct place {
	bool there;
	struct stat is;	  /* the file, if it is there; else its folder */
	const char *name; /* in that */
};

static bool is_stream(const struct file_use *u)
{
	return strcmp(u->path, "-") == 0;
}

static bool folder_of(const char *path, struct place *out)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];

	out->name = slash ? slash + 1 : path;
	return (size_t)snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash + 1 - path) : 1,
				slash ? path : ".") < sizeof(folder) &&
	       stat(folder, &out->is) == 0;
}

/* False: nobody can tell. */
static bool place_of(const struct file_use *u, struct place *out)
{
	const int stream = u->output ? STDOUT_FILENO : STDIN_FILENO;

	*out = (struct place){0};
	out->there = (is_stream(u) ? fstat(stream, &out->is) : stat(u->path, &out->is)) == 0;
	if (!out->there)
		return !is_stream(u) && folder_of(u->path, out);
	return S_ISREG(out->is.st_mode);
}

static bool same(const struct file_use *a, const struct file_use *b)
{
	struct place x, y;

	if (strcmp(a->path, b->path) == 0 && (!is_stream(a) || a->output == b->output))
		return true;
	return place_of(a, &x) && place_of(b, &y) && x.there == y.there && x.is.st_dev == y.is.st_dev &&
	       x.is.st_ino == y.is.st_ino && (x.there || strcmp(x.name, y.name) == 0);
}

static const char *called(const struct file_use *u)
{
	return !is_stream(u) ? u->path : u->output ? "standard output" : "standard input";
}

int file_uses_judge(const struct file_use *use, size_t uses, struct failure *f)
{
	for (size_t i = 0; i < uses; i++)
		for (size_t j = i + 1; j < uses; j++) {
			const struct file_use *a = &use[i], *b = &use[j];

			if (!a->path || !b->path || !(a->output || b->output) || !same(a, b))
				continue;
			if (strcmp(called(a), called(b)) == 0)
				return fail(f, EXIT_USAGE, "%s and %s: %.256s cannot be both", a->option, b->option,
					    called(a));
			return fail(f, EXIT_USAGE, "%s and %s: %.256s and %.256s are one file", a->option, b->option,
				    called(a), called(b));
		}
	return 0;
}
