/* vmm/cmd/cmd.h: the commands of slat. Each gets what follows its name and
 * returns the exit code; it has printed its own sentence by cmd_refuse(). */
#ifndef SLAT_VMM_CMD_CMD_H
#define SLAT_VMM_CMD_CMD_H

#include <stdint.h>

#include "vmm/failure.h"

#define SLAT_VERSION "0.1.0"

/* start_ns: when the process started, of loop_now(). */
int cmd_run(int argc, char **argv, uint64_t start_ns);
int cmd_probe(int argc, char **argv);
int cmd_table(int argc, char **argv);
int cmd_pack(int argc, char **argv);
int cmd_sweep(int argc, char **argv);

/* Prints the sentence; returns the code. */
int cmd_refuse(const struct failure *f);

/* Every command ends with it when it has printed to standard output. EXIT_HOST with one sentence iff some of that could
 * not be written; errno says why. */
int cmd_written(struct failure *f);

/* Prints a text, as --help does; returns the exit code. */
int cmd_say(const char *text);

#endif
