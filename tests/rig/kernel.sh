#!/bin/sh
# tests/rig/kernel.sh: brings Debian's 6.12 kernel into $BUILD/rig/kernel, once:
# vmlinuz, vmlinux (its payload, an ELF with a PVH entry), lib/modules/VERSION
# and VERSION. Downloaded and unpacked, never installed; needs no root.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
rig=${BUILD:-build}/rig
meta=linux-image-6.12-amd64

[ ! -f "$rig/kernel/VERSION" ] || exit 0
mkdir -p "$rig"
exec 9>"$rig/lock" && flock 9
[ ! -f "$rig/kernel/VERSION" ] || exit 0
cd "$rig"

refuse() {
	echo "the rig needs Debian's package $meta (suite bookworm-security): $1;" \
		"put the linux-image-6.12.*-amd64 file into $rig or go online, and try again" >&2
	exit 1
}

# The meta package names the real one.
download() {
	real=$(apt-cache "$@" depends "$meta" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-6\.12.*\)/\1/p' | head -n 1)
	[ -n "$real" ] && apt-get -qq "$@" -o APT::Sandbox::User=root download "$real" >download.log 2>&1
}
found() { find . -maxdepth 1 -name 'linux-image-6.12.*_amd64.deb' | head -n 1; }

if [ -z "$(found)" ] && ! download; then
	# The machine's package lists are missing or old. Ours are private: no root, nothing of the machine's changes.
	mkdir -p lists/partial cache/archives/partial
	set -- -o "Dir::State::Lists=$PWD/lists" -o "Dir::Cache=$PWD/cache"
	apt-get -qq "$@" -o APT::Sandbox::User=root update >download.log 2>&1 || true
	download "$@" || refuse "it cannot be downloaded ($(tail -n 1 download.log))"
fi
deb=$(found)
rm -rf unpacked kernel
mkdir kernel
dpkg-deb -x "$deb" unpacked || refuse "$deb cannot be unpacked"
version=$(ls unpacked/lib/modules)
depmod -b unpacked "$version"
mv unpacked/lib kernel/lib
mv "unpacked/boot/vmlinuz-$version" kernel/vmlinuz
rm -rf unpacked lists cache

# Linux/x86 boot protocol: setup_sects at 0x1f1; payload_offset and payload_length at 0x248, 0x24c.
# The payload is zstd, with its unpacked size in four bytes behind it.
number() { od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '; }
start=$((($(number kernel/vmlinuz 497 1) + 1) * 512 + $(number kernel/vmlinuz 584 4)))
bytes=$(($(number kernel/vmlinuz 588 4) - 4))
tail -c +$((start + 1)) kernel/vmlinuz | head -c "$bytes" | zstd -qd -o kernel/vmlinux
chmod a+r kernel/vmlinuz kernel/vmlinux
echo "$version" >kernel/VERSION
