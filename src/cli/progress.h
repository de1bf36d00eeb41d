// The live view of a plan (or of everything in `dev`): redrawn in place on a terminal, one line a change elsewhere.
// Pure: state in, text out. Used by `plans watch`, `submit --wait` and `dev`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace wa::cli {

struct ProgressNode {
    std::string id;            // ticket id
    std::string name;          // task id
    std::string phase;         // word of states.h
    std::int64_t run_ms = -1;  // of the attempt(s) so far; < 0 = nothing ran
    std::int32_t tries = 0;
    std::string why;  // "needs unit-tests, lint", "exit code 1"; may be empty
};

struct ProgressState {
    std::string title;  // plan's name or id
    std::int64_t elapsed_ms = 0;
    std::vector<ProgressNode> nodes;         // in the order to show
    std::vector<std::string> critical_path;  // task names
    std::string note;                        // "draining …", "reconnecting …"; one more line
    // How many nodes there really are when `nodes` was cut; 0 = as many as given.
    std::size_t total = 0;
    // How many have ended; unset = counted from `nodes`, and nodes that were left out count as ended.
    std::optional<std::size_t> ended;
};

struct ProgressOptions {
    bool terminal = false;
    bool colours = false;
    std::size_t width = 80;
    std::size_t height = 24;
};

class Progress {
public:
    explicit Progress(ProgressOptions options) : options_(options) {}

    // What to write now. On a terminal: the frame, drawn over the last one. Elsewhere: a line for each node whose phase
    // changed ("" when none did).
    [[nodiscard]] std::string update(const ProgressState& state);
    // Terminal: forgets the last frame, so that what is printed next stands below it.
    void release() { drawn_ = 0; }
    // Terminal: takes the last frame away, to print something else in its place.
    [[nodiscard]] std::string erase();
    void resize(std::size_t width, std::size_t height);

private:
    std::string frame(const ProgressState& state);
    std::string changes(const ProgressState& state);

    ProgressOptions options_;
    std::size_t drawn_ = 0;  // lines of the last frame
    struct Seen {
        std::string phase;
        std::int32_t tries = 0;
    };
    std::map<std::string, Seen, std::less<>> seen_;
    std::string note_;
    std::size_t tenth_ = 0;  // of a large plan: how far the last line said it is
};

// "▇▇▇▇▇▁▁▁▁" for 5 of 9.
[[nodiscard]] std::string bar(std::size_t done, std::size_t total, std::size_t cells);

}  // namespace wa::cli
