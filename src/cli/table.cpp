#include "cli/table.h"

#include <algorithm>
#include <cctype>

#include "cli/states.h"
#include "cli/text.h"

namespace wa::cli {
namespace {

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return out;
}

Result<std::vector<std::size_t>> chosen_columns(const Table& table, const TableOptions& options) {
    std::vector<std::size_t> out;
    if (options.only.empty()) {
        for (std::size_t i = 0; i < table.columns.size(); ++i) {
            if (options.wide || !table.columns[i].wide_only) out.push_back(i);
        }
        return out;
    }
    for (const std::string& name : options.only) {
        const std::string wanted = upper(name);
        const auto found = std::ranges::find(table.columns, wanted, &Column::name);
        if (found == table.columns.end()) {
            std::string known;
            for (const Column& column : table.columns)
                known += (known.empty() ? "" : ", ") + column.name;
            return invalid("--columns", "there is no column " + printable(wanted) + " here; there are " + known);
        }
        out.push_back(static_cast<std::size_t>(found - table.columns.begin()));
    }
    return out;
}

std::string cell_text(const std::vector<std::string>& row, std::size_t column) {
    if (column >= row.size() || row[column].empty()) return "-";
    return printable(row[column]);
}

struct Cell {
    std::string text;
    std::string_view colour;
};

void append_line(std::string& out, const std::vector<Cell>& cells, const std::vector<std::size_t>& widths) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        if (i > 0) line += "  ";
        const bool last = i + 1 == cells.size();
        line += cells[i].colour;
        line += cells[i].text;
        if (!cells[i].colour.empty()) line += kPlain;
        if (!last) line.append(widths[i] - std::min(widths[i], display_width(cells[i].text)), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line;
    out += '\n';
}

Cell make_cell(const Column& column, const std::vector<std::string>& row, std::size_t index,
               const TableOptions& options) {
    Cell cell{cell_text(row, index), {}};
    if (options.width != 0 && column.cut_to != 0) cell.text = fit(cell.text, column.cut_to);
    if (!column.state) return cell;
    const Kind kind = kind_of(cell.text);
    if (options.colours) cell.colour = colour(kind);
    if (options.signs) cell.text = std::string(sign(kind)) + " " + cell.text;
    return cell;
}

}  // namespace

Result<std::string> render(const Table& table, const TableOptions& options) {
    WA_TRY(const std::vector<std::size_t> chosen, chosen_columns(table, options));
    std::vector<std::vector<Cell>> lines;
    if (options.headers) {
        std::vector<Cell> names;
        for (const std::size_t column : chosen)
            names.push_back({table.columns[column].name, {}});
        lines.push_back(std::move(names));
    }
    for (const auto& row : table.rows) {
        std::vector<Cell> cells;
        for (const std::size_t column : chosen)
            cells.push_back(make_cell(table.columns[column], row, column, options));
        lines.push_back(std::move(cells));
    }
    std::vector<std::size_t> widths(chosen.size(), 0);
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i)
            widths[i] = std::max(widths[i], display_width(line[i].text));
    }
    // What does not fit is taken from the last column, which holds the free text.
    if (options.width != 0 && !chosen.empty()) {
        std::size_t before = 0;
        for (std::size_t i = 0; i + 1 < widths.size(); ++i)
            before += widths[i] + 2;
        constexpr std::size_t kLeast = 8;
        const std::size_t room = options.width > before + kLeast ? options.width - before : kLeast;
        for (auto& line : lines)
            line.back().text = fit(line.back().text, room);
    }
    std::string out;
    for (const auto& line : lines)
        append_line(out, line, widths);
    return out;
}

}  // namespace wa::cli
