/* tests/fuzz/fuzz_virtio_rng.c: a hostile driver of the entropy device (virtio_fuzz.h). It never gets more than the
 * bucket allows. The device's own operation: time passes, and the alarm rings; or the host runs dry. */
#include "devices/virtio_rng.h"
#include "tests/fuzz/virtio_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_rng rng;
static uint64_t now, deadline, given;
static bool dry;

static bool give(void *owner, uint8_t *to, size_t bytes)
{
	MM_ASSERT(owner == &fuzz && bytes > 0 && bytes <= VIRTIO_RNG_PIECE, bytes, 0);
	memset(to, 0x5a, bytes);
	given += dry ? 0 : bytes;
	return !dry;
}

static uint64_t now_ns(void *self)
{
	(void)self;
	return now;
}

static void set(void *self, uint64_t deadline_ns)
{
	(void)self;
	deadline = deadline_ns;
}

static void own(uint8_t a, uint8_t b)
{
	dry = b & 1;
	now += (uint64_t)a << (b >> 3);
	if (now < deadline)
		return;
	deadline = UINT64_MAX;
	virtio_rng_expired(&rng);
}

static void check(void)
{
	const uint64_t rate = rng.config.bytes_per_second;

	MM_ASSERT(rate == 0 || (rng.tokens <= rate && given <= rate + timer_ticks(now, (uint32_t)rate)), given,
		  rng.tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_rng_config config = {
		.name = "rng",
		.owner = &fuzz,
		.random = give,
		.clock = {NULL, now_ns, NULL},
		.alarm = {NULL, set},
		.packed = true,
		.broken = fuzz_broken,
	};
	uint8_t features;

	fuzz_open(data, size, 1);
	fuzz.own = own;
	fuzz.check = check;
	now = given = 0;
	deadline = UINT64_MAX;
	dry = false;
	features = fuzz_byte();
	config.bytes_per_second = fuzz_byte() * 16u;
	config.dma = fuzz.dma;
	virtio_rng_init(&rng, &config);
	fuzz_run(&rng.virtio, features);
	return 0;
}
