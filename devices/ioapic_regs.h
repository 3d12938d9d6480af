/* devices/ioapic_regs.h: 82093AA I/O APIC. */
#ifndef SLAT_DEVICES_IOAPIC_REGS_H
#define SLAT_DEVICES_IOAPIC_REGS_H

#define IOAPIC_WINDOW 0x1000
#define IOAPIC_SELECT 0x00
#define IOAPIC_DATA   0x10

/* Registers, by index. */
#define IOAPIC_ID	   0x00 /* bits 24 to 27 */
#define IOAPIC_VERSION	   0x01
#define IOAPIC_ARBITRATION 0x02
#define IOAPIC_ENTRY	   0x10 /* pin n: low half at 0x10 + 2 n, high half after it */

#define IOAPIC_VERSION_ID  0x11 /* below 0x20: no EOI register */
#define IOAPIC_PINS	   24

/* A redirection entry's low half. The high half has the destination in bits 24 to 31. */
#define IOAPIC_VECTOR	       0x000000ff
#define IOAPIC_DELIVERY_SHIFT  8
#define IOAPIC_DELIVERY	       0x00000700
#define IOAPIC_LOGICAL	       0x00000800
#define IOAPIC_PENDING	       0x00001000 /* delivery status, read only */
#define IOAPIC_ACTIVE_LOW      0x00002000
#define IOAPIC_REMOTE_IRR      0x00004000 /* read only */
#define IOAPIC_LEVEL	       0x00008000
#define IOAPIC_MASKED	       0x00010000

#define IOAPIC_DELIVERY_FIXED  0
#define IOAPIC_DELIVERY_LOWEST 1
#define IOAPIC_DELIVERY_SMI    2
#define IOAPIC_DELIVERY_NMI    4
#define IOAPIC_DELIVERY_INIT   5
#define IOAPIC_DELIVERY_EXTINT 7

#endif
