/* guard: touches a part of its RAM that the second-level table guards (or makes
 * read-only) in every way a CPU can: "case=N" of the command line chooses,
 * "at=ADDRESS" is where (16 MiB), a frame that slat was told by --guard or --ro.
 * What comes back, if the touch is answered, is printed.
 *
 * The memory map calls that frame reserved, so the guest's own table lets it
 * only be read: it is opened first. Ring 3 touches, but in the cases of ring 0. */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/paging.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"

#define PLACE	     UINT64_C(0x1000000)
#define PATTERN	     UINT64_C(0x1122334455667788)
#define RET	     0xc3
#define MAP_SLOT     100u /* of the root table: nothing of the runtime's is there */
#define MAP_LINEAR   ((uint64_t)MAP_SLOT << 39)
#define ENTRY_RIGHTS 0x7u /* present, write, user */

static struct place {
	uint64_t at, linear;
} place;

static uint64_t load(void *arg)
{
	return *(volatile uint64_t *)(uintptr_t)((const struct place *)arg)->at;
}

static uint64_t store(void *arg)
{
	*(volatile uint64_t *)(uintptr_t)((const struct place *)arg)->at = PATTERN;
	return load(arg);
}

static uint64_t exchange(void *arg)
{
	return __atomic_fetch_add((uint64_t *)(uintptr_t)((const struct place *)arg)->at, 1, __ATOMIC_SEQ_CST);
}

/* Instructions that an emulator of the common ones lacks: SSE2's PADDD, MOVHPS. */
static uint64_t load_vector(void *arg)
{
	uint64_t got;

	__asm__ volatile("pxor %%xmm0, %%xmm0\n\tpaddd (%1), %%xmm0\n\tmovq %%xmm0, %0"
			 : "=r"(got)
			 : "r"(((const struct place *)arg)->at)
			 : "memory");
	return got;
}

static uint64_t store_vector(void *arg)
{
	__asm__ volatile("pxor %%xmm0, %%xmm0\n\tmovhps %%xmm0, 8(%0,%1,4)" ::"r"(((const struct place *)arg)->at),
			 "r"(0ull)
			 : "memory");
	return load(arg);
}

static uint64_t load_avx(void *arg)
{
	uint64_t got;

	__asm__ volatile("vmovups (%1), %%ymm0\n\tvmovq %%xmm0, %0"
			 : "=r"(got)
			 : "r"(((const struct place *)arg)->at)
			 : "memory");
	return got;
}

static uint64_t store_avx(void *arg)
{
	__asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n\tvmovups %%ymm0, (%0)" ::"r"(((const struct place *)arg)->at)
			 : "memory");
	return load(arg);
}

static uint64_t fetch(void *arg)
{
	((void (*)(void))(uintptr_t)((const struct place *)arg)->at)();
	return 0;
}

/* An instruction of which the last bytes would come from there: MOV EAX, imm32. */
static uint64_t fetch_across(void *arg)
{
	uint64_t at = ((const struct place *)arg)->at - 3;

	*(volatile uint8_t *)(uintptr_t)at = 0xb8;
	((void (*)(void))(uintptr_t)at)();
	return 0;
}

static uint64_t copy_to(void *arg)
{
	uint64_t to = ((const struct place *)arg)->at, from = (uintptr_t)image_start, count = 4;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
	return count;
}

static uint64_t push(void *arg)
{
	__asm__ volatile("mov %%rsp, %%rbx\n\tmov %0, %%rsp\n\tpush %%rbx\n\tmov %%rbx, %%rsp" ::"r"(
				 ((const struct place *)arg)->at + 4096)
			 : "rbx", "memory");
	return 0;
}

/* The guarded frame as a table of the guest's own. */
static void map_through(struct place *p)
{
	volatile uint64_t *root = (volatile uint64_t *)(uintptr_t)pagetable_root_address(paging_table());

	root[MAP_SLOT] = p->at | ENTRY_RIGHTS;
	p->linear = MAP_LINEAR + 0x3456;
}

static uint64_t walk_load(void *arg)
{
	struct place *p = arg;

	map_through(p);
	return *(volatile uint64_t *)(uintptr_t)p->linear;
}

static uint64_t walk_fetch(void *arg)
{
	struct place *p = arg;

	map_through(p);
	((void (*)(void))(uintptr_t)p->linear)();
	return 0;
}

/* The exception's frame goes to a stack that is not there. */
static uint64_t deliver(void *arg)
{
	__asm__ volatile("mov %0, %%rsp\n\tud2" ::"r"(((const struct place *)arg)->at + 4096) : "memory");
	return 0;
}

/* The guarded frame as the root of the guest's own tables. */
static uint64_t root(void *arg)
{
	__asm__ volatile("mov %0, %%cr3" ::"r"(((const struct place *)arg)->at) : "memory");
	return 0;
}

static const struct {
	uint64_t (*touch)(void *);
	bool ring0, avx;
} cases[] = {
	{load, false, false},	      {store, false, false},	{exchange, false, false}, {load_vector, false, false},
	{store_vector, false, false}, {load_avx, false, true},	{store_avx, false, true}, {fetch, false, false},
	{fetch_across, false, false}, {copy_to, false, false},	{push, false, false},	  {walk_load, false, false},
	{walk_fetch, false, false},   {load, true, false},	{store, true, false},	  {load_vector, true, false},
	{fetch, true, false},	      {walk_load, true, false}, {deliver, true, false},	  {root, true, false},
};

static bool avx_on(void)
{
	const uint32_t both = 1u << 26 | 1u << 28; /* XSAVE, AVX */

	if ((cpu_id(1).ecx & both) != both)
		return false;
	__asm__ volatile("mov %%cr4, %%rax\n\tor $0x40000, %%rax\n\tmov %%rax, %%cr4\n\t"
			 "xor %%ecx, %%ecx\n\tmov $7, %%eax\n\txor %%edx, %%edx\n\txsetbv" ::
				 : "rax", "rcx", "rdx");
	return true;
}

int guest_main(const struct boot_info *boot)
{
	uint64_t which = text_option(boot->cmdline, "case", 0), got;

	place.at = text_option(boot->cmdline, "at", PLACE);
	if (which >= sizeof(cases) / sizeof(cases[0]))
		return GUEST_FAILED;
	if (cases[which].avx && !avx_on()) {
		console_print("guard: no AVX here\n");
		return GUEST_FAILED;
	}
	paging_open(place.at - FRAME_BYTES, 2 * FRAME_BYTES);
	console_print("guard: case %lu at 0x%lx\n", which, place.at);
	got = cases[which].ring0 ? cases[which].touch(&place) : ring3_call(cases[which].touch, &place);
	console_print("guard: case %lu gave 0x%lx\n", which, got);
	return GUEST_OK;
}
