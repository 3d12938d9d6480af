/* guests/runtime/console.h: text to the first serial port. Ring 0, one CPU. */
#ifndef SLAT_GUESTS_RUNTIME_CONSOLE_H
#define SLAT_GUESTS_RUNTIME_CONSOLE_H

void console_init(void);

/* Knows %s %c %u %x %lu %lx %%, and a width, filled with spaces, or with zeros if it begins with one (%016lx). Polls,
 * so that a line is out when the call returns. */
void console_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Waits until the last byte has left: a port that takes its time would lose it at the end. */
void console_drain(void);

#endif
