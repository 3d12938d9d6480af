/* vmm/net.c
 *
 * Between a virtio_net and its tap or passt: which descriptor is polled for what.
 *
 * A tap's queue is read frame by frame, so poll() knows whether there is more.
 * passt's stream is read in pieces of many frames, and poll() knows nothing of
 * those that are here already: while there are some and the guest wants them, the
 * worker's deadline is one that is over.
 * What has gone (passt has ended, somebody removed the tap) is told once, to the user
 * and, as a link that is down, to the guest; frames for it are lost from then on. */
#include "vmm/net.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define AT_ONCE 1u /* ns of loop_now() */

bool net_parse_mac(const char *text, uint8_t mac[6])
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	uint8_t any = 0;

	for (unsigned i = 0; i < 17; i++) {
		const char *digit = text[i] ? strchr(digits, text[i]) : NULL;

		if (i % 3 == 2 ? text[i] != ':' : !digit)
			return false;
		if (i % 3 != 2)
			mac[i / 3] = (uint8_t)((i % 3 ? mac[i / 3] << 4 : 0) | (digit - digits) % 16);
	}
	for (unsigned i = 0; i < 6; i++)
		any |= mac[i];
	return text[17] == '\0' && any && !(mac[0] & 1);
}

static bool gone(const struct net *n)
{
	return n->kind == NET_TAP ? n->tap.gone : n->passt.gone;
}

static void watch(struct net *n, unsigned pair)
{
	const bool part = n->kind == NET_USER && n->passt.from != n->passt.end;
	short events = 0;

	if (!n->down && n->receive[pair])
		events |= POLLIN;
	if (!n->down && (n->writable[pair] || part))
		events |= POLLOUT;
	worker_watch(n->worker, n->source[pair], events);
	if (n->kind == NET_USER && !n->down && n->receive[pair] && passt_holds_frame(&n->passt))
		worker_set_deadline(n->worker, AT_ONCE);
}

static void want(void *self, unsigned pair, bool receive, bool writable)
{
	struct net *n = self;

	n->receive[pair] = receive;
	n->writable[pair] = writable;
	if (n->worker)
		watch(n, pair);
}

static const char *why_gone(const struct net *n)
{
	if (n->kind == NET_TAP)
		return "the tap was removed";
	return n->passt.nonsense ? "passt sent what is no frame" : "passt has ended";
}

static void take_down(struct net *n)
{
	n->down = true;
	fprintf(stderr, "slat: %s: %s; its link is down\n", n->name, why_gone(n));
	virtio_net_set_link(n->device, false);
	for (unsigned i = 0; i < n->backend.pairs; i++)
		watch(n, i);
}

static void settle(struct net *n, unsigned pair)
{
	if (gone(n) && !n->down)
		take_down(n);
	watch(n, pair);
}

static void ready(void *self, unsigned pair, short revents)
{
	struct net *n = self;

	/* An error shows in what is tried: what is polled for is wanted. */
	if (revents & ~POLLIN && (n->kind == NET_TAP || passt_flush(&n->passt)))
		virtio_net_writable(n->device, pair);
	if (revents & ~POLLOUT)
		virtio_net_readable(n->device, pair);
	settle(n, pair);
}

static void expired(void *self)
{
	struct net *n = self;

	virtio_net_readable(n->device, 0);
	settle(n, 0);
}

static enum net_sent send_tap(void *self, unsigned pair, const struct virtio_net_header *header,
			      const struct dma_segment *segment, unsigned segments)
{
	return tap_send(&((struct net *)self)->tap, pair, header, segment, segments);
}

static size_t receive_tap(void *self, unsigned pair, struct virtio_net_header *header, uint8_t *buffer, size_t size)
{
	return tap_receive(&((struct net *)self)->tap, pair, header, buffer, size);
}

static void offload(void *self, uint64_t features)
{
	tap_offload(&((struct net *)self)->tap, features);
}

static void use_pairs(void *self, unsigned pairs)
{
	tap_use_pairs(&((struct net *)self)->tap, pairs);
}

/* No offloads are offered, so the header says nothing. */
static enum net_sent send_user(void *self, unsigned pair, const struct virtio_net_header *header,
			       const struct dma_segment *segment, unsigned segments)
{
	(void)pair;
	(void)header;
	return passt_send(&((struct net *)self)->passt, segment, segments);
}

static size_t receive_user(void *self, unsigned pair, struct virtio_net_header *header, uint8_t *buffer, size_t size)
{
	(void)pair;
	*header = (struct virtio_net_header){0};
	return passt_receive(&((struct net *)self)->passt, buffer, size);
}

static int choose_mac(struct net *n, const struct net_config *config, struct failure *f)
{
	if (config->has_mac) {
		memcpy(n->backend.mac, config->mac, sizeof(config->mac));
		return 0;
	}
	if (getrandom(n->backend.mac, sizeof(n->backend.mac), 0) != (ssize_t)sizeof(n->backend.mac))
		return fail(f, EXIT_HOST, "--net: no random numbers for a MAC address");
	n->backend.mac[0] = (uint8_t)((n->backend.mac[0] & ~3u) | 2u); /* one station; locally administered */
	return 0;
}

int net_open(struct net *n, const struct net_config *config, const char *name, struct failure *f)
{
	const bool tap = config->kind == NET_TAP;

	n->kind = config->kind;
	n->name = name;
	n->device = NULL;
	n->worker = NULL;
	n->down = false;
	n->backend = (struct net_backend){
		.self = n,
		.pairs = config->pairs,
		.offloads = tap,
		.send = tap ? send_tap : send_user,
		.receive = tap ? receive_tap : receive_user,
		.want = want,
		.use_pairs = config->pairs > 1 ? use_pairs : NULL,
		.offload = tap ? offload : NULL,
	};
	if (!tap && config->pairs > 1)
		return fail(f, EXIT_USAGE, "--net user: passt has one queue pair, not %u", config->pairs);
	if (choose_mac(n, config, f))
		return f->code;
	return tap ? tap_open(&n->tap, config->tap, config->pairs, f) : passt_open(&n->passt, &config->user, f);
}

void net_attach(struct net *n, struct worker *worker, struct virtio_net *device)
{
	n->device = device;
	for (unsigned i = 0; i < n->backend.pairs; i++)
		n->source[i] = worker_add(worker, n->kind == NET_TAP ? n->tap.fd[i] : n->passt.fd, 0, n, i, ready);
	worker->expired_self = n;
	worker->expired = expired;
	n->worker = worker;
}

void net_close(struct net *n)
{
	tap_close(&n->tap);
	passt_close(&n->passt);
}
