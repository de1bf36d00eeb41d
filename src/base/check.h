// CHECK: a broken invariant of ours ends the process at once, in every build, with the place and the expression.
// Never CHECK something that the outside world decides.
#pragma once

namespace wa {
[[noreturn]] void check_failed(const char* file, int line, const char* expression, const char* why);
}

#define WA_CHECK(expr, why)                                              \
    do {                                                                 \
        if (!(expr)) ::wa::check_failed(__FILE__, __LINE__, #expr, why); \
    } while (false)
