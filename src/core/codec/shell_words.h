// Splits text into words the way a POSIX shell does, without a shell: quotes and backslashes are honoured, nothing is
// expanded, and operators (| ; & > <) are ordinary characters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace wa {

// "go test './a b'" -> [go, test, ./a b]. Blanks only -> no words. Errors: kInvalidArgument for an open quote, a
// backslash at the end, or a NUL character.
[[nodiscard]] Result<std::vector<std::string>> split_shell_words(std::string_view text);

// One word that split_shell_words() turns back into `word`.
[[nodiscard]] std::string quote_shell_word(std::string_view word);

}  // namespace wa
