/* tests/unit/test_ioapic.c: messages, the level and EOI flow, routes, and the invariants of ioapic.c under random use.
 */
#include "devices/ioapic.h"
#include "tests/unit/device_fakes.h"

static struct ioapic ioapic;
static struct device dev;
static struct msi sent;
static unsigned sends, routes;
static struct {
	bool valid, level;
	struct msi message;
} route[IOAPIC_PINS];

static void on_send(void *self, struct msi message)
{
	(void)self;
	sent = message;
	sends++;
}

static void on_route(void *self, unsigned line, bool valid, bool level, struct msi message)
{
	(void)self;
	route[line].valid = valid;
	route[line].level = level;
	route[line].message = message;
	routes++;
}

static void setup(void)
{
	sends = routes = 0;
	memset(route, 0, sizeof(route));
	ioapic_init(&ioapic, (struct msi_sink){.send = on_send, .route = on_route}, &dev);
}

static uint32_t reg(uint8_t index)
{
	put(&dev, IOAPIC_SELECT, 4, index);
	return (uint32_t)get(&dev, IOAPIC_DATA, 4);
}

static void set_reg(uint8_t index, uint32_t value)
{
	put(&dev, IOAPIC_SELECT, 4, index);
	put(&dev, IOAPIC_DATA, 4, value);
}

static void set_entry(unsigned pin, uint8_t dest, uint32_t low)
{
	set_reg((uint8_t)(IOAPIC_ENTRY + 2 * pin + 1), (uint32_t)dest << 24);
	set_reg((uint8_t)(IOAPIC_ENTRY + 2 * pin), low);
}

static bool remote_irr(unsigned pin)
{
	return reg((uint8_t)(IOAPIC_ENTRY + 2 * pin)) & IOAPIC_REMOTE_IRR;
}

START_TEST(reset_state)
{
	ck_assert_uint_eq(reg(IOAPIC_VERSION), 0x00170011);
	ck_assert_uint_eq(reg(IOAPIC_ID), 0);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		ck_assert_uint_eq(reg((uint8_t)(IOAPIC_ENTRY + 2 * pin)), IOAPIC_MASKED);
		ck_assert_uint_eq(reg((uint8_t)(IOAPIC_ENTRY + 2 * pin + 1)), 0);
	}
	ck_assert_uint_eq(reg(0x40), UINT32_MAX);
	ck_assert_uint_eq(reg(0x0f), UINT32_MAX);
	set_reg(IOAPIC_ID, 0xffffffff);
	ck_assert_uint_eq(reg(IOAPIC_ID), 0x0f000000);
	ck_assert_uint_eq(reg(IOAPIC_ARBITRATION), 0x0f000000);
	set_reg(IOAPIC_VERSION, 0);
	ck_assert_uint_eq(reg(IOAPIC_VERSION), 0x00170011);
	ck_assert_uint_eq(routes, 0);
}
END_TEST

START_TEST(edge)
{
	set_entry(4, 1, 0x24);
	ck_assert_uint_eq(routes, 1);
	ck_assert(route[4].valid && !route[4].level);
	ck_assert_uint_eq(sends, 0);
	ioapic_set(&ioapic, 4, true);
	ioapic_set(&ioapic, 4, true);
	ck_assert_uint_eq(sends, 1);
	ck_assert_uint_eq(sent.address, 0xfee01000);
	ck_assert_uint_eq(sent.data, 0x4024);
	ck_assert(route[4].message.address == sent.address && route[4].message.data == sent.data);
	ck_assert(!remote_irr(4));
	ioapic_eoi(&ioapic, 0x24);
	ck_assert_uint_eq(sends, 1);
	ioapic_set(&ioapic, 4, false);
	ioapic_set(&ioapic, 4, true);
	ck_assert_uint_eq(sends, 2);
}
END_TEST

START_TEST(masked_edge_is_lost)
{
	set_entry(4, 0, 0x24 | IOAPIC_MASKED);
	ioapic_set(&ioapic, 4, true);
	set_entry(4, 0, 0x24);
	ck_assert_uint_eq(sends, 0);
}
END_TEST

START_TEST(level_until_eoi)
{
	set_entry(9, 0xff, 0x30 | IOAPIC_LEVEL | IOAPIC_LOGICAL | IOAPIC_DELIVERY_LOWEST << IOAPIC_DELIVERY_SHIFT);
	ck_assert(route[9].level);
	ioapic_set(&ioapic, 9, true);
	ck_assert_uint_eq(sends, 1);
	ck_assert_uint_eq(sent.address, 0xfeeff004);
	ck_assert_uint_eq(sent.data, 0xc130);
	ck_assert(remote_irr(9));
	ioapic_set(&ioapic, 9, false);
	ioapic_set(&ioapic, 9, true);
	ck_assert_uint_eq(sends, 1); /* one at a time */
	ioapic_eoi(&ioapic, 0x31);
	ck_assert(remote_irr(9));
	ioapic_eoi(&ioapic, 0x30);
	ck_assert_uint_eq(sends, 2); /* still asserted */
	ioapic_set(&ioapic, 9, false);
	ioapic_eoi(&ioapic, 0x30);
	ck_assert_uint_eq(sends, 2);
	ck_assert(!remote_irr(9));
}
END_TEST

START_TEST(masked_level_is_kept)
{
	set_entry(9, 0, 0x30 | IOAPIC_LEVEL | IOAPIC_MASKED);
	ioapic_set(&ioapic, 9, true);
	ck_assert_uint_eq(sends, 0);
	set_entry(9, 0, 0x30 | IOAPIC_LEVEL);
	ck_assert_uint_eq(sends, 1);
	set_entry(9, 0, 0x30 | IOAPIC_LEVEL | IOAPIC_MASKED); /* Linux's fasteoi masks while in service */
	ck_assert(remote_irr(9));
	ck_assert(!route[9].valid);
	ioapic_eoi(&ioapic, 0x30);
	ck_assert(!remote_irr(9));
	ck_assert_uint_eq(sends, 1);
	set_entry(9, 0, 0x30 | IOAPIC_LEVEL);
	ck_assert_uint_eq(sends, 2);
}
END_TEST

/* arch/x86/kernel/apic/io_apic.c: __eoi_ioapic_pin() on a chip without EOI register. */
START_TEST(linux_ends_by_edge_and_back)
{
	set_entry(9, 0, 0x30 | IOAPIC_LEVEL);
	ioapic_set(&ioapic, 9, true);
	ioapic_set(&ioapic, 9, false);
	ck_assert(remote_irr(9));
	set_reg(IOAPIC_ENTRY + 18, 0x30 | IOAPIC_MASKED);
	ck_assert(!remote_irr(9));
	set_reg(IOAPIC_ENTRY + 18, 0x30 | IOAPIC_LEVEL);
	ck_assert(!remote_irr(9));
	ioapic_set(&ioapic, 9, true);
	ck_assert_uint_eq(sends, 2);
}
END_TEST

START_TEST(read_only_bits)
{
	set_entry(3, 0, 0xffffffff);
	ck_assert_uint_eq(reg(IOAPIC_ENTRY + 6), 0x1afff);
	set_reg(IOAPIC_ENTRY + 7, 0xffffffff);
	ck_assert_uint_eq(reg(IOAPIC_ENTRY + 7), 0xff000000);
}
END_TEST

START_TEST(other_delivery_modes)
{
	static const unsigned modes[] = {IOAPIC_DELIVERY_SMI, IOAPIC_DELIVERY_NMI, IOAPIC_DELIVERY_INIT,
					 IOAPIC_DELIVERY_EXTINT};

	for (unsigned i = 0; i < 4; i++) {
		setup();
		set_entry(2, 0, modes[i] << IOAPIC_DELIVERY_SHIFT | IOAPIC_LEVEL);
		ioapic_set(&ioapic, 2, true);
		ck_assert_uint_eq(sends, 1);
		ck_assert_uint_eq(sent.data & 0x700, modes[i] << 8);
		ck_assert(!remote_irr(2)); /* no CPU would ever end it */
		ck_assert(!route[2].level);
	}
}
END_TEST

START_TEST(routes_for_changes_only)
{
	set_entry(1, 2, 0x40 | IOAPIC_MASKED);
	ck_assert_uint_eq(routes, 0);
	set_entry(1, 2, 0x40);
	ck_assert_uint_eq(routes, 1);
	set_entry(1, 2, 0x40);
	ck_assert_uint_eq(routes, 1);
	set_entry(1, 3, 0x40);
	ck_assert_uint_eq(routes, 2);
	ck_assert_uint_eq(route[1].message.address, 0xfee03000);
	set_entry(1, 3, 0x40 | IOAPIC_MASKED);
	ck_assert_uint_eq(routes, 3);
	ck_assert(!route[1].valid);
}
END_TEST

START_TEST(widths_and_holes)
{
	put(&dev, IOAPIC_SELECT, 1, IOAPIC_VERSION);
	ck_assert_uint_eq(get(&dev, IOAPIC_SELECT, 1), IOAPIC_VERSION);
	ck_assert_uint_eq(get(&dev, IOAPIC_DATA, 4), 0x00170011);
	ck_assert_uint_eq(get(&dev, IOAPIC_DATA, 1), 0xff);
	ck_assert_uint_eq(get(&dev, IOAPIC_DATA, 8), UINT64_MAX);
	ck_assert_uint_eq(get(&dev, 0x40, 4), 0xffffffff);
	put(&dev, IOAPIC_SELECT, 1, IOAPIC_ENTRY);
	put(&dev, IOAPIC_DATA, 2, 0x24);
	put(&dev, IOAPIC_DATA, 8, 0x24);
	put(&dev, 0x40, 4, 0x24);
	ck_assert_uint_eq(get(&dev, IOAPIC_DATA, 4), IOAPIC_MASKED);
	ioapic_set(&ioapic, IOAPIC_PINS, true);
	ioapic_set(&ioapic, 64, true);
}
END_TEST

/* A pin by its description, not by ioapic.c's code: when must a message have gone? */
START_TEST(random_use)
{
	bool wire[IOAPIC_PINS] = {false}, service[IOAPIC_PINS] = {false};
	uint32_t low[IOAPIC_PINS], seed = MODEL_SEED;

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		low[pin] = IOAPIC_MASKED;
	for (int i = 0; i < 300000; i++) {
		uint32_t r = model_random(&seed), expected = 0;
		unsigned pin = (r >> 4) % IOAPIC_PINS;
		uint8_t vector = 0x20 | (r >> 10 & 3);
		bool rose = false;

		sends = 0;
		if (r % 3 == 0) {
			rose = (r & 0x1000) && !wire[pin];
			wire[pin] = r & 0x1000;
			ioapic_set(&ioapic, pin, wire[pin]);
		} else if (r % 3 == 1) {
			low[pin] = (r >> 8 & 0x18000) | (r >> 26 & 0x500) | vector;
			set_reg((uint8_t)(IOAPIC_ENTRY + 2 * pin), low[pin] | (r & IOAPIC_REMOTE_IRR));
		} else {
			for (unsigned p = 0; p < IOAPIC_PINS; p++)
				if ((low[p] & 0xff) == vector)
					service[p] = false;
			ioapic_eoi(&ioapic, vector);
		}
		for (unsigned p = 0; p < IOAPIC_PINS; p++) {
			bool level = low[p] & IOAPIC_LEVEL && (low[p] & 0x600) == 0, masked = low[p] & IOAPIC_MASKED;

			service[p] = service[p] && level;
			if (level && wire[p] && !masked && !service[p]) {
				service[p] = true;
				expected++;
			} else if (!level && !masked && rose && p == pin) {
				expected++;
			}
			EXPECT(!!(ioapic.entry[p] & IOAPIC_REMOTE_IRR) == service[p]);
			EXPECT(route[p].valid == !masked);
			if (!masked)
				EXPECT(route[p].level == level);
		}
		EXPECT(sends == expected);
	}
}
END_TEST

Suite *ioapic_suite(void);

Suite *ioapic_suite(void)
{
	Suite *s = suite_create("ioapic");
	TCase *t = tcase_create("82093AA");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, reset_state);
	tcase_add_test(t, edge);
	tcase_add_test(t, masked_edge_is_lost);
	tcase_add_test(t, level_until_eoi);
	tcase_add_test(t, masked_level_is_kept);
	tcase_add_test(t, linux_ends_by_edge_and_back);
	tcase_add_test(t, read_only_bits);
	tcase_add_test(t, other_delivery_modes);
	tcase_add_test(t, routes_for_changes_only);
	tcase_add_test(t, widths_and_holes);
	tcase_add_test(t, random_use);
	suite_add_tcase(s, t);
	return s;
}
