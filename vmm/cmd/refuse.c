#include <stdio.h>

#include "vmm/cmd/cmd.h"

int cmd_refuse(const struct failure *f)
{
	fprintf(stderr, "slat: %s\n", f->text);
	return f->code;
}
