/* vmm/pack/live_table.c
 *
 * What it is. A hash table with chains of numbers instead of pointers: a guest's
 * number is where its entry lies, and stays so while the table grows.
 *
 * Words. An entry is free or a guest's. A name is near if it fits into the entry,
 * else far: the hashes that some traces call their guests by are 64 bytes long.
 *
 * Invariants, all of them verified by live_table_check():
 *   L1  each guest's entry is in exactly one chain, that of its hash, and no free one is;
 *   L2  the free entries are exactly the chain from `free`; with the guests they are
 *       all of [0, entries);
 *   L3  a hash is its name's; a near name has zeros behind; no two names are equal;
 *   L4  count is how many guests there are, count_max bounds it, and count <= buckets.
 *
 * Cost. One look into the buckets and one or two at entries: two or three lines of
 * cache. Growing doubles, so it is O(1) an arrival on average. The hash is no secret:
 * whoever writes a trace for it makes each event O(guests), and waits for himself.
 *
 * Memory. 40 bytes an entry and 4 a bucket, at most twice as many of each as guests
 * were there at once, and far names while their guests are there, and of the last who was not.
 *
 * Failure. What grows does so before anything changes. Buckets that cannot grow do
 * not refuse the guest unless L4 demands it: then the add fails.
 *
 * Rejected. Open addressing: entries would move, and with them numbers. The lowest
 * free number instead of the last one given up: a heap more, for nobody who asks. */
#include "vmm/pack/live_table_impl.h"

#include <string.h>

#include "mm/port.h"

#define MIX_A UINT64_C(0x9e3779b97f4a7c15) /* 2^64 / the golden ratio: odd, no pattern */
#define MIX_B UINT64_C(0xbf58476d1ce4e5b9) /* of splitmix64 */

struct key { /* a name, and what is worked out once */
	const char *name;
	size_t length;
	uint64_t word[2]; /* the bytes of a near one */
	uint32_t hash;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	const unsigned __int128 product = (unsigned __int128)(a ^ MIX_A) * (b ^ MIX_B);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static struct key key_of(const char *name, size_t length)
{
	struct key k = {.name = name, .length = length};
	uint64_t hash = length, word[2];
	size_t i = 0;

	if (length <= LIVE_NEAR) {
		memcpy(k.word, name, length);
		hash = mix(hash ^ k.word[0], k.word[1]);
	}
	for (; length > LIVE_NEAR && i < length; i += sizeof(word)) {
		const size_t left = length - i;

		memset(word, 0, sizeof(word));
		memcpy(word, name + i, left < sizeof(word) ? left : sizeof(word));
		hash = mix(hash ^ word[0], word[1]);
	}
	k.hash = (uint32_t)(hash ^ (hash >> 32));
	return k;
}

static bool is_near(uint32_t length)
{
	return length <= LIVE_NEAR;
}

static bool names(const struct live_entry *e, const struct key *k)
{
	if (e->hash != k->hash || e->length != k->length)
		return false;
	return is_near(e->length) ? memcmp(e->name.near, k->word, LIVE_NEAR) == 0
				  : memcmp(e->name.far, k->name, k->length) == 0;
}

/* What leads to the entry of that name: it, or the LIVE_NONE at the chain's end. */
static uint32_t *find(const struct live_table *t, const struct key *k)
{
	uint32_t *link = &t->bucket[k->hash & (t->buckets - 1)];

	while (*link != LIVE_NONE && !names(&t->entry[*link], k))
		link = &t->entry[*link].next;
	return link;
}

static bool grow_buckets(struct live_table *t)
{
	const uint32_t buckets = t->buckets ? t->buckets * 2 : LIVE_FIRST;
	uint32_t *bucket = alloc_resize(t->alloc, NULL, buckets, sizeof(*bucket));

	if (!bucket)
		return false;
	memset(bucket, 0xff, buckets * sizeof(*bucket));
	for (uint32_t i = 0; i < t->entries; i++) {
		struct live_entry *e = &t->entry[i];

		if (e->length != LIVE_FREE) {
			e->next = bucket[e->hash & (buckets - 1)];
			bucket[e->hash & (buckets - 1)] = i;
		}
	}
	free(t->bucket);
	t->bucket = bucket;
	t->buckets = buckets;
	return true;
}

static bool grow_entries(struct live_table *t)
{
	const uint32_t room = t->room ? t->room * 2 : LIVE_FIRST;
	struct live_entry *entry = alloc_resize(t->alloc, t->entry, room, sizeof(*entry));

	if (!entry)
		return false;
	t->entry = entry;
	t->room = room;
	return true;
}

struct live_table *live_table_open(struct alloc *alloc)
{
	struct live_table *t = alloc_zeroed(alloc, 1, sizeof(*t));

	if (!t)
		return NULL;
	t->alloc = alloc;
	t->free = LIVE_NONE;
	if (!grow_buckets(t)) {
		free(t);
		return NULL;
	}
	return t;
}

static void forget_gone(struct live_table *t)
{
	if (!is_near(t->gone_length))
		free(t->gone.far);
}

void live_table_close(struct live_table *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->entries; i++)
		if (t->entry[i].length != LIVE_FREE && !is_near(t->entry[i].length))
			free(t->entry[i].name.far);
	forget_gone(t);
	free(t->entry);
	free(t->bucket);
	free(t);
}

/* An entry with that name, in no chain yet. LIVE_NONE: no memory. */
static uint32_t take_entry(struct live_table *t, const struct key *k)
{
	const uint32_t guest = t->free != LIVE_NONE ? t->free : t->entries;
	struct live_entry *e;
	char *far = NULL;

	if (guest == t->room && !grow_entries(t))
		return LIVE_NONE;
	if (k->length > LIVE_NEAR) {
		far = alloc_resize(t->alloc, NULL, k->length, 1);
		if (!far)
			return LIVE_NONE;
		memcpy(far, k->name, k->length);
	}
	e = &t->entry[guest];
	if (guest == t->entries)
		t->entries++;
	else
		t->free = e->next;
	e->hash = k->hash;
	e->length = (uint32_t)k->length;
	if (far)
		e->name.far = far;
	else
		memcpy(e->name.near, k->word, LIVE_NEAR);
	return guest;
}

enum live_result live_table_add(struct live_table *t, const char *name, size_t length, uint64_t leaves, uint32_t *guest)
{
	const struct key k = key_of(name, length);
	uint32_t *head, taken;

	if (*find(t, &k) != LIVE_NONE)
		return LIVE_TWICE;
	if (length >= LIVE_FREE || t->count == LIVE_MAX || (t->count == t->buckets && !grow_buckets(t)))
		return LIVE_NO_ROOM;
	taken = take_entry(t, &k);
	if (taken == LIVE_NONE)
		return LIVE_NO_ROOM;
	head = &t->bucket[k.hash & (t->buckets - 1)];
	t->entry[taken].leaves = leaves;
	t->entry[taken].next = *head;
	*head = taken;
	t->count++;
	if (t->count > t->count_max)
		t->count_max = t->count;
	*guest = taken;
	return LIVE_OK;
}

static void give_up(struct live_table *t, uint32_t *link)
{
	const uint32_t guest = *link;
	struct live_entry *e = &t->entry[guest];

	*link = e->next;
	forget_gone(t);
	t->gone = e->name;
	t->gone_length = e->length;
	e->length = LIVE_FREE;
	e->next = t->free;
	t->free = guest;
	t->count--;
}

enum live_result live_table_remove(struct live_table *t, const char *name, size_t length, uint32_t *guest)
{
	const struct key k = key_of(name, length);
	uint32_t *link = find(t, &k);

	if (*link == LIVE_NONE)
		return LIVE_UNKNOWN;
	*guest = *link;
	give_up(t, link);
	return LIVE_OK;
}

void live_table_remove_guest(struct live_table *t, uint32_t guest)
{
	uint32_t *link;

	MM_ASSERT(guest < t->entries && t->entry[guest].length != LIVE_FREE, guest, t->entries);
	link = &t->bucket[t->entry[guest].hash & (t->buckets - 1)];
	while (*link != guest)
		link = &t->entry[*link].next;
	give_up(t, link);
}

const char *live_table_gone(const struct live_table *t, size_t *length)
{
	*length = t->gone_length;
	return is_near(t->gone_length) ? t->gone.near : t->gone.far;
}

enum live_result live_table_find(const struct live_table *t, const char *name, size_t length, uint32_t *guest,
				 uint64_t *leaves)
{
	const struct key k = key_of(name, length);
	const uint32_t found = *find(t, &k);

	if (found == LIVE_NONE)
		return LIVE_UNKNOWN;
	*guest = found;
	*leaves = t->entry[found].leaves;
	return LIVE_OK;
}

uint32_t live_table_count(const struct live_table *t)
{
	return t->count;
}

uint32_t live_table_count_max(const struct live_table *t)
{
	return t->count_max;
}

/* ---- invariants ---- */

static struct key key_of_entry(const struct live_entry *e)
{
	return key_of(is_near(e->length) ? e->name.near : e->name.far, e->length);
}

static bool check_entry(const struct live_table *t, const struct live_entry *e, uint32_t bucket) /* L1, L3 */
{
	struct key k;

	if (e->length == LIVE_FREE)
		return false;
	k = key_of_entry(e);
	for (size_t i = e->length; i < LIVE_NEAR; i++)
		if (e->name.near[i])
			return false;
	return e->hash == k.hash && (e->hash & (t->buckets - 1)) == bucket && &t->entry[*find(t, &k)] == e;
}

bool live_table_check(const struct live_table *t)
{
	uint64_t live = 0, unused = 0;

	for (uint32_t b = 0; b < t->buckets; b++)
		for (uint32_t i = t->bucket[b]; i != LIVE_NONE; i = t->entry[i].next)
			if (i >= t->entries || live++ == t->entries || !check_entry(t, &t->entry[i], b))
				return false;
	for (uint32_t i = t->free; i != LIVE_NONE; i = t->entry[i].next) /* L2 */
		if (i >= t->entries || unused++ == t->entries || t->entry[i].length != LIVE_FREE)
			return false;
	return live + unused == t->entries && t->entries <= t->room && t->count == live && /* L4 */
	       t->count <= t->count_max && t->count <= t->buckets;
}
