#include "guests/runtime/boot_info.h"

#include "guests/runtime/guest.h"
#include "guests/runtime/string.h"
#include "vmm/abi.h"

#define BOOT_MAPPED UINT64_C(0x40000000) /* by start.S */

static const void *at(uint64_t gpa)
{
	if (gpa >= BOOT_MAPPED)
		guest_panic("the boot data lies above the first GiB", gpa, BOOT_MAPPED);
	return (const void *)(uintptr_t)gpa;
}

/* Insertion keeps the map in address order: loaders need not. */
static void add_range(struct boot_info *out, struct boot_range r)
{
	unsigned i = out->ranges;

	if (r.bytes == 0)
		return;
	if (out->ranges == BOOT_RANGES_MAX)
		guest_panic("the memory map has too many ranges", r.start, BOOT_RANGES_MAX);
	if (r.bytes > -r.start && r.start != 0)
		guest_panic("a range of the memory map wraps around", r.start, r.bytes);
	for (; i > 0 && out->range[i - 1].start > r.start; i--)
		out->range[i] = out->range[i - 1];
	out->range[i] = r;
	out->ranges++;
}

static void check_ranges(const struct boot_info *b)
{
	if (b->ranges == 0)
		guest_panic("the memory map is empty", 0, 0);
	for (unsigned i = 1; i < b->ranges; i++)
		if (b->range[i].start - b->range[i - 1].start < b->range[i - 1].bytes)
			guest_panic("the memory map overlaps itself", b->range[i - 1].start, b->range[i].start);
}

static void read_cmdline(uint64_t gpa, struct boot_info *out)
{
	if (gpa != 0)
		out->cmdline_cut = !text_copy(out->cmdline, sizeof(out->cmdline), at(gpa));
}

static void read_multiboot(const struct multiboot_info *m, struct boot_info *out)
{
	out->protocol = BOOT_PROTOCOL_MULTIBOOT;
	if (m->flags & MULTIBOOT_INFO_CMDLINE)
		read_cmdline(m->cmdline, out);
	if (m->flags & MULTIBOOT_INFO_MODULES)
		out->modules = m->mods_count;
	if (!(m->flags & MULTIBOOT_INFO_MMAP))
		guest_panic("Multiboot gives no memory map", m->flags, 0);
	for (uint32_t i = 0; i < m->mmap_length;) {
		const struct multiboot_mmap *e = at((uint64_t)m->mmap_addr + i);

		add_range(out, (struct boot_range){e->addr, e->length, e->type});
		i += e->size + (uint32_t)sizeof(e->size);
	}
}

static void read_pvh(const struct pvh_start_info *p, struct boot_info *out)
{
	const struct pvh_memmap *map = at(p->memmap);

	out->protocol = BOOT_PROTOCOL_PVH;
	out->rsdp = p->rsdp;
	out->modules = p->modules_count;
	read_cmdline(p->cmdline, out);
	if (p->version == 0)
		guest_panic("PVH of version 0 gives no memory map", p->version, 0);
	for (uint32_t i = 0; i < p->memmap_entries; i++)
		add_range(out, (struct boot_range){map[i].start, map[i].bytes, map[i].type});
}

void boot_info_read(uint32_t magic, uint32_t info, struct boot_info *out)
{
	const struct pvh_start_info *pvh = at(info);

	if (magic == MULTIBOOT_LOADED)
		read_multiboot(at(info), out);
	else if (pvh->magic == PVH_MAGIC)
		read_pvh(pvh, out);
	else
		guest_panic("neither Multiboot nor PVH started this guest", magic, info);
	check_ranges(out);
}
