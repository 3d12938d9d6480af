/* vmm/gdb_address.h: where GDB connects. Plain data. */
#ifndef SLAT_VMM_GDB_ADDRESS_H
#define SLAT_VMM_GDB_ADDRESS_H

#define GDB_PATH_MAX 107u /* bytes of a socket file's path, as the system has it */

enum gdb_address_kind { GDB_ADDRESS_NONE, GDB_ADDRESS_TCP, GDB_ADDRESS_UNIX };

struct gdb_address {
	enum gdb_address_kind kind;
	unsigned port;	  /* of 127.0.0.1; 0: any that is free */
	const char *path; /* borrowed */
};

#endif
