// Plan files (YAML or JSON text) to plans, and what `worker-agents validate` says about plan and ticket files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "core/plan/plan.h"
#include "core/plan/problems.h"

namespace wa {

// kAuto: a text that begins with `{` or `[` and is not YAML's own flow style is JSON, everything else is YAML.
enum class TextFormat : std::uint8_t { kAuto, kJson, kYaml };
// By the ending of a file's name: .json, .yaml, .yml; else kAuto.
[[nodiscard]] TextFormat format_of(std::string_view file);

[[nodiscard]] Result<Document> read_document(std::string_view text, TextFormat format,
                                             const DocumentLimits& limits = {}, TextMark* where = nullptr);

// The plan in `text`. A text that cannot be read at all is one problem with the rule "syntax" or "limit".
[[nodiscard]] PlanReading read_plan_text(std::string_view text, TextFormat format, const PlanContext& context,
                                         const DocumentLimits& limits = {});

// Checks a plan file, or a file that holds one wire ticket (it has `task_type` at the top). Nothing is expanded for
// use, so the ids and times inside do not matter. `now` judges deadlines.
[[nodiscard]] std::vector<Problem> validate_text(const std::string& file, std::string_view text, EpochMillis now);

}  // namespace wa
