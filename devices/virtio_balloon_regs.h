/* devices/virtio_balloon_regs.h: virtio memory balloon. Source: VIRTIO 1.2, 5.5. */
#ifndef SLAT_DEVICES_VIRTIO_BALLOON_REGS_H
#define SLAT_DEVICES_VIRTIO_BALLOON_REGS_H

#include <stdint.h>

#define VIRTIO_BALLOON_F_MUST_TELL_HOST 0u
#define VIRTIO_BALLOON_F_STATS_VQ	1u
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM 2u
#define VIRTIO_BALLOON_F_FREE_PAGE_HINT 3u
#define VIRTIO_BALLOON_F_PAGE_POISON	4u
#define VIRTIO_BALLOON_F_PAGE_REPORTING 5u

#define VIRTIO_BALLOON_PAGE		4096u /* whatever the guest's page is */

struct virtio_balloon_config_regs {
	uint32_t num_pages; /* what the device asks for */
	uint32_t actual;    /* what the driver says it gave */
	uint32_t free_page_hint_cmd_id, poison_val;
};

struct virtio_balloon_stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));
#define VIRTIO_BALLOON_S_SWAP_IN      0u
#define VIRTIO_BALLOON_S_SWAP_OUT     1u
#define VIRTIO_BALLOON_S_MAJFLT	      2u
#define VIRTIO_BALLOON_S_MINFLT	      3u
#define VIRTIO_BALLOON_S_MEMFREE      4u
#define VIRTIO_BALLOON_S_MEMTOT	      5u
#define VIRTIO_BALLOON_S_AVAIL	      6u
#define VIRTIO_BALLOON_S_CACHES	      7u
#define VIRTIO_BALLOON_S_HTLB_PGALLOC 8u
#define VIRTIO_BALLOON_S_HTLB_PGFAIL  9u
#define VIRTIO_BALLOON_S_TAGS	      10u

_Static_assert(sizeof(struct virtio_balloon_config_regs) == 16 && sizeof(struct virtio_balloon_stat) == 10,
	       "5.5.4, 5.5.6.3");

#endif
