/* mm/port.h: the only way out of mm/. Whoever links mm/ supplies these.
 * (The compiler itself may also call memcpy, memmove, memset, memcmp.) */
#ifndef SLAT_MM_PORT_H
#define SLAT_MM_PORT_H

#include <stdint.h>

/* Ends the program: a bug in mm/ or in its caller was seen. Never returns.
 * `what` is the failed expression, a and b the values that tell most. */
_Noreturn void mm_panic(const char *file, int line, const char *what, uint64_t a, uint64_t b);

/* Called while waiting for a lock that another thread holds, after some hundred
 * spins: where threads can lose their CPU, lets others run; elsewhere a pause. */
void mm_yield(void);

/* Where the address sanitizer watches, whoever owns a heap's memory may poison what
 * is free of it. mm/ writes into none of that but where it begins a slab: that it
 * makes its own by this. Elsewhere it is nothing. */
#ifdef __SANITIZE_ADDRESS__
#define MM_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MM_ADDRESS_SANITIZER 1
#endif
#endif
#ifdef MM_ADDRESS_SANITIZER
void __asan_unpoison_memory_region(void const volatile *addr, __SIZE_TYPE__ size);
#define MM_UNPOISON(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define MM_ADDRESS_SANITIZER   0
#define MM_UNPOISON(at, bytes) ((void)0)
#endif

/* On in every build: each is O(1) beside the operation it guards. */
#define MM_ASSERT(expression, a, b)                                                                                    \
	((expression) ? (void)0 : mm_panic(__FILE__, __LINE__, #expression, (uint64_t)(a), (uint64_t)(b)))

#endif
