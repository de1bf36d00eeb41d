// doctor: what the worker says about itself; without a worker, what can be told from here.
#include <sys/statvfs.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/text.h"
#include "config/gather.h"
#include "config/values.h"
#include "core/codec/json_write.h"

namespace wa::cli {
namespace {

class Checks {
public:
    void add(std::string_view name, std::string_view status, const std::string& detail, const std::string& fix = {}) {
        json::object check;
        check["name"] = json::string_view(name.data(), name.size());
        check["status"] = json::string_view(status.data(), status.size());
        check["detail"] = json::string_view(detail.data(), detail.size());
        if (!fix.empty()) check["fix"] = json::string_view(fix.data(), fix.size());
        checks_.push_back(std::move(check));
    }
    [[nodiscard]] json::object report() const { return {{"checks", checks_}}; }

private:
    json::array checks_;
};

void check_settings(const config::Loaded& loaded, Checks& checks) {
    std::size_t given = 0;
    for (const config::Setting& setting : loaded.settings.all())
        given += setting.origin.layer > config::Layer::kPreset ? 1 : 0;
    if (loaded.problems.empty()) {
        checks.add("config", "ok", std::to_string(given) + " settings given, no unknown key");
        return;
    }
    for (const config::Problem& problem : loaded.problems) {
        checks.add("config", problem.severity == config::Severity::kError ? "error" : "warning",
                   problem.where + ": " + problem.message, problem.fix);
    }
}

// The nearest folder that exists is the one whose rights and room count.
std::filesystem::path existing_part(std::filesystem::path path) {
    std::error_code ignored;
    while (!path.empty() && !std::filesystem::exists(path, ignored) && path != path.root_path())
        path = path.parent_path();
    return path;
}

void check_folder(std::string_view name, const std::string& folder, Checks& checks) {
    const std::filesystem::path path = existing_part(folder);
    if (::access(path.c_str(), W_OK | X_OK) != 0) {
        checks.add(name, "error", folder + ": " + std::system_category().message(errno) + " (" + path.string() + ")",
                   "give this user the right to write there, or choose another folder");
        return;
    }
    struct statvfs room{};
    if (::statvfs(path.c_str(), &room) != 0 || room.f_blocks == 0) {
        checks.add(name, "ok", folder);
        return;
    }
    const double free_bytes = static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize);
    const double used = 100.0 - 100.0 * static_cast<double>(room.f_bavail) / static_cast<double>(room.f_blocks);
    constexpr double kLow = 512.0 * 1024 * 1024;
    const std::string text =
        folder + "  " + std::to_string(static_cast<int>(used)) + " % full (" +
        config::number_text(static_cast<double>(static_cast<std::int64_t>(free_bytes / 1e8)) / 10) + " GB free)";
    if (free_bytes < kLow) {
        checks.add(name, "warning", text, "make room: a full disk stops new tickets");
    } else {
        checks.add(name, "ok", text);
    }
}

bool is_program(const std::string& path_list, const std::string& name) {
    if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0;
    std::string_view rest = path_list;
    while (!rest.empty()) {
        const std::size_t colon = rest.find(':');
        const std::string candidate = std::string(rest.substr(0, colon)) + "/" + name;
        if (::access(candidate.c_str(), X_OK) == 0) return true;
        rest = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon + 1);
    }
    return false;
}

void check_programs(std::string_view name, const std::string& path, const std::vector<std::string>& commands,
                    Checks& checks) {
    std::string there;
    std::string missing;
    for (const std::string& command : commands) {
        const std::string program = command.substr(0, command.find(' '));
        std::string& list = is_program(path, program) ? there : missing;
        list += (list.empty() ? "" : ", ") + command;
    }
    const std::string text =
        (there.empty() ? "none found" : there) + (missing.empty() ? "" : "; not installed: " + missing);
    checks.add(name, there.empty() && !commands.empty() ? "warning" : "ok", text,
               there.empty() && !commands.empty() ? "install one, or change the list" : "");
}

Result<json::object> local_report(Session& session, const DoctorCommand& command, const Error& why) {
    config::GatherRequest request;
    request.environment = session.environment();
    request.flags = command.settings;
    request.config_path = session.global().config_file;
    WA_TRY(const config::Sources sources, config::gather(std::move(request)));
    const config::Loaded loaded = config::load(sources);
    Checks checks;
    check_settings(loaded, checks);
    if (loaded.ok()) {
        const config::Settings& settings = loaded.settings;
        check_folder("state dir", settings.text("STATE_DIR"), checks);
        if (settings.flag("LOCAL_RUNTIME_ENABLED")) {
            check_folder("work dir", settings.text("LOCAL_RUNTIME_WORKING_DIR"), checks);
            const std::string& path = settings.text("LOCAL_RUNTIME_PATH");
            check_programs("commands", path, settings.list("LOCAL_RUNTIME_ALLOWED_COMMANDS"), checks);
            check_programs("test commands", path, settings.list("ALLOWED_TEST_COMMANDS"), checks);
        }
    }
    checks.add("worker", "warning", why.message + "; only what can be seen from here was checked", why.fix);
    return checks.report();
}

bool has_error(const json::object& report) {
    for (const json::value& value : array_of(report, "checks")) {
        if (!value.is_object()) continue;
        const std::string status = text_of(value.get_object(), {"status", "state", "result"});
        if (status == "error" || status == "fail" || status == "failed") return true;
    }
    return false;
}

}  // namespace

int run(Session& session, const DoctorCommand& command) {
    auto api = session.api();
    auto answer = api ? (*api)->get("/api/v1/doctor") : Result<ApiAnswer>(tl::unexpected(std::move(api).error()));
    const bool out_of_reach =
        !answer && answer.error().code == ErrorCode::kUnavailable && answer.error().origin == "connect";
    // A server that was named and is away is what the user wants to know about, not this machine.
    if (!answer && (!out_of_reach || !session.global().server.empty()))
        return session.failed("cannot ask the worker", answer.error());
    if (!answer) {
        auto report = local_report(session, command, answer.error());
        if (!report) return session.failed("cannot check", report.error());
        answer = ApiAnswer{200, "application/json", json_text(*report)};
    }
    auto printed = session.print_machine(*answer, "checks");
    if (!printed) return session.failed("cannot show the checks", printed.error());
    auto report = body_object(*answer);
    if (!report) return session.failed("cannot read the checks", report.error());
    if (!*printed) session.console().out(doctor_page(*report));
    return has_error(*report) ? kExitOther : kExitOk;
}

}  // namespace wa::cli
