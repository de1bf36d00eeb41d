#include "ports/dead_letters.h"

namespace wa {

std::string_view to_string(LetterState state) {
    switch (state) {
        case LetterState::kOpen: return "open";
        case LetterState::kReplayed: return "replayed";
        case LetterState::kDiscarded: return "discarded";
    }
    return "open";
}

}  // namespace wa
