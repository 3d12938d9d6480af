/* tests/heap_bugs.c: one planted bug a run: heap_bugs CASE. A marker in the same line
 * says what the line does: tests/heap_bugs.sh looks it up, and asks that the report of
 * the library names it. Compiled without frame pointers, as most programs are. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APART __attribute__((noinline)) static

/* The compiler knows malloc() and free(), and would see the bugs itself. */
static void *(*volatile take)(size_t) = malloc;
static void (*volatile give)(void *) = free;
static void *(*volatile grow)(void *, size_t) = realloc;
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

/* Its magazine is emptied into slabs, where it cannot lie. */
APART void middle_later(void)
{
	give((char *)take(100) + 16);
	malloc_trim(0);
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
	{"middle_later", middle_later},
	{"foreign", foreign},
	{"leak", leak},
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
