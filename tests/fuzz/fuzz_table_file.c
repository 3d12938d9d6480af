/* Any bytes as a file of a table, opened and then read by all that reads it.
 * Input, first byte odd: the file itself, its sum mended where it has room for
 * one. Even: a file is made of it, since a table page is longer than what a fuzzer
 * likes to change: 56 bytes of header, how many pages, 6 bytes of frame number for
 * each, then entries: page, index (2 bytes), and 8 bytes.
 *
 * What is checked: a file that is taken can be walked to its end; the engine and
 * the steps agree on each address; no run is longer than the leaves that were counted. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/must.h"
#include "vmm/table_file.h"

#define PAGES_MAX 8u
#define HEAD	  TABLE_FILE_HEAD_BYTES
#define MADE	  56u /* bytes of the header that the input says */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at;
	size_t left;
};

static void take(struct input *in, uint8_t *to, size_t bytes)
{
	size_t some = bytes < in->left ? bytes : in->left;

	memcpy(to, in->at, some);
	in->at += some;
	in->left -= some;
}

static uint8_t *make_file(struct input in, size_t *size)
{
	const uint64_t magic = TABLE_FILE_MAGIC;
	uint8_t pages = 0, *file;

	if (in.left <= MADE)
		return NULL;
	pages = in.at[MADE] % (PAGES_MAX + 1);
	*size = HEAD + pages * TABLE_FILE_PAGE_BYTES + TABLE_FILE_SUM_BYTES;
	file = calloc(1, *size);
	MUST(file);
	take(&in, file, MADE);
	file[56] = pages; /* as a header has it */
	in.at++;
	in.left--;
	for (unsigned i = 0; i < pages; i++)
		take(&in, file + HEAD + i * TABLE_FILE_PAGE_BYTES, 6);
	while (pages && in.left >= 11) {
		size_t page = in.at[0] % pages, index = (in.at[1] | (size_t)in.at[2] << 8) % TABLE_FILE_ENTRIES;

		take(&in, file, 3); /* over the magic, which comes last */
		take(&in, file + HEAD + page * TABLE_FILE_PAGE_BYTES + 8 + index * 8, 8);
	}
	memcpy(file, &magic, sizeof(magic));
	return file;
}

static void check_walk(const struct table_file *t, uint64_t gpa)
{
	struct table_step step[PAGETABLE_LEVELS];
	struct pagetable_leaf leaf;
	unsigned steps;

	gpa &= (UINT64_C(1) << PAGETABLE_INPUT_BITS) - 1;
	steps = table_file_steps(t, gpa, step);
	MUST(steps >= 1 && steps <= PAGETABLE_LEVELS);
	MUST(pagetable_walk(&t->table, gpa, &leaf) == (step[steps - 1].kind == TABLE_LEAF));
}

static void count_leaf(void *self, const struct pagetable_leaf *leaf)
{
	*(uint64_t *)self += leaf->accessed || leaf->dirty;
}

static void check_all(struct table_file *t)
{
	uint64_t bytes = 0, leaves[PAGETABLE_SIZES] = {0}, marked = 0;
	const struct pagetable_marked tell = {&marked, count_leaf};
	struct pagetable_run run;

	for (uint64_t at = 0; pagetable_next_run(&t->table, at, &run); at = run.in + run.bytes) {
		bytes += run.bytes;
		for (unsigned size = 0; size < PAGETABLE_SIZES; size++)
			leaves[size] += run.leaves[size];
		check_walk(t, run.in);
		check_walk(t, run.in - 1);
		check_walk(t, run.in + run.bytes);
		MUST(pagetable_harvest(&t->table, run.in, run.bytes, 0, &tell, NULL) == MM_OK);
	}
	MUST(bytes == t->bytes && memcmp(leaves, t->leaves, sizeof(leaves)) == 0);
	MUST(marked <= leaves[0] + leaves[1] + leaves[2]);
	MUST(t->reached >= 1 && t->reached <= t->pages);
	for (uint64_t i = 0; i < t->odd && i < TABLE_FILE_ODD_MAX; i++) {
		MUST(t->first_odd[i].why && t->first_odd[i].level < PAGETABLE_LEVELS);
		check_walk(t, t->first_odd[i].gpa);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct failure f = {0};
	struct table_file t;
	uint8_t *file = NULL;

	if (size == 0)
		return 0;
	if (data[0] & 1) {
		file = malloc(size);
		MUST(file);
		memcpy(file, data + 1, --size);
	} else {
		file = make_file((struct input){data + 1, size - 1}, &size);
	}
	if (!file)
		return 0;
	if (size >= HEAD + TABLE_FILE_SUM_BYTES && size % 8 == 0) {
		uint64_t sum = table_file_sum(file, size);

		memcpy(file + size - TABLE_FILE_SUM_BYTES, &sum, sizeof(sum));
	}
	if (table_file_open(&t, file, size, &f))
		MUST((f.code == EXIT_IMAGE || f.code == EXIT_HOST) && f.text[0]);
	else
		check_all(&t);
	table_file_close(&t);
	free(file);
	return 0;
}
