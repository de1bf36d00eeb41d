#include "config/settings.h"

#include "base/check.h"

namespace wa::config {
namespace {
const std::string kNoText;
const std::vector<std::string> kNoItems;
}  // namespace

const Setting& Settings::at(std::string_view name) const {
    const SettingSpec* spec = find_setting(name);
    WA_CHECK(spec != nullptr, "settings are read by a name of the table");
    const auto index = static_cast<std::size_t>(spec - all_settings().data());
    WA_CHECK(index < settings_.size(), "settings are read after loading");
    return settings_[index];
}

bool Settings::has(std::string_view name) const {
    return at(name).value.index() != 0;
}

const std::string& Settings::text(std::string_view name) const {
    const Setting& setting = at(name);
    if (setting.value.index() == 0) return kNoText;
    const auto* text = std::get_if<std::string>(&setting.value);
    WA_CHECK(text != nullptr, "the setting is text");
    return *text;
}

std::int64_t Settings::integer(std::string_view name) const {
    const Setting& setting = at(name);
    if (setting.value.index() == 0) return 0;
    const auto* number = std::get_if<std::int64_t>(&setting.value);
    WA_CHECK(number != nullptr, "the setting is a whole number");
    return *number;
}

double Settings::real(std::string_view name) const {
    const Setting& setting = at(name);
    if (setting.value.index() == 0) return 0;
    const auto* number = std::get_if<double>(&setting.value);
    WA_CHECK(number != nullptr, "the setting is a number");
    return *number;
}

bool Settings::flag(std::string_view name) const {
    const Setting& setting = at(name);
    if (setting.value.index() == 0) return false;
    const auto* word = std::get_if<bool>(&setting.value);
    WA_CHECK(word != nullptr, "the setting is a boolean");
    return *word;
}

const std::vector<std::string>& Settings::list(std::string_view name) const {
    const Setting& setting = at(name);
    if (setting.value.index() == 0) return kNoItems;
    const auto* items = std::get_if<std::vector<std::string>>(&setting.value);
    WA_CHECK(items != nullptr, "the setting is a list");
    return *items;
}

std::chrono::milliseconds Settings::duration(std::string_view name) const {
    const Setting& setting = at(name);
    if (setting.value.index() == 0) return std::chrono::milliseconds(0);
    const auto* value = std::get_if<std::chrono::milliseconds>(&setting.value);
    WA_CHECK(value != nullptr, "the setting is a duration");
    return *value;
}

const Origin& Settings::origin(std::string_view name) const {
    return at(name).origin;
}

bool Settings::strict() const {
    return is_strict_environment(text("ENVIRONMENT"));
}

std::vector<std::string> Settings::secret_values() const {
    std::vector<std::string> out;
    for (const Setting& setting : settings_) {
        const auto* text = std::get_if<std::string>(&setting.value);
        const bool given = setting.origin.layer != Layer::kDefault;
        if (setting.spec->type == Type::kSecret && text != nullptr && given && !text->empty()) out.push_back(*text);
    }
    return out;
}

Settings Settings::with_reloadable(const Settings& now) const {
    Settings merged = *this;
    for (std::size_t i = 0; i < merged.settings_.size() && i < now.settings_.size(); ++i) {
        if (merged.settings_[i].spec->reloadable) merged.settings_[i] = now.settings_[i];
    }
    return merged;
}

std::vector<Change> changes(const Settings& before, const Settings& now) {
    std::vector<Change> out;
    for (std::size_t i = 0; i < now.all().size() && i < before.all().size(); ++i) {
        if (before.all()[i].value == now.all()[i].value) continue;
        out.push_back({now.all()[i].spec, now.all()[i].spec->reloadable});
    }
    return out;
}

}  // namespace wa::config
