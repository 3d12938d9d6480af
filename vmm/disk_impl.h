/* vmm/disk_impl.h: private to disk.c and its tests. */
#ifndef SLAT_VMM_DISK_IMPL_H
#define SLAT_VMM_DISK_IMPL_H

#include <liburing.h>

#include "vmm/disk.h"

#define ZERO_PIECES 256u

enum way { WAY_DATA, WAY_FLUSH, WAY_PUNCH, WAY_ZERO, WAY_ZEROS };

struct disk_op {
	struct blk_step *step;
	struct disk_op *next; /* free */
	uint64_t done;
	enum way way;
};

struct disk_uring {
	struct io_uring ring;
	struct iovec zeros[ZERO_PIECES];
};

#endif
