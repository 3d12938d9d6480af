/* vmm/net.h: where a guest's network device leads: --net tap=NAME or --net user.
 * The order of a life: net_open(), a virtio_net over net->backend, net_attach(), the worker's life, net_close().
 * Threads: all from the main thread; what the backend does runs in the worker's, or a vCPU's with the device's lock
 * held. Memory: some 200 KiB a struct net; it must not move after net_open(). */
#ifndef SLAT_VMM_NET_H
#define SLAT_VMM_NET_H

#include "vmm/passt.h"
#include "vmm/tap.h"
#include "vmm/worker.h"

enum net_kind { NET_TAP, NET_USER };

struct net_config { /* of the command line; strings are borrowed until net_open() is back */
	enum net_kind kind;
	const char *tap; /* NET_TAP: its name */
	struct passt_config user;
	bool has_mac;
	uint8_t mac[6];
	unsigned pairs; /* 1 to VIRTIO_NET_PAIRS_MAX; NET_USER takes 1 */
};

struct net {
	struct net_backend backend;
	enum net_kind kind;
	const char *name; /* for the sentence about its end: "net 0"; borrowed */
	struct virtio_net *device;
	struct worker *worker;
	unsigned source[VIRTIO_NET_PAIRS_MAX];
	bool receive[VIRTIO_NET_PAIRS_MAX], writable[VIRTIO_NET_PAIRS_MAX]; /* what the device waits for */
	bool down;
	struct tap tap;
	struct passt passt;
};

/* "52:54:00:12:34:56": an address of one station. False: it is not. */
bool net_parse_mac(const char *text, uint8_t mac[6]);

/* Starts passt, or opens the tap. Without a MAC address of the user's it makes one up, locally administered. */
int net_open(struct net *n, const struct net_config *config, const char *name, struct failure *f);
/* Before the worker's start; its deadline is used for --net user. */
void net_attach(struct net *n, struct worker *worker, struct virtio_net *device);
void net_close(struct net *n); /* the worker has stopped; fine on a zeroed one */

#endif
