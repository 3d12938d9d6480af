/* tests/fuzz/fuzz_passt.c: whatever passt may send, cut anywhere, beside a cutter of frames that has it all at once.
 * Input: pieces, a byte of length before each, all of one stream. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/passt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct passt passt;
static uint8_t stream[1u << 16], frame[VIRTIO_NET_FRAME_MAX];
static size_t sent, seen;

/* All frames that are whole by now come, as they were sent; and no more once a length was none. */
static void take(void)
{
	for (;;) {
		const size_t got = passt_receive(&passt, frame, sizeof(frame));
		const uint8_t *p = stream + seen;
		const uint32_t bytes =
			sent - seen < 4 ? 0 : (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
		const bool bad = sent - seen >= 4 && (bytes < 14 || bytes > VIRTIO_NET_FRAME_MAX);

		MM_ASSERT(passt.gone == bad, bytes, sent - seen);
		if (got == 0) {
			MM_ASSERT(bad || sent - seen < 4 || sent - seen - 4 < bytes, bytes, sent - seen);
			return;
		}
		MM_ASSERT(got == bytes && memcmp(frame, p + 4, got) == 0, got, bytes);
		seen += 4 + got;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int ends[2];

	if (size > sizeof(stream) || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		return 0;
	passt_adopt(&passt, ends[0]);
	sent = seen = 0;
	for (size_t at = 0; at < size;) {
		size_t piece = data[at++];

		piece = piece < size - at ? piece : size - at;
		if (piece && send(ends[1], data + at, piece, MSG_NOSIGNAL) != (ssize_t)piece)
			break;
		memcpy(stream + sent, data + at, piece);
		sent += piece;
		at += piece;
		take();
	}
	passt_close(&passt);
	close(ends[1]);
	return 0;
}
