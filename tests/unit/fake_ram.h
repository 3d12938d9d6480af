/* tests/unit/fake_ram.h: guest RAM for tests: a second-level table over malloc'd host bytes. */
#ifndef SLAT_TESTS_UNIT_FAKE_RAM_H
#define SLAT_TESTS_UNIT_FAKE_RAM_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mm/pagetable.h"
#include "vmm/ram.h"

#define FAKE_RAM_BASE	UINT64_C(0x140000000) /* hpa of the first host byte */
#define FAKE_RAM_TABLES 32u
#define FAKE_RAM_RIGHTS (PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC | PAGETABLE_USER)

struct fake_ram {
	struct ram ram;
	struct pagetable table;
	uint8_t *arena;
	uint64_t taken;
};

static inline enum mm_err fake_ram_get(void *self, struct pfn *out)
{
	struct fake_ram *f = self;

	if (f->taken == FAKE_RAM_TABLES)
		return MM_ENOMEM;
	*out = (struct pfn){f->taken++};
	return MM_OK;
}

static inline void fake_ram_put(void *self, struct pfn page)
{
	(void)self;
	(void)page;
}

static inline void fake_ram_init(struct fake_ram *f, uint64_t host_bytes)
{
	struct pagetable_config config = {
		.format = PAGETABLE_NPT,
		.phys_bits = 40,
		.leaf_max = PAGETABLE_2M,
		.arena_frames = FAKE_RAM_TABLES,
		.pages = {f, fake_ram_get, fake_ram_put},
	};
	enum mm_err err;

	f->taken = 0;
	f->arena = aligned_alloc(FRAME_BYTES, FAKE_RAM_TABLES * FRAME_BYTES);
	config.arena = f->arena;
	err = pagetable_init(&f->table, &config);
	assert(err == MM_OK);
	f->ram = (struct ram){&f->table, aligned_alloc(FRAME_BYTES, host_bytes), FAKE_RAM_BASE, host_bytes};
	memset(f->ram.host, 0, host_bytes);
	(void)err;
}

/* Guest range [gpa, gpa + bytes) lies at the host's byte `offset`. */
static inline void fake_ram_map(struct fake_ram *f, uint64_t gpa, uint64_t offset, uint64_t bytes, unsigned rights)
{
	struct pagetable_attr attr = {rights, PAGETABLE_WRITE_BACK};
	enum mm_err err = pagetable_map(&f->table, gpa, FAKE_RAM_BASE + offset, bytes, attr);

	assert(err == MM_OK);
	(void)err;
}

static inline void fake_ram_fini(struct fake_ram *f)
{
	free(f->ram.host);
	free(f->arena);
}

#endif
