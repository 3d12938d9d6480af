/* vmm/gdb.c
 *
 * A session is in one of three states. Attaching: the target has been asked to
 * stop, the client's bytes wait. Stopped: all vCPUs are parked, each command is
 * answered at once. Running: the client has resumed the guest and waits; what it
 * may say then is Ctrl-C, detach or kill. All-stop: one vCPU that stops, stops
 * all. (GDB's manual, appendix E; threads are vCPUs, thread n is vCPU n - 1.)
 *
 * S1  the target's ops are called in the state stopped only, but for interrupt(),
 *     release() and kill().
 * S2  no answer is begun before the last one has been sent: what a client does
 *     not read is bounded by one frame, what it sends by the parser.
 * S3  each number of the client is checked against what it counts before it is
 *     used: registers, vCPUs, bytes of memory. A command that is not understood
 *     has the empty answer, one that is malformed E16 (22), as GDB expects.
 *
 * Signals that the client passes on with C and S are dropped: a guest has none.
 * Not there: non-stop mode, several processes, files, tracepoints, reverse. */
#include "vmm/gdb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mm/port.h"

#define ALL	      GDB_CPUS_MAX
#define MEMORY_MAX    (GDB_PACKET_MAX / 2) /* two digits a byte */
#define SIGNAL_INT    2
#define SIGNAL_TRAP   5
#define SIGNAL_SEGV   11
#define MONITOR_WORDS "table ADDRESS  how it translates: gva, gpa, hpa\nhelp           this list\n"

struct command {
	const char *word;
	void (*answer)(struct gdb *g, const char *rest);
	bool running; /* may be said while the guest runs */
};

static void ok(struct gdb *g)
{
	gdb_put(&g->reply, "OK");
}

static void error(struct gdb *g, int number)
{
	g->reply.bytes = 0;
	gdb_put(&g->reply, "E%02x", (unsigned)number);
}

static void ok_iff(struct gdb *g, bool good, int number)
{
	if (good)
		ok(g);
	else
		error(g, number);
}

static void say_frame(struct gdb *g)
{
	MM_ASSERT(g->out_bytes + 2 * g->reply.bytes + 4 <= sizeof(g->out), g->out_bytes, g->reply.bytes);
	g->out_bytes += gdb_frame(g->reply.at, g->reply.bytes, g->out + g->out_bytes);
}

/* Threads: -1 is all and 0 is any; of another number the vCPU, if there is one. */
static bool take_thread(const struct gdb *g, const char **at, unsigned *cpu)
{
	uint64_t id;

	if (gdb_word(at, "-1")) {
		*cpu = ALL;
		return true;
	}
	if (!gdb_number(at, &id) || id > g->target.cpus)
		return false;
	*cpu = id ? (unsigned)id - 1 : g->cpu;
	return true;
}

static void say_stop(struct gdb *g)
{
	static const char *const words[GDB_POINTS] = {"swbreak", "hwbreak", "watch", "rwatch", "awatch"};
	static const unsigned signals[] = {
		[GDB_CAUSE_ATTACH] = SIGNAL_TRAP, [GDB_CAUSE_INTERRUPT] = SIGNAL_INT, [GDB_CAUSE_STEP] = SIGNAL_TRAP,
		[GDB_CAUSE_POINT] = SIGNAL_TRAP,  [GDB_CAUSE_CRASH] = SIGNAL_SEGV,
	};
	const struct gdb_stop *s = &g->stop;

	gdb_put(&g->reply, "T%02xthread:%x;", signals[s->cause], s->cpu + 1);
	if (s->cause == GDB_CAUSE_POINT && s->point >= GDB_WATCH_WRITE)
		gdb_put(&g->reply, "%s:%" PRIx64 ";", words[s->point], s->gva);
	else if (s->cause == GDB_CAUSE_POINT && g->tells_breaks)
		gdb_put(&g->reply, "%s:;", words[s->point]);
}

static void on_why(struct gdb *g, const char *rest)
{
	(void)rest;
	say_stop(g);
}

/* --- registers and memory */

static void on_get_registers(struct gdb *g, const char *rest)
{
	uint8_t block[GDB_REGS_BYTES];

	(void)rest;
	if (g->target.get_regs(g->target.self, g->cpu, block))
		gdb_put_hex(&g->reply, block, sizeof(block));
	else
		error(g, EIO);
}

static void on_set_registers(struct gdb *g, const char *rest)
{
	uint8_t block[GDB_REGS_BYTES];

	if (!gdb_hex(&rest, block, sizeof(block)))
		error(g, EINVAL);
	else
		ok_iff(g, g->target.set_regs(g->target.self, g->cpu, block), EIO);
}

static void on_get_register(struct gdb *g, const char *rest)
{
	uint8_t block[GDB_REGS_BYTES];
	size_t offset, bytes;
	uint64_t number;

	if (!gdb_number(&rest, &number) || !gdb_regs_place(number, &offset, &bytes))
		error(g, EINVAL);
	else if (g->target.get_regs(g->target.self, g->cpu, block))
		gdb_put_hex(&g->reply, block + offset, bytes);
	else
		error(g, EIO);
}

static void on_set_register(struct gdb *g, const char *rest)
{
	uint8_t block[GDB_REGS_BYTES], value[16];
	size_t offset, bytes;
	uint64_t number;

	if (!gdb_number(&rest, &number) || !gdb_regs_place(number, &offset, &bytes) || !gdb_word(&rest, "=") ||
	    !gdb_hex(&rest, value, bytes)) {
		error(g, EINVAL);
		return;
	}
	if (!g->target.get_regs(g->target.self, g->cpu, block)) {
		error(g, EIO);
		return;
	}
	memcpy(block + offset, value, bytes);
	ok_iff(g, g->target.set_regs(g->target.self, g->cpu, block), EIO);
}

/* ADDRESS,LENGTH */
static bool take_range(const char **at, uint64_t *gva, uint64_t *bytes)
{
	return gdb_number(at, gva) && gdb_word(at, ",") && gdb_number(at, bytes);
}

static void on_read(struct gdb *g, const char *rest)
{
	uint8_t data[MEMORY_MAX];
	uint64_t gva, bytes;
	size_t got;

	if (!take_range(&rest, &gva, &bytes)) {
		error(g, EINVAL);
		return;
	}
	if (bytes > sizeof(data))
		bytes = sizeof(data);
	got = g->target.read(g->target.self, g->cpu, gva, data, bytes);
	if (got || !bytes)
		gdb_put_hex(&g->reply, data, got);
	else
		error(g, EFAULT);
}

static void write_memory(struct gdb *g, uint64_t gva, const uint8_t *from, size_t bytes)
{
	ok_iff(g, !bytes || g->target.write(g->target.self, g->cpu, gva, from, bytes), EFAULT);
}

static void on_write(struct gdb *g, const char *rest)
{
	uint8_t data[MEMORY_MAX];
	uint64_t gva, bytes;

	if (!take_range(&rest, &gva, &bytes) || !gdb_word(&rest, ":") || bytes > sizeof(data) ||
	    !gdb_hex(&rest, data, bytes))
		error(g, EINVAL);
	else
		write_memory(g, gva, data, bytes);
}

static void on_write_binary(struct gdb *g, const char *rest)
{
	const char *const end = g->parser.payload + g->parser.bytes;
	uint64_t gva, bytes;

	if (!take_range(&rest, &gva, &bytes) || !gdb_word(&rest, ":") || bytes > (size_t)(end - rest))
		error(g, EINVAL);
	else
		write_memory(g, gva, (const uint8_t *)rest, bytes);
}

/* --- breakpoints and watchpoints: KIND,ADDRESS,LENGTH */

static bool take_point(const char *rest, enum gdb_point *point, uint64_t *gva, uint64_t *bytes)
{
	uint64_t kind;

	if (!gdb_number(&rest, &kind) || kind >= GDB_POINTS || !gdb_word(&rest, ","))
		return false;
	*point = (enum gdb_point)kind;
	return take_range(&rest, gva, bytes);
}

static void say_point(struct gdb *g, int result)
{
	if (result != ENOTSUP) /* no answer: not supported */
		ok_iff(g, result == 0, result);
}

static void on_insert(struct gdb *g, const char *rest)
{
	enum gdb_point point;
	uint64_t gva, bytes;

	if (take_point(rest, &point, &gva, &bytes))
		say_point(g, g->target.insert(g->target.self, g->cpu, point, gva, bytes));
	else
		error(g, EINVAL);
}

static void on_remove(struct gdb *g, const char *rest)
{
	enum gdb_point point;
	uint64_t gva, bytes;

	if (take_point(rest, &point, &gva, &bytes))
		say_point(g, g->target.remove(g->target.self, point, gva, bytes));
	else
		error(g, EINVAL);
}

/* --- threads */

static bool is_any(const char *at)
{
	uint64_t id;

	return gdb_number(&at, &id) && id == 0;
}

static void on_set_thread(struct gdb *g, const char *rest)
{
	const char which = *rest, *thread;
	unsigned cpu;

	if (which != 'g' && which != 'c') {
		error(g, EINVAL);
		return;
	}
	thread = ++rest;
	if (!take_thread(g, &rest, &cpu)) {
		error(g, EINVAL);
		return;
	}
	if (which == 'c')
		g->resumed_cpu = is_any(thread) ? ALL : cpu; /* whoever lets any run holds none back */
	else if (cpu != ALL)
		g->cpu = cpu;
	ok(g);
}

static void on_alive(struct gdb *g, const char *rest)
{
	unsigned cpu;

	ok_iff(g, take_thread(g, &rest, &cpu), EINVAL);
}

static void on_current_thread(struct gdb *g, const char *rest)
{
	if (!*rest) /* qCRC is another */
		gdb_put(&g->reply, "QC%x", g->cpu + 1);
}

static void on_first_threads(struct gdb *g, const char *rest)
{
	(void)rest;
	for (unsigned i = 0; i < g->target.cpus; i++)
		gdb_put(&g->reply, "%c%x", i ? ',' : 'm', i + 1);
}

static void on_more_threads(struct gdb *g, const char *rest)
{
	(void)rest;
	gdb_put(&g->reply, "l");
}

static void on_thread_info(struct gdb *g, const char *rest)
{
	char text[96];
	unsigned cpu;

	if (!take_thread(g, &rest, &cpu) || cpu == ALL) {
		error(g, EINVAL);
		return;
	}
	g->target.describe(g->target.self, cpu, text, sizeof(text));
	gdb_put_hex(&g->reply, text, strlen(text));
}

/* --- what there is */

static void on_supported(struct gdb *g, const char *rest)
{
	g->tells_breaks = strstr(rest, "swbreak+") && strstr(rest, "hwbreak+");
	gdb_put(&g->reply, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+",
		GDB_PACKET_MAX);
}

static void on_features(struct gdb *g, const char *rest)
{
	char text[GDB_PACKET_MAX / 2];
	uint64_t offset, bytes;
	size_t got;

	if (!take_range(&rest, &offset, &bytes)) {
		error(g, EINVAL);
		return;
	}
	got = gdb_regs_xml(offset, text, bytes < sizeof(text) ? bytes : sizeof(text));
	gdb_put(&g->reply, "%s%.*s", got ? "m" : "l", (int)got, text);
}

static void on_attached(struct gdb *g, const char *rest)
{
	(void)rest;
	gdb_put(&g->reply, "1"); /* the guest was there before: quitting GDB detaches */
}

/* GDB's words in hexadecimal digits; the answer, too. */
static void on_monitor(struct gdb *g, const char *rest)
{
	char line[128] = {0};
	const char *at = line;
	size_t bytes = strlen(rest) / 2;
	uint64_t gva;

	g->monitor = (struct gdb_text){0};
	if (bytes >= sizeof(line) || !gdb_hex(&rest, (uint8_t *)line, bytes))
		line[0] = '\0';
	if (gdb_word(&at, "table ") && (gdb_word(&at, "0x") || true) && gdb_number(&at, &gva) && !*at)
		g->target.translate(g->target.self, g->cpu, gva, &g->monitor);
	else if (strcmp(line, "help") == 0)
		gdb_put(&g->monitor, MONITOR_WORDS);
	else
		gdb_put(&g->monitor, "slat knows:\n" MONITOR_WORDS);
	gdb_put_hex(&g->reply, g->monitor.at, g->monitor.bytes);
}

/* --- and on */

static void resume(struct gdb *g)
{
	bool any = false;

	for (unsigned i = 0; i < g->target.cpus; i++)
		any = any || g->actions[i] != GDB_HOLD;
	if (!any) {
		error(g, EINVAL);
		return;
	}
	g->stopped = false;
	g->target.resume(g->target.self, g->actions);
}

/* c, s: an address may follow. C, S: a signal, and after ; the address. */
static void go(struct gdb *g, const char *rest, enum gdb_action action)
{
	uint8_t block[GDB_REGS_BYTES];
	size_t offset = 0, bytes = 0;
	uint64_t rip;

	if (*rest) {
		if (!gdb_number(&rest, &rip) || !gdb_regs_place(GDB_REGS_RIP, &offset, &bytes) ||
		    !g->target.get_regs(g->target.self, g->cpu, block)) {
			error(g, EINVAL);
			return;
		}
		memcpy(block + offset, &rip, bytes);
		if (!g->target.set_regs(g->target.self, g->cpu, block)) {
			error(g, EIO);
			return;
		}
	}
	memset(g->actions, action == GDB_STEP || g->resumed_cpu != ALL ? GDB_HOLD : GDB_RUN, sizeof(g->actions));
	g->actions[g->resumed_cpu == ALL ? g->cpu : g->resumed_cpu] = (uint8_t)action;
	resume(g);
}

static void on_continue(struct gdb *g, const char *rest)
{
	go(g, rest, GDB_RUN);
}

static void on_step(struct gdb *g, const char *rest)
{
	go(g, rest, GDB_STEP);
}

static const char *skip_signal(const char *rest)
{
	const char *semicolon = strchr(rest, ';');

	return semicolon ? semicolon + 1 : "";
}

static void on_continue_signal(struct gdb *g, const char *rest)
{
	go(g, skip_signal(rest), GDB_RUN);
}

static void on_step_signal(struct gdb *g, const char *rest)
{
	go(g, skip_signal(rest), GDB_STEP);
}

static void on_resume_kinds(struct gdb *g, const char *rest)
{
	(void)rest;
	gdb_put(&g->reply, "vCont;c;C;s;S;t");
}

static bool take_action(const char **at, enum gdb_action *action)
{
	const char letter = **at;
	uint64_t signal;

	*action = letter == 't' ? GDB_HOLD : letter == 's' || letter == 'S' ? GDB_STEP : GDB_RUN;
	if (!letter || !strchr("cCsSt", letter))
		return false;
	++*at;
	return (letter != 'C' && letter != 'S') || gdb_number(at, &signal);
}

/* ;ACTION[:THREAD]..., and of each vCPU the first that names it counts. */
static void on_resume(struct gdb *g, const char *rest)
{
	bool named[GDB_CPUS_MAX] = {false};

	memset(g->actions, GDB_HOLD, sizeof(g->actions));
	while (gdb_word(&rest, ";")) {
		enum gdb_action action;
		unsigned cpu = ALL;

		if (!take_action(&rest, &action) || (gdb_word(&rest, ":") && !take_thread(g, &rest, &cpu)))
			break;
		for (unsigned i = 0; i < g->target.cpus; i++) {
			if (named[i] || (cpu != ALL && cpu != i))
				continue;
			named[i] = true;
			g->actions[i] = (uint8_t)action;
		}
	}
	if (*rest)
		error(g, EINVAL);
	else
		resume(g);
}

static void on_detach(struct gdb *g, const char *rest)
{
	(void)rest;
	g->target.release(g->target.self);
	g->closing = true;
	ok(g);
}

static void on_kill(struct gdb *g, const char *rest)
{
	(void)rest;
	g->target.kill(g->target.self);
	g->closing = true;
}

static void on_kill_process(struct gdb *g, const char *rest)
{
	on_kill(g, rest);
	ok(g);
}

static void on_no_ack(struct gdb *g, const char *rest)
{
	(void)rest;
	g->no_ack = true;
	ok(g);
}

/* The longer of two that begin alike comes first. */
static const struct command commands[] = {
	{"?", on_why, false},
	{"g", on_get_registers, false},
	{"G", on_set_registers, false},
	{"p", on_get_register, false},
	{"P", on_set_register, false},
	{"m", on_read, false},
	{"M", on_write, false},
	{"X", on_write_binary, false},
	{"Z", on_insert, false},
	{"z", on_remove, false},
	{"c", on_continue, false},
	{"C", on_continue_signal, false},
	{"s", on_step, false},
	{"S", on_step_signal, false},
	{"vCont?", on_resume_kinds, false},
	{"vCont", on_resume, false},
	{"H", on_set_thread, false},
	{"T", on_alive, false},
	{"qC", on_current_thread, false},
	{"qfThreadInfo", on_first_threads, false},
	{"qsThreadInfo", on_more_threads, false},
	{"qThreadExtraInfo,", on_thread_info, false},
	{"qSupported", on_supported, false},
	{"qXfer:features:read:target.xml:", on_features, false},
	{"qAttached", on_attached, false},
	{"qRcmd,", on_monitor, false},
	{"QStartNoAckMode", on_no_ack, false},
	{"D", on_detach, true},
	{"vKill", on_kill_process, true},
	{"k", on_kill, true},
};

/* Resuming and k have no answer of their own; all else has, be it empty. */
static void on_packet(struct gdb *g)
{
	const bool acks = !g->no_ack;
	const char *rest = g->parser.payload;

	g->reply.bytes = 0;
	g->reply.cut = false;
	if (acks)
		g->out[g->out_bytes++] = '+';
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];

		if (!gdb_word(&rest, c->word))
			continue;
		if (!g->stopped && !c->running)
			error(g, EBUSY);
		else
			c->answer(g, rest);
		break;
	}
	if (g->stopped || g->reply.bytes)
		say_frame(g);
}

static void on_interrupt(struct gdb *g)
{
	if (!g->stopped)
		g->target.interrupt(g->target.self);
}

static void on_event(struct gdb *g, enum gdb_event event)
{
	switch (event) {
	case GDB_PACKET:
		on_packet(g);
		break;
	case GDB_BAD:
		if (!g->no_ack)
			g->out[g->out_bytes++] = '-';
		break;
	case GDB_NACK:
		if (g->reply.bytes && !g->no_ack)
			say_frame(g);
		break;
	case GDB_INTERRUPT:
		on_interrupt(g);
		break;
	case GDB_ACK:
	case GDB_NONE:
		break;
	}
}

void gdb_open(struct gdb *g, const struct gdb_target *target)
{
	*g = (struct gdb){.target = *target, .attaching = true, .resumed_cpu = ALL};
}

size_t gdb_input(struct gdb *g, const uint8_t *data, size_t bytes)
{
	size_t taken = 0;

	while (!g->attaching && !g->closing && !g->out_bytes && taken < bytes) {
		enum gdb_event event;

		taken += gdb_parse(&g->parser, data + taken, bytes - taken, &event);
		on_event(g, event);
	}
	return taken;
}

const uint8_t *gdb_output(const struct gdb *g, size_t *bytes)
{
	*bytes = g->out_bytes - g->out_at;
	return g->out + g->out_at;
}

void gdb_sent(struct gdb *g, size_t bytes)
{
	g->out_at += bytes;
	if (g->out_at == g->out_bytes)
		g->out_at = g->out_bytes = 0;
}

bool gdb_closing(const struct gdb *g)
{
	return g->closing;
}

void gdb_stopped(struct gdb *g, const struct gdb_stop *stop)
{
	if (g->stopped || g->closing)
		return;
	g->stopped = true;
	g->stop = *stop;
	g->cpu = stop->cpu;
	if (!g->attaching) {
		g->reply.bytes = 0;
		say_stop(g);
		say_frame(g);
	}
	g->attaching = false;
}

void gdb_ended(struct gdb *g, unsigned code, unsigned signal)
{
	if (g->stopped || g->closing || g->attaching)
		return;
	g->reply.bytes = 0;
	if (signal)
		gdb_put(&g->reply, "X%02x", signal & 0xff);
	else
		gdb_put(&g->reply, "W%02x", code & 0xff);
	say_frame(g);
	g->closing = true;
}
