#include "guests/runtime/virtio_behind.h"

#include "guests/runtime/boot_info.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtio_iommu.h"
#include "vmm/abi.h"

static struct virtio_device iommu_device;
static struct virtio_iommu iommu;
static bool asked, open;

bool virtio_behind_find(const struct boot_info *boot)
{
	asked = text_has(boot->cmdline, "iommu");
	return !asked || virtio_find(boot->cmdline, VIRTIO_ID_IOMMU, 0, &iommu_device);
}

static bool maps(uint32_t domain, const struct boot_range *r)
{
	uint64_t first = (r->start + FRAME_BYTES - 1) & -FRAME_BYTES, end = (r->start + r->bytes) & -FRAME_BYTES;
	uint32_t status = VIRTIO_IOMMU_S_OK;

	if (r->type == E820_RAM && first < end)
		status = virtio_iommu_map(&iommu, domain, first, end - 1, first,
					  VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE);
	return status == VIRTIO_IOMMU_S_OK ? true : step_wrong("the IOMMU does not map RAM", first, status);
}

/* A domain is there from its first endpoint on. */
static bool maps_all(uint32_t domain, const struct boot_info *boot)
{
	for (unsigned i = 0; i < boot->ranges; i++)
		if (!maps(domain, &boot->range[i]))
			return false;
	return true;
}

bool virtio_behind_attach(struct virtio_device *device, const struct boot_info *boot)
{
	uint32_t endpoint = (uint32_t)text_option(boot->cmdline, "endpoint", device->endpoint), domain, status;
	bool first = !open;

	if (!asked)
		return true;
	if (first && !virtio_iommu_open(&iommu, &iommu_device, 0))
		return step_wrong("the IOMMU does not come up", iommu_device.offered, iommu_device.accepted);
	open = true;
	domain = iommu.config.domain_first + 1;
	status = virtio_iommu_attach(&iommu, domain, endpoint, 0);
	if (status != VIRTIO_IOMMU_S_OK)
		return step_wrong("the IOMMU does not attach the device", endpoint, status);
	device->behind = true;
	return !first || maps_all(domain, boot);
}
