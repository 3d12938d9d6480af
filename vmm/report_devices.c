#include "vmm/report_devices.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "devices/virtio_balloon.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_console.h"
#include "devices/virtio_iommu.h"
#include "devices/virtio_net.h"
#include "devices/virtio_rng.h"
#include "vmm/balloon.h"
#include "vmm/devices.h"
#include "vmm/disk.h"
#include "vmm/iommu_host.h"
#include "vmm/net.h"

#define TRIES 100u /* of its lock, by any clock that somebody sets meanwhile */

static json_int_t number(uint64_t n)
{
	return (json_int_t)n;
}

static json_t *of_virtio(const struct virtio *v)
{
	const struct virtio_stats *s = &v->stats;

	return json_pack("{s:I, s:b, s:I, s:I, s:I, s:I, s:I}", "status", number(v->status), "packed", v->config.packed,
			 "resets", number(s->resets), "broken", number(s->broken), "notifications",
			 number(s->notifications), "interrupts", number(s->interrupts), "refused", number(s->refused));
}

static json_t *of_dma(const struct virtio_slot *slot)
{
	struct dma_stats all = {0};

	for (unsigned q = 0; q < slot->config.queues; q++) {
		const struct dma_stats *s = &slot->dma[q].stats;

		all.hits += s->hits;
		all.misses += s->misses;
		all.faults += s->faults;
		all.copied += s->copied;
		all.mapped += s->mapped;
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "hits", number(all.hits), "misses", number(all.misses), "faults",
			 number(all.faults), "copied_bytes", number(all.copied), "mapped_bytes", number(all.mapped));
}

static json_t *of_iommu(const struct device_box *box)
{
	const struct virtio_iommu *model = box->model;
	const struct iommu_host *host = box->backend;
	const struct iommu_stats s = iommu_stats_read(&host->iommu);
	const uint64_t *r = model->stats.requests;

	return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "requests",
			 "attach", number(r[VIRTIO_IOMMU_T_ATTACH]), "detach", number(r[VIRTIO_IOMMU_T_DETACH]), "map",
			 number(r[VIRTIO_IOMMU_T_MAP]), "unmap", number(r[VIRTIO_IOMMU_T_UNMAP]), "probe",
			 number(r[VIRTIO_IOMMU_T_PROBE]), "unknown", number(r[0]), "requests_refused",
			 number(model->stats.refused), "domains", number(s.domains), "mappings", number(s.mappings),
			 "mappings_max", number(s.mappings_max_seen), "table_bytes_max", number(s.table_bytes_max),
			 "faults", number(s.faults), "faults_lost", number(s.faults_lost), "events",
			 number(model->stats.events));
}

static json_t *of_disk(const struct device_box *box)
{
	const struct virtio_blk_stats s = virtio_blk_stats_read(box->model);
	const struct disk *disk = box->backend; /* it is the backend's first */

	return json_pack("{s:s, s:s*, s:b, s:{s:I, s:I, s:I, s:I, s:I}, s:I, s:I, s:I, s:I, s:I, s:I}", "way",
			 disk_way(disk), "io_uring_error", disk->uring_error ? strerror(disk->uring_error) : NULL,
			 "locked", disk->locked, "requests", "read", number(s.requests[BLK_READ]), "write",
			 number(s.requests[BLK_WRITE]), "flush", number(s.requests[BLK_FLUSH]), "discard",
			 number(s.requests[BLK_DISCARD]), "zero", number(s.requests[BLK_ZERO]), "read_bytes",
			 number(s.bytes_read), "written_bytes", number(s.bytes_written), "errors", number(s.errors),
			 "bounced", number(disk->stats.bounced), "continued", number(disk->stats.continued),
			 "host_errors", number(disk->stats.errors));
}

static json_t *of_net(const struct device_box *box)
{
	const struct virtio_net_stats *s = &((const struct virtio_net *)box->model)->stats;

	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "sent", number(s->sent), "sent_bytes", number(s->sent_bytes),
			 "received", number(s->received), "received_bytes", number(s->received_bytes), "lost",
			 number(s->lost));
}

/* By the names of the specification (5.5.6.4); the guest says what it likes. */
static json_t *of_statistics(const struct balloon *b)
{
	static const char *const names[VIRTIO_BALLOON_S_TAGS] = {
		"swap_in",	"swap_out",	    "major_faults", "minor_faults",	   "free_memory",
		"total_memory", "available_memory", "disk_caches",  "hugetlb_allocations", "hugetlb_failures"};
	json_t *all = json_object();

	for (unsigned i = 0; b->has_statistics && i < VIRTIO_BALLOON_S_TAGS; i++)
		if (b->statistics[i] != UINT64_MAX)
			json_object_set_new(all, names[i], json_integer(number(b->statistics[i])));
	return all;
}

static json_t *of_balloon(const struct device_box *box)
{
	const struct virtio_balloon *model = box->model;
	const struct balloon_stats s = balloon_stats_read(box->backend); /* the backend's first */

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "target_bytes",
			 number(model->target * FRAME_BYTES), "actual_bytes", number(model->actual * FRAME_BYTES),
			 "inflated_bytes", number(model->stats.inflated), "deflated_bytes",
			 number(model->stats.deflated), "reported_bytes", number(model->stats.reported),
			 "returned_bytes", number(s.returned), "absent_bytes", number(s.absent), "absent_bytes_max",
			 number(s.absent_max), "runs", number(s.runs), "strays", number(s.strays), "refused",
			 number(s.refused), "statistics", of_statistics(box->backend));
}

static json_t *of_kind(const struct device_box *box)
{
	switch (box->kind) {
	case DEVICE_IOMMU:
		return of_iommu(box);
	case DEVICE_DISK:
		return of_disk(box);
	case DEVICE_NET:
		return of_net(box);
	case DEVICE_BALLOON:
		return of_balloon(box);
	case DEVICE_CONSOLE:
	case DEVICE_RNG:
	case DEVICE_KINDS:
		break;
	}
	return NULL; /* what virtio and DMA have is all that there is to say */
}

/* Its lock, unless it is at work for too long: the run goes on. */
static bool lock(pthread_mutex_t *mutex)
{
	const struct timespec some = {.tv_nsec = REPORT_PATIENCE_NS / TRIES};

	for (unsigned i = 0; i < TRIES; i++) {
		if (pthread_mutex_trylock(mutex) == 0)
			return true;
		nanosleep(&some, NULL);
	}
	return false;
}

static json_t *of_device(struct device_box *box)
{
	const char *kind = device_kind_name(box->kind);
	json_t *device = json_pack("{s:s, s:s, s:i, s:b}", "name", box->slot.name, "kind", kind, "slot",
				   (int)box->slot.config.number, "behind_iommu", box->slot.config.endpoint != NULL);
	const bool mine = lock(&box->slot.lock);
	json_t *own = mine ? of_kind(box) : NULL;

	json_object_set_new(device, "virtio", mine ? of_virtio(box->slot.virtio) : json_null());
	json_object_set_new(device, "dma", mine ? of_dma(&box->slot) : json_null());
	if (mine)
		pthread_mutex_unlock(&box->slot.lock);
	if (own)
		json_object_set_new(device, kind, own);
	return device;
}

json_t *report_devices(const struct vm *vm)
{
	const struct devices *d = vm->devices;
	json_t *list = json_array();

	for (unsigned i = 0; d && i < d->count; i++)
		json_array_append_new(list, of_device(d->box[i]));
	return list;
}
