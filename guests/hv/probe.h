/* guests/hv/probe.h: one access by the inner guest, and what came of it.
 * Threads: one. */
#ifndef SLAT_GUESTS_HV_PROBE_H
#define SLAT_GUESTS_HV_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/hv/script.h"

struct inner_cpu;

/* Stamps the frames of HV_DATA, and lays out home. */
void probe_init(const struct inner_cpu *with, const struct hv_header *header);

/* The table that is walked from now on; pointer is its EPTP or nCR3. */
void probe_table(const struct hv_table *table, uint64_t pointer);

/* Its entries have changed: what the CPU remembers of them goes. */
void probe_flush(void);

/* False iff something differs; the console says what, for the first few. */
bool probe_run(const struct hv_step *step);  /* HV_PROBE */
bool probe_peek(const struct hv_step *step); /* HV_PEEK */

/* HV_MARK and HV_POKE. False iff the way to gpa does not end at probe.level. */
bool probe_write(const struct hv_step *step);

#endif
