/* Points: which way each takes on which host, registers and their bits, int3 that nobody sees. */
#include <check.h>
#undef fail
#include <errno.h>
#include <string.h>

#include "tests/unit/random.h"
#include "vmm/gdb_points.h"

Suite *gdb_points_suite(void);

static const struct gdb_ways hardware = {.trap = true, .exec = true, .watch = true};
static const struct gdb_ways interpreter = {.exec = true};

START_TEST(ways)
{
	static const struct {
		struct gdb_ways ways;
		enum gdb_point point;
		uint64_t gva, bytes;
		int error;
		enum gdb_way way;
	} cases[] = {
		{{.trap = true, .exec = true, .watch = true}, GDB_BREAK_SOFT, 5, 1, 0, GDB_BY_TRAP},
		{{.trap = true, .exec = true, .watch = true}, GDB_BREAK_HARD, 5, 1, 0, GDB_BY_REGISTER},
		{{.exec = true}, GDB_BREAK_SOFT, 5, 1, 0, GDB_BY_REGISTER},
		{{.exec = false}, GDB_BREAK_SOFT, 5, 1, 0, GDB_BY_STEP},
		{{.exec = false}, GDB_BREAK_HARD, 5, 1, 0, GDB_BY_STEP},
		{{.watch = true}, GDB_WATCH_WRITE, 8, 8, 0, GDB_BY_REGISTER},
		{{.watch = true}, GDB_WATCH_WRITE, 4, 8, EINVAL, 0},
		{{.watch = true}, GDB_WATCH_WRITE, 3, 3, EINVAL, 0},
		{{.watch = true}, GDB_WATCH_WRITE, 0, 0, EINVAL, 0},
		{{.watch = true}, GDB_WATCH_WRITE, 0, 16, EINVAL, 0},
		{{.watch = true}, GDB_WATCH_WRITE, 0, UINT64_MAX, EINVAL, 0},
		{{.watch = true}, GDB_WATCH_READ, 0, 4, ENOTSUP, 0},
		{{.watch = true}, GDB_WATCH_ACCESS, 2, 2, 0, GDB_BY_REGISTER},
		{{.exec = true}, GDB_WATCH_ACCESS, 2, 2, ENOTSUP, 0},
		{{.exec = true}, GDB_WATCH_WRITE, 3, 3, 0, GDB_BY_STEP},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gdb_points p = {.ways = cases[i].ways};
		struct gdb_place *place = NULL;

		ck_assert_int_eq(gdb_points_add(&p, cases[i].point, cases[i].gva, cases[i].bytes, &place),
				 cases[i].error);
		ck_assert_int_eq(place != NULL, cases[i].error == 0);
		ck_assert(!place || place->way == cases[i].way);
		ck_assert_ptr_eq(gdb_points_find(&p, cases[i].point, cases[i].gva, cases[i].bytes), place);
		ck_assert_int_eq(gdb_points_step(&p), place && place->way == GDB_BY_STEP);
	}
}
END_TEST

START_TEST(registers)
{
	struct gdb_points p = {.ways = hardware};
	struct gdb_place *place[4], *fifth;
	struct kvm_guest_debug d;

	ck_assert_int_eq(gdb_points_add(&p, GDB_BREAK_HARD, 0x1000, 1, &place[0]), 0);
	ck_assert_int_eq(gdb_points_add(&p, GDB_WATCH_WRITE, 0x2000, 1, &place[1]), 0);
	ck_assert_int_eq(gdb_points_add(&p, GDB_WATCH_ACCESS, 0x3000, 4, &place[2]), 0);
	ck_assert_int_eq(gdb_points_add(&p, GDB_WATCH_WRITE, 0x4000, 8, &place[3]), 0);
	ck_assert_int_eq(gdb_points_add(&p, GDB_BREAK_HARD, 0x5000, 1, &fifth), ENOSPC);
	ck_assert_int_eq(gdb_points_add(&p, GDB_BREAK_SOFT, 0x5000, 1, &fifth), 0);
	gdb_points_request(&p, false, &d);
	ck_assert_uint_eq(d.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_USE_SW_BP);
	for (uint64_t i = 0; i < 4; i++) {
		ck_assert_uint_eq(d.arch.debugreg[i], 0x1000 * (i + 1));
		ck_assert_ptr_eq(gdb_points_hit(&p, 0xffff0ff0 | 1u << i), place[i]);
	}
	/* L0 to L3; nothing for 0; write, 1 byte; access, 4 bytes; write, 8 bytes */
	ck_assert_uint_eq(d.arch.debugreg[7], 0x400 | 0x55 | 0x1u << 20 | 0xfu << 24 | 0x9u << 28);
	ck_assert_ptr_null(gdb_points_hit(&p, 0xffff4ff0));
	place[1]->used = false;
	ck_assert_ptr_null(gdb_points_hit(&p, 2));
	ck_assert_int_eq(gdb_points_add(&p, GDB_BREAK_HARD, 0x6000, 1, &place[1]), 0);
	ck_assert_uint_eq(place[1]->number, 1);
	gdb_points_request(&p, true, &d);
	ck_assert(d.control & KVM_GUESTDBG_SINGLESTEP);
	memset(p.place, 0, sizeof(p.place));
	gdb_points_request(&p, false, &d);
	ck_assert_uint_eq(d.control, 0);
}
END_TEST

/* What the guest is to have: its own step unless it was ours, another exception unless our old request explains it. */
START_TEST(foreign)
{
	const uint64_t step = 0xffff4ff0, other = 0xffff0ff0;

	ck_assert(!gdb_points_foreign(step, false, true));
	ck_assert(!gdb_points_foreign(step, true, true));
	ck_assert(gdb_points_foreign(step, false, false));
	ck_assert(gdb_points_foreign(step, true, false));
	ck_assert(gdb_points_foreign(other, false, false));
	ck_assert(gdb_points_foreign(other, false, true));
	ck_assert(!gdb_points_foreign(other | 1, true, false));
}
END_TEST

START_TEST(places_end)
{
	struct gdb_points p = {.ways = hardware};
	struct gdb_place *place;

	for (uint64_t i = 0; i < GDB_PLACES_MAX; i++)
		ck_assert_int_eq(gdb_points_add(&p, GDB_BREAK_SOFT, i, 1, &place), 0);
	ck_assert_int_eq(gdb_points_add(&p, GDB_BREAK_SOFT, 1000, 1, &place), ENOSPC);
	ck_assert_int_eq(gdb_points_break(&p, GDB_BY_TRAP, 7)->gva, 7);
	ck_assert_ptr_null(gdb_points_break(&p, GDB_BY_TRAP, 1000));
	ck_assert_ptr_null(gdb_points_break(&p, GDB_BY_STEP, 7));
}
END_TEST

/* Random reads and writes of a memory with int3 in it, against one without: the client sees the one without. */
START_TEST(hidden)
{
	struct gdb_points p = {.ways = hardware};
	uint8_t with[64], without[64], copy[64];
	seed(5);

	for (unsigned i = 0; i < sizeof(with); i++)
		with[i] = without[i] = (uint8_t)below(UINT64_MAX);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t at = below(UINT64_MAX) % sizeof(with), bytes = below(UINT64_MAX) % (sizeof(with) + 1 - at);
		struct gdb_place *place = gdb_points_find(&p, GDB_BREAK_SOFT, 0x1000 + at, 1);

		switch (below(UINT64_MAX) % 4) {
		case 0:
			if (!place) {
				ck_assert_int_eq(gdb_points_add(&p, GDB_BREAK_SOFT, 0x1000 + at, 1, &place), 0);
				place->host = &with[at];
				place->old[0] = with[at];
				with[at] = GDB_TRAP;
			}
			break;
		case 1:
			if (place) {
				with[at] = place->old[0];
				place->used = false;
			}
			break;
		case 2:
			for (uint64_t j = 0; j < bytes; j++)
				copy[j] = without[at + j] = (uint8_t)below(UINT64_MAX);
			gdb_points_keep(&p, 0x1000 + at, copy, bytes);
			memcpy(with + at, copy, bytes);
			break;
		default:
			memcpy(copy, with + at, bytes);
			gdb_points_hide(&p, 0x1000 + at, copy, bytes);
			ck_assert(memcmp(copy, without + at, bytes) == 0);
			ck_assert(!place || with[at] == GDB_TRAP);
		}
	}
}
END_TEST

/* Two places of one byte: whoever writes through one writes under both. */
START_TEST(twins)
{
	struct gdb_points p = {.ways = hardware};
	struct gdb_place *place[3];
	uint8_t memory[2] = {1, 2}, byte = 7;

	for (uint64_t i = 0; i < 3; i++) {
		ck_assert_int_eq(gdb_points_add(&p, GDB_BREAK_SOFT, 0x1000 * i, 1, &place[i]), 0);
		place[i]->host = &memory[i / 2];
		place[i]->old[0] = memory[i / 2];
	}
	ck_assert_ptr_eq(gdb_points_twin(&p, place[0]), place[1]);
	ck_assert_ptr_eq(gdb_points_twin(&p, place[1]), place[0]);
	ck_assert_ptr_null(gdb_points_twin(&p, place[2]));
	gdb_points_keep(&p, 0x1000, &byte, 1);
	ck_assert_uint_eq(byte, GDB_TRAP);
	ck_assert_uint_eq(place[0]->old[0], 7);
	ck_assert_uint_eq(place[1]->old[0], 7);
	ck_assert_uint_eq(place[2]->old[0], 2);
	place[0]->used = false;
	ck_assert_ptr_null(gdb_points_twin(&p, place[1]));
}
END_TEST

START_TEST(explain)
{
	const struct gdb_stop stop = {.cause = GDB_CAUSE_POINT, .point = GDB_WATCH_WRITE, .gva = 0x1000};
	struct gdb_points p = {.ways = hardware};
	struct gdb_place *place;

	ck_assert(!gdb_points_explain(&p, &stop));
	ck_assert_int_eq(gdb_points_add(&p, GDB_WATCH_ACCESS, 0x1000, 4, &place), 0);
	ck_assert_int_eq(gdb_points_add(&p, GDB_WATCH_WRITE, 0x1008, 4, &place), 0);
	ck_assert(!gdb_points_explain(&p, &stop));
	ck_assert_int_eq(gdb_points_add(&p, GDB_WATCH_WRITE, 0x1000, 4, &place), 0);
	ck_assert(gdb_points_explain(&p, &stop));
	place->used = false;
	ck_assert(!gdb_points_explain(&p, &stop));
}
END_TEST

START_TEST(interpreted)
{
	struct gdb_points p = {.ways = interpreter};
	struct gdb_place *place;
	struct kvm_guest_debug d;

	ck_assert_int_eq(gdb_points_add(&p, GDB_WATCH_WRITE, 0x1001, 2, &place), 0);
	gdb_points_request(&p, gdb_points_step(&p), &d);
	ck_assert_uint_eq(d.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
	ck_assert_ptr_null(gdb_points_hit(&p, 0xf));
	ck_assert_ptr_null(gdb_points_find(&p, GDB_WATCH_WRITE, 0x1001, 4));
}
END_TEST

Suite *gdb_points_suite(void)
{
	Suite *s = suite_create("gdb_points");
	TCase *t = tcase_create("points");

	tcase_add_test(t, ways);
	tcase_add_test(t, registers);
	tcase_add_test(t, foreign);
	tcase_add_test(t, places_end);
	tcase_add_test(t, hidden);
	tcase_add_test(t, twins);
	tcase_add_test(t, explain);
	tcase_add_test(t, interpreted);
	suite_add_tcase(s, t);
	return s;
}
