// Counts the lines, words and bytes of a text.
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>

#define WORDS_VERSION "1.0"

struct word_counts {
    size_t lines;  // newline characters
    size_t words;  // runs of anything but blanks
    size_t bytes;
};

// Where counting stands between two pieces of one text. Start with all zero.
struct word_counter {
    struct word_counts counts;
    int inside;  // the last piece ended within a word
};

void words_add(struct word_counter *counter, const char *piece, size_t length);

#endif
