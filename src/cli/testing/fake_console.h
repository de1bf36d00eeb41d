// Keeps what a command writes.
#pragma once

#include <string>

#include "cli/console.h"

namespace wa::cli::testing {

class FakeConsole final : public Console {
public:
    void out(std::string_view text) override { out_text += text; }
    void err(std::string_view text) override { err_text += text; }
    [[nodiscard]] bool out_is_terminal() const override { return terminal; }
    [[nodiscard]] bool err_is_terminal() const override { return terminal; }
    [[nodiscard]] bool in_is_terminal() const override { return terminal; }
    [[nodiscard]] ScreenSize size() const override { return {100, 30}; }
    [[nodiscard]] std::string read_line() override { return input; }
    [[nodiscard]] Result<std::string> read_all(std::size_t) override { return input; }

    std::string out_text;
    std::string err_text;
    std::string input;
    bool terminal = false;
};

}  // namespace wa::cli::testing
