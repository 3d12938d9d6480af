#include "vmm/devdax.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mm/types.h"
#include "vmm/hostfs.h"
#include "vmm/size.h"

#define DEVICES "/sys/bus/dax/devices"

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int node_of(const char *root, const char *name)
{
	uint64_t node;

	return hostfs_number(root, &node, DEVICES "/%s/target_node", name) ||
			       hostfs_number(root, &node, DEVICES "/%s/numa_node", name)
		       ? (int)node
		       : -1; /* "-1" is no number */
}

/* "252:3" */
static uint64_t number_of(const char *root, const char *name)
{
	uint64_t major, minor;
	const char *end;
	char text[32];

	return hostfs_text(root, text, sizeof(text), DEVICES "/%s/dev", name) && hostfs_decimal(text, &major, &end) &&
			       *end == ':' && hostfs_decimal(end + 1, &minor, NULL)
		       ? makedev((unsigned)major, (unsigned)minor)
		       : 0;
}

static bool read_device(struct devdax *d, const char *root, const char *name)
{
	char path[PATH_MAX], driver[PATH_MAX], hex[32];
	ssize_t length;

	*d = (struct devdax){.node = node_of(root, name), .number = number_of(root, name)};
	snprintf(d->name, sizeof(d->name), "%s", name);
	if (strlen(name) >= sizeof(d->name) || !hostfs_number(root, &d->bytes, DEVICES "/%s/size", name) ||
	    !hostfs_number(root, &d->align, DEVICES "/%s/align", name))
		return false;
	if (hostfs_text(root, hex, sizeof(hex), DEVICES "/%s/resource", name))
		d->resource = strtoull(hex, NULL, 0); /* the only one in hexadecimal */
	d->scattered = hostfs_exists(root, DEVICES "/%s/mapping1", name);
	snprintf(path, sizeof(path), "%s" DEVICES "/%s/driver", root, name);
	length = readlink(path, driver, sizeof(driver) - 1);
	driver[length > 0 ? length : 0] = '\0';
	d->usable = strcmp(last_part(driver), "device_dax") == 0;
	return true;
}

int devdax_read(struct devdax *d, const char *root, const char *option, const char *path, struct failure *f)
{
	const char *name = last_part(path);

	if (!*name || *name == '.' || !read_device(d, root, name))
		return fail(f, EXIT_HOST,
			    "%s: file=%s is not a device-dax that this host has (%s%s); slat probe lists them", option,
			    path, DEVICES "/", name);
	if (!d->usable)
		return fail(f, EXIT_HOST,
			    "%s: file=%s is not a device-dax at present: another driver has its memory, or none; as "
			    "root: daxctl "
			    "reconfigure-device --mode=devdax %s",
			    option, path, name);
	if (d->scattered)
		return fail(f, EXIT_HOST,
			    "%s: file=%s lies in several physical ranges: make a device of one range (daxctl)", option,
			    path);
	if (d->align < FRAME_BYTES || (d->align & (d->align - 1)) || d->resource % d->align || d->bytes < d->align)
		return fail(f, EXIT_HOST,
			    "%s: file=%s has %s at physical 0x%" PRIx64
			    ", which does not agree with its alignment of %s",
			    option, path, size_format(d->bytes).s, d->resource, size_format(d->align).s);
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
