// Where a command's words go. Data to `out`, progress and hints to `err`; what is a terminal is known for each apart.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cli/command_line.h"
#include "config/settings.h"

namespace wa::cli {

struct ScreenSize {
    std::size_t width = 80;
    std::size_t height = 24;
};

class Console {
public:
    virtual ~Console() = default;
    // Written and flushed at once.
    virtual void out(std::string_view text) = 0;
    virtual void err(std::string_view text) = 0;
    [[nodiscard]] virtual bool out_is_terminal() const = 0;
    [[nodiscard]] virtual bool err_is_terminal() const = 0;
    [[nodiscard]] virtual bool in_is_terminal() const = 0;
    [[nodiscard]] virtual ScreenSize size() const = 0;
    // One line from standard input, without its end; "" at the end of input.
    [[nodiscard]] virtual std::string read_line() = 0;
    // All of standard input; kLimitExceeded beyond `limit` bytes.
    [[nodiscard]] virtual Result<std::string> read_all(std::size_t limit) = 0;
};

// The process's own standard streams.
class ProcessConsole final : public Console {
public:
    void out(std::string_view text) override;
    void err(std::string_view text) override;
    [[nodiscard]] bool out_is_terminal() const override;
    [[nodiscard]] bool err_is_terminal() const override;
    [[nodiscard]] bool in_is_terminal() const override;
    [[nodiscard]] ScreenSize size() const override;
    [[nodiscard]] std::string read_line() override;
    [[nodiscard]] Result<std::string> read_all(std::size_t limit) override;
};

// Whether a view may be drawn over itself: on a terminal that understands how (not TERM=dumb, not without TERM).
[[nodiscard]] bool can_redraw(bool is_terminal, const config::Environment& environment);
// --color, NO_COLOR, FORCE_COLOR, TERM=dumb, in this order of weight; for one of the two streams.
[[nodiscard]] bool wants_colours(ColourWhen when, bool is_terminal, const config::Environment& environment);

}  // namespace wa::cli
