/* A guest's registers, page tables and code are what it likes: whatever they are,
 * a fault is found inside the guest's RAM where the table really forbids the
 * access, or none. The input: mode, registers, CR3, then pieces of memory: address, length, bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_ram.h"
#include "vmm/fault_find.h"

#define PAGES	  8u
#define RAM_BYTES ((PAGES + 3) * FRAME_BYTES) /* then a guard, a read-only page, and one more */
#define GUARD	  (PAGES * FRAME_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_ram(const void *self, uint64_t gpa)
{
	(void)self;
	return gpa < RAM_BYTES;
}

/* Bytes of the input, then zeros. */
static void take(const uint8_t **data, size_t *size, void *to, size_t bytes)
{
	size_t some = *size < bytes ? *size : bytes;

	memcpy(to, *data, some);
	*data += some;
	*size -= some;
}

static void take_memory(const uint8_t **data, size_t *size, const struct ram *ram)
{
	uint8_t piece[255], length = 0;
	uint16_t at = 0;

	while (*size > 3) {
		take(data, size, &at, 2);
		take(data, size, &length, 1);
		memset(piece, 0, sizeof(piece));
		take(data, size, piece, length);
		(void)!ram_write(ram, at % GUARD, piece, length);
	}
}

static void check(const struct ram *ram, const struct fault *f)
{
	struct pagetable_leaf leaf;
	bool mapped = pagetable_walk(ram->table, f->gpa, &leaf);

	if (!is_ram(NULL, f->gpa) || !f->has_linear || (f->walk && f->access != FAULT_READ))
		abort();
	if (mapped && (f->access != FAULT_WRITE || leaf.attr.rights & PAGETABLE_WRITE))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kvm_regs regs = {0};
	struct kvm_sregs sregs = {0};
	struct fault fault = {0};
	struct fake_ram fake;
	const struct fault_scene scene = {&fake.ram, &regs, &sregs, NULL, is_ram};
	uint8_t mode = 0;

	fake_ram_init(&fake, RAM_BYTES);
	fake_ram_map(&fake, 0, 0, GUARD, FAKE_RAM_RIGHTS);
	fake_ram_map(&fake, GUARD + FRAME_BYTES, GUARD + FRAME_BYTES, FRAME_BYTES, PAGETABLE_READ | PAGETABLE_USER);
	fake_ram_map(&fake, GUARD + 2 * FRAME_BYTES, GUARD + 2 * FRAME_BYTES, FRAME_BYTES, FAKE_RAM_RIGHTS);
	take(&data, &size, &mode, 1);
	take(&data, &size, &regs, sizeof(regs));
	take(&data, &size, &sregs.cr3, 8);
	sregs.cr0 = mode & 1 ? UINT64_C(0x80000001) : 1;
	sregs.cr4 = (mode & 2 ? 0x20 : 0) | (mode & 4 ? 0x10 : 0) | (mode & 8 ? 0x1000 : 0);
	sregs.efer = mode & 16 ? 0x400 : 0;
	sregs.cs.l = mode >> 5 & 1;
	sregs.cs.db = mode >> 6 & 1;
	take_memory(&data, &size, &fake.ram);
	if (fault_find(&scene, &fault))
		check(&fake.ram, &fault);
	fake_ram_fini(&fake);
	return 0;
}
