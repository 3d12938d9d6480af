#include "vmm/boot/elf.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

#define REACH UINT64_C(0x100000000) /* what a 32-bit entry can see */

static const char *machine_name(unsigned machine)
{
	static const struct {
		unsigned machine;
		const char *name;
	} names[] = {
		{EM_AARCH64, "aarch64"}, {EM_ARM, "arm"},     {EM_RISCV, "riscv"},   {EM_PPC, "ppc"},
		{EM_PPC64, "ppc64"},	 {EM_S390, "s390"},   {EM_MIPS, "mips"},     {EM_SPARC, "sparc"},
		{EM_SPARCV9, "sparc64"}, {EM_IA_64, "ia64"},  {EM_68K, "m68k"},	     {EM_LOONGARCH, "loongarch"},
		{EM_ALPHA, "alpha"},	 {EM_PARISC, "hppa"}, {EM_BPF, "bpf"},	     {EM_XTENSA, "xtensa"},
		{EM_AVR, "avr"},	 {EM_SH, "sh"},	      {EM_OPENRISC, "or1k"}, {EM_MICROBLAZE, "microblaze"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].machine == machine)
			return names[i].name;
	return "unknown";
}

bool elf_present(struct bytes image)
{
	return image.length >= SELFMAG && memcmp(image.data, ELFMAG, SELFMAG) == 0;
}

struct header { /* what both classes say, in one width */
	unsigned type, machine, program_bytes, programs;
	uint64_t entry, table;
};

static struct header header_read(struct bytes image, bool wide)
{
	if (wide) {
		Elf64_Ehdr h;

		memcpy(&h, image.data, sizeof(h));
		return (struct header){h.e_type, h.e_machine, h.e_phentsize, h.e_phnum, h.e_entry, h.e_phoff};
	}
	Elf32_Ehdr h;

	memcpy(&h, image.data, sizeof(h));
	return (struct header){h.e_type, h.e_machine, h.e_phentsize, h.e_phnum, h.e_entry, h.e_phoff};
}

/* The first 20 bytes are the same in both classes; the order of bytes is what the file says. */
static int check_machine(struct bytes image, const char *name, struct failure *f)
{
	const uint8_t *id = image.data;
	bool big = id[EI_DATA] == ELFDATA2MSB;
	unsigned machine = big ? id[18] << 8 | id[19] : id[19] << 8 | id[18];

	if (!big && (machine == EM_386 || machine == EM_X86_64))
		return 0;
	return fail(f, EXIT_IMAGE, "%s: an ELF for the machine %s (0x%x); an x86 one is needed", name,
		    machine_name(machine), machine);
}

static int check_type(unsigned type, const char *name, struct failure *f)
{
	switch (type) {
	case ET_EXEC:
		return 0;
	case ET_REL:
		return fail(f, EXIT_IMAGE, "%s: a relocatable ELF (ET_REL), an object file: link it first", name);
	case ET_DYN:
		return fail(
			f, EXIT_IMAGE,
			"%s: a dynamically linked or position-independent ELF (ET_DYN): link it with -no-pie -static",
			name);
	case ET_CORE:
		return fail(f, EXIT_IMAGE, "%s: a core dump (ET_CORE)", name);
	default:
		return fail(f, EXIT_IMAGE, "%s: an ELF of the unknown type 0x%x", name, type);
	}
}

static int check_static(const struct elf *e, struct failure *f)
{
	for (unsigned i = 0; i < e->headers; i++)
		if (elf_program(e, i).type == PT_INTERP)
			return fail(f, EXIT_IMAGE, "%s: a dynamically linked ELF, a program for an operating system",
				    e->name);
	return 0;
}

int elf_open(struct bytes image, const char *name, struct elf *out, struct failure *f)
{
	struct header h;
	struct elf found;
	bool wide;
	size_t header_bytes, program_bytes;

	if (image.length < EI_NIDENT + 4)
		return fail(f, EXIT_IMAGE, "%s: an ELF header cut off after 0x%zx bytes", name, image.length);
	wide = image.data[EI_CLASS] == ELFCLASS64;
	if (!wide && image.data[EI_CLASS] != ELFCLASS32)
		return fail(f, EXIT_IMAGE, "%s: an ELF of the unknown class 0x%x", name, image.data[EI_CLASS]);
	if (check_machine(image, name, f))
		return f->code;
	header_bytes = wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
	program_bytes = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (image.length < header_bytes)
		return fail(f, EXIT_IMAGE, "%s: an ELF header of 0x%zx bytes in a file of 0x%zx bytes", name,
			    header_bytes, image.length);
	h = header_read(image, wide);
	if (check_type(h.type, name, f))
		return f->code;
	if (h.programs == 0)
		return fail(f, EXIT_IMAGE, "%s: an ELF without program headers", name);
	if (h.program_bytes != program_bytes)
		return fail(f, EXIT_IMAGE, "%s: program headers of 0x%x bytes each; this ELF class has 0x%zx", name,
			    h.program_bytes, program_bytes);
	if (h.table > image.length || h.programs * program_bytes > image.length - h.table)
		return fail(f, EXIT_IMAGE,
			    "%s: 0x%x program headers of 0x%zx bytes at byte 0x%" PRIx64 " of a file of 0x%zx bytes",
			    name, h.programs, program_bytes, h.table, image.length);
	found = (struct elf){image, name, wide, h.entry, h.table, h.programs};
	if (check_static(&found, f))
		return f->code;
	*out = found;
	return 0;
}

struct elf_program elf_program(const struct elf *e, unsigned i)
{
	if (e->wide) {
		Elf64_Phdr p;

		memcpy(&p, e->image.data + e->table + i * sizeof(p), sizeof(p));
		return (struct elf_program){p.p_type,  p.p_offset, p.p_filesz, p.p_vaddr,
					    p.p_paddr, p.p_memsz,  p.p_align};
	}
	Elf32_Phdr p;

	memcpy(&p, e->image.data + e->table + i * sizeof(p), sizeof(p));
	return (struct elf_program){p.p_type, p.p_offset, p.p_filesz, p.p_vaddr, p.p_paddr, p.p_memsz, p.p_align};
}

static int check_segment(const struct elf *e, unsigned i, const struct elf_program *p, struct failure *f)
{
	if (p->file_bytes > UINT64_MAX - p->offset)
		return fail(f, EXIT_IMAGE,
			    "%s: segment %u starts at byte 0x%" PRIx64 " and is 0x%" PRIx64
			    " bytes long in a file of 0x%zx bytes",
			    e->name, i, p->offset, p->file_bytes, e->image.length);
	if (p->offset + p->file_bytes > e->image.length)
		return fail(f, EXIT_IMAGE, "%s: segment %u ends at byte 0x%" PRIx64 " of a file of 0x%zx bytes",
			    e->name, i, p->offset + p->file_bytes, e->image.length);
	if (p->file_bytes > p->bytes)
		return fail(f, EXIT_IMAGE,
			    "%s: segment %u has 0x%" PRIx64 " bytes in the file and only 0x%" PRIx64 " in memory",
			    e->name, i, p->file_bytes, p->bytes);
	if (p->paddr > REACH || p->bytes > REACH - p->paddr)
		return fail(f, EXIT_IMAGE,
			    "%s: segment %u, 0x%" PRIx64 " bytes at 0x%" PRIx64
			    ", reaches past 4 GiB, the limit of a 32-bit entry",
			    e->name, i, p->bytes, p->paddr);
	return 0;
}

static int check_overlap(const struct elf *e, const struct boot_image *image, const unsigned *index, struct failure *f)
{
	unsigned last = image->segments - 1;
	const struct boot_segment *s = &image->segment[last];

	for (unsigned i = 0; i < last; i++) {
		const struct boot_segment *t = &image->segment[i];

		if (s->gpa < t->gpa + t->bytes && t->gpa < s->gpa + s->bytes)
			return fail(f, EXIT_IMAGE, "%s: segments %u and %u overlap at 0x%" PRIx64, e->name, index[i],
				    index[last], s->gpa > t->gpa ? s->gpa : t->gpa);
	}
	return 0;
}

int elf_segments(const struct elf *e, struct boot_image *out, struct failure *f)
{
	unsigned index[BOOT_SEGMENTS_MAX];

	out->segments = 0;
	for (unsigned i = 0; i < e->headers; i++) {
		struct elf_program p = elf_program(e, i);

		if (p.type != PT_LOAD || (p.bytes == 0 && p.file_bytes == 0))
			continue;
		if (check_segment(e, i, &p, f))
			return f->code;
		if (out->segments == BOOT_SEGMENTS_MAX)
			return fail(f, EXIT_IMAGE, "%s: more than %u segments", e->name, BOOT_SEGMENTS_MAX);
		index[out->segments] = i;
		out->segment[out->segments++] =
			(struct boot_segment){p.paddr, p.bytes, {e->image.data + p.offset, p.file_bytes}};
		if (check_overlap(e, out, index, f))
			return f->code;
	}
	if (out->segments == 0)
		return fail(f, EXIT_IMAGE, "%s: an ELF with nothing to load", e->name);
	return 0;
}

int elf_entry(const struct elf *e, uint64_t *out, struct failure *f)
{
	bool physical = false;

	for (unsigned i = 0; i < e->headers; i++) {
		struct elf_program p = elf_program(e, i);

		if (p.type != PT_LOAD)
			continue;
		if (e->entry >= p.vaddr && e->entry - p.vaddr < p.bytes) {
			*out = p.paddr + (e->entry - p.vaddr);
			return 0;
		}
		physical |= e->entry >= p.paddr && e->entry - p.paddr < p.bytes;
	}
	if (!physical)
		return fail(f, EXIT_IMAGE, "%s: the entry 0x%" PRIx64 " lies outside every segment", e->name, e->entry);
	*out = e->entry;
	return 0;
}
