/* tests/heap_bugs.c: one planted bug a run: heap_bugs CASE. A marker in the same line
 * says what the line does: tests/heap_bugs.sh looks it up, and asks that the report of
 * the library names it. Compiled without frame pointers, as most programs are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APART __attribute__((noinline)) static

/* The compiler knows malloc() and free(), and would see the bugs itself. */
static void *(*volatile take)(size_t) = malloc;
static void (*volatile give)(void *) = free;
static void *(*volatile grow)(void *, size_t) = realloc;
static void *(*volatile take_zeroed)(size_t, size_t) = calloc;
static int (*volatile align_at)(void **, size_t, size_t) = posix_memalign;
static ssize_t (*volatile read_line)(char **, size_t *, FILE *) = getline;
static char *(*volatile copy)(const char *) = strdup;
static int sink;

APART void spoil(char *at)
{
	volatile char *byte = at;

	*byte ^= 0x55;
}

APART void overrun(void)
{
	char *p = take(24); /* overrun allocated */

	spoil(p + 24);
	give(p); /* overrun seen */
	sink++;
}

APART void underrun(void)
{
	char *p = take(40); /* underrun allocated */

	spoil(p - 1);
	give(p); /* underrun seen */
	sink++;
}

APART void use_after_free(void)
{
	char *p = take(100); /* use_after_free allocated */

	give(p); /* use_after_free freed */
	spoil(p + 7);
	sink++;
}

APART void double_free(void)
{
	char *p = take(64); /* double_free allocated */

	give(p); /* double_free freed */
	sink++;
	give(p); /* double_free seen */
	sink++;
}

APART void double_free_large(void)
{
	char *p = take(3 << 20); /* double_free_large allocated */

	give(p); /* double_free_large freed */
	sink++;
	give(p); /* double_free_large seen */
	sink++;
}

APART void double_realloc(void)
{
	char *p = take(64), *q; /* double_realloc allocated */

	q = grow(p, 500); /* double_realloc freed */
	sink++;
	grow(p, 600); /* double_realloc seen */
	sink++;
	give(q);
}

APART void middle(void)
{
	char *p = take(100); /* middle allocated */

	give(p + 16); /* middle seen */
	sink++;
	give(p);
}

/* Of a small block, where an object could lie; and nothing is written there before it is known. */
APART void middle_at_once(void)
{
	char *p = take(100);

	memset(p, 'a', 100);
	give(p + 16);
	sink++;
	give(take(100));
}

APART void realloc_freed(void)
{
	char *p = take(64);

	give(p);
	grow(p, 200);
	sink++;
}

/* What would stay where it is. */
APART void realloc_freed_here(void)
{
	char *p = take(64);

	give(p);
	grow(p, 60);
	sink++;
}

APART void realloc_middle(void)
{
	grow((char *)take(100) + 32, 90);
	sink++;
}

APART void foreign(void)
{
	char here[64] __attribute__((aligned(16)));

	memset(here, 0, sizeof(here));
	give(here + 16); /* foreign seen */
	sink += here[3];
}

APART void leak(void)
{
	for (unsigned i = 0; i < 100; i++)
		spoil(take(1000)); /* leak allocated */
	sink++;
}

/* libc has no frame pointers: who called it is known by tables. */
APART void by_strdup(void)
{
	char *p = copy("some words"); /* by_strdup by */

	spoil(p + 11);
	give(p); /* by_strdup seen */
	sink++;
}

APART void by_getline(void)
{
	char *line = NULL, text[] = "one line\n";
	size_t room = 0;
	FILE *f = fmemopen(text, sizeof(text), "r");

	sink += read_line(&line, &room, f) < 0; /* by_getline by */
	spoil(line + room);
	give(line); /* by_getline seen */
	sink++;
	fclose(f);
}

APART void by_posix_memalign(void)
{
	void *p = NULL;

	sink += align_at(&p, 64, 50); /* by_posix_memalign allocated */
	spoil((char *)p + 50);
	give(p); /* by_posix_memalign seen */
	sink++;
}

APART void by_calloc(void)
{
	char *p = take_zeroed(5, 10); /* by_calloc allocated */

	spoil(p + 50);
	give(p); /* by_calloc seen */
	sink++;
}

/* Of all its calls fewer are recorded; it must not seem to begin where that ends. */
APART void *deep(unsigned depth)
{
	void *p = depth > 1 ? deep(depth - 1) : take(100);

	sink++;
	return p;
}

APART void deep_left(void)
{
	for (unsigned i = 0; i < 7; i++)
		deep(60);
	sink++;
}

APART void deep_right(void)
{
	for (unsigned i = 0; i < 9; i++)
		deep(100);
	sink++;
}

/* deep(), deeper(), main(): 48 and 49 calls. */
APART void deeper(void)
{
	sink++;
	deep(46);
	deep(47);
	deep(47);
	deep_left();
	deep_right();
}

APART void nothing(void)
{
	give(take(10));
	sink++;
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"overrun", overrun},
	{"underrun", underrun},
	{"use_after_free", use_after_free},
	{"double_free", double_free},
	{"double_free_large", double_free_large},
	{"double_realloc", double_realloc},
	{"middle", middle},
	{"middle_at_once", middle_at_once},
	{"realloc_freed", realloc_freed},
	{"realloc_freed_here", realloc_freed_here},
	{"realloc_middle", realloc_middle},
	{"foreign", foreign},
	{"leak", leak},
	{"by_strdup", by_strdup},
	{"by_getline", by_getline},
	{"by_posix_memalign", by_posix_memalign},
	{"by_calloc", by_calloc},
	{"deeper", deeper},
	{"nothing", nothing},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(*cases); i++)
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return sink < 0;
		}
	return 2;
}
