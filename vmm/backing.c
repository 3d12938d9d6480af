/* vmm/backing.c
 *
 * Private memory is anonymous and shared memory is a memfd; a private mapping
 * of a memfd, which doubles memory at the first write, cannot be asked for.
 * Nothing is reserved at open but hugetlb pages: those are taken at mmap, so
 * that a guest cannot run into a missing one later (SIGBUS).
 * The mapping is 2M-aligned, else no huge page could ever fit it. */
#include "vmm/backing.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "vmm/size.h"
#include "vmm/sys.h"

#define HUGE_BYTES     pagetable_size_bytes(PAGETABLE_2M)
#define PREFAULT_BYTES (UINT64_C(256) << 20) /* between two looks for a signal */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif
#ifndef MAP_HUGE_1GB
#define MAP_HUGE_1GB (30 << 26)
#endif

const char *backing_kind_name(enum backing_kind k)
{
	static const char *const names[] = {"anonymous", "memfd", "hugetlb"};

	return names[k];
}

static int check_host(const struct backing_config *config, struct failure *f)
{
	const uint64_t bytes = config->bytes;
	struct sysinfo host;
	uint64_t total;

	if (sysinfo(&host) != 0)
		return fail(f, EXIT_HOST, "cannot read how much memory the host has: %s", strerror(errno));
	total = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
	if (bytes > total)
		return fail(f, EXIT_HOST,
			    "%s size=%s is more than the host has: %" PRIu64
			    " MiB of RAM and swap together; ask for less",
			    config->option ? config->option : "--memory", size_format(bytes).s, total >> 20);
	return 0;
}

static int refuse_huge(const struct backing *b, struct failure *f)
{
	const char *size = b->leaf == PAGETABLE_1G ? "1 GiB" : "2 MiB";
	uint64_t free_pages = 0, reserved = 0, asked = b->bytes / pagetable_size_bytes(b->leaf);
	int error = errno; /* of the call that was refused */
	bool giant = b->leaf == PAGETABLE_1G;

	if (!sys_number(giant ? SYS_HUGETLB_1G "free_hugepages" : SYS_HUGETLB_2M "free_hugepages", &free_pages))
		return fail(f, EXIT_HOST, "--memory hugepages=on: this kernel has no %s huge pages", size);
	sys_number(giant ? SYS_HUGETLB_1G "resv_hugepages" : SYS_HUGETLB_2M "resv_hugepages", &reserved);
	if (free_pages - reserved >= asked)
		return fail(f, EXIT_HOST, "cannot map %" PRIu64 " huge pages of %s, though %" PRIu64 " are free: %s",
			    asked, size, free_pages - reserved, strerror(error));
	if (giant)
		return fail(f, EXIT_HOST,
			    "--memory hugepages=on,hugepage_size=1G asks for %" PRIu64
			    " huge pages of 1 GiB and %" PRIu64 " are available; get more as root: echo %" PRIu64
			    " >" SYS_HUGETLB_1G "nr_hugepages, or use hugepage_size=2M",
			    asked, free_pages - reserved, asked + reserved);
	return fail(f, EXIT_HOST,
		    "--memory hugepages=on asks for %" PRIu64 " huge pages of 2 MiB and %" PRIu64
		    " are available; get more as root: sysctl vm.nr_hugepages=%" PRIu64 ", or use hugepages=off",
		    asked, free_pages - reserved, asked + reserved);
}

static bool thp_allowed(const char *file)
{
	char word[32];

	return sys_choice(file, word, sizeof(word)) && strcmp(word, "never") != 0 && strcmp(word, "deny") != 0;
}

/* An aligned mapping of plain pages: map too much, give the ends back. */
static uint8_t *map_aligned(uint64_t bytes, int flags, int fd)
{
	uint8_t *all = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *start;
	uint64_t head;

	if (all == MAP_FAILED)
		return MAP_FAILED;
	head = -(uintptr_t)all & (HUGE_BYTES - 1);
	start = all + head;
	if (mmap(start, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED) {
		munmap(all, bytes + HUGE_BYTES);
		return MAP_FAILED;
	}
	if (head)
		munmap(all, head);
	if (head < HUGE_BYTES)
		munmap(start + bytes, HUGE_BYTES - head);
	return start;
}

static int open_memfd(struct backing *b, bool huge, struct failure *f)
{
	unsigned size = b->leaf == PAGETABLE_1G ? (unsigned)MFD_HUGE_1GB : (unsigned)MFD_HUGE_2MB;
	unsigned flags = MFD_CLOEXEC | (huge ? (unsigned)MFD_HUGETLB | size : 0);

	b->fd = memfd_create("slat-pool", flags);
	if (b->fd < 0 && huge)
		return refuse_huge(b, f);
	if (b->fd < 0)
		return fail(f, EXIT_HOST, "cannot create a memfd for --memory shared=on: %s", strerror(errno));
	if (ftruncate(b->fd, (off_t)b->bytes) != 0) {
		fail(f, EXIT_HOST, "cannot size a memfd to %s: %s", size_format(b->bytes).s, strerror(errno));
		backing_close(b);
		return f->code;
	}
	return 0;
}

static void *map_huge(const struct backing *b)
{
	if (b->fd >= 0)
		return mmap(NULL, b->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	return mmap(NULL, b->bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (b->leaf == PAGETABLE_1G ? MAP_HUGE_1GB : MAP_HUGE_2MB),
		    -1, 0);
}

static void *map_plain(const struct backing *b)
{
	return b->fd >= 0 ? map_aligned(b->bytes, MAP_SHARED, b->fd)
			  : map_aligned(b->bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void choose_thp(struct backing *b, bool wanted)
{
	const char *file = b->fd >= 0 ? SYS_THP "shmem_enabled" : SYS_THP "enabled";

	if (wanted && b->bytes >= HUGE_BYTES && thp_allowed(file) && madvise(b->host, b->bytes, MADV_HUGEPAGE) == 0)
		b->leaf = PAGETABLE_2M;
	else if (!wanted)
		madvise(b->host, b->bytes, MADV_NOHUGEPAGE);
}

int backing_open(struct backing *b, const struct backing_config *config, struct failure *f)
{
	*b = (struct backing){
		.bytes = config->bytes, .fd = -1, .leaf = config->hugepages ? config->huge : PAGETABLE_4K};
	if (check_host(config, f))
		return f->code;
	b->kind = config->hugepages ? BACKING_HUGETLB : config->shared ? BACKING_MEMFD : BACKING_ANONYMOUS;
	if (config->shared && open_memfd(b, config->hugepages, f))
		return f->code;
	b->host = config->hugepages ? map_huge(b) : map_plain(b);
	if (b->host == MAP_FAILED) {
		b->host = NULL;
		if (config->hugepages)
			refuse_huge(b, f);
		else
			fail(f, EXIT_HOST, "the host cannot map %s: %s", size_format(b->bytes).s, strerror(errno));
		backing_close(b);
		return f->code;
	}
	if (!config->hugepages)
		choose_thp(b, config->thp);
	return 0;
}

void backing_close(struct backing *b)
{
	if (b->host)
		munmap(b->host, b->bytes);
	if (b->fd >= 0)
		close(b->fd);
	*b = (struct backing){.fd = -1};
}

/* Signals that end a run are held back by now (vm_hold_signals), and this can take minutes. */
static bool end_is_pending(void)
{
	sigset_t set;

	return sigpending(&set) == 0 &&
	       (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) || sigismember(&set, SIGHUP));
}

static int touch(uint8_t *host, uint64_t bytes)
{
	if (madvise(host, bytes, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno != EINVAL)
		return errno;
	for (uint64_t at = 0; at < bytes; at += FRAME_BYTES) /* a kernel before 5.14 */
		*(volatile uint8_t *)(host + at) = 0;
	return 0;
}

int backing_prefault(const struct backing *b, uint64_t from, uint64_t bytes, struct failure *f)
{
	const bool show = bytes > PREFAULT_BYTES && isatty(STDERR_FILENO);

	for (uint64_t at = 0; at < bytes; at += PREFAULT_BYTES) {
		uint64_t left = bytes - at;

		if (show)
			fprintf(stderr, "\rslat: touching memory: %" PRIu64 " of %" PRIu64 " MiB ", at >> 20,
				bytes >> 20);
		int error = touch(b->host + from + at, left < PREFAULT_BYTES ? left : PREFAULT_BYTES);

		if (error)
			return fail(f, EXIT_HOST, "--memory prefault=on: the host could not provide all of %s: %s",
				    size_format(bytes).s, strerror(error));
		if (end_is_pending())
			return fail(f, EXIT_SIGNAL, "ended by a signal before the guest had its %s",
				    size_format(bytes).s);
	}
	if (show)
		fprintf(stderr, "\r\033[K");
	return 0;
}

/* The kernel backs a whole huge page at the first touch of any of it. Of a hugetlb page nothing can be spared. */
void backing_spare(const struct backing *b, uint64_t from, uint64_t bytes)
{
	const uint64_t first = from & ~(HUGE_BYTES - 1), end = (from + bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);

	if (b->kind != BACKING_HUGETLB)
		(void)madvise(b->host + first, (end < b->bytes ? end : b->bytes) - first, MADV_NOHUGEPAGE);
}

FILE *backing_smaps_open(void)
{
	return fopen("/proc/self/smaps", "re");
}

/* Sums the mappings of [host, host + bytes): the kernel may show one mapping as several. */
struct backing_use backing_use_read(const struct backing *b, FILE *smaps)
{
	struct backing_use use = {0};
	bool inside = false;
	char line[256];

	if (smaps)
		rewind(smaps);
	while (smaps && fgets(line, sizeof(line), smaps)) {
		uint64_t first, end, kib;
		char key[64];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &first, &end) == 2)
			inside = first >= (uintptr_t)b->host && end <= (uintptr_t)b->host + b->bytes;
		else if (inside && sscanf(line, "%63[^:]: %" SCNu64 " kB", key, &kib) == 2) {
			bool hugetlb = !strcmp(key, "Private_Hugetlb") || !strcmp(key, "Shared_Hugetlb");

			if (hugetlb || !strcmp(key, "Rss"))
				use.resident += kib << 10;
			if (hugetlb || !strcmp(key, "AnonHugePages") || !strcmp(key, "ShmemPmdMapped"))
				use.huge += kib << 10;
		}
	}
	return use;
}
