#!/bin/bash
# The verbs that look and clear up: ls, stats, blocks, cat, check, gc, rm, help.
# check and the others on images that were corrupted in a known place, cut
# short, and mutated at random. Needs no shim, so that it runs under every
# sanitizer: regions are made by tests/helpers/preload_region.
. "$(dirname "$0")/helpers/script.sh"
. tests/helpers/tool.sh

field() { # field NAME FILTER: of the region in `ls --json`
	jq -r --arg n "$1" '.regions[] | select(.name == $n) | '"$2" "$work/out"
}

arena=${prefix}arena raw=${prefix}raw kept=${prefix}kept foreign=${prefix}foreign
start 1 arena $arena wait
start 2 raw $raw wait
"$helper" arena $kept leak >"$work/kept-ref" # and exits without closing it: one that is dead in there
printf 'not ours\n' >/dev/shm$foreign

# ---- ls ------------------------------------------------------------------------------

run ls
verify "ls: a line with the arena's name, kind, owner" grep -qE "^$arena +arena +pid ${pid[1]} +1 +0 .* 4\.0 MiB +0600 preload_region" "$work/out"
verify "ls: the raw region" grep -qE "^$raw +raw +(alive|pid ${pid[2]}) +1 +0 .* 0640" "$work/out"
verify "ls: the kept one, with one dead" grep -qE "^$kept +arena +kept +0 +1 " "$work/out"
verify "ls: columns have names" grep -qE '^NAME +KIND +OWNER +ATTACHED +DEAD +MEMORY' "$work/out"
verify "ls: objects of others are left out" eval '! grep -q "$foreign" "$work/out"'
run ls --all
verify "ls --all: objects of others too" grep -qE "^$foreign +other +- " "$work/out"
run ls --json
verify "ls --json: jq parses it" parses '.regions | length >= 3'
verify "ls --json: sizes are numbers of bytes" [ "$(field $arena '[.capacity, .attached, (.resident > 600000)] | tojson')" = '[4194304,1,true]' ]
verify "ls --json: kind, owner, mode, creator" [ "$(field $arena '[.kind, .owner, .mode, .creator] | tojson')" = '["arena","pid '${pid[1]}'","0600","preload_region"]' ]
verify "ls --json: the dead, also where there are none" [ "$(field $arena .dead) $(field $raw .dead) $(field $kept .dead)" = '0 0 1' ]
verify "ls --json: raw" [ "$(field $raw '[.kind, .mode, .capacity] | tojson')" = '["raw","0640",10000]' ]
run ls --json --all
verify "ls --json --all: other" [ "$(field $foreign .kind)" = other ]
odd=$'shmb-test-'$$$'-odd "quoted" \\ \e[31m\nline \xff\xfe'
: >"/dev/shm/$odd"
run ls --all --json
verify "ls --json: a name with quotes, newline, escape, no UTF-8: still JSON" \
	parses '[.regions[] | select(.name | startswith("/shmb-test-'$$'-odd \"quoted\""))] | length == 1'
run ls --all
verify "ls: that name sends nothing to the terminal" eval '! grep -q "$(printf "\033")" "$work/out" && [ "$(grep -c "shmb-test-'$$'-odd" "$work/out")" = 1 ]'
rm -f "/dev/shm/$odd"

# ---- stats ------------------------------------------------------------------------------

run stats $arena
verify "stats: the region, 104 live blocks, the process" eval '[ $status = 0 ] && grep -q "^region $arena: 4.0 MiB" "$work/out" && grep -q "in 104 blocks" "$work/out" && grep -qE "slot 0 +pid ${pid[1]} +preload_region +1 thread" "$work/out"'
verify "stats: the class of 6144 has 100 live" grep -qE '^ +6144 +100 ' "$work/out"
run stats --json $arena
verify "stats --json: jq parses it" parses '.schema == 1'
verify "stats --json: live blocks by class, large ones" \
	[ "$(jq -c '[(.classes[] | select(.size == 6144).live), (.classes[] | select(.size == 64) | [.live, .cached >= 300]), .large.blocks, .large.bytes]' "$work/out")" = '[100,[0,true],3,393216]' ]
verify "stats --json: the attached process" [ "$(jq -c '[.slots[] | [.slot, .pid, .name]]' "$work/out")" = "[[0,${pid[1]},\"preload_region\"]]" ]
run stats ${kept#/} --json
verify "stats: a name without slash, the option last" [ "$(jq -r .region "$work/out")" = $kept ]
text='not an arena' fails 1 'that it is no arena' stats $raw
text='No such file' fails 1 'that there is none' stats ${prefix}none
text="${prefix}none" fails 1 'which name' stats ${prefix}none
text='takes one region' fails 2 'what it takes' stats
text='takes one region' fails 2 'what it takes' stats $arena $kept
text='--xml' fails 2 --xml stats $arena --xml
text='Invalid argument' fails 1 'that it is no name' stats ..
text='No such file' fails 1 'that there is no such path' stats ${prefix}a/b

# ---- blocks ---------------------------------------------------------------------------------

run blocks $arena
verify "blocks: a header, and the block with the text" eval 'head -1 "$work/out" | grep -qE "REF +SIZE +STATE +PROCESS" && grep -qE "^ *${ref[1]} +5120 live +${pid[1]}$" "$work/out"'
run blocks $arena --json
verify "blocks --json: jq parses it; 104 live, of three sizes" \
	[ "$(jq -c '[.blocks[] | select(.state == "live").size] | group_by(.) | map([.[0], length])' "$work/out")" = '[[5120,1],[6144,100],[131072,3]]' ]
verify "blocks --json: 300 and more cached of 64" [ "$(jq '[.blocks[] | select(.state == "cached" and .size == 64)] | length >= 300' "$work/out")" = true ]
jq -r '.blocks[] | "\(.ref) \(.size)"' "$work/out" >"$work/refs"
verify "blocks --json: by address, none overlaps the next" /usr/bin/python3 -c '
end = 0
for line in open("'"$work/refs"'"):
    ref, size = line.split()
    assert int(ref, 0) >= end, line
    end = int(ref, 0) + int(size)'
run blocks $kept
verify "blocks: the process is gone, it says so" eval 'grep -qE "^ *$(cat "$work/kept-ref") +5120 live +gone$" "$work/out"'
text='not an arena' fails 1 'that it is no arena' blocks $raw
text='takes one region' fails 2 'what it takes' blocks

# ---- cat ---------------------------------------------------------------------------------------

run cat $arena "${ref[1]}"
verify "cat: the block with the known text, 5120 bytes" eval '[ $status = 0 ] && [ "$(stat -c %s "$work/out")" = 5120 ] && [ "$(head -1 "$work/out")" = "a known pattern" ]'
run cat $arena $((ref[1] + 2))
verify "cat: from inside a block, in decimal: the rest of it" eval '[ "$(stat -c %s "$work/out")" = 5118 ] && [ "$(head -1 "$work/out")" = "known pattern" ]'
large=$("$tool" blocks $arena --json | jq -r '[.blocks[] | select(.size == 131072)][0].ref')
run cat $arena "$large"
verify "cat: a large block, whole" eval '[ "$(stat -c %s "$work/out")" = 131072 ] && [ "$(head -c 100000 "$work/out" | tr -d .)" = "" ]'
run cat $kept "$(cat "$work/kept-ref")"
verify "cat: a block of a process that is gone" [ "$(head -1 "$work/out")" = 'a known pattern' ]
run cat $raw
verify "cat: a whole raw region" eval '[ $status = 0 ] && cmp -s "$work/out" /dev/shm$raw'
run cat $foreign
verify "cat: any other object" cmp -s "$work/out" /dev/shm$foreign
text='no live block at 0x10' fails 1 'that no block is there' cat $arena 0x10
text='no live block' fails 1 'that no block is there' cat $arena 99999999999
free=$("$tool" blocks $arena --json | jq -r '[.blocks[] | select(.state == "cached")][0].ref')
text='no live block' fails 1 'that a free block is none' cat $arena "$free"
for r in x -1 '' 0x 12x 99999999999999999999; do text='not a ref' fails 2 'that it is no ref' cat $arena "$r"; done
text='which block?' fails 2 'that it wants a block' cat $arena
text='has no blocks' fails 2 'that it has no blocks' cat $raw 0x10
text='No such file' fails 1 'that there is none' cat ${prefix}none
text='takes a region' fails 2 'what it takes' cat
status=0
"$tool" cat $raw >/dev/full 2>"$work/err" || status=$?
verify "cat to a full device: status 1, says so" eval '[ $status = 1 ] && [ -s "$work/err" ]'

# ---- check ---------------------------------------------------------------------------------------

run check $arena
verify "check of a region in use: clean, sums exact" eval '[ $status = 0 ] && [ "$(wc -l <"$work/out")" = 1 ] && grep -q "^clean: .*the sums are exact$" "$work/out"'
run check $kept
verify "check of a kept one: clean, and what one dead process left" eval '[ $status = 0 ] && [ "$(wc -l <"$work/out")" = 1 ] && grep -q "^clean: .*exact; the caches of 1 dead process wait for recovery, by .shmbind gc.$" "$work/out"'
run check $kept
verify "check again: it recovered nobody" grep -q "caches of 1 dead process " "$work/out"
text='not an arena' fails 1 'that it is no arena' check $raw
text='No such file' fails 1 'that there is none' check ${prefix}none

cp --sparse=always /dev/shm$arena "$work/image"
"$helper" layout $arena | tr ' ' '\n' >"$work/layout"
cat >"$work/mutate.py" <<'END'
# Corrupts copies of an arena's image and has the tool look at them.
import os, random, re, struct, subprocess, sys

tool, image, name, layout, ref = sys.argv[1:6]
L = dict(line.split("=") for line in open(layout).read().split())
L = {k: int(v) for k, v in L.items()}
path = "/dev/shm" + name
failures = 0

def extents():
    fd, out, at = os.open(image, os.O_RDONLY), [], 0
    while True:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return out
        end = os.lseek(fd, at, os.SEEK_HOLE)
        os.lseek(fd, at, os.SEEK_SET)
        out.append((at, os.read(fd, end - at)))
        at = end

base, size = extents(), os.stat(image).st_size
flat = {}

def read(at, n):
    for start, data in base:
        if start <= at and at + n <= start + len(data):
            return data[at - start:at - start + n]
    return bytes(n)

def u32(at): return struct.unpack("<I", read(at, 4))[0]
def u64(at): return struct.unpack("<Q", read(at, 8))[0]

def make(changes, length=None):
    with open(path, "wb") as f:
        f.truncate(size)
        for at, data in base:
            f.seek(at)
            f.write(data)
        for at, data in changes:
            f.seek(at)
            f.write(data)
        f.truncate(size if length is None else length)

def ask(*args):
    p = subprocess.run([tool, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")

def row(good, text, more=""):
    global failures
    print(("ok  " if good else "FAIL"), text)
    if not good:
        failures += 1
        print("\n".join("     " + line for line in more.splitlines()[:12]))

# ---- known corruption: exit status 3, and one line that names it

def corrupt(what, changes, pattern):
    make(changes)
    code, out, err = ask("check", name)
    hits = len(re.findall(pattern, out, re.M))
    good = code == 3 and hits == 1 and "CORRUPT: " in out and name in err
    row(good, "check, %s: status 3, one line: %s" % (what, pattern), "status %d\n%s%s" % (code, out, err))

def byte_at(off):  # the block map's byte of the block at that offset in the file
    return L["blockmap"] + (off - L["data"]) // L["grain"]

def first_depot_magazine():
    for k in range(L["classes"]):
        d = L["depots"] + k * L["depot_size"]
        if u32(d + 4):
            number = u32(d + L["depot_cells"]) & 0x1ffff # above: who put it there
            return k, d, number, L["mags"] + (number - 1) * L["mag_size"]
    sys.exit("no depot holds anything: the test needs one")

block = int(ref, 0)
live = read(byte_at(block), 1)[0]
klass, depot, number, mag = first_depot_magazine()
entry = u32(mag + L["mag_entries"])
at = L["data"] + entry * L["grain"]
cached = read(L["blockmap"] + entry, 1)[0]
unit = (block - L["data"]) // L["unit"]
span = lambda u: L["spans"] + 8 * u
heads = [u for u in range(L["units"]) if u64(span(u)) >> 60 == 3]
frees = [u for u in range(L["units"]) if u64(span(u)) >> 60 == 0]

make([])
code, out, err = ask("check", name)
row(code == 0 and out.startswith("clean: "), "check of a copy: clean", out + err)
corrupt("a unit's holder is of a generation to come", [(span(unit), struct.pack("<Q", u64(span(unit)) + 5))], "^unit %d: held by %#x, which never was$" % (unit, (u64(span(unit)) + 5) & 0xffffffff))
corrupt("a unit's holder is no slot", [(span(unit), struct.pack("<Q", 2 << 60 | 1 << 31 | 200 << 20))], "^unit %d: held by 0x8c800000, which never was$" % unit)
corrupt("a block's byte has another class", [(byte_at(block), bytes([live ^ 1]))], "^block at %#x: class %d in a page of class %d$" % (block, (live ^ 1) & 63, live & 63))
corrupt("a block's byte has a class but no state", [(byte_at(block), bytes([live & 63 | 1]))], "^block at %#x: its byte is " % block)
corrupt("a byte where no block starts", [(byte_at(block) + 1, bytes([live]))], "^block at %#x: no block of its page starts there$" % (block + 16))
corrupt("a cached block's byte says live", [(L["blockmap"] + entry, bytes([cached | 0xc0]))], r"^magazine \d+: lists grain %d, whose byte is %#x$" % (entry, cached | 0xc0))
corrupt("a live block's byte says cached", [(byte_at(block), bytes([live & 63 | 0x40]))], "^block at %#x: said to be cached, but no magazine lists it$" % block)
corrupt("a span word of no kind", [(span(unit), struct.pack("<Q", 7 << 60))], "^unit %d: no such kind of word: 0x7000000000000000$" % unit)
def cached_in(u): return sum(b >> 6 == 1 for b in read(L["blockmap"] + u * L["unit"] // L["grain"], L["unit"] // L["grain"]))
smalls = [u for u in range(L["units"]) if u64(span(u)) >> 60 == 2]
lonely = min(smalls, key=cached_in)
corrupt("all words of small units, of which hundreds of faults follow", [(span(u), struct.pack("<Q", 7 << 60)) for u in smalls], "^unit %d: no such kind of word: 0x7000000000000000$" % smalls[0])
corrupt("a span word of no kind, of the unit with the fewest cached blocks", [(span(lonely), struct.pack("<Q", 15 << 60))], "^unit %d: no such kind of word: 0xf000000000000000$" % lonely)
corrupt("a free unit's word with a holder", [(span(frees[0]), struct.pack("<Q", 1 << 20))], "^unit %d: free, and yet somebody's: 0x100000$" % frees[0])
corrupt("a large run that is too long", [(span(heads[0]), struct.pack("<Q", u64(span(heads[0])) + (1 << 40)))], "^unit %d: (the run of 258 units has a hole at|a run that does not fit: 0x30000102)" % heads[0])
corrupt("a large run with a hole", [(span(heads[0] + 1), bytes(8))], "^unit %d: the run of 2 units has a hole at 1$" % heads[0])
corrupt("a large run of no units", [(span(heads[0]), struct.pack("<Q", 3 << 60 | u64(span(heads[0])) & 0xffffffff))], "^unit %d: a run that does not fit: 0x3000000" % heads[0])
corrupt("a page's word of no class", [(L["pages"] + 4 * ((block - L["data"]) // L["page"]), struct.pack("<I", 200))], "^page %d: no such class: 0xc8$" % ((block - L["data"]) // L["page"]))
corrupt("a magazine's entry that is listed elsewhere", [(mag + L["mag_entries"], read(mag + L["mag_entries"] + 4, 4))], "^block at .*: listed twice, again in magazine %d$" % number)
corrupt("and the block it listed is lost", [(mag + L["mag_entries"], read(mag + L["mag_entries"] + 4, 4))], "^block at %#x: said to be cached, but no magazine lists it$" % at)
corrupt("a magazine's entry outside the data", [(mag + L["mag_entries"], b"\xff\xff\xff\xff")], "^magazine %d: lists grain 4294967295, where no small block can be$" % number)
corrupt("a magazine's count", [(mag + L["mag_count"], struct.pack("<I", 200))], r"^magazine %d: 200 of \d+ rounds of class %d$" % (number, klass))
corrupt("a depot's count", [(depot + 4, struct.pack("<I", 63))], "^depot %d: 63 magazines$" % klass)
corrupt("a depot that lists no magazine", [(depot + L["depot_cells"], struct.pack("<I", 70000))], r"^a depot: lists magazine 70000 of \d+$")
others = u32(depot + 4)
if others > 1:
    corrupt("a depot that lists one twice", [(depot + L["depot_cells"] + 4, struct.pack("<I", number))], "^magazine %d: listed twice, again by a depot$" % number)

# ---- no arena at all, or the rest of one

VERBS = (["check", name], ["stats", name], ["stats", name, "--json"], ["blocks", name], ["cat", name, ref],
         ["map", name], ["map", name, "--svg"], ["stats", name, "--prometheus"], ["stats", name, "--html"])

def survives(what, quiet=False, turn=None):
    bad = ""
    codes = []
    # check always; of the others all, or one in turn
    for verb in VERBS + (["ls", "--json"],) if turn is None else (VERBS[0], VERBS[1 + turn % (len(VERBS) - 1)]):
        try:
            code, out, err = ask(*verb)
        except subprocess.TimeoutExpired:
            code, out, err = "hangs", "", ""
        codes.append(code)
        allowed = (0, 1, 3) if verb[0] == "check" else (0, 1, 2) if verb[0] == "cat" else (0, 1)
        if code not in allowed or "runtime error" in err or "Sanitizer" in err:
            bad += "%s: %s\n%s" % (verb, code, err)
        if code == 1 and not err:
            bad += "%s: fails without a word\n" % verb
        if code == 3 and name not in err:
            bad += "%s: corrupt, but not a word on stderr\n" % verb
    if bad or not quiet:
        row(not bad, what, bad)
    return codes

for length in (0, 1, 100, 4095, 4096, 4097, L["spans"], L["spans"] + 100, L["blockmap"], L["data"], L["data"] + 70000, size - 1):
    make([], length)
    survives("cut to %d bytes: every verb says so, none crashes" % length)
for what, data in (("zeros", bytes(1 << 20)), ("0xff", b"\xff" * (1 << 20)), ("random bytes", random.Random(1).randbytes(1 << 20))):
    open(path, "wb").write(data)
    survives("1 MiB of %s: no verb crashes" % what)
turns = 0
for off, n in ((0, 8), (8, 4), (12, 4), (16, 8), (24, 8), (32, 8), (40, 8), (60, 4), (112, 8), (120, 4), (124, 4), (128, 4)):
    for value in (0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1):
        make([(off, struct.pack("<Q", value)[:n])])
        turns += 1
        survives("header word at %d = %#x" % (off, value), quiet=True, turn=turns)
row(True, "72 header words with 0, 1, 2^31, 2^32-1, 2^63, 2^64-1: looked at")

# ---- random mutations, repeatable

seed = int(os.environ.get("MUTATE_SEED", "4711"))
rng = random.Random(seed)
places = [(at, len(data)) for at, data in base if at < L["data"]]
ends, found = {}, 0
for i in range(200):
    changes = []
    for _ in range(rng.choice((1, 1, 2, 5, 50))):
        if rng.random() < 0.5:  # where the tables are in use
            start, n = rng.choice(places)
        else:
            start, n = rng.choice(((0, 200), (depot, 64), (mag, 256), (span(0), 8 * L["units"]), (L["threads"], 1024), (L["slots"], 256), (L["pages"], 4096)))
        width = rng.choice((1, 2, 4, 8))
        at = start + rng.randrange(max(1, n - width)) // width * width
        changes.append((at, rng.choice((rng.randbytes(width), b"\xff" * width, bytes(width)))))
    make(changes)
    codes = survives("mutation %d of seed %d" % (i, seed), quiet=True, turn=i)
    ends[codes[0]] = ends.get(codes[0], 0) + 1
row(ends.get(3, 0) > 20, "200 random mutations: no verb crashes, hangs or fails silently; check ended with %s" % ends)
sys.exit(failures != 0)
END
rows=$((rows + 1))
/usr/bin/python3 "$work/mutate.py" "$tool" "$work/image" ${prefix}image "$work/layout" "${ref[1]}" || failures=$((failures + 1))
rm -f /dev/shm${prefix}image

# ---- rm ------------------------------------------------------------------------------------------------

text='a living process owns it; --force' fails 1 'that it lives, and the option' rm $arena
verify "rm: and it is still there" [ -e /dev/shm$arena ]
text=$raw fails 1 'which' rm $raw
verify "rm: and the raw one too" [ -e /dev/shm$raw ]
run rm $kept
verify "rm: a kept one" eval '[ $status = 0 ] && [ ! -e /dev/shm$kept ]'
run rm $foreign
verify "rm: another program's object" eval '[ $status = 0 ] && [ ! -e /dev/shm$foreign ]'
text="${prefix}none: No such file" fails 1 'that there is none' rm ${prefix}none
for n in a b; do "$helper" raw ${prefix}$n leak >/dev/null; done
text=${prefix}none fails 1 'the one that is missing' rm ${prefix}a ${prefix}none ${prefix}b
verify "rm: the others are removed" eval '[ ! -e /dev/shm${prefix}a ] && [ ! -e /dev/shm${prefix}b ]'
text='takes regions' fails 2 'what it takes' rm
text='--all' fails 2 --all rm --all $arena
verify "rm: a mistyped option removes nothing" [ -e /dev/shm$arena ]
run rm --force $arena
verify "rm --force: the living's too; it lives on" eval '[ $status = 0 ] && [ ! -e /dev/shm$arena ] && kill -0 ${pid[1]}'
finish 1
finish 2
killed raw ${prefix}dead kill
verify "a killed owner leaves the name" [ -e /dev/shm${prefix}dead ]
run rm ${prefix}dead
verify "rm: a dead one" eval '[ $status = 0 ] && [ ! -e /dev/shm${prefix}dead ]'

# ---- gc, where nobody else's regions are ------------------------------------------------------------------

dead_in() { "$tool" ls --json | jq --arg n "$prefix$1" '.regions[] | select(.name == $n).dead'; }
recovered_in() { "$tool" stats --json "$prefix$1" | jq .recoveries; }
gc_rows() {
	start 1 arena ${prefix}lives wait
	start 2 raw ${prefix}lives-raw wait
	start 3 arena ${prefix}attached wait
	start 4 attach ${prefix}attached wait
	run ls
	verify "ls where nobody is dead: no such column" eval '[ $status = 0 ] && grep -qE "^NAME +KIND +OWNER +ATTACHED +MEMORY" "$work/out"'
	shot 3
	start 5 attach ${prefix}lives wait
	start 6 attach ${prefix}lives wait
	shot 5
	shot 6
	killed arena ${prefix}dead kill
	killed raw ${prefix}dead-raw kill
	"$helper" arena ${prefix}kept leak >/dev/null
	: >/dev/shm${prefix}foreign
	all=$(ls /dev/shm)
	run ls
	verify "ls: two dead where the owner lives, one where it is dead too" eval 'grep -qE "^${prefix}lives +arena +pid ${pid[1]} +1 +2 " "$work/out" && grep -qE "^${prefix}attached +arena +dead +1 +1 " "$work/out"'
	run check ${prefix}lives
	verify "check: what two dead processes left, and gc" eval '[ $status = 0 ] && grep -q "^clean: .*exact; the caches of 2 dead processes wait for recovery, by .shmbind gc.$" "$work/out"'
	run check ${prefix}attached
	verify "check where gc would remove: the next open" eval '[ $status = 0 ] && grep -q "; the caches of 1 dead process wait for recovery, by the next open$" "$work/out"'
	run gc --dry-run
	verify "gc --dry-run: says the two dead ones, removes nothing" eval '[ $status = 0 ] && [ "$(grep -c "would be removed" "$work/out")" = 2 ] && [ "$(ls /dev/shm)" = "$all" ] && grep -q "^${prefix}dead: would" "$work/out" && grep -q "^${prefix}dead-raw: would" "$work/out"'
	verify "gc --dry-run: says why another is spared" grep -q "^${prefix}attached: its owner is dead, but 1 process is attached: spared" "$work/out"
	verify "gc --dry-run: says who would be recovered, where the owner lives and in the kept one" [ "$(grep recovered "$work/out")" = "$(printf '%s\n' "${prefix}kept: 1 dead process would be recovered" "${prefix}lives: 2 dead processes would be recovered")" ]
	verify "gc --dry-run: recovers nobody" [ "$(dead_in lives) $(dead_in kept) $(recovered_in lives) $(recovered_in kept)" = '2 1 0 0' ]
	run gc --dry-run
	verify "gc --dry-run: the sum" grep -q '^2 regions would go, ' "$work/out"
	run gc
	verify "gc: removes the two dead ones" eval '[ $status = 0 ] && [ "$(grep -c ": removed" "$work/out")" = 2 ] && grep -q "^2 regions, " "$work/out"'
	verify "gc: recovers, where the owner lives and in the kept one" [ "$(grep recovered "$work/out")" = "$(printf '%s\n' "${prefix}kept: 1 dead process recovered" "${prefix}lives: 2 dead processes recovered")" ]
	verify "gc: and they are, with gc itself, which came and went" [ "$(dead_in lives) $(dead_in kept) $(recovered_in lives) $(recovered_in kept)" = '0 0 3 2' ]
	verify "gc: has not been in the one that is spared" [ "$(dead_in attached) $(recovered_in attached)" = '1 0' ]
	run check ${prefix}lives
	verify "check: clean, nobody waits for recovery" eval '[ $status = 0 ] && grep -q "^clean: .*exact$" "$work/out"'
	run ls
	verify "ls: the owners are who they were" eval 'grep -qE "^${prefix}lives +arena +pid ${pid[1]} +1 +0 " "$work/out" && grep -qE "^${prefix}kept +arena +kept +0 +0 " "$work/out" && grep -qE "^${prefix}attached +arena +dead +1 +1 " "$work/out"'
	run gc
	verify "gc: spares the living, the attached, the kept, the foreign" [ "$(ls /dev/shm | tr '\n' ' ')" = "$(printf '%s\n' ${prefix#/}{attached,foreign,kept,lives,lives-raw} | sort | tr '\n' ' ')" ]
	run gc
	verify "gc again: nothing to do" eval 'grep -q "^0 regions, 0 B" "$work/out" && ! grep -q recovered "$work/out"'
	run gc --force
	verify "gc --force: the attached one too, nothing else" eval '[ $status = 0 ] && [ ! -e /dev/shm${prefix}attached ] && [ "$(ls /dev/shm | wc -l)" = 4 ]'
	verify "  whose process lives on" kill -0 "${pid[4]}"
	finish 4 && finish 1 && finish 2
	verify "the living ones go with their owners" [ "$(ls /dev/shm | tr '\n' ' ')" = "$(printf '%s\n' ${prefix#/}{foreign,kept} | tr '\n' ' ')" ]
	rm -f /dev/shm/*
	run ls --json
	verify "ls --json where there is nothing: JSON, no regions" parses '.regions == []'
	run ls
	verify "ls where there is nothing: status 0" [ $status = 0 ]
	run gc
	verify "gc where there is nothing: status 0" [ $status = 0 ]
}
if unshare -m true 2>"$work/why"; then
	export -f gc_rows run wrong verify parses start finish shot killed dead_in recovered_in
	export tool helper prefix work
	rows=$((rows + 1))
	unshare -m bash -eu -c 'mount -t tmpfs -o size=256m tmpfs /dev/shm; failures=0 rows=0; declare -A pid ref; gc_rows; exit $failures' || failures=$((failures + 1))
else
	echo "note: gc not verified, no mount namespace is to be had here: $(cat "$work/why")"
fi
text='--everything' fails 2 --everything gc --everything

# ---- help -----------------------------------------------------------------------------------------------------

verbs='run top ls stats map blocks cat check save load gc rm'
run help
verify "help: every verb on one page" eval '[ $status = 0 ] && for v in $verbs; do grep -qE "^  $v +[A-Z]" "$work/out" || exit 1; done && [ "$(wc -l <"$work/out")" -lt 24 ]'
cp "$work/out" "$work/help"
for form in --help -h; do
	run $form
	verify "$form: the same" cmp -s "$work/out" "$work/help"
done
run
verify "nothing at all: that page on stderr, status 2" eval '[ $status = 2 ] && [ ! -s "$work/out" ] && cmp -s "$work/err" "$work/help"'
for v in $verbs; do
	run help $v
	verify "help $v: usage first, under 24 lines" eval '[ $status = 0 ] && head -1 "$work/out" | grep -q "^usage: shmbind $v" && [ "$(wc -l <"$work/out")" -lt 24 ]'
	cp "$work/out" "$work/page"
	for form in --help -h; do
		[ $v = run ] && continue # tool_run.sh has that
		run $v $form
		verify "$v $form: the same" cmp -s "$work/out" "$work/page"
	done
done
text='nonsense: no such verb' fails 2 'that there is none' nonsense
text='nonsense: no such verb' fails 2 'that there is none' help nonsense
run --version
verify "--version" grep -qE '^shmbind [0-9]+\.[0-9]+\.[0-9]+$' "$work/out"
for v in ls stats blocks check gc rm; do text=--nonsense fails 2 --nonsense $v --nonsense; done
status=0
"$tool" help >/dev/full 2>"$work/err" || status=$?
verify "standard output that cannot be written: status 1, says so" eval '[ $status = 1 ] && says "cannot be written"'

rows_hold
