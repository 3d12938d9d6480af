#include "guests/runtime/step.h"

#include <stddef.h>

#include "guests/runtime/console.h"
#include "guests/runtime/ring3.h"

static struct wrong {
	const char *what;
	uint64_t a, b;
} wrong;

bool step_wrong(const char *what, uint64_t a, uint64_t b)
{
	if (!wrong.what)
		wrong = (struct wrong){what, a, b};
	return false;
}

void step_forgive(void)
{
	wrong.what = NULL;
}

static uint64_t in_ring3(void *step)
{
	return ((const struct step *)step)->run();
}

bool step_run(const char *guest, const struct step *step)
{
	static struct step current; /* where ring 3 can read it */

	current = *step;
	step_forgive();
	if (ring3_call(in_ring3, &current))
		return true;
	console_print("%s: %s: %s (0x%lx, 0x%lx)\n", guest, step->name, wrong.what ? wrong.what : "failed", wrong.a,
		      wrong.b);
	return false;
}

bool steps_run(const char *guest, const struct step *steps, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!step_run(guest, &steps[i]))
			return false;
	return true;
}
