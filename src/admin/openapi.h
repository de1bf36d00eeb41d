// The description of the HTTP API that is built in (openapi/openapi.json of the sources).
#pragma once

#include <string_view>

namespace wa::admin {

[[nodiscard]] std::string_view openapi_document();

}  // namespace wa::admin
