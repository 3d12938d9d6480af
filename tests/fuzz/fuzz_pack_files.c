/* Any bytes as a file of slat sweep (first byte even), or of slat pack --fleet (odd).
 *
 * What is checked: what is refused has a sentence and an exit code; of a sweep that is taken, each point has a
 * name of its own, is one rank's alone, and none is finished; hosts that are taken make a fleet, or a
 * sentence says why they do not; said as slat pack --json says them, they are the same. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/must.h"
#include "vmm/pack/pack_json.h"
#include "vmm/pack/sweep.h"

#define BYTES_MAX 600u /* so that what it crosses is thousands of points, not millions */
#define HOSTS_MAX 1000u
#define RANKS	  3u
#define NO_FOLDER "/nonexistent"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_say(const struct failure *f)
{
	MUST(f->code == EXIT_USAGE || f->code == EXIT_HOST);
	MUST(f->text[0] != '\0');
}

static void sweep(const char *path)
{
	struct failure f = {0};
	struct sweep s;

	if (sweep_open(&s, path, NO_FOLDER, &f)) {
		must_say(&f);
		sweep_close(&s);
		return;
	}
	MUST(s.points >= 1 && s.points <= SWEEP_POINTS_MAX);
	MUST(sweep_read_done(&s, NULL, &f) == 0);
	for (uint32_t i = 0; i < s.points; i++) {
		unsigned ranks = 0;

		MUST(!s.point[i].done && (i == 0 || strcmp(s.point[i].name, s.point[i - 1].name) != 0));
		for (uint32_t r = 0; r < RANKS; r++)
			ranks += sweep_is_mine(&s, i, (struct sweep_rank){r, RANKS});
		MUST(ranks == 1);
	}
	sweep_close(&s);
}

/* Not those that would need gigabytes for their books. */
static bool small(const struct pack_options *o)
{
	uint64_t hosts = 0;

	for (uint32_t i = 0; i < o->pack.fleet.shapes; i++)
		hosts += o->shape[i].hosts;
	return hosts <= HOSTS_MAX;
}

/* Hosts as pack_json() says them are the same hosts. */
static void must_say_again(const struct pack_options *o)
{
	const struct experiment nothing = {0};
	json_t *root = pack_json(o, &nothing);
	char option[] = "--fleet", trace[] = "t", path[64];
	char *words[] = {option, path, trace};
	struct failure f = {0};
	struct pack_options again;
	int file = memfd_create("again", MFD_CLOEXEC);

	MUST(file >= 0 && root);
	MUST(json_dumpfd(json_object_get(json_object_get(root, "experiment"), "hosts"), file, JSON_COMPACT) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	MUST(pack_options_parse(3, words, &again, &f) == 0);
	MUST(again.pack.fleet.shapes == o->pack.fleet.shapes);
	MUST(memcmp(again.shape, o->shape, o->pack.fleet.shapes * sizeof(*o->shape)) == 0);
	pack_options_free(&again);
	json_decref(root);
	close(file);
}

static void fleet(char *path)
{
	char option[] = "--fleet", trace[] = "t";
	char *words[] = {option, path, trace};
	struct failure f = {0};
	struct pack_options o;

	if (pack_options_parse(3, words, &o, &f)) {
		must_say(&f);
	} else {
		must_say_again(&o);
	}
	if (!f.code && small(&o)) {
		struct fleet *made = fleet_open(&o.pack.fleet, &f);

		if (made)
			MUST(fleet_check(made));
		else
			must_say(&f);
		fleet_close(made);
	}
	pack_options_free(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	int file;

	if (size < 1 || size > BYTES_MAX)
		return 0;
	file = memfd_create("file", MFD_CLOEXEC);
	MUST(file >= 0 && write(file, data + 1, size - 1) == (ssize_t)size - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (data[0] % 2)
		fleet(path);
	else
		sweep(path);
	close(file);
	return 0;
}
