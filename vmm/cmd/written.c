#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cmd/cmd.h"

int cmd_written(struct failure *f)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return fail(f, EXIT_HOST, "standard output cannot be written: %s", strerror(errno));
}

int cmd_say(const char *text)
{
	struct failure f = {0};

	fputs(text, stdout);
	return cmd_written(&f) ? cmd_refuse(&f) : EXIT_OK;
}
