#include "cli/progress.h"

#include <algorithm>

#include "cli/states.h"
#include "cli/text.h"

namespace wa::cli {
namespace {

constexpr std::size_t kBarCells = 9;
constexpr std::size_t kLongestName = 32;
constexpr std::string_view kSynchronized = "\x1b[?2026h";  // terminals that know it draw the frame in one go
constexpr std::string_view kSynchronizedEnd = "\x1b[?2026l";

std::size_t count_over(const ProgressState& state) {
    return static_cast<std::size_t>(
        std::ranges::count_if(state.nodes, [](const ProgressNode& node) { return is_over(kind_of(node.phase)); }));
}

std::string tries_text(const ProgressNode& node) {
    return node.tries > 1 ? "(" + std::to_string(node.tries) + " tries)" : std::string();
}

// Everything behind the name: how long, how often, why.
std::string detail(const ProgressNode& node, bool with_phase) {
    const Kind kind = kind_of(node.phase);
    std::string text;
    const auto add = [&text](std::string_view part) {
        if (part.empty()) return;
        if (!text.empty()) text += "  ";
        text += part;
    };
    const bool plain = kind == Kind::kDone || kind == Kind::kRunning || kind == Kind::kWaiting;
    const bool says_phase = with_phase || !plain || (kind == Kind::kRunning && node.phase != "running");
    if (says_phase) add(printable(node.phase));
    if (node.run_ms >= 0) add(run_text(node.run_ms));
    add(tries_text(node));
    if (!node.why.empty() && kind != Kind::kDone) {
        if (says_phase && text == printable(node.phase)) {
            text += ": " + printable(node.why);
        } else {
            add(printable(node.why));
        }
    }
    return text;
}

// On a small terminal, what moves or went wrong is shown first.
int urgency(const ProgressNode& node) {
    switch (kind_of(node.phase)) {
        case Kind::kRunning: return 0;
        case Kind::kFailed:
        case Kind::kStuck: return 1;
        case Kind::kCancelled:
        case Kind::kSimulated: return 2;
        case Kind::kQueued: return 3;
        case Kind::kWaiting:
        case Kind::kUnknown: return 4;
        case Kind::kDone: return 5;
    }
    return 4;
}

std::vector<const ProgressNode*> shown_nodes(const ProgressState& state, std::size_t room) {
    std::vector<const ProgressNode*> all;
    for (const ProgressNode& node : state.nodes)
        all.push_back(&node);
    if (all.size() <= room) return all;
    std::vector<const ProgressNode*> chosen;
    for (int level = 0; level <= 5 && chosen.size() < room; ++level) {
        for (const ProgressNode* node : all) {
            if (chosen.size() < room && urgency(*node) == level) chosen.push_back(node);
        }
    }
    return chosen;
}

std::string head_line(const ProgressState& state) {
    const std::size_t total = std::max(state.total, state.nodes.size());
    const std::size_t done = state.ended.value_or(count_over(state) + (total - state.nodes.size()));
    std::string line = printable(state.title) + "   " + bar(done, total, kBarCells) + "  " + std::to_string(done) +
                       "/" + std::to_string(total) + "   " + run_text(state.elapsed_ms);
    if (!state.critical_path.empty()) {
        line += "   critical path: ";
        for (std::size_t i = 0; i < state.critical_path.size(); ++i) {
            line += (i == 0 ? "" : " → ") + printable(state.critical_path[i]);
        }
    }
    return line;
}

}  // namespace

std::string bar(std::size_t done, std::size_t total, std::size_t cells) {
    const std::size_t full = total == 0 ? 0 : std::min(cells, done * cells / total);
    std::string text;
    for (std::size_t i = 0; i < cells; ++i)
        text += i < full ? "▇" : "▁";
    return text;
}

void Progress::resize(std::size_t width, std::size_t height) {
    options_.width = width;
    options_.height = height;
}

std::string Progress::update(const ProgressState& state) {
    return options_.terminal ? frame(state) : changes(state);
}

std::string Progress::erase() {
    if (!options_.terminal || drawn_ == 0) return {};
    std::string out = "\x1b[" + std::to_string(drawn_) + "F\x1b[J";
    drawn_ = 0;
    return out;
}

std::string Progress::frame(const ProgressState& state) {
    const std::size_t width = std::max<std::size_t>(options_.width, 20);
    std::vector<std::string> lines{fit(head_line(state), width)};
    // Head, a possible note, a possible "more" line and the cursor's line must fit too: a frame taller than the screen
    // cannot be drawn over.
    const std::size_t room = options_.height > 6 ? options_.height - 4 : 2;
    const auto nodes = shown_nodes(state, room);
    std::size_t names = 0;
    for (const ProgressNode* node : nodes)
        names = std::max(names, display_width(printable(node->name)));
    names = std::min(names, kLongestName);
    for (const ProgressNode* node : nodes) {
        const Kind kind = kind_of(node->phase);
        const std::string name = pad(fit(printable(node->name), kLongestName), names);
        const std::string rest = detail(*node, false);
        std::string text = fit(name + "  " + rest, width - 4);
        text.erase(text.find_last_not_of(' ') + 1);
        const std::string_view on = options_.colours ? colour(kind) : std::string_view{};
        lines.push_back("  " + std::string(on) + std::string(sign(kind)) + (on.empty() ? "" : std::string(kPlain)) +
                        " " + text);
    }
    const std::size_t total = std::max(state.total, state.nodes.size());
    if (nodes.size() < total) lines.push_back(fit("  … and " + std::to_string(total - nodes.size()) + " more", width));
    if (!state.note.empty()) lines.push_back(fit("  " + printable(state.note), width));

    std::string out(kSynchronized);
    out += erase();
    for (const std::string& line : lines)
        out += line + "\n";
    out += kSynchronizedEnd;
    drawn_ = lines.size();
    return out;
}

std::string Progress::changes(const ProgressState& state) {
    std::string out;
    std::size_t names = 0;
    for (const ProgressNode& node : state.nodes)
        names = std::max(names, display_width(printable(node.name)));
    names = std::min(names, kLongestName);
    for (const ProgressNode& node : state.nodes) {
        Seen& seen = seen_[node.id];
        if (seen.phase == node.phase && seen.tries == node.tries) continue;
        seen = {node.phase, node.tries};
        std::string line =
            std::string(sign(kind_of(node.phase))) + " " + pad(printable(node.name), names) + "  " + detail(node, true);
        out += line + "\n";
    }
    // Of a plan that is too large to name each ticket: a line for each tenth.
    if (state.total > state.nodes.size() && state.ended) {
        const std::size_t tenth = *state.ended * 10 / state.total;
        if (tenth != tenth_) out += std::to_string(*state.ended) + " of " + std::to_string(state.total) + " ended\n";
        tenth_ = tenth;
    }
    if (state.note != note_) {
        note_ = state.note;
        if (!note_.empty()) out += printable(note_) + "\n";
    }
    return out;
}

}  // namespace wa::cli
