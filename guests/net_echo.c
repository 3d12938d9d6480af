/* net_echo: a virtio network card, and as much of ARP, IPv4, ICMP and UDP as an
 * echo needs (RFC 826, 791, 792, 768). No fragments, no options.
 *
 * Words of the command line: "ip=A.B.C.D" is this guest (10.0.2.15). It answers
 * ARP and pings for that address and sends each datagram back to where it came
 * from; with "count=N" it ends well after N datagrams, else never. With "client"
 * it asks instead: "gateway=A.B.C.D" (10.0.2.2) is found by ARP, pinged "pings=N"
 * times (8) and sent "datagrams=N" (8) of 1 byte to 1472 at "port=N" (7); every
 * echo must be what was sent. "packed", "indirect", "event", "mergeable": as
 * offered; "iommu": behind one (virtio_behind.h). Checksums are whole both ways: none is left to the card, and of what
 * comes each is verified. */
#include "devices/virtio_net_regs.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtio_behind.h"
#include "guests/runtime/virtq.h"

#define QUEUE_IN     0u
#define QUEUE_OUT    1u
#define BUFFERS	     64u
#define BUFFER_BYTES 2048u
#define FRAME_MAX    1514u
#define DATA_MAX     1472u
#define ETHER_IP     0x0800u
#define ETHER_ARP    0x0806u
#define PROTO_ICMP   1u
#define PROTO_UDP    17u
#define ICMP_ECHO    8u
#define ARP_ASK	     1u
#define ARP_ANSWER   2u
#define OWN_PORT     4242u
#define TRIES	     50u
#define TRY_CYCLES   (UINT64_C(1) << 30) /* some 0.3 s */

struct ether {
	uint8_t to[6], from[6];
	uint16_t type; /* all wide fields are in network order */
} __attribute__((packed));

struct arp {
	struct ether ether;
	uint16_t hardware, protocol;
	uint8_t hardware_bytes, protocol_bytes;
	uint16_t operation;
	uint8_t from[6], from_ip[4], to[6], to_ip[4];
} __attribute__((packed));

struct ip {
	struct ether ether;
	uint8_t version, service;
	uint16_t bytes, id, fragment;
	uint8_t hops, protocol;
	uint16_t sum;
	uint8_t from[4], to[4];
	union {
		struct {
			uint8_t type, code;
			uint16_t sum, id, number;
			uint8_t data[];
		} __attribute__((packed)) icmp;
		struct {
			uint16_t from, to, bytes, sum;
			uint8_t data[];
		} __attribute__((packed)) udp;
	};
} __attribute__((packed));

#define IP_HEAD	  20u
#define UDP_HEAD  8u
#define ICMP_HEAD 8u

struct buffer {
	struct virtio_net_header head;
	uint8_t frame[BUFFER_BYTES - sizeof(struct virtio_net_header)];
};

static const struct boot_info *machine;
static struct virtio_device card;
static struct virtq in, out;
static struct buffer *in_buffers, *out_buffer;
static uint64_t features, answered, pings, datagrams, port, limit, echoed, bytes;
static uint8_t mac[6], ip[4] = {10, 0, 2, 15}, gateway[4] = {10, 0, 2, 2}, gateway_mac[6];

static uint16_t swap16(uint16_t x)
{
	return (uint16_t)(x << 8 | x >> 8);
}

/* ---- checksums (RFC 1071) ---- */

static uint32_t sum_add(uint32_t sum, const void *at, unsigned count)
{
	const uint8_t *p = at;

	for (unsigned i = 0; i < count; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t sum_end(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return swap16((uint16_t)~sum);
}

/* 0 iff the sum that is there is right. */
static uint16_t payload_sum(const struct ip *p)
{
	unsigned count = swap16(p->bytes) - IP_HEAD;
	uint32_t sum = sum_add(0, &p->icmp, count);

	if (p->protocol == PROTO_UDP)
		sum = sum_add(sum, p->from, 8) + PROTO_UDP + count;
	return sum_end(sum);
}

/* ---- frames ---- */

static bool give_back(struct buffer *b)
{
	struct virtq_piece piece = {virtio_address(&card, b), sizeof(*b), true};

	return virtq_add(&in, &piece, 1, b) ? true : step_wrong("the receive queue has no room", in.room, 0);
}

static bool send(uint32_t count)
{
	struct virtq_piece piece = {virtio_address(&card, out_buffer), (uint32_t)sizeof(out_buffer->head) + count,
				    false};
	struct virtq_done done;
	enum virtq_end end;

	out_buffer->head = (struct virtio_net_header){0};
	if (!virtq_add(&out, &piece, 1, out_buffer))
		return step_wrong("the send queue has no room", out.room, 0);
	virtq_kick(&out);
	end = virtq_wait(&out, &done);
	return end == VIRTQ_DONE ? true : step_wrong("a frame is not sent", end, count);
}

static bool same(const void *a, const void *b, unsigned count)
{
	return memcmp(a, b, count) == 0;
}

static bool arp_answer(const struct arp *ask)
{
	struct arp *a = (struct arp *)out_buffer->frame;

	*a = *ask;
	memcpy(a->ether.to, ask->from, 6);
	memcpy(a->ether.from, mac, 6);
	a->operation = swap16(ARP_ANSWER);
	memcpy(a->from, mac, 6);
	memcpy(a->from_ip, ip, 4);
	memcpy(a->to, ask->from, 6);
	memcpy(a->to_ip, ask->from_ip, 4);
	answered++;
	return send(sizeof(*a));
}

/* The sums of an IP header and of a datagram stay right when both ends change places. */
static bool send_back(const struct ip *p)
{
	uint32_t count = (uint32_t)sizeof(struct ether) + swap16(p->bytes);
	struct ip *a = (struct ip *)out_buffer->frame;

	memcpy(a, p, count);
	memcpy(a->ether.to, p->ether.from, 6);
	memcpy(a->ether.from, mac, 6);
	memcpy(a->from, p->to, 4);
	memcpy(a->to, p->from, 4);
	if (p->protocol == PROTO_UDP) {
		a->udp.from = p->udp.to;
		a->udp.to = p->udp.from;
		echoed++;
		bytes += swap16(p->bytes) - IP_HEAD - UDP_HEAD;
	} else {
		a->icmp.type = 0;
		a->icmp.sum = 0;
		a->icmp.sum = payload_sum(a);
		answered++;
	}
	return send(count);
}

/* A whole IPv4 packet for this guest, without options. */
static bool is_mine(const struct ip *p, uint32_t count)
{
	uint32_t head = (uint32_t)sizeof(struct ether) + IP_HEAD;

	return count >= head + UDP_HEAD && p->ether.type == swap16(ETHER_IP) && p->version == 0x45 &&
	       same(p->to, ip, 4) && swap16(p->bytes) >= IP_HEAD + UDP_HEAD &&
	       swap16(p->bytes) + sizeof(struct ether) <= count && !(p->fragment & swap16(0x3fff));
}

static bool sums_hold(const struct ip *p)
{
	if (sum_end(sum_add(0, &p->version, IP_HEAD)) != 0)
		return step_wrong("an IP header has a wrong sum", p->sum, 0);
	if (p->protocol == PROTO_UDP && (p->udp.sum == 0 || swap16(p->udp.bytes) + IP_HEAD != swap16(p->bytes)))
		return true; /* the sender made none */
	return payload_sum(p) == 0 ? true : step_wrong("a packet has a wrong sum", p->protocol, p->icmp.sum);
}

/* The next frame: true with NULL iff none came by then. It must be given back. */
static bool receive(uint64_t until, struct buffer **b, uint32_t *count)
{
	struct virtq_done done;

	*b = NULL;
	while (!virtq_take(&in, &done)) {
		if (in.wrong || virtio_needs_reset(&card))
			return step_wrong(in.wrong ? in.wrong : "the card needs a reset", 0, 0);
		if (cpu_cycles() > until)
			return true;
		cpu_relax();
	}
	*b = done.token;
	if (done.bytes < sizeof((*b)->head) ||
	    (virtio_has(&card, VIRTIO_NET_F_MRG_RXBUF) && (*b)->head.num_buffers != 1))
		return step_wrong("a frame came in pieces", done.bytes, (*b)->head.num_buffers);
	*count = done.bytes - (uint32_t)sizeof((*b)->head);
	return true;
}

static bool arp_asks_me(const struct arp *a, uint32_t count)
{
	return count >= sizeof(*a) && a->ether.type == swap16(ETHER_ARP) && a->operation == swap16(ARP_ASK) &&
	       same(a->to_ip, ip, 4);
}

/* What this guest answers, whatever else it does. */
static bool serve(const struct buffer *b, uint32_t count)
{
	const struct ip *p = (const struct ip *)b->frame;
	const struct arp *a = (const struct arp *)b->frame;

	if (arp_asks_me(a, count))
		return arp_answer(a);
	if (!is_mine(p, count))
		return true;
	if (!sums_hold(p))
		return false;
	if (p->protocol == PROTO_UDP || (p->protocol == PROTO_ICMP && p->icmp.type == ICMP_ECHO))
		return send_back(p);
	return true;
}

/* ---- the client ---- */

static void address_frame(struct ip *p, uint8_t protocol, unsigned payload, uint16_t number)
{
	memcpy(p->ether.to, gateway_mac, 6);
	memcpy(p->ether.from, mac, 6);
	p->ether.type = swap16(ETHER_IP);
	p->version = 0x45;
	p->service = 0;
	p->bytes = swap16((uint16_t)(IP_HEAD + payload));
	p->id = swap16(number);
	p->fragment = 0;
	p->hops = 64;
	p->protocol = protocol;
	memcpy(p->from, ip, 4);
	memcpy(p->to, gateway, 4);
	p->sum = 0;
	p->sum = sum_end(sum_add(0, &p->version, IP_HEAD));
}

/* Sends what out_buffer holds until an answer comes that `is_answer` likes. */
static bool ask(uint32_t count, bool (*is_answer)(const uint8_t *frame, uint32_t count))
{
	static struct buffer question; /* serve() may use out_buffer meanwhile */

	memcpy(question.frame, out_buffer->frame, count);
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t until = cpu_cycles() + TRY_CYCLES;
		struct buffer *b;
		uint32_t got;
		bool answer;

		memcpy(out_buffer->frame, question.frame, count);
		if (!send(count))
			return false;
		while (receive(until, &b, &got) && b) {
			answer = is_answer(b->frame, got);
			if (!answer && !serve(b, got))
				return false;
			if (!give_back(b))
				return false;
			virtq_kick(&in);
			if (answer)
				return true;
		}
		if (b)
			return false;
	}
	return step_wrong("nobody answers", count, TRIES);
}

static bool is_arp_answer(const uint8_t *frame, uint32_t count)
{
	const struct arp *a = (const struct arp *)frame;

	if (count < sizeof(*a) || a->ether.type != swap16(ETHER_ARP) || a->operation != swap16(ARP_ANSWER) ||
	    !same(a->from_ip, gateway, 4))
		return false;
	memcpy(gateway_mac, a->from, 6);
	return true;
}

static bool finds_gateway(void)
{
	struct arp *a = (struct arp *)out_buffer->frame;

	*a = (struct arp){.hardware = swap16(1),
			  .protocol = swap16(ETHER_IP),
			  .hardware_bytes = 6,
			  .protocol_bytes = 4,
			  .operation = swap16(ARP_ASK)};
	memset(a->ether.to, 0xff, 6);
	memcpy(a->ether.from, mac, 6);
	a->ether.type = swap16(ETHER_ARP);
	memcpy(a->from, mac, 6);
	memcpy(a->from_ip, ip, 4);
	memcpy(a->to_ip, gateway, 4);
	return ask(sizeof(*a), is_arp_answer);
}

static uint16_t number; /* of the question: its data follow from it */
static unsigned data_bytes;

static uint8_t data_of(unsigned i)
{
	return (uint8_t)(number * 7 + i * 13 + (i >> 8));
}

static void data_fill(uint8_t *at)
{
	for (unsigned i = 0; i < data_bytes; i++)
		at[i] = data_of(i);
}

static bool data_same(const uint8_t *at)
{
	for (unsigned i = 0; i < data_bytes; i++)
		if (at[i] != data_of(i))
			return false;
	return true;
}

static bool is_pong(const uint8_t *frame, uint32_t count)
{
	const struct ip *p = (const struct ip *)frame;

	return is_mine(p, count) && p->protocol == PROTO_ICMP && p->icmp.type == 0 &&
	       p->icmp.number == swap16(number) && swap16(p->bytes) == IP_HEAD + ICMP_HEAD + data_bytes &&
	       data_same(p->icmp.data) && sums_hold(p);
}

static bool is_echo(const uint8_t *frame, uint32_t count)
{
	const struct ip *p = (const struct ip *)frame;

	return is_mine(p, count) && p->protocol == PROTO_UDP && p->udp.to == swap16(OWN_PORT) &&
	       swap16(p->udp.bytes) == UDP_HEAD + data_bytes && data_same(p->udp.data) && sums_hold(p);
}

static bool pings_gateway(void)
{
	struct ip *p = (struct ip *)out_buffer->frame;

	for (number = 0; number < pings; number++, answered++) {
		data_bytes = 8 + number * 97u % 500;
		address_frame(p, PROTO_ICMP, ICMP_HEAD + data_bytes, number);
		p->icmp.type = ICMP_ECHO;
		p->icmp.code = 0;
		p->icmp.id = swap16(OWN_PORT);
		p->icmp.number = swap16(number);
		data_fill(p->icmp.data);
		p->icmp.sum = 0;
		p->icmp.sum = payload_sum(p);
		if (!ask((uint32_t)sizeof(struct ether) + IP_HEAD + ICMP_HEAD + data_bytes, is_pong))
			return false;
	}
	return true;
}

static bool sends_datagrams(void)
{
	struct ip *p = (struct ip *)out_buffer->frame;

	for (number = 0; number < datagrams; number++, echoed++, bytes += data_bytes) {
		data_bytes = number + 1u == datagrams ? DATA_MAX : 1 + number * 211u % DATA_MAX;
		address_frame(p, PROTO_UDP, UDP_HEAD + data_bytes, number);
		p->udp.from = swap16(OWN_PORT);
		p->udp.to = swap16((uint16_t)port);
		p->udp.bytes = swap16((uint16_t)(UDP_HEAD + data_bytes));
		data_fill(p->udp.data);
		p->udp.sum = 0;
		p->udp.sum = payload_sum(p);
		if (!ask((uint32_t)sizeof(struct ether) + IP_HEAD + UDP_HEAD + data_bytes, is_echo))
			return false;
	}
	return true;
}

/* ---- both ---- */

static bool opens(void)
{
	if (!virtio_behind_attach(&card, machine))
		return false;
	if (!virtio_begin(&card) || !virtio_negotiate(&card, features | VIRTIO_BIT(VIRTIO_NET_F_MAC)) ||
	    !virtq_open(&in, &card, QUEUE_IN, BUFFERS) || !virtq_open(&out, &card, QUEUE_OUT, BUFFERS))
		return step_wrong("the card does not come up", card.offered, card.accepted);
	if (features & ~card.accepted)
		return step_wrong("the card does not offer what the command line asks for", card.offered, features);
	for (unsigned i = 0; i < sizeof(mac); i++)
		mac[i] = (uint8_t)virtio_config(&card, i, 1);
	virtio_ready(&card);
	in_buffers = virtio_take(&card, sizeof(*in_buffers) * BUFFERS);
	out_buffer = virtio_take(&card, sizeof(*out_buffer));
	for (unsigned i = 0; i < in.size; i++)
		if (!give_back(&in_buffers[i]))
			return false;
	virtq_kick(&in);
	return true;
}

static bool serves(void)
{
	struct buffer *b;
	uint32_t count = 0;

	while (limit == 0 || echoed < limit) {
		if (!receive(UINT64_MAX, &b, &count) || !serve(b, count) || !give_back(b))
			return false;
		virtq_kick(&in);
	}
	return true;
}

static const struct step as_server[] = {{"open", opens}, {"serve", serves}};
static const struct step as_client[] = {
	{"open", opens}, {"gateway", finds_gateway}, {"ping", pings_gateway}, {"datagrams", sends_datagrams}};

static void read_ip(const char *cmdline, const char *key, uint8_t *to)
{
	const char *p = text_value(cmdline, key);

	for (unsigned i = 0; p && i < 4; i++, p += *p == '.')
		to[i] = (uint8_t)text_number(p, &p);
}

static void read_words(const char *cmdline)
{
	static const struct {
		const char *word;
		unsigned feature;
	} words[] = {{"packed", VIRTIO_F_RING_PACKED},
		     {"indirect", VIRTIO_F_INDIRECT_DESC},
		     {"event", VIRTIO_F_EVENT_IDX},
		     {"mergeable", VIRTIO_NET_F_MRG_RXBUF}};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (text_has(cmdline, words[i].word))
			features |= VIRTIO_BIT(words[i].feature);
	pings = text_option(cmdline, "pings", 8);
	datagrams = text_option(cmdline, "datagrams", 8);
	limit = text_option(cmdline, "count", 0);
	port = text_option(cmdline, "port", 7);
	read_ip(cmdline, "ip", ip);
	read_ip(cmdline, "gateway", gateway);
}

int guest_main(const struct boot_info *boot)
{
	bool client = text_has(boot->cmdline, "client");

	machine = boot;
	read_words(boot->cmdline);
	if (!virtio_find(boot->cmdline, VIRTIO_ID_NET, 0, &card) || !virtio_behind_find(boot)) {
		console_print("net_echo: there is no network card, or no IOMMU\n");
		return GUEST_FAILED;
	}
	console_print("net_echo: %s at %u.%u.%u.%u\n", client ? "client" : "server", ip[0], ip[1], ip[2], ip[3]);
	if (!(client ? steps_run("net_echo", as_client, sizeof(as_client) / sizeof(as_client[0]))
		     : steps_run("net_echo", as_server, sizeof(as_server) / sizeof(as_server[0]))))
		return GUEST_FAILED;
	console_print("net_echo: ok features 0x%lx, %lu answers, %lu datagrams, %lu bytes\n", card.accepted, answered,
		      echoed, bytes);
	return GUEST_OK;
}
