#include "executors/execute.h"

#include <algorithm>
#include <utility>

#include "core/codec/parameters.h"

namespace wa {
namespace {

constexpr std::string_view kOrigin = "execute";
constexpr std::string_view kExecutorName = "ExecuteExecutor";

}  // namespace

// What the ticket asks for, as far as the choice of a runtime goes.
struct ExecuteExecutor::Wish {
    std::string runtime;  // empty = none named
    bool has_command = false;
    std::optional<bool> allow_local;
};

// One of the contract's names, built or not, or of another runtime that is built; empty = none. Code Forge is asked for
// by a template.
Result<std::string> ExecuteExecutor::asked_for(const Parameters& parameters) const {
    const auto name = parameters.text("runtime");
    if (name && *name && **name != kCodeForgeRuntime && find(**name) != nullptr) return **name;
    WA_TRY(const auto word, parameters.word("runtime", {"k8s", "docker", "lambda", "local", "simulation"}));
    return word.value_or("");
}

Result<ExecuteExecutor::Wish> ExecuteExecutor::read_wish(const Ticket& ticket) const {
    const Parameters parameters(ticket.parameters);
    Wish wish;
    WA_TRY(wish.runtime, asked_for(parameters));
    WA_TRY(wish.allow_local, parameters.boolean("allow_local_fallback"));
    WA_TRY(const auto command, parameters.command("command"));
    wish.has_command = command && !command->empty();
    // Code generation comes before any runtime (contract/executors.md 6.2).
    if (parameters.has({"template_id", "template"})) {
        wish.runtime = kCodeForgeRuntime;
    } else if (!wish.has_command && wish.runtime != "lambda") {
        return parameters.refuse("command", "it is missing, and there is no template_id either");
    }
    return wish;
}

// One attempt: runtimes one after the other until one of them has the last word.
class ExecuteExecutor::Attempt final : public RunningAttempt, public RuntimeListener {
public:
    Attempt(ExecuteExecutor& executor, AttemptContext context, AttemptListener& listener)
        : executor_(executor), context_(std::move(context)), listener_(listener) {}
    ~Attempt() override {
        const auto place = executor_.running_.find(context_.ticket->ticket_id);
        if (place != executor_.running_.end() && place->second == this) executor_.running_.erase(place);
    }
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    [[nodiscard]] bool can_detach() const { return can_detach_; }

    void begin() {
        executor_.running_.insert_or_assign(context_.ticket->ticket_id, this);
        auto wish = executor_.read_wish(*context_.ticket);
        if (!wish) {
            AttemptReport report;
            report.error = std::move(wish).error();
            return end(std::move(report));
        }
        wish_ = std::move(*wish);
        run_next(selection_order(executor_.options_.runtimes, wish_.runtime));
    }

    void stop(StopReason reason, Duration grace) override {
        stop_requested_ = true;
        if (inner_) inner_->stop(reason, grace);
    }

    void runtime_ended(AttemptKey, RuntimeReport report) override {
        if (decide_fallback(executor_.options_.fallback_on, report, stop_requested_) == FallbackStep::kReport) {
            return end(std::move(report.attempt));
        }
        std::string detail = report.attempt.error ? report.attempt.error->message : std::string("failed");
        for (std::string& line : report.attempt.logs)
            logs_.push_back(std::move(line));
        passed_over_.push_back(PassedOver{current_, std::string(fallback_reason(report)), std::move(detail),
                                          report.attempt.error && report.attempt.error->retryable()});
        last_error_ = std::move(report.attempt.error);
        tried_.push_back(current_);
        // The failed one is still on the stack above us; it goes when the next one is in its place, or with this
        // attempt.
        ended_ = std::move(inner_);
        run_next(order_after(executor_.options_.runtimes, current_));
    }

private:
    void run_next(std::vector<std::string> order) {
        std::erase_if(order, [&](const std::string& name) {
            return std::find(tried_.begin(), tried_.end(), name) != tried_.end();
        });
        Choice choice = executor_.choose(order, wish_, *context_.ticket);
        for (PassedOver& one : choice.passed_over) {
            const bool known = std::any_of(passed_over_.begin(), passed_over_.end(),
                                           [&](const PassedOver& before) { return before.runtime == one.runtime; });
            if (!known) passed_over_.push_back(std::move(one));
        }
        if (choice.runtime == nullptr) return end_unavailable();
        current_ = choice.runtime->name();
        // What the ones before used up is gone.
        if (!tried_.empty() && context_.deadline != MonoTime{}) {
            context_.timeout_ms = std::max<std::int64_t>(1, to_millis(context_.deadline - executor_.clock_.now()));
        }
        can_detach_ = choice.runtime->can_detach();
        inner_ = choice.runtime->start(context_, *this);
    }

    void end_unavailable() {
        AttemptReport report;
        if (last_error_ && executor_.options_.fallback_on == FallbackOn::kAnyError) {
            report.error = std::move(last_error_);  // something really failed: that is the news
            return end(std::move(report));
        }
        const bool may_come_back = std::any_of(passed_over_.begin(), passed_over_.end(),
                                               [](const PassedOver& one) { return one.may_come_back; });
        report.error = make_error(ErrorCode::kUnavailable, may_come_back ? Retry::kAfterBackoff : Retry::kNever,
                                  Fault::kWorker, std::string(kOrigin),
                                  "backend_unavailable: no runtime can take this ticket (" + reasons() + ")");
        report.error->fix = "switch on one of the runtimes, or name another in parameters.runtime";
        end(std::move(report));
    }

    [[nodiscard]] std::string reasons() const {
        std::string text;
        for (const PassedOver& one : passed_over_)
            text += (text.empty() ? "" : "; ") + one.runtime + ": " + one.detail;
        return text;
    }

    void end(AttemptReport report) {
        report.metadata["executor"] = kExecutorName;
        if (report.runtime.empty()) report.runtime = current_.empty() ? std::string("none") : current_;
        if (!passed_over_.empty()) {
            report.metadata["fallback_reason"] = reasons();
            report.metadata["fallback_code"] = passed_over_.front().code;
            report.metadata["fallback_from"] = passed_over_.front().runtime;
            if (!wish_.runtime.empty()) report.metadata["requested_runtime"] = wish_.runtime;
            logs_.push_back("execute: runtime '" + report.runtime + "' instead of '" + passed_over_.front().runtime +
                            "' (" + reasons() + ")");
        } else if (report.simulated) {
            report.metadata["fallback_reason"] = wish_.runtime == kSimulationRuntime
                                                     ? "the ticket asked for the runtime 'simulation'"
                                                     : "'simulation' is the default runtime";
        }
        report.logs.insert(report.logs.begin(), std::make_move_iterator(logs_.begin()),
                           std::make_move_iterator(logs_.end()));
        listener_.attempt_ended(context_.key, std::move(report));
    }

    ExecuteExecutor& executor_;
    AttemptContext context_;
    AttemptListener& listener_;
    Wish wish_;
    std::string current_;
    std::vector<std::string> tried_;
    std::vector<PassedOver> passed_over_;
    std::optional<Error> last_error_;
    std::vector<std::string> logs_;
    bool stop_requested_ = false;
    bool can_detach_ = false;  // the runtime where it is now
    std::unique_ptr<RunningAttempt> ended_;
    std::unique_ptr<RunningAttempt> inner_;
};

ExecuteExecutor::ExecuteExecutor(const Clock& clock, ExecuteOptions options, std::vector<Runtime*> runtimes)
    : clock_(clock), options_(std::move(options)), runtimes_(std::move(runtimes)) {}

Runtime* ExecuteExecutor::find(std::string_view name) const {
    const auto found =
        std::find_if(runtimes_.begin(), runtimes_.end(), [&](const Runtime* one) { return one->name() == name; });
    return found == runtimes_.end() ? nullptr : *found;
}

Runtime* ExecuteExecutor::holder(const Ticket& ticket) const {
    const auto found =
        std::find_if(runtimes_.begin(), runtimes_.end(), [&](const Runtime* one) { return one->may_hold(ticket); });
    return found == runtimes_.end() ? nullptr : *found;
}

ExecuteExecutor::Choice ExecuteExecutor::choose(const std::vector<std::string>& order, const Wish& wish,
                                                const Ticket& ticket) const {
    Choice choice;
    // Where something of an earlier attempt may still be, the ticket stays.
    choice.runtime = holder(ticket);
    if (choice.runtime != nullptr && std::find(order.begin(), order.end(), choice.runtime->name()) != order.end())
        return choice;
    choice.runtime = nullptr;
    const auto pass_over = [&](const std::string& name, std::string_view code, std::string detail, bool may_come_back) {
        choice.passed_over.push_back(PassedOver{name, std::string(code), std::move(detail), may_come_back});
    };
    for (const std::string& name : order) {
        Runtime* runtime = find(name);
        if (runtime == nullptr) {
            pass_over(name, to_string(Unavailable::kDisabled), "not built into this worker", false);
            continue;
        }
        if (const Availability now = runtime->availability(); !now.available) {
            pass_over(name, to_string(now.reason), now.detail, now.reason == Unavailable::kUnreachable);
            continue;
        }
        // A ticket without a command (a template, a function) has nothing that could run here.
        if (!wish.has_command && name != wish.runtime && name != kSimulationRuntime) continue;
        if (name == kLocalRuntime && !may_fall_to_local(wish.runtime, ticket.security_level, wish.allow_local)) {
            pass_over(name, to_string(Unavailable::kDisabled),
                      "the ticket asks for an isolated runtime and may not run on this machine instead", false);
            continue;
        }
        choice.runtime = runtime;
        return choice;
    }
    return choice;
}

std::string ExecuteExecutor::backend(const Ticket& ticket) const {
    const auto wish = read_wish(ticket);
    if (!wish) return std::string(kLocalRuntime);
    const Choice choice = choose(selection_order(options_.runtimes, wish->runtime), *wish, ticket);
    return std::string(choice.runtime != nullptr ? choice.runtime->name() : kSimulationRuntime);
}

bool ExecuteExecutor::has_effects(const Ticket& ticket) const {
    const auto wish = read_wish(ticket);
    if (!wish) return false;  // it will be refused
    if (wish->runtime == kSimulationRuntime) {
        const Runtime* simulation = find(kSimulationRuntime);
        return simulation != nullptr && simulation->has_effects(ticket);
    }
    // What is away now may be back when the attempt starts: whatever is built counts.
    return std::any_of(runtimes_.begin(), runtimes_.end(),
                       [&](const Runtime* runtime) { return runtime->has_effects(ticket); });
}

bool ExecuteExecutor::can_detach(const Ticket& ticket) const {
    const auto running = running_.find(ticket.ticket_id);
    return running != running_.end() && running->second->can_detach();
}

Result<void> ExecuteExecutor::validate(const Ticket& ticket) const {
    WA_TRY(const Wish wish, read_wish(ticket));
    const Choice choice = choose(selection_order(options_.runtimes, wish.runtime), wish, ticket);
    // Under the literal rule even a refused command ends in a simulation: only the attempt can tell.
    if (options_.fallback_on == FallbackOn::kAnyError) return {};
    if (choice.runtime != nullptr) return choice.runtime->validate(ticket);
    const Runtime* simulation = wish.runtime == kSimulationRuntime ? find(kSimulationRuntime) : nullptr;
    if (simulation != nullptr) return simulation->validate(ticket);
    return {};  // nothing is there to ask; the attempt will say so
}

std::unique_ptr<RunningAttempt> ExecuteExecutor::start(const AttemptContext& context, AttemptListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, listener);
    attempt->begin();
    return attempt;
}

}  // namespace wa
