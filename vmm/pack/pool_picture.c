/* vmm/pack/pool_picture.c: what lies where on some hosts, at moments over a whole run.
 *
 * Words. A strip is a node of a host that is drawn, or a node's huge pages: of a fleet with more than HOSTS_MAX hosts,
 * so many, evenly apart. It is cut into cells of one length; a cell is what lies at its middle, a guest's extent or a
 * hole. So a hole smaller than a cell is seen as often as it should be, not always and not never; and a look costs a
 * constant, however many extents there are: cells at most, each one look-up.
 *   Moments are thinned as the run goes on (moments.h), and each has its strips as runs of cells. A run remembers how
 * long, in powers of two, the extent or the hole is of which it is the picture: the share of free memory in holes of
 * a size is thus estimated by as many samples as there are cells.
 *
 * One pool alone is drawn in ROWS rows of addresses, all of its top's highest; the part above the top of a moment is
 * nobody's.
 *
 * In the page. For each moment and row a string, three letters a run: two for its length, one for its colour; nothing
 * if the row is as at the moment before. The script draws the strings; the fullest moment is drawn without it, too.
 *
 * Memory: MOMENTS moments of at most CELLS * strips runs, of 4 bytes: a few MiB at worst. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/pack/html.h"
#include "vmm/pack/moments.h"
#include "vmm/pack/pool_picture.h"

#define MOMENTS	   60u
#define HOSTS_MAX  16u
#define STRIPS_MAX 128u
#define STRIPS_FIT 32u
#define CELLS	   1024u /* a row */
#define ROWS	   4u
#define COLOURS	   7u
#define ABOVE	   8u /* the colour of what is above the top */
#define PPM	   UINT64_C(1000000)

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct run {
	uint16_t cells;
	uint8_t size; /* of the whole: at most 2 to the power of it */
	bool taken;
};

struct look { /* at a strip */
	uint64_t units, unused;
	uint32_t runs;
	struct run *run;
};

struct strip {
	uint32_t host, node;
	struct look at[MOMENTS]; /* by place */
};

struct pool_picture {
	const struct fleet *fleet;
	struct moments moments;
	uint32_t strips, hosts, rows; /* drawn; rows of each strip */
	struct strip *strip;
	struct run *scratch; /* rows * CELLS */
};

/* ---- what is drawn ---- */

static void choose(struct pool_picture *p)
{
	uint32_t all = fleet_hosts(p->fleet), most = HOSTS_MAX, nodes = 1;

	for (uint32_t i = 0; i < all; i++)
		nodes = fleet_pools_of(p->fleet, i) > nodes ? fleet_pools_of(p->fleet, i) : nodes;
	most = most * nodes > STRIPS_FIT ? STRIPS_FIT / nodes : most;
	most = most ? most : 1;
	p->hosts = all < most ? all : most;
	for (uint32_t i = 0; i < p->hosts; i++) {
		uint32_t host = (uint32_t)((uint64_t)i * all / p->hosts);

		for (uint32_t n = 0; n < fleet_pools_of(p->fleet, host); n++) {
			p->strip[p->strips].host = host;
			p->strip[p->strips++].node = n;
		}
	}
	p->rows = p->strips == 1 ? ROWS : 1;
}

struct pool_picture *pool_picture_open(const struct fleet *f, struct failure *failure)
{
	struct pool_picture *p = calloc(1, sizeof(*p));

	if (p) {
		p->fleet = f;
		p->strip = calloc(STRIPS_MAX, sizeof(*p->strip));
		p->scratch = calloc(ROWS * CELLS, sizeof(*p->scratch));
		moments_init(&p->moments, MOMENTS);
	}
	if (!p || !p->strip || !p->scratch) {
		(void)fail(failure, EXIT_HOST, "no memory for a report's pictures");
		pool_picture_close(p);
		return NULL;
	}
	choose(p);
	return p;
}

void pool_picture_close(struct pool_picture *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; p->strip && i < p->strips; i++)
		for (uint32_t m = 0; m < MOMENTS; m++)
			free(p->strip[i].at[m].run);
	free(p->strip);
	free(p->scratch);
	free(p);
}

/* ---- a look ---- */

static uint8_t size_of(uint64_t units)
{
	return units < 2 ? 0 : (uint8_t)(64 - __builtin_clzll(units - 1));
}

/* Without places: what is given, then what is free. */
static uint32_t look_scattered(struct run *run, const struct look *l, uint32_t cells)
{
	uint32_t taken = (uint32_t)((unsigned __int128)(l->units - l->unused) * cells / l->units), runs = 0;

	if (taken > 0)
		run[runs++] = (struct run){(uint16_t)taken, size_of(l->units - l->unused), true};
	if (taken < cells)
		run[runs++] = (struct run){(uint16_t)(cells - taken), size_of(l->unused), false};
	return runs;
}

/* The unit at the middle of a cell, and of those from `unit` on the first cell whose middle is there. */
static uint64_t middle(uint32_t cell, uint64_t units, uint32_t cells)
{
	return (uint64_t)(((unsigned __int128)cell * 2 + 1) * units / (2 * cells));
}

static uint32_t cell_from(uint64_t unit, uint32_t cell, uint64_t units, uint32_t cells)
{
	uint32_t low = cell + 1, high = cells;

	while (low < high) {
		uint32_t at = (low + high) / 2;

		if (middle(at, units, cells) < unit)
			low = at + 1;
		else
			high = at;
	}
	return low;
}

static uint32_t look_placed(struct run *run, const struct extent_space *space, uint64_t units, uint32_t cells)
{
	struct extent_segment s;
	uint32_t runs = 0;

	for (uint32_t cell = 0, next; cell < cells; cell = next) {
		bool there = extent_segment_at(space, middle(cell, units, cells), &s);

		MM_ASSERT(there, cell, units);
		next = cell_from(s.run.first + s.run.units, cell, units, cells);
		run[runs++] = (struct run){(uint16_t)(next - cell), size_of(s.taken ? s.asked : s.run.units), s.taken};
	}
	return runs;
}

static bool look(struct pool_picture *p, const struct strip *s, struct look *l)
{
	const struct extent_space *space = fleet_space(p->fleet, s->host, s->node);
	uint32_t cells = p->rows * CELLS;
	struct run *run;

	fleet_room_of(p->fleet, s->host, s->node, &l->units, &l->unused);
	l->runs = l->units == 0 ? 0
		  : space	? look_placed(p->scratch, space, l->units, cells)
				: look_scattered(p->scratch, l, cells);
	run = realloc(l->run, (l->runs + 1) * sizeof(*run));
	if (!run)
		return false;
	l->run = run;
	memcpy(run, p->scratch, l->runs * sizeof(*run));
	return true;
}

int pool_picture_note(struct pool_picture *p, uint64_t time_us, bool anyway, struct failure *failure)
{
	uint32_t place;

	if (!anyway && !moments_due(&p->moments, time_us))
		return 0;
	place = moments_add(&p->moments, time_us);
	for (uint32_t i = 0; i < p->strips; i++)
		if (!look(p, &p->strip[i], &p->strip[i].at[place]))
			return fail(failure, EXIT_HOST, "no memory for a report's pictures");
	return 0;
}

/* ---- colours ---- */

struct colours { /* of sizes from low to high, as powers of two */
	uint8_t low, high;
};

static struct colours colours_of(const struct pool_picture *p)
{
	struct colours c = {UINT8_MAX, 0};

	for (uint32_t i = 0; i < p->strips; i++)
		for (uint32_t m = 0; m < p->moments.count; m++) {
			const struct look *l = &p->strip[i].at[p->moments.place[m]];

			for (uint32_t r = 0; r < l->runs; r++) {
				uint8_t size = l->run[r].size;

				if (!l->run[r].taken)
					continue;
				c.low = size < c.low ? size : c.low;
				c.high = size > c.high ? size : c.high;
			}
		}
	return c.low <= c.high ? c : (struct colours){0, 0};
}

/* From 1; the darkest are the largest. */
static unsigned colour_of(const struct colours *c, uint8_t size)
{
	unsigned sizes = c->high - c->low + 1u;

	return 1 + (size - c->low) * COLOURS / (sizes > COLOURS ? sizes : COLOURS);
}

/* ---- a row as letters ---- */

struct row {
	char text[3 * CELLS + 1];
	uint32_t used;
};

static void row_put(struct row *row, uint32_t cells, unsigned colour)
{
	if (cells == 0)
		return;
	row->text[row->used++] = letters[(cells - 1) / 64];
	row->text[row->used++] = letters[(cells - 1) % 64];
	row->text[row->used++] = (char)('0' + colour);
	row->text[row->used] = '\0';
}

static uint64_t units_most(const struct pool_picture *p, const struct strip *s)
{
	uint64_t most = 1;

	for (uint32_t m = 0; m < p->moments.count; m++) {
		uint64_t units = s->at[p->moments.place[m]].units;

		most = units > most ? units : most;
	}
	return most;
}

/* Row `n` of the strip, of CELLS cells of its highest top. */
static void row_make(const struct pool_picture *p, const struct strip *s, const struct look *l, uint32_t n,
		     const struct colours *c, struct row *row)
{
	uint64_t most = units_most(p, s);
	uint32_t from = n * CELLS, to = from + CELLS, at = 0, drawn = from;

	*row = (struct row){.used = 0};
	for (uint32_t r = 0; r < l->runs; r++) {
		uint32_t end;

		at += l->run[r].cells;
		end = (uint32_t)((unsigned __int128)at * l->units / most);
		end = end < from ? from : end > to ? to : end;
		if (end > drawn)
			row_put(row, end - drawn, l->run[r].taken ? colour_of(c, l->run[r].size) : 0);
		drawn = end > drawn ? end : drawn;
	}
	row_put(row, to - drawn, ABOVE);
}

static uint32_t letter(char c)
{
	return (uint32_t)(strchr(letters, c) - letters);
}

/* As the script does. A little is left out between two, so that neighbours can be told apart. */
static void row_draw(FILE *out, const struct row *row)
{
	fputs("<svg class=\"strip\" viewBox=\"0 0 1024 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">", out);
	for (unsigned colour = 1; colour <= ABOVE; colour++) {
		uint32_t x = 0;
		bool any = false;

		for (uint32_t i = 0; i < row->used; i += 3) {
			uint32_t cells = 64 * letter(row->text[i]) + letter(row->text[i + 1]) + 1;
			uint32_t width = cells > 7 ? cells - 2 : cells;

			if (row->text[i + 2] == (char)('0' + colour)) {
				if (!any)
					fprintf(out,
						colour == ABOVE ? "<path class=\"none\" d=\""
								: "<path class=\"k%u\" d=\"",
						colour);
				fprintf(out, "M%" PRIu32 " 0h%" PRIu32 "v10h-%" PRIu32 "z", x, width, width);
				any = true;
			}
			x += cells;
		}
		if (any)
			fputs("\"/>", out);
	}
	fputs("</svg>", out);
}

/* ---- the page ---- */

static uint32_t fullest(const struct pool_picture *p)
{
	uint64_t most = 0;
	uint32_t best = 0;

	for (uint32_t m = 0; m < p->moments.count; m++) {
		uint64_t given = 0;

		for (uint32_t i = 0; i < p->strips; i++) {
			const struct look *l = &p->strip[i].at[p->moments.place[m]];

			given += l->units - l->unused;
		}
		if (given > most) {
			most = given;
			best = m;
		}
	}
	return best;
}

static uint64_t size_value(const struct pool_words *w, uint8_t size)
{
	unsigned __int128 value = ((unsigned __int128)1 << (size & 127)) * w->granule;

	return value > UINT64_MAX ? UINT64_MAX : (uint64_t)value;
}

static struct axis_text size_text(const struct pool_words *w, uint8_t size)
{
	struct axis_text t = quantity_text(w->size, size_value(w, size));
	size_t used = strlen(t.s);

	if (w->name[0])
		snprintf(t.s + used, sizeof(t.s) - used, " %s", w->name);
	return t;
}

static void write_key(const struct pool_picture *p, FILE *out, const struct colours *c, const struct pool_words *w)
{
	fputs("<ul class=\"key\" aria-label=\"Colours\"><li><svg viewBox=\"0 0 22 10\" aria-hidden=\"true\"><path "
	      "class=\"empty\" d=\"M.5 .5h21v9h-21z\"/></svg>hole</li>",
	      out);
	for (unsigned size = c->low, next; size <= c->high; size = next) {
		unsigned colour = colour_of(c, (uint8_t)size);

		for (next = size; next <= c->high && colour_of(c, (uint8_t)next) == colour; next++)
			;
		fprintf(out,
			"<li><svg viewBox=\"0 0 22 10\" aria-hidden=\"true\"><path class=\"k%u\" d=\"M0 "
			"0h22v10h-22z\"/></svg>"
			"%s%s</li>",
			colour, size == c->low ? "guest's extent up to " : "", size_text(w, (uint8_t)(next - 1)).s);
	}
	if (p->rows > 1)
		fputs("<li><svg viewBox=\"0 0 22 10\" aria-hidden=\"true\"><path class=\"none\" d=\"M0 "
		      "0h22v10h-22z\"/></svg>"
		      "above the top</li>",
		      out);
	fputs("</ul>\n", out);
}

static void write_strips(const struct pool_picture *p, FILE *out, const struct colours *c, uint32_t moment)
{
	struct row row;

	fprintf(out,
		"<div class=\"hosts%s\" id=\"strips\" role=\"img\" aria-label=\"What lies where, at the moment of the "
		"slider\">\n",
		p->rows > 1 ? " one" : "");
	for (uint32_t i = 0; i < p->strips; i++) {
		const struct strip *s = &p->strip[i];

		if (s->node == 0)
			fprintf(out,
				p->rows > 1 ? "<div class=\"host\"><div>\n"
					    : "<div class=\"host\"><span>host %" PRIu32 "</span><div>\n",
				s->host);
		for (uint32_t n = 0; n < p->rows; n++) {
			row_make(p, s, &s->at[p->moments.place[moment]], n, c, &row);
			row_draw(out, &row);
		}
		fputs(i + 1 == p->strips || p->strip[i + 1].node == 0 ? "</div></div>\n" : "\n", out);
	}
	fputs("</div>\n", out);
}

static void write_rows(const struct pool_picture *p, FILE *out, const struct colours *c, uint32_t m)
{
	struct row row, before;

	for (uint32_t i = 0; i < p->strips; i++)
		for (uint32_t n = 0; n < p->rows; n++) {
			const struct strip *s = &p->strip[i];

			row_make(p, s, &s->at[p->moments.place[m]], n, c, &row);
			if (m > 0)
				row_make(p, s, &s->at[p->moments.place[m - 1]], n, c, &before);
			fprintf(out, "%s\"%s\"", i + n ? "," : "",
				m > 0 && strcmp(row.text, before.text) == 0 ? "" : row.text);
		}
}

static void write_data(const struct pool_picture *p, FILE *out, const struct colours *c)
{
	const struct moments *m = &p->moments;

	fputs("<script type=\"application/json\" id=\"pools\">\n{\"time\":[", out);
	for (uint32_t i = 0; i < m->count; i++)
		fprintf(out, "%s\"%s\"", i ? "," : "", quantity_text(QUANTITY_US, m->time_us[i] - m->time_us[0]).s);
	fputs("],\n\"rows\":[", out);
	for (uint32_t i = 0; i < m->count; i++) {
		fputs(i ? "],\n[" : "[", out);
		write_rows(p, out, c, i);
	}
	fputs("]]}\n</script>\n", out);
}

static const char script[] =
	"<script>\n"
	"(function () {\n"
	"\tvar data = JSON.parse(document.getElementById('pools').textContent), slider = "
	"document.getElementById('moment'),\n"
	"\t\tsaid = document.getElementById('moment-time'), strips = document.querySelectorAll('#strips .strip'),\n"
	"\t\tletters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';\n"
	"\tfunction row(n, i) {\n"
	"\t\twhile (data.rows[n][i] === '')\n"
	"\t\t\tn--;\n"
	"\t\treturn data.rows[n][i];\n"
	"\t}\n"
	"\tfunction draw(text) {\n"
	"\t\tvar paths = ['', '', '', '', '', '', '', '', ''], x = 0, all = '';\n"
	"\t\tfor (var i = 0; i < text.length; i += 3) {\n"
	"\t\t\tvar cells = 64 * letters.indexOf(text[i]) + letters.indexOf(text[i + 1]) + 1, width = cells > 7 ? cells "
	"- 2 : "
	"cells;\n"
	"\t\t\tpaths[text[i + 2]] += 'M' + x + ' 0h' + width + 'v10h-' + width + 'z';\n"
	"\t\t\tx += cells;\n"
	"\t\t}\n"
	"\t\tfor (var k = 1; k < 9; k++)\n"
	"\t\t\tif (paths[k])\n"
	"\t\t\t\tall += '<path class=\"' + (k === 8 ? 'none' : 'k' + k) + '\" d=\"' + paths[k] + '\"/>';\n"
	"\t\treturn all;\n"
	"\t}\n"
	"\tfunction show() {\n"
	"\t\tvar n = +slider.value;\n"
	"\t\tfor (var i = 0; i < strips.length; i++)\n"
	"\t\t\tstrips[i].innerHTML = draw(row(n, i));\n"
	"\t\tsaid.textContent = 'after ' + data.time[n] + ' (' + (n + 1) + ' of ' + data.time.length + ')';\n"
	"\t\tslider.setAttribute('aria-valuetext', 'after ' + data.time[n]);\n"
	"\t}\n"
	"\tslider.addEventListener('input', show);\n"
	"\tslider.disabled = false;\n"
	"\tshow();\n"
	"})();\n"
	"</script>\n";

void pool_picture_write(const struct pool_picture *p, FILE *out, const struct pool_words *words)
{
	uint32_t all = fleet_hosts(p->fleet), moment = fullest(p);
	struct colours c = colours_of(p);

	MM_ASSERT(p->moments.count > 0, 0, 0);
	fputs("<section>\n<h2>What lies where</h2>\n<p class=\"soft\">", out);
	if (p->rows > 1)
		fprintf(out, "The whole pool, its addresses from left to right in %u rows. ", ROWS);
	else if (p->hosts == all)
		fputs("A strip is one memory node, its addresses from left to right. ", out);
	else
		fprintf(out,
			"A strip is one memory node, its addresses from left to right; %" PRIu32
			" of %s hosts are drawn, evenly apart, the others are left out. ",
			p->hosts, quantity_text(QUANTITY_COUNT, all).s);
	fprintf(out,
		"The slider goes through %" PRIu32
		" moments of the run and starts where most is used. Each strip has 1,024 samples: what is "
		"smaller is seen now and then.</p>\n",
		p->moments.count);
	fprintf(out,
		"<div class=\"slide\"><label for=\"moment\">Moment</label><input type=\"range\" id=\"moment\" "
		"min=\"0\" "
		"max=\"%" PRIu32 "\" value=\"%" PRIu32 "\" disabled autocomplete=\"off\"><output id=\"moment-time\" "
		"for=\"moment\">after %s</output></div>\n",
		p->moments.count - 1, moment,
		quantity_text(QUANTITY_US, p->moments.time_us[moment] - p->moments.time_us[0]).s);
	write_key(p, out, &c, words);
	write_strips(p, out, &c, moment);
	write_data(p, out, &c);
	fputs(script, out);
	fputs("</section>\n", out);
}

void pool_picture_write_holes(const struct pool_picture *p, FILE *out, const struct chart *chart,
			      const struct pool_words *words)
{
	uint32_t place = p->moments.place[fullest(p)], low = 64, high = 0;
	unsigned __int128 all = 0, of[65] = {0};
	struct axis_text name[65];
	uint64_t share[65];

	for (uint32_t i = 0; i < p->strips; i++) {
		const struct look *l = &p->strip[i].at[place];

		for (uint32_t r = 0; r < l->runs; r++)
			if (!l->run[r].taken)
				of[l->run[r].size] += (unsigned __int128)l->run[r].cells * l->units;
	}
	for (uint32_t i = 0; i < 65; i++) {
		all += of[i];
		low = of[i] > 0 && i < low ? i : low;
		high = of[i] > 0 ? i : high;
	}
	if (all == 0)
		return;
	for (uint32_t i = low; i <= high; i++) {
		share[i - low] = (uint64_t)(of[i] * PPM / all);
		name[i - low] = quantity_short(words->size, size_value(words, (uint8_t)i));
	}
	chart_bars(out, chart, name, share, high - low + 1);
}
