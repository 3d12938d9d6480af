/* vmm/pack/chart.c: figures drawn as SVG.
 *
 * A drawing is 360 wide: as wide as a phone, so that letters are as large there as they are meant to be, and on a desk
 * three stand side by side. Axes of figures begin at 0: a small difference looks small. Only dots that could not be
 * told apart there have an axis that begins elsewhere, which says so, and is drawn cut. */
#include <inttypes.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/pack/chart.h"
#include "vmm/pack/html.h"
#include "vmm/pack/label.h"

#define WIDTH	   360
#define HEIGHT	   218
#define LEFT	   58
#define RIGHT	   342
#define TOP	   24
#define BOTTOM	   178
#define ROW	   21 /* of a dot; and ... */
#define LINE	   13 /* of each line of its name */
#define DOTS_LEFT  14
#define DOTS_RIGHT 330
#define NAME_LEFT  18
#define NAME_RIGHT 352
#define APART	   8 /* two texts in a line */

typedef unsigned __int128 wide;

/* Tenths of a pixel, from `from` to `to` pixels for 0 to `most`. */
static int64_t scaled(uint64_t value, uint64_t most, int from, int to)
{
	int64_t span = ((int64_t)to - from) * 10;
	uint64_t size = (uint64_t)(span < 0 ? -span : span);
	int64_t at;

	MM_ASSERT(most > 0, value, 0);
	at = (int64_t)((wide)(value < most ? value : most) * size / most);
	return (int64_t)from * 10 + (span < 0 ? -at : at);
}

static void put(FILE *out, const char *before, int64_t tenths)
{
	fprintf(out, tenths % 10 ? "%s%" PRId64 ".%" PRId64 : "%s%" PRId64, before, tenths / 10, tenths % 10);
}

static uint64_t axis_most(const struct axis *a)
{
	return a->step * a->ticks;
}

/* Of a drawing of dots. */
static int64_t across(const struct axis *a, uint64_t value)
{
	uint64_t first = a->first * a->step;

	return scaled(value > first ? value - first : 0, axis_most(a), DOTS_LEFT, DOTS_RIGHT);
}

/* ---- the frame ---- */

static void figure_open(FILE *out, const struct chart *c)
{
	fprintf(out, "<figure>\n<figcaption id=\"%s-c\">%s", c->id, c->title);
	if (c->note[0])
		fprintf(out, "<span>%s</span>", c->note);
	fputs("</figcaption>\n", out);
}

static void svg_open(FILE *out, const struct chart *c, int height)
{
	fprintf(out,
		"<svg class=\"chart\" id=\"%s\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s-t "
		"%s-d\">\n<title "
		"id=\"%s-t\">%s</title>\n",
		c->id, WIDTH, height, c->id, c->id, c->id, c->title);
}

static void y_axis(FILE *out, const struct axis *a)
{
	for (uint64_t i = 0; i <= a->ticks; i++) {
		int64_t y = scaled(i, a->ticks, BOTTOM, TOP);

		fprintf(out, "<path class=\"%s\" d=\"M%d", i ? "grid" : "base", LEFT);
		put(out, " ", y);
		fprintf(out, "H%d\"/><text x=\"%d\"", RIGHT, LEFT - 6);
		put(out, " y=\"", y + 40);
		fprintf(out, "\" text-anchor=\"end\">%s</text>\n", axis_tick(a, i).s);
	}
}

static void x_title(FILE *out, const char *name, const char *unit, int y)
{
	fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s%s%s</text>\n", (LEFT + RIGHT) / 2, y, name,
		unit[0] ? ", " : "", unit);
}

static void x_axis(FILE *out, const struct axis *a, uint64_t span, const char *name)
{
	for (uint64_t i = 0; i <= a->ticks && i * a->step <= span; i++) {
		int64_t x = scaled(i * a->step, span ? span : 1, LEFT, RIGHT);

		put(out, "<path class=\"base\" d=\"M", x);
		fprintf(out, " %dv4\"/>", BOTTOM);
		put(out, "<text x=\"", x);
		fprintf(out, "\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", BOTTOM + 17, axis_tick(a, i).s);
	}
	x_title(out, name, a->unit, HEIGHT - 4);
}

static void y_unit(FILE *out, const struct axis *a)
{
	if (a->unit[0])
		fprintf(out, "<text x=\"%d\" y=\"9\" text-anchor=\"%s\">%s</text>\n",
			strlen(a->unit) < 8 ? LEFT - 6 : 0, strlen(a->unit) < 8 ? "end" : "start", a->unit);
}

/* ---- lines ---- */

static uint64_t most_of(const uint64_t *value, uint32_t count)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < count; i++)
		most = value[i] > most ? value[i] : most;
	return most;
}

static void keys(FILE *out, const struct chart_line *line, unsigned lines)
{
	if (lines < 2)
		return;
	fputs("<ul class=\"key\">", out);
	for (unsigned i = 0; i < lines; i++)
		fprintf(out,
			"<li><svg viewBox=\"0 0 22 10\" aria-hidden=\"true\"><path class=\"l%u\" d=\"M0 "
			"5H22\"/></svg>%s</li>",
			i, line[i].name);
	fputs("</ul>\n", out);
}

static void desc(FILE *out, const struct chart *c, const struct chart_line *line, unsigned lines, uint32_t count)
{
	fprintf(out, "<desc id=\"%s-d\">", c->id);
	for (unsigned i = 0; i < lines; i++) {
		uint64_t most = most_of(line[i].value, count);

		fprintf(out, "%s%s: at most %s, ", i ? "; " : "", line[i].name, quantity_text(c->y, most).s);
		fprintf(out, "%s at the end", quantity_text(c->y, line[i].value[count - 1]).s);
	}
	fputs(".</desc>\n", out);
}

/* Points that the one before already says are left out. */
static void steps(FILE *out, const uint64_t *value, uint64_t most, const uint64_t *x, uint32_t count)
{
	uint64_t span = x[count - 1] - x[0];
	int64_t last = scaled(value[0], most, BOTTOM, TOP);

	put(out, "M", scaled(0, span ? span : 1, LEFT, RIGHT));
	put(out, " ", last);
	for (uint32_t i = 1; i < count; i++) {
		int64_t y = scaled(value[i], most, BOTTOM, TOP);

		if (y == last)
			continue;
		put(out, "H", scaled(x[i] - x[0], span ? span : 1, LEFT, RIGHT));
		put(out, "V", y);
		last = y;
	}
	fprintf(out, "H%d", RIGHT);
}

void chart_steps(FILE *out, const struct chart *c, const struct chart_line *line, unsigned lines, const uint64_t *x,
		 uint32_t count)
{
	struct axis ax = axis_make(c->x, x[count - 1] - x[0], 5), ay;
	uint64_t most = 0;

	for (unsigned i = 0; i < lines; i++) {
		uint64_t its = most_of(line[i].value, count);

		most = its > most ? its : most;
	}
	ay = axis_make(c->y, most, 5);
	figure_open(out, c);
	keys(out, line, lines);
	svg_open(out, c, HEIGHT);
	desc(out, c, line, lines, count);
	y_axis(out, &ay);
	x_axis(out, &ax, x[count - 1] - x[0], c->x_name);
	for (unsigned i = 0; i < lines; i++) {
		fprintf(out, "<path class=\"l%u\" d=\"", i);
		steps(out, line[i].value, axis_most(&ay), x, count);
		fputs("\"/>\n", out);
	}
	y_unit(out, &ay);
	fputs("</svg>\n</figure>\n", out);
}

/* ---- bars ---- */

/* So that names have room. */
static uint32_t names_every(const struct axis_text *name, uint32_t count)
{
	uint32_t every = 1, widest = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t width = label_width(name[i].s) + APART;

		widest = width > widest ? width : widest;
	}
	while (every < count && every * (RIGHT - LEFT) < widest * count)
		every++;
	return every;
}

void chart_bars(FILE *out, const struct chart *c, const struct axis_text *name, const uint64_t *value, uint32_t count)
{
	struct axis a = axis_make(c->y, most_of(value, count), 5);
	uint32_t every = names_every(name, count);

	figure_open(out, c);
	svg_open(out, c, HEIGHT);
	fprintf(out, "<desc id=\"%s-d\">%" PRIu32 " bars from %s to %s, the highest %s.</desc>\n", c->id, count,
		name[0].s, name[count - 1].s, quantity_text(c->y, most_of(value, count)).s);
	y_axis(out, &a);
	for (uint32_t i = 0; i < count; i++) {
		int64_t left = scaled(10 * i + 1, 10 * count, LEFT, RIGHT);
		int64_t right = scaled(10 * i + 9, 10 * count, LEFT, RIGHT),
			y = scaled(value[i], axis_most(&a), BOTTOM, TOP);

		put(out, "<path class=\"bar\" d=\"M", left);
		fprintf(out, " %dV", BOTTOM);
		put(out, "", y);
		put(out, "H", right);
		fprintf(out, "V%dz\"><title>%s: %s</title></path>\n", BOTTOM, name[i].s,
			quantity_text(c->y, value[i]).s);
		if ((count - 1 - i) % every == 0) {
			put(out, "<text x=\"", (left + right) / 2);
			fprintf(out, "\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", BOTTOM + 17, name[i].s);
		}
	}
	x_title(out, c->x_name, "", HEIGHT - 4);
	y_unit(out, &a);
	fputs("</svg>\n</figure>\n", out);
}

/* ---- dots ---- */

static struct axis dots_axis(enum quantity q, const struct chart_dot *dot, uint32_t count)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (uint32_t i = 0; i < count; i++) {
		least = dot[i].low < least ? dot[i].low : least;
		most = dot[i].high > most ? dot[i].high : most;
	}
	return axis_between(q, least, most, 4);
}

/* Of its name. Does what is said fit beside the last one? */
static unsigned dot_lines(const struct chart_dot *d, bool *fits)
{
	const char *rest = d->name;
	unsigned lines = 1;

	for (size_t line; rest[line = label_line(rest, NAME_RIGHT - NAME_LEFT)]; rest = label_rest(rest, line))
		lines++;
	*fits = label_width(rest) + APART + label_width(d->said) <= NAME_RIGHT - NAME_LEFT;
	return lines;
}

/* Where what is said does not fit somewhere, it has a line of its own everywhere. */
static bool dots_apart(const struct chart_dot *dot, uint32_t count)
{
	bool fits = true;

	for (uint32_t i = 0; i < count && fits; i++)
		(void)dot_lines(&dot[i], &fits);
	return !fits;
}

static int dot_height(const struct chart_dot *d, bool apart)
{
	bool fits;

	return ((int)dot_lines(d, &fits) + apart) * LINE;
}

static void dot_name(FILE *out, const char *name, int y)
{
	while (*name) {
		size_t line = label_line(name, NAME_RIGHT - NAME_LEFT);

		fprintf(out, "<text class=\"name\" x=\"%d\" y=\"%d\">", NAME_LEFT, y);
		html_text_part(out, name, line);
		fputs("</text>", out);
		name = label_rest(name, line);
		y += LINE;
	}
}

/* From y on; returns where the next one is. */
static int one_dot(FILE *out, const struct chart_dot *d, bool apart, const struct axis *a, int y)
{
	int below = y + dot_height(d, apart);

	dot_name(out, d->name, y + LINE);
	fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", NAME_RIGHT, below, d->said);
	if (d->low != d->high) {
		put(out, "<path class=\"whisker\" d=\"M", across(a, d->low));
		fprintf(out, " %dv6m0 -3H", below + 7);
		put(out, "", across(a, d->high));
		fputs("m0 -3v6\"/>", out);
	}
	put(out, "<circle cx=\"", across(a, d->mean));
	fprintf(out, "\" cy=\"%d\" r=\"4\" class=\"%s\"/>\n", below + 10, d->open ? "open" : "dot");
	return below + ROW;
}

void chart_dots(FILE *out, const struct chart *c, const struct chart_dot *dot, uint32_t count)
{
	struct axis a = dots_axis(c->y, dot, count);
	bool apart = dots_apart(dot, count);
	int bottom = 6, y = 3;

	for (uint32_t i = 0; i < count; i++)
		bottom += dot_height(&dot[i], apart) + ROW;
	figure_open(out, c);
	if (a.first)
		fprintf(out, "<p class=\"from\">The axis begins at %s, not at 0.</p>\n",
			quantity_mean(c->y, a.first * a.step).s);
	svg_open(out, c, bottom + 40);
	fprintf(out, "<desc id=\"%s-d\">%" PRIu32 " policies; their figures stand beside their names.</desc>\n", c->id,
		count);
	for (uint64_t i = 0; i <= a.ticks; i++) {
		int64_t x = scaled(i, a.ticks, DOTS_LEFT, DOTS_RIGHT);

		fprintf(out, "<path class=\"%s\" d=\"M", i || a.first ? "grid" : "base");
		put(out, "", x);
		fprintf(out, " 4V%d\"/>", bottom);
		if (i == 0 && a.first) /* longer than "0", and at the edge */
			fprintf(out, "<text x=\"0\" y=\"%d\">%s</text>\n", bottom + 15, axis_tick(&a, i).s);
		else {
			put(out, "<text x=\"", x);
			fprintf(out, "\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", bottom + 15, axis_tick(&a, i).s);
		}
	}
	for (uint32_t i = 0; i < count; i++)
		y = one_dot(out, &dot[i], apart, &a, y);
	if (a.first)
		fprintf(out, "<path class=\"base cut\" d=\"M%d %dl4 -5l4 10l4 -5H%d\"/>\n", DOTS_LEFT - 12, bottom,
			DOTS_RIGHT);
	x_title(out, c->x_name, a.unit, bottom + 33);
	fputs("</svg>\n</figure>\n", out);
}
