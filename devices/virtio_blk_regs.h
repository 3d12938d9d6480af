/* devices/virtio_blk_regs.h: virtio block device. Source: VIRTIO 1.2, 5.2. */
#ifndef SLAT_DEVICES_VIRTIO_BLK_REGS_H
#define SLAT_DEVICES_VIRTIO_BLK_REGS_H

#include <stdint.h>

#define VIRTIO_BLK_F_SIZE_MAX	  1u
#define VIRTIO_BLK_F_SEG_MAX	  2u
#define VIRTIO_BLK_F_RO		  5u
#define VIRTIO_BLK_F_BLK_SIZE	  6u
#define VIRTIO_BLK_F_FLUSH	  9u
#define VIRTIO_BLK_F_TOPOLOGY	  10u
#define VIRTIO_BLK_F_CONFIG_WCE	  11u
#define VIRTIO_BLK_F_MQ		  12u
#define VIRTIO_BLK_F_DISCARD	  13u
#define VIRTIO_BLK_F_WRITE_ZEROES 14u

#define VIRTIO_BLK_SECTOR	  512u /* every unit of the device, whatever blk_size says */
#define VIRTIO_BLK_ID_BYTES	  20u

struct virtio_blk_config_regs {
	uint64_t capacity; /* sectors */
	uint32_t size_max, seg_max;
	struct {
		uint16_t cylinders;
		uint8_t heads, sectors;
	} geometry;
	uint32_t blk_size;
	struct {
		uint8_t physical_block_exp, alignment_offset;
		uint16_t min_io_size;
		uint32_t opt_io_size;
	} topology;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
	uint32_t max_secure_erase_sectors, max_secure_erase_seg, secure_erase_sector_alignment;
};

#define VIRTIO_BLK_T_IN		  0u
#define VIRTIO_BLK_T_OUT	  1u
#define VIRTIO_BLK_T_FLUSH	  4u
#define VIRTIO_BLK_T_GET_ID	  8u
#define VIRTIO_BLK_T_DISCARD	  11u
#define VIRTIO_BLK_T_WRITE_ZEROES 13u

struct virtio_blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct virtio_blk_range { /* of discard and write zeroes */
	uint64_t sector;
	uint32_t sectors, flags;
};
#define VIRTIO_BLK_RANGE_UNMAP 1u

#define VIRTIO_BLK_S_OK	       0u
#define VIRTIO_BLK_S_IOERR     1u
#define VIRTIO_BLK_S_UNSUPP    2u

_Static_assert(sizeof(struct virtio_blk_config_regs) == 72, "5.2.4");
_Static_assert(sizeof(struct virtio_blk_header) == 16 && sizeof(struct virtio_blk_range) == 16, "5.2.6");

#endif
