/* vmm/passt.c
 *
 * passt gets one end of a socket pair when it starts, makes itself ready, and
 * goes into the background: its exit code says whether it could, its standard
 * error why not. From then on it is nobody's child; in namespaces of its own,
 * without privilege, as nobody where slat is root. It ends when the other end of the socket is
 * closed, which the kernel does for a slat that was killed, too: a death
 * signal, which a change of user clears, is not needed.
 *
 * The stream is frames, each behind its length. What comes is read in large
 * pieces and cut here; a piece may end anywhere.
 *
 * P1  in[at, used) begins with a prefix; 0 <= at <= used.
 * P2  a frame of which the socket took a part is in rest until it has taken all;
 *     no other is sent before.
 * P3  a length that no frame has cannot be skipped, since nothing says where the next
 *     one begins: passt is gone then. It talks to the world, so it is believed nothing.
 * Cost: a frame from passt is copied once more than one from a tap; to it, not at all. */
#include "vmm/passt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/loop.h"

#define FRAME_MIN    14u
#define SOCKET_BYTES (1 << 20) /* the kernel cuts it to net.core.wmem_max */
#define SAID_BYTES   512u
#define PATIENCE_MS  5000u
#define NS_A_MS	     UINT64_C(1000000)

void passt_adopt(struct passt *p, int fd)
{
	const int bytes = SOCKET_BYTES;

	p->fd = fd;
	p->gone = p->nonsense = false;
	p->at = p->used = p->from = p->end = 0;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

void passt_close(struct passt *p)
{
	if (p->fd > 0)
		close(p->fd);
	p->fd = -1;
}

/* ---- its start ---- */

/* In the child: the socket, standard error into a pipe, no signals held back. */
static int spawn(const char *const *argv, int socket, int said, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, defaults;
	int error;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
	posix_spawn_file_actions_adddup2(&actions, socket, socket); /* itself: open across the exec */
	error = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

/* False: it says nothing and does not end either. */
static bool wait_said(int fd, uint64_t until_ns)
{
	struct pollfd said = {.fd = fd, .events = POLLIN};
	int ready;

	do {
		const uint64_t now = loop_now();

		ready = poll(&said, 1, now < until_ns ? (int)((until_ns - now) / NS_A_MS) + 1 : 0);
	} while (ready < 0 && errno == EINTR);
	return ready > 0;
}

/* What it says until it has ended or gone into the background, as far as there is room. False: that takes too long. */
static bool hear(int fd, unsigned patience_ms, char *said, size_t size)
{
	const uint64_t until_ns = loop_now() + (patience_ms ? patience_ms : PATIENCE_MS) * NS_A_MS;
	size_t used = 0;
	ssize_t got = -1;
	char more[256];
	bool in_time;

	while ((in_time = wait_said(fd, until_ns))) {
		got = read(fd, more, sizeof(more));
		if (got == 0 || (got < 0 && errno != EINTR))
			break;
		for (ssize_t i = 0; i < got && used + 1 < size; i++)
			said[used++] = more[i];
	}
	said[used] = '\0';
	return in_time;
}

/* Its exit code, or -1. */
static int wait_end(pid_t pid)
{
	int status = 0;
	pid_t ended;

	do {
		ended = waitpid(pid, &status, 0);
	} while (ended < 0 && errno == EINTR);
	return ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_noise(const char *line)
{
	static const char *const noise[] = {"Failed to send", "Don't run as root"};

	for (unsigned i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
		if (strncmp(line, noise[i], strlen(noise[i])) == 0)
			return true;
	return *line == '\0';
}

/* Its complaints in one line, without those about the system's logger. */
static void condense(char *said, char *out, size_t size)
{
	size_t used = 0;
	char *rest = said;

	*out = '\0';
	for (const char *line; used < size && (line = strsep(&rest, "\n"));)
		if (!is_noise(line))
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "; " : "", line);
}

static int start(const struct passt_config *config, int socket, const int said[2], struct failure *f)
{
	const char *argv[9] = {"passt", "--quiet", "--fd"};
	char number[16], text[SAID_BYTES], why[SAID_BYTES];
	unsigned n = 3;
	bool in_time;
	int error;
	pid_t pid;

	signal(SIGCHLD, SIG_DFL); /* who ignores it, as some that start slat do, does not learn how a child ended */
	snprintf(number, sizeof(number), "%d", socket);
	argv[n++] = number;
	if (config->tcp) {
		argv[n++] = "--tcp-ports";
		argv[n++] = config->tcp;
	}
	if (config->udp) {
		argv[n++] = "--udp-ports";
		argv[n++] = config->udp;
	}
	error = spawn(argv, socket, said[1], &pid);
	close(said[1]);
	if (error == ENOENT)
		return fail(f, EXIT_HOST, "--net user: passt is not installed: 'apt install passt'");
	if (error)
		return fail(f, EXIT_HOST, "--net user: cannot start passt: %s", strerror(error));
	in_time = hear(said[0], config->patience_ms, text, sizeof(text));
	if (!in_time)
		kill(pid, SIGKILL);
	if (wait_end(pid) == 0 && in_time)
		return 0;
	condense(text, why, sizeof(why));
	if (!in_time)
		return fail(f, EXIT_HOST, "--net user: passt hangs at its start, and was ended%s%s", *why ? ": " : "",
			    why);
	return fail(f, EXIT_HOST, "--net user: passt does not start: %s", *why ? why : "it does not say why");
}

int passt_open(struct passt *p, const struct passt_config *config, struct failure *f)
{
	const int bytes = SOCKET_BYTES;
	int ends[2], said[2];

	p->fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return fail(f, EXIT_HOST, "--net user: cannot create a socket: %s", strerror(errno));
	passt_adopt(p, ends[0]);
	(void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	if (pipe2(said, O_CLOEXEC) != 0) {
		fail(f, EXIT_HOST, "--net user: cannot create a pipe: %s", strerror(errno));
	} else {
		start(config, ends[1], said, f);
		close(said[0]);
	}
	close(ends[1]);
	return f->code;
}

/* ---- frames ---- */

static bool would_block(void)
{
	return errno == EAGAIN || errno == EINTR;
}

bool passt_flush(struct passt *p)
{
	ssize_t wrote;

	if (p->from == p->end)
		return true;
	wrote = send(p->fd, p->rest + p->from, p->end - p->from, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (wrote > 0)
		p->from += (size_t)wrote;
	else if (!would_block())
		p->gone = true;
	return p->from == p->end;
}

/* P2 */
static void keep_rest(struct passt *p, const struct iovec *iov, size_t count, size_t sent)
{
	p->from = p->end = 0;
	for (size_t i = 0; i < count; i++) {
		size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;

		memcpy(p->rest + p->end, (const uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip);
		p->end += iov[i].iov_len - skip;
		sent -= skip;
	}
}

enum net_sent passt_send(struct passt *p, const struct dma_segment *segment, unsigned segments)
{
	uint32_t prefix = 0;
	struct iovec iov[1 + VIRTIO_NET_SEGMENTS];
	const struct msghdr message = {.msg_iov = iov, .msg_iovlen = segments + 1};
	size_t bytes = 0;
	ssize_t sent;

	if (p->gone)
		return NET_LOST;
	if (!passt_flush(p))
		return p->gone ? NET_LOST : NET_LATER;
	for (unsigned i = 0; i < segments; i++) {
		iov[1 + i] = (struct iovec){segment[i].host, segment[i].bytes};
		bytes += segment[i].bytes;
	}
	prefix = htonl((uint32_t)bytes);
	iov[0] = (struct iovec){&prefix, sizeof(prefix)};
	sent = sendmsg(p->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && would_block())
		return NET_LATER;
	p->gone = sent < 0;
	if (p->gone)
		return NET_LOST;
	if ((size_t)sent < PASST_PREFIX + bytes)
		keep_rest(p, iov, segments + 1, (size_t)sent);
	return NET_SENT;
}

/* The length of the frame at the front, 0: its prefix is not all there. */
static uint32_t front(const struct passt *p)
{
	uint32_t bytes;

	if (p->used - p->at < PASST_PREFIX)
		return 0;
	memcpy(&bytes, p->in + p->at, PASST_PREFIX);
	bytes = ntohl(bytes);
	return bytes ? bytes : UINT32_MAX; /* neither is a frame's */
}

bool passt_holds_frame(const struct passt *p)
{
	const uint32_t bytes = p->gone ? 0 : front(p);

	return bytes && p->used - p->at - PASST_PREFIX >= bytes;
}

/* Reads once; false: nothing came. */
static bool fill(struct passt *p)
{
	ssize_t got;

	if (p->at == p->used || sizeof(p->in) - p->at < PASST_WHOLE) {
		memmove(p->in, p->in + p->at, p->used - p->at);
		p->used -= p->at;
		p->at = 0;
	}
	got = recv(p->fd, p->in + p->used, sizeof(p->in) - p->used, MSG_DONTWAIT);
	if (got > 0)
		p->used += (size_t)got;
	else if (got == 0 || !would_block())
		p->gone = true;
	return got > 0;
}

size_t passt_receive(struct passt *p, uint8_t *buffer, size_t size)
{
	uint32_t bytes;

	do {
		bytes = front(p);
		if (p->gone)
			return 0;
		if (bytes && (bytes < FRAME_MIN || bytes > VIRTIO_NET_FRAME_MAX || bytes > size)) {
			p->gone = p->nonsense = true; /* P3 */
			return 0;
		}
	} while (!passt_holds_frame(p) && fill(p));
	if (!passt_holds_frame(p))
		return 0;
	bytes = front(p);
	memcpy(buffer, p->in + p->at + PASST_PREFIX, bytes);
	p->at += PASST_PREFIX + bytes;
	return bytes;
}
