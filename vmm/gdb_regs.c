/* vmm/gdb_regs.c
 *
 * One table names every register: its place in the block, its line in target.xml
 * and its number all follow from its line here. The names and the order within a
 * feature are GDB's (its manual, appendix G.5.5, "i386 Features"; GDB refuses a
 * description whose core lacks one); those of org.slat.system are ours, and GDB
 * shows what it does not know by the name that it is given. */
#include "vmm/gdb_regs.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum feature { CORE, SSE, SEGMENTS, SYSTEM };

static const char *const feature_names[] = {
	[CORE] = "org.gnu.gdb.i386.core",
	[SSE] = "org.gnu.gdb.i386.sse",
	[SEGMENTS] = "org.gnu.gdb.i386.segments",
	[SYSTEM] = "org.slat.system",
};

static const char *const feature_types[] = {
	[CORE] = "<flags id=\"i386_eflags\" size=\"4\">"
		 "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
		 "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
		 "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
		 "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
		 "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
		 "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
		 "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
		 "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>\n",
	[SSE] = "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" "
		"count=\"2\"/><vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v4i32\" type=\"int32\" "
		"count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/><union id=\"vec128\">"
		"<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
		"<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
		"<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>\n",
	[SEGMENTS] = "",
	[SYSTEM] = "",
};

/* A line is one register, or `count` of them numbered from 0 (after a prefix) or from 8 (r8 to r15). */
struct line {
	const char *name, *type;
	enum feature feature;
	uint8_t bytes, count, first;
};

/* The gaps of struct gdb_regs and its order are not GDB's: pack() and unpack() go by this order. */
static const struct line lines[] = {
	{"rax", "int64", CORE, 8, 0, 0},
	{"rbx", "int64", CORE, 8, 0, 0},
	{"rcx", "int64", CORE, 8, 0, 0},
	{"rdx", "int64", CORE, 8, 0, 0},
	{"rsi", "int64", CORE, 8, 0, 0},
	{"rdi", "int64", CORE, 8, 0, 0},
	{"rbp", "data_ptr", CORE, 8, 0, 0},
	{"rsp", "data_ptr", CORE, 8, 0, 0},
	{"r", "int64", CORE, 8, 8, 8},
	{"rip", "code_ptr", CORE, 8, 0, 0},
	{"eflags", "i386_eflags", CORE, 4, 0, 0},
	{"cs", "int32", CORE, 4, 0, 0},
	{"ss", "int32", CORE, 4, 0, 0},
	{"ds", "int32", CORE, 4, 0, 0},
	{"es", "int32", CORE, 4, 0, 0},
	{"fs", "int32", CORE, 4, 0, 0},
	{"gs", "int32", CORE, 4, 0, 0},
	{"st", "i387_ext", CORE, 10, 8, 0},
	{"fctrl", "int", CORE, 4, 0, 0},
	{"fstat", "int", CORE, 4, 0, 0},
	{"ftag", "int", CORE, 4, 0, 0},
	{"fiseg", "int", CORE, 4, 0, 0},
	{"fioff", "int", CORE, 4, 0, 0},
	{"foseg", "int", CORE, 4, 0, 0},
	{"fooff", "int", CORE, 4, 0, 0},
	{"fop", "int", CORE, 4, 0, 0},
	{"xmm", "vec128", SSE, 16, 16, 0},
	{"mxcsr", "int", SSE, 4, 0, 0},
	{"fs_base", "int64", SEGMENTS, 8, 0, 0},
	{"gs_base", "int64", SEGMENTS, 8, 0, 0},
	{"cr0", "int64", SYSTEM, 8, 0, 0},
	{"cr2", "int64", SYSTEM, 8, 0, 0},
	{"cr3", "int64", SYSTEM, 8, 0, 0},
	{"cr4", "int64", SYSTEM, 8, 0, 0},
	{"cr8", "int64", SYSTEM, 8, 0, 0},
	{"efer", "int64", SYSTEM, 8, 0, 0},
};

static unsigned line_count(const struct line *l)
{
	return l->count ? l->count : 1;
}

bool gdb_regs_place(uint64_t number, size_t *offset, size_t *bytes)
{
	uint64_t first = 0;

	*offset = 0;
	for (size_t i = 0; i < COUNT(lines); i++) {
		unsigned count = line_count(&lines[i]);

		*bytes = lines[i].bytes;
		if (number - first < count) {
			*offset += (size_t)(number - first) * *bytes;
			return true;
		}
		first += count;
		*offset += count * *bytes;
	}
	return false;
}

/* Moves along the block, in the direction that `out` says. */
struct cursor {
	uint8_t *block;
	bool out;
};

static void move(struct cursor *c, void *field, size_t bytes)
{
	if (c->out)
		memcpy(c->block, field, bytes);
	else
		memcpy(field, c->block, bytes);
	c->block += bytes;
}

/* A field that is narrower or wider than GDB's 4 bytes. */
static uint64_t move32(struct cursor *c, uint64_t value)
{
	uint32_t word = (uint32_t)value;

	move(c, &word, sizeof(word));
	return word;
}

/* FXSAVE keeps one bit a register (taken or empty), GDB two (3 is empty). */
static uint16_t tags_wide(uint8_t bits)
{
	uint16_t wide = 0;

	for (unsigned i = 0; i < 8; i++)
		if (!(bits >> i & 1))
			wide = (uint16_t)(wide | 3u << 2 * i);
	return wide;
}

static uint8_t tags_narrow(uint16_t wide)
{
	uint8_t bits = 0;

	for (unsigned i = 0; i < 8; i++)
		if ((wide >> 2 * i & 3) != 3)
			bits = (uint8_t)(bits | 1u << i);
	return bits;
}

static void move_fpu(struct cursor *c, struct kvm_fpu *f)
{
	for (unsigned i = 0; i < 8; i++)
		move(c, f->fpr[i], 10);
	f->fcw = (uint16_t)move32(c, f->fcw);
	f->fsw = (uint16_t)move32(c, f->fsw);
	f->ftwx = tags_narrow((uint16_t)move32(c, tags_wide(f->ftwx)));
	f->last_ip = move32(c, f->last_ip >> 32) << 32 | (f->last_ip & UINT32_MAX);
	f->last_ip = (f->last_ip & ~(uint64_t)UINT32_MAX) | move32(c, f->last_ip);
	f->last_dp = move32(c, f->last_dp >> 32) << 32 | (f->last_dp & UINT32_MAX);
	f->last_dp = (f->last_dp & ~(uint64_t)UINT32_MAX) | move32(c, f->last_dp);
	f->last_opcode = (uint16_t)move32(c, f->last_opcode);
}

static void move_all(struct cursor *c, struct gdb_regs *r)
{
	struct kvm_regs *g = &r->regs;
	struct kvm_sregs *s = &r->sregs;
	__u64 *const general[] = {&g->rax, &g->rbx, &g->rcx, &g->rdx, &g->rsi, &g->rdi, &g->rbp, &g->rsp, &g->r8,
				  &g->r9,  &g->r10, &g->r11, &g->r12, &g->r13, &g->r14, &g->r15, &g->rip};
	struct kvm_segment *const segments[] = {&s->cs, &s->ss, &s->ds, &s->es, &s->fs, &s->gs};
	__u64 *const last[] = {&s->fs.base, &s->gs.base, &s->cr0, &s->cr2, &s->cr3, &s->cr4, &s->cr8, &s->efer};

	for (size_t i = 0; i < COUNT(general); i++)
		move(c, general[i], 8);
	g->rflags = move32(c, g->rflags);
	for (size_t i = 0; i < COUNT(segments); i++)
		segments[i]->selector = (uint16_t)move32(c, segments[i]->selector);
	move_fpu(c, &r->fpu);
	for (size_t i = 0; i < 16; i++)
		move(c, r->fpu.xmm[i], 16);
	r->fpu.mxcsr = (uint32_t)move32(c, r->fpu.mxcsr);
	for (size_t i = 0; i < COUNT(last); i++)
		move(c, last[i], 8);
}

/* XSAVE's area begins with FXSAVE's; a component whose bit is not set is in its initial state, whatever stands there.
 * (SDM vol. 1, 10.5.1 and 13.4.) */
struct fxsave {
	uint16_t fcw, fsw;
	uint8_t ftw, gap;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16], xmm[16][16], free[96];
	uint64_t components;
};

#define X87_AND_SSE 3u

_Static_assert(offsetof(struct fxsave, xmm) == 160 && offsetof(struct fxsave, components) == 512, "SDM table 10-2");
_Static_assert(sizeof(((struct fxsave *)0)->st) == sizeof(((struct kvm_fpu *)0)->fpr), "copied whole");

void gdb_regs_from_xsave(const struct kvm_xsave *from, struct kvm_fpu *to)
{
	struct fxsave x;

	memcpy(&x, from, sizeof(x));
	*to = (struct kvm_fpu){.fcw = x.fcw,
			       .fsw = x.fsw,
			       .ftwx = x.ftw,
			       .last_opcode = x.fop,
			       .last_ip = x.fip,
			       .last_dp = x.fdp,
			       .mxcsr = x.mxcsr};
	memcpy(to->fpr, x.st, sizeof(x.st));
	memcpy(to->xmm, x.xmm, sizeof(x.xmm));
}

void gdb_regs_to_xsave(const struct kvm_fpu *from, struct kvm_xsave *to)
{
	struct fxsave x;

	memcpy(&x, to, sizeof(x));
	x.fcw = from->fcw;
	x.fsw = from->fsw;
	x.ftw = from->ftwx;
	x.fop = from->last_opcode;
	x.fip = from->last_ip;
	x.fdp = from->last_dp;
	x.mxcsr = from->mxcsr;
	memcpy(x.st, from->fpr, sizeof(x.st));
	memcpy(x.xmm, from->xmm, sizeof(x.xmm));
	x.components |= X87_AND_SSE;
	memcpy(to, &x, sizeof(x));
}

void gdb_regs_pack(const struct gdb_regs *from, uint8_t *block)
{
	struct cursor c = {block, true};
	struct gdb_regs copy = *from;

	move_all(&c, &copy);
}

void gdb_regs_unpack(const uint8_t *block, struct gdb_regs *to)
{
	uint8_t copy[GDB_REGS_BYTES];
	struct cursor c = {copy, false};

	memcpy(copy, block, sizeof(copy));
	move_all(&c, to);
}

/* A text of which only [from, from + room) is kept. */
struct window {
	size_t at, from, room;
	char *to;
	size_t kept;
};

static void say(struct window *w, const char *text)
{
	for (; *text; text++, w->at++)
		if (w->at >= w->from && w->kept < w->room)
			w->to[w->kept++] = *text;
}

static void say_line(struct window *w, const struct line *l)
{
	char text[96];

	for (unsigned i = 0; i < line_count(l); i++) {
		snprintf(text, sizeof(text), "<reg name=\"%s", l->name);
		say(w, text);
		if (l->count) {
			snprintf(text, sizeof(text), "%u", l->first + i);
			say(w, text);
		}
		snprintf(text, sizeof(text), "\" bitsize=\"%u\" type=\"%s\"/>\n", l->bytes * 8u, l->type);
		say(w, text);
	}
}

size_t gdb_regs_xml(size_t offset, char *to, size_t room)
{
	struct window w = {.from = offset, .room = room, .to = to};

	say(&w, "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
		"<architecture>i386:x86-64</architecture>\n");
	for (size_t i = 0; i < COUNT(lines); i++) {
		const enum feature feature = lines[i].feature;

		if (i == 0 || lines[i - 1].feature != feature) {
			say(&w, i == 0 ? "<feature name=\"" : "</feature>\n<feature name=\"");
			say(&w, feature_names[feature]);
			say(&w, "\">\n");
			say(&w, feature_types[feature]);
		}
		say_line(&w, &lines[i]);
	}
	say(&w, "</feature>\n</target>\n");
	return w.kept;
}
