#include "vmm/boot/pvh.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/abi.h"
#include "vmm/boot/bootdata.h"
#include "vmm/boot/elf.h"
#include "vmm/layout.h"

static uint64_t round_up(uint64_t n, uint64_t align)
{
	return (n + align - 1) & ~(align - 1);
}

/* The note's value if one of the notes in this span is Xen's PVH entry. Name
 * and value are padded to `align`: 4, or 8 in some ELF64 files. */
static bool find_note(struct bytes notes, uint64_t align, uint64_t *entry)
{
	Elf64_Nhdr h; /* the same in both classes */

	for (uint64_t at = 0; at + sizeof(h) <= notes.length;) {
		uint64_t name, value, next;

		memcpy(&h, notes.data + at, sizeof(h));
		name = at + sizeof(h);
		value = round_up(name + h.n_namesz, align);
		next = round_up(value + h.n_descsz, align);
		if (value + h.n_descsz > notes.length)
			return false;
		if (h.n_type == PVH_NOTE_TYPE && h.n_namesz == 4 && memcmp(notes.data + name, "Xen", 4) == 0 &&
		    (h.n_descsz == 4 || h.n_descsz == 8)) {
			*entry = 0;
			memcpy(entry, notes.data + value, h.n_descsz);
			return true;
		}
		at = next;
	}
	return false;
}

static int find_entry(const struct elf *e, uint64_t *entry, struct failure *f)
{
	for (unsigned i = 0; i < e->headers; i++) {
		struct elf_program p = elf_program(e, i);

		if (p.type != PT_NOTE)
			continue;
		if (p.offset > e->image.length || p.file_bytes > e->image.length - p.offset)
			return fail(f, EXIT_IMAGE,
				    "%s: notes of 0x%" PRIx64 " bytes at byte 0x%" PRIx64 " of a file of 0x%zx bytes",
				    e->name, p.file_bytes, p.offset, e->image.length);
		if (find_note((struct bytes){e->image.data + p.offset, p.file_bytes}, p.align == 8 ? 8 : 4, entry))
			return 0;
	}
	return fail(f, EXIT_IMAGE,
		    "%s: an ELF with neither a Multiboot header nor a PVH note (XEN_ELFNOTE_PHYS32_ENTRY)", e->name);
}

int pvh_parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f)
{
	struct elf e;

	out->format = BOOT_PVH;
	if (elf_open(image, name, &e, f) || find_entry(&e, &out->entry, f) || elf_segments(&e, out, f))
		return f->code;
	for (unsigned i = 0; i < out->segments; i++)
		if (out->entry >= out->segment[i].gpa && out->entry - out->segment[i].gpa < out->segment[i].bytes)
			return 0;
	return fail(f, EXIT_IMAGE, "%s: the PVH entry 0x%" PRIx64 " lies outside every segment", name, out->entry);
}

/* Downwards from the 32-bit hole to the image; below the image only if that is the only place. */
static int place_modules(const struct load *l, struct bootdata *b, uint32_t *list)
{
	const struct boot_request *r = l->request;
	uint64_t ceiling = LAYOUT_HOLE_START, gpa;

	*list = bootdata_add(b, NULL, (uint64_t)r->modules_count * sizeof(struct pvh_module), 8);
	for (unsigned i = 0; i < r->modules_count; i++) {
		const struct boot_module *m = &r->modules[i];
		uint64_t room = load_module_room(m);
		uint32_t cmdline = bootdata_string(b, m->cmdline);
		uint64_t start = load_image_start(l);
		struct pvh_module *entry;

		if (!load_find_highest(l, load_image_end(l), ceiling, room, &gpa) &&
		    !load_find_highest(l, LAYOUT_HIGH_START, ceiling < start ? ceiling : start, room, &gpa))
			return load_no_place(l, m, LAYOUT_HOLE_START);
		ceiling = gpa;
		entry = bootdata_at(b, *list + i * (uint32_t)sizeof(*entry), sizeof(*entry));
		if (entry)
			*entry = (struct pvh_module){gpa, m->data.length, cmdline, 0};
	}
	return 0;
}

static uint32_t add_map(struct bootdata *b, const struct boot_request *r)
{
	uint32_t first = bootdata_add(b, NULL, 0, 8);

	for (unsigned i = 0; i < r->map_count; i++) {
		struct pvh_memmap line = {r->map[i].start, r->map[i].bytes, r->map[i].type, 0};

		bootdata_add(b, &line, sizeof(line), 8);
	}
	return first;
}

int pvh_load(const struct load *l, struct boot_entry *out)
{
	const struct boot_request *r = l->request;
	struct pvh_start_info info = {
		.magic = PVH_MAGIC,
		.version = 1,
		.modules_count = r->modules_count,
		.rsdp = r->rsdp,
		.memmap_entries = r->map_count,
	};
	struct bootdata b;
	const struct pvh_module *list;
	uint32_t info_at, list_at;

	bootdata_init(&b);
	if (load_check_segments(l))
		return l->f->code;
	info_at = bootdata_add(&b, NULL, sizeof(info), 8);
	info.cmdline = bootdata_string(&b, r->cmdline);
	info.memmap = add_map(&b, r);
	if (place_modules(l, &b, &list_at) || bootdata_check(&b, l))
		return l->f->code;
	info.modules = r->modules_count ? list_at : 0;
	memcpy(bootdata_at(&b, info_at, sizeof(info)), &info, sizeof(info));

	list = bootdata_at(&b, list_at, r->modules_count * sizeof(*list));
	load_write_segments(l);
	for (unsigned i = 0; i < r->modules_count; i++)
		load_write(l, list[i].start, r->modules[i].data);
	bootdata_write(&b, l->ram);
	*out = (struct boot_entry){.rip = l->image->entry, .rbx = info_at};
	return 0;
}
