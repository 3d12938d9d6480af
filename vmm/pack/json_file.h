/* vmm/pack/json_file.h: a file of JSON, read whole. Threads: any. */
#ifndef SLAT_VMM_PACK_JSON_FILE_H
#define SLAT_VMM_PACK_JSON_FILE_H

#include <jansson.h>

#include "vmm/failure.h"

/* The caller's. NULL and one sentence, which begins with `option` ("--fleet: ", ""): EXIT_USAGE, it is no JSON, or has
 * a key twice; EXIT_HOST, it cannot be read, or no memory. */
json_t *json_file_read(const char *path, const char *option, struct failure *f);

#endif
