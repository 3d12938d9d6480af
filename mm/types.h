/* mm/types.h: the words every allocator in mm/ shares.
 * mm/ manages numbers (frames, units) and memory that it is lent. It never
 * allocates, never calls the system, keeps no globals. */
#ifndef SLAT_MM_TYPES_H
#define SLAT_MM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_SHIFT 12u
#define FRAME_BYTES (UINT64_C(1) << FRAME_SHIFT)

/* A host frame number: a physical address divided by FRAME_BYTES. A type of
 * its own, since a gfn and a pfn that change places corrupt another guest.
 * Frame 0 is a real frame: no function uses it to say "none". */
struct pfn {
	uint64_t n;
};

/* What an operation answers. Results go by out pointer; on anything but MM_OK
 * neither the structure nor *out has changed. */
enum mm_err {
	MM_OK = 0,
	MM_EINVAL, /* an argument is outside its documented range */
	MM_ENOMEM, /* no hole, no frame or no metadata node is left for it */
	MM_EEXIST, /* the range overlaps one that is already taken or mapped */
	MM_ENOENT, /* nothing is there */
	MM_EBUSY,  /* something holds it: a pin, a live object, a lender */
	MM_ESTATE, /* the range is not in the state that the call needs: a wrong or double free */
};

#define MM_MUST_CHECK __attribute__((warn_unused_result))

_Static_assert(FRAME_BYTES == 4096, "x86-64 and every format in mm/pagetable.h count in 4 KiB");
_Static_assert(sizeof(struct pfn) == 8, "a pfn costs no more than its number");

#endif
