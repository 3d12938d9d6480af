/* vmm/options_devices.c: the options that name virtio devices. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio_blk.h"
#include "devices/virtio_net.h"
#include "mm/types.h"
#include "vmm/net.h"
#include "vmm/options_impl.h"
#include "vmm/size.h"

#define NS_A_SECOND 1e9
#define LATEST_S    1e6

_Static_assert(OPTIONS_SERIAL_MAX == VIRTIO_BLK_ID_BYTES, "as much as a guest can be told");

/* ---- of any device ---- */

static int set_packed(struct options_place *p, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &p->packed, f);
}

static int set_behind(struct options_place *p, const char *where, const char *value, struct failure *f)
{
	p->behind_given = true;
	return options_take_switch(where, value, &p->behind, f);
}

/* ---- disks ---- */

static struct options_disk *disk(struct run_options *o)
{
	return &o->disk[o->disks - 1];
}

static int disk_path(struct run_options *o, const char *where, struct options_text value, struct failure *f)
{
	(void)where;
	(void)f;
	disk(o)->path = value;
	return 0;
}

static int disk_readonly(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &disk(o)->readonly, f);
}

static int disk_direct(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &disk(o)->direct, f);
}

static int disk_serial(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	for (const char *c = value; *c; c++)
		if (!isgraph((unsigned char)*c))
			return fail(f, EXIT_USAGE, "%s: a serial number has printable characters only", where);
	if (strlen(value) > OPTIONS_SERIAL_MAX)
		return fail(f, EXIT_USAGE, "%s=%s: a serial number has %u characters at most", where, value,
			    OPTIONS_SERIAL_MAX);
	strcpy(disk(o)->serial, value);
	return 0;
}

static int disk_queues(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	uint64_t n;

	if (!options_whole_number(value, VIRTIO_BLK_QUEUES_MAX, &n) || n == 0)
		return fail(f, EXIT_USAGE, "%s=%s: not a number of queues from 1 to %u", where, value,
			    VIRTIO_BLK_QUEUES_MAX);
	disk(o)->queues = (unsigned)n;
	return 0;
}

static int disk_behind(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_behind(&disk(o)->place, where, value, f);
}

static int disk_packed(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_packed(&disk(o)->place, where, value, f);
}

static const struct key disk_keys[] = {
	{.name = "path", .text = disk_path},	     {.name = "readonly", .take = disk_readonly},
	{.name = "direct", .take = disk_direct},     {.name = "serial", .take = disk_serial},
	{.name = "num_queues", .take = disk_queues}, {.name = "iommu", .take = disk_behind},
	{.name = "packed", .take = disk_packed},
};

int options_set_disk(struct run_options *o, const char *value, struct failure *f)
{
	if (o->disks == ABI_VIRTIO_MAX)
		return fail(f, EXIT_USAGE, "--disk %.64s: a guest has %u virtio devices at most", value,
			    ABI_VIRTIO_MAX);
	o->disk[o->disks++] = (struct options_disk){.queues = 1};
	if (options_take_list(o, "--disk", disk_keys, COUNT(disk_keys), value, f))
		return f->code;
	if (!disk(o)->path.bytes)
		return fail(f, EXIT_USAGE, "--disk %.64s: a path is missing, as in --disk path=FILE", value);
	return 0;
}

/* ---- networks ---- */

static struct options_net *net(struct run_options *o)
{
	return &o->net[o->nets - 1];
}

static int net_user(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	(void)where;
	(void)value;
	(void)f;
	net(o)->user = true;
	return 0;
}

static int net_tap(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	if (strlen(value) > OPTIONS_TAP_MAX || strpbrk(value, "/%: \t"))
		return fail(f, EXIT_USAGE, "%s=%s: not a name of a network interface, which has 1 to %u characters",
			    where, value, OPTIONS_TAP_MAX);
	strcpy(net(o)->tap, value);
	return 0;
}

static int net_mac(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	struct options_net *n = net(o);

	n->has_mac = net_parse_mac(value, n->mac);
	if (!n->has_mac)
		return fail(f, EXIT_USAGE, "%s=%s: not an address of one interface, such as 52:54:00:12:34:56", where,
			    value);
	return 0;
}

/* A comma ends a value here, so a list is made of several. */
static int add_ports(char *ports, const char *where, const char *value, struct failure *f)
{
	const size_t used = strlen(ports);

	if (used + 1 + strlen(value) > OPTIONS_PORTS_MAX)
		return fail(f, EXIT_USAGE, "%s=%s: all of them together are longer than %u characters", where, value,
			    OPTIONS_PORTS_MAX);
	sprintf(ports + used, "%s%s", used ? "," : "", value);
	return 0;
}

static int net_tcp(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return add_ports(net(o)->tcp, where, value, f);
}

static int net_udp(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return add_ports(net(o)->udp, where, value, f);
}

static int net_queues(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	uint64_t n;

	if (!options_whole_number(value, VIRTIO_NET_PAIRS_MAX, &n) || n == 0)
		return fail(f, EXIT_USAGE, "%s=%s: not a number of pairs of queues from 1 to %u", where, value,
			    VIRTIO_NET_PAIRS_MAX);
	net(o)->pairs = (unsigned)n;
	return 0;
}

static int net_behind(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_behind(&net(o)->place, where, value, f);
}

static int net_packed(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_packed(&net(o)->place, where, value, f);
}

static const struct key net_keys[] = {
	{.name = "tap", .take = net_tap},      {.name = "user", .take = net_user, .bare = true},
	{.name = "tcp", .take = net_tcp},      {.name = "udp", .take = net_udp},
	{.name = "mac", .take = net_mac},      {.name = "queues", .take = net_queues},
	{.name = "iommu", .take = net_behind}, {.name = "packed", .take = net_packed},
};

int options_set_net(struct run_options *o, const char *value, struct failure *f)
{
	struct options_net *n;

	if (o->nets == ABI_VIRTIO_MAX)
		return fail(f, EXIT_USAGE, "--net %.64s: a guest has %u virtio devices at most", value, ABI_VIRTIO_MAX);
	n = &o->net[o->nets++];
	*n = (struct options_net){.pairs = 1};
	if (options_take_list(o, "--net", net_keys, COUNT(net_keys), value, f))
		return f->code;
	if (n->user == (n->tap[0] != '\0'))
		return fail(f, EXIT_USAGE, "--net %.64s: write tap=NAME or user, one of the two", value);
	if (!n->user && (n->tcp[0] || n->udp[0]))
		return fail(f, EXIT_USAGE, "--net tap=%s: tcp= and udp= are for user", n->tap);
	if (n->user && n->pairs > 1)
		return fail(f, EXIT_USAGE, "--net queues=%u: user has one pair of queues", n->pairs);
	return 0;
}

/* ---- console ---- */

static int console_serial(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	(void)where;
	(void)value;
	(void)f;
	o->console.virtio = false;
	return 0;
}

static int console_virtio(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	(void)where;
	(void)value;
	(void)f;
	o->console.virtio = true;
	return 0;
}

static int console_behind(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_behind(&o->console.place, where, value, f);
}

static int console_packed(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_packed(&o->console.place, where, value, f);
}

static const struct key console_keys[] = {
	{.name = "serial", .take = console_serial, .bare = true},
	{.name = "virtio", .take = console_virtio, .bare = true},
	{.name = "iommu", .take = console_behind},
	{.name = "packed", .take = console_packed},
};

int options_set_console(struct run_options *o, const char *value, struct failure *f)
{
	o->console.place = (struct options_place){0};
	return options_take_list(o, "--console", console_keys, COUNT(console_keys), value, f);
}

/* ---- entropy ---- */

static int rng_rate(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	if (!size_parse(value, &o->rng.rate) || o->rng.rate == 0)
		return fail(f, EXIT_USAGE, "%s=%s: not a size for each second, such as 64K", where, value);
	return 0;
}

static int rng_behind(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_behind(&o->rng.place, where, value, f);
}

static int rng_packed(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_packed(&o->rng.place, where, value, f);
}

static const struct key rng_keys[] = {
	{.name = "rate", .take = rng_rate},
	{.name = "iommu", .take = rng_behind},
	{.name = "packed", .take = rng_packed},
};

/* ---- options that may stand alone ---- */

static bool is_switch(const char *word)
{
	return strcmp(word, "on") == 0 || strcmp(word, "off") == 0;
}

bool options_is_rng_value(const char *word)
{
	return is_switch(word) || options_has_key(rng_keys, COUNT(rng_keys), word);
}

int options_set_rng(struct run_options *o, const char *value, struct failure *f)
{
	memset(&o->rng, 0, sizeof(o->rng));
	o->rng.on = !value || strcmp(value, "off") != 0;
	if (!value || is_switch(value))
		return 0;
	return options_take_list(o, "--rng", rng_keys, COUNT(rng_keys), value, f);
}

static int iommu_bypass(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->iommu.bypass, f);
}

static int iommu_packed(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_packed(&o->iommu.place, where, value, f);
}

static const struct key iommu_keys[] = {
	{.name = "bypass", .take = iommu_bypass},
	{.name = "packed", .take = iommu_packed},
};

bool options_is_iommu_value(const char *word)
{
	return is_switch(word) || options_has_key(iommu_keys, COUNT(iommu_keys), word);
}

int options_set_iommu(struct run_options *o, const char *value, struct failure *f)
{
	memset(&o->iommu, 0, sizeof(o->iommu));
	o->iommu.on = !value || strcmp(value, "off") != 0;
	if (!value || is_switch(value))
		return 0;
	return options_take_list(o, "--iommu", iommu_keys, COUNT(iommu_keys), value, f);
}

/* ---- balloon ---- */

/* "SIZE", at the start, or "SIZE@SECONDS". */
static int balloon_size(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	struct balloon_schedule *schedule = &o->balloon.schedule;
	const char *at = strchr(value, '@');
	struct balloon_step step = {0};
	char size[32], *end = NULL;
	double seconds = at ? strtod(at + 1, &end) : 0;

	snprintf(size, sizeof(size), "%.*s", (int)strcspn(value, "@"), value);
	if (!size_parse(size, &step.bytes) || step.bytes % FRAME_BYTES)
		return fail(f, EXIT_USAGE, "%s=%s: not a size that is a multiple of 4K, such as 256M", where, value);
	if (at && (end == at + 1 || *end || !isfinite(seconds) || seconds < 0 || seconds > LATEST_S))
		return fail(f, EXIT_USAGE, "%s=%s: not SIZE@SECONDS, such as 256M@10", where, value);
	step.at_ns = (uint64_t)(seconds * NS_A_SECOND);
	if (step.at_ns == 0 && !o->balloon.sized)
		schedule->steps = 0; /* the first of all */
	else if (step.at_ns <= schedule->step[schedule->steps - 1].at_ns)
		return fail(f, EXIT_USAGE, "%s=%s: each time must be later than the one before it", where, value);
	o->balloon.sized = true;
	if (schedule->steps == BALLOON_STEPS_MAX)
		return fail(f, EXIT_USAGE, "%s=%s: more than %u of them", where, value, BALLOON_STEPS_MAX);
	schedule->step[schedule->steps++] = step;
	return 0;
}

static int balloon_statistics(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end || !isfinite(seconds) || seconds < 0.001 || seconds > LATEST_S)
		return fail(f, EXIT_USAGE, "%s=%s: not a number of seconds from 0.001 to %.0f", where, value, LATEST_S);
	o->balloon.schedule.statistics_ns = (uint64_t)(seconds * NS_A_SECOND);
	return 0;
}

static int balloon_deflate(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->balloon.deflate_on_oom, f);
}

static int balloon_reporting(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &o->balloon.reporting, f);
}

static int balloon_packed(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return set_packed(&o->balloon.place, where, value, f);
}

static const struct key balloon_keys[] = {
	{.name = "size", .take = balloon_size},
	{.name = "statistics", .take = balloon_statistics},
	{.name = "deflate_on_oom", .take = balloon_deflate},
	{.name = "free_page_reporting", .take = balloon_reporting},
	{.name = "packed", .take = balloon_packed},
};

int options_set_balloon(struct run_options *o, const char *value, struct failure *f)
{
	if (o->balloon.on)
		return fail(f, EXIT_USAGE,
			    "--balloon %.64s: given twice, and a guest has one; size= may be repeated in it", value);
	memset(&o->balloon, 0, sizeof(o->balloon));
	o->balloon.on = true;
	o->balloon.reporting = true;
	o->balloon.schedule.steps = 1;
	return options_take_list(o, "--balloon", balloon_keys, COUNT(balloon_keys), value, f);
}

/* ---- all of them ---- */

unsigned options_devices(const struct run_options *o)
{
	return o->iommu.on + o->disks + o->nets + o->console.virtio + o->rng.on + o->balloon.on;
}

static int judge_place(const struct run_options *o, const char *option, struct options_place *p, struct failure *f)
{
	if (!p->behind_given)
		p->behind = o->iommu.on;
	if (p->behind && !o->iommu.on)
		return fail(f, EXIT_USAGE, "%s iommu=on: there is no IOMMU; give --iommu, too", option);
	return 0;
}

int options_judge_devices(struct run_options *o, struct failure *f)
{
	const unsigned devices = options_devices(o);

	if (devices > ABI_VIRTIO_MAX)
		return fail(f, EXIT_USAGE,
			    "--iommu, --disk, --net, --console virtio, --rng and --balloon make %u virtio devices; a "
			    "guest has %u at most",
			    devices, ABI_VIRTIO_MAX);
	for (unsigned i = 0; i < o->disks; i++)
		judge_place(o, "--disk", &o->disk[i].place, f);
	for (unsigned i = 0; i < o->nets; i++)
		judge_place(o, "--net", &o->net[i].place, f);
	judge_place(o, "--console", &o->console.place, f);
	judge_place(o, "--rng", &o->rng.place, f);
	if (!f->code && !o->console.virtio && (o->console.place.behind_given || o->console.place.packed))
		fail(f, EXIT_USAGE, "--console serial: %s= is for virtio",
		     o->console.place.behind_given ? "iommu" : "packed");
	return f->code;
}
