/* tests/fuzz/replay.c: gives each file named on the command line to a fuzz
 * target, so that `make check` needs no fuzzing engine to run the corpus. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		uint8_t *data = NULL;
		size_t used = 0, room = 0, got;

		if (!file) {
			perror(argv[i]);
			return 1;
		}
		do {
			if (used == room) {
				room = room ? room * 2 : 4096;
				data = realloc(data, room);
				if (!data)
					abort();
			}
			got = fread(data + used, 1, room - used, file);
			used += got;
		} while (got);
		fclose(file);
		LLVMFuzzerTestOneInput(data, used);
		free(data);
	}
	return argc > 1 ? 0 : 1;
}
