/* Floods its output for two seconds, as fast as it is read. */
#include <string.h>
#include <time.h>
#include <unistd.h>

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(void) {
    static char block[65536];
    for (size_t at = 0; at < sizeof block; ++at)
        block[at] = at % 64 == 63 ? '\n' : 'y';
    const double until = seconds() + 2;
    while (seconds() < until) {
        if (write(1, block, sizeof block) < 0) return 1;
    }
    return 0;
}
