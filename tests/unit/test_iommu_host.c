/* vmm/iommu_host.c: what a hostile driver can make the host spend on tables, and that faults are told. */
#include <check.h>
#undef fail
#include <poll.h>
#include <unistd.h>

#include "vmm/iommu_host.h"

Suite *iommu_host_suite(void);

#define RAM	  (UINT64_C(512) << 20)
#define PAGES_MAX (16384 + 512) /* of tables, for so much RAM */
#define GIB	  (UINT64_C(1) << 30)

static struct memory memory;
static struct iommu_host *h;
static struct failure failure;

static void setup(void)
{
	failure = (struct failure){0};
	ck_assert_int_eq(memory_open(&memory, &failure), 0);
	h = iommu_host_open(&memory, RAM, false, &failure);
	ck_assert_ptr_nonnull(h);
	(void)iommu_add_endpoint(&h->iommu, 5);
}

/* memory_close() objects to what was not given back. */
static void teardown(void)
{
	iommu_host_close(h);
	memory_close(&memory);
}

static uint8_t map(uint64_t iova)
{
	const struct virtio_iommu_map m = {
		.domain = 1, .first = iova, .last = iova + 4095, .phys = 0, .flags = VIRTIO_IOMMU_MAP_READ};

	return iommu_map(&h->iommu, 1, &m);
}

/* H1. The dearest iova that there are: each mapping takes tables of its own. */
START_TEST(tables_have_an_end)
{
	uint64_t mapped = 0;

	ck_assert_uint_eq(iommu_attach(&h->iommu, 1, 5, false), VIRTIO_IOMMU_S_OK);
	while (map(mapped * GIB) == VIRTIO_IOMMU_S_OK)
		mapped++;
	ck_assert_uint_eq(map(mapped * GIB), VIRTIO_IOMMU_S_NOMEM);
	ck_assert_uint_gt(mapped, PAGES_MAX / 3);
	ck_assert_uint_le(mapped, PAGES_MAX / 2);
	ck_assert_uint_le(iommu_stats_read(&h->iommu).table_bytes_max, PAGES_MAX * FRAME_BYTES);
	ck_assert_uint_eq(iommu_unmap(&h->iommu, 1, 0, mapped / 2 * GIB - 1), VIRTIO_IOMMU_S_OK);
	ck_assert_uint_eq(map(0), VIRTIO_IOMMU_S_OK);
	ck_assert(iommu_check(&h->iommu));
}
END_TEST

START_TEST(apic_window_is_never_mapped)
{
	ck_assert_uint_eq(iommu_attach(&h->iommu, 1, 5, false), VIRTIO_IOMMU_S_OK);
	ck_assert_uint_eq(map(UINT64_C(0xfee00000)), VIRTIO_IOMMU_S_INVAL);
	ck_assert_uint_eq(map(UINT64_C(0xfeeff000)), VIRTIO_IOMMU_S_INVAL);
	ck_assert_uint_eq(map(UINT64_C(0xfef00000)), VIRTIO_IOMMU_S_OK);
	ck_assert_uint_eq(map((UINT64_C(1) << 48) - 4096), VIRTIO_IOMMU_S_OK);
	ck_assert_uint_eq(map(UINT64_C(1) << 48), VIRTIO_IOMMU_S_RANGE);
}
END_TEST

/* Each wait gives up its CPU first, and sleeps when that has not helped. */
START_TEST(patience_begins_anew)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		h->iommu.config.wait(h);
		ck_assert_uint_eq(h->waits, 1);
		h->iommu.config.wait(h);
		ck_assert_uint_ge(h->waits, 1);
		usleep(5000);
	}
}
END_TEST

START_TEST(a_fault_is_told)
{
	const struct iommu_fault fault = {.reason = VIRTIO_IOMMU_FAULT_MAPPING, .endpoint = 5, .address = 42};
	struct pollfd fd = {.fd = h->event_fd, .events = POLLIN};
	struct iommu_fault got;

	ck_assert_int_eq(poll(&fd, 1, 0), 0);
	iommu_report(&h->iommu, &fault);
	ck_assert_int_eq(poll(&fd, 1, 0), 1);
	ck_assert(iommu_next_fault(&h->iommu, &got));
	ck_assert_uint_eq(got.address, 42);
}
END_TEST

Suite *iommu_host_suite(void)
{
	Suite *s = suite_create("iommu_host");
	TCase *t = tcase_create("limits");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, tables_have_an_end);
	tcase_add_test(t, apic_window_is_never_mapped);
	tcase_add_test(t, a_fault_is_told);
	tcase_add_test(t, patience_begins_anew);
	suite_add_tcase(s, t);
	return s;
}
