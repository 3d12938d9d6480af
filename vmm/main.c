/* vmm/main.c: argv to a command; the only exit. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cmd/cmd.h"
#include "vmm/loop.h"

static const char help[] = "slat COMMAND [options]: a hypervisor-level guest memory manager\n"
			   "\n"
			   "  run IMAGE    run one guest on one contiguous block of host memory\n"
			   "  probe        what this host can do, and what slat would use\n"
			   "  table FILE   what is in a table that run --dump-table wrote\n"
			   "  pack TRACE   what a way to place guests does to a fleet of hosts\n"
			   "  sweep FILE   many experiments of pack\n"
			   "\n"
			   "slat COMMAND --help tells more; slat --version prints the version.\n"
			   "\n"
			   "Example:  slat run build/guests/hello.elf\n";

/* A descriptor that was closed would be the next file that slat opens, and take the guest's output. */
static void fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", O_RDWR); /* the lowest free number: this one */
}

int main(int argc, char **argv)
{
	const uint64_t start_ns = loop_now();
	const char *command = argc > 1 ? argv[1] : "";
	struct failure f = {0};

	fill_standard_descriptors();
	if (strcmp(command, "run") == 0)
		return cmd_run(argc - 2, argv + 2, start_ns);
	if (strcmp(command, "probe") == 0)
		return cmd_probe(argc - 2, argv + 2);
	if (strcmp(command, "table") == 0)
		return cmd_table(argc - 2, argv + 2);
	if (strcmp(command, "pack") == 0)
		return cmd_pack(argc - 2, argv + 2);
	if (strcmp(command, "sweep") == 0)
		return cmd_sweep(argc - 2, argv + 2);
	if (strcmp(command, "--version") == 0 || strcmp(command, "-V") == 0)
		return cmd_say("slat " SLAT_VERSION "\n");
	if (argc <= 1) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0 || strcmp(command, "help") == 0)
		return cmd_say(help);
	fail(&f, EXIT_USAGE, "unknown command %.64s; the commands are: run, probe, table, pack, sweep (slat --help)",
	     command);
	return cmd_refuse(&f);
}
