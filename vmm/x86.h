/* vmm/x86.h: bits of the control registers, as Intel SDM vol. 3A, 2.5 and 2.2.1,
 * names them: those that more than one file of vmm/ asks about. */
#ifndef SLAT_VMM_X86_H
#define SLAT_VMM_X86_H

#include <stdint.h>

#define CR0_PE	 UINT64_C(1)
#define CR0_PG	 (UINT64_C(1) << 31)
#define CR4_PAE	 (UINT64_C(1) << 5)
#define EFER_LMA (UINT64_C(1) << 10)

#endif
