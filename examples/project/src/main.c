#include <stdio.h>
#include <string.h>

#include "words.h"

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("words " WORDS_VERSION);
        return 0;
    }
    struct word_counter counter = {{0, 0, 0}, 0};
    char piece[4096];
    size_t length;
    while ((length = fread(piece, 1, sizeof piece, stdin)) > 0) words_add(&counter, piece, length);
    if (ferror(stdin)) {
        perror("words: cannot read");
        return 1;
    }
    printf("%zu lines, %zu words, %zu bytes\n", counter.counts.lines, counter.counts.words, counter.counts.bytes);
    return 0;
}
