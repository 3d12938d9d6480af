/* devices/virtio_net_regs.h: virtio network device. Source: VIRTIO 1.2, 5.1. */
#ifndef SLAT_DEVICES_VIRTIO_NET_REGS_H
#define SLAT_DEVICES_VIRTIO_NET_REGS_H

#include <stdint.h>

#define VIRTIO_NET_F_CSUM	0u
#define VIRTIO_NET_F_GUEST_CSUM 1u
#define VIRTIO_NET_F_MTU	3u
#define VIRTIO_NET_F_MAC	5u
#define VIRTIO_NET_F_GUEST_TSO4 7u
#define VIRTIO_NET_F_GUEST_TSO6 8u
#define VIRTIO_NET_F_GUEST_ECN	9u
#define VIRTIO_NET_F_HOST_TSO4	11u
#define VIRTIO_NET_F_HOST_TSO6	12u
#define VIRTIO_NET_F_HOST_ECN	13u
#define VIRTIO_NET_F_MRG_RXBUF	15u
#define VIRTIO_NET_F_STATUS	16u
#define VIRTIO_NET_F_CTRL_VQ	17u
#define VIRTIO_NET_F_MQ		22u

#define VIRTIO_NET_S_LINK_UP	1u

struct virtio_net_config_regs {
	uint8_t mac[6];
	uint16_t status, max_virtqueue_pairs, mtu;
};

struct virtio_net_header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	uint16_t num_buffers;
};
#define VIRTIO_NET_HDR_NEEDS_CSUM 1u
#define VIRTIO_NET_HDR_DATA_VALID 2u

#define VIRTIO_NET_GSO_NONE	  0u
#define VIRTIO_NET_GSO_TCPV4	  1u
#define VIRTIO_NET_GSO_TCPV6	  4u
#define VIRTIO_NET_GSO_ECN	  0x80u

/* The control queue: class, command, data; then one byte of answer. */
#define VIRTIO_NET_CTRL_MQ		4u
#define VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET 0u
#define VIRTIO_NET_OK			0u
#define VIRTIO_NET_ERR			1u

_Static_assert(sizeof(struct virtio_net_config_regs) == 12 && sizeof(struct virtio_net_header) == 12, "5.1.4, 5.1.6");

#endif
