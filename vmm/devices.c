/* vmm/devices.c
 *
 * What it is. Where model, backend and slot meet: each kind of device is a row of a
 * table, with one function that makes it. Nothing else of the VMM knows kinds but the
 * report.
 *
 *   V1  slots are dense from 0, in the order of the kinds; the IOMMU is slot 0, so that
 *       the devices behind it find it made.
 *   V2  all is made before the first guest instruction, and all memory is taken from
 *       vmm/memory.h by then, or, where it is much and most is never used, mapped.
 *   V3  taken down in three rounds: all threads; what each device has under way, the
 *       IOMMU's last; then backends, models and slots, the IOMMU first. It waits, when it is
 *       reset, for DMA of all that are behind it, and so looks at their queues.
 *
 * A driver that breaks a rule makes its own device wait for a reset; one line a second
 * and device says so, the report has the count.
 *
 * Pause. A debugger that stops the guest does not stop these threads: see worker.c. */
#include "vmm/devices.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "devices/virtio_balloon.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_console.h"
#include "devices/virtio_iommu.h"
#include "devices/virtio_net.h"
#include "devices/virtio_rng.h"
#include "mm/port.h"
#include "vmm/balloon.h"
#include "vmm/disk.h"
#include "vmm/dma_ram.h"
#include "vmm/entropy.h"
#include "vmm/iommu_host.h"
#include "vmm/net.h"
#include "vmm/size.h"
#include "vmm/vm.h"
#include "vmm/zones.h"

_Static_assert(ZONES_MAX <= BALLOON_PARTS_MAX, "a balloon knows all pools of a guest");

#define CACHE_LINE     64
#define LINE_EVERY     UINT64_C(1000000000)
#define BALLOON_QUEUES 4u
#define RNG_QUEUES     1u
#define TWO_QUEUES     2u
#define IOMMU_ASKED    1u /* bit 0: the request queue */

struct make { /* of one device, while it is made */
	struct devices *all;
	struct device_box *box;
	struct options_place place;
};

/* ---- what all kinds need ---- */

static void *take(const struct make *m, size_t bytes, struct failure *f)
{
	void *memory = memory_alloc_aligned(m->all->memory, bytes, CACHE_LINE);

	if (memory)
		memset(memory, 0, bytes);
	else
		fail(f, EXIT_HOST, "no memory for %s", m->box->slot.name);
	return memory;
}

static void broken(void *owner, const char *name, const char *why)
{
	struct device_box *box = owner;
	const uint64_t now = loop_now();

	if (box->told_ns && now - box->told_ns < LINE_EVERY) {
		box->not_told++;
		return;
	}
	box->told_ns = now;
	fprintf(stderr, "slat: %s: the driver broke a rule: %s; the device waits for a reset", name, why);
	if (box->not_told)
		fprintf(stderr, " (and %" PRIu64 " times before)", box->not_told);
	fprintf(stderr, "\n");
	box->not_told = 0;
}

static uint64_t now_ns(void *self)
{
	(void)self;
	return loop_now();
}

static int64_t wall_s(void *self)
{
	(void)self;
	return (int64_t)time(NULL);
}

static void set_deadline(void *self, uint64_t deadline_ns)
{
	struct device_box *box = self;

	worker_set_deadline(&box->slot.worker, deadline_ns);
}

static int open_slot(const struct make *m, unsigned queues, uint32_t in_exit, struct failure *f)
{
	struct devices *d = m->all;
	const char *kind = device_kind_name(m->box->kind);
	struct virtio_slot_config config = {
		.vm = d->vm->fd,
		.board = d->vm->board,
		.memory = d->memory,
		.number = d->count - 1,
		.ram = &d->ram,
		.queues = queues,
		.in_exit = in_exit,
	};
	char name[VIRTIO_SLOT_NAME];

	snprintf(name, sizeof(name), "%s %u", kind, m->box->index);
	config.name = m->box->kind == DEVICE_DISK || m->box->kind == DEVICE_NET ? name : kind;
	if (m->place.behind)
		config.endpoint = iommu_add_endpoint(&d->iommu->iommu, config.number);
	return virtio_slot_open(&m->box->slot, &config, f);
}

/* ---- IOMMU ---- */

static void deliver(void *self, unsigned index, short revents)
{
	struct device_box *box = self;
	struct iommu_host *host = box->backend;
	uint64_t faults;

	(void)index;
	(void)revents;
	if (read(host->event_fd, &faults, sizeof(faults)) == (ssize_t)sizeof(faults))
		virtio_iommu_deliver(box->model);
}

static int open_iommu(const struct make *m, struct virtio **out, struct failure *f)
{
	struct device_box *box = m->box;
	struct virtio_iommu_config config = {.packed = m->place.packed, .broken = broken, .owner = box};
	struct iommu_host *host;
	struct virtio_iommu *model;

	host = iommu_host_open(m->all->memory, m->all->vm->ram_bytes, m->all->options->iommu.bypass, f);
	box->backend = m->all->iommu = host;
	if (!host || open_slot(m, TWO_QUEUES, IOMMU_ASKED, f))
		return f->code;
	model = box->model = take(m, sizeof(*model), f);
	if (!model)
		return f->code;
	config.name = box->slot.name;
	config.iommu = &host->iommu;
	config.dma = box->slot.dma;
	config.irq = virtio_slot_irq(&box->slot);
	virtio_iommu_init(model, &config);
	worker_add(&box->slot.worker, host->event_fd, POLLIN, box, 0, deliver);
	*out = &model->virtio;
	return 0;
}

static void close_iommu(struct devices *d, struct device_box *box)
{
	iommu_host_close(box->backend);
	d->iommu = NULL;
	memory_free(d->memory, box->model);
}

/* ---- disks ---- */

struct disk_back {
	struct disk disk;
	char *path; /* ended by a zero, as the options' is not */
	void *requests;
	uint64_t requests_bytes;
};

/* Room for all that the queues could hold, 5 MiB a queue: address space, of which what a guest has under way at once is
 * touched. slat's own memory would be full after a dozen queues. */
static int map_requests(const struct make *m, struct disk_back *back, uint64_t bytes, struct failure *f)
{
	void *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (all == MAP_FAILED)
		return fail(f, EXIT_HOST, "%s: the host cannot map %s of address space for its requests: %s",
			    m->box->slot.name, size_format(bytes).s, strerror(errno));
	(void)madvise(all, bytes, MADV_NOHUGEPAGE); /* else the first request would cost 2 MiB */
	back->requests = all;
	back->requests_bytes = bytes;
	return 0;
}

const struct disk *devices_disk(const struct devices *d, const struct stat *s)
{
	for (unsigned i = 0; i < d->count; i++) {
		const struct disk_back *back = d->box[i]->backend;

		if (d->box[i]->kind == DEVICE_DISK && back && disk_is(&back->disk, s))
			return &back->disk;
	}
	return NULL;
}

/* Else the lock would speak of another program. */
static int judge_second(const struct make *m, const struct disk_config *c, struct failure *f)
{
	const struct disk *first;
	struct stat s;

	if (stat(c->path, &s) != 0)
		return 0; /* disk_open() says what is the matter */
	first = devices_disk(m->all, &s);
	if (!first || (first->readonly && c->readonly))
		return 0;
	return fail(f, EXIT_USAGE,
		    "--disk path=%s and --disk path=%s are one disk; two can share it with readonly=on only",
		    first->path, c->path);
}

static int open_disk(const struct make *m, struct virtio **out, struct failure *f)
{
	struct device_box *box = m->box;
	const struct options_disk *o = &m->all->options->disk[box->index];
	struct disk_config host = {.readonly = o->readonly,
				   .direct = o->direct,
				   .serial = o->serial[0] ? o->serial : NULL,
				   .num_queues = o->queues};
	struct virtio_blk_config config = {.queues = o->queues,
					   .packed = m->place.packed,
					   .platform = m->place.behind,
					   .broken = broken,
					   .owner = box};
	struct disk_back *back;

	if (open_slot(m, o->queues, 0, f))
		return f->code;
	back = box->backend = take(m, sizeof(*back), f);
	if (!back)
		return f->code;
	back->disk.fd = -1; /* not open: close_disk() may come before disk_open() */
	back->path = take(m, o->path.bytes + 1, f);
	if (!back->path || map_requests(m, back, virtio_blk_bytes(o->queues), f))
		return f->code;
	memcpy(back->path, o->path.start, o->path.bytes);
	host.path = back->path;
	if (judge_second(m, &host, f) || disk_open(&back->disk, &host, f))
		return f->code;
	config.name = box->slot.name;
	config.backend = disk_backend(&back->disk);
	config.dma = box->slot.dma;
	config.irq = virtio_slot_irq(&box->slot);
	config.memory = back->requests;
	box->model = virtio_blk_init(&config);
	disk_attach(&back->disk, &box->slot.worker, box->model);
	*out = virtio_blk_virtio(box->model);
	return 0;
}

static void close_disk(struct devices *d, struct device_box *box)
{
	struct disk_back *back = box->backend;

	if (!back)
		return;
	disk_close(&back->disk);
	if (back->requests)
		munmap(back->requests, back->requests_bytes);
	memory_free(d->memory, back->path);
	memory_free(d->memory, back);
}

/* ---- networks ---- */

static int open_net(const struct make *m, struct virtio **out, struct failure *f)
{
	struct device_box *box = m->box;
	const struct options_net *o = &m->all->options->net[box->index];
	struct net_config host = {
		.kind = o->user ? NET_USER : NET_TAP, .tap = o->tap, .has_mac = o->has_mac, .pairs = o->pairs};
	struct virtio_net_config config = {
		.packed = m->place.packed, .platform = m->place.behind, .broken = broken, .owner = box};
	struct virtio_net *model;
	struct net *back;

	if (open_slot(m, virtio_net_queues(o->pairs), 0, f))
		return f->code;
	model = box->model = take(m, sizeof(*model), f);
	back = box->backend = take(m, sizeof(*back), f);
	if (!model || !back)
		return f->code;
	memcpy(host.mac, o->mac, sizeof(host.mac));
	host.user = (struct passt_config){.tcp = o->tcp[0] ? o->tcp : NULL, .udp = o->udp[0] ? o->udp : NULL};
	if (net_open(back, &host, box->slot.name, f))
		return f->code;
	config.name = box->slot.name;
	config.backend = &back->backend;
	config.dma = box->slot.dma;
	config.irq = virtio_slot_irq(&box->slot);
	virtio_net_init(model, &config);
	net_attach(back, &box->slot.worker, model);
	*out = &model->virtio;
	return 0;
}

static void close_net(struct devices *d, struct device_box *box)
{
	if (box->backend)
		net_close(box->backend);
	memory_free(d->memory, box->backend);
	memory_free(d->memory, box->model);
}

/* ---- console ---- */

/* The driver has room for keys again: the main thread has some. */
static void room(void *owner)
{
	struct device_box *box = owner;

	loop_wake(&((struct vm *)box->backend)->loop);
}

static int open_console(const struct make *m, struct virtio **out, struct failure *f)
{
	struct device_box *box = m->box;
	struct virtio_console_config config = {
		.packed = m->place.packed, .platform = m->place.behind, .room = room, .broken = broken, .owner = box};
	struct virtio_console *model;

	if (open_slot(m, TWO_QUEUES, 0, f))
		return f->code;
	model = box->model = take(m, sizeof(*model), f);
	if (!model)
		return f->code;
	box->backend = m->all->vm;
	config.name = box->slot.name;
	config.out = console_sink(&m->all->vm->console);
	(void)console_size(&config.columns, &config.rows);
	config.dma = box->slot.dma;
	config.irq = virtio_slot_irq(&box->slot);
	virtio_console_init(model, &config);
	m->all->console = box;
	*out = &model->virtio;
	return 0;
}

static void close_model(struct devices *d, struct device_box *box)
{
	memory_free(d->memory, box->model);
}

/* ---- entropy ---- */

static void rng_expired(void *self)
{
	virtio_rng_expired(self);
}

static int open_rng(const struct make *m, struct virtio **out, struct failure *f)
{
	const uint64_t rate = m->all->options->rng.rate;
	struct device_box *box = m->box;
	struct virtio_rng_config config = {
		.owner = box,
		.random = entropy_fill,
		.clock = {NULL, now_ns, wall_s},
		.alarm = {box, set_deadline},
		.bytes_per_second = rate ? rate : ENTROPY_RATE_DEFAULT,
		.packed = m->place.packed,
		.platform = m->place.behind,
		.broken = broken,
	};
	struct virtio_rng *model;

	if (open_slot(m, RNG_QUEUES, 0, f))
		return f->code;
	model = box->model = take(m, sizeof(*model), f);
	if (!model)
		return f->code;
	config.name = box->slot.name;
	config.dma = box->slot.dma;
	config.irq = virtio_slot_irq(&box->slot);
	virtio_rng_init(model, &config);
	box->slot.worker.expired_self = model;
	box->slot.worker.expired = rng_expired;
	*out = &model->virtio;
	return 0;
}

/* ---- balloon ---- */

struct balloon_back {
	struct balloon balloon;
	struct balloon_timer timer;
	struct virtio_balloon *device;
	struct worker *worker;
};

static void balloon_due(void *self)
{
	struct balloon_back *back = self;

	worker_set_deadline(back->worker, balloon_timer_run(&back->timer, back->device, loop_now()));
}

/* Of the pools that the guest's blocks are cut from, each once. */
static unsigned backings_of(const struct vm *vm, const struct backing **backing)
{
	const struct host *host = vm->guest.host;
	unsigned n = 0;

	for (unsigned i = 0; i < host->pools; i++)
		if (host->pool[i].node != HOST_TABLES) {
			MM_ASSERT(n < BALLOON_PARTS_MAX, n, host->pools);
			backing[n++] = &host->pool[i].backing;
		}
	return n;
}

static int open_balloon(const struct make *m, struct virtio **out, struct failure *f)
{
	struct device_box *box = m->box;
	const struct run_options *o = m->all->options;
	struct vm *vm = m->all->vm;
	struct virtio_balloon_config config = {
		.ops = &balloon_ops,
		.packed = m->place.packed,
		.deflate_on_oom = o->balloon.deflate_on_oom,
		.reporting = o->balloon.reporting,
	};
	const struct backing *backing[BALLOON_PARTS_MAX];
	const unsigned backings = backings_of(vm, backing);
	struct virtio_balloon *model;
	struct balloon_back *back;

	if (balloon_schedule_check(&o->balloon.schedule, vm->ram_bytes, backing, backings, f) ||
	    open_slot(m, BALLOON_QUEUES, 0, f))
		return f->code;
	model = box->model = take(m, sizeof(*model), f);
	back = box->backend = take(m, sizeof(*back), f);
	if (!model || !back ||
	    balloon_open(&back->balloon, &vm->ram, &vm->dma_ram->reader[m->box->slot.config.number], backing, backings,
			 f))
		return f->code;
	config.name = box->slot.name;
	config.owner = &back->balloon;
	config.dma = box->slot.dma;
	config.irq = virtio_slot_irq(&box->slot);
	virtio_balloon_init(model, &config);
	model->virtio.config.broken = broken; /* its owner is not that of the pages */
	model->virtio.config.owner = box;
	back->device = model;
	back->worker = &box->slot.worker;
	back->worker->expired_self = back;
	back->worker->expired = balloon_due;
	*out = &model->virtio;
	return 0;
}

static void start_balloon(const struct devices *d, struct device_box *box)
{
	struct balloon_back *back = box->backend;

	balloon_timer_init(&back->timer, &d->options->balloon.schedule, loop_now());
	balloon_due(back);
}

static void close_balloon(struct devices *d, struct device_box *box)
{
	struct balloon_back *back = box->backend;

	if (back)
		balloon_close(&back->balloon);
	memory_free(d->memory, back);
	memory_free(d->memory, box->model);
}

/* ---- the table ---- */

static const struct kind {
	const char *name;
	/* Opens slot, backend and model; *out is what the slot is to serve. */
	int (*open)(const struct make *m, struct virtio **out, struct failure *f);
	void (*close)(struct devices *d, struct device_box *box);
} kinds[DEVICE_KINDS] = {
	[DEVICE_IOMMU] = {"iommu", open_iommu, close_iommu},
	[DEVICE_DISK] = {"disk", open_disk, close_disk},
	[DEVICE_NET] = {"net", open_net, close_net},
	[DEVICE_CONSOLE] = {"console", open_console, close_model},
	[DEVICE_RNG] = {"rng", open_rng, close_model},
	[DEVICE_BALLOON] = {"balloon", open_balloon, close_balloon},
};

const char *device_kind_name(enum device_kind kind)
{
	return kinds[kind].name;
}

static void add(struct devices *d, enum device_kind kind, unsigned index, struct options_place place, struct failure *f)
{
	struct make m = {d, NULL, place};
	struct virtio *virtio = NULL;

	if (f->code)
		return;
	m.box = memory_alloc_aligned(d->memory, sizeof(*m.box), CACHE_LINE);
	if (!m.box) {
		fail(f, EXIT_HOST, "no memory for %s", kinds[kind].name);
		return;
	}
	*m.box = (struct device_box){.kind = kind, .index = index};
	d->box[d->count++] = m.box;
	if (!kinds[kind].open(&m, &virtio, f))
		virtio_slot_attach(&m.box->slot, virtio, f);
}

int devices_open(struct devices *d, struct vm *vm, const struct run_options *o, struct failure *f)
{
	const struct options_place iommu = {.packed = o->iommu.place.packed};

	*d = (struct devices){.vm = vm, .options = o, .memory = vm->memory, .ram = dma_ram_memory(vm->dma_ram)};
	if (o->iommu.on)
		add(d, DEVICE_IOMMU, 0, iommu, f);
	for (unsigned i = 0; i < o->disks; i++)
		add(d, DEVICE_DISK, i, o->disk[i].place, f);
	for (unsigned i = 0; i < o->nets; i++)
		add(d, DEVICE_NET, i, o->net[i].place, f);
	if (o->console.virtio)
		add(d, DEVICE_CONSOLE, 0, o->console.place, f);
	if (o->rng.on)
		add(d, DEVICE_RNG, 0, o->rng.place, f);
	if (o->balloon.on)
		add(d, DEVICE_BALLOON, 0, o->balloon.place, f);
	return f->code;
}

uint32_t devices_behind(const struct devices *d)
{
	uint32_t behind = 0;

	for (unsigned i = 0; i < d->count; i++)
		behind |= (uint32_t)(d->box[i]->slot.config.endpoint != NULL) << i;
	return behind;
}

int devices_start(struct devices *d, struct failure *f)
{
	for (unsigned i = 0; !f->code && i < d->count; i++) {
		if (d->box[i]->kind == DEVICE_BALLOON)
			start_balloon(d, d->box[i]);
		virtio_slot_start(&d->box[i]->slot, f);
	}
	return f->code;
}

void devices_ask(struct devices *d)
{
	for (unsigned i = 0; i < d->count; i++)
		virtio_slot_ask(&d->box[i]->slot);
}

bool devices_ended(const struct devices *d)
{
	for (unsigned i = 0; i < d->count; i++)
		if (!worker_ended(&d->box[i]->slot.worker))
			return false;
	return true;
}

void devices_stop(struct devices *d)
{
	devices_ask(d); /* all at once, then one by one */
	for (unsigned i = d->count; i > 0; i--)
		virtio_slot_stop(&d->box[i - 1]->slot);
}

void devices_close(struct devices *d)
{
	devices_stop(d);
	for (unsigned i = d->count; i > 0; i--)
		virtio_slot_end(&d->box[i - 1]->slot);
	for (unsigned i = 0; i < d->count; i++) {
		struct device_box *box = d->box[i];

		virtio_slot_close(&box->slot);
		kinds[box->kind].close(d, box);
		memory_free(d->memory, box);
	}
	d->count = 0;
}

/* ---- the virtio console's keys and size ---- */

bool devices_feed(struct devices *d, const uint8_t *data, size_t bytes, size_t *took, size_t *room_left)
{
	struct virtio_slot *s = &d->console->slot;

	*took = *room_left = 0;
	if (pthread_mutex_trylock(&s->lock) != 0)
		return false;
	if (bytes)
		*took = virtio_console_input(d->console->model, data, bytes);
	*room_left = *took == bytes;
	pthread_mutex_unlock(&s->lock);
	return true;
}

bool devices_resize(struct devices *d)
{
	struct virtio_slot *s = &d->console->slot;
	uint16_t columns, rows;

	if (!console_size(&columns, &rows))
		return true;
	if (pthread_mutex_trylock(&s->lock) != 0)
		return false;
	virtio_console_resize(d->console->model, columns, rows);
	pthread_mutex_unlock(&s->lock);
	return true;
}
