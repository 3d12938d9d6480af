/* vmm/preload_slot.c: threads and forks.
 *
 * What it is. The heap below knows CPUs, each of which one thread at a time may be; here
 * threads become CPUs. A slot is one such number. A thread takes one of its own at its
 * first call and gives it back when it ends; who finds none, and who calls after its
 * end (destructors of others), works under a shared slot, which has a lock.
 *
 * Words. The front: a thread's table of its slot's magazines, by size and by kind. A call
 * that a magazine serves goes from the front to the magazine and writes nothing else. All
 * other calls are visits: they enter and leave.
 *
 * Forks. The child has one thread, and all memory as it was: had another thread been on
 * a visit, locks would stay taken and lists half changed. So fork() closes the gate first:
 * who enters waits; who is inside is waited for. A visit begins with an exchange of
 * `inside` and a look at the gate, which the forker closes before it looks at `inside`:
 * one of them sees the other. The forker itself passes its gate, since what others have to do
 * at a fork may allocate.
 *
 * Calls that magazines serve do not see the gate; they are not stopped. What the child sees of them is
 * two words, the magazine's and its top, perhaps one as it was before and one as it was after,
 * since a fork copies one page at a time. So the child abandons the magazines of threads that it
 * does not have: their free objects, 128 KiB or 62 objects twice a class at most, are lost to it.
 * Locks and lists are whole. That is the price of a fast way without a single
 * instruction for forks; a process of one thread does not pay it.
 *
 * Invariants: I1 a slot of its own is taken by at most one thread, and its front is
 * the only one that points to its magazines; I2 who holds a shared slot's lock is inside or
 * about to look at the gate, never waits at it.
 *
 * Threads that end. The destructor of a key of ours gives the slot back, as late as the
 * rounds of destructors allow. What lies in its magazines stays for the next thread, until
 * somebody looks for memory: then idle slots are visited, too. Each once a leaving, since
 * nothing comes to lie there without a thread.
 *
 * Rejected. A flag that each call sets and clears, and membarrier() in fork(): exact, but two stores and a
 * test in each call. Taking the locks of the heap in fork(): it has no list of them. */
#include <pthread.h>
#include <time.h>

#include "vmm/preload_heap.h"
#include "vmm/preload_range.h"
#include "vmm/preload_slot.h"

#ifdef __SANITIZE_THREAD__
#define FAREWELLS 0u /* its own last round is the last for what it watches */
#else
#define FAREWELLS 3u /* rounds of destructors that others have before us; there are 4 */
#endif

#define DUE_EACH	256u
#define DUE_NANOSECONDS INT64_C(1000000000)

struct preload_slot {
	_Alignas(64) uint32_t inside; /* written by who works under it */
	uint32_t visits;
	pthread_mutex_t shared;
};

static struct preload_slot slots[PRELOAD_SLOTS];
static uint64_t taken; /* a bit for each slot that a thread has */
static uint64_t left;  /* since the last look a thread had it, and has it no more; or, of a shared one, was there */
static uint32_t next_shared;
static int64_t due_at; /* coarse monotonic nanoseconds */
static pthread_key_t key;
static bool key_made;

static pthread_mutex_t gate_mutex = PTHREAD_MUTEX_INITIALIZER;
static const struct preload_front *gate; /* whose owner forks; NULL: open */

__thread struct preload_front preload_front __attribute__((tls_model("initial-exec")));

static unsigned cpu_of(const struct preload_slot *slot)
{
	return (unsigned)(slot - slots);
}

/* ---- slots of threads ---- */

static struct preload_slot *take_own(void)
{
	const uint64_t own = (UINT64_C(1) << PRELOAD_SLOTS_OWN) - 1;
	uint64_t now = __atomic_load_n(&taken, __ATOMIC_RELAXED), bit;

	do {
		bit = ~now & own;
		bit &= -bit;
		if (bit == 0)
			return NULL;
	} while (!__atomic_compare_exchange_n(&taken, &now, now | bit, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return &slots[__builtin_ctzll(bit)];
}

static void mark_left(const struct preload_slot *slot)
{
	uint64_t bit = UINT64_C(1) << cpu_of(slot);

	if (!(__atomic_load_n(&left, __ATOMIC_RELAXED) & bit))
		__atomic_fetch_or(&left, bit, __ATOMIC_RELAXED);
}

static void give_own(struct preload_slot *slot)
{
	__atomic_fetch_and(&taken, ~(UINT64_C(1) << cpu_of(slot)), __ATOMIC_RELEASE);
}

static void farewell(void *front)
{
	(void)front;
	if (preload_front.farewells++ != FAREWELLS && pthread_setspecific(key, &preload_front) == 0)
		return;
	for (unsigned i = 0; i < sizeof(preload_front.by_size) / sizeof(preload_front.by_size[0]); i++)
		preload_front.by_size[i] = NULL;
	for (unsigned i = 0; i <= GENERAL_HEAP_CLASSES; i++)
		preload_front.by_kind[i].hot = preload_front.sampled[i].hot = NULL;
	preload_front.leaving = true;
	if (preload_front.slot) {
		give_own(preload_front.slot);
		/* Before, and who looks just now would see it taken, and not look again. */
		mark_left(preload_front.slot);
	}
	preload_front.slot = NULL;
}

/* The key's value may need memory itself: by then the slot is there. */
static struct preload_slot *own(void)
{
	if (preload_front.slot || preload_front.leaving)
		return preload_front.slot;
	preload_front.slot = take_own();
	if (preload_front.slot && key_made && pthread_setspecific(key, &preload_front) != 0) {
		give_own(preload_front.slot);
		preload_front.slot = NULL;
	}
	return preload_front.slot;
}

/* ---- visits ---- */

static bool go_inside(struct preload_slot *slot)
{
	const struct preload_front *forker;

	__atomic_exchange_n(&slot->inside, 1, __ATOMIC_SEQ_CST);
	forker = __atomic_load_n(&gate, __ATOMIC_SEQ_CST);
	if (__builtin_expect(!forker || forker == &preload_front, 1))
		return true;
	__atomic_store_n(&slot->inside, 0, __ATOMIC_RELEASE);
	return false;
}

static void wait_at_gate(void)
{
	pthread_mutex_lock(&gate_mutex);
	pthread_mutex_unlock(&gate_mutex);
}

static struct preload_visit enter_shared(void)
{
	for (;;) {
		uint32_t n = __atomic_fetch_add(&next_shared, 1, __ATOMIC_RELAXED) % PRELOAD_SLOTS_SHARED;
		struct preload_slot *slot = &slots[PRELOAD_SLOTS_OWN + n];

		pthread_mutex_lock(&slot->shared);
		if (go_inside(slot)) {
			mark_left(slot);
			return (struct preload_visit){cpu_of(slot), slot};
		}
		pthread_mutex_unlock(&slot->shared);
		wait_at_gate();
	}
}

struct preload_visit preload_enter(void)
{
	struct preload_slot *slot = own();

	if (!slot)
		return enter_shared();
	while (!go_inside(slot))
		wait_at_gate();
	return (struct preload_visit){cpu_of(slot), slot};
}

void preload_leave(struct preload_visit visit)
{
	__atomic_store_n(&visit.slot->inside, 0, __ATOMIC_RELEASE);
	if (visit.cpu >= PRELOAD_SLOTS_OWN)
		pthread_mutex_unlock(&visit.slot->shared);
}

void preload_front_learn(struct preload_visit visit, unsigned class)
{
	size_t bytes = general_heap_class_bytes(class), below = class > 0 ? general_heap_class_bytes(class - 1) : 0;
	struct preload_small *small = preload_heap_plain ? preload_front.by_kind : preload_front.sampled;
	struct slab_cache *cache;
	struct slab_hot *hot;

	small += 1 + class;
	if (visit.slot != preload_front.slot || small->hot)
		return;
	cache = general_heap_cache(&preload_range.heap, class);
	if (!cache)
		return;
	hot = slab_hot_of(cache, visit.cpu);
	*small = (struct preload_small){hot, slab_layout_of(cache)};
	preload_front.cpu = visit.cpu;
	if (!preload_heap_plain)
		return;
	for (size_t at = class > 0 ? below + 16 : 0; at <= bytes && at <= PRELOAD_TABLE_BYTES; at += 16)
		preload_front.by_size[at / 16] = hot;
}

bool preload_is_due(struct preload_visit visit)
{
	struct timespec now;
	int64_t at, due = __atomic_load_n(&due_at, __ATOMIC_RELAXED);

	if (++visit.slot->visits % DUE_EACH != 0 || clock_gettime(CLOCK_MONOTONIC_COARSE, &now) != 0)
		return false;
	at = now.tv_sec * DUE_NANOSECONDS + now.tv_nsec;
	return at >= due && __atomic_compare_exchange_n(&due_at, &due, at + DUE_NANOSECONDS, false, __ATOMIC_RELAXED,
							__ATOMIC_RELAXED);
}

static bool visit_idle(struct preload_slot *slot, void (*visitor)(unsigned cpu))
{
	uint64_t bit = UINT64_C(1) << cpu_of(slot);

	if (cpu_of(slot) >= PRELOAD_SLOTS_OWN) {
		if (pthread_mutex_trylock(&slot->shared) != 0)
			return false;
		visitor(cpu_of(slot));
		pthread_mutex_unlock(&slot->shared);
	} else if (!(__atomic_fetch_or(&taken, bit, __ATOMIC_ACQUIRE) & bit)) {
		visitor(cpu_of(slot));
		give_own(slot);
	} /* else the thread that has it leaves it once more */
	return true;
}

void preload_each_left(void (*visitor)(unsigned cpu))
{
	uint64_t some = __atomic_load_n(&left, __ATOMIC_RELAXED);

	if (some)
		some = __atomic_exchange_n(&left, 0, __ATOMIC_RELAXED);
	for (; some; some &= some - 1) {
		struct preload_slot *slot = &slots[__builtin_ctzll(some)];

		if (!visit_idle(slot, visitor))
			mark_left(slot);
	}
}

/* ---- forks ---- */

static void before_fork(void)
{
	pthread_mutex_lock(&gate_mutex);
	__atomic_store_n(&gate, &preload_front, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < PRELOAD_SLOTS; i++)
		while (&slots[i] != preload_front.slot && __atomic_load_n(&slots[i].inside, __ATOMIC_SEQ_CST))
			mm_yield(); /* whoever is inside may be of a lower priority */
}

static void after_fork(void)
{
	__atomic_store_n(&gate, NULL, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&gate_mutex);
}

static void in_child(void)
{
	uint64_t mine = preload_front.slot ? UINT64_C(1) << cpu_of(preload_front.slot) : 0;

	for (unsigned i = 0; i < PRELOAD_SLOTS; i++) {
		if (taken & ~mine & UINT64_C(1) << i)
			general_heap_abandon(&preload_range.heap, i);
		slots[i].shared = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	}
	taken = mine;
	gate_mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	__atomic_store_n(&gate, NULL, __ATOMIC_SEQ_CST);
}

void preload_slots_watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, in_child);
}

void preload_slots_make(void)
{
	key_made = pthread_key_create(&key, farewell) == 0;
	for (unsigned i = 0; i < PRELOAD_SLOTS; i++)
		slots[i].shared = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}
