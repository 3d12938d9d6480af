/* vmm/gdb_packet.h: the packets of GDB's remote serial protocol, taken apart and
 * put together. (GDB's manual, appendix E, "Overview" and "Packet
 * Acknowledgment".) Pure: bytes in, bytes out. Theory: top of gdb_packet.c.
 * Threads: one caller at a time per struct. */
#ifndef SLAT_VMM_GDB_PACKET_H
#define SLAT_VMM_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_PACKET_MAX 4096u			/* bytes of a packet's payload, both ways */
#define GDB_FRAME_MAX  (2 * GDB_PACKET_MAX + 4) /* the same on the wire, each byte escaped */

enum gdb_event {
	GDB_NONE,      /* all was taken, nothing is complete */
	GDB_PACKET,    /* payload has one */
	GDB_BAD,       /* one whose checksum is wrong, or which is longer than GDB_PACKET_MAX */
	GDB_ACK,       /* + */
	GDB_NACK,      /* - */
	GDB_INTERRUPT, /* Ctrl-C */
};

enum gdb_state { GDB_BETWEEN, GDB_BODY, GDB_ESCAPED, GDB_SUM_HIGH, GDB_SUM_LOW };

struct gdb_parser { /* zeroed is ready */
	enum gdb_state state;
	uint8_t sum, told; /* of what came; what the client says it is */
	bool bad;
	size_t bytes;			  /* of payload */
	char payload[GDB_PACKET_MAX + 1]; /* a zero follows it */
};

/* Takes bytes until an event is there; returns how many. The payload stays until the next call. */
size_t gdb_parse(struct gdb_parser *p, const uint8_t *data, size_t bytes, enum gdb_event *event);

/* $payload#sum, escaped; to: GDB_FRAME_MAX bytes; bytes: GDB_PACKET_MAX at most. Returns the length. */
size_t gdb_frame(const char *payload, size_t bytes, uint8_t *to);

/* A payload on its way out; more than fits is cut, and then `cut` is set. */
struct gdb_text {
	size_t bytes;
	bool cut;
	char at[GDB_PACKET_MAX + 1]; /* a zero follows it */
};

void gdb_put(struct gdb_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gdb_put_hex(struct gdb_text *t, const void *data, size_t bytes);

/* Numbers of the protocol: hexadecimal, at least one digit, 64 bits at most; *at is moved behind it. */
bool gdb_number(const char **at, uint64_t *out);

/* Is *at this text? Then it is moved behind it. */
bool gdb_word(const char **at, const char *word);

/* The `bytes` bytes that two digits each say; false iff they are not all there. */
bool gdb_hex(const char **at, uint8_t *to, size_t bytes);

#endif
