/* vmm/limits.c: what the process may use of the host.
 *
 * What it is. A snapshot of limits that others set: the cpuset and the affinity that
 * slat was started in, the limits on memory and on huge pages of its control groups,
 * RLIMIT_MEMLOCK. It is
 * taken once, before a thread confines itself, since Cpus_allowed_list is the main
 * thread's own affinity within its cpuset. It is not a lock on anything: a limit that
 * is lowered later is met by the kernel's own means.
 *
 * Words. Group: a control group, a directory below a mount of the cgroup file systems.
 * Hierarchy: one such mount: v2's has no name; of v1's those with "memory" and "hugetlb"
 * count. A host may have both at once (memory in v1, the rest in v2), so all are walked, and
 * the tightest is what counts. Figure: what a group limits, by a file of its own: memory,
 * and of huge pages of a size those in use and those promised. Room: the limit less what the group holds that the
 * kernel cannot take back by itself; its cache of files is not in that.
 *
 * How a group is found. /proc/self/cgroup names it from the hierarchy's root;
 * /proc/self/mountinfo has which part of the hierarchy is mounted where. In a container
 * the two may not meet (a group outside of what is mounted, "/.." in its name): then
 * what is mounted is taken for the process's own, as container runtimes mean it. Every
 * group from there up to the mount has a say; the ones above the mount cannot be seen.
 *
 * Failure. What cannot be read limits nothing: a wrong refusal is worse than a sentence
 * of the kernel's. memory.high is no limit: it slows, and does not end. Lines and paths of any length are read; a path
 * beyond PATH_MAX is nobody's.
 *
 * Rejected. libcgroup: a library for two files. sched_getaffinity() for the CPUs: it
 * tells the same, and cannot be shown another host. */
#include "vmm/limits.h"

#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "mm/types.h"
#include "vmm/hostfs.h"
#include "vmm/size.h"

/* v1 says "none" by the largest number of whole pages that a signed one holds. */
#define V1_NONE (UINT64_C(1) << 62)

struct figure {
	const char *max, *now, *cache[2]; /* the files; the lines of memory.stat that are no use of it, if any */
	uint64_t *max_bytes, *room_bytes; /* the tightest so far, */
	char *tightest;			  /* of that group; LIMITS_GROUP_BYTES */
};

struct hierarchy {
	const char *controller; /* NULL: v2 */
	const struct figure *figure;
	unsigned figures;
	char group[PATH_MAX]; /* from the hierarchy's root; "": the process is in none */
};

/* ---- lines ---- */

/* What follows the name at the line's beginning; NULL: it is another line. */
static const char *value_of(const char *line, const char *name)
{
	size_t length = strlen(name);

	return strncmp(line, name, length) == 0 ? line + length + strspn(line + length, " \t") : NULL;
}

/* ---- /proc/self/status ---- */

struct status {
	struct limits *l;
	bool malformed, may_lock;
};

static bool status_line(void *self, char *line)
{
	struct status *s = self;
	const char *value;

	if ((value = value_of(line, "Cpus_allowed_list:")))
		s->malformed |= !ids_parse(&s->l->cpus, value);
	else if ((value = value_of(line, "Mems_allowed_list:")))
		s->malformed |= !ids_parse(&s->l->nodes, value);
	else if ((value = value_of(line, "CapEff:")))
		s->may_lock = strtoull(value, NULL, 16) >> CAP_IPC_LOCK & 1;
	else if ((value = value_of(line, "VmLck:")) && hostfs_decimal(value, &s->l->locked_bytes, NULL))
		s->l->locked_bytes *= 1024;
	return true;
}

static int read_status(const char *root, struct limits *l, struct failure *f)
{
	struct status s = {.l = l};
	struct rlimit lock;

	hostfs_lines(root, "/proc/self/status", status_line, &s);
	if (s.malformed)
		return fail(f, EXIT_HOST, "%s/proc/self/status has no lists of allowed CPUs and nodes that can be read",
			    root);
	if (!s.may_lock && getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur != RLIM_INFINITY)
		l->lock_max_bytes = lock.rlim_cur;
	return 0;
}

/* ---- control groups ---- */

static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += length)
		if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
			return true;
	return false;
}

/* "4:cpu,memory:/path", and v2's "0::/path". */
static bool membership_line(void *self, char *line)
{
	struct hierarchy *h = self;
	char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!group)
		return true;
	*group++ = '\0';
	controllers++;
	if (h->controller ? !has_word(controllers, h->controller) : *controllers)
		return true;
	if (*group == '/' && strlen(group) < sizeof(h->group))
		strcpy(h->group, group);
	return false;
}

/* The kernel writes blanks and backslashes of a path as \040. */
static void unescape(char *path)
{
	char *to = path;

	for (const char *from = path; *from; to++) {
		bool octal = from[0] == '\\' && strspn(from + 1, "01234567") >= 3;

		*to = octal ? (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0')) : *from;
		from += octal ? 4 : 1;
	}
	*to = '\0';
}

struct walk {
	const char *root;
	const struct hierarchy *h;
};

struct held {
	const struct figure *figure;
	uint64_t cache;
};

static bool stat_line(void *self, char *line)
{
	struct held *s = self;
	const char *value;
	uint64_t bytes;

	for (unsigned i = 0; i < 2; i++)
		if ((value = value_of(line, s->figure->cache[i])) && hostfs_decimal(value, &bytes, NULL))
			s->cache += bytes;
	return true;
}

/* What a group's limit leaves. False: it has none. */
static bool room_of(const char *root, const char *group, const struct figure *figure, uint64_t *max, uint64_t *room)
{
	struct held held = {.figure = figure};
	char path[PATH_MAX];
	uint64_t now = 0;

	if (!hostfs_number(root, max, "%s/%s", group, figure->max) || *max >= V1_NONE) /* v2 says "max" */
		return false;
	if (hostfs_number(root, &now, "%s/%s", group, figure->now) && figure->cache[0] &&
	    (size_t)snprintf(path, sizeof(path), "%s/memory.stat", group) < sizeof(path))
		hostfs_lines(root, path, stat_line, &held);
	now -= held.cache < now ? held.cache : now;
	*room = now < *max ? *max - now : 0;
	return true;
}

static void look_at_group(const struct walk *w, const char *group)
{
	const size_t length = strlen(group), skip = length < LIMITS_GROUP_BYTES ? 0 : length - LIMITS_GROUP_BYTES + 1;

	for (const struct figure *f = w->h->figure; f < w->h->figure + w->h->figures; f++) {
		uint64_t max, room;

		if (!room_of(w->root, group, f, &max, &room) || room >= *f->room_bytes)
			continue;
		*f->room_bytes = room;
		*f->max_bytes = max;
		strcpy(f->tightest, group + skip);
	}
}

/* From the group up to where the hierarchy is mounted. */
static void walk_up(const struct walk *w, const char *mount, const char *below)
{
	char group[2 * PATH_MAX];
	size_t least = strlen(mount);
	char *slash;

	if ((size_t)snprintf(group, sizeof(group), "%s%s", mount, below) >= sizeof(group))
		return;
	for (;;) {
		look_at_group(w, group);
		slash = strrchr(group, '/');
		if (!slash || (size_t)(slash - group) < least)
			return;
		*slash = '\0';
	}
}

/* What of the process's group lies below what is mounted; "": what is mounted is all there is to see. */
static const char *below_mount(const char *group, const char *mounted)
{
	size_t length = strlen(mounted);

	if (length == 1) /* "/" */
		length = 0;
	if (strncmp(group, mounted, length) != 0 || group[length] != '/' || !group[length + 1] || strstr(group, "/.."))
		return "";
	return group + length;
}

/* "31 23 0:28 /root /mount rw,relatime shared:1 - type source options" */
static bool mount_line(void *self, char *line)
{
	const struct walk *w = self;
	char *field[5], *rest = line, *behind = strstr(line, " - "), *type;

	if (!behind)
		return true;
	*behind = '\0';
	for (unsigned i = 0; i < 5; i++)
		if (!(field[i] = strsep(&rest, " ")))
			return true;
	rest = behind + 3;
	type = strsep(&rest, " ");
	strsep(&rest, " ");
	if (strcmp(type, w->h->controller ? "cgroup" : "cgroup2") != 0 ||
	    (w->h->controller && !has_word(rest ? rest : "", w->h->controller)))
		return true;
	unescape(field[3]);
	unescape(field[4]);
	walk_up(w, field[4], below_mount(w->h->group, field[3]));
	return false;
}

static void read_hierarchy(const char *root, const char *controller, const struct figure *figure, unsigned figures)
{
	struct hierarchy h = {.controller = controller, .figure = figure, .figures = figures};
	struct walk w = {root, &h};

	hostfs_lines(root, "/proc/self/cgroup", membership_line, &h);
	if (h.group[0])
		hostfs_lines(root, "/proc/self/mountinfo", mount_line, &w);
}

#define MEMORY(l)	&(l)->group_max_bytes, &(l)->group_room_bytes, (l)->group
#define HUGE(l, size)	&(l)->huge[size].max_bytes, &(l)->huge[size].room_bytes, (l)->huge[size].group
#define FIGURES(figure) (figure), sizeof(figure) / sizeof((figure)[0])

static void read_groups(const char *root, struct limits *l)
{
	const struct figure memory[] = {{"memory.limit_in_bytes",
					 "memory.usage_in_bytes",
					 {"total_active_file ", "total_inactive_file "},
					 MEMORY(l)}};
	const struct figure huge[] = {
		{"hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.usage_in_bytes", {NULL}, HUGE(l, NUMA_HUGE_2M)},
		{"hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.usage_in_bytes", {NULL}, HUGE(l, NUMA_HUGE_2M)},
		{"hugetlb.1GB.limit_in_bytes", "hugetlb.1GB.usage_in_bytes", {NULL}, HUGE(l, NUMA_HUGE_1G)},
		{"hugetlb.1GB.rsvd.limit_in_bytes", "hugetlb.1GB.rsvd.usage_in_bytes", {NULL}, HUGE(l, NUMA_HUGE_1G)},
	};
	const struct figure v2[] = {
		{"memory.max", "memory.current", {"active_file ", "inactive_file "}, MEMORY(l)},
		{"hugetlb.2MB.max", "hugetlb.2MB.current", {NULL}, HUGE(l, NUMA_HUGE_2M)},
		{"hugetlb.2MB.rsvd.max", "hugetlb.2MB.rsvd.current", {NULL}, HUGE(l, NUMA_HUGE_2M)},
		{"hugetlb.1GB.max", "hugetlb.1GB.current", {NULL}, HUGE(l, NUMA_HUGE_1G)},
		{"hugetlb.1GB.rsvd.max", "hugetlb.1GB.rsvd.current", {NULL}, HUGE(l, NUMA_HUGE_1G)},
	};

	read_hierarchy(root, "memory", FIGURES(memory));
	read_hierarchy(root, "hugetlb", FIGURES(huge));
	read_hierarchy(root, NULL, FIGURES(v2));
}

int limits_read(const char *root, struct limits *l, struct failure *f)
{
	*l = (struct limits){
		.group_max_bytes = LIMITS_NONE,
		.group_room_bytes = LIMITS_NONE,
		.huge = {{LIMITS_NONE, LIMITS_NONE, ""}, {LIMITS_NONE, LIMITS_NONE, ""}},
		.lock_max_bytes = LIMITS_NONE,
	};
	memset(&l->cpus, 0xff, sizeof(l->cpus));
	memset(&l->nodes, 0xff, sizeof(l->nodes));
	if (read_status(root, l, f))
		return f->code;
	read_groups(root, l);
	return 0;
}

/* ---- what is asked ---- */

int limits_check_memory(const struct limits *l, const char *what, uint64_t bytes, struct failure *f)
{
	if (bytes <= l->group_room_bytes)
		return 0;
	return fail(f, EXIT_HOST,
		    "%s: %s asked, and the control group %s has room for %s of its limit of %s: raise that, or ask for "
		    "less",
		    what, size_format(bytes).s, l->group, size_format(l->group_room_bytes).s,
		    size_format(l->group_max_bytes).s);
}

int limits_check_huge(const struct limits *l, const char *what, enum numa_huge_size size, uint64_t bytes,
		      struct failure *f)
{
	const struct limits_huge *huge = &l->huge[size];

	if (bytes <= huge->room_bytes)
		return 0;
	return fail(
		f, EXIT_HOST,
		"%s: %s of huge pages of %s asked, and the control group %s has room for %s of its limit of %s: raise "
		"that, or ask for less",
		what, size_format(bytes).s, size_format(numa_huge_bytes(size)).s, huge->group,
		size_format(huge->room_bytes).s, size_format(huge->max_bytes).s);
}

struct huge_free {
	uint64_t host, cpuset; /* without what is promised; on nodes that are allowed, promised or not */
};

static struct huge_free huge_free_of(const struct limits *l, const struct numa_map *m, enum numa_huge_size size)
{
	const uint64_t promised = m->huge_promised[size];
	struct huge_free all = {0};

	for (unsigned i = 0; i < m->nodes; i++) {
		all.host += m->node[i].huge[size].free;
		all.cpuset += ids_has(&l->nodes, m->node[i].id) ? m->node[i].huge[size].free : 0;
	}
	all.host -= promised < all.host ? promised : all.host;
	return all;
}

uint64_t limits_huge_pages(const struct limits *l, const struct numa_map *m, enum numa_huge_size size)
{
	const uint64_t room = l->huge[size].room_bytes / numa_huge_bytes(size);
	const struct huge_free has = huge_free_of(l, m, size);
	const uint64_t pages = has.host < has.cpuset ? has.host : has.cpuset;

	return pages < room ? pages : room;
}

int limits_check_huge_nodes(const struct limits *l, const struct numa_map *m, const char *what,
			    enum numa_huge_size size, uint64_t pages, struct failure *f)
{
	const struct huge_free has = huge_free_of(l, m, size);

	if (pages <= has.cpuset || pages > has.host)
		return 0;
	return fail(f, EXIT_HOST,
		    "%s: %" PRIu64 " huge pages of %s asked, and nodes %s, which are the cpuset that slat was started "
		    "in, have %" PRIu64 " free; this host has %" PRIu64 ": start slat in a larger cpuset, or ask for "
		    "less",
		    what, pages, size_format(numa_huge_bytes(size)).s, ids_format(&l->nodes).s, has.cpuset, has.host);
}

int limits_check_lock(const struct limits *l, const char *what, uint64_t bytes, struct failure *f)
{
	if (l->lock_max_bytes == LIMITS_NONE ||
	    (l->locked_bytes <= l->lock_max_bytes && bytes <= l->lock_max_bytes - l->locked_bytes))
		return 0;
	return fail(
		f, EXIT_HOST,
		"%s: %s cannot be locked (mlock=on), for the limit of this process is %s (RLIMIT_MEMLOCK), of which %s "
		"are locked: raise it (ulimit -l, LimitMEMLOCK=), or give slat CAP_IPC_LOCK",
		what, size_format(bytes).s, size_format(l->lock_max_bytes).s, size_format(l->locked_bytes).s);
}

int limits_check_addresses(const char *what, uint64_t bytes, uint64_t more, struct failure *f)
{
	struct rlimit most;
	uint64_t pages;

	if (getrlimit(RLIMIT_AS, &most) != 0 || most.rlim_cur == RLIM_INFINITY ||
	    !hostfs_number("", &pages, "/proc/self/statm") ||
	    (bytes + more <= most.rlim_cur && pages * FRAME_BYTES <= most.rlim_cur - bytes - more))
		return 0;
	return fail(f, EXIT_HOST,
		    "%s: %s cannot be mapped, for the limit of this process is %s of addresses (RLIMIT_AS), of which "
		    "%s are taken: raise it (ulimit -v, LimitAS=)",
		    what, size_format(bytes).s, size_format(most.rlim_cur).s, size_format(pages * FRAME_BYTES).s);
}

int limits_check_nodes(const struct limits *l, const char *what, const struct ids *nodes, struct failure *f)
{
	unsigned id = 0;

	if (ids_within(nodes, &l->nodes))
		return 0;
	while (ids_has(&l->nodes, id = ids_next(nodes, id)))
		id++;
	return fail(f, EXIT_HOST, "%s: memory node %u is outside the cpuset that slat was started in, which allows %s",
		    what, id, ids_format(&l->nodes).s);
}
