/* Linux bzImage: a sector that once booted from floppies, a few sectors of
 * real-mode set-up code, and the protected-mode part, a kernel that unpacks
 * itself. slat skips the real-mode code and enters the third part in 64-bit
 * mode, so the zero page that the real-mode code would have filled is ours to
 * fill: the setup header copied from the file, the memory map, the pointers.
 *
 * The 64-bit entry wants paging on with kernel, zero page and command line
 * mapped to themselves. Identity tables for the first 4 GiB are six pages
 * (one PML4, one PDPT, four page directories of 2M leaves): cheaper than
 * finding out how little would do.
 *
 * A relocatable kernel below its preferred address moves itself up to it and
 * so needs its room there anyway: places are looked for from there upwards,
 * never below.
 *
 * Rejected: the 32-bit entry (loses the ranges above 4 GiB for zero page and
 * initramfs and all checks of xloadflags; every 64-bit kernel since 3.8 has the other one). */
#include "vmm/boot/linux.h"

#include <asm/bootparam.h>
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/abi.h"
#include "vmm/boot/bootdata.h"
#include "vmm/layout.h"

#define SECTOR	       512u
#define MAGIC_AT       0x202u
#define HEADER_AT      offsetof(struct boot_params, hdr)
#define HEADER_ROOM    (offsetof(struct boot_params, edd_mbr_sig_buffer) - HEADER_AT)
#define HEADER_NEEDED  (offsetof(struct setup_header, init_size) + sizeof(uint32_t))
#define VERSION_NEEDED 0x20cu
#define ENTRY_64       0x200u /* from where the protected-mode part lies */
#define LOADER_UNKNOWN 0xffu
#define VIDEO_NORMAL   0xffffu
#define REACH	       LAYOUT_HOLE_END /* what the identity tables map */
#define TABLE_PAGES    6u

_Static_assert(HEADER_AT == 0x1f1, "the setup header lies at the same offset in the file and in the zero page");
_Static_assert(HEADER_ROOM <= sizeof(((struct boot_linux *)0)->header), "a whole header fits");
_Static_assert(sizeof(struct boot_params) == 4096, "a zero page is a page");

static const uint64_t GDT[] = {
	0, 0, UINT64_C(0x00af9b000000ffff), /* 64-bit code */
	UINT64_C(0x00cf93000000ffff),	    /* flat data */
};

bool linux_present(struct bytes image)
{
	return image.length >= MAGIC_AT + 4 && memcmp(image.data + MAGIC_AT, "HdrS", 4) == 0;
}

/* The header ends where the jump over it, the two bytes before its magic, lands. */
static int read_header(struct bytes image, const char *name, struct boot_linux *out, struct failure *f)
{
	size_t end = MAGIC_AT + image.data[MAGIC_AT - 1];
	size_t bytes = end - HEADER_AT;

	if (end > image.length)
		return fail(f, EXIT_IMAGE, "%s: a Linux setup header that ends at byte 0x%zx of a file of 0x%zx bytes",
			    name, end, image.length);
	if (bytes > HEADER_ROOM)
		bytes = HEADER_ROOM; /* the zero page has no place for more */
	memcpy(out->header, image.data + HEADER_AT, bytes);
	out->header_bytes = (uint32_t)bytes;
	return 0;
}

static struct setup_header header_of(const struct boot_linux *k)
{
	struct setup_header h = {0};

	memcpy(&h, k->header, k->header_bytes < sizeof(h) ? k->header_bytes : sizeof(h));
	return h;
}

static int check_protocol(const struct boot_linux *k, const struct setup_header *h, const char *name, struct failure *f)
{
	if (!(h->loadflags & LOADED_HIGH))
		return fail(f, EXIT_IMAGE, "%s: a Linux zImage; a bzImage is needed", name);
	if (h->version < VERSION_NEEDED)
		return fail(f, EXIT_IMAGE, "%s: Linux boot protocol %u.%02u; 2.12 (Linux 3.8) or later is needed", name,
			    h->version >> 8, h->version & 0xffu);
	if (k->header_bytes < HEADER_NEEDED)
		return fail(f, EXIT_IMAGE, "%s: a Linux setup header of 0x%x bytes; protocol %u.%02u has 0x%zx", name,
			    k->header_bytes, h->version >> 8, h->version & 0xffu, HEADER_NEEDED);
	if (!(h->xloadflags & XLF_KERNEL_64))
		return fail(f, EXIT_IMAGE,
			    "%s: a 32-bit Linux kernel (xloadflags 0x%x); one with a 64-bit entry is needed", name,
			    h->xloadflags);
	if (h->relocatable_kernel && (h->kernel_alignment == 0 || h->kernel_alignment & (h->kernel_alignment - 1)))
		return fail(f, EXIT_IMAGE, "%s: a Linux kernel alignment of 0x%x, no power of two", name,
			    h->kernel_alignment);
	return 0;
}

/* The protected-mode part: all that follows boot sector and set-up code. */
static int check_kernel(struct bytes image, const struct setup_header *h, const char *name, struct bytes *out,
			struct failure *f)
{
	size_t setup = ((h->setup_sects ? h->setup_sects : 4u) + 1) * SECTOR;
	uint64_t kernel = (uint64_t)h->syssize * 16;

	if (setup + ENTRY_64 >= image.length)
		return fail(f, EXIT_IMAGE, "%s: Linux set-up code of 0x%zx bytes in a file of 0x%zx bytes", name, setup,
			    image.length);
	if (kernel > image.length - setup)
		return fail(f, EXIT_IMAGE,
			    "%s: a Linux kernel that ends at byte 0x%" PRIx64 " of a file of 0x%zx bytes", name,
			    setup + kernel, image.length);
	*out = (struct bytes){image.data + setup, image.length - setup};
	return 0;
}

int linux_parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f)
{
	struct boot_linux *k = &out->linux_;
	struct setup_header h;
	struct bytes kernel = {0};

	out->format = BOOT_LINUX;
	if (read_header(image, name, k, f))
		return f->code;
	h = header_of(k);
	if (check_protocol(k, &h, name, f) || check_kernel(image, &h, name, &kernel, f))
		return f->code;
	k->version = h.version;
	k->initrd_max = h.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G ? REACH : (uint64_t)h.initrd_addr_max + 1;
	k->cmdline_max = h.cmdline_size;
	k->init_bytes = h.init_size > kernel.length ? h.init_size : kernel.length;
	k->align = h.kernel_alignment;
	k->preferred = h.pref_address;
	k->relocatable = h.relocatable_kernel;
	if (k->preferred >= REACH || k->init_bytes > REACH - k->preferred)
		return fail(f, EXIT_IMAGE,
			    "%s: a Linux kernel that wants 0x%" PRIx64 " bytes at 0x%" PRIx64 ", past 4 GiB", name,
			    k->init_bytes, k->preferred);
	out->segments = 1;
	out->segment[0] = (struct boot_segment){k->preferred, k->init_bytes, kernel};
	out->entry = k->preferred + ENTRY_64;
	return 0;
}

static int place_kernel(const struct load *l, uint64_t *gpa)
{
	const struct boot_linux *k = &l->image->linux_;

	*gpa = k->preferred;
	if (load_has_room(l, k->preferred, k->init_bytes))
		return 0;
	if (k->relocatable && load_find_lowest(l, k->preferred, REACH, k->init_bytes, k->align, gpa))
		return 0;
	return load_check_room(l, "the Linux kernel", UINT32_MAX, k->preferred, k->init_bytes);
}

/* Above the kernel if there is room, as high as it may lie. */
static int place_initrd(const struct load *l, uint64_t kernel, uint64_t *gpa)
{
	const struct boot_linux *k = &l->image->linux_;
	uint64_t room = load_module_room(&l->request->modules[0]);
	uint64_t below = kernel < k->initrd_max ? kernel : k->initrd_max;

	if (load_find_highest(l, kernel + k->init_bytes, k->initrd_max, room, gpa) ||
	    load_find_highest(l, LAYOUT_HIGH_START, below, room, gpa))
		return 0;
	return load_no_place(l, &l->request->modules[0], k->initrd_max);
}

static int check_request(const struct load *l)
{
	const struct boot_request *r = l->request;
	size_t length = r->cmdline ? strlen(r->cmdline) : 0;

	if (length > l->image->linux_.cmdline_max)
		return fail(l->f, EXIT_IMAGE, "%s: a command line of %zu characters; this kernel takes at most %u",
			    r->name, length, l->image->linux_.cmdline_max);
	if (r->map_count > E820_MAX_ENTRIES_ZEROPAGE)
		return fail(l->f, EXIT_IMAGE, "%s: a memory map of %u lines; Linux takes at most %u", r->name,
			    r->map_count, E820_MAX_ENTRIES_ZEROPAGE);
	if (r->modules_count > 1)
		return fail(l->f, EXIT_IMAGE, "%s: %u modules; Linux takes one, the initramfs", r->name,
			    r->modules_count);
	return 0;
}

struct tables { /* page-table pages, taken in order from the boot data */
	struct pfn first;
	uint64_t taken;
};

static enum mm_err table_get(void *self, struct pfn *out)
{
	struct tables *t = self;

	if (t->taken == TABLE_PAGES)
		return MM_ENOMEM;
	*out = (struct pfn){t->first.n + t->taken++};
	return MM_OK;
}

static void table_put(void *self, struct pfn page)
{
	(void)self;
	(void)page;
}

/* Returns CR3: [0, 4 GiB) mapped to itself by 2M leaves. */
static uint64_t identity_map(void *arena, uint64_t gpa)
{
	struct tables tables = {{gpa / FRAME_BYTES}, 0};
	struct pagetable_config config = {
		.format = PAGETABLE_STAGE1,
		.phys_bits = 36, /* any that holds 4 GiB */
		.leaf_max = PAGETABLE_2M,
		.arena = arena,
		.arena_first = tables.first,
		.arena_frames = TABLE_PAGES,
		.pages = {&tables, table_get, table_put},
	};
	struct pagetable_attr all = {PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC, PAGETABLE_WRITE_BACK};
	struct pagetable table;
	enum mm_err err = pagetable_init(&table, &config);

	assert(err == MM_OK);
	err = pagetable_map(&table, 0, 0, REACH, all);
	assert(err == MM_OK);
	(void)err;
	return pagetable_root_address(&table);
}

static void fill_zero_page(struct boot_params *p, const struct load *l, uint64_t kernel, uint64_t initrd)
{
	const struct boot_request *r = l->request;

	memcpy((uint8_t *)p + HEADER_AT, l->image->linux_.header, l->image->linux_.header_bytes);
	p->hdr.type_of_loader = LOADER_UNKNOWN;
	p->hdr.vid_mode = VIDEO_NORMAL;
	p->hdr.code32_start = (uint32_t)kernel;
	p->hdr.setup_data = 0;
	p->hdr.ramdisk_image = p->hdr.ramdisk_size = 0;
	p->acpi_rsdp_addr = r->rsdp;
	if (r->modules_count) {
		p->hdr.ramdisk_image = (uint32_t)initrd;
		p->ext_ramdisk_image = (uint32_t)(initrd >> 32);
		p->hdr.ramdisk_size = (uint32_t)r->modules[0].data.length;
		p->ext_ramdisk_size = (uint32_t)((uint64_t)r->modules[0].data.length >> 32);
	}
	p->e820_entries = (uint8_t)r->map_count;
	for (unsigned i = 0; i < r->map_count; i++)
		p->e820_table[i] = (struct boot_e820_entry){r->map[i].start, r->map[i].bytes, r->map[i].type};
}

int linux_load(const struct load *l, struct boot_entry *out)
{
	const struct boot_request *r = l->request;
	uint64_t kernel, initrd = 0;
	uint32_t zero_page, tables, gdt, cmdline;
	struct boot_params *params;
	struct bootdata b;

	if (check_request(l) || place_kernel(l, &kernel))
		return l->f->code;
	if (r->modules_count && place_initrd(l, kernel, &initrd))
		return l->f->code;
	bootdata_init(&b);
	zero_page = bootdata_add(&b, NULL, sizeof(*params), FRAME_BYTES);
	tables = bootdata_add(&b, NULL, TABLE_PAGES * FRAME_BYTES, FRAME_BYTES);
	gdt = bootdata_add(&b, GDT, sizeof(GDT), 8);
	cmdline = bootdata_string(&b, r->cmdline);
	if (bootdata_check(&b, l))
		return l->f->code;
	params = bootdata_at(&b, zero_page, sizeof(*params));
	fill_zero_page(params, l, kernel, initrd);
	params->hdr.cmd_line_ptr = cmdline;

	*out = (struct boot_entry){
		.rip = kernel + ENTRY_64,
		.rsi = zero_page,
		.long_mode = true,
		.cr3 = identity_map(bootdata_at(&b, tables, TABLE_PAGES * FRAME_BYTES), tables),
		.gdt = gdt,
		.gdt_bytes = sizeof(GDT),
	};
	load_write(l, kernel, l->image->segment[0].file);
	if (r->modules_count)
		load_write(l, initrd, r->modules[0].data);
	bootdata_write(&b, l->ram);
	return 0;
}
