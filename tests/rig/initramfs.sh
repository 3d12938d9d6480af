#!/bin/sh
# tests/rig/initramfs.sh INIT OUT MODULE...: an initramfs of busybox, INIT as
# /init, and the modules of the rig's kernel with all that they need, unpacked,
# in load order, as /modules/NN-NAME.ko. Needs no root: nodes come from devtmpfs.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
init=$1 out=$2
shift 2
kernel=${BUILD:-build}/rig/kernel
if [ -f "$out" ] && [ "$*" = "$(cat "$out.modules" 2>/dev/null)" ]; then
	[ -n "$(find "$init" "$0" "$kernel/VERSION" -newer "$out")" ] || exit 0
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root/bin" "$root/modules" "$root/proc" "$root/sys" "$root/dev" "$root/root" "$root/hold"
cp /bin/busybox "$root/bin/busybox"
cp "$init" "$root/init"
chmod 755 "$root/init"
for module; do
	# -C /dev/null: other packages' install hooks would hide modules.
	modprobe -C /dev/null -d "$kernel" -S "$(cat "$kernel/VERSION")" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$root/order"
n=10
while read -r file; do
	name=$(basename "$file" .xz)
	case $file in
	*.xz) xz -dc "$file" >"$root/modules/$n-$name" ;;
	*) cp "$file" "$root/modules/$n-$name" ;;
	esac
	n=$((n + 1))
done <"$root/order"
rm "$root/order"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$out.$$"
mv "$out.$$" "$out"
echo "$*" >"$out.modules"
