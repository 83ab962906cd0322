#include "actors/tier_stores.hpp"

namespace coel::actors {

namespace {

result<model::expert_store_ptr> open_store(const std::filesystem::path& path,
                                           const served_model& m) {
  if (const auto* layout = compute::layout_of(*m.device))
    return model::expert_store::open(path, m.source, *layout);
  return {ec::unsupported, path.string() + ": " + m.device->status().name +
                               " cannot run experts as a store keeps them: leave --store out"};
}

/// The model that it is of gets it.
result<void> give(const std::filesystem::path& path,
                  const std::vector<std::shared_ptr<served_model>>& models, chosen_stores& to) {
  std::optional<error> why;
  for (size_t i = 0; i < models.size(); ++i) {
    auto opened = open_store(path, *models[i]);
    if (!opened) {
      why = why ? why : opened.err();
      continue;
    }
    if (to.stores[i])
      return {ec::bad_argument, path.string() + " and " + to.stores[i]->path().string() +
                                    " are both of " + models[i]->name + ": give one of them"};
    to.stores[i] = std::move(*opened);
    return {};
  }
  return *why;
}

} // namespace

result<chosen_stores> choose_stores(const std::vector<std::shared_ptr<served_model>>& models,
                                    const store_choice& choice) {
  chosen_stores out;
  out.stores.resize(models.size());
  for (const auto& path : choice.named)
    if (auto ok = give(path, models, out); !ok)
      return ok.err();
  for (size_t i = 0; i < models.size() && i < choice.beside.size(); ++i) {
    std::error_code ignored;
    if (out.stores[i] || !std::filesystem::exists(choice.beside[i], ignored))
      continue;
    if (auto opened = open_store(choice.beside[i], *models[i]))
      out.stores[i] = std::move(*opened);
    else
      out.notes.push_back("not used: " + opened.err().message);
  }
  return out;
}

} // namespace coel::actors
