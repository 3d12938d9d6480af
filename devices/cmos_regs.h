/* devices/cmos_regs.h: the MC146818 clock and its RAM. */
#ifndef SLAT_DEVICES_CMOS_REGS_H
#define SLAT_DEVICES_CMOS_REGS_H

#define CMOS_WINDOW	   2
#define CMOS_INDEX	   0 /* bit 7 is a PC's NMI gate: ignored */
#define CMOS_DATA	   1

#define CMOS_SECONDS	   0x00
#define CMOS_SECONDS_ALARM 0x01
#define CMOS_MINUTES	   0x02
#define CMOS_MINUTES_ALARM 0x03
#define CMOS_HOURS	   0x04
#define CMOS_HOURS_ALARM   0x05
#define CMOS_WEEKDAY	   0x06 /* 1: Sunday */
#define CMOS_DAY	   0x07 /* of the month, from 1 */
#define CMOS_MONTH	   0x08 /* from 1 */
#define CMOS_YEAR	   0x09 /* within the century */
#define CMOS_A		   0x0a
#define CMOS_B		   0x0b
#define CMOS_C		   0x0c
#define CMOS_D		   0x0d
#define CMOS_CENTURY	   0x32

#define CMOS_HOURS_PM	   0x80 /* in 12-hour mode */

#define CMOS_A_UPDATING	   0x80
#define CMOS_A_RESET	   0x26 /* 32768 Hz, periodic rate 1024 Hz */

#define CMOS_B_SET	   0x80 /* the clock stands still and can be set */
#define CMOS_B_BINARY	   0x04 /* else BCD */
#define CMOS_B_24H	   0x02

#define CMOS_D_VALID	   0x80

/* Memory sizes, little endian, as QEMU's pc leaves them. */
#define CMOS_BASE_KIB	   0x15 /* 2 bytes: below 640 KiB */
#define CMOS_EXTENDED_KIB  0x17 /* 2 bytes: from 1 MiB, at most 65535; again at 0x30 */
#define CMOS_EXTENDED_KIB2 0x30
#define CMOS_ABOVE_16M	   0x34 /* 2 bytes: from 16 MiB to below 4 GiB, in 64 KiB */
#define CMOS_ABOVE_4G	   0x5b /* 3 bytes: in 64 KiB */

#endif
