/* tests/fuzz/fuzz_slab.c: a stream of operations on a small cache, against a list
 * of who has which bytes. The source is small, and smaller at will, so that most
 * streams meet its end.
 *
 * Input: 6 bytes choose object size (2), alignment, CPUs, the source's frames, and
 * whether there is a constructor; then 2 bytes an operation: verb and CPU, and
 * which object, how often, or how many frames. */
#include <stdlib.h>
#include <string.h>

#include "mm/port.h"
#include "mm/slab_impl.h"

#define FRAMES	 1024u
#define CPUS	 3u
#define LIVE_MAX 1024u
#define MADE	 0x5a

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum verb { ALLOC, FREE, ALLOC_MANY, FREE_MANY, REAP, REAP_ALL, FAIL_AFTER, FRAMES_MAX };

static char *arena;
static uint8_t order_of[FRAMES]; /* 1 + the order of the run that this frame is in; 0: free */
static uint32_t frames_out, frames_max;
static struct slab_config config;
static struct slab_cache *cache;
static struct live {
	unsigned char *object;
	unsigned char mark;
} live[LIVE_MAX];
static uint32_t lives;

static bool run_is(uint32_t first, uint32_t frames, uint8_t order)
{
	for (uint32_t i = 0; i < frames; i++)
		if (order_of[first + i] != order)
			return false;
	return true;
}

static enum mm_err take(void *self, unsigned cpu, unsigned order, void **out)
{
	uint32_t frames = UINT32_C(1) << order, first = 0;

	(void)self;
	MM_ASSERT(cpu < config.cpus, cpu, order);
	while (first < FRAMES && !run_is(first, frames, 0))
		first += frames;
	if (first >= FRAMES || frames_out + frames > frames_max)
		return MM_ENOMEM;
	memset(&order_of[first], (int)order + 1, frames);
	frames_out += frames;
	*out = arena + first * FRAME_BYTES;
	return MM_OK;
}

static void give(void *self, unsigned cpu, unsigned order, void *slab)
{
	uint32_t frames = UINT32_C(1) << order, first = (uint32_t)(((char *)slab - arena) / (long)FRAME_BYTES);

	(void)self;
	MM_ASSERT(cpu < config.cpus, cpu, order);
	MM_ASSERT(first % frames == 0 && run_is(first, frames, (uint8_t)(order + 1)), first, order);
	memset(&order_of[first], 0, frames);
	memset(slab, 0xdd, 512);
	frames_out -= frames;
}

/* First and last bytes: where a neighbour would write. */
static void paint(unsigned char *object, unsigned char mark)
{
	object[0] = object[config.bytes - 1] = mark;
}

static void expect(const unsigned char *object, unsigned char mark)
{
	MM_ASSERT(object[0] == mark && object[config.bytes - 1] == mark, object, mark);
}

static void construct(void *self, void *object)
{
	(void)self;
	paint(object, MADE);
}

static void do_alloc(unsigned cpu)
{
	unsigned char *object;

	if (lives == LIVE_MAX)
		return;
	object = slab_alloc(cache, cpu);
	if (!object)
		return;
	MM_ASSERT((uintptr_t)object % (config.align ? config.align : 1) == 0, object, config.align);
	if (config.construct)
		expect(object, MADE);
	live[lives] = (struct live){object, (unsigned char)lives};
	paint(object, live[lives++].mark);
}

static void do_free(unsigned cpu, uint32_t which)
{
	struct live *l;

	if (lives == 0)
		return;
	l = &live[which % lives];
	expect(l->object, l->mark);
	paint(l->object, MADE);
	slab_free(cache, cpu, l->object);
	*l = live[--lives];
}

static void step(const uint8_t op[2])
{
	unsigned cpu = op[0] / 8 % config.cpus;

	switch ((enum verb)(op[0] % 8)) {
	case ALLOC:
		do_alloc(cpu);
		break;
	case FREE:
		do_free(cpu, op[1]);
		break;
	case ALLOC_MANY:
		for (unsigned i = 0; i < op[1]; i++)
			do_alloc(cpu);
		break;
	case FREE_MANY:
		for (unsigned i = 0; i < op[1]; i++)
			do_free(cpu, i * 7);
		break;
	case REAP:
		slab_reap(cache, cpu, false);
		break;
	case REAP_ALL:
		slab_reap(cache, cpu, true);
		break;
	case FAIL_AFTER:
		slab_fail_after(cache, op[1] % 8);
		break;
	case FRAMES_MAX:
		frames_max = op[1] * (FRAMES / 256);
		break;
	}
}

static bool begin(const uint8_t *data)
{
	static _Alignas(64) unsigned char meta[4096];

	if (!arena)
		arena = aligned_alloc(FRAMES * FRAME_BYTES, FRAMES * FRAME_BYTES);
	if (!arena)
		abort();
	memset(order_of, 0, sizeof(order_of));
	frames_out = lives = 0;
	config = (struct slab_config){.bytes = data[0] | (uint32_t)data[1] << 8,
				      .align = data[2] % 16 ? UINT32_C(1) << (data[2] % 16 - 1) : 0,
				      .cpus = data[3] % (CPUS + 1),
				      .construct = data[5] & 1 ? construct : NULL,
				      .source = {NULL, take, give}};
	frames_max = data[4] * (FRAMES / 256);
	return slab_init(meta, sizeof(meta), &config, &cache) == MM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 6)
		return 0;
	if (!begin(data)) {
		MM_ASSERT(config.bytes == 0 || config.cpus == 0 || config.align > FRAME_BYTES, config.bytes,
			  config.align);
		return 0;
	}
	for (const uint8_t *op = data + 6; op + 2 <= data + size; op += 2) {
		step(op);
		MM_ASSERT(slab_check(cache), op - data, op[0]);
		MM_ASSERT(slab_stats_read(cache).objects_live == lives, lives, op[0]);
	}
	MM_ASSERT((slab_destroy(cache) == MM_EBUSY) == (lives > 0), lives, 0);
	if (lives > 0) {
		while (lives > 0)
			do_free(0, 0);
		MM_ASSERT(slab_destroy(cache) == MM_OK, 0, 0);
	}
	MM_ASSERT(frames_out == 0, frames_out, 0);
	return 0;
}
