/* vmm/limits.c: what the process may use of the host.
 *
 * What it is. A snapshot of limits that others set: the cpuset and the affinity that
 * slat was started in, the memory limits of its control groups, RLIMIT_MEMLOCK. It is
 * taken once, before a thread confines itself, since Cpus_allowed_list is the main
 * thread's own affinity within its cpuset. It is not a lock on anything: a limit that
 * is lowered later is met by the kernel's own means.
 *
 * Words. Group: a control group, a directory below a mount of the cgroup file systems.
 * Hierarchy: one such mount: v2's has no name; of v1's the one with "memory" counts.
 * A host may have both at once (memory in v1, the rest in v2), so both are walked, and
 * the tighter one is what counts. Room: the limit less what the group holds that the
 * kernel cannot take back by itself; its cache of files is not in that.
 *
 * How a group is found. /proc/self/cgroup names it from the hierarchy's root;
 * /proc/self/mountinfo has which part of the hierarchy is mounted where. In a container
 * the two may not meet (a group outside of what is mounted, "/.." in its name): then
 * what is mounted is taken for the process's own, as container runtimes mean it. Every
 * group from there up to the mount has a say; the ones above the mount cannot be seen.
 *
 * Failure. What cannot be read limits nothing: a wrong refusal is worse than a sentence
 * of the kernel's. memory.high is no limit: it slows, and does not end. A group's limit
 * on huge pages is not looked at. Lines and paths of any length are read; a path beyond
 * PATH_MAX is nobody's.
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

#include "vmm/hostfs.h"
#include "vmm/size.h"

/* v1 says "none" by the largest number of whole pages that a signed one holds. */
#define V1_NONE (UINT64_C(1) << 62)

struct hierarchy {
	bool v2;
	const char *max, *now, *cache[2]; /* the files, and the lines of memory.stat */
	char group[PATH_MAX];		  /* from the hierarchy's root; "": the process is in none */
};

/* ---- lines ---- */

/* each() with every line, whole whatever its length, until it answers false. False iff the file cannot be read. */
static bool lines(const char *root, const char *path, bool (*each)(void *self, char *line), void *self)
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

	lines(root, "/proc/self/status", status_line, &s);
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
	if (h->v2 ? *controllers : !has_word(controllers, "memory"))
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
	struct limits *l;
};

struct held {
	const struct hierarchy *h;
	uint64_t cache;
};

static bool stat_line(void *self, char *line)
{
	struct held *s = self;
	const char *value;
	uint64_t bytes;

	for (unsigned i = 0; i < 2; i++)
		if ((value = value_of(line, s->h->cache[i])) && hostfs_decimal(value, &bytes, NULL))
			s->cache += bytes;
	return true;
}

static void look_at_group(const struct walk *w, const char *group)
{
	struct held held = {.h = w->h};
	uint64_t max, now = 0, room;
	char path[PATH_MAX];
	size_t length = strlen(group), skip = 0;

	if (!hostfs_number(w->root, &max, "%s/%s", group, w->h->max) || max >= V1_NONE) /* v2 says "max" */
		return;
	if (hostfs_number(w->root, &now, "%s/%s", group, w->h->now) &&
	    (size_t)snprintf(path, sizeof(path), "%s/memory.stat", group) < sizeof(path))
		lines(w->root, path, stat_line, &held);
	now -= held.cache < now ? held.cache : now;
	room = now < max ? max - now : 0;
	if (room >= w->l->group_room_bytes)
		return;
	w->l->group_room_bytes = room;
	w->l->group_max_bytes = max;
	if (length >= sizeof(w->l->group))
		skip = length - sizeof(w->l->group) + 1;
	strcpy(w->l->group, group + skip);
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
	if (strcmp(type, w->h->v2 ? "cgroup2" : "cgroup") != 0 || (!w->h->v2 && !has_word(rest ? rest : "", "memory")))
		return true;
	unescape(field[3]);
	unescape(field[4]);
	walk_up(w, field[4], below_mount(w->h->group, field[3]));
	return false;
}

static void read_groups(const char *root, struct hierarchy *h, struct limits *l)
{
	struct walk w = {root, h, l};

	lines(root, "/proc/self/cgroup", membership_line, h);
	if (h->group[0])
		lines(root, "/proc/self/mountinfo", mount_line, &w);
}

int limits_read(const char *root, struct limits *l, struct failure *f)
{
	struct hierarchy v1 = {
		.max = "memory.limit_in_bytes",
		.now = "memory.usage_in_bytes",
		.cache = {"total_active_file ", "total_inactive_file "},
	};
	struct hierarchy v2 = {
		.v2 = true,
		.max = "memory.max",
		.now = "memory.current",
		.cache = {"active_file ", "inactive_file "},
	};

	*l = (struct limits){
		.group_max_bytes = LIMITS_NONE,
		.group_room_bytes = LIMITS_NONE,
		.lock_max_bytes = LIMITS_NONE,
	};
	memset(&l->cpus, 0xff, sizeof(l->cpus));
	memset(&l->nodes, 0xff, sizeof(l->nodes));
	if (read_status(root, l, f))
		return f->code;
	read_groups(root, &v1, l);
	read_groups(root, &v2, l);
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

int limits_check_lock(const struct limits *l, const char *what, uint64_t bytes, struct failure *f)
{
	if (l->lock_max_bytes == LIMITS_NONE ||
	    (l->locked_bytes <= l->lock_max_bytes && bytes <= l->lock_max_bytes - l->locked_bytes))
		return 0;
	return fail(f, EXIT_HOST,
		    "%s: %s cannot be locked, for the limit of this process is %s, of which %s are locked: raise it "
		    "(ulimit -l, LimitMEMLOCK=), or give slat CAP_IPC_LOCK",
		    what, size_format(bytes).s, size_format(l->lock_max_bytes).s, size_format(l->locked_bytes).s);
}

static int check_ids(const struct ids *allowed, const char *kind, const char *what, const struct ids *asked,
		     struct failure *f)
{
	unsigned id = 0;

	if (ids_within(asked, allowed))
		return 0;
	while (ids_has(allowed, id = ids_next(asked, id)))
		id++;
	return fail(f, EXIT_HOST, "%s: %s %u is outside the cpuset that slat was started in, which allows %s", what,
		    kind, id, ids_format(allowed).s);
}

int limits_check_nodes(const struct limits *l, const char *what, const struct ids *nodes, struct failure *f)
{
	return check_ids(&l->nodes, "memory node", what, nodes, f);
}

int limits_check_cpus(const struct limits *l, const char *what, const struct ids *cpus, struct failure *f)
{
	return check_ids(&l->cpus, "CPU", what, cpus, f);
}
