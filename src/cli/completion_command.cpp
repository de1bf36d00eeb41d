// Shell completion: small static scripts that ask the program itself, so that ids complete live.
#include <boost/json/array.hpp>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/text.h"

namespace wa::cli {
namespace {

constexpr std::string_view kBash = R"(# worker-agents completion for bash. Use: source <(worker-agents completion bash)
_worker_agents() {
    local cur words candidates
    cur="${COMP_WORDS[COMP_CWORD]}"
    words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    mapfile -t candidates < <(worker-agents __complete "${words[@]}" 2>/dev/null)
    if [[ "${candidates[0]}" == ":files" ]]; then
        compopt -o default
        COMPREPLY=()
        return
    fi
    COMPREPLY=()
    local candidate
    for candidate in "${candidates[@]}"; do
        candidate="${candidate%%$'\t'*}"
        [[ "$candidate" == "$cur"* ]] && COMPREPLY+=("$candidate")
    done
}
complete -F _worker_agents worker-agents
)";

constexpr std::string_view kZsh = R"(#compdef worker-agents
# worker-agents completion for zsh. Use: source <(worker-agents completion zsh), or put it into a folder of $fpath
_worker_agents() {
    local -a lines candidates
    lines=("${(@f)$(worker-agents __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ "${lines[1]}" == ":files" ]]; then
        _files
        return
    fi
    local line
    for line in $lines; do
        [[ -n "$line" ]] || continue
        candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    _describe 'worker-agents' candidates
}
if [[ "$funcstack[1]" == "_worker_agents" ]]; then
    _worker_agents "$@"
else
    compdef _worker_agents worker-agents
fi
)";

constexpr std::string_view kFish = R"(# worker-agents completion for fish. Use: worker-agents completion fish | source
function __worker_agents_complete
    set -l words (commandline -opc)[2..-1]
    set -l current (commandline -ct)
    set -l lines (worker-agents __complete $words "$current" 2>/dev/null)
    if test "$lines[1]" = ":files"
        __fish_complete_path "$current"
        return
    end
    printf '%s\n' $lines
end
complete -c worker-agents -f -a '(__worker_agents_complete)'
)";

constexpr std::size_t kShown = 50;

// One candidate a line; a tab and a description may follow.
std::string from_list(ApiClient& api, const std::string& target, std::string_view items, std::string_view id,
                      std::initializer_list<std::string_view> description, std::string_view typed) {
    const auto answer = api.get(target);
    if (!answer) return {};
    const auto object = body_object(*answer);
    if (!object) return {};
    std::string out;
    for (const json::value& value : array_of(*object, items)) {
        if (!value.is_object()) continue;
        const std::string key = text_of(value.get_object(), id);
        if (key.empty() || !key.starts_with(typed)) continue;
        out += printable(key) + "\t" + printable(text_of(value.get_object(), description)) + "\n";
    }
    return out;
}

std::string live(ApiClient& api, const Completions& wanted) {
    const std::string limit = "?limit=" + std::to_string(kShown);
    std::string out;
    if (wanted.live == Live::kTickets || wanted.live == Live::kAnyId) {
        out += from_list(api, "/api/v1/tickets" + limit, "tickets", "ticket_id", {"task_id"}, wanted.typed);
    }
    if (wanted.live == Live::kPlans || wanted.live == Live::kAnyId) {
        out += from_list(api, "/api/v1/plans" + limit, "plans", "plan_id", {"name"}, wanted.typed);
    }
    if (wanted.live == Live::kDeadLetters) {
        out += from_list(api, "/api/v1/dlq" + limit, "dlq", "key", {"task_id", "reason"}, wanted.typed);
    } else {
        for (const std::string_view alias : {"@latest", "@failed"}) {
            if (alias.starts_with(wanted.typed)) out += std::string(alias) + "\n";
        }
    }
    return out;
}

}  // namespace

int run(Session& session, const CompletionCommand& command) {
    session.console().out(command.shell == "bash" ? kBash : command.shell == "zsh" ? kZsh : kFish);
    return kExitOk;
}

// A shell waits for this at every press of the tab key: quick, and silent about trouble.
int run(Session& session, const CompleteCommand& command) {
    const Completions found = complete(command.words);
    std::string out;
    for (const std::string& word : found.words)
        out += word + "\n";
    if (found.live == Live::kFiles) {
        out += ":files\n";
    } else if (found.live != Live::kNothing) {
        if (auto server = find_server(session.global(), session.environment())) {
            ApiOptions options;
            options.request_time = std::chrono::milliseconds(700);
            options.connect_time = std::chrono::milliseconds(300);
            ApiClient api(std::move(*server), std::move(options));
            out += live(api, found);
        }
    }
    session.console().out(out);
    return kExitOk;
}

}  // namespace wa::cli
