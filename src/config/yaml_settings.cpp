// The only includer of yaml-cpp in this folder.
#include <yaml-cpp/yaml.h>

#include <optional>
#include <set>

#include "config/files.h"

namespace wa::config {
namespace {

constexpr std::size_t kMaxFile = 1024 * 1024;
constexpr std::size_t kMaxEntries = 10'000;  // also bounds what an alias can blow up

std::string place(const NamedText& file, const YAML::Mark& mark) {
    if (mark.is_null()) return file.path;
    return file.path + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
}

Problem problem(std::string where, std::string message, std::string fix = {}) {
    return Problem{Severity::kError, std::move(where), {}, std::move(message), std::move(fix)};
}

class Walker {
public:
    explicit Walker(const NamedText& file) : file_(file) {}

    FileContent walk(const YAML::Node& root) {
        if (!root.IsDefined() || root.IsNull()) return std::move(out_);
        if (!root.IsMap()) {
            out_.problems.push_back(problem(place(file_, root.Mark()), "the file must be a mapping of settings",
                                            "write one \"name: value\" a line"));
            return std::move(out_);
        }
        for (const auto& pair : root) {
            if (++seen_ > kMaxEntries) {
                out_.problems.push_back(problem(file_.path, "the file has too many entries"));
                break;
            }
            add(pair.first, pair.second);
        }
        return std::move(out_);
    }

private:
    void add(const YAML::Node& key, const YAML::Node& value) {
        const std::string where = place(file_, key.Mark());
        if (!key.IsScalar()) {
            out_.problems.push_back(problem(where, "a setting's name must be plain text"));
            return;
        }
        const std::string& name = key.Scalar();
        if (!names_.insert(name).second) {
            out_.problems.push_back(problem(where, "\"" + name.substr(0, 80) + "\" stands twice in the file"));
            return;
        }
        if (value.IsNull()) return;
        if (value.IsScalar()) {
            out_.entries.push_back({name, value.Scalar(), where});
        } else if (value.IsSequence()) {
            if (auto items = sequence(value)) out_.entries.push_back({name, std::move(*items), where});
        } else {
            out_.problems.push_back(problem(where,
                                            "\"" + name.substr(0, 80) + "\" must be a value or a list, not a mapping",
                                            "settings are flat: write max_concurrent_tasks: 5, not a section"));
        }
    }

    std::optional<std::vector<std::string>> sequence(const YAML::Node& value) {
        std::vector<std::string> items;
        for (const auto& item : value) {
            if (++seen_ > kMaxEntries || !item.IsScalar()) {
                out_.problems.push_back(problem(place(file_, item.Mark()), "a list may hold plain values only"));
                return std::nullopt;
            }
            items.push_back(item.Scalar());
        }
        return items;
    }

    const NamedText& file_;
    FileContent out_;
    std::set<std::string> names_;
    std::size_t seen_ = 0;
};

}  // namespace

FileContent read_yaml_settings(const NamedText& file) {
    FileContent broken;
    if (file.text.size() > kMaxFile) {
        broken.problems.push_back(problem(file.path, "the file is larger than 1 MiB"));
        return broken;
    }
    try {
        return Walker(file).walk(YAML::Load(file.text));
    } catch (const YAML::Exception& error) {
        broken.problems.push_back(problem(place(file, error.mark), "not valid YAML: " + error.msg));
    } catch (const std::exception& error) {
        broken.problems.push_back(problem(file.path, std::string("cannot be read as YAML: ") + error.what()));
    }
    return broken;
}

}  // namespace wa::config
