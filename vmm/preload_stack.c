/* vmm/preload_stack.c: stacks of callers, in programs that nobody here compiled.
 *
 * What is known of a call at no cost is the address that it returns to, and as many more
 * as the chain of frame pointers gives that looks sound: all of them in a program compiled
 * with -fno-omit-frame-pointer. The tables for unwinding know the rest, in some hundred
 * nanoseconds a call. So there are two ways.
 *   near:  by frame pointers, unless the call came from a runtime: libc and libstdc++ have
 *	    none, and that it was getline() says nothing. Then tables lead through the runtime
 *	    to the program's own call, and frame pointers go on from there.
 *   whole: by tables, to the end; for what is sampled.
 *
 * Unwinding begins neither here nor in mm/, which has no tables, but in the frame of ours
 * that was called from outside: walk_from() says that it were that frame, by a frame pointer that is
 * that frame's and by what it tells the unwinder of itself. Other registers that are kept over calls are
 * not restored, so a function whose frame is found by one of those ends the stack; gcc makes none.
 *
 * The unwinder is libgcc's, linked into this library, so that it is there in any
 * process, and no other copy of it is touched. It finds tables by _dl_find_object(): no
 * lock, no heap; so it may run inside a visit, and between fork() and exec(). It believes the tables:
 * assembly that lies in its own may lead it astray, as it would a debugger or an exception.
 *
 * What starts a program or a thread is left out at the outer end: it is the same for all. */
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <unwind.h>

#include "mm/port.h"
#include "mm/types.h"
#include "vmm/preload_stack.h"

#define STACK_REACH   (UINT64_C(64) << 20) /* further up there is another stack */
#define ADDRESS_END   (UINT64_C(1) << 47)  /* what is no address of a program ends the chain, too */
#define ENTRY_BYTES   64u		   /* of a program's first function, which only calls libc's */
#define FRAME_POINTER 6			   /* DWARF's number of rbp */
#define RUNTIMES      2u

#define START_CALLS   3u				      /* of libc and of the program's first function, at most */
#define LOOK_AT	      (PRELOAD_STACK_DEPTH + START_CALLS + 1) /* one more than is recorded says that there are more */
_Static_assert(LOOK_AT <= CALL_STACK_MAX, "as many as the wrappers have room for");

extern void *__libc_stack_end; /* where the kernel put argc; the dynamic linker's */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _etext[] __attribute__((visibility("hidden")));
extern void std_terminate(void) __asm__("_ZSt9terminatev") __attribute__((weak)); /* where libstdc++ is */

static struct {
	uintptr_t low, high;
} runtime[RUNTIMES]; /* libc first; empty: not there */

static __thread uintptr_t called_from __attribute__((tls_model("initial-exec")));

void preload_stack_called_from(uintptr_t frame)
{
	called_from = frame;
}

/* ---- what is not the program ---- */

static void runtime_find(unsigned n, uintptr_t address)
{
	struct dl_find_object found;
	uintptr_t entry = getauxval(AT_ENTRY);

	if (!address || _dl_find_object((void *)address, &found) != 0)
		return;
	if (entry - (uintptr_t)found.dlfo_map_start < (uintptr_t)found.dlfo_map_end - (uintptr_t)found.dlfo_map_start)
		return; /* linked into the program */
	runtime[n].low = (uintptr_t)found.dlfo_map_start;
	runtime[n].high = (uintptr_t)found.dlfo_map_end;
}

void preload_stack_begin(void)
{
	runtime_find(0, (uintptr_t)gnu_get_libc_version);
	runtime_find(1, (uintptr_t)std_terminate);
}

static bool is_ours(uint64_t pc)
{
	return pc >= (uintptr_t)__ehdr_start && pc < (uintptr_t)_etext;
}

static bool is_of(unsigned n, uint64_t pc)
{
	return pc - runtime[n].low < runtime[n].high - runtime[n].low;
}

static bool is_program(uint64_t pc)
{
	return !is_ours(pc) && !is_of(0, pc) && !is_of(1, pc);
}

/* ---- by frame pointers ---- */

/* Where the stack that this frame lies on may end. */
static uintptr_t stack_end(uintptr_t frame)
{
	uintptr_t high = (uintptr_t)__builtin_thread_pointer();

	if (high < frame || high - frame > STACK_REACH)
		high = (uintptr_t)__libc_stack_end;
	if (high < frame || high - frame > STACK_REACH)
		high = frame + 2 * sizeof(uintptr_t);
	return high;
}

static unsigned follow(uintptr_t frame, uintptr_t low, uint64_t *pc, unsigned max)
{
	unsigned n = call_stack_walk(frame, low, stack_end(low), pc, max);

	for (unsigned i = 0; i < n; i++)
		if (pc[i] - FRAME_BYTES >= ADDRESS_END - FRAME_BYTES)
			n = i;
	return n;
}

/* ---- by tables ---- */

struct walk {
	uint64_t *pc;
	unsigned count, max;
	bool whole;
	uintptr_t frame, low; /* of the first call of the program, if not `whole`: what it had as a frame pointer */
};

/* Calls visit(context, walk) for each frame from that of the function of ours on that runs at `frame`. */
void preload_stack_walk_from(uintptr_t frame, _Unwind_Trace_Fn visit, struct walk *walk)
	__attribute__((visibility("hidden")));
__asm__(".pushsection .text\n"
	".type preload_stack_walk_from, @function\n"
	".hidden preload_stack_walk_from\n"
	".globl preload_stack_walk_from\n"
	"preload_stack_walk_from:\n"
	"	.cfi_startproc\n"
	"	push %rbp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_offset %rbp, -16\n"
	"	mov %rdi, %rbp\n"
	"	.cfi_remember_state\n"
	"	.cfi_def_cfa %rbp, 16\n" /* of that frame: below are the return address and its caller's pointer */
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	call _Unwind_Backtrace\n"
	"	.cfi_restore_state\n"
	"	pop %rbp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	.cfi_restore %rbp\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size preload_stack_walk_from, . - preload_stack_walk_from\n"
	".popsection\n");

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
	struct walk *w = arg;
	uint64_t pc = _Unwind_GetIP(context);

	if (is_ours(pc) && w->count == 0)
		return _URC_NO_REASON;
	if (pc - FRAME_BYTES >= ADDRESS_END - FRAME_BYTES)
		return _URC_END_OF_STACK;
	w->pc[w->count++] = pc;
	if (w->count == w->max)
		return _URC_END_OF_STACK;
	if (w->whole || !is_program(pc))
		return _URC_NO_REASON;
	w->frame = _Unwind_GetGR(context, FRAME_POINTER);
	w->low = _Unwind_GetCFA(context);
	return _URC_END_OF_STACK;
}

static unsigned unwind(uintptr_t frame, bool whole, uint64_t *pc, unsigned max)
{
	struct walk w = {.pc = pc, .max = max, .whole = whole};

	preload_stack_walk_from(frame, on_frame, &w);
	if (w.frame)
		w.count += follow(w.frame, w.low, pc + w.count, max - w.count);
	return w.count;
}

/* ---- stacks ---- */

static bool starts_it(uint64_t pc)
{
	return is_of(0, pc) || pc - getauxval(AT_ENTRY) < ENTRY_BYTES;
}

static unsigned finish(uint64_t *pc, unsigned n)
{
	while (n > 1 && starts_it(pc[n - 1]))
		n--;
	if (n <= PRELOAD_STACK_DEPTH)
		return n;
	pc[PRELOAD_STACK_DEPTH] = CALL_STACK_CUT;
	return PRELOAD_STACK_DEPTH + 1;
}

static unsigned take(bool whole, uint64_t *pc, unsigned max)
{
	uintptr_t frame = called_from;
	unsigned n;

	MM_ASSERT(max >= LOOK_AT, max, LOOK_AT);
	if (frame == 0)
		return 0;
	if (whole || !is_program(((const uint64_t *)frame)[1])) {
		n = unwind(frame, whole, pc, LOOK_AT);
		if (n > 0)
			return finish(pc, n);
	}
	return finish(pc, follow(frame, frame, pc, LOOK_AT));
}

unsigned preload_stack_near(void *self, uint64_t *pc, unsigned max)
{
	(void)self;
	return take(false, pc, max);
}

unsigned preload_stack_whole(void *self, uint64_t *pc, unsigned max)
{
	(void)self;
	return take(true, pc, max);
}
