/* vmm/pack/moments.c: a bounded number of moments of a run of any length. */
#include "vmm/pack/moments.h"
#include "mm/port.h"

void moments_init(struct moments *m, uint32_t most)
{
	MM_ASSERT(most >= 2 && most <= MOMENTS_MAX, most, 0);
	*m = (struct moments){.most = most, .step_us = 1};
	for (uint32_t i = 0; i < most; i++)
		m->place[i] = i;
}

/* Of each step the first stays. */
static void thin(struct moments *m)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < m->count; i++) {
		uint32_t place = m->place[i];

		if (kept > 0 && m->time_us[i] / m->step_us == m->time_us[kept - 1] / m->step_us)
			continue;
		m->place[i] = m->place[kept];
		m->place[kept] = place;
		m->time_us[kept++] = m->time_us[i];
	}
	m->count = kept;
}

uint32_t moments_add(struct moments *m, uint64_t time_us)
{
	while (m->count == m->most && m->step_us < UINT64_C(1) << 62) {
		m->step_us *= 2;
		thin(m);
	}
	m->count -= m->count == m->most;
	m->time_us[m->count] = time_us;
	m->next_us = time_us - time_us % m->step_us + m->step_us;
	return m->place[m->count++];
}
