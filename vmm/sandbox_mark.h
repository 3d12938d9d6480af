/* vmm/sandbox_mark.h: stands in the filter, made before there is a process, for the
 * process's number; no system call's number or argument of the list is as large. */
#ifndef SLAT_VMM_SANDBOX_MARK_H
#define SLAT_VMM_SANDBOX_MARK_H

#define SANDBOX_MARK 0x7a3c51e9u

#endif
