/* A client that says anything, in pieces of any length, to a fake target; between
 * the pieces vCPUs stop, the client reads a little or nothing, the run ends.
 * The fake aborts where the session breaks its own rules (gdb.c S1, S3).
 *
 * Input: pieces, each a length byte and its bytes; a length of 240 or more is
 * something that happens instead. */
#include "tests/unit/gdb_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake f;

static void drain(size_t most)
{
	size_t bytes;

	gdb_output(&f.g, &bytes);
	if (bytes > GDB_FRAME_MAX + 1)
		abort();
	gdb_sent(&f.g, bytes < most ? bytes : most);
}

static void happen(uint8_t what)
{
	switch (what & 15) {
	case 0:
		drain(3);
		break;
	case 1:
		gdb_ended(&f.g, what, 0);
		break;
	case 2:
		f.refuse_regs = !f.refuse_regs;
		break;
	default:
		if (f.running)
			fake_stop(&f, (enum gdb_cause)(what % 5), what % FAKE_CPUS, (enum gdb_point)(what % GDB_POINTS),
				  what);
	}
}

/* What is not taken, because an answer waits, is said again when that has gone. */
static void say(const uint8_t *data, size_t bytes)
{
	while (bytes) {
		size_t taken = gdb_input(&f.g, data, bytes);

		if (taken > bytes)
			abort();
		data += taken;
		bytes -= taken;
		if (gdb_closing(&f.g))
			return;
		if (bytes)
			drain(SIZE_MAX);
	}
}

/* Whole packets as well: few inputs guess a checksum. */
static void say_packet(const uint8_t *payload, size_t bytes)
{
	static uint8_t wire[GDB_FRAME_MAX];

	say(wire, gdb_frame((const char *)payload, bytes, wire));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fake_open(&f);
	for (size_t at = 0; at < size;) {
		const uint8_t what = data[at++];
		size_t bytes = what & 127;

		if (what >= 240) {
			happen(what);
			continue;
		}
		if (bytes > size - at)
			bytes = size - at;
		if (what & 128)
			say(data + at, bytes);
		else
			say_packet(data + at, bytes);
		at += bytes;
	}
	return 0;
}
