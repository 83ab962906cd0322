// Which stores of experts (model/expert_store.hpp) a node's models are read from.
#pragma once

#include "actors/served_model.hpp"
#include "model/expert_store.hpp"

namespace coel::actors {

struct store_choice {
  std::vector<std::filesystem::path> named;  ///< each must be of one of the models
  std::vector<std::filesystem::path> beside; ///< by model; used where it is there and fits
};

struct chosen_stores {
  std::vector<model::expert_store_ptr> stores; ///< by model; null: its own files
  std::vector<std::string> notes;              ///< what was found and is not used
};

/// Errors: of a named one, those of expert_store::open; bad_argument (two of one model).
result<chosen_stores> choose_stores(const std::vector<std::shared_ptr<served_model>>& models,
                                    const store_choice& choice);

} // namespace coel::actors
