#include "core/plan/plan.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "core/codec/json_write.h"
#include "core/codec/parameters.h"
#include "core/codec/shell_words.h"
#include "core/codec/suggest.h"
#include "core/codec/text.h"
#include "core/compensation/compensation.h"
#include "core/plan/cycles.h"
#include "core/plan/plan_entry.h"

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::array<std::string_view, 10> kPlanKeys{"plan",        "plan_id",        "description", "intent_id",
                                                     "decision_id", "correlation_id", "metadata",    "defaults",
                                                     "tickets",     "$schema"};
constexpr std::array<std::string_view, 12> kDefaultsKeys{
    "runtime",   "image",          "working_dir",           "env",     "parameters", "sla", "qos", "priority",
    "risk_band", "security_level", "required_capabilities", "metadata"};
constexpr std::array<std::string_view, 21> kTicketKeys{
    "name",        "ticket_id", "type",           "description",           "needs",   "dependencies", "run", "junit",
    "compensates", "runtime",   "image",          "working_dir",           "env",     "parameters",   "sla", "qos",
    "priority",    "risk_band", "security_level", "required_capabilities", "metadata"};
constexpr std::array<std::string_view, 4> kSlaKeys{"timeout", "timeout_ms", "deadline", "max_retries"};
constexpr std::array<std::string_view, 3> kQosKeys{"delivery_mode", "consistency", "durability"};

constexpr std::size_t kMaxCycles = 10;
constexpr std::size_t kMaxShownCycle = 12;
// A suggestion compares with every name; for more problems than this it would cost more than it helps.
constexpr std::size_t kMaxSuggestions = 20;
constexpr std::size_t kSlugBytes = 64;
constexpr std::size_t kPlanIdCharacters = 8;
// Crockford's digits: nothing that looks like something else.
constexpr std::string_view kPlanIdDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::uint32_t kNowhere = 0xFFFF'FFFF;

std::string_view view(json::string_view text) {
    return {text.data(), text.size()};
}
std::string_view view(const json::string& text) {
    return {text.data(), text.size()};
}

std::string quoted(std::string_view name) {
    return "\"" + clip(name) + "\"";
}

std::size_t weight(const StringMap& map) {
    std::size_t bytes = 0;
    for (const auto& [key, text] : map)
        bytes += key.size() + text.size();
    return bytes;
}

// Of texts and keys, and a little for each value.
std::size_t weight(const json::object& top) {
    constexpr std::size_t kPerValue = 16;
    std::size_t bytes = 0;
    std::vector<const json::value*> open;
    const auto add = [&](const json::object& object) {
        for (const auto& member : object) {
            bytes += member.key().size();
            open.push_back(&member.value());
        }
    };
    add(top);
    while (!open.empty()) {
        const json::value& value = *open.back();
        open.pop_back();
        bytes += kPerValue;
        if (const auto* text = value.if_string()) bytes += text->size();
        if (const auto* object = value.if_object()) add(*object);
        if (const auto* array = value.if_array()) {
            for (const json::value& item : *array)
                open.push_back(&item);
        }
    }
    return bytes;
}

std::size_t weight(const PlanSettings& settings) {
    std::size_t bytes = weight(settings.metadata) + weight(settings.env);
    for (const auto* text : {&settings.working_dir, &settings.runtime, &settings.image})
        bytes += text->has_value() ? (*text)->size() : 0;
    if (settings.capabilities) {
        for (const std::string& word : *settings.capabilities)
            bytes += word.size();
    }
    if (settings.parameters != nullptr) bytes += weight(*settings.parameters);
    return bytes;
}

bool is_uuid(std::string_view text) {
    if (text.size() != 36) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (dash ? c != '-' : !hex) return false;
    }
    return true;
}

// "My plan!" -> "My-plan"; for ids that people type and URLs carry.
std::string slug(std::string_view name) {
    std::string out;
    for (const char c : name.substr(0, kSlugBytes)) {
        const bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_';
        if (plain) {
            out += c;
        } else if (!out.empty() && out.back() != '-') {
            out += '-';
        }
    }
    while (!out.empty() && out.back() == '-')
        out.pop_back();
    return out.empty() ? "plan" : out;
}

std::string random_suffix(Random& random) {
    std::string out;
    for (std::size_t i = 0; i < kPlanIdCharacters; ++i)
        out += kPlanIdDigits[random.below(kPlanIdDigits.size())];
    return out;
}

// The same ids give the same characters, whatever their order: a plan that is sent again is then found again.
std::string suffix_of_ids(std::vector<std::string_view> ids) {
    constexpr std::uint64_t kOffset = 14'695'981'039'346'656'037ULL;  // FNV-1a
    constexpr std::uint64_t kPrime = 1'099'511'628'211ULL;
    std::ranges::sort(ids);
    std::uint64_t hash = kOffset;
    const auto add = [&](unsigned char byte) { hash = (hash ^ byte) * kPrime; };
    for (const std::string_view id : ids) {
        for (const char c : id)
            add(static_cast<unsigned char>(c));
        add(static_cast<unsigned char>(id.size()));  // ids have at most 255 bytes
        add(0);
    }
    // The low bits of this hash know little of the last bytes' high ones.
    hash = (hash ^ (hash >> 31U)) * 0x9E37'79B9'7F4A'7C15ULL;
    std::string out;
    for (std::size_t i = 0; i < kPlanIdCharacters; ++i, hash <<= 5U)
        out += kPlanIdDigits[hash >> 59U];
    return out;
}

bool takes(TaskType type, std::string_view key) {
    const auto one_of = [&](std::initializer_list<TaskType> types) {
        return std::ranges::find(types, type) != types.end();
    };
    if (key == "runtime") return type == TaskType::kExecute;
    if (key == "image") return one_of({TaskType::kExecute, TaskType::kDeploy});
    if (key == "working_dir") {
        return one_of({TaskType::kExecute, TaskType::kTest, TaskType::kValidate, TaskType::kCompensate});
    }
    if (key == "env") return one_of({TaskType::kExecute, TaskType::kTest, TaskType::kBuild, TaskType::kCompensate});
    if (key == "run") return one_of({TaskType::kExecute, TaskType::kTest, TaskType::kCompensate});
    if (key == "junit") return type == TaskType::kTest;
    return true;
}

// The value that a field name of a ticket error ("sla.timeout_ms", "dependencies[3]") is about.
const json::value& value_at(const json::value& ticket, std::string_view field) {
    const json::value* at = &ticket;
    while (!field.empty()) {
        const std::size_t end = std::min(field.find_first_of(".[", 1), field.size());
        std::string_view step = field.substr(0, end);
        field.remove_prefix(end);
        const json::value* next = nullptr;
        if (step.starts_with('[')) {
            const auto index = parse_whole_number(step.substr(1, step.size() - 2));
            const auto* array = at->if_array();
            if (array != nullptr && index && *index >= 0) next = array->if_contains(static_cast<std::size_t>(*index));
        } else if (const auto* object = at->if_object()) {
            if (step.starts_with('.')) step.remove_prefix(1);
            next = object->if_contains(step);
        }
        if (next == nullptr) return *at;
        at = next;
    }
    return *at;
}

void note_ticket_error(const json::value& ticket, const Error& error, const std::string& prefix,
                       ProblemList& problems) {
    std::string path = prefix;
    if (!error.field.empty()) path += (path.empty() ? "" : ".") + error.field;
    const std::string rule = error.code == ErrorCode::kLimitExceeded ? "limit" : "invalid-ticket";
    problems.error(rule, prefix.empty() ? error.message : prefix + ": " + error.message, std::move(path),
                   {&value_at(ticket, error.field), false}, error.code);
}

// One thing that has a name in the plan: a ticket, or a compensation of one.
struct Node {
    std::string_view name;
    const json::value* at = nullptr;
    bool key = false;  // the name is the key in front of `at`
    std::uint32_t ticket = kNowhere;
    std::vector<const json::value*> needs;
    std::string compensates;
    std::unique_ptr<PlanEntry> entry;  // of a compensation, until it is attached
    PlanScope scope;

    [[nodiscard]] DocumentPlace place() const { return {at, key}; }
};

class PlanReader {
public:
    PlanReader(const Document& document, const PlanContext& context) : document_(document), context_(context) {}

    PlanReading run() {
        read_root();
        if (!nodes_.empty()) {
            attach_compensations();
            resolve_dependencies();
            report_cycles();
        }
        PlanReading reading;
        const bool good = !problems_.any_error();
        reading.problems = std::move(problems_).finish(document_, context_.file);
        if (good) reading.plan = std::move(plan_);
        return reading;
    }

private:
    void read_root() {
        const auto* root = document_.root.if_object();
        if (root == nullptr) {
            problems_.error("wrong-type",
                            "a plan must be a mapping of keys to values, found " + describe_value(document_.root), "",
                            {&document_.root, false});
            return;
        }
        const PlanObject object(*root, PlanScope{}, problems_);
        check_root_keys(*root, object);
        plan_.name = object.text("plan").value_or(context_.default_name);
        if (plan_.name.empty() || plan_.name.size() > kMaxPlanNameBytes) {
            object.wrong("plan", "a name of 1 to 128 bytes", *root->if_contains("plan"), "out-of-range");
        }
        plan_.description = object.text("description").value_or("");
        intent_id_ = object.text("intent_id").value_or("");
        decision_id_ = object.text("decision_id").value_or("");
        correlation_id_ = object.text("correlation_id").value_or("");
        metadata_ = object.texts("metadata", true);
        defaults_at_ = &document_.root;
        if (const auto* defaults = object.find("defaults")) {
            defaults_at_ = defaults;
            defaults_ = read_plan_defaults(*defaults, context_.now, problems_);
        }
        share_ =
            weight(metadata_) + weight(defaults_) + intent_id_.size() + decision_id_.size() + correlation_id_.size();
        made_up_correlation_ = correlation_id_.empty();
        if (made_up_correlation_) correlation_id_ = uuid4(context_.random);
        read_plan_id(object);
        read_tickets(object);
        if (!plan_id_given_ && !ticket_id_made_up_ && !plan_.tickets.empty()) take_plan_id_from_tickets();
    }

    void check_root_keys(const json::object& root, const PlanObject& object) {
        std::vector<std::string_view> known(kPlanKeys.begin(), kPlanKeys.end());
        for (const auto& member : root) {
            if (view(member.key()).starts_with("x-")) known.push_back(view(member.key()));
        }
        object.check_keys(known);
    }

    void read_plan_id(const PlanObject& object) {
        plan_.plan_id = object.text("plan_id").value_or("");
        if (plan_.plan_id.size() > kMaxTicketIdBytes) {
            object.wrong("plan_id", "at most 255 bytes long", *object.find("plan_id"), "out-of-range");
        }
        plan_id_given_ = !plan_.plan_id.empty();
        if (!plan_id_given_) plan_.plan_id = slug(plan_.name) + "-" + random_suffix(context_.random);
    }

    // Who names every ticket means the same plan when all of it is sent again; a made-up id would make it another one.
    void take_plan_id_from_tickets() {
        std::vector<std::string_view> ids;
        ids.reserve(plan_.tickets.size());
        for (const PlanTicket& each : plan_.tickets)
            ids.emplace_back(each.ticket.ticket_id);
        adopt_plan_id(slug(plan_.name) + "-" + suffix_of_ids(std::move(ids)));
    }

    void adopt_plan_id(const std::string& plan_id) {
        plan_.plan_id = plan_id;
        for (PlanTicket& each : plan_.tickets)
            each.ticket.plan_id = plan_id;
    }

    void read_tickets(const PlanObject& object) {
        const auto* tickets = object.find("tickets");
        if (tickets == nullptr || !tickets->is_structured()) {
            const auto& at = tickets == nullptr ? document_.root : *tickets;
            return object.error("required", "tickets", at,
                                "must be a mapping of names to tickets, or a list of tickets");
        }
        const auto* map = tickets->if_object();
        const std::size_t size = map != nullptr ? map->size() : tickets->get_array().size();
        if (size == 0)
            return object.error("required", "tickets", *tickets, "is empty: a plan needs at least one ticket");
        if (size > context_.max_tickets) {
            problems_.error("limit",
                            "the plan has " + std::to_string(size) + " tickets; at most " +
                                std::to_string(context_.max_tickets) + " are allowed",
                            "tickets", {tickets, false}, ErrorCode::kLimitExceeded);
            return;
        }
        nodes_.reserve(size);
        plan_.tickets.reserve(size);  // names_ and ids_ look into it, so it must not move
        if (map != nullptr) {
            for (const auto& member : *map) {
                const std::string_view name = view(member.key());
                read_entry(member.value(), PlanScope{"", name, std::nullopt}, name, true);
            }
        } else {
            read_list(tickets->get_array());
        }
    }

    void read_list(const json::array& tickets) {
        for (std::size_t i = 0; i < tickets.size(); ++i) {
            const json::value& item = tickets[i];
            const auto* object = item.if_object();
            if (object == nullptr) {
                problems_.error("wrong-type",
                                "ticket " + std::to_string(i + 1) + " must be a mapping of keys to values, found " +
                                    describe_value(item),
                                "tickets[" + std::to_string(i) + "]", {&item, false});
            } else if (object->contains("task_type")) {
                read_wire(item, i);
            } else {
                const auto* name = object->if_contains("name");
                if (name == nullptr || !name->is_string() || name->get_string().empty()) {
                    problems_.error("required", "ticket " + std::to_string(i + 1) + " of the list needs a name",
                                    "tickets[" + std::to_string(i) + "].name", {&item, false});
                } else {
                    read_entry(item, PlanScope{"", view(name->get_string()), i}, view(name->get_string()), false);
                }
            }
        }
    }

    // Returns false when the name is taken (or no name at all).
    bool claim_name(Node& node, const std::string& path) {
        const bool control =
            std::ranges::any_of(node.name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
        if (node.name.empty() || node.name.size() > kMaxTicketIdBytes || control) {
            problems_.error(
                "out-of-range",
                "the ticket name " + quoted(node.name) + " must have 1 to 255 bytes and no control characters", path,
                node.place());
            return false;
        }
        if (names_.try_emplace(node.name, static_cast<std::uint32_t>(nodes_.size())).second) return true;
        problems_.error("duplicate-name", "the ticket name " + quoted(node.name) + " is used twice", path,
                        node.place());
        return false;
    }

    void claim_id(const std::string& id, const Node& node, const std::string& path) {
        if (ids_.try_emplace(id, static_cast<std::uint32_t>(nodes_.size())).second) return;
        problems_.error("duplicate-id", "the ticket id " + quoted(id) + " is used twice", path + ".ticket_id",
                        node.place());
    }

    // A small file could otherwise ask for any amount of memory: each ticket gets a copy of what all share.
    bool share_fits() {
        if (shared_ > context_.max_shared_bytes) return false;  // said already
        shared_ += share_;
        if (shared_ <= context_.max_shared_bytes) return true;
        problems_.error("limit",
                        "what `defaults` and `metadata` add to the tickets is more than " +
                            std::to_string(context_.max_shared_bytes) + " bytes in all",
                        "defaults", {defaults_at_, false}, ErrorCode::kLimitExceeded);
        return false;
    }

    void read_entry(const json::value& value, PlanScope scope, std::string_view name, bool key) {
        Node node{name, &value, key, kNowhere, {}, {}, nullptr, scope};
        PlanEntry entry = read_plan_entry(value, scope, context_.now, problems_);
        if (!claim_name(node, scope.path())) return;
        node.needs = entry.needs;
        if (!entry.type) {
            nodes_.push_back(std::move(node));  // its name stays known, so that others do not seem wrong, too
            return;
        }
        check_shorthands(value, entry, scope);
        if (!entry.compensates.empty()) {
            node.compensates = entry.compensates;
            node.entry = std::make_unique<PlanEntry>(std::move(entry));
            nodes_.push_back(std::move(node));
            return;
        }
        if (!share_fits()) return nodes_.push_back(std::move(node));
        node.ticket = static_cast<std::uint32_t>(plan_.tickets.size());
        const SlaPatch& limits = entry.sla.deadline ? entry.sla : defaults_.sla;
        plan_.tickets.push_back(
            {std::string(name), expand(entry, name, scope, value), made_up_correlation_, limits.relative_deadline});
        claim_id(plan_.tickets.back().ticket.ticket_id, node, scope.path());
        nodes_.push_back(std::move(node));
    }

    void read_wire(const json::value& value, std::size_t index) {
        TicketLimits limits = context_.ticket_limits;
        limits.require_id = false;
        const std::string prefix = "tickets[" + std::to_string(index) + "]";
        if (const auto errors = check_ticket_value(value, limits); !errors.empty()) {
            for (const Error& error : errors)
                note_ticket_error(value, error, prefix, problems_);
            return;
        }
        auto parsed = parse_ticket_value(value, limits);
        if (!parsed) return;
        Ticket ticket = std::move(*parsed);
        if (ticket.ticket_id.empty()) ticket.ticket_id = made_up_ticket_id();
        if (ticket.created_at == 0) ticket.created_at = context_.now;
        const bool made_up = ticket.correlation_id.empty() && made_up_correlation_;
        if (ticket.correlation_id.empty()) ticket.correlation_id = correlation_id_;
        agree_on_plan_id(ticket, value, prefix);
        plan_.tickets.push_back({ticket.task_id, std::move(ticket), made_up, false});
        PlanTicket& stored = plan_.tickets.back();
        if (stored.name.empty() || names_.contains(stored.name)) {
            ambiguous_.insert(stored.ticket.task_id);
            stored.name = stored.ticket.ticket_id;
        }
        Node node{stored.name, &value, false,   static_cast<std::uint32_t>(plan_.tickets.size() - 1),
                  {},          {},     nullptr, {}};
        node.scope = PlanScope{"", node.name, index};
        if (const auto* needs = value.get_object().if_contains("dependencies")) {
            for (const auto& item : needs->get_array())
                node.needs.push_back(&item);
        }
        stored.ticket.dependencies.clear();  // filled again by resolve_dependencies(), with names replaced by ids
        claim_id(stored.ticket.ticket_id, node, prefix);
        // A repeated name is the id, and that one has just been checked.
        names_.try_emplace(node.name, static_cast<std::uint32_t>(nodes_.size()));
        nodes_.push_back(std::move(node));
    }

    // All tickets of a plan carry its id: the file's, else the one that the first ticket brings.
    void agree_on_plan_id(Ticket& ticket, const json::value& value, const std::string& prefix) {
        if (ticket.plan_id.empty()) {
            ticket.plan_id = plan_.plan_id;
        } else if (!plan_id_given_) {
            plan_id_given_ = true;
            adopt_plan_id(ticket.plan_id);
        } else if (ticket.plan_id != plan_.plan_id) {
            problems_.error(
                "invalid-ticket",
                prefix + ": plan_id is " + quoted(ticket.plan_id) + ", but the plan is " + quoted(plan_.plan_id),
                prefix + ".plan_id", {&value_at(value, "plan_id"), false});
        }
    }

    void check_shorthands(const json::value& value, const PlanEntry& entry, const PlanScope& scope) {
        const auto& object = value.get_object();
        const PlanObject reader(object, scope, problems_);
        for (const std::string_view key : {"runtime", "image", "working_dir", "env", "run", "junit"}) {
            const auto* given = reader.find(key);
            if (given == nullptr || takes(*entry.type, key)) continue;
            const std::string why = "has no effect on a ticket of type " + std::string(to_string(*entry.type));
            if (key == "run") {
                reader.error("no-effect", key, *given, why);
            } else {
                reader.warn("no-effect", key, *given, why);
            }
        }
        static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kSame{
            {{"run", "command"},
             {"runtime", "runtime"},
             {"image", "image"},
             {"working_dir", "working_dir"},
             {"env", "env_vars"},
             {"junit", "junit_xml_path"}}};
        for (const auto& [key, parameter] : kSame) {
            const auto* given = reader.find(key);
            if (given == nullptr || entry.parameters == nullptr || !entry.parameters->contains(parameter)) continue;
            reader.error("given-twice", key, *given,
                         "says the same as parameters." + std::string(parameter) + "; keep one of them");
        }
    }

    std::string made_up_ticket_id() {
        ticket_id_made_up_ = true;
        return uuid4(context_.random);
    }

    Ticket expand(const PlanEntry& entry, std::string_view name, const PlanScope& scope, const json::value& at) {
        Ticket ticket;
        ticket.ticket_id = entry.ticket_id.empty() ? made_up_ticket_id() : entry.ticket_id;
        ticket.plan_id = plan_.plan_id;
        ticket.intent_id = intent_id_;
        ticket.decision_id = decision_id_;
        ticket.correlation_id = correlation_id_;
        ticket.task_id = name;
        ticket.task_type = *entry.type;
        ticket.description = entry.description;
        ticket.priority = entry.priority.value_or(defaults_.priority.value_or(Priority::kNormal));
        ticket.risk_band = entry.risk_band.value_or(defaults_.risk_band.value_or(RiskBand::kMedium));
        ticket.security_level =
            entry.security_level.value_or(defaults_.security_level.value_or(SecurityLevel::kInternal));
        ticket.sla = expand_sla(entry, scope, at);
        const Qos standard;
        ticket.qos.delivery_mode =
            entry.delivery_mode.value_or(defaults_.delivery_mode.value_or(standard.delivery_mode));
        ticket.qos.consistency = entry.consistency.value_or(defaults_.consistency.value_or(standard.consistency));
        ticket.qos.durability = entry.durability.value_or(defaults_.durability.value_or(standard.durability));
        if (entry.capabilities) {
            ticket.required_capabilities = *entry.capabilities;
        } else if (defaults_.capabilities) {
            ticket.required_capabilities = *defaults_.capabilities;
        }
        ticket.created_at = context_.now;
        for (const StringMap* map :
             std::initializer_list<const StringMap*>{&metadata_, &defaults_.metadata, &entry.metadata}) {
            for (const auto& [key, text] : *map)
                ticket.metadata.insert_or_assign(key, text);
        }
        ticket.parameters = expand_parameters(entry, scope, at);
        return ticket;
    }

    Sla expand_sla(const PlanEntry& entry, const PlanScope& scope, const json::value& at) {
        const SlaPatch& own = entry.sla;
        const SlaPatch& general = defaults_.sla;
        Sla sla;
        sla.timeout_ms = own.timeout_ms.value_or(general.timeout_ms.value_or(sla.timeout_ms));
        sla.max_retries = own.max_retries ? own.max_retries : general.max_retries;
        const std::int64_t deadline = own.deadline.value_or(general.deadline.value_or(0));
        if (deadline > 0) sla.deadline = deadline;
        // When both come from one place, that place was told already.
        const bool mixed = own.timeout_ms.has_value() != own.deadline.has_value();
        const bool known = own.timeout_ms || general.timeout_ms;
        if (mixed && known && deadline > context_.now && sla.timeout_ms > deadline - context_.now) {
            const json::value* place = own.timeout_at != nullptr ? own.timeout_at : own.deadline_at;
            problems_.warning("timeout-beyond-deadline",
                              "the timeout of ticket " + quoted(scope.ticket.value_or("")) + " (" +
                                  duration_text(std::chrono::milliseconds(sla.timeout_ms)) +
                                  ") is longer than its deadline allows",
                              scope.in("sla").path(), {place == nullptr ? &at : place, false});
        }
        return sla;
    }

    json::object expand_parameters(const PlanEntry& entry, const PlanScope& scope, const json::value& at) {
        const TaskType type = *entry.type;
        json::object parameters;
        if (defaults_.parameters != nullptr) parameters = *defaults_.parameters;
        add_settings(defaults_, type, parameters);
        StringMap env = takes(type, "env") ? defaults_.env : StringMap();
        if (entry.parameters != nullptr) {
            for (const auto& member : *entry.parameters)
                parameters[member.key()] = member.value();
        }
        add_settings(entry, type, parameters);
        if (takes(type, "env")) {
            for (const auto& [name, text] : entry.env)
                env.insert_or_assign(name, text);
        }
        if (env.size() > kMaxParameterMapEntries) {
            problems_.error("limit",
                            "ticket " + quoted(scope.ticket.value_or("")) + " has more than " +
                                std::to_string(kMaxParameterMapEntries) + " environment variables",
                            scope.path("env"), {&at, false}, ErrorCode::kLimitExceeded);
        }
        if (!env.empty() && (entry.parameters == nullptr || !entry.parameters->contains("env_vars"))) {
            json::object variables;
            for (const auto& [name, text] : env)
                variables[name] = text;
            parameters["env_vars"] = std::move(variables);
        }
        add_command(entry, type, parameters);
        warn_about_nothing_to_run(type, parameters, scope, at);
        return parameters;
    }

    static void add_settings(const PlanSettings& settings, TaskType type, json::object& parameters) {
        if (settings.runtime && takes(type, "runtime")) parameters["runtime"] = *settings.runtime;
        if (settings.image && takes(type, "image")) parameters["image"] = *settings.image;
        if (settings.working_dir && takes(type, "working_dir")) parameters["working_dir"] = *settings.working_dir;
    }

    static void add_command(const PlanEntry& entry, TaskType type, json::object& parameters) {
        if (!entry.run.empty() && (type == TaskType::kExecute || type == TaskType::kTest)) {
            json::array words;
            for (const std::string& word : entry.run)
                words.emplace_back(word);
            parameters["command"] = std::move(words);
        }
        if (type != TaskType::kTest) return;
        if (!entry.junit.empty()) parameters["junit_xml_path"] = entry.junit;
        const bool named = parameters.contains("test_provider") || parameters.contains("provider") ||
                           parameters.contains("ci_provider");
        if (!entry.run.empty() && !named) parameters["test_provider"] = "local";
    }

    void warn_about_nothing_to_run(TaskType type, const json::object& parameters, const PlanScope& scope,
                                   const json::value& at) {
        using Keys = std::vector<std::string_view>;
        const bool test = type == TaskType::kTest;
        if (type != TaskType::kExecute && !test) return;
        for (const std::string_view key :
             test ? Keys{"command", "test_command", "test_provider", "provider", "ci_provider"}
                  : Keys{"command", "template_id", "template", "function_name"}) {
            if (parameters.contains(key)) return;
        }
        // A test that nobody can run is simulated at best.
        problems_.warning("nothing-to-run",
                          "ticket " + quoted(scope.ticket.value_or("")) + " has no command" +
                              (test ? " and names no test provider" : "") + ": say it with run",
                          scope.path("run"), {&at, false});
    }

    // What a compensation says goes into the metadata of the ticket that it undoes.
    void attach_compensations() {
        std::set<std::uint32_t> compensated;
        for (const Node& node : nodes_) {
            if (node.entry) attach_compensation(node, compensated);
        }
    }

    void attach_compensation(const Node& node, std::set<std::uint32_t>& compensated) {
        const PlanEntry& entry = *node.entry;
        const auto complain = [&](std::string_view rule, std::string_view key, std::string message) {
            problems_.error(rule, "ticket " + quoted(node.name) + " " + std::move(message), node.scope.path(key),
                            {&value_at(*node.at, key), false});
        };
        if (*entry.type != TaskType::kCompensate) {
            return complain("wrong-type", "type", "compensates another one, so its type must be COMPENSATE");
        }
        if (!node.needs.empty()) {
            return complain("no-effect", "needs",
                            "compensates another one: it starts when that one fails and cannot need anything");
        }
        const auto found = names_.find(entry.compensates);
        if (found == names_.end()) {
            return complain("missing-dependency", "compensates",
                            "compensates " + quoted(entry.compensates) + ", which is not in this plan" +
                                suggestion(entry.compensates));
        }
        const Node& original = nodes_[found->second];
        if (!original.compensates.empty()) {
            return complain("wrong-type", "compensates",
                            "compensates " + quoted(entry.compensates) + ", which is a compensation itself");
        }
        if (original.ticket == kNowhere) return;  // has its own problem
        if (!compensated.insert(original.ticket).second) {
            return complain("given-twice", "compensates",
                            "compensates " + quoted(entry.compensates) + ", which has a compensation already");
        }
        Ticket& ticket = plan_.tickets[original.ticket].ticket;
        declare_compensation(entry, ticket);
        plan_.compensations.push_back({std::string(node.name), original.ticket, compensation_id(ticket.ticket_id)});
    }

    static void declare_compensation(const PlanEntry& entry, Ticket& ticket) {
        json::object parameters;
        if (entry.parameters != nullptr) parameters = *entry.parameters;
        std::string action(compensation_action(ticket.task_type));
        if (!entry.run.empty()) {
            std::string script;
            for (const std::string& word : entry.run)
                script += (script.empty() ? "" : " ") + quote_shell_word(word);
            parameters["rollback_script"] = script;
            action = "rollback_execution";
        }
        if (const auto* given = parameters.if_contains("action"); given != nullptr && given->is_string()) {
            action = view(given->get_string());
        }
        parameters.erase("action");
        if (entry.working_dir) parameters["working_dir"] = *entry.working_dir;
        if (!entry.env.empty()) {
            json::object variables;
            for (const auto& [name, text] : entry.env)
                variables[name] = text;
            parameters["env_vars"] = std::move(variables);
        }
        ticket.metadata.insert_or_assign(std::string(kCompensationActionKey), action);
        if (!parameters.empty()) {
            ticket.metadata.insert_or_assign(std::string(kCompensationParametersKey), json_text(parameters));
        }
        if (entry.sla.timeout_ms) {
            ticket.metadata.insert_or_assign(std::string(kCompensationTimeoutKey),
                                             std::to_string(*entry.sla.timeout_ms));
        }
    }

    void resolve_dependencies() {
        edges_.resize(plan_.tickets.size());
        for (const Node& node : nodes_) {
            if (node.ticket == kNowhere) continue;
            if (node.needs.size() > context_.ticket_limits.max_dependencies) {
                problems_.error("limit",
                                "ticket " + quoted(node.name) + " needs " + std::to_string(node.needs.size()) +
                                    " tickets; at most " + std::to_string(context_.ticket_limits.max_dependencies) +
                                    " are allowed",
                                node.scope.path("needs"), node.place(), ErrorCode::kLimitExceeded);
                continue;
            }
            std::set<std::string, std::less<>> seen;
            for (const json::value* need : node.needs)
                resolve(node, *need, seen);
        }
    }

    void resolve(const Node& node, const json::value& need, std::set<std::string, std::less<>>& seen) {
        const std::string wanted = value_text(need);
        const auto complain = [&](std::string_view rule, std::string message) {
            problems_.error(rule, "ticket " + quoted(node.name) + " " + std::move(message), node.scope.path("needs"),
                            {&need, false});
        };
        std::vector<std::string>& dependencies = plan_.tickets[node.ticket].ticket.dependencies;
        const auto target = find_node(wanted);
        if (ambiguous_.contains(wanted) && !ids_.contains(wanted)) {
            return complain("missing-dependency",
                            "depends on " + quoted(wanted) + ", and several tickets have that name; use ticket_id");
        }
        if (!target) {
            if (!is_uuid(wanted)) {
                return complain("missing-dependency",
                                "depends on " + quoted(wanted) + ", which is not in this plan" + suggestion(wanted));
            }
            if (!seen.insert(wanted).second) return;
            dependencies.push_back(wanted);
            if (external_.insert(wanted).second) plan_.external_dependencies.push_back(wanted);
            return;
        }
        const Node& other = nodes_[*target];
        if (&other == &node) return complain("self-dependency", "depends on itself");
        if (!other.compensates.empty()) {
            return complain("missing-dependency", "depends on " + quoted(wanted) + ", which runs only if " +
                                                      quoted(other.compensates) + " fails: nothing can wait for it");
        }
        if (other.ticket == kNowhere) return;  // has its own problem
        const std::string& id = plan_.tickets[other.ticket].ticket.ticket_id;
        if (!seen.insert(id).second) return;
        dependencies.push_back(id);
        edges_[node.ticket].push_back(other.ticket);
    }

    [[nodiscard]] std::optional<std::uint32_t> find_node(std::string_view wanted) const {
        if (const auto by_id = ids_.find(wanted); by_id != ids_.end()) return by_id->second;
        if (const auto by_name = names_.find(wanted); by_name != names_.end()) return by_name->second;
        return std::nullopt;
    }

    std::string suggestion(std::string_view wanted) {
        if (suggestions_ == kMaxSuggestions) return "";
        ++suggestions_;
        std::vector<std::string_view> candidates;
        candidates.reserve(nodes_.size());
        for (const Node& node : nodes_)
            candidates.push_back(node.name);
        const std::string_view found = closest(wanted, candidates);
        return found.empty() ? "" : " (did you mean " + quoted(found) + "?)";
    }

    void report_cycles() {
        if (problems_.full()) return;
        std::vector<const Node*> node_of(plan_.tickets.size(), nullptr);
        for (const Node& node : nodes_) {
            if (node.ticket != kNowhere) node_of[node.ticket] = &node;
        }
        for (const auto& cycle : find_cycles(edges_, kMaxCycles)) {
            std::string path;
            for (std::size_t i = 0; i < cycle.size(); ++i) {
                const bool hidden = cycle.size() > kMaxShownCycle && i >= kMaxShownCycle - 2 && i + 1 < cycle.size();
                if (!hidden) path += clip(node_of[cycle[i]]->name) + " → ";
                if (hidden && i == kMaxShownCycle - 2)
                    path += "… " + std::to_string(cycle.size() - kMaxShownCycle + 1) + " more … → ";
            }
            const Node& first = *node_of[cycle.front()];
            problems_.error("cycle", "cycle: " + path + clip(first.name), first.scope.path(), first.place());
        }
    }

    const Document& document_;
    const PlanContext& context_;
    ProblemList problems_;
    Plan plan_;
    PlanSettings defaults_;
    StringMap metadata_;
    std::string intent_id_;
    std::string decision_id_;
    std::string correlation_id_;
    bool made_up_correlation_ = false;
    const json::value* defaults_at_ = nullptr;
    std::size_t share_ = 0;   // bytes that each ticket gets from `defaults` and the plan
    std::size_t shared_ = 0;  // of the tickets so far
    bool plan_id_given_ = false;
    bool ticket_id_made_up_ = false;
    std::vector<Node> nodes_;
    // Ordered, not hashed: names come from outside, and no choice of names may make the look-ups slow.
    std::map<std::string_view, std::uint32_t> names_;  // into nodes_
    std::map<std::string_view, std::uint32_t> ids_;
    std::set<std::string, std::less<>> ambiguous_;
    std::set<std::string, std::less<>> external_;
    std::vector<std::vector<std::uint32_t>> edges_;  // by ticket
    std::size_t suggestions_ = 0;
};

}  // namespace

PlanReading read_plan(const Document& document, const PlanContext& context) {
    return PlanReader(document, context).run();
}

std::vector<Problem> check_ticket_document(const Document& document, const std::string& file,
                                           const TicketLimits& limits) {
    ProblemList problems;
    for (const Error& error : check_ticket_value(document.root, limits)) {
        note_ticket_error(document.root, error, "", problems);
    }
    return std::move(problems).finish(document, file);
}

std::span<const std::string_view> plan_keys(PlanSection section) {
    switch (section) {
        case PlanSection::kPlan: return kPlanKeys;
        case PlanSection::kDefaults: return kDefaultsKeys;
        case PlanSection::kTicket: return kTicketKeys;
        case PlanSection::kSla: return kSlaKeys;
        case PlanSection::kQos: return kQosKeys;
    }
    return {};
}

}  // namespace wa
