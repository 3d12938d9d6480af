/* devices/virtio_console_regs.h: virtio console, one port. Source: VIRTIO 1.2, 5.3. */
#ifndef SLAT_DEVICES_VIRTIO_CONSOLE_REGS_H
#define SLAT_DEVICES_VIRTIO_CONSOLE_REGS_H

#include <stdint.h>

#define VIRTIO_CONSOLE_F_SIZE	     0u
#define VIRTIO_CONSOLE_F_MULTIPORT   1u
#define VIRTIO_CONSOLE_F_EMERG_WRITE 2u

struct virtio_console_config_regs {
	uint16_t columns, rows;
	uint32_t max_ports;
	uint32_t emergency_write;
};

#define VIRTIO_CONSOLE_QUEUE_IN	 0u /* to the guest */
#define VIRTIO_CONSOLE_QUEUE_OUT 1u

_Static_assert(sizeof(struct virtio_console_config_regs) == 12, "5.3.4");

#endif
