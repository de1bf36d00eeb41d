#include <stdio.h>
#include <string.h>

#include "words.h"

static int failures;
static int tests;

static void expect(const char *text, size_t lines, size_t words) {
    // Whole, and cut in two at every place: the counts must not depend on the pieces.
    size_t length = strlen(text);
    for (size_t cut = 0; cut <= length; ++cut) {
        struct word_counter counter = {{0, 0, 0}, 0};
        words_add(&counter, text, cut);
        words_add(&counter, text + cut, length - cut);
        ++tests;
        if (counter.counts.lines == lines && counter.counts.words == words && counter.counts.bytes == length) continue;
        ++failures;
        fprintf(stderr, "\"%s\" cut at %zu: %zu lines, %zu words, %zu bytes\n", text, cut, counter.counts.lines,
                counter.counts.words, counter.counts.bytes);
    }
}

int main(void) {
    expect("", 0, 0);
    expect("one", 0, 1);
    expect("one two", 0, 2);
    expect("  one\ttwo  \n", 1, 2);
    expect("\n\n\n", 3, 0);
    expect("a\nb\nc", 2, 3);
    printf("%d passed, %d failed\n", tests - failures, failures);
    return failures != 0;
}
