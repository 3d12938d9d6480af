#include "vmm/options_impl.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/pagetable.h"
#include "vmm/host.h"
#include "vmm/size.h"

#define TIMEOUT_MAX_S 1000000.0 /* eleven days */
#define KEY_MAX	      32u
#define VALUE_MAX     64u
#define EXTENT_MAX    (UINT64_C(1) << 30)

int options_take_switch(const char *where, const char *value, bool *out, struct failure *f)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return fail(f, EXIT_USAGE, "%s=%s: the value is on or off", where, value);
	*out = value[1] == 'n';
	return 0;
}

static int take_bytes(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	uint64_t bytes;

	if (!size_parse(value, &bytes))
		return fail(f, EXIT_USAGE,
			    "%s=%s: not a size; write bytes, or a number with K, M, G or T, at most %s, such as 512M",
			    where, value, size_format(OPTIONS_ZONES_BYTES).s);
	if (bytes && bytes < OPTIONS_MEMORY_MIN) /* 0: zones have it all, which is judged later */
		return fail(f, EXIT_USAGE, "%s=%s: a guest needs %s at least", where, value,
			    size_format(OPTIONS_MEMORY_MIN).s);
	if (bytes % FRAME_BYTES)
		return fail(f, EXIT_USAGE, "%s=%s: not a multiple of 4K, the size of a page", where, value);
	o->memory.bytes = bytes;
	o->memory.sized = true;
	return 0;
}

static int take_hugepages(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->memory.hugepages, f);
}

int options_take_huge(const char *where, const char *value, enum pagetable_size *out, struct failure *f)
{
	uint64_t bytes = 0;

	if (size_parse(value, &bytes) && bytes == pagetable_size_bytes(PAGETABLE_1G))
		*out = PAGETABLE_1G;
	else if (bytes == pagetable_size_bytes(PAGETABLE_2M))
		*out = PAGETABLE_2M;
	else
		return fail(f, EXIT_USAGE, "%s=%s: huge pages are of 2M or 1G", where, value);
	return 0;
}

static int take_hugepage_size(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	o->memory.huge_given = true;
	return options_take_huge(where, value, &o->memory.huge, f);
}

static int take_thp(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->memory.thp, f);
}

static int take_prefault(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->memory.prefault, f);
}

static int take_shared(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->memory.shared, f);
}

static int take_mlock(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->memory.mlock, f);
}

static int take_dontdump(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->memory.dontdump, f);
}

static int take_contiguous(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	for (enum gather_kind kind = GATHER_REQUIRE; kind <= GATHER_SCATTER; kind++) {
		if (strcmp(value, gather_kind_name(kind)) == 0) {
			o->memory.contiguous = kind;
			return 0;
		}
	}
	return fail(f, EXIT_USAGE, "%s=%s: the value is require, prefer or scatter", where, value);
}

static int take_extent_size(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	uint64_t bytes;

	if (!size_parse(value, &bytes) || bytes < FRAME_BYTES || bytes > EXTENT_MAX || bytes & (bytes - 1))
		return fail(f, EXIT_USAGE, "%s=%s: a power of two from 4K to 1G", where, value);
	o->memory.extent_bytes = bytes;
	return 0;
}

static int take_pool_size(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	uint64_t bytes;

	if (!size_parse(value, &bytes) || bytes == 0 || bytes % FRAME_BYTES)
		return fail(f, EXIT_USAGE, "%s=%s: not a size that is a multiple of 4K, at most %s, such as 2G", where,
			    value, size_format(HOST_POOL_BYTES_MAX).s);
	o->pool.bytes = bytes;
	return 0;
}

static int take_taken(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	struct options_taken t;

	if (!guest_range_parse(value, &t.start, &t.bytes) || t.bytes == 0 || (t.start | t.bytes) % FRAME_BYTES)
		return fail(f, EXIT_USAGE, "%s=%s: write START+SIZE, both multiples of 4K, such as 256M+4K", where,
			    value);
	if (o->pool.taken == OPTIONS_TAKEN_MAX)
		return fail(f, EXIT_USAGE, "%s=%s: more than %u of them", where, value, OPTIONS_TAKEN_MAX);
	o->pool.take[o->pool.taken++] = t;
	return 0;
}

bool options_whole_number(const char *text, uint64_t most, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*out = strtoull(text, &end, text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10);
	return !errno && !*end && *out <= most;
}

static int take_boot(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	uint64_t cpus;

	if (!options_whole_number(value, OPTIONS_CPUS_MAX, &cpus) || cpus == 0)
		return fail(f, EXIT_USAGE, "%s=%s: not a number of CPUs from 1 to %d", where, value, OPTIONS_CPUS_MAX);
	o->cpus = (unsigned)cpus;
	return 0;
}

static const struct key memory_keys[] = {
	{.name = "size", .take = take_bytes},
	{.name = "hugepages", .take = take_hugepages},
	{.name = "hugepage_size", .take = take_hugepage_size},
	{.name = "thp", .take = take_thp},
	{.name = "prefault", .take = take_prefault},
	{.name = "shared", .take = take_shared},
	{.name = "contiguous", .take = take_contiguous},
	{.name = "extent_size", .take = take_extent_size},
	{.name = "mlock", .take = take_mlock},
	{.name = "dontdump", .take = take_dontdump},
};
static const struct key pool_keys[] = {{.name = "size", .take = take_pool_size}, {.name = "taken", .take = take_taken}};
static const struct key cpus_keys[] = {{.name = "boot", .take = take_boot}};

static void list_keys(const struct key *keys, size_t count, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", keys[i].name);
}

/* equals: "=VALUE", `length` characters of it, or NULL. */
static int take_value(struct run_options *o, const struct key *key, const char *where, const char *equals,
		      size_t length, struct failure *f)
{
	char value[VALUE_MAX];

	if (key->bare && equals)
		return fail(f, EXIT_USAGE, "%s takes no value", where);
	if (key->bare)
		return key->take(o, where, "", f);
	if (!equals || length == 1)
		return fail(f, EXIT_USAGE, "%s: a value is missing, as in %s=VALUE", where, key->name);
	if (key->text)
		return key->text(o, where, (struct options_text){equals + 1, length - 1}, f);
	if (length > VALUE_MAX)
		return fail(f, EXIT_USAGE, "%s: the value is longer than %u characters", where, VALUE_MAX - 1);
	snprintf(value, sizeof(value), "%.*s", (int)(length - 1), equals + 1);
	return key->take(o, where, value, f);
}

static const struct key *find_key(const struct key *keys, size_t count, const char *name, size_t length)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(keys[i].name) == length && strncmp(keys[i].name, name, length) == 0)
			return &keys[i];
	return NULL;
}

bool options_has_key(const struct key *keys, size_t count, const char *word)
{
	const size_t length = strcspn(word, "=");

	return word[length] == '=' && find_key(keys, count, word, length);
}

static int take_pair(struct run_options *o, const char *option, const struct key *keys, size_t count, const char *pair,
		     size_t length, struct failure *f)
{
	const char *equals = memchr(pair, '=', length);
	char known[160], where[KEY_MAX * 2];
	size_t key_length = equals ? (size_t)(equals - pair) : length;
	const struct key *key = find_key(keys, count, pair, key_length);

	list_keys(keys, count, known, sizeof(known));
	if (key) {
		snprintf(where, sizeof(where), "%s %s", option, key->name);
		return take_value(o, key, where, equals, length - key_length, f);
	}
	if (length == 0)
		return fail(f, EXIT_USAGE, "%s: an empty key=value pair", option);
	if (!equals && isdigit((unsigned char)pair[0]))
		return fail(f, EXIT_USAGE, "%s %.*s: write %s %s=%.*s", option, (int)(length < 64 ? length : 64), pair,
			    option, keys[0].name, (int)(length < 64 ? length : 64), pair);
	return fail(f, EXIT_USAGE, "%s: unknown key '%.*s'; the keys are: %s", option,
		    (int)(key_length < 64 ? key_length : 64), pair, known);
}

/* Of the first key=value pair of a list of them. */
static size_t pair_length(const struct key *keys, size_t count, const char *list)
{
	const size_t key_length = strcspn(list, "=,");
	const struct key *key = list[key_length] == '=' ? find_key(keys, count, list, key_length) : NULL;
	size_t length = strcspn(list, ",");

	if (!key || !key->list)
		return length;
	while (list[length] && list[length + 1 + strcspn(list + length + 1, "=,")] != '=')
		length += 1 + strcspn(list + length + 1, ",");
	return length;
}

int options_take_list(struct run_options *o, const char *option, const struct key *keys, size_t count, const char *list,
		      struct failure *f)
{
	while (!f->code) {
		size_t length = pair_length(keys, count, list);

		take_pair(o, option, keys, count, list, length, f);
		if (!list[length])
			break;
		list += length + 1;
	}
	return f->code;
}

static int set_memory(struct run_options *o, const char *value, struct failure *f)
{
	return options_take_list(o, "--memory", memory_keys, COUNT(memory_keys), value, f);
}

static int set_cpus(struct run_options *o, const char *value, struct failure *f)
{
	return options_take_list(o, "--cpus", cpus_keys, COUNT(cpus_keys), value, f);
}

static int set_pool(struct run_options *o, const char *value, struct failure *f)
{
	return options_take_list(o, "--pool", pool_keys, COUNT(pool_keys), value, f);
}

static int set_guard(struct run_options *o, const char *value, struct failure *f)
{
	return guest_ranges_add(&o->ranges, GUEST_GUARD, value, f);
}

static int set_ro(struct run_options *o, const char *value, struct failure *f)
{
	return guest_ranges_add(&o->ranges, GUEST_READONLY, value, f);
}

static int set_on_fault(struct run_options *o, const char *value, struct failure *f)
{
	if (strcmp(value, "end") != 0 && strcmp(value, "report") != 0)
		return fail(f, EXIT_USAGE, "--on-fault %s: the value is end or report", value);
	o->fault_report = value[0] == 'r';
	return 0;
}

static int set_image(struct run_options *o, const char *value, struct failure *f)
{
	if (o->image)
		return fail(f, EXIT_USAGE, "two images: %s and %s; a guest boots one", o->image, value);
	o->image = value;
	return 0;
}

static int set_initramfs(struct run_options *o, const char *value, struct failure *f)
{
	if (o->modules == OPTIONS_MODULES_MAX)
		return fail(f, EXIT_USAGE, "--initramfs %s: more than %u of them", value, OPTIONS_MODULES_MAX);
	o->module[o->modules++] = value;
	return 0;
}

static int set_cmdline(struct run_options *o, const char *value, struct failure *f)
{
	(void)f;
	o->cmdline = value;
	return 0;
}

static int set_name(struct run_options *o, const char *value, struct failure *f)
{
	if (!*value || strlen(value) > 63)
		return fail(f, EXIT_USAGE, "--name '%.70s': a name has 1 to 63 characters", value);
	for (const char *c = value; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
			return fail(f, EXIT_USAGE, "--name %s: a name has letters, digits, and - _ . only", value);
	o->name = value;
	return 0;
}

static int set_report(struct run_options *o, const char *value, struct failure *f)
{
	if (strcmp(value, "-") == 0)
		return fail(f, EXIT_USAGE, "--report -: for standard output use --json");
	o->report = value;
	return 0;
}

static int set_dump_table(struct run_options *o, const char *value, struct failure *f)
{
	if (strcmp(value, "-") == 0)
		return fail(f, EXIT_USAGE, "--dump-table -: a file is needed, for slat table to read");
	o->dump_table = value;
	return 0;
}

static int set_timeout(struct run_options *o, const char *value, struct failure *f)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end || !isfinite(seconds) || seconds < 0.001 || seconds > TIMEOUT_MAX_S)
		return fail(f, EXIT_USAGE, "--timeout %s: not a number of seconds from 0.001 to %.0f", value,
			    TIMEOUT_MAX_S);
	o->timeout_ns = (uint64_t)(seconds * 1e9);
	return 0;
}

static int set_exit_zero(struct run_options *o, const char *value, struct failure *f)
{
	uint64_t v;

	if (!options_whole_number(value, UINT32_MAX, &v))
		return fail(f, EXIT_USAGE,
			    "--exit-zero %s: not a number that a guest can write to port 0xf4 (0 to 0xffffffff)",
			    value);
	o->has_exit_zero = true;
	o->exit_zero = (uint32_t)v;
	return 0;
}

static int set_trace(struct run_options *o, const char *value, struct failure *f)
{
	if (strcmp(value, "exits") != 0)
		return fail(f, EXIT_USAGE, "--trace %s: unknown; what can be traced: exits", value);
	o->trace_exits = true;
	return 0;
}

static int set_sandbox(struct run_options *o, const char *value, struct failure *f)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return fail(f, EXIT_USAGE, "--sandbox %s: the value is on or off", value);
	o->sandbox = value[1] == 'n';
	return 0;
}

static int set_gdb(struct run_options *o, const char *value, struct failure *f)
{
	const char *rest = strchr(value, ':');
	uint64_t port;

	if (rest && strncmp(value, "tcp:", 4) == 0) {
		if (!options_whole_number(rest + 1, UINT16_MAX, &port))
			return fail(f, EXIT_USAGE, "--gdb %.64s: not a port from 0 (any that is free) to %d", value,
				    UINT16_MAX);
		o->gdb = (struct gdb_address){.kind = GDB_ADDRESS_TCP, .port = (unsigned)port};
		return 0;
	}
	if (!rest || strncmp(value, "unix:", 5) != 0)
		return fail(f, EXIT_USAGE, "--gdb %.64s: write tcp:PORT or unix:PATH", value);
	if (!rest[1] || strlen(rest + 1) > GDB_PATH_MAX)
		return fail(f, EXIT_USAGE, "--gdb unix: a path has 1 to %u bytes, this one %zu", GDB_PATH_MAX,
			    strlen(rest + 1));
	o->gdb = (struct gdb_address){.kind = GDB_ADDRESS_UNIX, .path = rest + 1};
	return 0;
}

static int set_wait(struct run_options *o, const char *value, struct failure *f)
{
	(void)value;
	(void)f;
	o->wait = true;
	return 0;
}

static int set_json(struct run_options *o, const char *value, struct failure *f)
{
	(void)value;
	(void)f;
	o->json = true;
	return 0;
}

static int set_help(struct run_options *o, const char *value, struct failure *f)
{
	(void)value;
	(void)f;
	o->help = true;
	return 0;
}

struct option {
	const char *name;
	bool value;
	int (*set)(struct run_options *o, const char *value, struct failure *f);
};

static const struct option options[] = {
	{"--kernel", true, set_image},
	{"--initramfs", true, set_initramfs},
	{"--cmdline", true, set_cmdline},
	{"--cpus", true, set_cpus},
	{"--memory", true, set_memory},
	{"--name", true, set_name},
	{"--timeout", true, set_timeout},
	{"--exit-zero", true, set_exit_zero},
	{"--report", true, set_report},
	{"--trace", true, set_trace},
	{"--json", false, set_json},
	{"--gdb", true, set_gdb},
	{"--wait", false, set_wait},
	{"--guard", true, set_guard},
	{"--ro", true, set_ro},
	{"--on-fault", true, set_on_fault},
	{"--pool", true, set_pool},
	{"--dump-table", true, set_dump_table},
	{"--sandbox", true, set_sandbox},
	{"--help", false, set_help},
	{"-h", false, set_help},
	{"--disk", true, options_set_disk},
	{"--net", true, options_set_net},
	{"--console", true, options_set_console},
	{"--balloon", true, options_set_balloon},
	{"--rng", true, options_set_rng},
	{"--iommu", true, options_set_iommu},
	{"--memory-zone", true, options_set_zone},
	{"--numa", true, options_set_numa},
	{"--placement", true, options_set_placement},
	{"--latency", true, options_set_latency},
	{"--latencies", true, options_set_latencies},
	{"--strict", false, options_set_strict},
};

/* Options whose value may be left out, or followed by more: the next word is one only if it looks like one. */
static const struct maybe {
	const char *name;
	bool (*is_value)(const char *word);
	bool more;
} maybes[] = {
	{"--rng", options_is_rng_value, false},
	{"--iommu", options_is_iommu_value, false},
	{"--memory-zone", options_is_zone_value, true},
	{"--numa", options_is_numa_value, true},
};

static const struct maybe *find_maybe(const struct option *option, bool more)
{
	for (size_t i = 0; i < COUNT(maybes); i++)
		if (strcmp(maybes[i].name, option->name) == 0 && maybes[i].more == more)
			return &maybes[i];
	return NULL;
}

static bool stands_alone(const struct option *option, const char *next)
{
	const struct maybe *maybe = find_maybe(option, false);

	return maybe && (!next || !maybe->is_value(next));
}

static const struct option *find_option(const char *word, size_t length)
{
	for (size_t i = 0; i < COUNT(options); i++)
		if (strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0)
			return &options[i];
	return NULL;
}

/* One option with its value: `--x v` or `--x=v`; of some, more of them. *i is left on its last word. */
static int take_option(int argc, char **argv, int *i, struct run_options *o, struct failure *f)
{
	const char *word = argv[*i];
	size_t length = strcspn(word, "=");
	const struct option *option = find_option(word, length);
	const char *value = word[length] == '=' ? word + length + 1 : NULL;
	const struct maybe *more = option ? find_maybe(option, true) : NULL;

	if (!option)
		return fail(f, EXIT_USAGE, "unknown option %.*s; slat run --help lists them",
			    (int)(length < 64 ? length : 64), word);
	if (!option->value && value)
		return fail(f, EXIT_USAGE, "%s takes no value", option->name);
	if (option->value && !value && !stands_alone(option, *i + 1 < argc ? argv[*i + 1] : NULL)) {
		if (*i + 1 == argc)
			return fail(f, EXIT_USAGE, "%s needs a value", option->name);
		value = argv[++*i];
	}
	option->set(o, value, f);
	while (more && !f->code && *i + 1 < argc && more->is_value(argv[*i + 1]))
		option->set(o, argv[++*i], f);
	return f->code;
}

static int judge_pool(struct run_options *o, struct failure *f)
{
	const uint64_t huge = pagetable_size_bytes(o->memory.huge);

	if (o->memory.extent_bytes && o->memory.contiguous != GATHER_SCATTER)
		return fail(f, EXIT_USAGE, "--memory extent_size=%s: only with contiguous=scatter",
			    size_format(o->memory.extent_bytes).s);
	if (!o->memory.extent_bytes)
		o->memory.extent_bytes = OPTIONS_EXTENT_DEFAULT;
	if (!o->pool.bytes && o->pool.taken)
		return fail(f, EXIT_USAGE, "--pool taken: a size is missing, as in --pool size=2G,taken=256M+4K");
	if (!o->pool.bytes)
		o->pool.bytes = o->memory.bytes;
	if (o->pool.bytes < o->memory.bytes)
		return fail(f, EXIT_USAGE, "--pool size=%s: less than the guest's RAM, --memory size=%s",
			    size_format(o->pool.bytes).s, size_format(o->memory.bytes).s);
	if (o->memory.hugepages && o->pool.bytes % huge)
		return fail(f, EXIT_USAGE, "--pool size=%s: with hugepages=on, a multiple of %s",
			    size_format(o->pool.bytes).s, o->memory.huge == PAGETABLE_1G ? "1G" : "2M");
	return 0;
}

static int judge(struct run_options *o, struct failure *f)
{
	if (!o->image)
		return fail(f, EXIT_USAGE, "no image to boot: slat run [options] IMAGE");
	if (o->wait && o->gdb.kind == GDB_ADDRESS_NONE)
		return fail(f, EXIT_USAGE, "--wait waits for a debugger: give --gdb, too");
	if (options_judge_zones(o, f))
		return f->code;
	if (o->memory.huge_given && !o->memory.hugepages)
		return fail(f, EXIT_USAGE, "--memory hugepage_size=%s: only with hugepages=on",
			    o->memory.huge == PAGETABLE_1G ? "1G" : "2M");
	if (o->memory.hugepages && o->memory.bytes % pagetable_size_bytes(o->memory.huge))
		return fail(f, EXIT_USAGE, "--memory size=%s: with hugepages=on, a multiple of %s",
			    size_format(o->memory.bytes).s, o->memory.huge == PAGETABLE_1G ? "1G" : "2M");
	if (judge_pool(o, f) || options_judge_numa(o, f) || options_judge_devices(o, f))
		return f->code;
	return guest_ranges_check(&o->ranges, o->memory.bytes, f);
}

int options_parse(int argc, char **argv, struct run_options *out, struct failure *f)
{
	bool only_words = false;

	out->cpus = 1;
	out->sandbox = true;
	out->memory.bytes = OPTIONS_MEMORY_DEFAULT;
	out->memory.thp = true;
	out->memory.huge = PAGETABLE_2M;
	for (int i = 0; !f->code && !out->help && i < argc; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0)
			only_words = true;
		else if (only_words || argv[i][0] != '-')
			set_image(out, argv[i], f);
		else
			take_option(argc, argv, &i, out, f);
	}
	if (f->code || out->help)
		return f->code;
	return judge(out, f);
}
