#include "ports/runtime.h"

namespace wa {

std::string_view to_string(Unavailable reason) {
    switch (reason) {
        case Unavailable::kDisabled: return "disabled";
        case Unavailable::kUnreachable: return "unavailable";
    }
    return "unavailable";
}

}  // namespace wa
