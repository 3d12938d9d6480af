#include "vmm/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool sys_line(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, line, size - 1);
	close(fd);
	if (got < 0)
		return false;
	line[got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return true;
}

bool sys_number(const char *path, uint64_t *out)
{
	char line[64];
	char *end;

	if (!sys_line(path, line, sizeof(line)))
		return false;
	*out = strtoull(line, &end, 10);
	return end != line;
}

bool sys_choice(const char *path, char *word, size_t size)
{
	char line[256];
	char *open, *close;

	if (!sys_line(path, line, sizeof(line)))
		return false;
	open = strchr(line, '[');
	close = open ? strchr(open, ']') : NULL;
	if (!close)
		return false;
	snprintf(word, size, "%.*s", (int)(close - open - 1), open + 1);
	return true;
}

bool sys_list(const char *list, void (*each)(void *self, unsigned number), void *self)
{
	while (*list) {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (end == list)
			return false;
		if (*end == '-') {
			list = end + 1;
			last = strtoul(list, &end, 10);
			if (end == list)
				return false;
		}
		if (last < first || last > 65535)
			return false;
		for (unsigned long n = first; n <= last; n++)
			each(self, (unsigned)n);
		if (*end == ',')
			end++;
		else if (*end)
			return false;
		list = end;
	}
	return true;
}

int sys_eventfd(const char *whose, struct failure *f)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		fail(f, EXIT_HOST, "%s: cannot create an event descriptor: %s", whose, strerror(errno));
	return fd;
}
