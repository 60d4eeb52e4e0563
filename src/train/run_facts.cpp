#include "train/run_facts.h"

#include <nlohmann/json.hpp>

namespace micrec {

using nlohmann::ordered_json;

ordered_json run_facts(const DatasetFile& dataset, const RunPlace& place) {
  ordered_json domains = ordered_json::object();
  for (const DomainInfo& domain : dataset.domains()) {
    ordered_json& told = domains[domain.name];
    told["users"] = domain.users;
    told["items"] = domain.items;
    for (const Split split : {Split::train, Split::valid, Split::test, Split::later}) {
      told[name_of(split)] = domain.interactions[static_cast<int>(split)];
    }
    ordered_json& modalities = told["modalities"] = ordered_json::object();
    for (const ModalityInfo& modality : domain.modalities) {
      modalities[modality.name] = modality.present;
    }
  }
  ordered_json facts = {{"ranks", place.ranks},
                        {"threads", place.threads},
                        {"device", place.device},
                        {"grid", place.grid}};
  facts["dataset"] = {{"path", dataset.path()},        {"fingerprint", dataset.fingerprint()},
                      {"split", dataset.split_rule()}, {"hold_out", dataset.hold_out()},
                      {"core", dataset.core()},        {"domains", std::move(domains)}};
  for (const auto& [name, version] : place.versions) facts["versions"][name] = version;
  return facts;
}

}  // namespace micrec
