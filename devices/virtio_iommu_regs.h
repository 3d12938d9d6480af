/* devices/virtio_iommu_regs.h: virtio IOMMU. Source: VIRTIO 1.2, 5.13. */
#ifndef SLAT_DEVICES_VIRTIO_IOMMU_REGS_H
#define SLAT_DEVICES_VIRTIO_IOMMU_REGS_H

#include <stdint.h>

#define VIRTIO_IOMMU_F_INPUT_RANGE   0u
#define VIRTIO_IOMMU_F_DOMAIN_RANGE  1u
#define VIRTIO_IOMMU_F_MAP_UNMAP     2u
#define VIRTIO_IOMMU_F_BYPASS	     3u
#define VIRTIO_IOMMU_F_PROBE	     4u
#define VIRTIO_IOMMU_F_MMIO	     5u
#define VIRTIO_IOMMU_F_BYPASS_CONFIG 6u

#define VIRTIO_IOMMU_QUEUE_REQUEST   0u
#define VIRTIO_IOMMU_QUEUE_EVENT     1u

struct virtio_iommu_config_regs {
	uint64_t page_size_mask;
	uint64_t input_first, input_last; /* closed, as all ranges of this device */
	uint32_t domain_first, domain_last;
	uint32_t probe_size;
	uint8_t bypass, reserved[3];
};

#define VIRTIO_IOMMU_T_ATTACH 1u
#define VIRTIO_IOMMU_T_DETACH 2u
#define VIRTIO_IOMMU_T_MAP    3u
#define VIRTIO_IOMMU_T_UNMAP  4u
#define VIRTIO_IOMMU_T_PROBE  5u

#define VIRTIO_IOMMU_S_OK     0u
#define VIRTIO_IOMMU_S_IOERR  1u
#define VIRTIO_IOMMU_S_UNSUPP 2u
#define VIRTIO_IOMMU_S_DEVERR 3u
#define VIRTIO_IOMMU_S_INVAL  4u
#define VIRTIO_IOMMU_S_RANGE  5u
#define VIRTIO_IOMMU_S_NOENT  6u
#define VIRTIO_IOMMU_S_FAULT  7u
#define VIRTIO_IOMMU_S_NOMEM  8u

struct virtio_iommu_head {
	uint8_t type, reserved[3];
};
struct virtio_iommu_tail { /* writable, behind each request */
	uint8_t status, reserved[3];
};

struct virtio_iommu_attach {
	struct virtio_iommu_head head;
	uint32_t domain, endpoint, flags;
	uint8_t reserved[4];
};
#define VIRTIO_IOMMU_ATTACH_BYPASS 1u

struct virtio_iommu_detach {
	struct virtio_iommu_head head;
	uint32_t domain, endpoint;
	uint8_t reserved[8];
};

struct virtio_iommu_map {
	struct virtio_iommu_head head;
	uint32_t domain;
	uint64_t first, last, phys;
	uint32_t flags;
} __attribute__((packed));
#define VIRTIO_IOMMU_MAP_READ  1u
#define VIRTIO_IOMMU_MAP_WRITE 2u
#define VIRTIO_IOMMU_MAP_MMIO  4u

struct virtio_iommu_unmap {
	struct virtio_iommu_head head;
	uint32_t domain;
	uint64_t first, last;
	uint8_t reserved[4];
} __attribute__((packed));

struct virtio_iommu_probe { /* then probe_size bytes of properties and the tail, writable */
	struct virtio_iommu_head head;
	uint32_t endpoint;
	uint8_t reserved[64];
};

struct virtio_iommu_property {
	uint16_t type, length; /* length: of what follows */
};
#define VIRTIO_IOMMU_PROBE_NONE	   0u
#define VIRTIO_IOMMU_PROBE_RESV	   1u
#define VIRTIO_IOMMU_RESV_RESERVED 0u
#define VIRTIO_IOMMU_RESV_MSI	   1u
struct virtio_iommu_reserved {
	struct virtio_iommu_property head;
	uint8_t subtype, reserved[3];
	uint64_t first, last;
};

struct virtio_iommu_fault {
	uint8_t reason, reserved[3];
	uint32_t flags, endpoint;
	uint8_t reserved1[4];
	uint64_t address;
};
#define VIRTIO_IOMMU_FAULT_UNKNOWN 0u
#define VIRTIO_IOMMU_FAULT_DOMAIN  1u
#define VIRTIO_IOMMU_FAULT_MAPPING 2u
#define VIRTIO_IOMMU_FAULT_READ	   (1u << 0)
#define VIRTIO_IOMMU_FAULT_WRITE   (1u << 1)
#define VIRTIO_IOMMU_FAULT_ADDRESS (1u << 8)

_Static_assert(sizeof(struct virtio_iommu_config_regs) == 40, "5.13.4");
_Static_assert(sizeof(struct virtio_iommu_attach) == 20 && sizeof(struct virtio_iommu_detach) == 20, "5.13.6");
_Static_assert(sizeof(struct virtio_iommu_map) == 36 && sizeof(struct virtio_iommu_unmap) == 28, "5.13.6");
_Static_assert(sizeof(struct virtio_iommu_probe) == 72 && sizeof(struct virtio_iommu_reserved) == 24, "5.13.6");
_Static_assert(sizeof(struct virtio_iommu_fault) == 24, "5.13.6.9");

#endif
