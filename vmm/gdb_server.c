#include "vmm/gdb_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/vm.h"

#define KIND (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

static int refuse(const struct gdb_address *a, const char *what, struct failure *f)
{
	const char *advice = errno != EADDRINUSE ? ""
			     : a->path		 ? ": remove it, if no other run listens there"
						 : ": take another, or 0 for any that is free";

	if (a->path)
		return fail(f, EXIT_HOST, "--gdb unix:%s: cannot %s: %s%s", a->path, what, strerror(errno), advice);
	return fail(f, EXIT_HOST, "--gdb tcp:%u: cannot %s: %s%s", a->port, what, strerror(errno), advice);
}

static int listen_tcp(struct gdb_server *s, const struct gdb_address *a, struct failure *f)
{
	struct sockaddr_in where = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)a->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t bytes = sizeof(where);
	const int on = 1;

	s->listener = socket(AF_INET, KIND, 0);
	if (s->listener < 0)
		return refuse(a, "make a socket", f);
	setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* of a run that has just ended */
	if (bind(s->listener, (const struct sockaddr *)&where, sizeof(where)) != 0 || listen(s->listener, 1) != 0 ||
	    getsockname(s->listener, (struct sockaddr *)&where, &bytes) != 0)
		return refuse(a, "listen there", f);
	fprintf(stderr, "slat: gdb: target remote 127.0.0.1:%u\n", ntohs(where.sin_port));
	return 0;
}

static int listen_unix(struct gdb_server *s, const struct gdb_address *a, struct failure *f)
{
	struct sockaddr_un where = {.sun_family = AF_UNIX};

	snprintf(where.sun_path, sizeof(where.sun_path), "%s", a->path);
	s->listener = socket(AF_UNIX, KIND, 0);
	if (s->listener < 0)
		return refuse(a, "make a socket", f);
	if (bind(s->listener, (const struct sockaddr *)&where, sizeof(where)) != 0)
		return refuse(a, "listen there", f);
	s->path = a->path;
	if (listen(s->listener, 1) != 0)
		return refuse(a, "listen there", f);
	fprintf(stderr, "slat: gdb: target remote %s\n", a->path);
	return 0;
}

int gdb_server_open(struct gdb_server *s, const struct gdb_address *address, struct failure *f)
{
	*s = (struct gdb_server){.listener = -1, .client = -1};
	return address->kind == GDB_ADDRESS_UNIX ? listen_unix(s, address, f) : listen_tcp(s, address, f);
}

void gdb_server_serve_vm(struct gdb_server *s, struct vm *vm, bool wait)
{
	const struct gdb_ways ways = gdb_ways_try(&vm->kvm);

	if (vm->kvm.module == KVM_MODULE_PVM)
		fprintf(stderr,
			"slat: gdb: this host's KVM (kvm_pvm) stops at breakpoints, watchpoints and steps in ring 0 "
			"only\n");
	else if (!ways.exec)
		fprintf(stderr,
			"slat: gdb: this host's KVM has no debug registers for guests: points are looked for step "
			"by step, and what a handler of an exception does is not seen\n");
	gdb_vm_open(&s->target, vm, &ways, wait);
	vm->gdb = s;
}

static void hang_up(struct gdb_server *s)
{
	close(s->client);
	s->client = -1;
	s->in_bytes = s->in_at = 0;
}

static void lose(struct gdb_server *s)
{
	hang_up(s);
	gdb_vm_lost(&s->target);
}

/* A second client is turned away at once: it would wait for an answer that nobody gives. */
static void welcome(struct gdb_server *s)
{
	const struct gdb_target target = gdb_vm_target(&s->target);
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	const int on = 1;

	if (fd < 0)
		return;
	if (s->client >= 0) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* a socket file has no such option */
	s->client = fd;
	gdb_open(&s->session, &target);
	gdb_vm_attach(&s->target);
}

/* False iff the client is gone. */
static bool receive(struct gdb_server *s)
{
	ssize_t got = recv(s->client, s->in, sizeof(s->in), 0);

	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		return false;
	s->in_at = 0;
	s->in_bytes = got > 0 ? (size_t)got : 0;
	return true;
}

/* Sends what the client takes; false iff it is gone. */
static bool transmit(struct gdb_server *s)
{
	size_t bytes;
	const uint8_t *from = gdb_output(&s->session, &bytes);
	ssize_t sent = bytes ? send(s->client, from, bytes, MSG_NOSIGNAL) : 0;

	if (sent < 0)
		return errno == EAGAIN || errno == EINTR;
	gdb_sent(&s->session, (size_t)sent);
	return true;
}

static bool has_output(const struct gdb_server *s)
{
	size_t bytes;

	gdb_output(&s->session, &bytes);
	return bytes != 0;
}

/* Bytes in and answers out, until one of the two has no more; at most a packet a byte that was received. */
static void converse(struct gdb_server *s)
{
	for (;;) {
		size_t taken;

		if (!transmit(s)) {
			lose(s);
			return;
		}
		if (has_output(s))
			return;
		if (gdb_closing(&s->session)) {
			hang_up(s);
			return;
		}
		taken = gdb_input(&s->session, s->in + s->in_at, s->in_bytes - s->in_at);
		s->in_at += taken;
		if (!taken)
			return;
	}
}

void gdb_server_poll(const struct gdb_server *s, struct pollfd *fds)
{
	fds[0] = (struct pollfd){.fd = s->listener, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = s->client};
	if (s->client < 0)
		return;
	if (s->in_at == s->in_bytes)
		fds[1].events |= POLLIN;
	if (has_output(s))
		fds[1].events |= POLLOUT;
	if (!fds[1].events)
		fds[1].fd = -1; /* its bytes wait for the vCPUs; a hang-up would be told over and over */
}

void gdb_server_serve(struct gdb_server *s, const struct pollfd *fds)
{
	struct gdb_stop stop;

	if (s->client >= 0 && s->in_at == s->in_bytes && fds[1].revents && !receive(s))
		lose(s);
	if (fds[0].revents)
		welcome(s);
	if (gdb_vm_settled(&s->target, &stop) && s->client >= 0)
		gdb_stopped(&s->session, &stop);
	if (s->client >= 0)
		converse(s);
	/* What the client has just asked for starts at once. */
	if (gdb_vm_settled(&s->target, &stop) && s->client >= 0) {
		gdb_stopped(&s->session, &stop);
		converse(s);
	}
}

void gdb_server_ended(struct gdb_server *s, unsigned code, unsigned signal)
{
	if (s->client < 0)
		return;
	gdb_ended(&s->session, code, signal);
	transmit(s);
}

void gdb_server_close(struct gdb_server *s)
{
	if (s->client >= 0)
		close(s->client);
	if (s->listener >= 0)
		close(s->listener);
	if (s->target.vm)
		gdb_vm_close(&s->target);
	*s = (struct gdb_server){.listener = -1, .client = -1};
}
