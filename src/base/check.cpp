#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace wa {

void check_failed(const char* file, int line, const char* expression, const char* why) {
    std::fprintf(stderr, "worker-agents: internal error: %s (%s) at %s:%d\n", why, expression, file, line);
    std::fflush(stderr);
    std::abort();
}

}  // namespace wa
