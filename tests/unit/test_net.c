/* tests/unit/test_net.c: --net user and --net tap: passt's stream of frames against a peer of our own that cuts it
 * anywhere and lies about lengths; passt itself; a tap with a packet socket at its other end; and
 * the way of frames through a worker's thread to a guest. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/device_fakes.h"
#include "tests/unit/random.h"
#include "tests/unit/virtio_rig.h"
#undef fail /* Check's macro, not vmm/failure.h's function */
#include "vmm/entropy.h"
#include "vmm/net.h"

#define TAP    "slattest0"
#define HEADER ((uint32_t)sizeof(struct virtio_net_header))

static struct net net;
static struct passt *const passt = &net.passt;
static int peer;
static uint8_t frame[VIRTIO_NET_FRAME_MAX];

static void skip(const char *test, const char *why)
{
	fprintf(stderr, "SKIP %s: %s\n", test, why);
}

static void pattern(uint8_t *data, size_t bytes, uint64_t salt)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(salt * 31 + i * 7 + (i >> 8));
}

static void connect_peer(void)
{
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	passt_adopt(passt, ends[0]);
	peer = ends[1];
}

static void disconnect_peer(void)
{
	passt_close(passt);
	if (peer >= 0)
		close(peer);
}

static void peer_sends(const void *data, size_t bytes)
{
	ck_assert_int_eq(send(peer, data, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

/* ---- the stream ---- */

START_TEST(a_frame_in_single_bytes)
{
	static uint8_t got[VIRTIO_NET_FRAME_MAX];
	uint8_t whole[PASST_PREFIX + 60];

	whole[0] = whole[1] = whole[2] = 0;
	whole[3] = 60;
	pattern(whole + PASST_PREFIX, 60, 1);
	for (unsigned i = 0; i < sizeof(whole); i++) {
		ck_assert_uint_eq(passt_receive(passt, got, sizeof(got)), 0);
		ck_assert(!passt_holds_frame(passt));
		peer_sends(whole + i, 1);
	}
	ck_assert_uint_eq(passt_receive(passt, got, sizeof(got)), 60);
	ck_assert_mem_eq(got, whole + PASST_PREFIX, 60);
	ck_assert_uint_eq(passt_receive(passt, got, sizeof(got)), 0);
	ck_assert(!passt->gone);
}
END_TEST

START_TEST(lengths_at_their_limits)
{
	static const uint32_t good[] = {14, 1514, VIRTIO_NET_FRAME_MAX},
			      bad[] = {0, 1, 13, VIRTIO_NET_FRAME_MAX + 1, 0x80000000u, 0xffffffffu};
	uint32_t prefix = htonl(_i < 3 ? good[_i] : bad[_i - 3]);
	static uint8_t got[VIRTIO_NET_FRAME_MAX + 64]; /* room is not what forbids a length */

	pattern(frame, sizeof(frame), 3);
	peer_sends(&prefix, sizeof(prefix));
	if (_i < 3) {
		peer_sends(frame, good[_i]);
		while (passt_receive(passt, got, sizeof(got)) == 0)
			continue;
		ck_assert_mem_eq(got, frame, good[_i]);
		return;
	}
	ck_assert_uint_eq(passt_receive(passt, got, sizeof(got)), 0);
	ck_assert(passt->gone && passt->nonsense);
	peer_sends(frame, 1000); /* what follows is not looked at */
	ck_assert_uint_eq(passt_receive(passt, got, sizeof(got)), 0);
	ck_assert_int_eq(passt_send(passt, &(struct dma_segment){frame, 60}, 1), NET_LOST);
}
END_TEST

/* A part of the next frame is always there: the buffer is never empty, and must not run full. */
START_TEST(a_stream_that_never_pauses)
{
	static uint8_t stream[2000 * (PASST_PREFIX + 500)], got[VIRTIO_NET_FRAME_MAX];
	const uint32_t prefix = htonl(500);
	const size_t whole = PASST_PREFIX + 500;

	for (unsigned i = 0; i < 2000; i++) {
		memcpy(stream + i * whole, &prefix, sizeof(prefix));
		pattern(stream + i * whole + PASST_PREFIX, 500, i);
	}
	peer_sends(stream, 200);
	for (unsigned i = 0; i + 1 < 2000; i++) {
		peer_sends(stream + 200 + i * whole, whole);
		ck_assert_uint_eq(passt_receive(passt, got, sizeof(got)), 500);
		ck_assert_mem_eq(got, stream + i * whole + PASST_PREFIX, 500);
	}
	ck_assert(!passt->gone);
}
END_TEST

START_TEST(what_was_said_before_the_end_counts)
{
	uint32_t prefix = htonl(60);

	for (unsigned i = 0; i < 3; i++) {
		peer_sends(&prefix, sizeof(prefix));
		peer_sends(frame, 60);
	}
	peer_sends(&prefix, sizeof(prefix));
	peer_sends(frame, 59);
	close(peer);
	peer = -1;
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(passt_receive(passt, frame, sizeof(frame)), 60);
		ck_assert(!passt->gone);
	}
	ck_assert_uint_eq(passt_receive(passt, frame, sizeof(frame)), 0);
	ck_assert(passt->gone);
}
END_TEST

START_TEST(an_end_shows_in_sending)
{
	const struct dma_segment segment = {frame, 60};

	close(peer);
	peer = -1;
	ck_assert_int_eq(passt_send(passt, &segment, 1), NET_LOST);
	ck_assert(passt->gone);
}
END_TEST

/* A frame that is here already is none to wake up for once passt has gone. */
START_TEST(an_end_leaves_no_frame)
{
	const struct dma_segment segment = {frame, 60};
	const uint32_t prefix = htonl(60);

	for (unsigned i = 0; i < 2; i++) {
		peer_sends(&prefix, sizeof(prefix));
		peer_sends(frame, 60);
	}
	ck_assert_uint_eq(passt_receive(passt, frame, sizeof(frame)), 60);
	ck_assert(passt_holds_frame(passt));
	close(peer);
	peer = -1;
	ck_assert_int_eq(passt_send(passt, &segment, 1), NET_LOST);
	ck_assert(!passt->nonsense);
	ck_assert(!passt_holds_frame(passt));
	ck_assert_uint_eq(passt_receive(passt, frame, sizeof(frame)), 0);
}
END_TEST

/* Random frames in random pieces, each at most as large as the socket takes. */
START_TEST(random_pieces)
{
	static uint8_t stream[4 * PASST_WHOLE], got[VIRTIO_NET_FRAME_MAX], expected[VIRTIO_NET_FRAME_MAX];
	uint32_t lengths[4];
	uint64_t salt = 0;

	seed(MODEL_SEED);
	for (unsigned round = 0; round < 3000; round++) {
		size_t all = 0, sent = 0;
		unsigned received = 0;

		for (unsigned i = 0; i < 4; i++) {
			uint32_t prefix;

			lengths[i] = 14 + (uint32_t)below(below(16) ? 1500 : VIRTIO_NET_FRAME_MAX - 13);
			prefix = htonl(lengths[i]);
			memcpy(stream + all, &prefix, sizeof(prefix));
			pattern(stream + all + PASST_PREFIX, lengths[i], salt + i);
			all += PASST_PREFIX + lengths[i];
		}
		while (received < 4) {
			size_t piece = 1 + below(below(2) ? 100 : 20000);
			size_t bytes;

			piece = piece < all - sent ? piece : all - sent;
			if (piece && below(2)) {
				peer_sends(stream + sent, piece);
				sent += piece;
			}
			bytes = passt_receive(passt, got, sizeof(got));
			EXPECT(!passt->gone);
			if (bytes == 0)
				continue;
			EXPECT(bytes == lengths[received]);
			pattern(expected, bytes, salt + received);
			EXPECT(memcmp(got, expected, bytes) == 0);
			received++;
		}
		salt += 4;
	}
}
END_TEST

/* A peer that reads slowly, and a socket that takes frames in part: its stream is what was sent, and nothing else. */
START_TEST(random_sending)
{
	static uint8_t stream[1u << 18], got[8192];
	size_t head = 0, tail = 0; /* bytes expected, bytes seen: indices into the ring `stream` */
	const int small = 4096;
	unsigned later = 0, parts = 0;

	seed(MODEL_SEED);
	setsockopt(passt->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (unsigned step = 0; step < 60000; step++) {
		if (below(2)) {
			uint32_t bytes = 14 + (uint32_t)below(below(64) ? 1500 : VIRTIO_NET_FRAME_MAX - 13), at = 0;
			struct dma_segment segment[3];
			enum net_sent sent;
			uint32_t prefix = htonl(bytes);

			pattern(frame, bytes, step);
			for (unsigned i = 0; i < 3; i++) {
				uint32_t some = i == 2 ? bytes - at : (uint32_t)below(bytes - at);

				segment[i] = (struct dma_segment){frame + at, some};
				at += some;
			}
			sent = passt_send(passt, segment, 3);
			EXPECT(sent != NET_LOST);
			later += sent == NET_LATER;
			parts += passt->from != passt->end;
			for (uint32_t i = 0; sent == NET_SENT && i < PASST_PREFIX; i++)
				stream[head++ % sizeof(stream)] = ((const uint8_t *)&prefix)[i];
			for (uint32_t i = 0; sent == NET_SENT && i < bytes; i++)
				stream[head++ % sizeof(stream)] = frame[i];
		} else {
			ssize_t n = recv(peer, got, 1 + below(sizeof(got)), MSG_DONTWAIT);

			for (ssize_t i = 0; i < n; i++)
				EXPECT(got[i] == stream[tail++ % sizeof(stream)]);
			EXPECT(tail <= head);
		}
		if (below(4) == 0)
			passt_flush(passt);
	}
	while (!passt_flush(passt) || tail < head) {
		ssize_t n = recv(peer, got, sizeof(got), MSG_DONTWAIT);

		for (ssize_t i = 0; i < n; i++)
			EXPECT(got[i] == stream[tail++ % sizeof(stream)]);
	}
	ck_assert_uint_gt(later, 100);
	ck_assert_uint_gt(parts, 100);
}
END_TEST

/* ---- its start ---- */

static void fake_passt(const char *script)
{
	char path[64], directory[] = "/tmp/slat-passt-XXXXXX", search[128];
	FILE *file;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/passt", directory);
	snprintf(search, sizeof(search), "%s:/bin", directory);
	setenv("PATH", search, 1);
	if (script) {
		file = fopen(path, "we");
		ck_assert_ptr_nonnull(file);
		fprintf(file, "#!/bin/sh\nrm -r %s\n%s\n", directory, script);
		ck_assert_int_eq(fchmod(fileno(file), 0755), 0);
		fclose(file);
	} else {
		setenv("PATH", directory, 1);
		ck_assert_int_eq(rmdir(directory), 0);
	}
}

static const char *refusal(const struct net_config *config)
{
	static struct failure f;

	f = (struct failure){0};
	memset(&net, 0, sizeof(net));
	ck_assert_int_ne(net_open(&net, config, "net 0", &f), 0);
	net_close(&net);
	return f.text;
}

static const struct net_config user = {.kind = NET_USER, .pairs = 1};

START_TEST(passt_is_not_installed)
{
	fake_passt(NULL);
	ck_assert_str_eq(refusal(&user), "--net user: passt is not installed: 'apt install passt'");
}
END_TEST

START_TEST(passt_says_why)
{
	fake_passt(
		"echo 'Failed to send 12 bytes to syslog' >&2\necho \"Don't run as root. Changing to nobody...\" >&2\n"
		"echo >&2\necho first >&2\necho 'then this' >&2\nexit 1");
	ck_assert_str_eq(refusal(&user), "--net user: passt does not start: first; then this");
}
END_TEST

START_TEST(passt_says_nothing_or_too_much)
{
	char text[1024];

	fake_passt("exit 1");
	ck_assert_str_eq(refusal(&user), "--net user: passt does not start: it does not say why");
	fake_passt("kill -9 $$");
	ck_assert_str_eq(refusal(&user), "--net user: passt does not start: it does not say why");
	fake_passt("i=0; while [ $i -lt 20000 ]; do echo line >&2; i=$((i+1)); done; exit 1");
	snprintf(text, sizeof(text), "%s", refusal(&user));
	ck_assert_ptr_nonnull(strstr(text, "start: line; line; "));
}
END_TEST

START_TEST(passt_gets_ports_and_no_signals_held_back)
{
	struct net_config config = user;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	config.user = (struct passt_config){.tcp = "8080:80", .udp = "53"};
	fake_passt("echo $1 $2 $4 $5 $6 $7 >&2; grep SigBlk: /proc/self/status >&2; exit 1");
	ck_assert_str_eq(refusal(&config), "--net user: passt does not start: --quiet --fd --tcp-ports 8080:80 "
					   "--udp-ports 53; SigBlk:\t0000000000000000");
}
END_TEST

/* Its end is seen, whatever whoever started slat does with those of its children. */
START_TEST(passt_ends_unheeded)
{
	signal(SIGCHLD, SIG_IGN);
	fake_passt("echo first >&2; exit 1");
	ck_assert_str_eq(refusal(&user), "--net user: passt does not start: first");
}
END_TEST

START_TEST(passt_hangs)
{
	struct net_config config = user;
	const char *said;

	config.user.patience_ms = 300;
	fake_passt("exec sleep 1000");
	ck_assert_str_eq(refusal(&config), "--net user: passt hangs at its start, and was ended");
	do { /* a busy host may not have come to the shell's first word by then */
		fake_passt("echo first >&2; exec sleep 1000");
		said = refusal(&config);
		config.user.patience_ms *= 2;
	} while (!strstr(said, ": first") && config.user.patience_ms <= 20000);
	ck_assert_str_eq(said, "--net user: passt hangs at its start, and was ended: first");
}
END_TEST

START_TEST(passt_has_one_pair)
{
	const struct net_config config = {.kind = NET_USER, .pairs = 2};

	ck_assert_str_eq(refusal(&config), "--net user: passt has one queue pair, not 2");
}
END_TEST

/* The real one: it answers for every address but the guest's. */
START_TEST(passt_answers)
{
	static const uint8_t question[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    1,    2,	 3,  8,	  6, /* ARP */
		0,    1,    8,	  0,	6,    4,    0,	  1,	0x52, 0x54, 0,	 1,  2,	  3,
		198,  51,   100,  9,	0,    0,    0,	  0,	0,    0,    198, 51, 100, 7};
	const struct dma_segment segment[] = {{(uint8_t *)(uintptr_t)question, 20},
					      {(uint8_t *)(uintptr_t)question + 20, sizeof(question) - 20}};
	struct failure f = {0};
	struct pollfd fd;
	size_t got = 0;

	memset(&net, 0, sizeof(net));
	if (net_open(&net, &user, "net 0", &f)) {
		skip("passt_answers", f.text);
		return;
	}
	ck_assert(!(net.backend.mac[0] & 1) && net.backend.mac[0] & 2);
	ck_assert_int_eq(passt_send(passt, segment, 2), NET_SENT);
	fd = (struct pollfd){.fd = passt->fd, .events = POLLIN};
	for (unsigned i = 0; i < 20 && got == 0; i++) {
		poll(&fd, 1, 500);
		got = passt_receive(passt, frame, sizeof(frame));
	}
	ck_assert_uint_ge(got, 42);
	ck_assert_uint_eq(frame[12], 8);
	ck_assert_uint_eq(frame[13], 6);
	ck_assert_uint_eq(frame[21], 2); /* a reply, by 198.51.100.7 */
	ck_assert_mem_eq(frame + 28, question + 38, 4);
	net_close(&net);
}
END_TEST

/* ---- addresses ---- */

START_TEST(mac_addresses)
{
	static const char *const bad[] = {
		"",
		"52:54:00:12:34",
		"52:54:00:12:34:5",
		"52:54:00:12:34:567",
		"52:54:00:12:34:56:",
		"52-54-00-12-34-56",
		"5g:54:00:12:34:56",
		"525:4:00:12:34:56",
		"53:54:00:12:34:56", /* of a group */
		"00:00:00:00:00:00",
		"ff:ff:ff:ff:ff:ff",
	};
	static const uint8_t expected[] = {0x52, 0xab, 0xcd, 0, 0xef, 0x9f};
	uint8_t mac[6];

	ck_assert(net_parse_mac("52:ab:CD:00:eF:9f", mac));
	ck_assert_mem_eq(mac, expected, 6);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!net_parse_mac(bad[i], mac), "%s", bad[i]);
}
END_TEST

START_TEST(random_numbers)
{
	uint8_t a[256] = {0}, b[256] = {0};

	ck_assert(entropy_fill(NULL, a, sizeof(a)) && entropy_fill(NULL, b, sizeof(b)));
	ck_assert_mem_ne(a, b, sizeof(a));
}
END_TEST

/* ---- a tap, in a network of its own ---- */

static int packets; /* a packet socket at the tap's other side */

static bool have_tap(const char *test)
{
	if (access("/dev/net/tun", R_OK | W_OK) != 0) {
		skip(test, "no /dev/net/tun");
		return false;
	}
	if (unshare(CLONE_NEWNET) != 0) {
		skip(test, "a network of its own needs root");
		return false;
	}
	return true;
}

static void open_packets(void)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

	address.sll_ifindex = (int)if_nametoindex(TAP);
	packets = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	ck_assert_int_ge(packets, 0);
	ck_assert_int_eq(bind(packets, (struct sockaddr *)&address, sizeof(address)), 0);
}

static const char *tap_refusal(const char *name, unsigned pairs)
{
	static struct failure f;
	static struct tap tap;

	f = (struct failure){0};
	ck_assert_int_ne(tap_open(&tap, name, pairs, &f), 0);
	tap_close(&tap);
	return f.text;
}

/* A frame that the kernel does not take for one of its own protocols. */
static size_t foreign_frame(uint8_t *data, size_t bytes, uint64_t salt)
{
	pattern(data, bytes, salt);
	memset(data, 0xff, 6);
	data[6] = 0x52;
	data[12] = 0x88;
	data[13] = 0xb5; /* local experiments */
	return bytes;
}

/* Skips what the kernel sends of its own accord: router solicitations and the like. */
static bool is_foreign(const uint8_t *data, size_t bytes)
{
	return bytes >= 14 && data[12] == 0x88 && data[13] == 0xb5;
}

static size_t tap_gives(struct tap *t, struct virtio_net_header *header, uint8_t *to, size_t size)
{
	for (unsigned i = 0; i < 1000; i++) {
		size_t got = tap_receive(t, 0, header, to, size);

		if (is_foreign(to, got))
			return got;
		usleep(got ? 0 : 1000);
	}
	return 0;
}

START_TEST(tap_moves_frames)
{
	static uint8_t sent[4000], got[VIRTIO_NET_FRAME_MAX];
	struct virtio_net_header header = {0};
	struct dma_segment segment[2];
	struct failure f = {0};
	struct tap tap;

	if (!have_tap("tap_moves_frames"))
		return;
	ck_assert_msg(tap_open(&tap, TAP, 1, &f) == 0, "%s", f.text);
	open_packets();
	for (size_t bytes = 60; bytes <= 1500; bytes += 160) {
		ssize_t n;

		foreign_frame(sent, bytes, bytes);
		segment[0] = (struct dma_segment){sent, 20};
		segment[1] = (struct dma_segment){sent + 20, bytes - 20};
		ck_assert_int_eq(tap_send(&tap, 0, &header, segment, 2), NET_SENT);
		do
			n = recv(packets, got, sizeof(got), 0);
		while (n >= 0 && !is_foreign(got, (size_t)n));
		ck_assert_int_eq(n, (ssize_t)bytes);
		ck_assert_mem_eq(got, sent, bytes);
		ck_assert_int_eq(send(packets, sent, bytes, 0), (ssize_t)bytes);
		memset(got, 0, bytes);
		header.flags = 0xff;
		ck_assert_uint_eq(tap_gives(&tap, &header, got, sizeof(got)), bytes);
		ck_assert_mem_eq(got, sent, bytes);
		ck_assert_uint_eq(header.flags, 0);
	}
	ck_assert_int_eq(send(packets, sent, 1000, 0), 1000);
	ck_assert_int_eq(send(packets, sent, 100, 0), 100);
	ck_assert_uint_eq(tap_gives(&tap, &header, got, 500), 100); /* what does not fit is left out, not cut */
	ck_assert_uint_eq(tap_receive(&tap, 0, &header, got, sizeof(got)), 0);
	ck_assert(!tap.gone);
	header = (struct virtio_net_header){.flags = VIRTIO_NET_HDR_NEEDS_CSUM, .csum_start = 2000};
	ck_assert_int_eq(tap_send(&tap, 0, &header, segment, 2), NET_LOST); /* the kernel looks, too */
	tap_close(&tap);
	ck_assert_uint_eq(if_nametoindex(TAP), 0); /* it was slat's */
	close(packets);
}
END_TEST

START_TEST(tap_refusals)
{
	static const char *const names[] = {"", "a-name-too-long-", "a/b", "a%d"};
	struct failure f = {0};
	struct tap tap;

	for (unsigned i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(strstr(tap_refusal(names[i], 1), "a name of 1 to 15 characters"));
	if (!have_tap("tap_refusals"))
		return;
	ck_assert_str_eq(tap_refusal("lo", 1), "--net tap=lo: that interface is no tap");
	ck_assert_int_eq(tap_open(&tap, TAP, 1, &f), 0);
	ck_assert_str_eq(tap_refusal(TAP, 1), "--net tap=" TAP ": another program uses that tap");
	ck_assert_ptr_nonnull(strstr(tap_refusal(TAP, 2), "that tap has one queue"));
	tap_close(&tap);
	ck_assert_int_eq(tap_open(&tap, TAP, 2, &f), 0);
	ck_assert_ptr_nonnull(strstr(tap_refusal(TAP, 1), "made with multi_queue"));
	tap_close(&tap);
	ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	/* Most hosts let anybody open it, some root alone. */
	ck_assert_ptr_nonnull(strstr(tap_refusal(TAP, 1), access("/dev/net/tun", R_OK | W_OK) == 0
								  ? "no permission: there is no such tap yet"
								  : "no permission for /dev/net/tun"));
}
END_TEST

static bool queue_there(unsigned queue)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/class/net/" TAP "/queues/rx-%u", queue);
	return access(path, F_OK) == 0;
}

/* sysfs shows the network of whoever mounted it: the kernel is asked by its own means instead. */
static unsigned queues(void)
{
	unsigned count = 0;

	while (count < 8 && queue_there(count))
		count++;
	return count;
}

START_TEST(tap_pairs_and_offloads)
{
	struct failure f = {0};
	struct tap tap;

	if (access("/dev/net/tun", R_OK | W_OK) != 0 || geteuid() != 0) {
		skip("tap_pairs_and_offloads", "no /dev/net/tun, or not root");
		return;
	}
	ck_assert_msg(tap_open(&tap, TAP, 4, &f) == 0, "%s", f.text);
	ck_assert_uint_eq(queues(), 1);
	tap_use_pairs(&tap, 3);
	ck_assert_uint_eq(queues(), 3);
	tap_use_pairs(&tap, 4);
	ck_assert_uint_eq(queues(), 4);
	tap_use_pairs(&tap, 1);
	ck_assert_uint_eq(queues(), 1);
	errno = 0;
	for (unsigned i = 0; i < 16; i++) /* no combination that the kernel objects to */
		tap_offload(&tap, (i & 1) << VIRTIO_NET_F_GUEST_CSUM | (i >> 1 & 1) << VIRTIO_NET_F_GUEST_TSO4 |
					  (i >> 2 & 1) << VIRTIO_NET_F_GUEST_TSO6 |
					  (i >> 3 & 1) << VIRTIO_NET_F_GUEST_ECN);
	ck_assert_int_eq(errno, 0);
	tap_close(&tap);
}
END_TEST

START_TEST(tap_that_is_removed)
{
	struct virtio_net_header header = {0};
	const struct dma_segment segment = {frame, 60};
	struct failure f = {0};
	char command[64];
	struct tap tap;

	if (!have_tap("tap_that_is_removed"))
		return;
	ck_assert_int_eq(tap_open(&tap, TAP, 1, &f), 0);
	snprintf(command, sizeof(command), "ip link del " TAP " 2>/dev/null");
	if (system(command) != 0) { /* NOLINT(cert-env33-c) */
		skip("tap_that_is_removed", "no ip");
		return;
	}
	ck_assert_uint_eq(tap_receive(&tap, 0, &header, frame, sizeof(frame)), 0);
	ck_assert(tap.gone);
	tap.gone = false;
	ck_assert_int_eq(tap_send(&tap, 0, &header, &segment, 1), NET_LOST);
	ck_assert(tap.gone);
	tap_close(&tap);
}
END_TEST

/* ---- a guest's device, a worker's thread, a peer in passt's place ---- */

static struct rig rig;
static struct virtio_net device;
static struct worker worker;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void start_device(void)
{
	struct virtio_net_config config = {
		.name = "net 0",
		.backend = &net.backend,
		.dma = rig.dma,
		.irq = rig_irq(&rig),
		.broken = rig_broken,
		.owner = &rig,
	};
	struct failure f = {0};

	memset(&net, 0, sizeof(net));
	rig_open(&rig, 2);
	fake_passt("exit 0"); /* its end of the socket is closed: the peer takes its place */
	ck_assert_msg(net_open(&net, &user, "net 0", &f) == 0, "%s", f.text);
	passt_close(passt);
	connect_peer();
	virtio_net_init(&device, &config);
	rig.v = &device.virtio;
	rig.ram.watch = false;
	ck_assert_int_eq(worker_open(&worker, "net 0", &lock, &f), 0);
	net_attach(&net, &worker, &device);
	ck_assert_int_eq(worker_start(&worker, &f), 0);
	pthread_mutex_lock(&lock);
	rig_start(&rig, UINT64_C(1) << VIRTIO_NET_F_STATUS, 256);
	pthread_mutex_unlock(&lock);
}

static void stop_device(void)
{
	worker_stop(&worker);
	virtio_set_status(rig.v, 0);
	net_close(&net);
	if (peer >= 0)
		close(peer);
	rig_close(&rig);
}

static void tell_device(unsigned queue)
{
	pthread_mutex_lock(&lock);
	virtio_notify(rig.v, queue);
	pthread_mutex_unlock(&lock);
}

static void wait_used(unsigned queue, uint16_t *id, uint32_t *length)
{
	for (unsigned i = 0; !rig_take(&rig, queue, id, length); i++) {
		ck_assert_uint_lt(i, 20000);
		usleep(500);
	}
}

/* 200 frames in one piece of the stream: more than the device takes at once, and than poll() tells of. */
START_TEST(a_burst_from_passt)
{
	static uint8_t stream[200 * (PASST_PREFIX + 100)];
	const uint32_t prefix = htonl(100);
	uint32_t length;
	uint16_t id;

	start_device();
	for (unsigned i = 0; i < 200; i++) {
		memcpy(stream + i * (PASST_PREFIX + 100), &prefix, sizeof(prefix));
		pattern(stream + i * (PASST_PREFIX + 100) + PASST_PREFIX, 100, i);
	}
	if (_i) { /* the buffers are there before the frames, or after them */
		for (unsigned i = 0; i < 200; i++)
			rig_room(&rig, 0, i * 256, 200);
		tell_device(0);
	}
	peer_sends(stream, sizeof(stream));
	usleep(_i ? 0 : 20000);
	if (!_i) {
		for (unsigned i = 0; i < 200; i++)
			rig_room(&rig, 0, i * 256, 200);
		tell_device(0);
	}
	for (unsigned i = 0; i < 200; i++) {
		wait_used(0, &id, &length);
		ck_assert_uint_eq(length, HEADER + 100);
		ck_assert_mem_eq(rig.data + i * 256 + HEADER, stream + i * (PASST_PREFIX + 100) + PASST_PREFIX, 100);
	}
	ck_assert(!net.down);
	stop_device();
}
END_TEST

/* A peer that does not read: the guest's frames wait in the ring, and all come when it does. */
START_TEST(a_slow_passt)
{
	static uint8_t got[PASST_PREFIX + 9000], expected[9000];
	const struct virtqueue_buffer b[] = {{RIG_DATA, HEADER}, {RIG_DATA + 64, 9000}};
	const int small = 16384;
	uint32_t length;
	uint16_t id;

	start_device();
	setsockopt(passt->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	memset(rig.data, 0, HEADER);
	pattern(rig.data + 64, 9000, 5);
	pattern(expected, 9000, 5);
	for (unsigned i = 0; i < 100; i++)
		rig_add(&rig, 1, b, 2, 0);
	tell_device(1);
	usleep(20000);
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_int_eq(recv(peer, got, sizeof(got), MSG_WAITALL), (ssize_t)sizeof(got));
		ck_assert_uint_eq(got[2], 9000 >> 8);
		ck_assert_uint_eq(got[3], 9000 & 0xff);
		ck_assert_mem_eq(got + PASST_PREFIX, expected, 9000);
	}
	for (unsigned i = 0; i < 100; i++)
		wait_used(1, &id, &length);
	ck_assert_uint_eq(device.stats.lost, 0);
	stop_device();
}
END_TEST

/* One frame that the socket takes in part, and nothing after it: its rest follows of itself. */
START_TEST(a_frame_in_part)
{
	static uint8_t got[PASST_PREFIX + 60000];
	const struct virtqueue_buffer b[] = {{RIG_DATA, HEADER}, {RIG_DATA + 64, 60000}};
	const int small = 8192;

	start_device();
	setsockopt(passt->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	memset(rig.data, 0, HEADER);
	pattern(rig.data + 64, 60000, 5);
	rig_add(&rig, 1, b, 2, 0);
	tell_device(1);
	pthread_mutex_lock(&lock);
	ck_assert_uint_lt(passt->from, passt->end);
	pthread_mutex_unlock(&lock);
	ck_assert_int_eq(recv(peer, got, sizeof(got), MSG_WAITALL), (ssize_t)sizeof(got));
	ck_assert_mem_eq(got + PASST_PREFIX, rig.data + 64, 60000);
	stop_device();
}
END_TEST

/* passt ends: the guest is told that its link is down, and what it sends from then on is lost. */
START_TEST(the_end_of_passt)
{
	bool up = true;

	start_device();
	close(peer);
	peer = -1;
	for (unsigned i = 0; up && i < 20000; i++) {
		pthread_mutex_lock(&lock);
		up = device.link;
		pthread_mutex_unlock(&lock);
		usleep(500);
	}
	ck_assert(!up);
	ck_assert_uint_eq(rig.v->interrupt_status & VIRTIO_INTERRUPT_CONFIG, VIRTIO_INTERRUPT_CONFIG);
	memset(rig.data, 0, 100);
	rig_send(&rig, 1, 0, rig.data, 100);
	tell_device(1);
	ck_assert_uint_eq(device.stats.lost, 1);
	stop_device();
}
END_TEST

Suite *net_suite(void);

Suite *net_suite(void)
{
	Suite *s = suite_create("net");
	TCase *stream = tcase_create("stream"), *start = tcase_create("start"), *tap = tcase_create("tap"),
	      *whole = tcase_create("worker");

	tcase_add_checked_fixture(stream, connect_peer, disconnect_peer);
	tcase_set_timeout(stream, 60);
	tcase_add_test(stream, a_frame_in_single_bytes);
	tcase_add_loop_test(stream, lengths_at_their_limits, 0, 9);
	tcase_add_test(stream, a_stream_that_never_pauses);
	tcase_add_test(stream, what_was_said_before_the_end_counts);
	tcase_add_test(stream, an_end_shows_in_sending);
	tcase_add_test(stream, an_end_leaves_no_frame);
	tcase_add_test(stream, random_pieces);
	tcase_add_test(stream, random_sending);
	tcase_add_test(start, passt_is_not_installed);
	tcase_add_test(start, passt_says_why);
	tcase_add_test(start, passt_says_nothing_or_too_much);
	tcase_add_test(start, passt_gets_ports_and_no_signals_held_back);
	tcase_add_test(start, passt_ends_unheeded);
	tcase_add_test(start, passt_hangs);
	tcase_add_test(start, passt_has_one_pair);
	tcase_add_test(start, passt_answers);
	tcase_add_test(start, mac_addresses);
	tcase_add_test(start, random_numbers);
	tcase_set_timeout(start, 60);
	tcase_add_test(tap, tap_moves_frames);
	tcase_add_test(tap, tap_refusals);
	tcase_add_test(tap, tap_pairs_and_offloads);
	tcase_add_test(tap, tap_that_is_removed);
	tcase_set_timeout(whole, 60);
	tcase_add_loop_test(whole, a_burst_from_passt, 0, 2);
	tcase_add_test(whole, a_slow_passt);
	tcase_add_test(whole, a_frame_in_part);
	tcase_add_test(whole, the_end_of_passt);
	suite_add_tcase(s, stream);
	suite_add_tcase(s, start);
	suite_add_tcase(s, tap);
	suite_add_tcase(s, whole);
	return s;
}
