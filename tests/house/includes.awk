# Finds every #include that breaks the order of the house; includes.sh has the rules.
# Input: first a list of the project's files, then the sources themselves.

function dir(path) { return match(path, /\/[^\/]*$/) ? substr(path, 1, RSTART - 1) : "" }
function base(path) { sub(/^.*\//, "", path); return path }
function floor_of(path,   f) { f = path; sub(/\/.*$/, "", f); return f }
# The room of a file: kernels/predict for kernels/predict/cm/mixer.c, kernels for kernels/kernels.c.
function room_of(path,   part, n) {
    n = split(path, part, "/")
    return n > 2 ? part[1] "/" part[2] : part[1]
}
function inside(path, folder) { return index(path, folder "/") == 1 }
function bad(why) { printf "%s:%d: includes %s: %s\n", FILENAME, FNR, included, why; n_bad++ }
# a/x/../b -> a/b
function shortest(path) {
    while (match(path, /(^|\/)[^\/.][^\/]*\/\.\.\//))
        path = substr(path, 1, RSTART - 1) (substr(path, RSTART, 1) == "/" ? "/" : "") substr(path, RSTART + RLENGTH)
    return path
}
# As the compiler looks for a header: beside the file, then in src/, then in include/.
function resolve(path,   place) {
    place = shortest(dir(FILENAME) "/" path)
    if (place in exists) return place
    if (("src/" path) in exists) return "src/" path
    if (("include/" path) in exists) return "include/" path
    return ""
}

BEGIN {
    n_floors = split("base math formats kernels lm artefacts faces", name, " ")
    for (i = 1; i <= n_floors; i++) height[name[i]] = i
    # Floors made of rooms: their folder is a corridor and has no door of its own.
    corridor["formats"] = corridor["kernels"] = corridor["lm"] = corridor["artefacts"] = corridor["faces"] = 1
    # Of these the rooms keep to themselves.
    apart["kernels"] = apart["artefacts"] = apart["faces"] = 1
}
NR == FNR { exists[$0] = 1; next }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, quoted, "\"")
    included = quoted[2]
    file = FILENAME; target = resolve(included)
    sub(/^src\//, "", file); sub(/^src\//, "", target)
    n_seen++
    if (target == "") { bad("no such header in the project"); next }
    if (inside(target, "include")) next
    if (inside(file, "include")) { bad("a public header may include public headers only"); next }

    from = floor_of(file); to = floor_of(target)
    if (!(from in height)) { bad("src/" from " is not a floor of the house"); next }
    if (!(to in height)) { bad("src/" to " is not a floor of the house"); next }
    if (height[from] < height[to]) { bad(from " is below " to); next }

    # Rooms beside each other.
    mine = room_of(file); theirs = room_of(target)
    if (from == to && mine != theirs && mine != from && theirs != from && (from in apart) &&
        mine != "kernels/measure" && !(mine == "kernels/represent" && theirs == "kernels/predict")) {
        bad(from " do not include each other"); next
    }

    # Doors: every folder that is entered from outside is entered by FOLDER/FOLDER.h.
    for (folder = dir(target); folder != ""; folder = dir(folder)) {
        if (inside(file, folder) || folder == "base" || (folder in corridor)) continue
        if (folder == "math" && dir(target) != "math") continue # math has rooms behind its door that have doors themselves
        if (target != folder "/" base(folder) ".h") {
            bad("from outside " folder "/ only " folder "/" base(folder) ".h may be included"); break
        }
    }
}
END {
    if (n_seen == 0) { print "no #include line was read"; exit 1 }
    if (n_bad > 0) exit 1
    print n_seen " includes in order"
}
