/* vmm/balloon.h: the guest's memory as its balloon sees it: what the guest does
 * without, what of that went back to the host, and when it is asked for how much.
 * Theory: top of balloon.c.
 *
 * Threads: the balloon's lock is its device's (devices/virtio_balloon.h): balloon_ops are called with it held, and so
 *          are the other functions here once the guest runs. */
#ifndef SLAT_VMM_BALLOON_H
#define SLAT_VMM_BALLOON_H

#include "devices/virtio_balloon.h"
#include "vmm/backing.h"
#include "vmm/failure.h"
#include "vmm/ram.h"

struct balloon_stats {			 /* bytes, but for two */
	uint64_t given, taken, reported; /* RAM that the guest named, in all; given again without being taken: once */
	uint64_t returned;		 /* went back to the host, in all */
	uint64_t runs;			 /* system calls that returned it */
	uint64_t small;			 /* requests too small to return anything: of less than a page of the backing */
	uint64_t strays;		 /* named, and no RAM that the guest may write to */
	uint64_t refused;		 /* the host would not take it */
	uint64_t absent, absent_max;	 /* of the guest's RAM, now and at most: whole pages of the backing */
	uint64_t held;			 /* given, but no whole page of the backing: still the guest's on the host */
};

#define BALLOON_PARTS_MAX 16u

struct balloon_part { /* of the guest's memory: what one backing holds */
	const struct backing *backing;
	uint64_t page; /* bytes of a page of the backing */
	uint64_t frames;
	uint64_t *gone;
};

struct balloon {
	const struct ram *ram;
	struct pagetable_reader *reader;
	unsigned parts;
	struct balloon_part part[BALLOON_PARTS_MAX];
	void *books; /* the bits of all parts */
	uint64_t books_bytes;
	struct balloon_stats stats;
	bool has_statistics;
	uint64_t statistics[VIRTIO_BALLOON_S_TAGS]; /* the guest's last, UINT64_MAX: none said */
};

extern const struct balloon_ops balloon_ops; /* owner: a struct balloon */

/* Borrows all; what ram leads to lies in these backings, which are BALLOON_PARTS_MAX at most. reader: the device's, of
 * ram's table; NULL iff the table never changes. EXIT_USAGE iff one of them is a device-dax, whose pages cannot go.
 * EXIT_HOST iff this kernel takes none of one of them, or there is no memory for the books: a bit a frame of the
 * backings, as far as the guest ever gives. */
int balloon_open(struct balloon *b, const struct ram *ram, struct pagetable_reader *reader,
		 const struct backing *const *backing, unsigned backings, struct failure *f);
void balloon_close(struct balloon *b); /* fine on a zeroed one */

struct balloon_stats balloon_stats_read(const struct balloon *b);
bool balloon_check(const struct balloon *b); /* all invariants of balloon.c; O(frames) */

/* What the guest is asked for, and when. */
#define BALLOON_STEPS_MAX 32u
struct balloon_schedule {
	unsigned steps;
	struct balloon_step {
		uint64_t at_ns; /* since the guest started; the first is 0, each later one larger */
		uint64_t bytes;
	} step[BALLOON_STEPS_MAX];
	uint64_t statistics_ns; /* between two askings for statistics; 0: the guest's first ones only */
};

/* EXIT_USAGE with one sentence iff the times are not in order, or a size is more than the guest's RAM or, but for 0,
 * less than a page of each backing, so that it could not help. */
int balloon_schedule_check(const struct balloon_schedule *s, uint64_t ram_bytes, const struct backing *const *backing,
			   unsigned backings, struct failure *f);

struct balloon_timer {
	const struct balloon_schedule *schedule; /* borrowed */
	uint64_t start_ns, ask_ns;		 /* of loop_now() */
	unsigned next;
};

void balloon_timer_init(struct balloon_timer *t, const struct balloon_schedule *schedule, uint64_t start_ns);

/* Tells the device what is due at now_ns. When to call again: at what it returns, or never (LOOP_NEVER). */
uint64_t balloon_timer_run(struct balloon_timer *t, struct virtio_balloon *device, uint64_t now_ns);

#endif
