#!/bin/bash
# tests/browser.sh PAGE.html...: for tests/cli.sh: are the pages of --report drawn, at the widths of a phone and a desk?
# A script (browser.js) is put into a copy of each, looks at what is on the screen and moves the slider; it is shown
# to see each kind of flaw, planted in one more copy.
# Not seen: whether it is beautiful.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
pass() { echo "PASS cli/$1"; }
fail() {
	echo "FAIL cli/$1: $2"
	failures=1
}

for page; do # without a browser: nothing in it is an address of something else
	if grep -nEi 'https?:|src=|@import|url\(|<(iframe|object|embed|img|base|form)' "$page" >"$work/found"; then
		fail "page_alone_$(basename "$page" .html)" "$(head -c 200 "$work/found")"
	else
		pass "page_alone_$(basename "$page" .html)"
	fi
done
browser=$(command -v chromium-headless-shell) || {
	for page; do echo "SKIP cli/page_drawn_$(basename "$page" .html): no chromium-headless-shell (make deps)"; done
	exit $failures
}

# The last element of a page is what it is judged by. page, copy
prepare() {
	sed -e 's|<script type="application/json"|<script>window.drawn = document.getElementById("strips").innerHTML;</script>&|' \
		-e '/^<\/body>/d' -e '/^<\/html>/d' "$1"
	echo '<script>'
	cat tests/browser.js
	echo '</script></body></html>'
}

# page, width: $work/dom, and $work/net, all that the browser asked for
look() {
	timeout -k 5 150 "$browser" --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" \
		--log-net-log="$work/net" --window-size="$2,900" --virtual-time-budget=2000 --dump-dom "file://$1" \
		>"$work/dom" 2>"$work/browser.err"
}

for page; do
	name=$(basename "$page" .html)
	prepare "$page" >"$work/$name.html"
	for width in 375 1280; do
		look "$work/$name.html" $width
		said=$(sed -n 's/.*data-checked="\([^"]*\)".*/\1/p' "$work/dom" | head -n 1)
		if [ "${said% *}" = "$width px:" ] || [[ $said != "$width px: ok "* ]]; then
			fail "page_drawn_${name}_$width" "${said:-it did not run: $(tail -n 1 "$work/browser.err")}"
		elif grep -qE '"url":"(http|ftp|ws)' "$work/net"; then
			fail "page_drawn_${name}_$width" "it asked for $(grep -oE '"url":"(http|ftp|ws)[^"]*' "$work/net" | head -n 1)"
		else
			pass "page_drawn_${name}_$width"
		fi
	done
done

# Each flaw is named.
first=$1
for page; do [[ $page != */fleet.html ]] || first=$page; done
prepare "$first" | sed -e '0,/class="l0" d="M/s//class="l0" d="MNaN /' -e '0,/text-anchor="middle">0</s//text-anchor="middle">a text that is much too long for it, and then some more of it</' \
	-e "s/letters.indexOf(text\[i\]) +/0 +/" -e 's/<desc id="holes-d">.*</<desc id="holes-d"></' -e '0,/<h1>/s//<p style="width:2000px">wide<\/p><h1>/' >"$work/flawed.html"
look "$work/flawed.html" 375
said=$(sed -n 's/.*data-checked="\([^"]*\)".*/\1/p' "$work/dom" | head -n 1)
missed=
for flaw in 'no number' 'outside' 'the script draws another' 'no description' 'wider than'; do
	[[ $said == *"$flaw"* ]] || missed+=" '$flaw'"
done
if [ -z "$missed" ]; then pass page_flaws; else fail page_flaws "not seen:$missed in '$said'"; fi
exit $failures
