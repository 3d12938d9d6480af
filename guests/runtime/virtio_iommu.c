/* virtio_iommu.c: one request at a time, in one frame: what the device reads
 * first, what it answers from ANSWER_AT on. All buffers of the event queue are
 * with the device but while virtio_iommu_fault_take() copies one: a fault is lost
 * only when more come than VIRTIO_IOMMU_FAULTS between two looks. */
#include "guests/runtime/virtio_iommu.h"

#include <stddef.h>

#include "guests/runtime/memory.h"
#include "guests/runtime/string.h"

#define CONFIG(field)                                                                                                  \
	offsetof(struct virtio_iommu_config_regs, field), sizeof(((struct virtio_iommu_config_regs *)NULL)->field)
#define ANSWER_AT   256u /* in the frame; no request is longer */
#define ROOM_MAX    (FRAME_BYTES - ANSWER_AT - sizeof(struct virtio_iommu_tail))
#define STATUS_NONE 0xffu

static void config_read(struct virtio_iommu *self)
{
	struct virtio_iommu_config_regs *c = &self->config;
	struct virtio_device *d = self->device;

	*c = (struct virtio_iommu_config_regs){.input_last = UINT64_MAX, .domain_last = UINT32_MAX};
	c->page_size_mask = virtio_config(d, CONFIG(page_size_mask));
	if (virtio_has(d, VIRTIO_IOMMU_F_INPUT_RANGE)) {
		c->input_first = virtio_config(d, CONFIG(input_first));
		c->input_last = virtio_config(d, CONFIG(input_last));
	}
	if (virtio_has(d, VIRTIO_IOMMU_F_DOMAIN_RANGE)) {
		c->domain_first = (uint32_t)virtio_config(d, CONFIG(domain_first));
		c->domain_last = (uint32_t)virtio_config(d, CONFIG(domain_last));
	}
	if (virtio_has(d, VIRTIO_IOMMU_F_PROBE))
		c->probe_size = (uint32_t)virtio_config(d, CONFIG(probe_size));
	if (virtio_has(d, VIRTIO_IOMMU_F_BYPASS_CONFIG))
		c->bypass = (uint8_t)virtio_config(d, CONFIG(bypass));
}

static bool fault_room(struct virtio_iommu *self, struct virtio_iommu_fault *fault)
{
	struct virtq_piece piece = {virtio_address(self->device, fault), sizeof(*fault), true};

	return virtq_add(&self->events, &piece, 1, fault);
}

bool virtio_iommu_open(struct virtio_iommu *self, struct virtio_device *device, uint64_t features)
{
	const uint64_t always = VIRTIO_BIT(VIRTIO_IOMMU_F_INPUT_RANGE) | VIRTIO_BIT(VIRTIO_IOMMU_F_DOMAIN_RANGE) |
				VIRTIO_BIT(VIRTIO_IOMMU_F_MAP_UNMAP) | VIRTIO_BIT(VIRTIO_IOMMU_F_PROBE) |
				VIRTIO_BIT(VIRTIO_IOMMU_F_BYPASS_CONFIG) | VIRTIO_BIT(VIRTIO_IOMMU_F_MMIO);

	self->device = device;
	if (!virtio_begin(device) || !virtio_negotiate(device, features | always))
		return false;
	if (!virtq_open(&self->requests, device, VIRTIO_IOMMU_QUEUE_REQUEST, VIRTQ_SIZE_MAX) ||
	    !virtq_open(&self->events, device, VIRTIO_IOMMU_QUEUE_EVENT, VIRTIO_IOMMU_FAULTS))
		return false;
	config_read(self);
	if (!self->memory) {
		self->memory = virtio_take(device, FRAME_BYTES);
		self->faults = virtio_take(device, sizeof(*self->faults) * VIRTIO_IOMMU_FAULTS);
	}
	virtio_ready(device);
	for (unsigned i = 0; i < self->events.size; i++)
		if (!fault_room(self, &self->faults[i]))
			return false;
	virtq_kick(&self->events);
	return true;
}

uint32_t virtio_iommu_ask(struct virtio_iommu *self, const void *request, uint32_t bytes, uint32_t room)
{
	uint64_t at = virtio_address(self->device, self->memory);
	struct virtq_piece pieces[2] = {{at, bytes, false}};
	struct virtio_iommu_tail *tail = (void *)(self->memory + ANSWER_AT + room);
	struct virtq_done done;

	if (bytes > ANSWER_AT || room > ROOM_MAX)
		return VIRTIO_IOMMU_BROKEN;
	pieces[1] = (struct virtq_piece){at + ANSWER_AT, room + (uint32_t)sizeof(*tail), true};
	memcpy(self->memory, request, bytes);
	memset(self->memory + ANSWER_AT, 0, room);
	tail->status = STATUS_NONE;
	if (!virtq_add(&self->requests, pieces, 2, NULL))
		return VIRTIO_IOMMU_BROKEN;
	virtq_kick(&self->requests);
	if (virtq_wait(&self->requests, &done) != VIRTQ_DONE)
		return VIRTIO_IOMMU_BROKEN;
	return done.bytes == 0 || tail->status == STATUS_NONE ? VIRTIO_IOMMU_BLANK : tail->status;
}

const uint8_t *virtio_iommu_answer(const struct virtio_iommu *self)
{
	return self->memory + ANSWER_AT;
}

uint32_t virtio_iommu_attach(struct virtio_iommu *self, uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	struct virtio_iommu_attach r = {
		.head.type = VIRTIO_IOMMU_T_ATTACH, .domain = domain, .endpoint = endpoint, .flags = flags};

	return virtio_iommu_ask(self, &r, sizeof(r), 0);
}

uint32_t virtio_iommu_detach(struct virtio_iommu *self, uint32_t domain, uint32_t endpoint)
{
	struct virtio_iommu_detach r = {.head.type = VIRTIO_IOMMU_T_DETACH, .domain = domain, .endpoint = endpoint};

	return virtio_iommu_ask(self, &r, sizeof(r), 0);
}

uint32_t virtio_iommu_map(struct virtio_iommu *self, uint32_t domain, uint64_t first, uint64_t last, uint64_t phys,
			  uint32_t flags)
{
	struct virtio_iommu_map r = {.head.type = VIRTIO_IOMMU_T_MAP,
				     .domain = domain,
				     .first = first,
				     .last = last,
				     .phys = phys,
				     .flags = flags};

	return virtio_iommu_ask(self, &r, sizeof(r), 0);
}

uint32_t virtio_iommu_unmap(struct virtio_iommu *self, uint32_t domain, uint64_t first, uint64_t last)
{
	struct virtio_iommu_unmap r = {
		.head.type = VIRTIO_IOMMU_T_UNMAP, .domain = domain, .first = first, .last = last};

	return virtio_iommu_ask(self, &r, sizeof(r), 0);
}

uint32_t virtio_iommu_probe(struct virtio_iommu *self, uint32_t endpoint)
{
	struct virtio_iommu_probe r = {.head.type = VIRTIO_IOMMU_T_PROBE, .endpoint = endpoint};

	return virtio_iommu_ask(self, &r, sizeof(r), self->config.probe_size);
}

bool virtio_iommu_fault_take(struct virtio_iommu *self, struct virtio_iommu_fault *out)
{
	struct virtq_done done;
	struct virtio_iommu_fault *fault;

	if (!virtq_take(&self->events, &done))
		return false;
	fault = done.token;
	*out = *fault;
	if (done.bytes < sizeof(*fault) || !fault_room(self, fault))
		return false;
	virtq_kick(&self->events);
	return true;
}
