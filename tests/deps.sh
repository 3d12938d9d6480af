#!/bin/sh
# tests/deps.sh [bench]: installs the Debian packages that building and testing
# need; with `bench`, the peers of the figures too (100 MB, for nothing else).
# Says which; does nothing, offline and at once, when all are there.
# shellcheck disable=SC2086 # below, one word of a list is one package
set -eu

packages='gcc make libc6-dev clang clang-format clang-tidy libclang-rt-14-dev libjansson-dev liburing-dev libnuma-dev libseccomp-dev zlib1g-dev libsqlite3-dev libbsd-dev
	check libsubunit-dev qemu-system-x86 seabios bochs bochs-term bochsbios vgabios busybox-static procps cpio xz-utils zstd kmod jq
	strace shellcheck groff-base git gdb e2fsprogs redis-tools libpython3.11-testsuite python3 sqlite3 perl iproute2 passt openmpi-bin chromium-headless-shell'
[ "${1-}" != bench ] || packages="$packages pkg-config libdpdk-dev libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4"

if ! command -v dpkg-query >/dev/null; then
	echo "deps: this is no Debian system; slat needs what Debian calls: $packages"
	exit 0
fi
here=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $packages 2>/dev/null | sed -n 's/ installed$//p')
missing=
for package in $packages; do
	case "
$here
" in
	*"
$package
"*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

echo "deps: installing$missing"
if [ "$(id -u)" = 0 ]; then
	sudo=
elif command -v sudo >/dev/null; then
	sudo=sudo
else
	echo "deps: not root, and there is no sudo; as root: apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

apt() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@"
}
install() {
	apt install -y --no-install-recommends $missing >/dev/null
}

# A fresh machine has no package lists, an old one has lists of files that are gone: both need one update.
if ! install 2>/dev/null; then
	apt update || echo 'deps: apt-get update failed in part; trying to install all the same' >&2
	if ! install; then
		echo "deps: apt-get could not install$missing" >&2
		exit 1
	fi
fi
