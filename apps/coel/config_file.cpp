#include "apps/coel/config_file.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace coel::app {

namespace {

std::filesystem::path default_config_path() {
  const char* config = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  if (config != nullptr && *config != '\0')
    return std::filesystem::path(config) / "coel/coel.toml";
  return std::filesystem::path(home != nullptr ? home : "") / ".config/coel/coel.toml";
}

std::string text_of(const toml::node& value) {
  if (auto text = value.value<std::string>())
    return *text;
  std::ostringstream out;
  value.visit([&](const auto& v) {
    if constexpr (toml::is_value<decltype(v)>)
      out << v;
  });
  return out.str();
}

std::vector<std::string> texts_of(const toml::node& value) {
  std::vector<std::string> out;
  if (const auto* items = value.as_array())
    for (const auto& item : *items)
      out.push_back(text_of(item));
  else
    out.push_back(text_of(value));
  return out;
}

bool set_by_environment(const CLI::Option& option) {
  return !option.get_envname().empty() && std::getenv(option.get_envname().c_str()) != nullptr;
}

class toml_config : public CLI::Config {
 public:
  explicit toml_config(const CLI::App& app) : app_(&app) {}

  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }

  std::vector<CLI::ConfigItem> from_config(std::istream& in) const override try {
    std::vector<CLI::ConfigItem> found;
    auto file = toml::parse(in);
    const auto* table = file["client"].as_table();
    if (table == nullptr)
      return found;
    for (const auto& [key, value] : *table)
      add(found, std::string(key.str()), texts_of(value));
    return found;
  } catch (const toml::parse_error& e) {
    std::ostringstream where;
    where << e.source().begin;
    throw CLI::ConfigError("the configuration file is not TOML: " + std::string(e.description()) +
                               " at " + where.str(),
                           CLI::ExitCodes::ConfigError);
  }

 private:
  void add(std::vector<CLI::ConfigItem>& found, std::string name,
           const std::vector<std::string>& values) const {
    std::replace(name.begin(), name.end(), '_', '-');
    bool known = false;
    for (const auto* command : app_->get_subcommands([](const CLI::App*) { return true; })) {
      const auto* option = command->get_option_no_throw("--" + name);
      known = known || option != nullptr;
      if (option != nullptr && !set_by_environment(*option))
        found.push_back({{command->get_name()}, name, values});
    }
    if (!known)
      throw CLI::ConfigError("the configuration file has an unknown key in [client]: " + name,
                             CLI::ExitCodes::ConfigError);
  }

  const CLI::App* app_;
};

} // namespace

void read_config_file(CLI::App& app) {
  // CLI11 reads the file before it looks at the environment, hence the variable is read here.
  const char* named = std::getenv("COEL_CONFIG");
  bool required = named != nullptr && *named != '\0';
  app.set_config("--config", required ? named : default_config_path().string(),
                 "Configuration file (Env:COEL_CONFIG)", required);
  app.config_formatter(std::make_shared<toml_config>(app));
}

} // namespace coel::app
