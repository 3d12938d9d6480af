/* vmm/worker.c: what a device's thread hears, when it is called, and that it ends. W1 to W4. */
#include <check.h>
#undef fail
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/loop.h"
#include "vmm/worker.h"

Suite *worker_suite(void);

#define MS UINT64_C(1000000)

static struct worker worker;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct failure failure;
static int fd[WORKER_SOURCES_MAX];

/* All with the lock held. */
static unsigned calls[WORKER_SOURCES_MAX], expiries, inside;
static char thread_name[16];
static sigset_t thread_mask;
static void (*meddle)(unsigned index);

static void ready(void *self, unsigned index, short revents)
{
	uint64_t count;

	ck_assert_ptr_eq(self, &worker);
	ck_assert(revents & POLLIN);
	ck_assert_uint_eq(inside++, 0); /* W1 */
	ck_assert_int_ne(pthread_mutex_trylock(&lock), 0);
	ck_assert_int_eq(read(fd[index], &count, sizeof(count)), sizeof(count));
	calls[index]++;
	prctl(PR_GET_NAME, thread_name);
	pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
	if (meddle)
		meddle(index);
	inside--;
	pthread_cond_broadcast(&changed);
}

static void expired(void *self)
{
	ck_assert_ptr_eq(self, &worker);
	ck_assert_int_ne(pthread_mutex_trylock(&lock), 0);
	expiries++;
	pthread_cond_broadcast(&changed);
}

static void ring(unsigned index)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(fd[index], &one, sizeof(one)), sizeof(one));
}

/* With the lock held: until *count is at least `wanted`. False after ms. */
static bool await(const unsigned *count, unsigned wanted, uint64_t ms)
{
	const uint64_t until = loop_now() + ms * MS;
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += (time_t)(ms / 1000);
	at.tv_nsec += (long)(ms % 1000 * MS);
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	while (*count < wanted && loop_now() < until)
		pthread_cond_timedwait(&changed, &lock, &at);
	return *count >= wanted;
}

static void open_with(unsigned sources)
{
	ck_assert_int_eq(worker_open(&worker, "disk 7", &lock, &failure), 0);
	worker.expired = expired;
	worker.expired_self = &worker;
	for (unsigned i = 0; i < sources; i++) {
		fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ck_assert_uint_eq(worker_add(&worker, fd[i], POLLIN, &worker, i, ready), i);
	}
}

static void start(bool (*poll)(void *self, bool last))
{
	memset(calls, 0, sizeof(calls));
	expiries = 0;
	meddle = NULL;
	failure = (struct failure){0};
	open_with(WORKER_SOURCES_MAX);
	worker.poll = poll;
	worker.poll_self = &worker;
	ck_assert_int_eq(worker_start(&worker, &failure), 0);
	pthread_mutex_lock(&lock);
}

static void setup(void)
{
	start(NULL);
}

static void teardown(void)
{
	pthread_mutex_unlock(&lock);
	worker_stop(&worker);
	for (unsigned i = 0; i < WORKER_SOURCES_MAX; i++)
		close(fd[i]);
}

START_TEST(each_source_is_heard)
{
	for (unsigned i = 0; i < WORKER_SOURCES_MAX; i++)
		ring(i);
	for (unsigned i = 0; i < WORKER_SOURCES_MAX; i++)
		ck_assert(await(&calls[i], 1, 5000));
	ck_assert_str_eq(thread_name, "disk 7");
	ck_assert(sigismember(&thread_mask, SIGUSR1) && sigismember(&thread_mask, SIGTERM));
	ck_assert(!sigismember(&thread_mask, SIGBUS) && !sigismember(&thread_mask, SIGSYS));
	ck_assert_uint_eq(expiries, 0);
}
END_TEST

static unsigned polls, last_polls, work;

static bool poll_for_work(void *self, bool last)
{
	ck_assert_ptr_eq(self, &worker);
	ck_assert_int_ne(pthread_mutex_trylock(&lock), 0);
	polls++;
	last_polls += last;
	if (work == 0) {
		pthread_cond_broadcast(&changed);
		return false;
	}
	work--;
	return true;
}

static void setup_polling(void)
{
	polls = last_polls = work = 0;
	start(poll_for_work);
}

/* As long as there is some; then once more, with `last`, before each sleep. */
START_TEST(it_polls_before_it_sleeps)
{
	unsigned before;

	polls = last_polls = 0;
	work = 1000;
	ring(0);
	ck_assert(await(&calls[0], 1, 5000));
	ck_assert(await(&last_polls, 1, 5000));
	while (work > 0)
		ck_assert(await(&polls, polls + 1, 5000));
	before = last_polls;
	ring(1);
	ck_assert(await(&calls[1], 1, 5000));
	ck_assert(await(&last_polls, before + 1, 5000));
	ck_assert_uint_ge(polls, 1001);
}
END_TEST

START_TEST(what_is_put_aside_is_not_heard_until_it_is_taken_up)
{
	worker_watch(&worker, 3, 0);
	ring(3);
	ring(4);
	ck_assert(await(&calls[4], 1, 5000));
	ck_assert(!await(&calls[3], 1, 20));
	worker_watch(&worker, 3, POLLIN); /* W2: while it sleeps */
	ck_assert(await(&calls[3], 1, 5000));
}
END_TEST

static void put_aside_five(unsigned index)
{
	if (index == 2)
		worker_watch(&worker, 5, 0);
}

/* W3. Both are rung while the lock keeps the thread out, so that one round has both. */
START_TEST(what_a_callback_puts_aside_is_not_called_in_its_round)
{
	meddle = put_aside_five;
	ring(2);
	ring(5);
	ck_assert(await(&calls[2], 1, 5000));
	ck_assert(!await(&calls[5], 1, 20));
	meddle = NULL;
	worker_watch(&worker, 5, POLLIN);
	ck_assert(await(&calls[5], 1, 5000));
}
END_TEST

START_TEST(a_deadline_comes_once_and_not_early)
{
	const uint64_t deadline = loop_now() + 30 * MS;

	worker_set_deadline(&worker, deadline);
	ck_assert(await(&expiries, 1, 5000));
	ck_assert_uint_ge(loop_now(), deadline);
	ck_assert(!await(&expiries, 2, 30));
	worker_set_deadline(&worker, loop_now() + 10 * MS);
	worker_set_deadline(&worker, LOOP_NEVER);
	ck_assert(!await(&expiries, 2, 30));
	worker_set_deadline(&worker, loop_now() + 3600 * UINT64_C(1000000000));
	ring(0);
	ck_assert(await(&calls[0], 1, 5000));
	worker_set_deadline(&worker, 1); /* long gone */
	ck_assert(await(&expiries, 2, 5000));
}
END_TEST

static void rearm(unsigned index)
{
	(void)index;
	worker_set_deadline(&worker, loop_now() + MS);
}

START_TEST(a_callback_may_set_the_deadline)
{
	meddle = rearm;
	for (unsigned i = 1; i <= 20; i++) {
		ring(1);
		ck_assert(await(&expiries, i, 5000));
	}
}
END_TEST

/* Another thread turns a source off and on while events come: none is slept over (W2). */
static void *ringer(void *unused)
{
	for (unsigned i = 0; i < 20000; i++) {
		ring(i % 4);
		if (i % 16 == 0) {
			pthread_mutex_lock(&lock);
			worker_watch(&worker, i / 16 % 4, i / 64 % 2 ? POLLIN : 0);
			worker_set_deadline(&worker, i % 3 ? LOOP_NEVER : loop_now() + MS / 10);
			pthread_mutex_unlock(&lock);
		}
	}
	return unused;
}

START_TEST(no_change_is_slept_over)
{
	pthread_t thread[2];
	unsigned before[4];

	pthread_mutex_unlock(&lock);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, ringer, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	pthread_mutex_lock(&lock);
	memcpy(before, calls, sizeof(before));
	for (unsigned i = 0; i < 4; i++) {
		worker_watch(&worker, i, POLLIN);
		ring(i);
	}
	for (unsigned i = 0; i < 4; i++)
		ck_assert(await(&calls[i], before[i] + 1, 5000));
}
END_TEST

static void linger(unsigned index)
{
	const struct timespec some = {0, 50 * (long)MS};

	(void)index;
	nanosleep(&some, NULL);
}

/* W4: asked to end while it is in a callback, it has not ended until that is over; what comes later is not heard. */
START_TEST(asked_to_end_it_leaves_its_callback_first)
{
	meddle = linger;
	ring(0);
	pthread_mutex_unlock(&lock);
	usleep(10000);
	worker_ask(&worker);
	ck_assert(!worker_ended(&worker));
	while (!worker_ended(&worker))
		usleep(100);
	ring(0);
	usleep(2000);
	pthread_mutex_lock(&lock);
	ck_assert_uint_eq(calls[0], 1);
}
END_TEST

START_TEST(stopping_what_was_not_started)
{
	struct worker none = {0};

	worker_stop(&none);
	worker_ask(&none);
	ck_assert(worker_ended(&none));
	ck_assert_int_ne(fcntl(0, F_GETFD), -1); /* descriptor 0 was not taken for its own */
	open_with(0);
	ck_assert(worker_ended(&worker));
	worker_stop(&worker);
	worker_stop(&worker);
}
END_TEST

START_TEST(no_descriptor_left)
{
	struct rlimit few, all;

	getrlimit(RLIMIT_NOFILE, &all);
	few = all;
	few.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &few);
	failure = (struct failure){0};
	ck_assert_int_eq(worker_open(&worker, "disk 7", &lock, &failure), EXIT_HOST);
	setrlimit(RLIMIT_NOFILE, &all);
	ck_assert_str_eq(failure.text, "disk 7: cannot create an event descriptor: Too many open files");
	worker_stop(&worker);
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("worker");
	TCase *t = tcase_create("thread"), *polling = tcase_create("polling"), *alone = tcase_create("alone");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, each_source_is_heard);
	tcase_add_test(t, what_is_put_aside_is_not_heard_until_it_is_taken_up);
	tcase_add_test(t, what_a_callback_puts_aside_is_not_called_in_its_round);
	tcase_add_test(t, a_deadline_comes_once_and_not_early);
	tcase_add_test(t, a_callback_may_set_the_deadline);
	tcase_add_test(t, no_change_is_slept_over);
	tcase_add_test(t, asked_to_end_it_leaves_its_callback_first);
	tcase_add_checked_fixture(polling, setup_polling, teardown);
	tcase_add_test(polling, it_polls_before_it_sleeps);
	tcase_add_test(alone, stopping_what_was_not_started);
	tcase_add_test(alone, no_descriptor_left);
	suite_add_tcase(s, t);
	suite_add_tcase(s, polling);
	suite_add_tcase(s, alone);
	return s;
}
