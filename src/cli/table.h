// A plain table: one row an item, columns as wide as they must be, two blanks between them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace wa::cli {

struct Column {
    std::string name;        // "STATE"
    bool wide_only = false;  // shown with -o wide, or when --columns names it
    // Longer cells are cut when the table must fit a terminal. 0 = never cut.
    std::size_t cut_to = 0;
    bool state = false;  // cells are words of states.h: TableOptions::signs and colours apply
};

struct Table {
    std::vector<Column> columns;
    std::vector<std::vector<std::string>> rows;  // one cell for each column, raw text
};

struct TableOptions {
    bool wide = false;
    bool headers = true;
    std::vector<std::string> only = {};  // --columns, any case; empty = all
    std::size_t width = 0;               // of the terminal; 0 = no limit
    bool signs = false;                  // "✔ completed" instead of "completed"
    bool colours = false;
};

// Cells are escaped here. Empty cells are shown as "-", so that every row has every field. No blanks at the end of a
// line. kInvalidArgument when `only` names a column that is not there (the message lists those that are).
[[nodiscard]] Result<std::string> render(const Table& table, const TableOptions& options);

}  // namespace wa::cli
