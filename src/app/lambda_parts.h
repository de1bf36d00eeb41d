// The Lambda runtime's options from the settings, and what it tells the rest of the worker.
#pragma once

#include <string>

#include "config/settings.h"
#include "observability/metrics.h"
#include "runtimes/lambda.h"

namespace wa::app {

// Never fails: what cannot be used is in `misconfigured`, and shown where runtimes are shown. `listener` is told of
// calls, and must outlive the runtime.
[[nodiscard]] LambdaOptions lambda_options(const config::Settings& settings, observability::Metrics& metrics,
                                           http::ServiceListener& listener);

// Where functions are called, for people: "https://lambda.us-east-1.amazonaws.com".
[[nodiscard]] std::string lambda_place(const config::Settings& settings);

// What to do about a Lambda runtime that cannot be used; for doctor.
[[nodiscard]] std::string lambda_fix(const config::Settings& settings, const Availability& now);

}  // namespace wa::app
