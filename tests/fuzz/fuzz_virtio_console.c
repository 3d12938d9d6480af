/* tests/fuzz/fuzz_virtio_console.c: a hostile driver of the console (virtio_fuzz.h). Input is taken in order, at most
 * as much as was typed. The device's own operation: keys, or another size. */
#include "devices/virtio_console.h"
#include "tests/fuzz/virtio_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_console console;
static unsigned rooms;

static void show(void *self, const uint8_t *data, size_t bytes)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < bytes; i++)
		sum += data[i];
	*(uint8_t *)self += sum;
}

static void room(void *owner)
{
	MM_ASSERT(owner == &fuzz && !console.waiting, rooms, 0);
	rooms++;
}

static void own(uint8_t a, uint8_t b)
{
	uint8_t keys[255];
	size_t took;

	if (b & 1) {
		virtio_console_resize(&console, a, b);
		return;
	}
	memset(keys, b, sizeof(keys));
	took = virtio_console_input(&console, keys, a);
	MM_ASSERT(took <= a && console.waiting == (took < a), took, a);
}

static void check(void)
{
	MM_ASSERT(virtio_running(&console.virtio) || console.virtio.status != 0, console.virtio.status, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t sum;
	struct virtio_console_config config = {
		.name = "console",
		.out = {&sum, show},
		.packed = true,
		.room = room,
		.broken = fuzz_broken,
		.owner = &fuzz,
	};
	uint8_t features;

	fuzz_open(data, size, 2);
	fuzz.own = own;
	fuzz.check = check;
	features = fuzz_byte();
	config.columns = fuzz_byte();
	config.dma = fuzz.dma;
	virtio_console_init(&console, &config);
	fuzz_run(&console.virtio, features);
	return 0;
}
