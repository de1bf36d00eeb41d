#include <fcntl.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <cerrno>
#include <functional>
#include <system_error>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/text.h"
#include "core/codec/json_write.h"

namespace wa::cli {
namespace {

constexpr std::size_t kPage = 1000;

const json::array& letters_of(const json::object& answer) {
    for (const std::string_view name : {"dlq", "letters", "dead_letters", "items"}) {
        if (const json::array& list = array_of(answer, name); !list.empty()) return list;
    }
    return array_of(answer, "dlq");
}

std::string letter_path(const std::string& key, std::string_view rest = {}) {
    return "/api/v1/dlq/" + encoded(key) + std::string(rest);
}

Result<void> list(Session& session, const DlqListCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    std::string target = "/api/v1/dlq?limit=" + std::to_string(command.limit);
    if (command.offset > 0) target += "&offset=" + std::to_string(command.offset);
    WA_TRY(const ApiAnswer answer, api->get(target));
    WA_TRY(const json::object object, body_object(answer));
    const json::array& letters = letters_of(object);
    if (session.global().format == Format::kName) {
        for (const json::value& letter : letters) {
            if (letter.is_object())
                session.console().out(printable(text_of(letter.get_object(), {"key", "id"})) + "\n");
        }
        return {};
    }
    std::string items = "dlq";
    for (const auto& [name, value] : object) {
        if (value.is_array()) items = name;
    }
    WA_CHECKED(session.print_list(answer, items, "key", &dead_letters_table));
    if (!session.machine_output()) {
        session.hint(std::to_string(letters.size()) + (letters.size() == 1 ? " dead letter\n" : " dead letters\n"));
    }
    return {};
}

using Wanted = std::function<bool(const json::object& letter)>;

// Keys of those that are wanted, oldest page last. Bounded by what the server says there is when it is first asked.
Result<std::vector<std::string>> all_keys(ApiClient& api, const Wanted& wanted) {
    std::vector<std::string> keys;
    std::size_t seen = 0;
    while (true) {
        WA_TRY(const ApiAnswer answer,
               api.get("/api/v1/dlq?limit=" + std::to_string(kPage) + "&offset=" + std::to_string(seen)));
        WA_TRY(const json::object object, body_object(answer));
        const json::array& letters = letters_of(object);
        for (const json::value& letter : letters) {
            if (letter.is_object() && wanted(letter.get_object()))
                keys.push_back(text_of(letter.get_object(), {"key", "id"}));
        }
        seen += letters.size();
        const auto total = number_of(object, "total").value_or(0);
        if (letters.empty() || static_cast<std::int64_t>(seen) >= total) return keys;
    }
}

// In a topic, letters stay when they have been replayed or discarded.
bool is_open(const json::object& letter) {
    const std::string state = text_of(letter, "state");
    return state.empty() || state == "open";
}

Result<void> show(Session& session, const DlqShowCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    WA_TRY(const ApiAnswer answer, api->get(letter_path(command.key)));
    WA_TRY(const bool printed, session.print_machine(answer));
    if (printed) return {};
    WA_TRY(const json::object letter, body_object(answer));
    std::string out;
    for (const auto& [name, value] : letter) {
        const bool moment = value.is_int64() && (name == "at" || name == "first_at" || name == "settled_at");
        out += pad(printable(std::string_view(name.data(), name.size())), 12) + " " +
               (moment ? rfc3339(value.get_int64()) : printable(scalar_text(value))) + "\n";
    }
    session.console().out(out);
    return {};
}

Result<int> change(Session& session, const DlqChangeCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    std::vector<std::string> keys = command.keys;
    if (command.all) {
        WA_TRY(keys, all_keys(*api, is_open));
    }
    const std::string verb = command.discard ? "discard" : "replay";
    if (command.dry_run) {
        for (const std::string& key : keys) {
            if (!command.all) WA_CHECKED(api->get(letter_path(key)));
            session.console().out(printable(key) + "\n");
        }
        session.hint("would " + verb + " " + std::to_string(keys.size()) + "; nothing was done\n");
        return kExitOk;
    }
    if (command.all) {
        WA_TRY(const bool yes, session.confirm(verb + " " + std::to_string(keys.size()) +
                                               (keys.size() == 1 ? " dead letter?" : " dead letters?")));
        if (!yes) return kExitOther;
    }
    int code = kExitOk;
    std::size_t done = 0;
    for (const std::string& key : keys) {
        const std::string reason = command.reason.empty() ? "" : "?reason=" + encoded(command.reason);
        const auto answer =
            command.discard ? api->remove(letter_path(key, reason)) : api->post(letter_path(key, "/replay"), "{}");
        if (answer) {
            ++done;
            session.console().out(printable(key) + "\n");
            continue;
        }
        const int failed = session.failed("cannot " + verb + " " + key, answer.error());
        if (code == kExitOk) code = failed;
        if (failed == kExitNoServer || failed == kExitInterrupted) break;
    }
    session.hint(std::to_string(done) + " of " + std::to_string(keys.size()) +
                 (command.discard ? " discarded\n" : " replayed\n"));
    return code;
}

class Output {
public:
    static Result<Output> open(Session& session, const std::string& file) {
        Output out(session);
        if (file.empty() || file == "-") return out;
        out.file_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (out.file_ < 0) {
            return fail(ErrorCode::kNotAllowed, "files",
                        "cannot write " + file + ": " + std::system_category().message(errno));
        }
        return out;
    }
    Output(Output&& other) noexcept : session_(other.session_), file_(other.file_) { other.file_ = -1; }
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;
    ~Output() {
        if (file_ >= 0) ::close(file_);
    }

    Result<void> write(std::string_view text) {
        if (file_ < 0) {
            session_->console().out(text);
            return {};
        }
        while (!text.empty()) {
            const ssize_t done = ::write(file_, text.data(), text.size());
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0)
                return fail(ErrorCode::kDiskFull, "files", "cannot write: " + std::system_category().message(errno));
            text.remove_prefix(static_cast<std::size_t>(done));
        }
        return {};
    }

private:
    explicit Output(Session& session) : session_(&session) {}
    Session* session_;
    int file_ = -1;
};

Result<void> export_all(Session& session, const DlqExportCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    const auto wanted = [&command](const json::object& letter) {
        return (command.ticket.empty() || text_of(letter, "ticket_id").starts_with(command.ticket)) &&
               (command.reason.empty() || text_of(letter, "reason") == command.reason);
    };
    WA_TRY(const std::vector<std::string> keys, all_keys(*api, wanted));
    WA_TRY(Output output, Output::open(session, command.file));
    std::size_t written = 0;
    for (const std::string& key : keys) {
        auto answer = api->get(letter_path(key));
        if (!answer && answer.error().code == ErrorCode::kNotFound) continue;  // replayed or discarded meanwhile
        if (!answer) return tl::unexpected(std::move(answer).error());
        WA_TRY(const json::value value, body_json(*answer));
        WA_CHECKED(output.write(json_text(value) + "\n"));
        ++written;
    }
    session.hint(std::to_string(written) + (written == 1 ? " dead letter written\n" : " dead letters written\n"));
    return {};
}

}  // namespace

int run(Session& session, const DlqListCommand& command) {
    const auto done = list(session, command);
    return done ? kExitOk : session.failed("cannot list dead letters", done.error());
}

int run(Session& session, const DlqShowCommand& command) {
    const auto done = show(session, command);
    return done ? kExitOk : session.failed("cannot show dead letter " + command.key, done.error());
}

int run(Session& session, const DlqChangeCommand& command) {
    const auto code = change(session, command);
    return code ? *code : session.failed(command.discard ? "cannot discard" : "cannot replay", code.error());
}

int run(Session& session, const DlqExportCommand& command) {
    const auto done = export_all(session, command);
    return done ? kExitOk : session.failed("cannot export dead letters", done.error());
}

}  // namespace wa::cli
