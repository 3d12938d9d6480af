#include "vmm/devdax.h"

#include <dirent.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mm/types.h"
#include "vmm/size.h"
#include "vmm/sys.h"

#define DEVICES "/sys/bus/dax/devices"

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool attribute(const char *root, const char *name, const char *key, char *line, size_t size)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s" DEVICES "/%s/%s", root, name, key) < (int)sizeof(path) &&
	       sys_line(path, line, size);
}

/* Decimal, or hexadecimal after 0x. */
static bool number(const char *root, const char *name, const char *key, uint64_t *out)
{
	char line[64], *end;

	if (!attribute(root, name, key, line, sizeof(line)))
		return false;
	*out = strtoull(line, &end, 0);
	return end != line;
}

static int node_of(const char *root, const char *name)
{
	static const char *const keys[] = {"target_node", "numa_node"};
	char line[32];

	for (unsigned i = 0; i < 2; i++)
		if (attribute(root, name, keys[i], line, sizeof(line)) && line[0] >= '0' && line[0] <= '9')
			return (int)strtol(line, NULL, 10);
	return -1;
}

static bool read_device(struct devdax *d, const char *root, const char *name)
{
	char path[PATH_MAX], driver[PATH_MAX];
	uint64_t unused;
	ssize_t length;

	*d = (struct devdax){.node = node_of(root, name)};
	snprintf(d->name, sizeof(d->name), "%s", name);
	if (strlen(name) >= sizeof(d->name) || !number(root, name, "size", &d->bytes) ||
	    !number(root, name, "align", &d->align))
		return false;
	(void)number(root, name, "resource", &d->resource);
	d->scattered = number(root, name, "mapping1/page_offset", &unused);
	snprintf(path, sizeof(path), "%s" DEVICES "/%s/driver", root, name);
	length = readlink(path, driver, sizeof(driver) - 1);
	driver[length > 0 ? length : 0] = '\0';
	d->usable = strcmp(last_part(driver), "device_dax") == 0;
	return true;
}

int devdax_read(struct devdax *d, const char *root, const char *path, struct failure *f)
{
	const char *name = last_part(path);

	if (!*name || *name == '.' || !read_device(d, root, name))
		return fail(f, EXIT_HOST, "%s is not a device-dax that this host has (%s%s); slat probe lists them",
			    path, DEVICES "/", name);
	if (!d->usable)
		return fail(
			f, EXIT_HOST,
			"%s is not a device-dax at present: another driver has its memory, or none; as root: daxctl "
			"reconfigure-device --mode=devdax %s",
			path, name);
	if (d->scattered)
		return fail(f, EXIT_HOST, "%s lies in several physical ranges: make a device of one range (daxctl)",
			    path);
	if (d->align < FRAME_BYTES || (d->align & (d->align - 1)) || d->resource % d->align || d->bytes < d->align)
		return fail(f, EXIT_HOST,
			    "%s has %s at physical 0x%" PRIx64 ", which does not agree with its alignment of %s", path,
			    size_format(d->bytes).s, d->resource, size_format(d->align).s);
	return 0;
}

static int by_version(const struct dirent **a, const struct dirent **b)
{
	return versionsort(a, b);
}

static int is_named(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

unsigned devdax_list(const char *root, void (*each)(void *self, const struct devdax *d), void *self)
{
	char path[PATH_MAX];
	struct dirent **names;
	struct devdax d;
	unsigned found = 0;
	int count;

	snprintf(path, sizeof(path), "%s" DEVICES, root);
	count = scandir(path, &names, is_named, by_version);
	for (int i = 0; i < count; i++) {
		if (read_device(&d, root, names[i]->d_name)) {
			each(self, &d);
			found++;
		}
		free(names[i]);
	}
	if (count >= 0)
		free(names);
	return found;
}
