#include "vmm/guest_walk.h"

#include "vmm/x86.h"

#define CR4_PSE	   (UINT64_C(1) << 4)
#define CR4_LA57   (UINT64_C(1) << 12)
#define PRESENT	   1u
#define LARGE	   (1u << 7)
#define ADDRESS_64 UINT64_C(0x000ffffffffff000)
#define ADDRESS_32 UINT64_C(0xfffff000)

struct shape {
	unsigned levels, index_bits, entry_bytes;
	unsigned large_most; /* the highest level whose entries may map a page; 1 is the lowest */
	uint64_t root;
};

static struct shape shape_of(const struct guest_paging *p)
{
	if (p->efer & EFER_LMA)
		return (struct shape){p->cr4 & CR4_LA57 ? 5 : 4, 9, 8, 3, p->cr3 & ADDRESS_64};
	if (p->cr4 & CR4_PAE)
		return (struct shape){3, 9, 8, 2, p->cr3 & UINT64_C(0xffffffe0)};
	return (struct shape){2, 10, 4, p->cr4 & CR4_PSE ? 2 : 1, p->cr3 & ADDRESS_32};
}

static uint64_t below(unsigned bits)
{
	return (UINT64_C(1) << bits) - 1;
}

/* Of a page of `bits` address bits. A 4M page has its high address bits, 39 to 32, in bits 20 to 13. */
static uint64_t page_address(const struct shape *s, uint64_t entry, unsigned bits)
{
	if (s->entry_bytes == 8)
		return entry & ADDRESS_64 & ~below(bits);
	if (bits == FRAME_SHIFT)
		return entry & ADDRESS_32;
	return (entry & UINT64_C(0xffc00000)) | (entry >> 13 & 0xff) << 32;
}

static void note(struct guest_walk_path *path, unsigned level, uint64_t gpa, uint64_t entry)
{
	static const char *const names[GUEST_WALK_STEPS] = {"PTE", "PDE", "PDPTE", "PML4E", "PML5E"};

	if (path)
		path->step[path->steps++] = (struct guest_walk_step){names[level - 1], gpa, entry};
}

enum guest_walk_end guest_walk(const struct ram *ram, const struct guest_paging *p, uint64_t linear, uint64_t *gpa,
			       struct guest_walk_path *path)
{
	const struct shape s = shape_of(p);
	uint64_t table = s.root;

	if (path)
		*path = (struct guest_walk_path){.entry_bytes = s.entry_bytes};
	if (!(p->efer & EFER_LMA))
		linear &= UINT32_MAX;
	if (!(p->cr0 & CR0_PG)) {
		*gpa = linear;
		return GUEST_WALK_DONE;
	}
	for (unsigned level = s.levels; level > 0; level--) {
		const unsigned bits = FRAME_SHIFT + (level - 1) * s.index_bits;
		const uint64_t at = table + (linear >> bits & below(s.index_bits)) * s.entry_bytes;
		uint64_t entry = 0;
		const bool there = ram_read(ram, at, &entry, s.entry_bytes);

		note(path, level, at, entry);
		if (!there) {
			*gpa = at;
			return GUEST_WALK_LOST;
		}
		if (!(entry & PRESENT))
			return GUEST_WALK_ABSENT;
		if (level == 1 || (level <= s.large_most && entry & LARGE)) {
			*gpa = page_address(&s, entry, bits) | (linear & below(bits));
			return GUEST_WALK_DONE;
		}
		table = entry & (s.entry_bytes == 8 ? ADDRESS_64 : ADDRESS_32);
	}
	return GUEST_WALK_ABSENT;
}
