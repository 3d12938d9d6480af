/* guests/hv/inner.h: an inner guest, one instruction's worth at a time. */
#ifndef SLAT_GUESTS_HV_INNER_H
#define SLAT_GUESTS_HV_INNER_H

#include <stdbool.h>
#include <stdint.h>

struct inner_regs {   /* world.S knows where they are */
	uint64_t rax; /* in and out */
	uint64_t rdi;
};

/* How to run it: 64-bit mode, ring 0, on page tables of its own. */
struct inner_entry {
	uint64_t rip, cr3, rax, rdi;
};

enum inner_end { INNER_HALTED, INNER_VIOLATION, INNER_MISCONFIGURED, INNER_OTHER };

struct inner_exit {
	enum inner_end end;
	uint64_t reason;   /* the hardware's own number */
	uint64_t info;	   /* exit qualification or EXITINFO1 */
	uint64_t gpa, gva; /* of a violation; gva only where gva_known */
	bool gva_known;
	uint64_t rip, rax;
};

/* One of two: VMX with EPT, SVM with NPT. */
struct inner_cpu {
	const char *name;
	bool (*start)(void);		/* once; false: this CPU cannot, and the console says why */
	uint64_t (*capability)(void);	/* IA32_VMX_EPT_VPID_CAP, or 0 */
	void (*load)(uint64_t pointer); /* EPTP or nCR3; nothing of an older one is remembered */
	void (*flush)(void);		/* entries of it have changed */
	void (*run)(const struct inner_entry *in, struct inner_exit *out);
};

extern const struct inner_cpu vmx_cpu, svm_cpu;

/* What the inner guest runs: one instruction each and a HLT; in its code page. */
extern const uint8_t inner_code[], inner_code_end[];
extern const uint8_t inner_read1[], inner_read8[], inner_write1[], inner_write8[], inner_fetch[];

#endif
