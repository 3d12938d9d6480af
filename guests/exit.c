/* exit: leaves with the number that is the last word of its command line; 0 if
 * that is no number.
 *
 * The smallest guest: it measures how fast a guest can start. So it takes
 * nothing of the runtime but the headers that make it bootable: it stays in the
 * 32-bit mode that Multiboot and PVH enter, and each instruction counts. */
#include <stdbool.h>
#include <stdint.h>

#include "vmm/abi.h"

#define DEBUG_EXIT_PORT 0xf4

__asm__(".section .text.start, \"ax\"\n"
	".globl start\n"
	"start:\n"
	"	mov $stack_end, %esp\n"
	"	push %ebx\n"
	"	push %eax\n"
	"	call exit_start\n"
	".section .bss\n"
	".balign 16\n"
	".skip 1024\n"
	"stack_end:\n"
	".text\n");

_Noreturn void exit_start(uint32_t magic, const void *info);

static const char *command_line(uint32_t magic, const void *info)
{
	const struct multiboot_info *multiboot = info;
	const struct pvh_start_info *pvh = info;

	if (magic != MULTIBOOT_LOADED)
		return (const char *)(uintptr_t)pvh->cmdline;
	return multiboot->flags & MULTIBOOT_INFO_CMDLINE ? (const char *)(uintptr_t)multiboot->cmdline : 0;
}

/* One instruction for the whole line: where ring 0 is interpreted, a loop over it would be most of what a run takes. */
static const char *end_of(const char *s)
{
	uint32_t left = UINT32_MAX;

	__asm__ volatile("cld; repne scasb" : "+D"(s), "+c"(left) : "a"(0) : "cc", "memory");
	return s - 1;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* From the line's end, so that no more of it than its last word is looked at. */
static uint32_t last_number(const char *s)
{
	const char *end = end_of(s), *first;
	uint32_t value = 0;

	while (end > s && end[-1] == ' ')
		end--;
	for (first = end; first > s && is_digit(first[-1]); first--)
		continue;
	if (first > s && first[-1] != ' ')
		return 0;
	for (; first < end; first++)
		value = value * 10 + (uint32_t)(*first - '0');
	return value;
}

_Noreturn void exit_start(uint32_t magic, const void *info)
{
	const char *line = command_line(magic, info);
	uint32_t code = line ? last_number(line) : 0;

	__asm__ volatile("outl %0, %w1" ::"a"(code), "Nd"(DEBUG_EXIT_PORT));
	for (;;)
		__asm__ volatile("cli; hlt");
}
