/* vmm/gdb_packet.c
 *
 * A packet is $payload#xx: xx is the sum of the payload's bytes as they stand on
 * the wire, modulo 256, in two hexadecimal digits. In a payload the bytes # $ }
 * are written as } and the byte xor 0x20; in ours * too, which would start a
 * run-length. Outside of packets stand + (got it), - (say it again) and 0x03
 * (stop the guest).
 *
 * P1  it takes bytes one by one and keeps what it needs: wherever a stream is
 *     cut in two, the events are the same.
 * P2  bytes <= GDB_PACKET_MAX. What is longer is taken to its end and told as bad.
 * P3  a $ within a packet starts a new one: the client gave up the old.
 * Other bytes between packets are dropped: a line may carry noise.
 *
 * Run-lengths are not made: nothing here is worth it, and a client that does not
 * ask for them must not get them anyhow. */
#include "vmm/gdb_packet.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ESCAPE	  '}'
#define FLIP	  0x20
#define INTERRUPT 0x03

static int digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | FLIP) >= 'a' && (c | FLIP) <= 'f')
		return (c | FLIP) - 'a' + 10;
	return -1;
}

static enum gdb_event between(struct gdb_parser *p, uint8_t c)
{
	switch (c) {
	case '$':
		p->state = GDB_BODY;
		p->sum = 0;
		p->bytes = 0;
		p->bad = false;
		return GDB_NONE;
	case '+':
		return GDB_ACK;
	case '-':
		return GDB_NACK;
	case INTERRUPT:
		return GDB_INTERRUPT;
	default:
		return GDB_NONE;
	}
}

static void keep(struct gdb_parser *p, uint8_t c)
{
	if (p->bytes < GDB_PACKET_MAX)
		p->payload[p->bytes++] = (char)c;
	else
		p->bad = true;
}

static enum gdb_event body(struct gdb_parser *p, uint8_t c)
{
	if (c == '$')
		return between(p, c);
	if (c == '#') {
		p->state = GDB_SUM_HIGH;
		return GDB_NONE;
	}
	p->sum = (uint8_t)(p->sum + c);
	if (p->state == GDB_BODY && c == ESCAPE) {
		p->state = GDB_ESCAPED;
		return GDB_NONE;
	}
	keep(p, p->state == GDB_ESCAPED ? c ^ FLIP : c);
	p->state = GDB_BODY;
	return GDB_NONE;
}

static enum gdb_event checksum(struct gdb_parser *p, uint8_t c)
{
	int value = digit(c);

	if (value < 0)
		p->bad = true;
	if (p->state == GDB_SUM_HIGH) {
		p->told = (uint8_t)((unsigned)value << 4);
		p->state = GDB_SUM_LOW;
		return GDB_NONE;
	}
	p->state = GDB_BETWEEN;
	p->payload[p->bytes] = '\0';
	return p->bad || p->sum != (p->told | (unsigned)value) ? GDB_BAD : GDB_PACKET;
}

static enum gdb_event take(struct gdb_parser *p, uint8_t c)
{
	switch (p->state) {
	case GDB_BODY:
	case GDB_ESCAPED:
		return body(p, c);
	case GDB_SUM_HIGH:
	case GDB_SUM_LOW:
		return checksum(p, c);
	case GDB_BETWEEN:
		break;
	}
	return between(p, c);
}

size_t gdb_parse(struct gdb_parser *p, const uint8_t *data, size_t bytes, enum gdb_event *event)
{
	size_t taken = 0;

	*event = GDB_NONE;
	while (taken < bytes && *event == GDB_NONE)
		*event = take(p, data[taken++]);
	return taken;
}

static char hex_digit(unsigned value)
{
	return "0123456789abcdef"[value & 15];
}

size_t gdb_frame(const char *payload, size_t bytes, uint8_t *to)
{
	size_t used = 0;
	uint8_t sum = 0;

	to[used++] = '$';
	for (size_t i = 0; i < bytes; i++) {
		uint8_t c = (uint8_t)payload[i];

		if (c == '#' || c == '$' || c == '*' || c == ESCAPE) {
			to[used++] = ESCAPE;
			sum = (uint8_t)(sum + ESCAPE);
			c ^= FLIP;
		}
		to[used++] = c;
		sum = (uint8_t)(sum + c);
	}
	to[used++] = '#';
	to[used++] = (uint8_t)hex_digit(sum >> 4);
	to[used++] = (uint8_t)hex_digit(sum);
	return used;
}

void gdb_put(struct gdb_text *t, const char *format, ...)
{
	const size_t room = sizeof(t->at) - t->bytes;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(t->at + t->bytes, room, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= room)
		t->cut = true;
	if (length > 0)
		t->bytes += (size_t)length < room ? (size_t)length : room - 1;
}

void gdb_put_hex(struct gdb_text *t, const void *data, size_t bytes)
{
	const uint8_t *from = data;

	for (size_t i = 0; i < bytes; i++) {
		if (t->bytes + 2 > GDB_PACKET_MAX) {
			t->cut = true;
			break;
		}
		t->at[t->bytes++] = hex_digit(from[i] >> 4);
		t->at[t->bytes++] = hex_digit(from[i]);
	}
	t->at[t->bytes] = '\0';
}

bool gdb_number(const char **at, uint64_t *out)
{
	const char *start = *at;
	int value;

	*out = 0;
	while ((value = digit((uint8_t) * *at)) >= 0) {
		if (*out >> 60)
			return false;
		*out = *out << 4 | (uint64_t)value;
		++*at;
	}
	return *at != start;
}

bool gdb_word(const char **at, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(*at, word, length) != 0)
		return false;
	*at += length;
	return true;
}

bool gdb_hex(const char **at, uint8_t *to, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		int high = digit((uint8_t)(*at)[0]), low = high < 0 ? -1 : digit((uint8_t)(*at)[1]);

		if (low < 0)
			return false;
		to[i] = (uint8_t)(high << 4 | low);
		*at += 2;
	}
	return true;
}
