/* tests/browser.js: looks at a page of --report from inside; what it finds is the attribute data-checked. */
(function () {
	'use strict';
	var bad = [], charts = document.querySelectorAll('svg.chart'), slider = document.getElementById('moment');

	function strips() {
		return document.getElementById('strips').innerHTML;
	}
	function complain(where, what) {
		if (bad.length < 20)
			bad.push((where.id || where.tagName) + ': ' + what);
	}
	function inside(inner, outer) {
		return inner.left >= outer.left - 2 && inner.right <= outer.right + 2 && inner.top >= outer.top - 2 &&
			inner.bottom <= outer.bottom + 2;
	}
	function paths(svg) {
		svg.querySelectorAll('path').forEach(function (path) {
			if (!/^M[-0-9.MmHhVvLlz ]+$/.test(path.getAttribute('d')))
				complain(svg, 'a path that is no number: ' + path.getAttribute('d').slice(0, 20));
		});
	}
	function texts(svg) {
		var all = Array.from(svg.querySelectorAll('text')).map(function (t) {
			var box = t.getBoundingClientRect();
			if (!t.textContent || !inside(box, svg.getBoundingClientRect()))
				complain(svg, 'a text is outside: ' + t.textContent.slice(0, 30));
			return { text: t.textContent, box: box };
		});
		all.forEach(function (a, i) {
			all.slice(i + 1).forEach(function (b) {
				if (a.box.left < b.box.right - 1 && b.box.left < a.box.right - 1 && a.box.top < b.box.bottom - 4 &&
					b.box.top < a.box.bottom - 4)
					complain(svg, 'two texts overlap: ' + a.text.slice(0, 20) + ', ' + b.text.slice(0, 20));
			});
		});
	}
	function chart(svg) {
		var data = svg.querySelectorAll('.l0, .bar, .dot, .open'), box = svg.getBoundingClientRect();

		texts(svg);
		if (box.width < 250 || box.height < 60)
			complain(svg, 'it is ' + box.width + ' by ' + box.height + ' px');
		if (data.length === 0 || data[0].getBoundingClientRect().width < 1)
			complain(svg, 'nothing is drawn');
		if (!svg.querySelector('title').textContent || !svg.querySelector('desc').textContent)
			complain(svg, 'it has no description');
	}
	function move(n) {
		slider.value = n;
		slider.dispatchEvent(new Event('input'));
		return strips();
	}
	function pictures() { /* that the page's data has */
		var rows = [], seen = {};

		JSON.parse(document.getElementById('pools').textContent).rows.forEach(function (moment) {
			moment.forEach(function (row, i) {
				rows[i] = row || rows[i];
			});
			seen[rows.join()] = true;
		});
		return Object.keys(seen).length;
	}
	function slide() {
		var start = slider.value, seen = {};

		if (slider.disabled)
			complain(slider, 'it cannot be moved');
		if (strips() !== window.drawn)
			complain(slider, 'the script draws another picture than slat');
		for (var n = 0; n <= +slider.max; n++) {
			seen[move(n)] = true;
			document.querySelectorAll('.strip').forEach(paths);
			if (!/^after [0-9.,]+ [a-z]+ \([0-9]+ of [0-9]+\)$/.test(document.getElementById('moment-time').textContent))
				complain(slider, 'no moment is named at ' + n);
		}
		if (Object.keys(seen).length !== pictures() || (slider.max > 9 && pictures() < 3))
			complain(slider, 'it shows ' + Object.keys(seen).length + ' pictures');
		if (move(start) !== window.drawn)
			complain(slider, 'it does not come back to where it was');
	}

	paths(document.body);
	charts.forEach(chart);
	if (charts.length < 2 && !document.getElementById('unplayed'))
		complain(document.body, 'it has ' + charts.length + ' charts');
	if (slider)
		slide();
	if (document.documentElement.scrollWidth > window.innerWidth)
		complain(document.body, 'it is wider than the screen: ' + document.documentElement.scrollWidth);
	if (performance.getEntriesByType('resource').some(function (r) { return !r.name.startsWith('data:'); }))
		complain(document.body, 'it loads something');
	document.documentElement.setAttribute('data-checked', window.innerWidth + ' px: ' +
		(bad.length ? bad.join('; ') : 'ok ' + charts.length + ' charts'));
})();
