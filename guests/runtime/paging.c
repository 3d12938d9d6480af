/* paging.c: one identity map, built once.
 *
 * RAM is mapped first, whole ranges, so that leaves are as large as can be.
 * Then the image's ranges that need other rights are narrowed: text, read-only
 * data, private data. Last come the ranges that are no RAM, each only where
 * nothing is mapped yet. Below each stack one frame is unmapped again, a guard.
 * The tables themselves stay open to ring 3, which
 * builds, walks and checks them at the speed it runs at.
 *
 * The table pages are one run of frames right after the image, in the part
 * that the boot tables map. How many: enough for the worst alignment (see
 * tables_for()); they are handed out in order and never come back, since
 * nothing but single frames is ever unmapped. */
#include "guests/runtime/paging.h"

#include "guests/runtime/acpi.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/smp.h"
#include "vmm/abi.h"

#define GIB	   UINT64_C(0x40000000)
#define BIOS_START UINT64_C(0xe0000) /* ACPI's RSDP; not every memory map names it */
#define BIOS_END   UINT64_C(0x100000)
#define HOLE_START (3 * GIB)
#define GUARDS_MAX (2 * ACPI_CPUS_MAX)
#define HOLE_END   (4 * GIB)
#define SHARED_MAX 8u /* tables for device ranges that ring 3 may use: each in a part of 2M of its own, at worst */

static struct pagetable table;
static struct pfn arena_next, arena_end;
static struct guard {
	uint64_t at;
	const char *below;
} guards[GUARDS_MAX];
static unsigned guards_count;

static const struct pagetable_attr ram_attr = {PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_USER, PAGETABLE_WRITE_BACK};
static const struct pagetable_attr text_attr = {PAGETABLE_READ | PAGETABLE_EXEC | PAGETABLE_USER, PAGETABLE_WRITE_BACK};
static const struct pagetable_attr fixed_attr = {PAGETABLE_READ | PAGETABLE_USER, PAGETABLE_WRITE_BACK};
static const struct pagetable_attr private_attr = {PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_WRITE_BACK};
static const struct pagetable_attr device_attr = {PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_UNCACHED};

static enum mm_err page_get(void *unused, struct pfn *out)
{
	(void)unused;
	if (arena_next.n == arena_end.n)
		return MM_ENOMEM;
	*out = arena_next;
	arena_next.n++;
	return MM_OK;
}

static void page_put(void *unused, struct pfn page)
{
	(void)unused;
	(void)page;
}

/* At most two 4K tables at the ends, and a table for each GiB and each 512 GiB touched. */
static uint64_t tables_for(uint64_t bytes)
{
	return 2 + (bytes / GIB + 2) + (bytes / (512 * GIB) + 2);
}

/* Guards split leaves: those of the image lie in one or two tables, those of the other CPUs side by side. */
static uint64_t tables_needed(const struct boot_info *boot)
{
	uint64_t n = 1 + tables_for(HOLE_END - HOLE_START) + 2 * tables_for(FRAME_BYTES) + 2 +
		     GUARDS_MAX * SMP_FRAMES_A_GUARD / 512 + 2 + SHARED_MAX;

	for (unsigned i = 0; i < boot->ranges; i++)
		if (boot->range[i].type == E820_RAM || boot->range[i].start < HOLE_END)
			n += tables_for(boot->range[i].bytes);
	return n;
}

static void config_fill(struct pagetable_config *c, struct pfn first, uint64_t frames)
{
	*c = (struct pagetable_config){
		.format = PAGETABLE_STAGE1,
		.phys_bits = cpu_features()->phys_bits,
		.leaf_max = cpu_features()->leaves_1g ? PAGETABLE_1G : PAGETABLE_2M,
		.arena = (void *)(uintptr_t)(first.n << FRAME_SHIFT),
		.arena_first = first,
		.arena_frames = frames,
		.pages = {.get = page_get, .put = page_put},
	};
}

static void map(uint64_t start, uint64_t end, struct pagetable_attr attr)
{
	enum mm_err e = start < end ? pagetable_map(&table, start, start, end - start, attr) : MM_OK;

	if (e != MM_OK)
		guest_panic("a range could not be mapped", start, (uint64_t)e);
}

static void narrow(uint64_t start, uint64_t end, struct pagetable_attr attr)
{
	enum mm_err e = start < end ? pagetable_protect(&table, start, end - start, attr, NULL) : MM_OK;

	if (e != MM_OK)
		guest_panic("a range could not be protected", start, (uint64_t)e);
}

/* Maps what is still unmapped in [start, end). */
static void fill(uint64_t start, uint64_t end, struct pagetable_attr attr)
{
	struct pagetable_run run;

	while (start < end && pagetable_next_run(&table, start, &run) && run.in < end) {
		map(start, run.in, attr);
		start = run.in + run.bytes;
	}
	map(start, end, attr);
}

static void map_ranges(const struct boot_info *boot)
{
	for (unsigned i = 0; i < boot->ranges; i++) {
		uint64_t start = boot->range[i].start, end = start + boot->range[i].bytes;

		if (boot->range[i].type == E820_RAM)
			map((start + FRAME_BYTES - 1) & -FRAME_BYTES, end & -FRAME_BYTES, ram_attr);
	}
	for (unsigned i = 0; i < boot->ranges; i++) {
		uint64_t start = boot->range[i].start, end = start + boot->range[i].bytes;

		if (boot->range[i].type != E820_RAM && end <= HOLE_END)
			fill(start & -FRAME_BYTES, (end + FRAME_BYTES - 1) & -FRAME_BYTES, fixed_attr);
	}
}

void paging_build(const struct boot_info *boot)
{
	uint64_t frames = tables_needed(boot);
	struct pagetable_config config;

	arena_next = memory_carve_high(frames);
	arena_end.n = arena_next.n + frames;
	if (arena_end.n << FRAME_SHIFT > GIB)
		guest_panic("the page tables lie above the first GiB", arena_next.n, arena_end.n);
	config_fill(&config, arena_next, frames);
	if (pagetable_init(&table, &config) != MM_OK)
		guest_panic("the page tables could not be started", config.phys_bits, frames);
	map_ranges(boot);
	narrow((uintptr_t)image_start, (uintptr_t)image_rodata, text_attr);
	narrow((uintptr_t)image_rodata, (uintptr_t)image_data, fixed_attr);
	narrow((uintptr_t)image_private, (uintptr_t)image_end, private_attr);
	cpu_guard_first();
	fill(BIOS_START, BIOS_END, fixed_attr);
	fill(HOLE_START, HOLE_END, device_attr);
}

void paging_guard(uint64_t at, const char *below)
{
	enum mm_err e = pagetable_unmap(&table, at, FRAME_BYTES, NULL);

	if (e != MM_OK || guards_count == GUARDS_MAX)
		guest_panic("a guard could not be put below a stack", at, (uint64_t)e);
	guards[guards_count++] = (struct guard){at, below};
}

const char *paging_guard_at(uint64_t at)
{
	for (unsigned i = 0; i < guards_count; i++)
		if (at - guards[i].at < FRAME_BYTES)
			return guards[i].below;
	return NULL;
}

void paging_load(void)
{
	__asm__ volatile("mov %0, %%cr3" ::"r"(pagetable_root_address(&table)) : "memory");
}

void paging_map_device(uint64_t start, uint64_t bytes)
{
	map(start, start + bytes, device_attr);
}

void paging_share_device(uint64_t start, uint64_t bytes)
{
	static const struct pagetable_attr shared_attr = {PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_USER,
							  PAGETABLE_UNCACHED};

	fill(start, start + bytes, shared_attr);
	narrow(start, start + bytes, shared_attr);
	paging_load();
}

void paging_open(uint64_t start, uint64_t bytes)
{
	static const struct pagetable_attr all = {PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC | PAGETABLE_USER,
						  PAGETABLE_WRITE_BACK};

	narrow(start, start + bytes, all);
	fill(start, start + bytes, all);
	paging_load();
}

const struct pagetable *paging_table(void)
{
	return &table;
}
