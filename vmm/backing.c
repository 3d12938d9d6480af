/* vmm/backing.c
 *
 * Private memory is anonymous and shared memory is a memfd; a private mapping
 * of a memfd, which doubles memory at the first write, cannot be asked for.
 * Nothing is reserved at open but hugetlb pages: those are taken at mmap, so
 * that a guest cannot run into a missing one later (SIGBUS). The kernel reserves them
 * for the host and not by node: with a node they are counted on it here, before
 * the mapping, and only touching them makes it certain.
 * The mapping is 2M-aligned, else no huge page could ever fit it. It lies below all else of
 * the process where that is free, at random: numa_maps is read from its start to the guest's
 * memory, and each mapping before that is walked (resident.c).
 *
 * Device-dax. Its memory is mapped as it is, so that
 * B1. host, first and bytes are multiples of the device's alignment, which is the page that the host maps it by:
 *     a leaf of that size is right on both sides;
 * B2. nobody else has it: the device is locked (flock) as long as it is open, against another slat; nothing
 *     holds off a program that does not ask;
 * B3. it holds zeroes when backing_clear() comes back: no kernel wiped it after its last user. All of it is touched
 *     by that, by all workers, and prefault has nothing left to do. It is not done by backing_open(), so that what
 *     is refused later was not destroyed before (host_clear()).
 * Who may not read the physical address (not root) gets the memory nevertheless, with frames that are numbers of
 * slat's own, and a note.
 *
 * Locking memory (mlock) is by what is touched: locked whole, memory that the guest is
 * never to have would be brought in, guards too. hugetlb and device-dax are never swapped out and need no lock. */
#include "vmm/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "vmm/devdax.h"
#include "vmm/entropy.h"
#include "vmm/limits.h"
#include "vmm/numa_map.h"
#include "vmm/prefault.h"
#include "vmm/size.h"
#include "vmm/sys.h"

#define HUGE_BYTES pagetable_size_bytes(PAGETABLE_2M)
#define LOW_FIRST  (UINT64_C(1) << 40)
#define LOW_END	   (UINT64_C(1) << 46)
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif
#ifndef MAP_HUGE_1GB
#define MAP_HUGE_1GB (30 << 26)
#endif

const char *backing_kind_name(enum backing_kind k)
{
	static const char *const names[] = {"anonymous", "memfd", "hugetlb", "devdax"};

	return names[k];
}

int backing_check_host(const char *option, uint64_t bytes, struct failure *f)
{
	struct sysinfo host;
	uint64_t total;

	if (sysinfo(&host) != 0)
		return fail(f, EXIT_HOST, "cannot read how much memory the host has: %s", strerror(errno));
	total = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
	if (bytes > total)
		return fail(f, EXIT_HOST,
			    "%s size=%s is more than the host has: %" PRIu64
			    " MiB of RAM and swap together; ask for less",
			    option, size_format(bytes).s, total >> 20);
	return 0;
}

static int refuse_huge(const struct backing *b, struct failure *f)
{
	const bool giant = b->leaf == PAGETABLE_1G;
	const char *size = giant ? "1 GiB" : "2 MiB", *option = b->zone ? b->zone : "--memory hugepages=on";
	uint64_t free_pages = 0, reserved = 0, asked = b->bytes / pagetable_size_bytes(b->leaf);
	int error = errno; /* of the call that was refused */

	if (!sys_number(giant ? SYS_HUGETLB_1G "free_hugepages" : SYS_HUGETLB_2M "free_hugepages", &free_pages))
		return fail(f, EXIT_HOST, "%s: this kernel has no %s huge pages", option, size);
	sys_number(giant ? SYS_HUGETLB_1G "resv_hugepages" : SYS_HUGETLB_2M "resv_hugepages", &reserved);
	if (free_pages - reserved >= asked)
		return fail(f, EXIT_HOST,
			    "%s: cannot map %" PRIu64 " huge pages of %s, though %" PRIu64 " are free: %s", option,
			    asked, size, free_pages - reserved, strerror(error));
	if (giant)
		return fail(f, EXIT_HOST,
			    "%s%s asks for %" PRIu64 " huge pages of 1 GiB and %" PRIu64
			    " are available; get more as root: echo %" PRIu64 " >" SYS_HUGETLB_1G
			    "nr_hugepages, or use hugepage_size=2M",
			    option, b->zone ? "" : ",hugepage_size=1G", asked, free_pages - reserved, asked + reserved);
	return fail(f, EXIT_HOST,
		    "%s asks for %" PRIu64 " huge pages of 2 MiB and %" PRIu64
		    " are available; get more as root: sysctl vm.nr_hugepages=%" PRIu64 ", or use %s",
		    option, asked, free_pages - reserved, asked + reserved,
		    b->zone ? "another backing" : "hugepages=off");
}

static bool thp_allowed(const char *file)
{
	char word[32];

	return sys_choice(file, word, sizeof(word)) && strcmp(word, "never") != 0 && strcmp(word, "deny") != 0;
}

/* Below where the kernel places programs. NULL: anywhere. */
static void *low_place(void)
{
	uint64_t chance;

	if (!entropy_fill(NULL, (uint8_t *)&chance, sizeof(chance)))
		return NULL;
	return (void *)(uintptr_t)((LOW_FIRST + chance % (LOW_END - LOW_FIRST)) & ~(HUGE_BYTES - 1));
}

/* An aligned mapping: map too much, give the ends back. */
static uint8_t *map_aligned(const struct backing *b, uint64_t align, int flags)
{
	uint8_t *all =
		mmap(low_place(), b->bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *start;
	uint64_t head;

	if (all == MAP_FAILED)
		return MAP_FAILED;
	head = -(uintptr_t)all & (align - 1);
	start = all + head;
	if (mmap(start, b->bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, b->fd, 0) == MAP_FAILED) {
		const int error = errno;

		munmap(all, b->bytes + align);
		errno = error;
		return MAP_FAILED;
	}
	if (head)
		munmap(all, head);
	if (head < align)
		munmap(start + b->bytes, align - head);
	return start;
}

static int flags_of(const struct backing *b, bool reserve)
{
	int flags = b->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;

	if (b->kind == BACKING_HUGETLB && b->fd < 0)
		flags |= MAP_HUGETLB | (b->leaf == PAGETABLE_1G ? MAP_HUGE_1GB : MAP_HUGE_2MB);
	if ((b->kind == BACKING_ANONYMOUS || b->kind == BACKING_MEMFD) && !reserve)
		flags |= MAP_NORESERVE;
	return flags;
}

static uint64_t align_of(const struct backing *b)
{
	const uint64_t leaf = pagetable_size_bytes(b->leaf);

	return leaf > HUGE_BYTES ? leaf : HUGE_BYTES;
}

/* Where it stays: a kernel before 5.16 does not move hugetlb. */
static bool map_pages(struct backing *b, uint8_t *at, bool reserve)
{
	const int flags = flags_of(b, reserve);

	b->host = at ? mmap(at, b->bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, b->fd, 0)
		     : map_aligned(b, align_of(b), flags);
	if (b->host != MAP_FAILED)
		return true;
	b->host = NULL;
	return false;
}

static int open_memfd(struct backing *b, bool huge, struct failure *f)
{
	unsigned size = b->leaf == PAGETABLE_1G ? (unsigned)MFD_HUGE_1GB : (unsigned)MFD_HUGE_2MB;
	unsigned flags = MFD_CLOEXEC | (huge ? (unsigned)MFD_HUGETLB | size : 0);

	b->fd = memfd_create("slat-pool", flags);
	if (b->fd < 0 && huge)
		return refuse_huge(b, f);
	if (b->fd < 0)
		return fail(f, EXIT_HOST, "cannot create a memfd for %s: %s", b->zone ? b->zone : "--memory shared=on",
			    strerror(errno));
	if (ftruncate(b->fd, (off_t)b->bytes) != 0)
		return fail(f, EXIT_HOST, "%s: cannot size a memfd to %s: %s", b->zone ? b->zone : "--memory shared=on",
			    size_format(b->bytes).s, strerror(errno));
	return 0;
}

/* Private memory without huge pages is what most hosts choose knowingly; for shared memory it is a default. */
static void note_thp(struct backing *b)
{
	char word[32] = "absent";

	(void)sys_choice(SYS_THP "shmem_enabled", word, sizeof(word));
	snprintf(b->note, sizeof(b->note),
		 "%s: shared memory gets no transparent huge pages on this host (shmem_enabled is %s); as root: echo "
		 "advise >" SYS_THP "shmem_enabled",
		 b->zone ? b->zone : "--memory shared=on,thp=on", word);
}

static void choose_thp(struct backing *b, bool wanted)
{
	if (!wanted || b->bytes < HUGE_BYTES)
		return;
	if (thp_allowed(b->fd >= 0 ? SYS_THP "shmem_enabled" : SYS_THP "enabled"))
		b->leaf = PAGETABLE_2M;
	else if (b->fd >= 0)
		note_thp(b);
}

static void advise_thp(struct backing *b, bool wanted)
{
	if (!wanted)
		(void)madvise(b->host, b->bytes, MADV_NOHUGEPAGE);
	else if (b->leaf == PAGETABLE_2M && madvise(b->host, b->bytes, MADV_HUGEPAGE) != 0)
		b->leaf = PAGETABLE_4K;
}

/* ---- device-dax ---- */

static int check_device(struct backing *b, const struct backing_config *config, const struct devdax *d,
			struct failure *f)
{
	const char *option = config->zone ? config->zone : "--memory";

	if (config->bytes > d->bytes)
		return fail(f, EXIT_HOST, "%s size=%s is more than %s has: %s", option, size_format(config->bytes).s,
			    config->devdax, size_format(d->bytes).s);
	if (config->bytes == 0 || config->bytes % d->align)
		return fail(f, EXIT_HOST, "%s size=%s: %s is mapped in pages of %s, so ask for a multiple of that",
			    option, size_format(config->bytes).s, config->devdax, size_format(d->align).s);
	if (config->on_node && d->node >= 0 && config->node != (uint32_t)d->node)
		return fail(f, EXIT_HOST, "%s: %s is memory of node %d, not of node %" PRIu32, option, config->devdax,
			    d->node, config->node);
	b->leaf = d->align >= pagetable_size_bytes(PAGETABLE_1G) ? PAGETABLE_1G
		  : d->align >= HUGE_BYTES			 ? PAGETABLE_2M
								 : PAGETABLE_4K;
	b->node = d->node >= 0 ? (uint32_t)d->node : BACKING_NODE_ANY;
	b->physical = d->resource != 0;
	b->first.n = d->resource / FRAME_BYTES;
	if (!b->physical)
		snprintf(b->note, sizeof(b->note),
			 "%s: only root may read the physical address of %s, so the table's frames are not the host's",
			 option, config->devdax);
	return 0;
}

/* What sysfs tells is of its own device, whatever has that name: a file would be wiped, and said to be at an address.
 */
static bool is_device(int fd, const struct devdax *d)
{
	struct stat s;

	return !d->number || (fstat(fd, &s) == 0 && S_ISCHR(s.st_mode) && s.st_rdev == d->number);
}

static int open_device(struct backing *b, const struct backing_config *config, struct failure *f)
{
	const char *option = config->zone ? config->zone : "--memory";
	struct devdax d;

	if (devdax_read(&d, config->root ? config->root : "", option, config->devdax, f) ||
	    check_device(b, config, &d, f))
		return f->code;
	b->fd = open(config->devdax, O_RDWR | O_CLOEXEC);
	if (b->fd < 0)
		return fail(f, EXIT_HOST, "%s: cannot open %s: %s", option, config->devdax, strerror(errno));
	if (!is_device(b->fd, &d))
		return fail(f, EXIT_HOST, "%s: %s is not the device %s but something of its name", option,
			    config->devdax, d.name);
	if (flock(b->fd, LOCK_EX | LOCK_NB) != 0)
		return fail(f, EXIT_HOST, "%s: %s is in use by another slat", option, config->devdax);
	return 0;
}

/* ---- all kinds ---- */

static const char *option_of(const struct backing_config *config)
{
	return config->zone ? config->zone : config->option ? config->option : "--memory";
}

static int run_workers(const struct backing *b, uint64_t from, uint64_t bytes, struct failure *f)
{
	const struct prefault work = {
		.host = b->host + from,
		.bytes = bytes,
		.piece_bytes = b->leaf == PAGETABLE_1G ? pagetable_size_bytes(PAGETABLE_1G) : 0,
		.workers = b->workers,
		.cpus = b->cpus,
		.show = true,
	};
	const int error = b->kind == BACKING_DEVDAX ? prefault_wipe(&work) : prefault_touch(&work);
	const char *option = b->zone ? b->zone : "--memory prefault=on";

	if (error == PREFAULT_ENDED)
		return fail(f, EXIT_SIGNAL, "ended by a signal before the guest had its %s", size_format(bytes).s);
	if (error == EFAULT && b->kind == BACKING_HUGETLB)
		return fail(f, EXIT_HOST,
			    "%s: the node, or the cgroup, ran out of huge pages before the guest had its %s", option,
			    size_format(bytes).s);
	if (error)
		return fail(f, EXIT_HOST, "%s: the host could not provide all of %s: %s", option, size_format(bytes).s,
			    strerror(error));
	return 0;
}

static int check_huge(const struct backing_config *config, struct failure *f)
{
	const char *option = config->zone ? config->zone : "--memory hugepages=on";
	const unsigned place = numa_map_place(config->map, config->node);

	if (place == NUMA_MAP_NONE)
		return fail(f, EXIT_HOST, "%s: this host has no node %" PRIu32, option, config->node);
	return numa_map_check_huge(config->map, option, place, numa_huge_of(config->huge),
				   config->bytes / pagetable_size_bytes(config->huge), f);
}

static int open_pages(struct backing *b, const struct backing_config *config, struct failure *f)
{
	if (backing_check_host(option_of(config), config->bytes, f))
		return f->code;
	if (config->hugepages && config->on_node && config->map && check_huge(config, f))
		return f->code;
	if (config->reserve && b->kind == BACKING_MEMFD)
		return fail(
			f, EXIT_HOST,
			"%s: reserve=on: the kernel counts a memfd as it is touched, and sets nothing aside for it; "
			"use backing=anon, or prefault=on",
			config->zone ? config->zone : "--memory");
	if (config->shared && open_memfd(b, config->hugepages, f))
		return f->code;
	if (!config->hugepages)
		choose_thp(b, config->thp);
	return 0;
}

/* A mapping is made too large, and its ends are given back (map_aligned()). */
static int refuse_mapping(const struct backing *b, const struct backing_config *config, struct failure *f)
{
	const int error = errno;

	if (error == ENOMEM && limits_check_addresses(option_of(config), b->bytes, align_of(b), f))
		return f->code;
	errno = error;
	if (b->kind == BACKING_HUGETLB)
		return refuse_huge(b, f);
	if (b->kind == BACKING_DEVDAX)
		return fail(f, EXIT_HOST, "%s: cannot map %s: %s", config->zone ? config->zone : "--memory",
			    config->devdax, strerror(error));
	return fail(f, EXIT_HOST, "%s: the host cannot map %s: %s", option_of(config), size_format(b->bytes).s,
		    strerror(error));
}

static int lock_pages(struct backing *b, const struct backing_config *config, struct failure *f)
{
	const char *option = config->zone ? config->zone : "--memory mlock=on";
	struct rlimit most;
	int error;

	if (mlock2(b->host, b->bytes, MLOCK_ONFAULT) == 0) {
		b->locked = true;
		return 0;
	}
	error = errno;
	if ((error == ENOMEM || error == EPERM) && getrlimit(RLIMIT_MEMLOCK, &most) == 0 &&
	    most.rlim_cur != RLIM_INFINITY)
		return fail(f, EXIT_HOST,
			    "%s: this process may lock %s (RLIMIT_MEMLOCK), not %s; raise it (ulimit -l, LimitMEMLOCK= "
			    "of a "
			    "service, or CAP_IPC_LOCK), or leave mlock off",
			    option, size_format(most.rlim_cur).s, size_format(b->bytes).s);
	return fail(f, EXIT_HOST, "%s: cannot lock %s: %s", option, size_format(b->bytes).s, strerror(error));
}

static int finish(struct backing *b, const struct backing_config *config, struct failure *f)
{
	const bool swappable = b->kind == BACKING_ANONYMOUS || b->kind == BACKING_MEMFD;

	if (swappable)
		advise_thp(b, config->thp);
	if (config->no_dump && madvise(b->host, b->bytes, MADV_DONTDUMP) != 0)
		return fail(f, EXIT_HOST, "%s: cannot keep %s out of core files: %s",
			    config->zone ? config->zone : "--memory dontdump=on", size_format(b->bytes).s,
			    strerror(errno));
	if (config->lock && swappable && lock_pages(b, config, f))
		return f->code;
	return 0;
}

int backing_prepare(struct backing *b, const struct backing_config *config, struct failure *f)
{
	*b = (struct backing){
		.kind = config->devdax	    ? BACKING_DEVDAX
			: config->hugepages ? BACKING_HUGETLB
			: config->shared    ? BACKING_MEMFD
					    : BACKING_ANONYMOUS,
		.bytes = config->bytes,
		.fd = -1,
		.leaf = config->hugepages ? config->huge : PAGETABLE_4K,
		.node = config->on_node ? config->node : BACKING_NODE_ANY,
		.zone = config->zone,
		.workers = config->workers,
		.cpus = config->cpus,
	};
	if (config->devdax ? open_device(b, config, f) : open_pages(b, config, f))
		backing_close(b);
	return f->code;
}

int backing_map(struct backing *b, const struct backing_config *config, uint8_t *at, struct failure *f)
{
	if (!map_pages(b, at, config->reserve))
		refuse_mapping(b, config, f);
	else
		(void)finish(b, config, f);
	if (f->code)
		backing_close(b);
	return f->code;
}

int backing_open(struct backing *b, const struct backing_config *config, struct failure *f)
{
	return backing_prepare(b, config, f) || backing_map(b, config, NULL, f) ? f->code : 0;
}

void backing_close(struct backing *b)
{
	if (b->host)
		munmap(b->host, b->bytes);
	if (b->fd >= 0)
		close(b->fd);
	*b = (struct backing){.fd = -1};
}

int backing_clear(const struct backing *b, struct failure *f)
{
	return b->kind == BACKING_DEVDAX ? run_workers(b, 0, b->bytes, f) : 0;
}

int backing_prefault(const struct backing *b, uint64_t from, uint64_t bytes, struct failure *f)
{
	return b->kind == BACKING_DEVDAX ? 0 : run_workers(b, from, bytes, f);
}

/* The kernel backs a whole huge page at the first touch of any of it. Of hugetlb and
 * device-dax nothing can be spared. */
void backing_spare(const struct backing *b, uint64_t from, uint64_t bytes)
{
	const uint64_t first = from & ~(HUGE_BYTES - 1), end = (from + bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);

	if (b->kind != BACKING_HUGETLB && b->kind != BACKING_DEVDAX)
		(void)madvise(b->host + first, (end < b->bytes ? end : b->bytes) - first, MADV_NOHUGEPAGE);
}
