/* vmm/tap.c
 *
 * One read is one frame, one write is one frame, each behind the 12 bytes of
 * struct virtio_net_header, which the kernel knows by that layout: what the guest
 * says of checksums and segments goes through as it is, and so what a guest sends
 * to another on the same host is never checksummed or cut at all.
 *
 * T1  what the kernel may hand out (TUNSETOFFLOAD) is what the driver accepted;
 *     a new tap, and one whose driver was reset, hands out whole frames alone.
 * T2  queues beyond those that the driver uses are detached, so that the kernel
 *     spreads flows over the others.
 * Setting up takes CAP_NET_ADMIN, or a tap that somebody made for this user; running
 * takes neither. */
#include "vmm/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define TUN_DEVICE  "/dev/net/tun"
#define SPILL_BYTES 64 /* a frame that is longer than the buffer shows here */

static bool interface_exists(const char *name)
{
	return if_nametoindex(name) != 0;
}

/* Asked of the interface and not of sysfs, which shows the network of whoever mounted it. */
static bool is_tap(const char *name)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_data = (char *)&info};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool known;

	memcpy(request.ifr_name, name, strlen(name));
	known = fd >= 0 && ioctl(fd, SIOCETHTOOL, &request) == 0;
	if (fd >= 0)
		close(fd);
	return known && strcmp(info.driver, "tun") == 0 && strcmp(info.bus_info, "tap") == 0;
}

/* EINVAL has many reasons, and the kernel does not say which. */
static int refuse_flags(const char *name, unsigned pairs, struct failure *f)
{
	if (!interface_exists(name))
		return fail(f, EXIT_HOST, "--net tap=%s: the kernel refuses that name", name);
	if (!is_tap(name))
		return fail(f, EXIT_HOST, "--net tap=%s: that interface is no tap", name);
	if (pairs > 1)
		return fail(f, EXIT_HOST,
			    "--net tap=%s: that tap has one queue; make it with 'ip tuntap add %s mode tap "
			    "multi_queue', or ask for one queue pair",
			    name, name);
	return fail(f, EXIT_HOST,
		    "--net tap=%s: that tap was made with multi_queue; make it without, or ask for 2 or more "
		    "queue pairs",
		    name);
}

static int refuse(const char *name, unsigned pairs, int error, struct failure *f)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return fail(f, EXIT_HOST,
			    "--net tap=%s: no permission: %s, or slat needs CAP_NET_ADMIN; "
			    "'ip tuntap add %s mode tap user NAME' makes one for a user; --net user needs neither",
			    name, interface_exists(name) ? "the tap is not this user's" : "there is no such tap yet",
			    name);
	case EBUSY:
	case E2BIG:
		return fail(f, EXIT_HOST, "--net tap=%s: another program uses that tap", name);
	case EINVAL:
		return refuse_flags(name, pairs, f);
	default:
		return fail(f, EXIT_HOST, "--net tap=%s: %s", name, strerror(error));
	}
}

static int open_queue(struct tap *t, unsigned pair, struct failure *f)
{
	const int header = sizeof(struct virtio_net_header);
	struct ifreq request = {0};

	t->fd[pair] = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd[pair] < 0 && (errno == EPERM || errno == EACCES))
		return fail(f, EXIT_HOST, "--net tap=%s: no permission for " TUN_DEVICE, t->name);
	if (t->fd[pair] < 0)
		return fail(f, EXIT_HOST,
			    "--net tap=%s: no " TUN_DEVICE " (%s): 'modprobe tun' brings it, and --net user "
			    "does without",
			    t->name, strerror(errno));
	memcpy(request.ifr_name, t->name, sizeof(t->name));
	request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (t->pairs > 1 ? IFF_MULTI_QUEUE : 0));
	if (ioctl(t->fd[pair], TUNSETIFF, &request) != 0)
		return refuse(t->name, t->pairs, errno, f);
	if (ioctl(t->fd[pair], TUNSETVNETHDRSZ, &header) != 0)
		return fail(f, EXIT_HOST, "--net tap=%s: the kernel refuses headers of %d bytes: %s", t->name, header,
			    strerror(errno));
	return 0;
}

/* A new one is down. Who may not set it up leaves that to the interface's owner. */
static void set_up(const struct tap *t)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	memcpy(request.ifr_name, t->name, sizeof(t->name));
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP)) {
		request.ifr_flags |= IFF_UP;
		(void)ioctl(fd, SIOCSIFFLAGS, &request);
	}
	close(fd);
}

int tap_open(struct tap *t, const char *name, unsigned pairs, struct failure *f)
{
	*t = (struct tap){.pairs = pairs};
	for (unsigned i = 0; i < VIRTIO_NET_PAIRS_MAX; i++)
		t->fd[i] = -1;
	if (!*name || strlen(name) >= sizeof(t->name) || strpbrk(name, "/%"))
		return fail(f, EXIT_USAGE, "--net tap=%s: a name of 1 to %zu characters without / and %%", name,
			    sizeof(t->name) - 1);
	strcpy(t->name, name);
	for (unsigned i = 0; i < pairs; i++)
		if (open_queue(t, i, f))
			return f->code;
	t->attached = pairs;
	set_up(t);
	tap_offload(t, 0);
	tap_use_pairs(t, 1);
	return 0;
}

void tap_close(struct tap *t)
{
	for (unsigned i = 0; i < t->pairs; i++)
		if (t->fd[i] >= 0)
			close(t->fd[i]);
	t->pairs = 0;
}

/* Of what the kernel cannot take (an interface that is down, a header that it does not believe) it says EIO or EINVAL:
 * such a frame is lost. */
enum net_sent tap_send(struct tap *t, unsigned pair, const struct virtio_net_header *header,
		       const struct dma_segment *segment, unsigned segments)
{
	struct iovec iov[1 + VIRTIO_NET_SEGMENTS];
	ssize_t wrote;

	iov[0] = (struct iovec){(void *)(uintptr_t)header, sizeof(*header)};
	for (unsigned i = 0; i < segments; i++)
		iov[1 + i] = (struct iovec){segment[i].host, segment[i].bytes};
	do
		wrote = writev(t->fd[pair], iov, (int)segments + 1);
	while (wrote < 0 && errno == EINTR);
	if (wrote < 0 && errno == EAGAIN)
		return NET_LATER;
	t->gone = t->gone || (wrote < 0 && errno == EBADFD);
	return wrote < 0 ? NET_LOST : NET_SENT;
}

size_t tap_receive(struct tap *t, unsigned pair, struct virtio_net_header *header, uint8_t *buffer, size_t size)
{
	uint8_t spill[SPILL_BYTES];
	struct iovec iov[] = {{header, sizeof(*header)}, {buffer, size}, {spill, sizeof(spill)}};
	ssize_t got;

	for (;;) {
		got = readv(t->fd[pair], iov, 3);
		if (got > (ssize_t)sizeof(*header) && got <= (ssize_t)(sizeof(*header) + size))
			return (size_t)got - sizeof(*header);
		if (got < 0 && errno != EINTR) {
			t->gone = t->gone || errno == EBADFD;
			return 0;
		}
	}
}

void tap_offload(const struct tap *t, uint64_t features)
{
	static const struct {
		unsigned feature, flag;
	} table[] = {
		{VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
		{VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6},
		{VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
	};
	unsigned long flags = 0;

	if (features >> VIRTIO_NET_F_GUEST_CSUM & 1) { /* the others mean nothing without it: 5.1.3.1 */
		flags = TUN_F_CSUM;
		for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
			flags |= features >> table[i].feature & 1 ? table[i].flag : 0;
	}
	if (!(flags & (TUN_F_TSO4 | TUN_F_TSO6)))
		flags &= ~(unsigned long)TUN_F_TSO_ECN;
	(void)ioctl(t->fd[0], TUNSETOFFLOAD, flags); /* the device looks at each header, too */
}

void tap_use_pairs(struct tap *t, unsigned pairs)
{
	struct ifreq request = {0};

	if (t->pairs == 1)
		return;
	for (; t->attached < pairs; t->attached++) {
		request.ifr_flags = IFF_ATTACH_QUEUE;
		(void)ioctl(t->fd[t->attached], TUNSETQUEUE, &request);
	}
	for (; t->attached > pairs; t->attached--) {
		request.ifr_flags = IFF_DETACH_QUEUE;
		(void)ioctl(t->fd[t->attached - 1], TUNSETQUEUE, &request);
	}
}
