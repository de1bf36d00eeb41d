# The tool must agree with wc, and the sources must be tidy.
set -eu
for file in src/*.c src/*.h tests/*.c; do
    set -- $(wc -l -w -c <"$file")
    want="$1 lines, $2 words, $3 bytes"
    have=$(./words <"$file")
    [ "$have" = "$want" ] || { echo "$file: words says '$have', wc says '$want'" >&2; exit 1; }
    if grep -n ' $' "$file"; then echo "$file: blanks at the end of a line" >&2; exit 1; fi
    echo "$file: $have"
done
