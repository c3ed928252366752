# Prints every command of pith that the texts quote, one a line: FILE:LINE and the words behind "pith"; what stands in
# quotation marks is one word. Markdown: indented and fenced lines that begin with it, and `spans`, which may go on in
# the next line; manual pages: examples.
function say(text, line,   n, part, i) {
    gsub(/\\-/, "-", text)
    gsub(/\\\|/, "|", text)
    gsub(/'[^']*'|"[^"]*"/, "QUOTED", text)
    sub(/ +#.*/, "", text)
    gsub(/[][,]/, " ", text) # [--option], and what a sentence puts behind it
    n = split(text, part, /\||&&|;|\$\(|\)/)
    for (i = 1; i <= n; i++)
        if (sub(/^ *(\$ +)?((\.|build)\/)*pith +/, "", part[i]) && part[i] ~ /^[^ ]/)
            print FILENAME ":" line, part[i]
}
function paragraph(   n, span, s) {
    n = split(words, span, "`")
    for (s = 2; s <= n; s += 2) say(span[s], began)
    words = ""
}
FNR == 1 { paragraph(); fenced = example = 0 }
/^```/ { fenced = !fenced; next }
/^\.(nf|EX)/ { example = 1; next }
/^\.(fi|EE)/ { example = 0; next }
FILENAME ~ /\.[1-9]$/ { if (example) say($0, FNR); next }
fenced || (/^    / && words == "") { say($0, FNR); next }
/^ *$/ { paragraph(); next }
words == "" { began = FNR }
{ words = words " " $0 }
/^\|/ { paragraph() } # spans end with the row of a table
END { paragraph() }
