/* Any bytes as an image: parsed, then loaded into a small guest.
 * The first byte chooses the request, the rest is the file. What is checked:
 * segments lie in the file, are disjoint, hold the entry; loading changes only
 * free RAM and the boot structures, or, refused, nothing. */
#include "tests/fuzz/must.h"
#include "tests/unit/fake_ram.h"
#include "vmm/abi.h"
#include "vmm/boot/boot.h"
#include "vmm/layout.h"

#define MIB	   UINT64_C(0x100000)
#define HOST_BYTES (2 * MIB + LAYOUT_LOW_END)
#define CANARY	   0xd7

/* Host: low RAM, then 1 MiB that no guest page leads to, then the guest's [1 MiB, 2 MiB). */
static const struct boot_range map[] = {
	{0, LAYOUT_LOW_END, E820_RAM},
	{LAYOUT_LOW_END, MIB - LAYOUT_LOW_END, E820_RESERVED},
	{MIB, MIB, E820_RAM},
	{2 * MIB, MIB, E820_RAM}, /* a lie: the table has nothing there */
};

static struct fake_ram memory;

static void set_up(void)
{
	if (!memory.arena) {
		fake_ram_init(&memory, HOST_BYTES);
		fake_ram_map(&memory, 0, 0, LAYOUT_LOW_END, FAKE_RAM_RIGHTS);
		fake_ram_map(&memory, MIB, LAYOUT_LOW_END + MIB, MIB, FAKE_RAM_RIGHTS);
	}
	memset(memory.ram.host, CANARY, HOST_BYTES);
}

static bool all_canary(uint64_t from, uint64_t to)
{
	const uint8_t *h = memory.ram.host;

	return from == to || (h[from] == CANARY && memcmp(h + from, h + from + 1, to - from - 1) == 0);
}

static void check_image(const struct boot_image *b, struct bytes file)
{
	bool inside = false;

	MUST(b->segments >= 1 && b->segments <= BOOT_SEGMENTS_MAX);
	for (unsigned i = 0; i < b->segments; i++) {
		const struct boot_segment *s = &b->segment[i];

		MUST(s->file.length <= s->bytes && s->bytes <= LAYOUT_HOLE_END && s->gpa <= LAYOUT_HOLE_END - s->bytes);
		MUST(s->file.data >= file.data && s->file.length <= file.length);
		MUST((size_t)(s->file.data - file.data) <= file.length - s->file.length);
		inside |= b->entry >= s->gpa && b->entry - s->gpa < s->bytes;
		for (unsigned k = 0; k < i; k++)
			MUST(s->gpa + s->bytes <= b->segment[k].gpa ||
			     b->segment[k].gpa + b->segment[k].bytes <= s->gpa);
	}
	MUST(inside);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t module_data[5000] = "module";
	struct boot_module modules[] = {{{module_data, sizeof(module_data)}, "m", "m"}, {{module_data, 1}, NULL, "n"}};
	struct boot_request request = {.name = "image", .modules = modules, .map = map, .map_count = 4};
	struct boot_image image;
	struct boot_entry entry;
	struct failure f = {0};
	struct bytes file = {data + 1, size - 1};

	if (size == 0)
		return 0;
	request.modules_count = data[0] & 3u ? (data[0] & 3u) - 1 : 0;
	request.cmdline = data[0] & 4 ? "console=ttyS0" : NULL;
	if (boot_parse(file, "image", &image, &f)) {
		MUST(f.code == EXIT_IMAGE && f.text[0]);
		return 0;
	}
	check_image(&image, file);
	set_up();
	if (boot_load(&image, &request, &memory.ram, &entry, &f)) {
		MUST(f.code == EXIT_IMAGE && f.text[0]);
		MUST(all_canary(0, HOST_BYTES));
		return 0;
	}
	MUST(all_canary(LAYOUT_LOW_END, LAYOUT_LOW_END + MIB));
	MUST(entry.long_mode == (image.format == BOOT_LINUX));
	return 0;
}
