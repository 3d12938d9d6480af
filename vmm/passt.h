/* vmm/passt.h: Debian's passt, which carries a guest's frames by sockets of the host:
 * a process of its own behind a Unix socket, no privilege needed. Theory: top of passt.c.
 * Threads: passt_open() and passt_close() from the main thread; the rest with the device's lock held.
 * System calls while the guest runs: sendmsg, recvfrom. */
#ifndef SLAT_VMM_PASST_H
#define SLAT_VMM_PASST_H

#include "devices/virtio_net.h"
#include "vmm/failure.h"

#define PASST_PREFIX 4u /* a frame's length, big-endian, before it */
#define PASST_WHOLE  (PASST_PREFIX + VIRTIO_NET_FRAME_MAX)

struct passt_config {
	const char *tcp,
		*udp;	      /* ports of the host that lead to the guest, as passt's -t and -u take them; NULL: none */
	unsigned patience_ms; /* for its start; 0: 5 s */
};

struct passt {
	int fd;		  /* -1: not open */
	bool gone;	  /* it has ended, or: */
	bool nonsense;	  /* it sent what is no frame */
	size_t at, used;  /* in[at, used): received, not handed out */
	size_t from, end; /* rest[from, end): of a frame that was sent in part */
	uint8_t in[2 * PASST_WHOLE], rest[PASST_WHOLE];
};

/* Starts it and waits until it is ready, some 40 ms. EXIT_HOST: it is not installed, does not want to, or hangs.
 * SIGCHLD is as it is by default from then on. */
int passt_open(struct passt *p, const struct passt_config *config, struct failure *f);
void passt_adopt(struct passt *p, int fd); /* a connected stream socket, p's from here on */
void passt_close(struct passt *p);	   /* ends it; fine on one that was not opened, but zeroed */

enum net_sent passt_send(struct passt *p, const struct dma_segment *segment, unsigned segments);
/* One frame: bytes, 0 iff none is there now, or it is gone. */
size_t passt_receive(struct passt *p, uint8_t *buffer, size_t size);
bool passt_holds_frame(const struct passt *p); /* passt_receive() gives one without asking the socket */
bool passt_flush(struct passt *p);	       /* true: no frame is sent in part only */

#endif
