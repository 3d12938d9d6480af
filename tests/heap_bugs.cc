// tests/heap_bugs.cc: what C++ asks of libslatmalloc.so, one case a run: heap_bugs_cc CASE.
// As in tests/heap_bugs.c, a marker says what the line does. Built twice by tests/heap_bugs.sh:
// with REPLACED, the program has operators of its own, which all others must come to.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <unistd.h>

#define APART __attribute__((noinline)) static

static int sink;

#ifdef REPLACED
static long given, taken;

void *operator new(std::size_t bytes)
{
	auto *head = static_cast<std::size_t *>(std::malloc(bytes + 64));

	given++;
	head[0] = 0x5eed;
	return head + 8;
}

void operator delete(void *memory) noexcept
{
	if (!memory)
		return;
	auto *head = static_cast<std::size_t *>(memory) - 8;

	taken++;
	if (head[0] != 0x5eed)
		std::abort();
	std::free(head);
}
#endif

// The compiler knows what it may leave out; not so of what it is told nothing of.
template <typename T> APART T *seen(T *object)
{
	__asm__ volatile("" : "+r"(object) : : "memory");
	return object;
}

APART void new_array()
{
	int *p = seen(new int[10]); // new_array allocated

	reinterpret_cast<volatile char *>(p)[40] = 1;
	delete[] p; // new_array seen
	sink++;
}

struct alignas(128) wide {
	char bytes[200];
};

APART void new_aligned()
{
	wide *p = seen(new wide); // new_aligned allocated

	delete p; // new_aligned freed
	sink++;
	delete seen(p); // new_aligned seen
	sink++;
}

APART void new_nothrow()
{
	char *p = seen(new (std::nothrow) char[33]); // new_nothrow by

	reinterpret_cast<volatile char *>(p)[33] = 1;
	delete[] p; // new_nothrow seen
	sink++;
}

APART void new_string()
{
	std::string &(std::string::*volatile append)(std::size_t, char) = &std::string::append; // not inlined
	std::string *s = seen(new std::string);

	(s->*append)(100, 'x'); // new_string by
	(&(*s)[0])[s->capacity() + 1] = 1;
	delete s;
	sink++;
}

static int asked;

static void no_memory()
{
	if (++asked == 3)
		std::set_new_handler(nullptr);
}

// A new handler is asked until there is none; then it throws, or says so.
APART void refused()
{
	std::size_t huge = std::size_t(1) << 62;
	int caught = 0;

	std::set_new_handler(no_memory);
	try {
		seen(new char[huge]);
	} catch (std::bad_alloc &) {
		caught++;
	}
	try {
		seen(static_cast<char *>(::operator new(huge, std::align_val_t(256))));
	} catch (std::bad_alloc &) {
		caught++;
	}
	if (caught != 2 || asked != 3 || new (std::nothrow) char[huge])
		std::abort();
}

// All come to the program's own.
APART void replaced()
{
#ifdef REPLACED
	char *a = seen(new char[10]), *b = seen(new (std::nothrow) char[20]), *d = seen(new (std::nothrow) char);
	std::string *c = seen(new std::string(100, 'c'));

	delete[] a;
	delete[] b;
	delete c;
	delete d;
	::operator delete(::operator new(50), std::size_t(50));
	if (given != 6 || taken != 6)
		std::abort();
#endif
	delete seen(new wide);
}

// 40 in each of the ways; says how many of them were refused.
static void refusals()
{
	char said[] = "00\n";
	int refused = 0;

	for (int i = 0; i < 40; i++) {
		try {
			switch (i % 4) {
			case 0:
				delete[] seen(new char[10 + i]);
				break;
			case 1:
				delete seen(new wide);
				break;
			case 2:
				delete seen(new std::string);
				break;
			default:
				char *p = seen(new (std::nothrow) char[20000]);

				refused += !p;
				delete[] p;
			}
		} catch (std::bad_alloc &) {
			refused++;
		}
	}
	said[0] += refused / 10;
	said[1] += refused % 10;
	if (write(STDOUT_FILENO, said, 3) != 3)
		std::abort();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)();
	} cases[] = {{"new_array", new_array},	 {"new_aligned", new_aligned}, {"new_nothrow", new_nothrow},
		     {"new_string", new_string}, {"refused", refused},	       {"replaced", replaced},
		     {"refusals", refusals}};

	for (auto &c : cases)
		if (argc == 2 && std::strcmp(argv[1], c.name) == 0) {
			c.run();
			return sink < 0;
		}
	return 2;
}
