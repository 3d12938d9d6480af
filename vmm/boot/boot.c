#include "vmm/boot/boot.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "vmm/boot/elf.h"
#include "vmm/boot/linux.h"
#include "vmm/boot/load.h"
#include "vmm/boot/multiboot.h"
#include "vmm/boot/pvh.h"

#define KNOWN "a Multiboot ELF, a PVH ELF or a Linux bzImage is needed"

const char *boot_format_name(enum boot_format f)
{
	static const char *const names[] = {"Multiboot", "PVH", "Linux"};

	return names[f];
}

/* What people give by mistake. at: file offset of the magic. */
static const struct {
	size_t at;
	const char *magic;
	size_t length;
	const char *what;
} looks[] = {
	{0, "\x1f\x8b", 2, "a gzip file: unpack it first"},
	{0, "\xfd\x37zXZ\0", 6, "an xz file: unpack it first"},
	{0, "\x28\xb5\x2f\xfd", 4, "a zstd file: unpack it first"},
	{0, "BZh", 3, "a bzip2 file: unpack it first"},
	{0, "\x04\x22\x4d\x18", 4, "an lz4 file: unpack it first"},
	{0, "\x02\x21\x4c\x18", 4, "an lz4 file: unpack it first"},
	{0, "#!", 2, "a script"},
	{0, "070701", 6, "a cpio archive, perhaps an initramfs"},
	{0, "!<arch>", 7, "an ar archive"},
	{0, "QFI\xfb", 4, "a qcow2 disk image"},
	{0, "\x27\x05\x19\x56", 4, "a U-Boot image"},
	{0x38, "ARM\x64", 4, "a Linux kernel for aarch64"},
	{0x38, "RSC\x05", 4, "a Linux kernel for riscv"},
	{0, "MZ", 2, "a PE/COFF program without a Linux setup header"},
	{0x101, "ustar", 5, "a tar archive"},
	{0x1fe, "\x55\xaa", 2, "a boot sector or a disk image"},
};

static bool is_text(struct bytes image)
{
	size_t length = image.length < 256 ? image.length : 256;

	for (size_t i = 0; i < length; i++)
		if (!isprint(image.data[i]) && !isspace(image.data[i]))
			return false;
	return true;
}

static int refuse_unknown(struct bytes image, const char *name, struct failure *f)
{
	char first[32] = "";
	size_t used = 0;

	if (image.length == 0)
		return fail(f, EXIT_IMAGE, "%s: the file is empty; " KNOWN, name);
	for (size_t i = 0; i < image.length && i < 4; i++)
		used += (size_t)snprintf(first + used, sizeof(first) - used, " 0x%02x", image.data[i]);
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
		if (image.length >= looks[i].at + looks[i].length &&
		    memcmp(image.data + looks[i].at, looks[i].magic, looks[i].length) == 0)
			return fail(f, EXIT_IMAGE, "%s: starts with%s: %s; " KNOWN, name, first, looks[i].what);
	if (is_text(image))
		return fail(f, EXIT_IMAGE, "%s: a text file; " KNOWN, name);
	return fail(f, EXIT_IMAGE, "%s: starts with%s, no image that slat knows; " KNOWN, name, first);
}

static int parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f)
{
	if (linux_present(image))
		return linux_parse(image, name, out, f);
	if (multiboot_present(image))
		return multiboot_parse(image, name, out, f);
	if (elf_present(image))
		return pvh_parse(image, name, out, f);
	return refuse_unknown(image, name, f);
}

int boot_parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f)
{
	struct boot_image found = {0};

	if (parse(image, name, &found, f))
		return f->code;
	*out = found;
	return 0;
}

int boot_load(const struct boot_image *image, const struct boot_request *request, const struct ram *ram,
	      struct boot_entry *out, struct failure *f)
{
	struct load load = {image, request, ram, f};

	switch (image->format) {
	case BOOT_MULTIBOOT:
		return multiboot_load(&load, out);
	case BOOT_PVH:
		return pvh_load(&load, out);
	case BOOT_LINUX:
		return linux_load(&load, out);
	}
	assert(!"a format of boot_parse()");
	return fail(f, EXIT_IMAGE, "%s: no known format", request->name);
}
