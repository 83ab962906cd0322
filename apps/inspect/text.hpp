// Text that fits a terminal: tables, bars, numbers with units. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace coel::inspect {

/// What the terminal can show.
struct look {
  size_t width = 80; ///< columns
  bool colour = false;
  bool unicode = true;
};

/// Columns that the text takes; escape sequences take none.
size_t columns(std::string_view text);

/// At most `width` columns of one line; colours that were begun are ended.
std::string clipped(std::string_view line, size_t width);

/// Text of a stranger: control characters, which could steer the terminal, become '?'.
std::string printable(std::string_view text);
std::string printable_lines(std::string_view text); ///< as above, but lines stay lines

std::string bytes_text(uint64_t bytes);      ///< "5.6 MiB"
std::string fixed(double value, int digits); ///< "0.51"
std::string number_text(uint64_t value);
std::string counted(uint64_t n, const std::string& thing); ///< "1 token", "2 tokens"
std::string duration_text(double seconds);                 ///< "1:02:03"

/// `share` (0 to 1) of `cells` columns, filled from the left.
std::string bar(double share, size_t cells, const look& how);

/// One colour of the 256-colour table, if there is colour.
std::string painted(std::string_view text, int colour, const look& how);

/// Words in lines no wider than `width`, all but the first indented.
std::string wrapped(const std::vector<std::string>& words, const std::string& gap, size_t indent,
                    size_t width);

enum class align : uint8_t { left, right };

struct column {
  std::string title;
  align side = align::right;
};

/// Rows of cells under titles. No line is wider than the terminal: where the cells do not fit, the
/// widest left-aligned column is cut first.
class table {
 public:
  explicit table(std::vector<column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string text(const look& how) const;

 private:
  std::vector<size_t> widths(const look& how) const;

  std::vector<column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

} // namespace coel::inspect
