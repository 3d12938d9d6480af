/* vmm/pack/fleet_file.c: a fleet of several kinds of hosts, as a JSON file says it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/pack/fleet.h"
#include "vmm/pack/fleet_file.h"
#include "vmm/pack/json_file.h"

#define LATENCY_MAX  4000000 /* ns */
#define DISTANCE_MIN 10
#define DISTANCE_MAX 255

static int matrix_read(struct fleet_matrix *m, const char *key, json_t *rows, json_int_t least, json_int_t most,
		       struct failure *f)
{
	size_t n = json_array_size(rows);

	if (n == 0 || n > PLACEMENT_NODES_MAX)
		return fail(f, EXIT_USAGE, "%s is no list of 1 to %u rows", key, PLACEMENT_NODES_MAX);
	for (size_t from = 0; from < n; from++) {
		json_t *row = json_array_get(rows, from);

		if (json_array_size(row) != n)
			return fail(f, EXIT_USAGE, "%s has %zu rows, and row %zu is no list of as many", key, n, from);
		for (size_t to = 0; to < n; to++) {
			json_t *value = json_array_get(row, to);
			json_int_t number = json_integer_value(value);

			if (!json_is_integer(value) || number < least || number > most)
				return fail(f, EXIT_USAGE,
					    "%s, row %zu: what is at %zu is no whole number from %" JSON_INTEGER_FORMAT
					    " to %" JSON_INTEGER_FORMAT,
					    key, from, to, least, most);
			m->at[from][to] = (uint32_t)number;
		}
	}
	m->nodes = (uint32_t)n;
	return 0;
}

/* To the list: no value can be more than one. */
static int word_read(struct fleet_kind *k, const char *key, json_t *value, struct failure *f)
{
	size_t used = strlen(k->list), room = sizeof(k->list) - used;
	const char *comma = used ? "," : "", *word = json_string_value(value);
	int written;

	if (strpbrk(key, ",=") || (word ? strchr(word, ',') != NULL : !json_is_integer(value)))
		return fail(f, EXIT_USAGE, "%.64s is neither a word nor a whole number", key);
	if (word)
		written = snprintf(k->list + used, room, "%s%s=%s", comma, key, word);
	else
		written = snprintf(k->list + used, room, "%s%s=%" JSON_INTEGER_FORMAT, comma, key,
				   json_integer_value(value));
	return written < (int)room ? 0 : fail(f, EXIT_USAGE, "%.64s: its value is too long", key);
}

static int kind_read(struct fleet_kind *k, json_t *object, struct failure *f)
{
	const char *key;
	json_t *value;

	*k = (struct fleet_kind){.hosts = 1};
	if (!json_is_object(object))
		return fail(f, EXIT_USAGE, "it is no object, such as {\"hosts\": 20, \"memory\": \"384G\"}");
	json_object_foreach(object, key, value)
	{
		json_int_t hosts = json_integer_value(value);

		if (strcmp(key, "latency") == 0) {
			(void)matrix_read(&k->latency_ns, key, value, 1, LATENCY_MAX, f);
		} else if (strcmp(key, "distance") == 0) {
			(void)matrix_read(&k->distance, key, value, DISTANCE_MIN, DISTANCE_MAX, f);
		} else if (strcmp(key, "hosts") != 0) {
			(void)word_read(k, key, value, f);
		} else if (json_is_integer(value) && hosts >= 1 && hosts <= FLEET_HOSTS_MAX) {
			k->hosts = (uint32_t)hosts;
		} else {
			(void)fail(f, EXIT_USAGE, "hosts is no whole number from 1 to %u", FLEET_HOSTS_MAX);
		}
	}
	return f->code;
}

static int kinds_read(const char *path, json_t *root,
		      int (*take)(void *self, const struct fleet_kind *k, struct failure *f), void *self,
		      struct failure *f)
{
	struct failure its = {0};
	struct fleet_kind k; /* 33 KiB */
	json_t *object;
	size_t i;

	if (json_array_size(root) == 0)
		return fail(f, EXIT_USAGE,
			    "--fleet: %s is no list of kinds of hosts: [{\"hosts\": 20, \"memory\": \"384G\"}]", path);
	json_array_foreach(root, i, object)
	{
		if (kind_read(&k, object, &its) || take(self, &k, &its))
			return fail(f, (enum exit_code)its.code, "--fleet: %.300s, kind %zu (from 0): %.400s", path, i,
				    its.text);
	}
	return 0;
}

int fleet_file_read(const char *path, int (*take)(void *self, const struct fleet_kind *k, struct failure *f),
		    void *self, struct failure *f)
{
	json_t *root = json_file_read(path, "--fleet: ", f);

	if (root)
		(void)kinds_read(path, root, take, self, f);
	json_decref(root);
	return f->code;
}
