/* vmm/options_impl.h: key=value lists, for options.c, options_devices.c and options_numa.c alone. */
#ifndef SLAT_VMM_OPTIONS_IMPL_H
#define SLAT_VMM_OPTIONS_IMPL_H

#include "vmm/options.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* One key of a key=value list: what it is called and who takes its value. */
struct key {
	const char *name;
	int (*take)(struct run_options *o, const char *where, const char *value, struct failure *f);
	bool bare; /* it stands alone, without =VALUE; take() gets "" */
	/* Instead of take(): for a value of any length, which is not copied. */
	int (*text)(struct run_options *o, const char *where, struct options_text value, struct failure *f);
	/* Of text(): commas do not end it; the next part that has an equals sign does. */
	bool list;
};

int options_take_list(struct run_options *o, const char *option, const struct key *keys, size_t count, const char *list,
		      struct failure *f);
int options_take_switch(const char *where, const char *value, bool *out, struct failure *f);
int options_take_huge(const char *where, const char *value, enum pagetable_size *out, struct failure *f);

/* Does this word begin with one of these keys and an equals sign? */
bool options_has_key(const struct key *keys, size_t count, const char *word);
bool options_whole_number(const char *text, uint64_t most, uint64_t *out);

/* Of the devices' options, in options_devices.c. */
int options_set_disk(struct run_options *o, const char *value, struct failure *f);
int options_set_net(struct run_options *o, const char *value, struct failure *f);
int options_set_console(struct run_options *o, const char *value, struct failure *f);
int options_set_rng(struct run_options *o, const char *value, struct failure *f);
int options_set_balloon(struct run_options *o, const char *value, struct failure *f);
int options_set_iommu(struct run_options *o, const char *value, struct failure *f);

/* Of where memory lies, in options_numa.c. */
int options_set_zone(struct run_options *o, const char *value, struct failure *f);
int options_set_numa(struct run_options *o, const char *value, struct failure *f);
int options_set_placement(struct run_options *o, const char *value, struct failure *f);
int options_set_latency(struct run_options *o, const char *value, struct failure *f);
int options_set_latencies(struct run_options *o, const char *value, struct failure *f);
int options_set_strict(struct run_options *o, const char *value, struct failure *f);

/* Is this word a value for --rng or --iommu, which may stand without one, or a further one for the others? */
bool options_is_rng_value(const char *word);
bool options_is_iommu_value(const char *word);
bool options_is_zone_value(const char *word);
bool options_is_numa_value(const char *word);

/* What can only be judged once all is known. First of all how much RAM there is, then what a guest is shown of it. */
int options_judge_zones(struct run_options *o, struct failure *f);
int options_judge_numa(struct run_options *o, struct failure *f);

/* What can only be judged once all is known; and which devices are behind the IOMMU. */
int options_judge_devices(struct run_options *o, struct failure *f);

#endif
