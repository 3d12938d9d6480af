/* vmm/pack/json_file.c: a file of JSON. jansson's own json_load_file() takes a file that cannot be read for one that
 * ends there, and says so of what the user wrote. Where it has no memory, it mostly says nothing, not even which error
 * it was; of a word that it has no memory for, that it is none: that cannot be told apart. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/pack/json_file.h"

json_t *json_file_read(const char *path, const char *option, struct failure *f)
{
	FILE *file = fopen(path, "re");
	json_t *root = NULL;
	json_error_t error;

	errno = file ? 0 : errno;
	if (file)
		root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
	if (!file || ferror(file))
		(void)fail(f, EXIT_HOST, "%s%s: it cannot be read: %s", option, path, strerror(errno ? errno : EIO));
	else if (!root && (!error.text[0] || json_error_code(&error) == json_error_out_of_memory))
		(void)fail(f, EXIT_HOST, "%s%s: no memory to read it", option, path);
	else if (!root)
		(void)fail(f, EXIT_USAGE, "%s%s: line %d: %s", option, path, error.line, error.text);
	if (file)
		fclose(file);
	if (f->code) {
		json_decref(root);
		root = NULL;
	}
	return root;
}
