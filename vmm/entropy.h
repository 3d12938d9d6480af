/* vmm/entropy.h: random bytes of the host's kernel for a virtio entropy device. Any thread. */
#ifndef SLAT_VMM_ENTROPY_H
#define SLAT_VMM_ENTROPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a guest may take in a second where --rng does not say. A stock Linux takes a few hundred bytes at boot and 64 a
 * second later; a program that reads /dev/hwrng without an end gets this much, and costs the host 0.3 % of a core. */
#define ENTROPY_RATE_DEFAULT (UINT64_C(1) << 20)

/* As struct virtio_rng_config wants it; owner is not used. False: the host's pool is not ready yet. */
bool entropy_fill(void *owner, uint8_t *to, size_t bytes);

#endif
