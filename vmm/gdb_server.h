/* vmm/gdb_server.h: where GDB connects: a port of this machine or a socket file,
 * one client at a time. It lives in the main thread's loop and never waits: a
 * client that does not read or says nothing costs nobody else anything.
 * Threads: the main thread; the vCPUs know only gdb_vm.h. */
#ifndef SLAT_VMM_GDB_SERVER_H
#define SLAT_VMM_GDB_SERVER_H

#include <poll.h>

#include "vmm/failure.h"
#include "vmm/gdb.h"
#include "vmm/gdb_address.h"
#include "vmm/gdb_vm.h"

#define GDB_SERVER_FDS 2u

struct gdb_server {
	struct gdb_vm target;
	struct gdb session;
	const char *path; /* of the socket file, once it is ours: the caller's to remove */
	int listener, client;
	uint8_t in[1024]; /* of the client, not taken yet */
	size_t in_at, in_bytes;
};

/* Listens, and says on stderr where; EXIT_HOST iff it cannot. */
int gdb_server_open(struct gdb_server *s, const struct gdb_address *address, struct failure *f);

/* Before vm_start(): from now on clients may come. wait: the guest starts when the first says so. */
void gdb_server_serve_vm(struct gdb_server *s, struct vm *vm, bool wait);

/* What the loop is to watch for: GDB_SERVER_FDS of them. */
void gdb_server_poll(const struct gdb_server *s, struct pollfd *fds);
void gdb_server_serve(struct gdb_server *s, const struct pollfd *fds);

/* The run is over: the client is told. Sends what the client takes at once. */
void gdb_server_ended(struct gdb_server *s, unsigned code, unsigned signal);

/* Fine on one that could not be opened. */
void gdb_server_close(struct gdb_server *s);

#endif
