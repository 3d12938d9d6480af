/* tests/unit/fake_sys.h: a directory with a sys/ that says what a test wants, and a device-dax that is a plain file. */
#ifndef SLAT_TESTS_UNIT_FAKE_SYS_H
#define SLAT_TESTS_UNIT_FAKE_SYS_H

#include <check.h>
#undef fail
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_sys {
	char root[64];
};

static inline void fake_sys_open(struct fake_sys *s)
{
	strcpy(s->root, "/tmp/slat-sys-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(s->root));
}

static inline void fake_sys_close(const struct fake_sys *s)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", s->root);
	ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c) */
}

static inline void fake_sys_path(const struct fake_sys *s, char *path, const char *file)
{
	ck_assert_int_lt(snprintf(path, PATH_MAX, "%s%s", s->root, file), PATH_MAX);
	for (char *slash = strchr(path + strlen(s->root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(path, 0755);
		*slash = '/';
	}
}

/* file: "/sys/..."; its directories are made. */
static inline __attribute__((format(printf, 3, 4))) void fake_sys_write(const struct fake_sys *s, const char *file,
									const char *format, ...)
{
	char path[PATH_MAX];
	va_list rest;
	FILE *to;

	fake_sys_path(s, path, file);
	to = fopen(path, "we");
	ck_assert_ptr_nonnull(to);
	va_start(rest, format);
	vfprintf(to, format, rest);
	va_end(rest);
	ck_assert_int_eq(fclose(to), 0);
}

struct fake_dax {
	const char *name, *driver;	 /* NULL: device_dax */
	uint64_t bytes, align, resource; /* resource 0: not readable */
	int node;
	bool scattered;
};

static inline void fake_dax_add(const struct fake_sys *s, const struct fake_dax *d)
{
	char file[256], path[PATH_MAX];
	int fd;

	snprintf(file, sizeof(file), "/sys/bus/dax/devices/%s/", d->name);
	fake_sys_path(s, path, file);
#define FILE_OF(key) (snprintf(file, sizeof(file), "/sys/bus/dax/devices/%s/" key, d->name), file)
	fake_sys_write(s, FILE_OF("size"), "%" PRIu64 "\n", d->bytes);
	fake_sys_write(s, FILE_OF("align"), "%" PRIu64 "\n", d->align);
	fake_sys_write(s, FILE_OF("target_node"), "%d\n", d->node);
	if (d->resource)
		fake_sys_write(s, FILE_OF("resource"), "0x%" PRIx64 "\n", d->resource);
	if (d->scattered)
		fake_sys_write(s, FILE_OF("mapping1/page_offset"), "0x100\n");
	fake_sys_path(s, path, FILE_OF("driver"));
	ck_assert_int_eq(symlink(d->driver ? d->driver : "../../drivers/device_dax", path), 0);
#undef FILE_OF
	snprintf(file, sizeof(file), "/dev/%s", d->name);
	fake_sys_path(s, path, file);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)d->bytes), 0);
	close(fd);
}

#endif
