/* tests/unit/fake_host.h: another host's /sys and /proc, as files below a directory of /tmp.
 * A test that fails leaves its directory there. */
#ifndef SLAT_TESTS_UNIT_FAKE_HOST_H
#define SLAT_TESTS_UNIT_FAKE_HOST_H

#include <check.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_host {
	char root[64];
};

static inline void fake_host_open(struct fake_host *h)
{
	strcpy(h->root, "/tmp/slat-host.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(h->root));
}

static inline int fake_host_remove(const char *path, const struct stat *s, int type, struct FTW *where)
{
	(void)s, (void)type, (void)where;
	return remove(path);
}

static inline void fake_host_close(struct fake_host *h)
{
	ck_assert_int_eq(nftw(h->root, fake_host_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* A file with this text, and the directories that it lies in. */
static inline void fake_host_put(struct fake_host *h, const char *text, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static inline void fake_host_put(struct fake_host *h, const char *text, const char *format, ...)
{
	char path[1024];
	int used = snprintf(path, sizeof(path), "%s", h->root);
	va_list arguments;
	FILE *file;

	va_start(arguments, format);
	vsnprintf(path + used, sizeof(path) - (size_t)used, format, arguments);
	va_end(arguments);
	for (char *slash = strchr(path + used + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0777);
		*slash = '/';
	}
	unlink(path); /* a file that is cut and written anew is brought to the disk at once by some file systems */
	file = fopen(path, "w");
	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		ck_abort_msg("%s cannot be written", path);
}

/* From now on, to the end of this test's process, the kernel answers this call by an error, if its argument of that
 * number has this value. */
static inline void fake_host_refuse_if(long call, unsigned argument, unsigned value, int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args) + argument * 8),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

#endif
