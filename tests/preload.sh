#!/bin/bash
# tests/preload.sh [PART OF A NAME]: programs that nobody here wrote, on slat's heap:
# libslatmalloc.so is loaded into Python's own tests, redis-server, gcc, git, sqlite3,
# perl and xz, and what they leave must equal what they leave without it; and into
# tests/preload.c, which holds it to its promises, and tests/heap_bugs.c, which breaks its own. A line each, PASS, FAIL or SKIP (a
# program is not there). Exit code 1 iff something failed.
#
# LONG=1 (tests/soak.sh): more of Python's tests, and a minute of redis-benchmark.
#
# What it does not assert: times and memory (make bench-heap), and what programs do that
# need a network or a display.
set -u
BUILD=$(realpath "${BUILD:-build}")
LIB=$BUILD/libslatmalloc.so
LONG=${LONG:-0}
filter=${1-}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) || exit 1
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
unset SLAT_MALLOC
export LC_ALL=C TZ=UTC GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_PAGER=cat
failed=0

wanted() { case preload/$1 in *"$filter"*) ;; *) return 1 ;; esac }
pass() { echo "PASS preload/$1"; }
skip() { echo "SKIP preload/$1: $2"; }
fail() { # name, why, file with more
	echo "FAIL preload/$1: $2"
	[ ! -f "${3-}" ] || tail -n 20 "$3" | sed 's/^/    /'
	failed=1
}

# Runs with the library; SLAT_MALLOC as it is in the environment.
loaded() { timeout -k 5 "${SECONDS_A_CASE:-600}" env LD_PRELOAD="$LIB" "$@"; }

# ---- its promises ----

promise() { # case, modes
	local name=$1${2:+_$2}

	wanted "$name" || return
	if SLAT_MALLOC=${2-} loaded "$BUILD/tests/preload" "$1" >out 2>&1; then
		pass "$name"
	else
		fail "$name" "ended with code $?" out
	fi
}

# Something is told meanwhile.
tells() { # case, modes, what
	local name=$1_$2

	wanted "$name" || return
	if SLAT_MALLOC=$2 loaded "$BUILD/tests/preload" "$1" >out 2>&1 && grep -q "^$3" out; then
		pass "$name"
	else
		fail "$name" "ended with code $?, or nothing was told" out
	fi
}

# A bug ends the process by SIGABRT (134), and says so.
bug() { # case, modes
	local name=$1${2:+_$2} code

	wanted "$name" || return
	SLAT_MALLOC=${2-} loaded "$BUILD/tests/preload" "$1" >out 2>&1
	code=$?
	if [ "$code" = 134 ] && grep -q '^libslatmalloc: wrong or second free of 0x' out; then
		pass "$name"
	else
		fail "$name" "expected code 134 and a sentence, and $code came" out
	fi
}

# With checked on it is told by its name, with who allocated, and the program goes on.
told() { # case, what is said
	local name=$1_checked

	wanted "$name" || return
	SLAT_MALLOC=checked loaded "$BUILD/tests/preload" "$1" >out 2>&1
	local code=$?

	if [ "$code" = 0 ] && grep -q "heap: $2" out && grep -q "preload.c:[0-9]" out; then
		pass "$name"
	else
		fail "$name" "expected code 0 and '$2' with a line of preload.c, and $code came" out
	fi
}

promises() {
	local case mode

	for case in model threads crowd leaving forks forks_while_asked cancelled aligned zeroes edges growing figures giving_back \
		giving_back_threads giving_back_by_itself growing_together reuse limit; do
		promise "$case"
	done
	for case in model threads leaving forks aligned zeroes edges; do
		promise "$case" checked
	done
	for case in threads leaving forks cancelled edges; do
		promise "$case" leak=leaks
	done
	for case in model threads crowd leaving forks zeroes edges growing; do
		promise "$case" leak=leaks,sample=100000
	done
	bug double_free leak=leaks,sample=100000
	bug double_free_later leak=leaks,sample=100000
	[ "$LONG" = 0 ] || promise lots checked
	for case in double_free double_free_between double_free_other_thread double_free_later double_free_large double_free_huge \
		free_middle free_middle_aligned free_middle_huge free_stack; do
		bug "$case"
		for mode in stats=1 leak=leaks fail=1000000; do
			bug "$case" "$mode"
		done
	done
	for case in model threads; do
		for mode in stats=1 fail=0 leak=leaks,sample=1000,fail=0 checked,leak=leaks,fail=0; do
			promise "$case" "$mode"
		done
	done
	promise forks checked,leak=leaks,fail=0
	for case in told_cancelled told_on_a_small_stack told_beside_a_fork told_in_a_child told_without_memory; do
		tells "$case" fail=100 'slat: heap: refused' # before that a library is loaded
		tells "$case" checked 'slat: heap: double free'
		tells "$case" checked,fail=100 'slat: heap: refused'
	done
	for mode in stats=1 fail=0; do
		tells told_at_the_end $mode 'libslatmalloc: process'
	done
	tells told_and_forked fail_ppm=900000 'slat: heap: refused'
	tells told_and_forked checked,fail_ppm=900000 'slat: heap: refused'
	told double_free 'double free'
	told free_middle 'free of a middle'
	told overrun overrun
	told underrun underrun
	told after_free 'use after free'
	modes
	sampling
	refusals
	refusals checked
	refusals leak=leaks
	chances
	limited
}

modes() {
	wanted modes || return
	SLAT_MALLOC=leak=tree.%p,sample=2000000000,frobnicate,fail=1x,fail_ppm=1000001,stats=1 loaded "$BUILD/tests/preload" leaks >out 2>err
	SLAT_MALLOC=leak=tree.folded loaded "$BUILD/tests/preload" leaks >>out 2>>err
	if ! grep -q "'frobnicate'" err || ! grep -q "sample=N: N is 0 to 1073741824, .*'sample=2000000000'" err ||
		! grep -q "fail=N: N is 0 to 1099511627776, .*'fail=1x'" err || ! grep -q "fail_ppm=N: N is 0 to 1000000, .*'fail_ppm=1000001'" err || ! grep -q 'bytes asked' err; then
		fail modes 'an unknown word, a wrong number or figures were not told' err
	elif ! grep -qE '^ *7000 +70 +.*leaks' tree.[0-9]* || ! grep -qE 'leaks.* 7000$' tree.folded; then
		fail modes 'the tree does not say 7000 bytes in 70 blocks' <(cat tree.[0-9]* tree.folded)
	else
		pass modes
	fi
}

# What is sampled is told within four of its standard errors.
sampling() {
	local said error

	wanted sampling || return
	SLAT_MALLOC=leak=sampled.tree,sample=65536 loaded "$BUILD/tests/preload" sampled_leaks >out 2>&1
	read -r said error <<<"$(awk 'NR == 1 { said = $2 } NR == 3 { print said, $2 }' sampled.tree)"
	if [ -z "$said" ] || [ $((said - 60000000)) -gt $((4 * error)) ] || [ $((60000000 - said)) -gt $((4 * error)) ]; then
		fail sampling "60000000 bytes are live, and it says '$said' with an error of '$error'" sampled.tree
	else
		pass sampling
	fi
}

# Each of the 40 that it asks for is refused in turn, once, told, counted, and lived through.
refusals() { # modes beside
	local name=refusals${1:+_${1%%=*}} n refused

	wanted "$name" || return
	: >out
	for n in $(seq 0 41); do
		refused=$((n >= 1 && n <= 40))
		if ! SLAT_MALLOC=${1:+$1,}fail=$n loaded "$BUILD/tests/preload" refusals >>out 2>err ||
			! grep -q ": $refused of 40 allocations refused, as it was told to$" err ||
			[ "$(grep -c "^slat: heap: refused, as it was told to: allocation $n, " err)" != "$refused" ]; then
			fail "$name" "with fail=$n it ended badly, or that was not told" err
			return
		fi
		[ "$n" != 40 ] || cp err last
	done
	if ! cmp -s out <(seq 0 39); then
		fail "$name" "expected 0 to 39 to be refused, once each, and it was: $(tr '\n' ' ' <out)"
	elif ! grep -q ': allocation 40, a growth to 5000 bytes$' last || ! grep -qE '^  asked in +refusals \(preload.c:[0-9]+\)$' last; then
		fail "$name" 'the last is not told as a growth, with its line' last
	else
		pass "$name"
	fi
}

# The same seed refuses the same, as many as the chance says (of 40, 28 +- 2.9); the first 16 are told.
chances() {
	local n

	wanted chances || return
	for n in 7 7 8; do
		[ ! -f chance$n ] || mv chance$n chance$n.before
		SLAT_MALLOC=fail_ppm=700000,fail_seed=$n loaded "$BUILD/tests/preload" refusals >chance$n 2>err || break
	done
	n=$(wc -l <chance7)
	if ! cmp -s chance7 chance7.before || cmp -s chance7 chance8 || [ "$n" -lt 17 ] || [ "$n" -gt 39 ]; then
		fail chances 'refused another share than told, or not the same for the same seed' chance7
	elif [ "$(grep -c '^slat: heap: refused' err)" != 16 ] || ! grep -q ": $(wc -l <chance8) of 40 allocations refused" err; then
		fail chances 'refusals are not told, or not counted' err
	elif SLAT_MALLOC=fail=40,fail_ppm=700000 loaded "$BUILD/tests/preload" refusals >/dev/null 2>err &&
		[ "$(grep -c '^slat: heap: refused' err)" != 17 ] || ! grep -q ': allocation 40, ' err; then
		fail chances 'the 40th is not told beside 16 others' err
	else
		pass chances
	fi
}

# Its addresses are no reservation: a small limit is enough for a small program.
limited() {
	wanted limited || return
	# shellcheck disable=SC2016 # perl expands it
	if (ulimit -v 60000 && loaded perl -e 'my @a = map { "x" x $_ } 1 .. 3000; print scalar(@a)' >out 2>&1) &&
		[ "$(cat out)" = 3000 ]; then
		pass limited
	else
		fail limited 'perl does not live within 60 MB of addresses' out
	fi
}

# ---- the same as without ----

# The command's output and whatever it writes to the file `result`, with the library and without.
same() { # program, name, commands
	local program=$1 name=$2 mode=${mode-} suffix

	suffix=${mode:+_$mode}
	wanted "$name$suffix" || return
	if ! command -v "$program" >/dev/null; then
		skip "$name$suffix" "$program is not there"
		return
	fi
	rm -rf plain with
	mkdir plain with
	(cd plain && bash -c "$3" >out 2>err) || {
		fail "$name$suffix" 'fails without the library' plain/err
		return
	}
	(cd with && SLAT_MALLOC=$mode loaded bash -c "$3" >out 2>err) || {
		fail "$name$suffix" "ended with code $?" with/err
		return
	}
	if ! cmp -s plain/out with/out || { [ -f plain/result ] && ! cmp -s plain/result with/result; }; then
		fail "$name$suffix" 'left something else than without' with/err
	elif grep -q 'slat: heap:\|libslatmalloc:' with/err; then
		fail "$name$suffix" 'was told of a bug' with/err
	else
		pass "$name$suffix"
	fi
}

sources() { # what there is to work on
	mkdir -p input
	cp "$here"/mm/*.[ch] input/
	seq 1 200000 | sed 's/$/ some words that repeat, and a number/' >input/text
}

# shellcheck disable=SC2016 # these run in another shell
strangers() {
	[ -d input ] || sources
	same gcc gcc 'for f in ../input/frames.c ../input/slab.c ../input/extent.c; do gcc -O2 -S -I"'"$here"'" -ffreestanding -o - "$f"; done | md5sum'
	same git git 'git init -q -b main . && git config user.email a@b && git config user.name a && export GIT_AUTHOR_DATE=@1700000000 GIT_COMMITTER_DATE=@1700000000 &&
		for f in ../input/*.[ch]; do cp "$f" . && git add . && git commit -q -m "$f" && sed -i s/frame/page/g "${f##*/}"; done &&
		git commit --allow-empty -qam all && git log -p --stat && git blame frames.c && git gc -q --aggressive && git fsck --strict 2>&1 && git rev-parse HEAD && git diff HEAD~20'
	same sqlite3 sqlite3 'sqlite3 result "create table t(id integer primary key, a text, b integer);
		with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000) insert into t select i, hex(i * 7919 % 100003), i % 997 from n;
		create index ta on t(a); create index tb on t(b); delete from t where id % 7 = 0; vacuum;
		select b, count(*), group_concat(a) from t group by b; pragma integrity_check;"'
	same perl perl 'perl -e "my %h; my \$s = 7; for (1 .. 300000) { \$s = (\$s * 16807) % 2147483647; my \$k = \$s % 5000; \$h{\$k} .= chr(97 + \$s % 26); delete \$h{\$k} if length \$h{\$k} > 50; }
		print map { \"\$_ \$h{\$_}\n\" } sort { \$a <=> \$b } keys %h;"'
	same xz xz 'xz -3 -T2 -c ../input/text >result && xz -dc result | md5sum && xz -9e -c ../input/frames.c | md5sum'
	same python3 python3 'python3 -S -c "
import json, re
rows = [{str(i): [j for j in range(i % 50)]} for i in range(5000)]
text = json.dumps(rows)
print(len(text), hash(tuple(re.findall(\"[0-9]+\", text)[:100]).__len__()), sum(map(len, text.split(\",\"))))"'
}

# ---- Python's own tests ----

python_tests() { # name, modes, modules
	local name=$1 mode=$2 python=/usr/bin/python3 module again

	shift 2
	for module; do
		wanted "$name/$module" || continue
		# Its tests sleep, and say who must have ended by then: on a busy host it may need a second try, as Python's own CI gives it.
		again=
		[ "$module" != test_concurrent_futures ] || again=-w
		# shellcheck disable=SC2086 # it may be no word
		if ! "$python" -c "import test.$module" >/dev/null 2>&1; then
			skip "$name/$module" "Debian's libpython3.11-testsuite is not there"
		elif SLAT_MALLOC=$mode loaded "$python" -m test $again "$module" >out 2>&1 && ! grep -q 'slat: heap:' out; then
			pass "$name/$module"
		else
			fail "$name/$module" "ended with code $?" out
		fi
	done
}

# ---- redis ----

# A server under the library is written to for a while; what it has then, saved, and loaded by one without,
# has the same digest.
redis() { # name, modes, requests
	local binary digest again

	wanted "$1" || return
	binary=$(command -v redis-server || command -v redis-check-rdb)
	if [ -z "$binary" ] || ! command -v redis-benchmark >/dev/null; then
		skip "$1" 'redis is not there'
		return
	fi
	ln -sf "$binary" redis-server
	rm -f dump.rdb
	LD_PRELOAD=$LIB SLAT_MALLOC=$2 serve || {
		fail "$1" 'it does not serve' server.log
		return
	}
	redis-benchmark -s socket -q -n "$3" -r 100000 -P 16 -d 64 -t set,incr,lpush,rpop,sadd,hset,spop,zadd,mset >bench.log 2>&1 &&
		redis-cli -s socket bgsave >>bench.log && digest=$(settled_digest) &&
		redis-cli -s socket save >>bench.log
	finish || {
		fail "$1" 'it ended badly' server.log
		return
	}
	serve || {
		fail "$1" 'what it saved is not to be loaded' server.log
		return
	}
	again=$(redis-cli -s socket debug digest)
	finish
	if [ "${#digest}" = 40 ] && [ "$digest" = "$again" ] && [ "$digest" != "${digest//[1-9a-f]/}" ]; then
		pass "$1"
	else
		fail "$1" "its data is '$digest', and '$again' when loaded without" server.log
	fi
}

# The benchmark leaves while its last requests are under way.
settled_digest() {
	local now='' before=none

	while [ "$now" != "$before" ]; do
		before=$now
		sleep 0.3
		now=$(redis-cli -s socket debug digest)
	done
	echo "$now"
}

serve() {
	local tries=0

	./redis-server --port 0 --unixsocket socket --save '' --enable-debug-command yes >server.log 2>&1 &
	server=$!
	while [ "$(unset LD_PRELOAD && redis-cli -s socket ping 2>/dev/null)" != PONG ]; do # what still loads says so
		kill -0 "$server" 2>/dev/null && [ $((tries += 1)) -lt 200 ] || return 1
		sleep 0.1
	done
}

finish() {
	local pid=$server

	redis-cli -s socket shutdown nosave >/dev/null 2>&1
	server=
	wait "$pid" && ! grep -q 'slat: heap:\|libslatmalloc:' server.log
}

memory='test_gc test_bytes test_dict test_list test_json test_array test_mmap test_weakref'
threads='test_thread test_fork1 test_queue test_threading_local'
if [ "$LONG" != 0 ]; then
	memory="$memory test_re test_set test_unicode test_memoryview test_buffer test_pickle test_zlib test_bz2 test_lzma test_sqlite3 test_tracemalloc test_capi"
	threads="$threads test_threading test_subprocess test_concurrent_futures test_multiprocessing_fork test_asyncio test_io"
fi
promises
! wanted bugs || "$here/tests/heap_bugs.sh" || failed=1
strangers
mode=checked strangers
# shellcheck disable=SC2086 # one word is one module
{
	python_tests python '' $memory $threads
	python_tests python_checked checked test_gc test_dict test_thread test_fork1
	PYTHONMALLOC=malloc python_tests python_malloc '' test_json test_dict
	[ "$LONG" = 0 ] || python_tests python_all_checked checked $memory $threads
}
redis redis '' $((LONG ? 3000000 : 30000))
redis redis_checked checked $((LONG ? 300000 : 5000))
exit $failed
