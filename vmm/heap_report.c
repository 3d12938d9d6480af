/* vmm/heap_report.c: reports of heaps in words. */
#include "vmm/heap_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/source_line.h"

/* ---- text ---- */

#define LINES_AT_ONCE 16u    /* of one stack */
#define TEXT_BYTES    65536u /* the longest report has 3 stacks of 48 calls */
#define SCRATCH_TRIES 5u     /* each with twice the room: stacks are bounded, so the last has enough but for luck */

struct text { /* too large for the stack of who called malloc() */
	int fd;
	int failed; /* why, in errno's numbers; 0: it did not */
	size_t length;
	char at[TEXT_BYTES], line[512], name[SOURCE_LINE_TEXT];
	struct source_line lines[LINES_AT_ONCE];
};

static void *pages_new(size_t bytes)
{
	void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return pages == MAP_FAILED ? NULL : pages;
}

/* For whoever has no memory for one: one at a time. */
static struct text spare;
static bool spare_taken;

static struct text *text_new(int fd)
{
	struct text *t = pages_new(sizeof(*t));

	if (!t && !__atomic_exchange_n(&spare_taken, true, __ATOMIC_ACQUIRE))
		t = &spare;
	if (t)
		t->fd = fd;
	return t;
}

static void flush(struct text *t)
{
	for (size_t done = 0; done < t->length && !t->failed;) {
		ssize_t wrote = write(t->fd, t->at + done, t->length - done);

		if (wrote > 0)
			done += (size_t)wrote;
		else if (wrote == 0 || errno != EINTR)
			t->failed = wrote == 0 ? EIO : errno;
	}
	t->length = 0;
}

/* 0, or why not all was written. */
static int text_end(struct text *t)
{
	int failed;

	flush(t);
	failed = t->failed;
	t->failed = 0;
	if (t == &spare)
		__atomic_store_n(&spare_taken, false, __ATOMIC_RELEASE);
	else
		munmap(t, sizeof(*t));
	return failed;
}

static void put(struct text *t, const char *from, size_t length)
{
	if (length > sizeof(t->at) - t->length)
		flush(t);
	if (length > sizeof(t->at))
		length = sizeof(t->at);
	memcpy(t->at + t->length, from, length);
	t->length += length;
}

static __attribute__((format(printf, 2, 3))) void say(struct text *t, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(t->line, sizeof(t->line), format, args);
	va_end(args);
	if (length > 0)
		put(t, t->line, (size_t)length < sizeof(t->line) ? (size_t)length : sizeof(t->line) - 1);
}

/* ---- one report ---- */

/* One of n calls that were looked up together, and came back sorted. */
static void say_line(struct text *t, const char *what, uint64_t pc, const struct source_line *lines, unsigned n)
{
	const char *name = "(deeper calls not recorded)";
	unsigned i = 0;

	while (i < n && lines[i].pc != pc)
		i++;
	if (pc != CALL_STACK_CUT) {
		source_line_text(&lines[i], t->name, sizeof(t->name));
		name = t->name;
	}
	say(t, "  %-13s %s\n", what, name);
}

static void say_stack(struct text *t, const char *what, const struct call_stack *stack)
{
	struct source_line *lines = t->lines;

	for (unsigned first = 0, n; first < stack->count; first += n) {
		n = stack->count - first < LINES_AT_ONCE ? stack->count - first : LINES_AT_ONCE;
		for (unsigned i = 0; i < n; i++)
			lines[i].pc = stack->pc[first + i];
		source_lines_find(lines, n);
		for (unsigned i = 0; i < n; i++)
			say_line(t, first + i == 0 ? what : "", stack->pc[first + i], lines, n);
	}
}

static void say_where(struct text *t, const struct checked_report *r)
{
	if (!r->block) {
		say(t, "%p\n", r->at);
		return;
	}
	if (r->kind == CHECKED_WRONG_HEAP) {
		say(t, "the block at %p\n", r->block);
		return;
	}
	if (r->kind == CHECKED_WRONG_SIZE)
		say(t, "%zu bytes", r->length);
	else if (r->kind == CHECKED_DOUBLE_FREE)
		say(t, "all");
	else
		say(t, "%zu byte%s at offset %" PRId64, r->length, r->length == 1 ? "" : "s", r->offset);
	say(t, " of a block of %zu bytes at %p\n", r->bytes, r->block);
}

static struct text *report_begin(int fd)
{
	static const char none[] = "slat: heap: there is something to report, and no memory to write it with\n";
	struct text *t = text_new(fd);

	if (!t && write(fd, none, sizeof(none) - 1) < 0)
		return NULL; /* then nobody can be told */
	return t;
}

void heap_report_write(int fd, const struct checked_report *r, const char *no_call)
{
	struct text *t = report_begin(fd);

	if (!t)
		return;
	say(t, "slat: heap: %s: ", checked_kind_name(r->kind));
	say_where(t, r);
	if (r->now.count == 0 && no_call)
		say(t, "  %s\n", no_call);
	say_stack(t, "seen in", &r->now);
	say_stack(t, "allocated in", &r->allocated);
	say_stack(t, "freed in", &r->freed);
	text_end(t);
}

void heap_report_refusal(int fd, const struct inject_refusal *r, const struct call_stack *asked)
{
	struct text *t = report_begin(fd);

	if (!t)
		return;
	say(t, "slat: heap: refused, as it was told to: allocation %" PRIu64 ", ", r->nth);
	say(t, "%s %zu byte%s", r->align == 0 ? "a growth to" : "of", r->bytes, r->bytes == 1 ? "" : "s");
	if (r->align > HEAP_ALIGN)
		say(t, " aligned to %zu", r->align);
	say(t, "\n");
	say_stack(t, "asked in", asked);
	text_end(t);
}

/* ---- leaks ---- */

struct leaks {
	struct text *text;
	struct source_line *lines; /* sorted by pc */
	size_t n;
};

static size_t name_of(void *self, uint64_t pc, char *out, size_t room)
{
	const struct leaks *l = self;
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (l->lines[middle].pc < pc)
			low = middle + 1;
		else
			high = middle;
	}
	return low < l->n && l->lines[low].pc == pc ? source_line_text(&l->lines[low], out, room) : 0;
}

static void line_out(void *self, const char *text, size_t length)
{
	struct leaks *l = self;

	put(l->text, text, length);
	put(l->text, "\n", 1);
}

/* Of all stacks with something live, as far as there is room: threads that still run make more of them between two
 * calls. `to` NULL: counts them. */
static size_t pcs_live(const struct leak *l, const struct call_stacks *stacks, struct source_line *to, size_t room)
{
	uint32_t count = call_stacks_stats_read(stacks).stacks;
	size_t n = 0;

	for (uint32_t stack = 1; stack <= count; stack++) {
		struct call_stack s = call_stacks_read(stacks, stack);

		if (leak_site_read(l, stack).sampled == 0)
			continue;
		if (s.count > room - n)
			break;
		for (unsigned i = 0; to && i < s.count; i++)
			to[n + i].pc = s.pc[i];
		n += s.count;
	}
	return n;
}

/* Nothing was printed where the scratch is too small, so it can be tried again. */
static int print_leaks(const struct leak *l, enum heap_report_form form, const struct leak_print *print)
{
	enum mm_err err = MM_ENOMEM;

	for (unsigned tries = 0; tries < SCRATCH_TRIES && err == MM_ENOMEM; tries++) {
		size_t bytes = leak_scratch_bytes(l) << tries;
		void *scratch = pages_new(bytes);

		if (!scratch)
			return ENOMEM;
		err = form == HEAP_REPORT_TREE ? leak_print_tree(l, scratch, bytes, print)
					       : leak_print_folded(l, scratch, bytes, print);
		munmap(scratch, bytes);
	}
	return err == MM_OK ? 0 : EAGAIN;
}

int heap_report_leaks(int fd, const struct leak *l, const struct call_stacks *stacks, enum heap_report_form form,
		      uint64_t least)
{
	struct leaks leaks = {.text = text_new(fd)};
	const struct leak_print print = {.line = line_out, .name = name_of, .self = &leaks, .least = least};
	size_t room = pcs_live(l, stacks, NULL, SIZE_MAX), names_bytes = (room + 1) * sizeof(*leaks.lines);
	int failed, unwritten;

	if (!leaks.text)
		return ENOMEM;
	leaks.lines = pages_new(names_bytes);
	if (leaks.lines)
		leaks.n = pcs_live(l, stacks, leaks.lines, room);
	source_lines_find(leaks.lines, leaks.n);
	failed = print_leaks(l, form, &print);
	unwritten = text_end(leaks.text);
	if (leaks.lines)
		munmap(leaks.lines, names_bytes);
	return failed ? failed : unwritten;
}
