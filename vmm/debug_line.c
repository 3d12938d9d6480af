/* vmm/debug_line.c: source lines of addresses, from .debug_line.
 *
 * What it is. A run of the line-number programs of all compilation units, each a small
 * machine that makes rows (address, file, line) in order of address; between two rows
 * all addresses are the first one's. For each such range the queries within are
 * answered. It knows no other part of the debugging information: which function it is,
 * and what was inlined where, is not in these tables.
 *
 * Robust where files are not: every read is bounded by its unit, a bad one makes the
 * unit end, and numbers are only compared or taken modulo 2^64.
 *
 * Rejected. libdw and its kin: they allocate, keep files open, and may be absent, where
 * this is asked just when a heap is broken. Another process (addr2line): it makes a
 * child that the program may wait for, and cannot be made in a sandbox. An index: the
 * pass over a megabyte takes some milliseconds, and is made once for all addresses. */
#include "vmm/debug_line.h"

#include <stdbool.h>
#include <string.h>

enum standard {
	DW_LNS_COPY = 1,
	DW_LNS_ADVANCE_PC,
	DW_LNS_ADVANCE_LINE,
	DW_LNS_SET_FILE,
	DW_LNS_CONST_ADD_PC = 8,
	DW_LNS_FIXED_ADVANCE_PC,
};

enum extended { DW_LNE_END_SEQUENCE = 1, DW_LNE_SET_ADDRESS };

enum { DW_LNCT_PATH = 1 };

enum form {
	DW_FORM_DATA2 = 0x05,
	DW_FORM_DATA4 = 0x06,
	DW_FORM_DATA8 = 0x07,
	DW_FORM_STRING = 0x08,
	DW_FORM_BLOCK = 0x09,
	DW_FORM_DATA1 = 0x0b,
	DW_FORM_STRP = 0x0e,
	DW_FORM_UDATA = 0x0f,
	DW_FORM_DATA16 = 0x1e,
	DW_FORM_LINE_STRP = 0x1f,
};

/* ---- bounded reading ---- */

struct reader {
	const uint8_t *at, *end;
	bool bad;
};

static const uint8_t *take(struct reader *r, uint64_t bytes)
{
	const uint8_t *at = r->at;

	if (bytes > (uint64_t)(r->end - r->at)) {
		r->bad = true;
		r->at = r->end;
		return NULL;
	}
	r->at += bytes;
	return at;
}

static uint64_t number(struct reader *r, unsigned bytes)
{
	const uint8_t *at = take(r, bytes);
	uint64_t n = 0;

	for (unsigned i = bytes; at && i-- > 0;)
		n = n << 8 | at[i];
	return n;
}

static uint64_t leb(struct reader *r, bool is_signed)
{
	uint64_t n = 0, byte;
	unsigned shift = 0;

	do {
		byte = number(r, 1);
		if (shift < 64)
			n |= (byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	return is_signed && shift < 64 && (byte & 0x40) ? n | UINT64_MAX << shift : n;
}

static uint64_t uleb(struct reader *r)
{
	return leb(r, false);
}

static uint64_t sleb(struct reader *r)
{
	return leb(r, true);
}

static const char *string(struct reader *r)
{
	const uint8_t *end = memchr(r->at, 0, (size_t)(r->end - r->at));

	return (const char *)take(r, end ? (uint64_t)(end - r->at) + 1 : UINT64_MAX);
}

static const char *string_at(const uint8_t *section, size_t bytes, uint64_t offset)
{
	struct reader r = {.at = section, .end = section ? section + bytes : NULL};

	return section && take(&r, offset) ? string(&r) : NULL;
}

/* ---- one unit ---- */

struct unit {
	const struct debug_line_sections *sections;
	struct reader files;   /* where the table of files begins, after that of directories */
	struct reader program; /* what is left of it */
	unsigned version, offset_bytes;
	unsigned min_length, opcode_base, line_range;
	int line_base;
	const uint8_t *lengths; /* of the standard opcodes, from 1 */
};

/* Skips one value, or reads it, if it is a string. */
static const char *form_read(const struct unit *u, struct reader *r, uint64_t form)
{
	switch ((enum form)form) {
	case DW_FORM_STRING:
		return string(r);
	case DW_FORM_LINE_STRP:
		return string_at(u->sections->line_str, u->sections->line_str_bytes, number(r, u->offset_bytes));
	case DW_FORM_STRP:
		return string_at(u->sections->str, u->sections->str_bytes, number(r, u->offset_bytes));
	case DW_FORM_DATA1:
		take(r, 1);
		break;
	case DW_FORM_DATA2:
		take(r, 2);
		break;
	case DW_FORM_DATA4:
		take(r, 4);
		break;
	case DW_FORM_DATA8:
		take(r, 8);
		break;
	case DW_FORM_DATA16:
		take(r, 16);
		break;
	case DW_FORM_UDATA:
		uleb(r);
		break;
	case DW_FORM_BLOCK:
		take(r, uleb(r));
		break;
	default:
		r->bad = true;
	}
	return NULL;
}

/* A table of version 5: the path of entry `index`; all are read through iff there is none. */
static const char *entries_read(const struct unit *u, struct reader *r, uint64_t index)
{
	unsigned formats = (unsigned)number(r, 1);
	struct reader format = *r;
	uint64_t count;

	for (unsigned i = 0; i < 2 * formats; i++)
		uleb(r);
	count = uleb(r);
	if (formats == 0) /* then an entry has no bytes, and `count` no bound */
		return NULL;
	for (uint64_t entry = 0; entry < count && !r->bad; entry++) {
		struct reader f = format;
		const char *path = NULL;

		for (unsigned i = 0; i < formats; i++) {
			bool is_path = uleb(&f) == DW_LNCT_PATH;
			const char *value = form_read(u, r, uleb(&f));

			path = is_path ? value : path;
		}
		if (entry == index)
			return path;
	}
	return NULL;
}

static const char *file_name(const struct unit *u, uint64_t index)
{
	struct reader r = u->files;

	if (u->version >= 5)
		return entries_read(u, &r, index);
	for (uint64_t i = 1; !r.bad; i++) {
		const char *name = string(&r);

		if (!name || !*name || i == index)
			return name && *name ? name : NULL;
		for (unsigned skipped = 0; skipped < 3; skipped++)
			uleb(&r);
	}
	return NULL;
}

/* The header of a unit; false: this reader does not know it. */
static bool unit_open(struct unit *u, struct reader *r)
{
	uint64_t header_bytes;
	const char *directory;
	int line_base;

	u->version = (unsigned)number(r, 2);
	if (u->version < 2 || u->version > 5)
		return false;
	if (u->version == 5)
		take(r, 2); /* sizes of addresses and selectors */
	header_bytes = number(r, u->offset_bytes);
	u->program = *r;
	take(&u->program, header_bytes);
	u->min_length = (unsigned)number(r, 1);
	take(r, u->version >= 4 ? 2 : 1);
	line_base = (int)number(r, 1);
	u->line_base = line_base < 128 ? line_base : line_base - 256;
	u->line_range = (unsigned)number(r, 1);
	u->opcode_base = (unsigned)number(r, 1);
	u->lengths = take(r, u->opcode_base ? u->opcode_base - 1 : UINT64_MAX);
	if (u->version == 5)
		entries_read(u, r, UINT64_MAX);
	else
		do
			directory = string(r);
		while (directory && *directory);
	u->files = *r;
	return !r->bad && !u->program.bad && u->line_range > 0;
}

/* ---- its program ---- */

struct row {
	uint64_t address, file, line;
};

struct machine {
	const struct unit *unit;
	struct row now, last;
	bool begun; /* there is a last row in this sequence */
	struct debug_line_query *queries;
	size_t n;
};

static size_t first_from(const struct machine *m, uint64_t address)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->queries[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* All addresses from the last row up to this are the last row's. */
static void row_end(struct machine *m)
{
	if (m->begun && m->last.address < m->now.address) {
		for (size_t i = first_from(m, m->last.address); i < m->n; i++) {
			if (m->queries[i].address >= m->now.address)
				break;
			if (m->queries[i].file)
				continue;
			m->queries[i].file = file_name(m->unit, m->last.file);
			m->queries[i].line = (uint32_t)m->last.line;
		}
	}
	m->last = m->now;
	m->begun = true;
}

static void sequence_begin(struct machine *m)
{
	m->now = (struct row){.file = 1, .line = 1};
	m->begun = false;
}

static void run_extended(struct machine *m, struct reader *r)
{
	uint64_t length = uleb(r);
	struct reader args = *r;

	if (!take(r, length) || length == 0)
		return;
	args.end = r->at;
	switch ((enum extended)number(&args, 1)) {
	case DW_LNE_END_SEQUENCE:
		row_end(m);
		sequence_begin(m);
		break;
	case DW_LNE_SET_ADDRESS:
		m->now.address = number(&args, length == 9 ? 8 : 4);
		break;
	default:
		break;
	}
}

static void run_special(struct machine *m, unsigned opcode)
{
	const struct unit *u = m->unit;
	unsigned adjusted = opcode - u->opcode_base;

	m->now.address += (uint64_t)(adjusted / u->line_range) * u->min_length;
	m->now.line += (uint64_t)(int64_t)(u->line_base + (int)(adjusted % u->line_range));
	row_end(m);
}

static void run_standard(struct machine *m, struct reader *r, unsigned opcode)
{
	const struct unit *u = m->unit;

	switch ((enum standard)opcode) {
	case DW_LNS_COPY:
		row_end(m);
		break;
	case DW_LNS_ADVANCE_PC:
		m->now.address += uleb(r) * u->min_length;
		break;
	case DW_LNS_ADVANCE_LINE:
		m->now.line += sleb(r);
		break;
	case DW_LNS_SET_FILE:
		m->now.file = uleb(r);
		break;
	case DW_LNS_CONST_ADD_PC:
		m->now.address += (uint64_t)((255 - u->opcode_base) / u->line_range) * u->min_length;
		break;
	case DW_LNS_FIXED_ADVANCE_PC:
		m->now.address += number(r, 2);
		break;
	default:
		for (unsigned i = 0; i < u->lengths[opcode - 1]; i++)
			uleb(r);
	}
}

static void unit_run(const struct unit *u, struct debug_line_query *queries, size_t n)
{
	struct machine m = {.unit = u, .queries = queries, .n = n};
	struct reader r = u->program;

	sequence_begin(&m);
	while (r.at < r.end && !r.bad) {
		unsigned opcode = (unsigned)number(&r, 1);

		if (opcode == 0)
			run_extended(&m, &r);
		else if (opcode < u->opcode_base)
			run_standard(&m, &r, opcode);
		else
			run_special(&m, opcode);
	}
}

void debug_line_find(const struct debug_line_sections *s, struct debug_line_query *queries, size_t n)
{
	struct reader all = {.at = s->line, .end = s->line ? s->line + s->line_bytes : NULL};

	while (all.at < all.end) {
		struct unit u = {.sections = s, .offset_bytes = 4};
		struct reader r = all;
		uint64_t length = number(&r, 4);

		if (length == UINT32_MAX) {
			u.offset_bytes = 8;
			length = number(&r, 8);
		}
		all.at = r.at;
		if (r.bad || !take(&all, length))
			return;
		r.end = all.at;
		if (unit_open(&u, &r))
			unit_run(&u, queries, n);
	}
}
