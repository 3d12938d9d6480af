/* devices/virtio_regs.h: what every virtio device and driver share: the MMIO
 * transport, the device's status, features, and the two ring formats.
 * Source: Virtual I/O Device (VIRTIO) 1.2, OASIS 2022: 2.1, 2.7, 2.8, 4.2, 6. */
#ifndef SLAT_DEVICES_VIRTIO_REGS_H
#define SLAT_DEVICES_VIRTIO_REGS_H

#include <stdint.h>

/* MMIO transport, version 2 (4.2.2). Registers are 32 bits wide; what the device has of its own begins at
 * VIRTIO_MMIO_CONFIG and takes 1, 2, 4 and 8 bytes. */
#define VIRTIO_MMIO_WINDOW		0x200
#define VIRTIO_MMIO_MAGIC		0x000
#define VIRTIO_MMIO_VERSION		0x004
#define VIRTIO_MMIO_DEVICE_ID		0x008
#define VIRTIO_MMIO_VENDOR_ID		0x00c
#define VIRTIO_MMIO_DEVICE_FEATURES	0x010
#define VIRTIO_MMIO_DEVICE_FEATURES_SEL 0x014
#define VIRTIO_MMIO_DRIVER_FEATURES	0x020
#define VIRTIO_MMIO_DRIVER_FEATURES_SEL 0x024
#define VIRTIO_MMIO_QUEUE_SEL		0x030
#define VIRTIO_MMIO_QUEUE_SIZE_MAX	0x034
#define VIRTIO_MMIO_QUEUE_SIZE		0x038
#define VIRTIO_MMIO_QUEUE_READY		0x044
#define VIRTIO_MMIO_QUEUE_NOTIFY	0x050
#define VIRTIO_MMIO_INTERRUPT_STATUS	0x060
#define VIRTIO_MMIO_INTERRUPT_ACK	0x064
#define VIRTIO_MMIO_STATUS		0x070
#define VIRTIO_MMIO_QUEUE_DESC_LOW	0x080
#define VIRTIO_MMIO_QUEUE_DESC_HIGH	0x084
#define VIRTIO_MMIO_QUEUE_DRIVER_LOW	0x090
#define VIRTIO_MMIO_QUEUE_DRIVER_HIGH	0x094
#define VIRTIO_MMIO_QUEUE_DEVICE_LOW	0x0a0
#define VIRTIO_MMIO_QUEUE_DEVICE_HIGH	0x0a4
#define VIRTIO_MMIO_SHM_SEL		0x0ac
#define VIRTIO_MMIO_SHM_LEN_LOW		0x0b0
#define VIRTIO_MMIO_SHM_LEN_HIGH	0x0b4
#define VIRTIO_MMIO_SHM_BASE_LOW	0x0b8
#define VIRTIO_MMIO_SHM_BASE_HIGH	0x0bc
#define VIRTIO_MMIO_QUEUE_RESET		0x0c0
#define VIRTIO_MMIO_CONFIG_GENERATION	0x0fc
#define VIRTIO_MMIO_CONFIG		0x100

#define VIRTIO_MAGIC			0x74726976u /* "virt" */
#define VIRTIO_MMIO_MODERN		2u
#define VIRTIO_VENDOR_SLAT		0x54414c53u /* "SLAT" */

#define VIRTIO_INTERRUPT_USED		(1u << 0)
#define VIRTIO_INTERRUPT_CONFIG		(1u << 1)

/* Device ids (5). */
#define VIRTIO_ID_NET	  1u
#define VIRTIO_ID_BLK	  2u
#define VIRTIO_ID_CONSOLE 3u
#define VIRTIO_ID_RNG	  4u
#define VIRTIO_ID_BALLOON 5u
#define VIRTIO_ID_IOMMU	  23u

/* Device status (2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER	  2u
#define VIRTIO_STATUS_DRIVER_OK	  4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED	  128u

/* Features of every device (6), as bit numbers. */
#define VIRTIO_F_INDIRECT_DESC	 28u
#define VIRTIO_F_EVENT_IDX	 29u
#define VIRTIO_F_VERSION_1	 32u
#define VIRTIO_F_ACCESS_PLATFORM 33u
#define VIRTIO_F_RING_PACKED	 34u
#define VIRTIO_F_IN_ORDER	 35u
#define VIRTIO_F_ORDER_PLATFORM	 36u
#define VIRTIO_F_RING_RESET	 40u

/* Split ring (2.7): desc aligned to 16, avail to 2, used to 4. */
#define VIRTQ_DESC_NEXT	    1u
#define VIRTQ_DESC_WRITE    2u
#define VIRTQ_DESC_INDIRECT 4u

struct virtq_desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

#define VIRTQ_AVAIL_NO_INTERRUPT 1u
struct virtq_avail { /* then ring[size], then used_event */
	uint16_t flags, index;
	uint16_t ring[];
};

#define VIRTQ_USED_NO_NOTIFY 1u
struct virtq_used_element {
	uint32_t id, length;
};
struct virtq_used { /* then avail_event behind the ring */
	uint16_t flags, index;
	struct virtq_used_element ring[];
};

/* Packed ring (2.8): descriptors aligned to 16, event suppression to 4. */
#define VIRTQ_PACKED_AVAIL_SHIFT 7u
#define VIRTQ_PACKED_USED_SHIFT	 15u

struct virtq_packed_desc {
	uint64_t address;
	uint32_t length;
	uint16_t id, flags;
};

#define VIRTQ_EVENT_ENABLE  0u
#define VIRTQ_EVENT_DISABLE 1u
#define VIRTQ_EVENT_DESC    2u /* only with VIRTIO_F_EVENT_IDX */
#define VIRTQ_EVENT_WRAP    (1u << 15)

struct virtq_packed_event {
	uint16_t offset_wrap, flags;
};

_Static_assert(sizeof(struct virtq_desc) == 16 && sizeof(struct virtq_packed_desc) == 16, "2.7.5, 2.8.13");
_Static_assert(sizeof(struct virtq_used_element) == 8 && sizeof(struct virtq_packed_event) == 4, "2.7.8, 2.8.14");

#endif
