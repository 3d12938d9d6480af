#include "vmm/boot/multiboot.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/abi.h"
#include "vmm/boot/bootdata.h"
#include "vmm/boot/elf.h"
#include "vmm/layout.h"

#define SHORT_HEADER offsetof(struct multiboot_header, header_addr) /* without the kludge's addresses */
#define KNOWN	     (MULTIBOOT_PAGE_ALIGN | MULTIBOOT_WANT_MEMORY | MULTIBOOT_WANT_VIDEO)
#define REQUIRED     0xffffu /* bits that a loader must understand */
#define FIRST_DISK   0x8000ffffu
#define REACH	     LAYOUT_HOLE_END /* modules have 32-bit addresses */

/* The header, and where it is in the file; what the file ends before is zero. */
static bool find_header(struct bytes image, struct multiboot_header *out, size_t *at)
{
	size_t end = image.length < MULTIBOOT_SEARCH_BYTES ? image.length : MULTIBOOT_SEARCH_BYTES;

	for (size_t i = 0; i + SHORT_HEADER <= end; i += 4) {
		struct multiboot_header h = {0};
		size_t bytes = image.length - i < sizeof(h) ? image.length - i : sizeof(h);

		memcpy(&h, image.data + i, bytes);
		if (h.magic == MULTIBOOT_MAGIC && h.magic + h.flags + h.checksum == 0) {
			*out = h;
			*at = i;
			return true;
		}
	}
	return false;
}

bool multiboot_present(struct bytes image)
{
	struct multiboot_header h;
	size_t at;

	return find_header(image, &h, &at);
}

static int bad_kludge(const char *name, const char *what, uint32_t value, const char *limit, uint64_t other,
		      struct failure *f)
{
	return fail(f, EXIT_IMAGE, "%s: Multiboot %s 0x%" PRIx32 " is %s 0x%" PRIx64, name, what, value, limit, other);
}

/* One segment, by the addresses in the header itself. */
static int parse_kludge(struct bytes image, const char *name, const struct multiboot_header *h, size_t at,
			struct boot_image *out, struct failure *f)
{
	uint32_t before = h->header_addr - h->load_addr;
	uint64_t from, bytes, end;

	if (image.length - at < sizeof(*h))
		return fail(f, EXIT_IMAGE, "%s: a Multiboot header at byte 0x%zx, cut off by the end of the file", name,
			    at);
	if (h->header_addr < h->load_addr)
		return bad_kludge(name, "header_addr", h->header_addr, "below load_addr", h->load_addr, f);
	if (before > at)
		return bad_kludge(name, "load_addr", h->load_addr, "before the file's first byte, which goes to",
				  (uint64_t)h->header_addr - at, f);
	from = at - before;
	bytes = image.length - from;
	if (h->load_end_addr) {
		if (h->load_end_addr <= h->load_addr)
			return bad_kludge(name, "load_end_addr", h->load_end_addr, "not above load_addr", h->load_addr,
					  f);
		if (h->load_end_addr - h->load_addr > bytes)
			return bad_kludge(name, "load_end_addr", h->load_end_addr,
					  "past the file's last byte, which goes before", h->load_addr + bytes, f);
		bytes = h->load_end_addr - h->load_addr;
	}
	end = h->load_addr + bytes;
	if (end > REACH)
		return bad_kludge(name, "load_addr", h->load_addr, "too high for what the file has, in bytes:", bytes,
				  f);
	if (h->bss_end_addr && h->bss_end_addr < end)
		return bad_kludge(name, "bss_end_addr", h->bss_end_addr, "below the end of what is loaded,", end, f);
	if (h->bss_end_addr)
		end = h->bss_end_addr;
	if (h->entry_addr < h->load_addr || h->entry_addr >= end)
		return fail(f, EXIT_IMAGE,
			    "%s: the entry 0x%" PRIx32 " lies outside what is loaded at 0x%" PRIx32 "..0x%" PRIx64,
			    name, h->entry_addr, h->load_addr, end);
	out->segments = 1;
	out->segment[0] = (struct boot_segment){h->load_addr, end - h->load_addr, {image.data + from, bytes}};
	out->entry = h->entry_addr;
	return 0;
}

int multiboot_parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f)
{
	struct multiboot_header h = {0};
	size_t at = 0;
	struct elf e;
	bool found = find_header(image, &h, &at);

	assert(found);
	(void)found;
	out->format = BOOT_MULTIBOOT;
	if (h.flags & REQUIRED & ~KNOWN)
		return fail(f, EXIT_IMAGE,
			    "%s: its Multiboot header requires features 0x%x, of which slat knows only 0x%x", name,
			    h.flags & REQUIRED, KNOWN);
	if (h.flags & MULTIBOOT_KLUDGE)
		return parse_kludge(image, name, &h, at, out, f);
	if (!elf_present(image))
		return fail(f, EXIT_IMAGE,
			    "%s: a Multiboot header at byte 0x%zx of a file that is no ELF, and without load addresses",
			    name, at);
	if (elf_open(image, name, &e, f) || elf_segments(&e, out, f) || elf_entry(&e, &out->entry, f))
		return f->code;
	return 0;
}

/* Page-aligned, upwards from the image's end, each after the one before it. */
static int place_modules(const struct load *l, struct bootdata *b, uint32_t *list)
{
	const struct boot_request *r = l->request;
	uint64_t floor = load_image_end(l), gpa;

	*list = bootdata_add(b, NULL, (uint64_t)r->modules_count * sizeof(struct multiboot_module), 4);
	for (unsigned i = 0; i < r->modules_count; i++) {
		const struct boot_module *m = &r->modules[i];
		struct multiboot_module *entry;
		uint32_t cmdline = bootdata_string(b, m->cmdline);

		if (floor < LAYOUT_HIGH_START)
			floor = LAYOUT_HIGH_START;
		if (!load_find_lowest(l, floor, REACH, load_module_room(m), FRAME_BYTES, &gpa))
			return load_no_place(l, m, REACH);
		floor = gpa + load_module_room(m);
		entry = bootdata_at(b, *list + i * (uint32_t)sizeof(*entry), sizeof(*entry));
		if (entry)
			*entry = (struct multiboot_module){(uint32_t)gpa, (uint32_t)(gpa + m->data.length), cmdline, 0};
	}
	return 0;
}

static uint32_t add_map(struct bootdata *b, const struct boot_request *r)
{
	uint32_t first = bootdata_add(b, NULL, 0, 4);

	for (unsigned i = 0; i < r->map_count; i++) {
		struct multiboot_mmap line = {sizeof(line) - sizeof(line.size), r->map[i].start, r->map[i].bytes,
					      r->map[i].type};

		bootdata_add(b, &line, sizeof(line), 1);
	}
	return first;
}

/* KiB of RAM from `start` on, as far as it is contiguous and below `limit`. */
static uint32_t kib_from(const struct boot_request *r, uint64_t start, uint64_t limit)
{
	uint64_t end = start;

	for (unsigned i = 0; i < r->map_count; i++) {
		const struct boot_range *line = &r->map[i];

		if (line->type == E820_RAM && line->start <= end && line->start + line->bytes > end)
			end = line->start + line->bytes;
	}
	return (uint32_t)(((end < limit ? end : limit) - start) / 1024);
}

static uint32_t add_cmdline(struct bootdata *b, const struct boot_request *r)
{
	uint32_t first = bootdata_add(b, r->name, strlen(r->name), 1);

	bootdata_add(b, " ", 1, 1);
	bootdata_string(b, r->cmdline);
	return first;
}

static void write_modules(const struct load *l, const struct multiboot_module *list)
{
	for (unsigned i = 0; i < l->request->modules_count; i++)
		load_write(l, list[i].start, l->request->modules[i].data);
}

int multiboot_load(const struct load *l, struct boot_entry *out)
{
	const struct boot_request *r = l->request;
	struct multiboot_info info = {
		.flags = MULTIBOOT_INFO_MEMORY | MULTIBOOT_INFO_BOOTDEV | MULTIBOOT_INFO_CMDLINE |
			 MULTIBOOT_INFO_MODULES | MULTIBOOT_INFO_MMAP | MULTIBOOT_INFO_LOADER_NAME,
		.mem_lower_kib = kib_from(r, 0, LAYOUT_LOW_END),
		.mem_upper_kib = kib_from(r, LAYOUT_HIGH_START, LAYOUT_HOLE_END),
		.boot_device = FIRST_DISK,
		.mods_count = r->modules_count,
		.mmap_length = r->map_count * (uint32_t)sizeof(struct multiboot_mmap),
	};
	struct bootdata b;
	uint32_t info_at;

	bootdata_init(&b);
	if (load_check_segments(l))
		return l->f->code;
	info_at = bootdata_add(&b, NULL, sizeof(info), 8);
	info.cmdline = add_cmdline(&b, r);
	info.boot_loader_name = bootdata_string(&b, "slat");
	info.mmap_addr = add_map(&b, r);
	if (place_modules(l, &b, &info.mods_addr) || bootdata_check(&b, l))
		return l->f->code;
	memcpy(bootdata_at(&b, info_at, sizeof(info)), &info, sizeof(info));

	load_write_segments(l);
	write_modules(l, bootdata_at(&b, info.mods_addr, r->modules_count * sizeof(struct multiboot_module)));
	bootdata_write(&b, l->ram);
	*out = (struct boot_entry){.rip = l->image->entry, .rax = MULTIBOOT_LOADED, .rbx = info_at};
	return 0;
}
