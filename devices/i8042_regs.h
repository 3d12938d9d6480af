/* devices/i8042_regs.h: the keyboard controller's commands and status bits. */
#ifndef SLAT_DEVICES_I8042_REGS_H
#define SLAT_DEVICES_I8042_REGS_H

#define I8042_STATUS_OUTPUT	      0x01 /* a byte waits at the data port */
#define I8042_STATUS_INPUT	      0x02
#define I8042_STATUS_SYSTEM	      0x04 /* the self-test has passed */
#define I8042_STATUS_COMMAND	      0x08 /* the last write went to the command port */
#define I8042_STATUS_UNLOCKED	      0x10
#define I8042_STATUS_AUX	      0x20
#define I8042_STATUS_TIMEOUT	      0x40 /* the keyboard did not answer */

#define I8042_READ_CONFIG	      0x20
#define I8042_WRITE_CONFIG	      0x60
#define I8042_DISABLE_AUX	      0xa7
#define I8042_ENABLE_AUX	      0xa8
#define I8042_TEST_AUX		      0xa9
#define I8042_SELF_TEST		      0xaa
#define I8042_TEST_KEYBOARD	      0xab
#define I8042_DISABLE_KEYBOARD	      0xad
#define I8042_ENABLE_KEYBOARD	      0xae
#define I8042_READ_INPUT	      0xc0
#define I8042_READ_OUTPUT	      0xd0
#define I8042_WRITE_OUTPUT	      0xd1
#define I8042_ECHO_KEYBOARD	      0xd2
#define I8042_ECHO_AUX		      0xd3
#define I8042_WRITE_AUX		      0xd4
#define I8042_PULSE		      0xf0 /* bits 0-3: the output lines that are not pulsed low; line 0 is reset */
#define I8042_RESET		      0xfe

#define I8042_CONFIG_SYSTEM	      0x04
#define I8042_CONFIG_KEYBOARD_DISABLE 0x10
#define I8042_CONFIG_AUX_DISABLE      0x20

#define I8042_INPUT_UNLOCKED	      0x80 /* of the input port: the keyboard lock is open */

#define I8042_OUTPUT_NO_RESET	      0x01
#define I8042_OUTPUT_A20	      0x02

#define I8042_SELF_TEST_PASSED	      0x55
#define I8042_TEST_CLOCK_LOW	      0x01 /* the answer of a port with nothing on it */
#define I8042_RESEND		      0xfe

#endif
