/* The command line: any words, at most 15. A refusal has a sentence; what is taken is in range. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/options.h"

#define WORDS_MAX 15

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In order, disjoint, whole frames. */
static bool sound(const struct guest_ranges *r)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < r->count; i++) {
		if (r->range[i].gpa < end || r->range[i].bytes == 0 || (r->range[i].gpa | r->range[i].bytes) % 4096)
			return false;
		end = r->range[i].gpa + r->range[i].bytes;
	}
	return r->count <= GUEST_RANGES_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1), *argv[WORDS_MAX];
	struct run_options o;
	struct failure f = {0};
	int argc = 0;

	memcpy(copy, data, size);
	copy[size] = '\0';
	for (size_t at = 0; at < size && argc < WORDS_MAX; at += strlen(copy + at) + 1) {
		copy[at + strcspn(copy + at, "\n")] = '\0';
		argv[argc++] = copy + at;
	}
	if (options_parse(argc, argv, &o, &f)) {
		if (!f.text[0] || f.code != EXIT_USAGE)
			abort();
	} else if (!o.help && (!o.image || !o.cpus || o.memory.bytes < OPTIONS_MEMORY_MIN || o.memory.bytes % 4096 ||
			       o.pool.bytes < o.memory.bytes || !sound(&o.ranges))) {
		abort();
	}
	free(copy);
	return 0;
}
