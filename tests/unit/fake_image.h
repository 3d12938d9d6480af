/* tests/unit/fake_image.h: boot images made in memory, and what is expected of parsing and loading them. */
#ifndef SLAT_TESTS_UNIT_FAKE_IMAGE_H
#define SLAT_TESTS_UNIT_FAKE_IMAGE_H

#include <check.h>
#include <elf.h>
#include <string.h>

#undef fail /* Check's old name for ck_abort_msg() is vmm/failure.h's for a refusal */

#include "tests/unit/fake_ram.h"
#include "vmm/abi.h"
#include "vmm/boot/boot.h"
#include "vmm/boot/elf.h"
#include "vmm/layout.h"

#define FAKE_IMAGE_NAME "dir/kernel.elf"

struct fake_image {
	uint8_t data[0x4000];
	size_t length;
};

/* An ELF of 0x4000 bytes: header, program headers, and a pattern from 0x1000 on. */
static inline void fake_elf(struct fake_image *m, bool wide, uint64_t entry, const struct elf_program *p,
			    unsigned count)
{
	uint8_t id[EI_NIDENT] = {0x7f, 'E', 'L', 'F', wide ? ELFCLASS64 : ELFCLASS32, ELFDATA2LSB, EV_CURRENT};
	Elf64_Ehdr h64 = {.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_entry = entry, .e_phoff = 64};
	Elf32_Ehdr h32 = {.e_type = ET_EXEC, .e_machine = EM_386, .e_entry = (uint32_t)entry, .e_phoff = 52};

	memset(m->data, 0, sizeof(m->data));
	for (size_t i = 0x1000; i < sizeof(m->data); i++)
		m->data[i] = (uint8_t)(i * 31 + (i >> 8));
	m->length = sizeof(m->data);
	h64.e_phnum = h32.e_phnum = (uint16_t)count;
	h64.e_phentsize = sizeof(Elf64_Phdr);
	h32.e_phentsize = sizeof(Elf32_Phdr);
	memcpy(h64.e_ident, id, sizeof(id));
	memcpy(h32.e_ident, id, sizeof(id));
	memcpy(m->data, wide ? (const void *)&h64 : &h32, wide ? sizeof(h64) : sizeof(h32));
	for (unsigned i = 0; i < count; i++) {
		Elf64_Phdr p64 = {p[i].type,	   0,	       p[i].offset, p[i].vaddr, p[i].paddr,
				  p[i].file_bytes, p[i].bytes, p[i].align};
		Elf32_Phdr p32 = {p[i].type,
				  (uint32_t)p[i].offset,
				  (uint32_t)p[i].vaddr,
				  (uint32_t)p[i].paddr,
				  (uint32_t)p[i].file_bytes,
				  (uint32_t)p[i].bytes,
				  0,
				  (uint32_t)p[i].align};

		memcpy(m->data + (wide ? sizeof(h64) + i * sizeof(p64) : sizeof(h32) + i * sizeof(p32)),
		       wide ? (const void *)&p64 : &p32, wide ? sizeof(p64) : sizeof(p32));
	}
}

#define FAKE_HEADER_AT 0x800u

/* Puts a Multiboot header at FAKE_HEADER_AT. */
static inline void fake_multiboot(struct fake_image *m, uint32_t flags)
{
	struct multiboot_header h = {MULTIBOOT_MAGIC, flags, 0u - MULTIBOOT_MAGIC - flags, 0, 0, 0, 0, 0};

	memcpy(m->data + FAKE_HEADER_AT, &h, sizeof(h));
}

static inline struct bytes fake_bytes(const struct fake_image *m)
{
	return (struct bytes){m->data, m->length};
}

/* Parses a copy of exactly that many bytes, so that a sanitizer sees every step outside. */
static inline int fake_parse(struct bytes image, struct boot_image *out, struct failure *f)
{
	uint8_t *copy = malloc(image.length ? image.length : 1);
	struct bytes exact = {copy, image.length};
	int code;

	memset(f, 0, sizeof(*f));
	if (image.length)
		memcpy(copy, image.data, image.length);
	code = boot_parse(exact, FAKE_IMAGE_NAME, out, f);
	for (unsigned i = 0; code == 0 && i < out->segments; i++)
		out->segment[i].file.data = image.data + (out->segment[i].file.data - copy);
	free(copy);
	return code;
}

/* One sentence that names the image and says `part`; the result is untouched. */
static inline void fake_refused(struct bytes image, const char *part)
{
	struct boot_image out, before;
	struct failure f;

	memset(&out, 0x5a, sizeof(out));
	memcpy(&before, &out, sizeof(out));
	ck_assert_int_eq(fake_parse(image, &out, &f), EXIT_IMAGE);
	ck_assert_int_eq(f.code, EXIT_IMAGE);
	ck_assert_msg(strncmp(f.text, FAKE_IMAGE_NAME ": ", strlen(FAKE_IMAGE_NAME) + 2) == 0, "%s", f.text);
	ck_assert_msg(strstr(f.text, part) != NULL, "\"%s\" not in: %s", part, f.text);
	ck_assert_msg(f.text[strlen(f.text) - 1] != '.' && !strchr(f.text, '\n'), "%s", f.text);
	ck_assert_mem_eq(&out, &before, sizeof(out));
}

static inline struct boot_image fake_accepted(struct bytes image)
{
	struct boot_image out;
	struct failure f;

	ck_assert_msg(fake_parse(image, &out, &f) == 0, "%s", f.text);
	return out;
}

/* A guest of 8 MiB and a bit: RAM, the reserved area below 1 MiB, RAM to FAKE_TOP. */
#define FAKE_TOP UINT64_C(0x800000)

static const struct boot_range fake_map[] = {
	{0, LAYOUT_LOW_END, E820_RAM},
	{LAYOUT_LOW_END, LAYOUT_HIGH_START - LAYOUT_LOW_END, E820_RESERVED},
	{LAYOUT_HIGH_START, FAKE_TOP - LAYOUT_HIGH_START, E820_RAM},
};

struct fake_guest {
	struct fake_ram memory;
	struct boot_request request;
	uint8_t *before;
};

static inline void fake_guest_init(struct fake_guest *g)
{
	fake_ram_init(&g->memory, FAKE_TOP);
	fake_ram_map(&g->memory, 0, 0, FAKE_TOP, FAKE_RAM_RIGHTS);
	memset(g->memory.ram.host, 0xee, FAKE_TOP); /* a bss must be cleared */
	g->before = malloc(FAKE_TOP);
	memcpy(g->before, g->memory.ram.host, FAKE_TOP);
	g->request =
		(struct boot_request){.name = FAKE_IMAGE_NAME, .map = fake_map, .map_count = 3, .rsdp = LAYOUT_ACPI};
}

static inline void fake_guest_fini(struct fake_guest *g)
{
	fake_ram_fini(&g->memory);
	free(g->before);
}

static inline struct boot_entry fake_loaded(struct fake_guest *g, const struct boot_image *image)
{
	struct boot_entry entry;
	struct failure f = {0};

	ck_assert_msg(boot_load(image, &g->request, &g->memory.ram, &entry, &f) == 0, "%s", f.text);
	return entry;
}

static inline void fake_not_loaded(struct fake_guest *g, const struct boot_image *image, const char *part)
{
	struct boot_entry entry, untouched;
	struct failure f = {0};

	memset(&entry, 0x5a, sizeof(entry));
	memcpy(&untouched, &entry, sizeof(entry));
	ck_assert_int_eq(boot_load(image, &g->request, &g->memory.ram, &entry, &f), EXIT_IMAGE);
	ck_assert_msg(strstr(f.text, part) != NULL, "\"%s\" not in: %s", part, f.text);
	ck_assert_mem_eq(&entry, &untouched, sizeof(entry));
	ck_assert_mem_eq(g->memory.ram.host, g->before, FAKE_TOP);
}

/* Guest bytes; the fake guest's RAM lies in one piece. */
static inline void *fake_at(struct fake_guest *g, uint64_t gpa)
{
	ck_assert_uint_lt(gpa, FAKE_TOP);
	return g->memory.ram.host + gpa;
}

/* Every segment has its bytes and then zeros; nothing but segments, modules and boot data has changed. */
static inline void fake_check_segments(struct fake_guest *g, const struct boot_image *image)
{
	for (unsigned i = 0; i < image->segments; i++) {
		const struct boot_segment *s = &image->segment[i];
		const uint8_t *at = fake_at(g, s->gpa);

		ck_assert_mem_eq(at, s->file.data, s->file.length);
		for (uint64_t k = s->file.length; k < s->bytes; k++)
			ck_assert_uint_eq(at[k], 0);
	}
}

#endif
