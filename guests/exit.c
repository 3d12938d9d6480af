/* exit: leaves with the number that is the last word of its command line; 0 if
 * that is no number.
 *
 * The smallest guest: it measures how fast a guest can start. So it takes
 * nothing of the runtime but the headers that make it bootable: it stays in the
 * 32-bit mode that Multiboot and PVH enter, and each instruction counts. */
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

static uint32_t last_number(const char *s)
{
	const char *word = s;
	uint32_t value = 0;

	for (; *s != '\0'; s++)
		if (*s == ' ' && s[1] != ' ' && s[1] != '\0')
			word = s + 1;
	for (; *word >= '0' && *word <= '9'; word++)
		value = value * 10 + (uint32_t)(*word - '0');
	return *word == '\0' || *word == ' ' ? value : 0;
}

_Noreturn void exit_start(uint32_t magic, const void *info)
{
	const char *line = command_line(magic, info);
	uint32_t code = line ? last_number(line) : 0;

	__asm__ volatile("outl %0, %w1" ::"a"(code), "Nd"(DEBUG_EXIT_PORT));
	for (;;)
		__asm__ volatile("cli; hlt");
}
