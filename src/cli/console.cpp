#include "cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace wa::cli {
namespace {

// What cannot be written is lost: there is nobody left to tell.
void write_all(int file, std::string_view text) {
    while (!text.empty()) {
        const ssize_t done = ::write(file, text.data(), text.size());
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(done));
    }
}

bool is_set(const config::Environment& environment, std::string_view name) {
    const auto found = environment.find(name);
    return found != environment.end() && !found->second.empty();
}

}  // namespace

void ProcessConsole::out(std::string_view text) {
    write_all(STDOUT_FILENO, text);
}
void ProcessConsole::err(std::string_view text) {
    write_all(STDERR_FILENO, text);
}
bool ProcessConsole::out_is_terminal() const {
    return ::isatty(STDOUT_FILENO) == 1;
}
bool ProcessConsole::err_is_terminal() const {
    return ::isatty(STDERR_FILENO) == 1;
}
bool ProcessConsole::in_is_terminal() const {
    return ::isatty(STDIN_FILENO) == 1;
}

ScreenSize ProcessConsole::size() const {
    winsize size{};
    for (const int file : {STDOUT_FILENO, STDERR_FILENO}) {
        if (::ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0)
            return {size.ws_col, size.ws_row};
    }
    return {};
}

std::string ProcessConsole::read_line() {
    std::string line;
    char c = 0;
    constexpr std::size_t kLongest = 4096;
    while (line.size() < kLongest) {
        const ssize_t got = ::read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0 || c == '\n') break;
        line += c;
    }
    return line;
}

Result<std::string> ProcessConsole::read_all(std::size_t limit) {
    std::string text;
    std::array<char, 65536> buffer{};
    while (true) {
        const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            return fail(ErrorCode::kUnavailable, "cli",
                        "cannot read standard input: " + std::system_category().message(errno));
        }
        if (got == 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(got));
        if (text.size() > limit) {
            return fail(ErrorCode::kLimitExceeded, "cli",
                        "standard input is larger than " + std::to_string(limit) + " bytes");
        }
    }
}

bool can_redraw(bool is_terminal, const config::Environment& environment) {
    const auto term = environment.find("TERM");
    return is_terminal && term != environment.end() && !term->second.empty() && term->second != "dumb";
}

bool wants_colours(ColourWhen when, bool is_terminal, const config::Environment& environment) {
    if (when == ColourWhen::kNever) return false;
    if (when == ColourWhen::kAlways) return true;
    if (is_set(environment, "NO_COLOR")) return false;
    if (is_set(environment, "FORCE_COLOR")) return environment.find("FORCE_COLOR")->second != "0";
    const auto term = environment.find("TERM");
    if (term != environment.end() && term->second == "dumb") return false;
    return is_terminal;
}

}  // namespace wa::cli
