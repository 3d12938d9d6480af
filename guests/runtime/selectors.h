/* guests/runtime/selectors.h: what C and assembly agree on. Constants only.
 * The order of the user selectors is what SYSRET asks for (AMD APM vol. 2, 6.1.1). */
#ifndef SLAT_GUESTS_RUNTIME_SELECTORS_H
#define SLAT_GUESTS_RUNTIME_SELECTORS_H

#define SELECTOR_CODE	   0x08
#define SELECTOR_DATA	   0x10
#define SELECTOR_SYSRET	   0x18 /* SYSRET takes this + 8 for the stack, + 16 for the code */
#define SELECTOR_USER_DATA 0x20
#define SELECTOR_USER_CODE 0x28
#define SELECTOR_TSS	   0x30
#define GDT_ENTRIES	   8 /* the TSS takes two */

/* Offsets in struct cpu; GS points at it. */
#define CPU_RING3_STACK 0
#define CPU_RING0_STACK 84 /* in the TSS: where an exception in ring 3 arrives */

#define TRAP_VECTORS	32 /* the exceptions; interrupts stay off */

#endif
