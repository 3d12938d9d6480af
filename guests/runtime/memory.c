#include "guests/runtime/memory.h"

#include "guests/runtime/boot_info.h"
#include "guests/runtime/guest.h"
#include "vmm/abi.h"

#define SEGMENTS_MAX 512u
#define META_BYTES   (SEGMENTS_MAX * 128u)
#define LOW_FRAMES   256u /* the first MiB */

static uint8_t meta[META_BYTES] __attribute__((aligned(64)));
static struct extent_space *space;
static uint64_t ram_bytes, ram_end;

void memory_take(uint64_t first, uint64_t end)
{
	enum mm_err e;

	if (first >= end)
		return;
	e = extent_alloc_at(space, (struct extent){first, end - first}, false);
	if (e != MM_OK)
		guest_panic("frames that should be free are taken, or no RAM", first, end);
}

/* Takes all between the RAM ranges. A frame that is RAM only in part is no RAM. */
static void take_holes(const struct boot_info *boot)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < boot->ranges; i++) {
		const struct boot_range *r = &boot->range[i];
		uint64_t first = (r->start + FRAME_BYTES - 1) >> FRAME_SHIFT;
		uint64_t end = (r->start + r->bytes) >> FRAME_SHIFT;

		if (r->type != E820_RAM || first >= end)
			continue;
		memory_take(at, first);
		at = end;
	}
	memory_take(at, ram_end >> FRAME_SHIFT); /* a last range of less than a frame */
}

void memory_init(const struct boot_info *boot)
{
	struct extent_config config = {.segments_max = SEGMENTS_MAX, .policy = EXTENT_FIRST_FIT};
	size_t bytes = extent_meta_bytes(SEGMENTS_MAX);

	for (unsigned i = 0; i < boot->ranges; i++) {
		if (boot->range[i].type != E820_RAM)
			continue;
		ram_bytes += boot->range[i].bytes;
		ram_end = boot->range[i].start + boot->range[i].bytes;
	}
	if (bytes == 0 || bytes > sizeof(meta))
		guest_panic("the metadata of the memory map does not fit", bytes, sizeof(meta));
	config.units = ram_end >> FRAME_SHIFT;
	if (extent_init(meta, bytes, &config, &space) != MM_OK)
		guest_panic("the memory map has no RAM", ram_end, ram_bytes);
	take_holes(boot);
	memory_take((uintptr_t)image_start >> FRAME_SHIFT, (uintptr_t)image_end >> FRAME_SHIFT);
}

struct pfn memory_carve(uint64_t frames)
{
	struct extent_request ask = {.units = frames};
	struct extent got;

	if (extent_alloc(space, &ask, &got) != MM_OK)
		guest_panic("the guest has no such run of frames left", frames, 0);
	return (struct pfn){got.first};
}

/* A run as long as the first MiB cannot lie there: ask for that much, and give
 * back what is too much. */
struct pfn memory_carve_high(uint64_t frames)
{
	uint64_t asked = frames < LOW_FRAMES ? LOW_FRAMES : frames;
	struct pfn got = memory_carve(asked);

	if (asked > frames && extent_free(space, (struct extent){got.n + frames, asked - frames}) != MM_OK)
		guest_panic("frames could not be given back", got.n + frames, asked - frames);
	return got;
}

bool memory_next_free(uint64_t from, struct extent *out)
{
	struct extent_segment s;

	for (uint64_t at = from; extent_segment_at(space, at, &s); at = s.run.first + s.run.units) {
		if (!s.taken) {
			*out = s.run;
			return true;
		}
	}
	return false;
}

uint64_t memory_ram_bytes(void)
{
	return ram_bytes;
}

uint64_t memory_end(void)
{
	return ram_end;
}
