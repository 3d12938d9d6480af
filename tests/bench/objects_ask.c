/* tests/bench/objects_ask.c: the end that starts the processes of the objects'
 * figures and asks them. Theory: top of objects.c. */
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/objects.h"

int objects_start(const char *program, const char *name, const char *preload)
{
	const char *words[] = {program, "--serve", name, NULL};
	posix_spawn_file_actions_t actions;
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		bench_refuse("no socket", NULL);
	if (preload)
		setenv("LD_PRELOAD", preload, 1);
	else
		unsetenv("LD_PRELOAD");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], OBJECTS_FD);
	if (posix_spawn(&pid, program, &actions, NULL, (char *const *)(uintptr_t)words, environ))
		bench_refuse("cannot run", program);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	return ends[0];
}

double objects_ask(int socket, uint32_t number, const char *whom)
{
	double ns;

	if (send(socket, &number, sizeof(number), MSG_NOSIGNAL) != sizeof(number) ||
	    read(socket, &ns, sizeof(ns)) != sizeof(ns))
		bench_refuse("its process ended", whom);
	return ns;
}
