/* vmm/pack/pack_json.h: an experiment and its figures, for programs; slat.1 has the keys. Pure; any thread. */
#ifndef SLAT_VMM_PACK_PACK_JSON_H
#define SLAT_VMM_PACK_PACK_JSON_H

#include <jansson.h>

#include "vmm/pack/experiment.h"

/* The caller's; NULL: no memory. */
json_t *pack_json(const struct pack_options *o, const struct experiment *e);

#endif
