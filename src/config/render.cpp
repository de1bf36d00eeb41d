#include "config/render.h"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "config/values.h"

namespace wa::config {
namespace {

namespace json = boost::json;

json::string_view view(std::string_view text) {
    return {text.data(), text.size()};
}

std::string joined(const std::vector<std::string>& items) {
    std::string text;
    for (const std::string& item : items)
        text += (text.empty() ? "" : ", ") + item;
    return text.empty() ? "[]" : text;
}

bool is_hidden(const Setting& setting) {
    return setting.spec->type == Type::kSecret && setting.origin.layer != Layer::kDefault && setting.value.index() != 0;
}

// "env ARGOCD_TOKEN_FILE" -> "ARGOCD_TOKEN_FILE"; "flag --x-file", "config.yaml:3:1" stay.
std::string hidden(const Origin& origin) {
    constexpr std::string_view kEnv = "env ";
    std::string_view where = origin.where;
    if (where.starts_with(kEnv)) where.remove_prefix(kEnv.size());
    return "***(from " + std::string(where) + ")";
}

double in_unit(std::chrono::milliseconds value, Unit unit) {
    const auto ms = static_cast<double>(value.count());
    switch (unit) {
        case Unit::kMilliseconds: return ms;
        case Unit::kDays: return ms / 86'400'000;
        case Unit::kNone:
        case Unit::kSeconds: return ms / 1000;
    }
    return ms / 1000;
}

json::value whole_or_fraction(double number) {
    const auto whole = static_cast<std::int64_t>(number);
    if (static_cast<double>(whole) == number) return whole;
    return number;
}

json::value typed_value(const Setting& setting) {
    if (is_hidden(setting)) return json::value(view(hidden(setting.origin)));
    struct Visitor {
        const SettingSpec& spec;
        json::value operator()(std::monostate) const { return nullptr; }
        json::value operator()(const std::string& text) const {
            return json::value(view(spec.type == Type::kUrl ? mask_url(text) : text));
        }
        json::value operator()(std::int64_t number) const { return number; }
        json::value operator()(double number) const { return number; }
        json::value operator()(bool word) const { return word; }
        json::value operator()(const std::vector<std::string>& items) const {
            json::array out;
            for (const std::string& item : items)
                out.emplace_back(view(item));
            return out;
        }
        json::value operator()(std::chrono::milliseconds value) const {
            return whole_or_fraction(in_unit(value, spec.unit));
        }
    };
    return std::visit(Visitor{*setting.spec}, setting.value);
}

std::string_view unit_name(const SettingSpec& spec) {
    if (spec.type == Type::kSize) return "bytes";
    if (spec.type != Type::kDuration) return {};
    switch (spec.unit) {
        case Unit::kMilliseconds: return "ms";
        case Unit::kDays: return "days";
        case Unit::kNone:
        case Unit::kSeconds: return "seconds";
    }
    return "seconds";
}

std::string note(const SettingSpec& spec) {
    if (spec.part == Part::kNothing) return "no effect";
    if (!is_built(spec.part)) return "not built: " + std::string(to_string(spec.part));
    return {};
}

json::array choices(const SettingSpec& spec) {
    json::array out;
    std::string_view rest = spec.choices;
    while (!rest.empty()) {
        const std::size_t bar = rest.find('|');
        out.emplace_back(view(rest.substr(0, bar)));
        rest = bar == std::string_view::npos ? std::string_view{} : rest.substr(bar + 1);
    }
    return out;
}

void bound(const SettingSpec& spec, json::object& number) {
    if (spec.max < spec.min) return;
    number["minimum"] = whole_or_fraction(spec.min);
    number["maximum"] = whole_or_fraction(spec.max);
}

json::value schema_type(const SettingSpec& spec) {
    const auto text = [](std::string_view pattern) {
        json::object out{{"type", "string"}};
        if (!pattern.empty()) out["pattern"] = view(pattern);
        return out;
    };
    const auto number_or = [&](std::string_view type, std::string_view pattern) {
        json::object number{{"type", view(type)}};
        bound(spec, number);
        return json::object{{"anyOf", json::array{number, text(pattern)}}};
    };
    switch (spec.type) {
        case Type::kInt: {
            json::object out{{"type", "integer"}};
            bound(spec, out);
            return out;
        }
        case Type::kFloat: {
            json::object out{{"type", "number"}};
            bound(spec, out);
            return out;
        }
        case Type::kRatio: return number_or("number", "^[0-9.]+%?$");
        case Type::kBool: return json::object{{"type", "boolean"}};
        case Type::kEnum: return json::object{{"enum", choices(spec)}};
        case Type::kDuration: return number_or("number", "^\\s*([0-9.]+\\s*(ms|s|sec|m|min|h|d|w)?\\s*)+$");
        case Type::kSize: return number_or("integer", "^\\s*[0-9.]+\\s*[A-Za-z]*\\s*$");
        case Type::kList: {
            json::object item{{"type", "string"}};
            if (!spec.choices.empty()) item["enum"] = choices(spec);
            return json::object{{"anyOf", json::array{json::object{{"type", "array"}, {"items", item}}, text({})}}};
        }
        case Type::kUrl:
            return text(spec.empty_is_off ? "^$|^[A-Za-z][A-Za-z0-9+.-]*://" : "^[A-Za-z][A-Za-z0-9+.-]*://");
        case Type::kString:
        case Type::kPath:
        case Type::kSecret: return text({});
    }
    return text({});
}

json::value schema_default(const SettingSpec& spec) {
    auto value = parse_value(spec, spec.fallback);
    if (!value) return nullptr;
    return typed_value(Setting{&spec, std::move(*value), {Layer::kDefault, "default"}});
}

// A mapping from text to null or to the schema of one key; every key may also stand without a value.
json::object nullable(json::object schema, const SettingSpec& spec, std::string_view help) {
    json::object out;
    out["description"] = view(help);
    if (!spec.fallback.empty()) out["default"] = schema_default(spec);
    out["anyOf"] = json::array{std::move(schema), json::object{{"type", "null"}}};
    return out;
}

std::string yaml_example(const SettingSpec& spec) {
    std::string_view text = spec.fallback;
    if (text.empty()) return {};
    if (spec.type != Type::kList) return std::string(text);
    auto items = parse_list(text);
    std::string out = "[";
    for (const std::string& item : items.value_or(std::vector<std::string>{}))
        out += (out.size() > 1 ? ", " : "") + item;
    return out + "]";
}

}  // namespace

std::string shown_value(const Setting& setting) {
    if (is_hidden(setting)) return hidden(setting.origin);
    struct Visitor {
        const SettingSpec& spec;
        std::string operator()(std::monostate) const { return {}; }
        std::string operator()(const std::string& text) const {
            return spec.type == Type::kUrl ? mask_url(text) : text;
        }
        std::string operator()(std::int64_t number) const {
            return spec.type == Type::kSize ? size_text(number) : std::to_string(number);
        }
        std::string operator()(double number) const { return number_text(number); }
        std::string operator()(bool word) const { return word ? "true" : "false"; }
        std::string operator()(const std::vector<std::string>& items) const { return joined(items); }
        std::string operator()(std::chrono::milliseconds value) const { return duration_text(value); }
    };
    return std::visit(Visitor{*setting.spec}, setting.value);
}

std::string shown_default(const SettingSpec& spec, Mode mode) {
    const bool dev = mode == Mode::kDev && !spec.dev_fallback.empty();
    const std::string_view text = dev ? spec.dev_fallback : spec.fallback;
    if (text.empty()) return {};
    auto value = parse_value(spec, text);
    if (!value) return {};
    return shown_value(Setting{&spec, std::move(*value), {Layer::kDefault, "default"}});
}

bool is_default(const Setting& setting) {
    if (setting.origin.layer == Layer::kDefault) return true;
    if (is_hidden(setting)) return false;
    return shown_value(setting) == shown_default(*setting.spec);
}

std::vector<std::vector<std::string>> show_rows(const Settings& settings, const ShowOptions& options) {
    std::vector<std::vector<std::string>> rows;
    for (const Setting& setting : settings.all()) {
        if (options.diff_defaults && is_default(setting)) continue;
        std::vector<std::string> row{std::string(setting.spec->name), shown_value(setting)};
        if (row.back().empty()) row.back() = "-";
        if (options.origin) row.push_back(setting.origin.where);
        row.push_back(note(*setting.spec));
        rows.push_back(std::move(row));
    }
    return rows;
}

json::object show_json(const Settings& settings, const ShowOptions& options) {
    json::array out;
    for (const Setting& setting : settings.all()) {
        if (options.diff_defaults && is_default(setting)) continue;
        const SettingSpec& spec = *setting.spec;
        json::object one;
        one["name"] = view(spec.name);
        one["key"] = view(file_key(spec.name));
        one["value"] = typed_value(setting);
        one["default"] = schema_default(spec);
        one["origin"] = view(setting.origin.where);
        one["type"] = view(to_string(spec.type));
        if (!unit_name(spec).empty()) one["unit"] = view(unit_name(spec));
        one["secret"] = spec.type == Type::kSecret;
        one["part"] = view(to_string(spec.part));
        one["built"] = is_built(spec.part);
        one["reloadable"] = spec.reloadable;
        out.push_back(std::move(one));
    }
    return json::object{{"settings", std::move(out)}};
}

std::string starter_file() {
    std::string out =
        "# Settings of worker-agents. Take the # away from the lines that you change.\n"
        "# Each key is the environment variable's name in lower case. A flag wins over the environment, the "
        "environment\n"
        "# over this file. See all of them, and where each value comes from: worker-agents config show --origin\n";
    for (const SettingSpec& spec : all_settings()) {
        if (!spec.common) continue;
        out += "\n# " + std::string(spec.help);
        if (!spec.choices.empty()) out += "\n# one of: " + std::string(spec.choices);
        out += "\n# " + file_key(spec.name) + ": " + yaml_example(spec) + "\n";
    }
    return out;
}

json::object file_schema() {
    json::object properties;
    for (const SettingSpec& spec : all_settings()) {
        const std::string help = std::string(spec.help) + (note(spec).empty() ? "" : " (" + note(spec) + ")");
        const json::object schema = schema_type(spec).as_object();
        properties[view(file_key(spec.name))] = nullable(schema, spec, help);
        if (!spec.alias.empty()) properties[view(file_key(spec.alias))] = nullable(schema, spec, help);
        if (spec.type != Type::kSecret) continue;
        json::object file;
        file["description"] = view("file that holds " + std::string(spec.name));
        file["type"] = "string";
        properties[view(file_key(spec.name) + "_file")] = std::move(file);
    }
    json::object out;
    out["$schema"] = "https://json-schema.org/draft/2020-12/schema";
    out["title"] = "worker-agents configuration file";
    out["type"] = "object";
    out["additionalProperties"] = false;
    out["properties"] = std::move(properties);
    return out;
}

}  // namespace wa::config
