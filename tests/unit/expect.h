/* tests/unit/expect.h: a check for the inner loops. */
#ifndef SLAT_TESTS_UNIT_EXPECT_H
#define SLAT_TESTS_UNIT_EXPECT_H

#include <check.h>

/* As ck_assert, for the inner loops: a check that holds makes no system call. */
#define EXPECT(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			ck_abort_msg("%s does not hold", #condition);                                                  \
	} while (0)

#endif
