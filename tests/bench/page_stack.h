/* tests/bench/page_stack.h: pages of an arena for tables, the cheapest way: a stack of those that are free. */
#ifndef SLAT_TESTS_BENCH_PAGE_STACK_H
#define SLAT_TESTS_BENCH_PAGE_STACK_H

#include "mm/pagetable.h"

struct page_stack {
	uint32_t *page; /* free ones: [0, top); lent */
	uint64_t top;
};

/* All of [0, frames), the lowest first. */
static inline void page_stack_fill(struct page_stack *s, uint64_t frames)
{
	for (s->top = 0; s->top < frames; s->top++)
		s->page[s->top] = (uint32_t)(frames - 1 - s->top);
}

static inline enum mm_err page_stack_get(void *self, struct pfn *out)
{
	struct page_stack *s = self;

	if (s->top == 0)
		return MM_ENOMEM;
	out->n = s->page[--s->top];
	return MM_OK;
}

static inline void page_stack_put(void *self, struct pfn page)
{
	struct page_stack *s = self;

	s->page[s->top++] = (uint32_t)page.n;
}

static inline struct pagetable_pages page_stack_pages(struct page_stack *s)
{
	return (struct pagetable_pages){s, page_stack_get, page_stack_put};
}

#endif
