#include "words.h"

static int is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

void words_add(struct word_counter *counter, const char *piece, size_t length) {
    for (size_t i = 0; i < length; ++i) {
        int blank = is_blank(piece[i]);
        if (!blank && !counter->inside) ++counter->counts.words;
        counter->inside = !blank;
        if (piece[i] == '\n') ++counter->counts.lines;
    }
    counter->counts.bytes += length;
}
