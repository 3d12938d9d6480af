#include "vmm/ids.h"

#include <stdio.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/sys.h"

#define WORDS (IDS_MAX / 64)

void ids_add(struct ids *s, unsigned id)
{
	MM_ASSERT(id < IDS_MAX, id, 0);
	s->word[id / 64] |= UINT64_C(1) << id % 64;
}

bool ids_has(const struct ids *s, unsigned id)
{
	return id < IDS_MAX && s->word[id / 64] >> id % 64 & 1;
}

unsigned ids_count(const struct ids *s)
{
	unsigned count = 0;

	for (unsigned i = 0; i < WORDS; i++)
		count += (unsigned)__builtin_popcountll(s->word[i]);
	return count;
}

unsigned ids_next(const struct ids *s, unsigned from)
{
	unsigned i = from / 64;
	uint64_t word = from < IDS_MAX ? s->word[i] & UINT64_MAX << from % 64 : 0;

	while (!word && i + 1 < WORDS)
		word = s->word[++i];
	return word ? i * 64 + (unsigned)__builtin_ctzll(word) : IDS_MAX;
}

bool ids_within(const struct ids *a, const struct ids *b)
{
	uint64_t outside = 0;

	for (unsigned i = 0; i < WORDS; i++)
		outside |= a->word[i] & ~b->word[i];
	return outside == 0;
}

void ids_keep(struct ids *a, const struct ids *b)
{
	for (unsigned i = 0; i < WORDS; i++)
		a->word[i] &= b->word[i];
}

struct parse {
	struct ids set;
	bool too_large;
};

static void add(void *self, unsigned id)
{
	struct parse *p = self;

	if (id < IDS_MAX)
		ids_add(&p->set, id);
	else
		p->too_large = true;
}

bool ids_parse(struct ids *s, const char *list)
{
	struct parse p = {0};

	if (!sys_list(list, add, &p) || p.too_large)
		return false;
	*s = p.set;
	return true;
}

struct ids_text ids_format(const struct ids *s)
{
	struct ids_text text = {"none"};
	size_t used = 0;

	for (unsigned first = ids_next(s, 0), last; first < IDS_MAX; first = ids_next(s, last + 1)) {
		for (last = first; ids_has(s, last + 1); last++)
			continue;
		if (used + sizeof(",8191-8191...") > sizeof(text.s)) {
			snprintf(text.s + used, sizeof(text.s) - used, "...");
			break;
		}
		used += (size_t)snprintf(text.s + used, sizeof(text.s) - used, last > first ? "%s%u-%u" : "%s%u",
					 used ? "," : "", first, last);
	}
	return text;
}
