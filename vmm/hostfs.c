#include "vmm/hostfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_BYTES (48u << 10) /* every second of 8192 CPUs takes 20 KB */

struct path {
	char s[PATH_MAX];
};

static bool path_make(struct path *p, const char *root, const char *format, va_list arguments)
{
	int used = snprintf(p->s, sizeof(p->s), "%s", root);
	int more = 0;

	if (used >= 0 && (size_t)used < sizeof(p->s))
		more = vsnprintf(p->s + used, sizeof(p->s) - (size_t)used, format, arguments);
	return used >= 0 && more > 0 && (size_t)used + (size_t)more < sizeof(p->s);
}

/* The kernel gives a file in as many pieces as it likes. */
static bool read_whole(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got;

	if (fd < 0)
		return false;
	do {
		got = read(fd, text + used, size - used);
		used += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && used < size) || (got < 0 && errno == EINTR));
	close(fd);
	if (got < 0 || used == size)
		return false;
	text[used] = '\0';
	return true;
}

static bool text_of(const char *root, char *text, size_t size, const char *format, va_list arguments)
{
	struct path path;

	return path_make(&path, root, format, arguments) && read_whole(path.s, text, size);
}

bool hostfs_text(const char *root, char *text, size_t size, const char *format, ...)
{
	va_list arguments;
	bool had;

	va_start(arguments, format);
	had = text_of(root, text, size, format, arguments);
	va_end(arguments);
	return had;
}

bool hostfs_decimal(const char *text, uint64_t *out, const char **end)
{
	char *behind;
	unsigned long long value;

	text += strspn(text, " \t");
	if (*text < '0' || *text > '9') /* strtoull() takes signs */
		return false;
	errno = 0;
	value = strtoull(text, &behind, 10);
	if (errno)
		return false;
	*out = value;
	if (end)
		*end = behind;
	return true;
}

bool hostfs_number(const char *root, uint64_t *out, const char *format, ...)
{
	char text[64];
	va_list arguments;
	bool had;

	va_start(arguments, format);
	had = text_of(root, text, sizeof(text), format, arguments);
	va_end(arguments);
	return had && hostfs_decimal(text, out, NULL);
}

enum hostfs_list hostfs_ids(const char *root, struct ids *out, const char *format, ...)
{
	char text[LIST_BYTES];
	va_list arguments;
	bool had;

	va_start(arguments, format);
	had = text_of(root, text, sizeof(text), format, arguments);
	va_end(arguments);
	if (!had)
		return HOSTFS_ABSENT;
	text[strcspn(text, "\n")] = '\0';
	return ids_parse(out, text) ? HOSTFS_LIST : HOSTFS_MALFORMED;
}

bool hostfs_exists(const char *root, const char *format, ...)
{
	struct path path;
	va_list arguments;
	bool made;

	va_start(arguments, format);
	made = path_make(&path, root, format, arguments);
	va_end(arguments);
	return made && access(path.s, F_OK) == 0;
}

bool hostfs_lines(const char *root, const char *path, bool (*each)(void *self, char *line), void *self)
{
	char name[PATH_MAX];
	char *line = NULL;
	size_t room = 0;
	ssize_t got;
	FILE *file;

	if ((size_t)snprintf(name, sizeof(name), "%s%s", root, path) >= sizeof(name))
		return false;
	file = fopen(name, "re");
	if (!file)
		return false;
	while ((got = getline(&line, &room, file)) > 0) {
		if (line[got - 1] == '\n')
			line[got - 1] = '\0';
		if (!each(self, line))
			break;
	}
	free(line);
	fclose(file);
	return true;
}
