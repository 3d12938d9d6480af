/* tests/unit/test_fw_cfg.c: items, numbers, the file directory, and reading past any end. */
#include <stdio.h>

#include "devices/fw_cfg.h"
#include "tests/unit/device_fakes.h"

static struct fw_cfg fw_cfg;
static struct device dev;

static void setup(void)
{
	fw_cfg_init(&fw_cfg, &dev);
}

static void read_item(uint16_t key, void *to, size_t bytes)
{
	uint8_t *byte = to;

	put(&dev, FW_CFG_SELECTOR, 2, key);
	for (size_t i = 0; i < bytes; i++)
		byte[i] = in(&dev, FW_CFG_DATA);
}

START_TEST(built_in)
{
	char signature[6];
	uint32_t id = 0, count = 1;

	read_item(FW_CFG_SIGNATURE, signature, 6);
	ck_assert_mem_eq(signature, "QEMU\0\0", 6);
	read_item(FW_CFG_ID, &id, 4);
	ck_assert_uint_eq(id, 1);
	read_item(FW_CFG_FILE_DIR, &count, 4);
	ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(signature_is_selected_at_reset)
{
	ck_assert_uint_eq(in(&dev, FW_CFG_DATA), 'Q');
	ck_assert_uint_eq(in(&dev, FW_CFG_DATA), 'E');
}
END_TEST

START_TEST(numbers_and_spans)
{
	static const char cmdline[] = "console=ttyS0";
	char got[sizeof(cmdline) + 3];
	uint64_t ram = 0;
	uint16_t cpus = 0;

	ck_assert(fw_cfg_add_number(&fw_cfg, FW_CFG_RAM_SIZE, UINT64_C(0x140000000), 8));
	ck_assert(fw_cfg_add_number(&fw_cfg, FW_CFG_CPUS, 2, 2));
	ck_assert(fw_cfg_add(&fw_cfg, FW_CFG_CMDLINE_DATA, cmdline, sizeof(cmdline)));
	read_item(FW_CFG_RAM_SIZE, &ram, 8);
	ck_assert_uint_eq(ram, UINT64_C(0x140000000));
	read_item(FW_CFG_CPUS, &cpus, 2);
	ck_assert_uint_eq(cpus, 2);
	memset(got, 'x', sizeof(got));
	read_item(FW_CFG_CMDLINE_DATA, got, sizeof(got));
	ck_assert_mem_eq(got, "console=ttyS0\0\0\0\0", sizeof(got));
	memset(got, 'x', sizeof(got)); /* selecting starts over; the write channel's bit changes nothing */
	read_item(FW_CFG_CMDLINE_DATA | FW_CFG_WRITE_CHANNEL, got, 3);
	ck_assert_mem_eq(got, "con", 3);
}
END_TEST

START_TEST(nothing_past_the_end)
{
	char got[4];

	ck_assert(fw_cfg_add(&fw_cfg, FW_CFG_KERNEL_DATA, "abcd", 2));
	read_item(FW_CFG_KERNEL_DATA, got, 4);
	ck_assert_mem_eq(got, "ab\0\0", 4);
	ck_assert(fw_cfg_add(&fw_cfg, FW_CFG_INITRD_DATA, NULL, 2)); /* no bytes at all */
	read_item(FW_CFG_INITRD_DATA, got, 4);
	ck_assert_mem_eq(got, "\0\0\0\0", 4);
}
END_TEST

START_TEST(unknown_keys_read_0)
{
	for (unsigned key = 2; key < 0x10000; key++) {
		uint8_t byte = 1;

		if ((key & ~FW_CFG_WRITE_CHANNEL) <= 1 || (key & ~FW_CFG_WRITE_CHANNEL) == FW_CFG_FILE_DIR)
			continue;
		read_item((uint16_t)key, &byte, 1);
		EXPECT(byte == 0);
	}
}
END_TEST

START_TEST(files)
{
	uint8_t directory[4 + 2 * 64 + 4];
	char got[6];

	ck_assert(fw_cfg_add_file(&fw_cfg, "etc/one", "1234", 4));
	ck_assert(fw_cfg_add_file(&fw_cfg, "opt/org.example/two", "abcde", 5));
	ck_assert(!fw_cfg_add_file(&fw_cfg, "etc/one", "x", 1));
	ck_assert(!fw_cfg_add_file(&fw_cfg, "", "x", 1));
	read_item(FW_CFG_FILE_DIR, directory, sizeof(directory));
	ck_assert_mem_eq(directory, "\0\0\0\2", 4);
	ck_assert_mem_eq(directory + 4, "\0\0\0\4\0\x20\0\0etc/one", 16);
	ck_assert_mem_eq(directory + 68, "\0\0\0\5\0\x21\0\0opt/org.example/two", 28);
	ck_assert_mem_eq(directory + 132, "\0\0\0\0", 4);
	read_item(0x21, got, 6);
	ck_assert_mem_eq(got, "abcde", 6);
}
END_TEST

START_TEST(limits)
{
	char name[FW_CFG_NAME_BYTES + 1];
	unsigned added = 0;

	memset(name, 'n', sizeof(name));
	name[FW_CFG_NAME_BYTES] = 0;
	ck_assert(!fw_cfg_add_file(&fw_cfg, name, "x", 1));
	name[FW_CFG_NAME_BYTES - 1] = 0;
	ck_assert(fw_cfg_add_file(&fw_cfg, name, "x", 1));
	for (unsigned i = 1; i < FW_CFG_FILES; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		ck_assert(fw_cfg_add_file(&fw_cfg, name, "x", 1));
	}
	ck_assert(!fw_cfg_add_file(&fw_cfg, "one more", "x", 1));
	ck_assert(!fw_cfg_add(&fw_cfg, FW_CFG_SIGNATURE, "x", 1));
	ck_assert(!fw_cfg_add(&fw_cfg, 0x4100, "x", 1));
	ck_assert(!fw_cfg_add_number(&fw_cfg, 0x100, 1, 0));
	ck_assert(!fw_cfg_add_number(&fw_cfg, 0x100, 1, 9));
	while (fw_cfg_add_number(&fw_cfg, (uint16_t)(0x100 + added), 1, 1))
		added++;
	ck_assert_uint_eq(fw_cfg.items, FW_CFG_ITEMS);
	put(&dev, FW_CFG_SELECTOR, 2, 0x3fff);
	ck_assert_uint_eq(in(&dev, FW_CFG_DATA), 0);
}
END_TEST

START_TEST(the_guest_cannot_write)
{
	char got[4];

	put(&dev, FW_CFG_SELECTOR, 2, FW_CFG_SIGNATURE);
	out(&dev, FW_CFG_DATA, 'x');
	out(&dev, FW_CFG_SELECTOR, 0x01);
	ck_assert_uint_eq(get(&dev, 0, 2), 0xffff);
	read_item(FW_CFG_SIGNATURE, got, 4);
	ck_assert_mem_eq(got, "QEMU", 4);
}
END_TEST

Suite *fw_cfg_suite(void);

Suite *fw_cfg_suite(void)
{
	Suite *s = suite_create("fw_cfg");
	TCase *t = tcase_create("items");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, built_in);
	tcase_add_test(t, signature_is_selected_at_reset);
	tcase_add_test(t, numbers_and_spans);
	tcase_add_test(t, nothing_past_the_end);
	tcase_add_test(t, unknown_keys_read_0);
	tcase_add_test(t, files);
	tcase_add_test(t, limits);
	tcase_add_test(t, the_guest_cannot_write);
	suite_add_tcase(s, t);
	return s;
}
