#!/bin/bash
# shmbind stats --html: a page that html5lib parses without an error, of regions
# whose names, processes and rules try to be markup; and in a browser.
. "$(dirname "$0")/helpers/script.sh"
. tests/helpers/tool.sh

arena=${prefix}arena
nasty="${prefix}<img src=x onerror=alert(1)>\"'&amp; \$(id)"
start 1 arena $arena wait
killed arena "$nasty" kill

cat >"$work/parse.py" <<'END'
# parse.py FILE: prints what the tables and the map say; fails where the page is not what it should be
import html5lib, sys
ns = "{http://www.w3.org/1999/xhtml}"
svg = "{http://www.w3.org/2000/svg}"
tree = html5lib.HTMLParser(strict=True).parse(open(sys.argv[1], "rb").read())
allowed = set(ns + t for t in "html head meta title style body h1 h2 p div table tbody tr th td".split())
allowed |= set(svg + t for t in "svg title rect text g".split())
for e in tree.iter():
    assert e.tag in allowed, e.tag
    for k, v in e.attrib.items():
        assert not k.lower().startswith("on") and k not in ("href", "src"), (e.tag, k)
text = lambda e: "".join(e.itertext()).strip()
print("title|" + text(tree.find(".//%stitle" % ns)))
print("h1|" + text(tree.find(".//%sh1" % ns)))
for table in ("sums", "classes", "slots", "rules"):
    e = [e for e in tree.iter() if e.attrib.get("id") == table][0]
    if not e.tag.endswith("table"):
        print(table + "|" + text(e))
    for tr in e.iter(ns + "tr"):
        print("|".join([table] + [text(td) for td in tr if td.tag in (ns + "td", ns + "th")]).rstrip("|"))
picture = [e for e in tree.iter() if e.attrib.get("id") == "map"][0]
print("squares|%d" % len(picture.findall(".//%sg" % svg)))
print("bars|%d" % sum(len(c.findall(".//%srect" % svg)) for c in tree.iter() if c.attrib.get("id") == "classes"))
END
page() { # page NAME: the page of a region, parsed
	run stats --html "$1"
	cp "$work/out" "$work/page.html"
	/usr/bin/python3 "$work/parse.py" "$work/page.html" >"$work/parsed" 2>"$work/err" && [ $status = 0 ]
}
has() { grep -qE -e "$1" "$work/parsed"; }

verify "stats --html: html5lib, strict, finds no error; no element but those" page $arena
verify "  the region's name, in the title and above" eval 'has "^title\|$arena$" && has "^h1\|$arena$"'
verify "  the sums" eval 'has "^sums\|capacity for blocks\|4\.0 MiB$" && has "^sums\|in large blocks\|384 KiB$"'
verify "  the size classes, with bars" eval 'has "^classes\|6144\|100\|" && has "^bars\|[1-9]"'
verify "  the process" eval 'has "^slots\|0\|${pid[1]}\|preload_region$"'
verify "  no rules" has '^rules\|No program'
run map $arena --svg
verify "  the squares" eval 'has "^squares\|[1-9][0-9]+$"'
verify "a name that is markup, of a dead owner's region: text" eval 'page "$nasty" && [ "$(sed -n "s/^h1|//p" "$work/parsed")" = "$nasty" ] && has "^slots\|Nobody is attached\.$"'
finish 1

case $SAN in
address | thread) echo "note: no shim beside this sanitizer: rules were not looked at" ;;
*)
	cat >"$work/live.py" <<-'END'
		import subprocess, sys
		open("/proc/self/comm", "w").write("<b>&\"'</b>")
		x = bytearray(2 << 20)
		sys.exit(subprocess.run([sys.argv[1], "stats", "--html", sys.argv[2]], stdout=open(sys.argv[3], "w"), env={}).returncode)
	END
	"$tool" run --region ${prefix}rules --place 'module=<script>alert(1)*;size=1M..' --log 0 -- \
		/usr/bin/python3 "$work/live.py" "$tool" ${prefix}rules "$work/page.html"
	verify "rules and process names that are markup: text" eval '/usr/bin/python3 "$work/parse.py" "$work/page.html" >"$work/parsed" 2>"$work/err" &&
		grep -qF "|module=<script>alert(1)*" "$work/parsed" && has "^rules\|[1-9][0-9]*\|[0-9.]+ MiB\|.*size=1M\.\.$"'
	;;
esac
run stats "$nasty" --html
verify "no byte of it is other than printable ASCII" eval '! LC_ALL=C grep -qP "[^\x20-\x7e]" "$work/out"'
"$helper" raw ${prefix}raw leak >/dev/null
text='not an arena' fails 1 'that it is no arena' stats --html ${prefix}raw
text='one of --json, --prometheus, --html' fails 2 'that one will do' stats --html --json $arena
status=0
"$tool" stats "$nasty" --html >/dev/full 2>"$work/err" || status=$?
verify "to a full device: status 1, says so" eval '[ $status = 1 ] && [ -s "$work/err" ]'

browser=$(command -v chromium-headless-shell || command -v chromium || true)
if [ -n "$browser" ]; then
	timeout 120 "$browser" --headless --no-sandbox --disable-gpu --virtual-time-budget=2000 --user-data-dir="$work/profile" \
		--dump-dom "file://$work/page.html" >"$work/dom" 2>"$work/err" || true
	verify "in a browser: the document is the page's, with map, classes and rules" eval '
		grep -q "id=\"map\"" "$work/dom" && [ "$(grep -o "<rect" "$work/dom" | wc -l)" = "$(grep -o "<rect" "$work/page.html" | wc -l)" ] &&
		grep -q "<table id=\"sums\">" "$work/dom" && ! grep -q "<script" "$work/dom"'
else
	echo "note: no chromium here (package chromium-headless-shell, 220 MB): the page was not loaded in a browser"
fi
rows_hold
