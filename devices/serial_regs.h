/* devices/serial_regs.h: registers of a 16550A UART, as offsets into its window. */
#ifndef SLAT_DEVICES_SERIAL_REGS_H
#define SLAT_DEVICES_SERIAL_REGS_H

#define SERIAL_WINDOW		 8

#define SERIAL_DATA		 0 /* read: received byte; write: byte to send; DLAB: divisor's low byte */
#define SERIAL_IER		 1 /* DLAB: divisor's high byte */
#define SERIAL_IIR		 2 /* read */
#define SERIAL_FCR		 2 /* write */
#define SERIAL_LCR		 3
#define SERIAL_MCR		 4
#define SERIAL_LSR		 5
#define SERIAL_MSR		 6
#define SERIAL_SCR		 7

#define SERIAL_IER_RECEIVED	 0x01
#define SERIAL_IER_TRANSMITTED	 0x02
#define SERIAL_IER_LINE		 0x04
#define SERIAL_IER_MODEM	 0x08

#define SERIAL_IIR_NONE		 0x01
#define SERIAL_IIR_LINE		 0x06
#define SERIAL_IIR_RECEIVED	 0x04
#define SERIAL_IIR_TIMEOUT	 0x0c
#define SERIAL_IIR_TRANSMITTED	 0x02
#define SERIAL_IIR_MODEM	 0x00
#define SERIAL_IIR_FIFO		 0xc0

#define SERIAL_FCR_ENABLE	 0x01
#define SERIAL_FCR_CLEAR_RX	 0x02
#define SERIAL_FCR_CLEAR_TX	 0x04
#define SERIAL_FCR_TRIGGER	 0xc0
#define SERIAL_FCR_TRIGGER_SHIFT 6 /* 1, 4, 8, 14 bytes */

#define SERIAL_LCR_8N1		 0x03
#define SERIAL_LCR_DLAB		 0x80

#define SERIAL_MCR_DTR		 0x01
#define SERIAL_MCR_RTS		 0x02
#define SERIAL_MCR_OUT1		 0x04
#define SERIAL_MCR_OUT2		 0x08 /* on a PC: lets the interrupt out */
#define SERIAL_MCR_LOOP		 0x10

#define SERIAL_LSR_READY	 0x01
#define SERIAL_LSR_OVERRUN	 0x02
#define SERIAL_LSR_THRE		 0x20
#define SERIAL_LSR_TEMT		 0x40

#define SERIAL_MSR_DELTA_CTS	 0x01
#define SERIAL_MSR_DELTA_DSR	 0x02
#define SERIAL_MSR_RI_FELL	 0x04
#define SERIAL_MSR_DELTA_DCD	 0x08
#define SERIAL_MSR_CTS		 0x10
#define SERIAL_MSR_DSR		 0x20
#define SERIAL_MSR_RI		 0x40
#define SERIAL_MSR_DCD		 0x80

#endif
