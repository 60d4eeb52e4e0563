#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace micrec {

/// The field of a command's options that a flag sets, read and written as text. What the field
/// holds when the table of flags is made is the flag's default. The field outlives it.
class FlagValue {
 public:
  enum class Kind {
    on_off,      ///< --name and --noname
    whole,       ///< a whole number
    real,        ///< a number
    whole_list,  ///< whole numbers with commas between
    words,       ///< anything else
  };

  // Not explicit: a row of a table names the field alone.
  FlagValue(bool& field);
  FlagValue(int& field);
  FlagValue(std::int64_t& field);
  FlagValue(std::uint64_t& field);
  FlagValue(double& field);
  FlagValue(std::string& field);
  // Of these the flag tells what was written, not what became of it: "3.0,7" stays so.
  FlagValue(std::vector<std::int64_t>& field);  ///< commas between
  FlagValue(std::vector<std::string>& field);   ///< commas between; empty: none
  FlagValue(std::vector<double>& field);        ///< commas between; "auto": none
  FlagValue(std::optional<double>& field);      ///< empty: nothing

  /// The value now.
  std::string text() const { return read_(); }
  /// Sets the field; false, and the field as it was, where the text is no such value.
  bool set(const std::string& text) const { return write_(text); }

  Kind kind() const { return kind_; }
  const std::string& default_text() const { return default_; }
  /// Where not empty, the only values.
  const std::vector<std::string>& choices() const { return choices_; }

 private:
  using Read = std::function<std::string()>;
  using Write = std::function<bool(const std::string&)>;

  FlagValue(Kind kind, Read read, Write write, std::vector<std::string> choices = {});
  static FlagValue as_written(Kind kind, const std::string& now, Write write);
  template <typename Number>
  friend FlagValue positive_or_auto(Number& field);
  template <typename Value>
  friend FlagValue one_of(Value& field,
                          std::type_identity_t<std::vector<std::pair<std::string, Value>>> values);

  Kind kind_;
  Read read_;
  Write write_;
  std::vector<std::string> choices_;
  std::string default_;
};

/// A number above 0, std::int64_t or double, or "auto", which the field has as 0.
template <typename Number>
FlagValue positive_or_auto(Number& field);

/// A field, as a rule an enum, of which each value has a word: one_of(config.semantic,
/// {{"before", SemanticPlace::before}, {"after", SemanticPlace::after}}).
template <typename Value>
FlagValue one_of(Value& field,
                 std::type_identity_t<std::vector<std::pair<std::string, Value>>> values) {
  std::vector<std::string> words;
  for (const auto& [word, value] : values) words.push_back(word);
  const auto read = [&field, values] {
    for (const auto& [word, value] : values) {
      if (value == field) return word;
    }
    return std::string();
  };
  const auto write = [&field, values](const std::string& text) {
    for (const auto& [word, value] : values) {
      if (word != text) continue;
      field = value;
      return true;
    }
    return false;
  };
  return {FlagValue::Kind::words, read, write, std::move(words)};
}

/// The values of an enum with the words that name_of() has for them.
template <typename Values>
auto by_name(const Values& values) {
  std::vector<std::pair<std::string, std::remove_cvref_t<decltype(*std::begin(values))>>> named;
  for (const auto& value : values) named.emplace_back(name_of(value), value);
  return named;
}

}  // namespace micrec
