/* devices/i8042.c: a keyboard controller with nothing plugged in.
 *
 * What it is. Enough of an i8042 that a guest may reset the machine, switch A20
 * and probe for a keyboard without waiting: every command that has an answer has
 * it at once, and a byte sent to a keyboard or mouse is answered as by an empty
 * socket, with RESEND and the timeout bit. Linux polls for half a second for
 * each answer that does not come.
 *
 * Invariants
 *   I1 `answer` is meaningful iff status has OUTPUT; a new answer replaces one
 *	that was not read, so a stale byte is never taken for a reply.
 *   I2 INPUT is never set: commands are done before the write returns.
 *
 * An echo to the mouse (0xd3) comes back without the AUX bit: that is how Linux
 * sees that there is no mouse port.
 *
 * Rejected: no controller at all (all ones), which ends Linux's probe sooner
 * still, but leaves guests without their best-known way to reboot. */
#include <string.h>

#include "devices/i8042.h"

static void answer(struct i8042 *c, uint8_t byte)
{
	c->answer = byte;
	c->status = (c->status | I8042_STATUS_OUTPUT) & ~I8042_STATUS_TIMEOUT;
}

static void answer_nobody(struct i8042 *c)
{
	answer(c, I8042_RESEND);
	c->status |= I8042_STATUS_TIMEOUT;
}

static void reset_unless(struct i8042 *c, uint8_t reset_line)
{
	if (!(reset_line & I8042_OUTPUT_NO_RESET) && c->ending.end)
		c->ending.end(c->ending.self, ENDING_RESET, 0);
}

static void command(struct i8042 *c, uint8_t value)
{
	c->parameter_of = 0;
	switch (value) {
	case I8042_READ_CONFIG:
		answer(c, c->config);
		break;
	case I8042_WRITE_CONFIG:
	case I8042_WRITE_OUTPUT:
	case I8042_ECHO_KEYBOARD:
	case I8042_ECHO_AUX:
	case I8042_WRITE_AUX:
		c->parameter_of = value;
		break;
	case I8042_DISABLE_AUX:
		c->config |= I8042_CONFIG_AUX_DISABLE;
		break;
	case I8042_ENABLE_AUX:
		c->config &= ~I8042_CONFIG_AUX_DISABLE;
		break;
	case I8042_TEST_AUX:
	case I8042_TEST_KEYBOARD:
		answer(c, I8042_TEST_CLOCK_LOW);
		break;
	case I8042_SELF_TEST:
		c->config |= I8042_CONFIG_SYSTEM;
		answer(c, I8042_SELF_TEST_PASSED);
		break;
	case I8042_DISABLE_KEYBOARD:
		c->config |= I8042_CONFIG_KEYBOARD_DISABLE;
		break;
	case I8042_ENABLE_KEYBOARD:
		c->config &= ~I8042_CONFIG_KEYBOARD_DISABLE;
		break;
	case I8042_READ_INPUT:
		answer(c, I8042_INPUT_UNLOCKED);
		break;
	case I8042_READ_OUTPUT:
		answer(c, c->output_port);
		break;
	default:
		if ((value & I8042_PULSE) == I8042_PULSE)
			reset_unless(c, value);
		break;
	}
}

static void data(struct i8042 *c, uint8_t value)
{
	uint8_t parameter_of = c->parameter_of;

	c->parameter_of = 0;
	switch (parameter_of) {
	case I8042_WRITE_CONFIG:
		c->config = value;
		break;
	case I8042_WRITE_OUTPUT:
		c->output_port = value | I8042_OUTPUT_NO_RESET;
		reset_unless(c, value);
		break;
	case I8042_ECHO_KEYBOARD:
	case I8042_ECHO_AUX:
		answer(c, value);
		break;
	default:
		answer_nobody(c);
		break;
	}
}

static uint64_t read_data(void *self, uint64_t offset, unsigned width)
{
	struct i8042 *c = self;

	(void)offset;
	if (width != 1)
		return UINT64_MAX;
	c->status &= ~(I8042_STATUS_OUTPUT | I8042_STATUS_TIMEOUT);
	return c->answer;
}

static void write_data(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct i8042 *c = self;

	(void)offset;
	if (width != 1)
		return;
	c->status &= ~I8042_STATUS_COMMAND;
	data(c, (uint8_t)value);
}

static uint64_t read_status(void *self, uint64_t offset, unsigned width)
{
	const struct i8042 *c = self;

	(void)offset;
	if (width != 1)
		return UINT64_MAX;
	return c->status | I8042_STATUS_UNLOCKED | (c->config & I8042_CONFIG_SYSTEM ? I8042_STATUS_SYSTEM : 0);
}

static void write_command(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct i8042 *c = self;

	(void)offset;
	if (width != 1)
		return;
	c->status |= I8042_STATUS_COMMAND;
	command(c, (uint8_t)value);
}

void i8042_init(struct i8042 *i8042, struct ending ending, struct device *data_port, struct device *command_port)
{
	memset(i8042, 0, sizeof(*i8042));
	i8042->ending = ending;
	i8042->config = I8042_CONFIG_SYSTEM | I8042_CONFIG_KEYBOARD_DISABLE | I8042_CONFIG_AUX_DISABLE;
	i8042->output_port = I8042_OUTPUT_NO_RESET | I8042_OUTPUT_A20;
	*data_port = (struct device){.name = "i8042 data", .self = i8042, .read = read_data, .write = write_data};
	*command_port =
		(struct device){.name = "i8042 command", .self = i8042, .read = read_status, .write = write_command};
}
