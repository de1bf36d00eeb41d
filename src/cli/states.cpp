#include "cli/states.h"

#include <array>
#include <cctype>

#include "cli/text.h"

namespace wa::cli {
namespace {

struct Word {
    std::string_view word;
    Kind kind;
};
constexpr std::array kWords{
    Word{"received", Kind::kWaiting},     Word{"waiting", Kind::kWaiting},          Word{"parked", Kind::kWaiting},
    Word{"held", Kind::kWaiting},         Word{"pending", Kind::kWaiting},          Word{"queued", Kind::kQueued},
    Word{"ready", Kind::kQueued},         Word{"backing-off", Kind::kQueued},       Word{"starting", Kind::kRunning},
    Word{"running", Kind::kRunning},      Word{"cancelling", Kind::kRunning},       Word{"reporting", Kind::kRunning},
    Word{"external", Kind::kRunning},     Word{"compensating", Kind::kRunning},     Word{"completed", Kind::kDone},
    Word{"compensated", Kind::kDone},     Word{"simulated", Kind::kSimulated},      Word{"failed", Kind::kFailed},
    Word{"dead-lettered", Kind::kFailed}, Word{"dependency-failed", Kind::kFailed}, Word{"unroutable", Kind::kStuck},
    Word{"timeout", Kind::kFailed},       Word{"deadline", Kind::kFailed},          Word{"cancelled", Kind::kCancelled},
    Word{"preempted", Kind::kCancelled},  Word{"skipped", Kind::kCancelled},        Word{"handed-back", Kind::kWaiting},
};

}  // namespace

Kind kind_of(std::string_view state) {
    std::string lower(state);
    for (char& c : lower)
        c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const Word& word : kWords) {
        if (word.word == lower) return word.kind;
    }
    return Kind::kUnknown;
}

bool is_over(Kind kind) {
    return kind == Kind::kDone || kind == Kind::kSimulated || kind == Kind::kFailed || kind == Kind::kCancelled;
}

std::string_view sign(Kind kind) {
    switch (kind) {
        case Kind::kWaiting: return "○";
        case Kind::kQueued: return "◷";
        case Kind::kRunning: return "▶";
        case Kind::kDone: return "✔";
        case Kind::kSimulated: return "≈";
        case Kind::kFailed:
        case Kind::kStuck: return "✖";
        case Kind::kCancelled: return "⊘";
        case Kind::kUnknown: return "?";
    }
    return "?";
}

std::string_view colour(Kind kind) {
    switch (kind) {
        case Kind::kWaiting: return "\x1b[2m";
        case Kind::kQueued: return "\x1b[33m";
        case Kind::kRunning: return "\x1b[36m";
        case Kind::kDone: return "\x1b[32m";
        case Kind::kSimulated: return "\x1b[35m";
        case Kind::kFailed:
        case Kind::kStuck: return "\x1b[31m";
        case Kind::kCancelled: return "\x1b[33m";
        case Kind::kUnknown: return "";
    }
    return "";
}

std::string with_sign(std::string_view state, bool colours) {
    const Kind kind = kind_of(state);
    const std::string text = std::string(sign(kind)) + " " + printable(state);
    if (!colours || colour(kind).empty()) return text;
    return std::string(colour(kind)) + text + std::string(kPlain);
}

}  // namespace wa::cli
