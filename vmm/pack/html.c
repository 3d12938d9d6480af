/* vmm/pack/html.c: a page that stands alone. Its style: one column on a phone, three on a desk; light or dark as the
 * reader has it; colours that the colour-blind tell apart. A policy of the page itself forbids all requests. */
#include <string.h>

#include "vmm/pack/html.h"

static const char style[] =
	":root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#59636e;--line:#d5dae0;--grid:#e8ebef;"
	"--box:#f6f7f9;--a:#0b62a4;--b:#c2500a;--c:#0a7d5c;--d:#96459b;--hole:#fff;--edge:#aab2bc;"
	"--k1:#cfe3f3;--k2:#a3cae6;--k3:#6fa9d3;--k4:#3f86bb;--k5:#22659b;--k6:#124673;--k7:#0a2a49}\n"
	"@media(prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e4e8ec;--soft:#9aa5b1;--line:#3a434d;--grid:#"
	"262d35;"
	"--box:#1c2229;--a:#5aaeea;--b:#f0914a;--c:#43c59e;--d:#d391d8;--hole:#0b0d10;--edge:#56616d;"
	"--k1:#1d3a54;--k2:#27527a;--k3:#346ea0;--k4:#4a8cc2;--k5:#6da9da;--k6:#9ac7ec;--k7:#d0e6f8}}\n"
	"*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}\n"
	"body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe "
	"UI',Roboto,"
	"'Helvetica Neue',Arial,sans-serif}\n"
	"main{max-width:1240px;margin:0 auto;padding:20px 16px 56px}\n"
	"h1{font-size:1.6rem;line-height:1.2;margin:.2em 0 .1em;font-weight:650;letter-spacing:-.01em}"
	"h2{font-size:1.2rem;margin:2.2em 0 .3em;font-weight:650}\n"
	"p{margin:.4em 0;max-width:76ch;overflow-wrap:anywhere}.soft{color:var(--soft)}.small{font-size:.875rem}\n"
	"pre{background:var(--box);border:1px solid var(--line);border-radius:6px;padding:10px 12px;margin:.8em 0;"
	"font:.8125rem/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans "
	"Mono',monospace;white-space:pre-wrap;"
	"overflow-wrap:anywhere}\n"
	"table{border-collapse:collapse;width:100%;font-size:.9375rem;font-variant-numeric:tabular-nums}"
	"th,td{text-align:left;vertical-align:top;padding:5px 10px 5px 0;border-bottom:1px solid var(--grid)}"
	"th{font-weight:400}thead th{color:var(--soft);font-size:.8125rem;border-bottom-color:var(--line)}"
	"td{overflow-wrap:anywhere}td.n,th.n{text-align:right;white-space:nowrap}td:last-child,th:last-child{padding-"
	"right:0}\n"
	".tables{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,360px),1fr));gap:0 48px;margin:1em "
	"0}\n"
	".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:28px "
	"36px;margin:1em 0}\n"
	".compared{grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr))}.compared figure{max-width:460px}"
	"figure{margin:0;min-width:0;display:flex;flex-direction:column}figcaption{font-weight:600;font-size:.9375rem;"
	"line-height:1.35}"
	"figure .from{margin:0;font-size:.8125rem;color:var(--b)}"
	"figcaption span{display:block;font-weight:400;font-size:.8125rem;color:var(--soft)}\n"
	".key{display:flex;flex-wrap:wrap;gap:2px 14px;margin:4px 0 2px;padding:0;list-style:none;font-size:.8125rem;"
	"color:var(--soft)}.key li{display:flex;align-items:center;gap:6px}.key svg{width:22px;height:10px;flex:none}\n"
	"figure>svg{display:block;width:100%;height:auto;overflow:visible;margin-top:auto;padding-top:4px}\n"
	"svg text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica "
	"Neue',Arial,sans-serif;fill:var(--soft);"
	"font-variant-numeric:tabular-nums}svg text.name{fill:var(--ink)}\n"
	".grid{stroke:var(--grid);fill:none}.base{stroke:var(--edge);fill:none}\n"
	".l0,.l1,.l2,.l3{fill:none;stroke-width:1.6;stroke-linejoin:round}.l0{stroke:var(--a)}"
	".l1{stroke:var(--b);stroke-dasharray:6 2.5}.l2{stroke:var(--c);stroke-dasharray:2 2}"
	".l3{stroke:var(--d);stroke-dasharray:8 2 2 2}.bar{fill:var(--a)}\n"
	".whisker{stroke:var(--a);stroke-width:2;fill:none}.dot{fill:var(--a);stroke:var(--a);stroke-width:2}"
	".open{fill:var(--paper);stroke:var(--a);stroke-width:2}\n"
	".slide{display:flex;flex-wrap:wrap;align-items:center;gap:6px 16px;margin:1em 0}"
	".slide input{flex:1 1 260px;min-width:0;height:32px;margin:0;accent-color:var(--a)}"
	".slide output{flex:0 0 auto;font-size:.9375rem;font-variant-numeric:tabular-nums;min-width:19ch}\n"
	".hosts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:10px 36px}"
	".hosts.one{grid-template-columns:1fr}\n"
	".host{display:grid;grid-template-columns:5.2em 1fr;gap:0 "
	"8px;align-items:start;font-size:.8125rem;color:var(--soft);"
	"line-height:16px}.one .host{grid-template-columns:1fr}\n"
	".strip{display:block;width:100%;height:14px;margin:1px 0;background:var(--hole);outline:1px solid var(--edge)}"
	".one .strip{height:44px;margin:3px 0}\n"
	".k1{fill:var(--k1)}.k2{fill:var(--k2)}.k3{fill:var(--k3)}.k4{fill:var(--k4)}.k5{fill:var(--k5)}.k6{fill:var(--"
	"k6)}"
	".k7{fill:var(--k7)}.none{fill:var(--line)}.empty{fill:var(--hole);stroke:var(--edge)}\n"
	".compare td.n,.compare th.n{padding-right:18px}@media(max-width:480px){h1{font-size:1.35rem}"
	"table{font-size:.875rem}.compare td.n,.compare th.n{padding-right:12px;white-space:normal}}\n"
	"@media print{.slide{display:none}}\n";

void html_begin(FILE *out, const char *title)
{
	fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
	      "script-src 'unsafe-inline'; img-src data:\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<link rel=\"icon\" href=\"data:,\">\n<title>",
	      out);
	html_text(out, title);
	fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>", style);
	html_text(out, title);
	fputs("</h1>\n", out);
}

void html_end(FILE *out)
{
	fputs("</main>\n</body>\n</html>\n", out);
}

void html_text(FILE *out, const char *text)
{
	html_text_part(out, text, strlen(text));
}

void html_text_part(FILE *out, const char *text, size_t bytes)
{
	for (; bytes > 0; text++, bytes--) {
		unsigned char c = (unsigned char)*text;

		if (c == '&')
			fputs("&amp;", out);
		else if (c == '<')
			fputs("&lt;", out);
		else if (c == '>')
			fputs("&gt;", out);
		else if (c == '"')
			fputs("&quot;", out);
		else
			fputc(c < ' ' || c == 0x7f ? ' ' : c, out);
	}
}

/* Inside single quotes a shell changes nothing, so that those alone have to be left out of them. */
static void put_word(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%";
	char one[2] = "";

	if (*word && word[strspn(word, plain)] == '\0') {
		html_text(out, word);
		return;
	}
	fputc('\'', out);
	for (; *word; word++) {
		one[0] = *word;
		if (*word == '\'')
			fputs("'\\''", out);
		else if (*word == '\n')
			fputs("&#10;", out);
		else
			html_text(out, one);
	}
	fputc('\'', out);
}

void html_command(FILE *out, const char *command, char *const *word, int words)
{
	html_text(out, command);
	for (int i = 0; i < words; i++) {
		fputc(' ', out);
		put_word(out, word[i]);
	}
}
