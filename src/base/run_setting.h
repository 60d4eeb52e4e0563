#pragma once

#include <string>

namespace micrec {

/// What becomes of a setting when a run is resumed.
enum class OnResume {
  kept,        ///< the run's own holds; another value is refused
  may_change,  ///< a new value holds: what is computed is the same
  recorded,    ///< a new value holds, and the run's history tells it: what is computed is another
};

/// A setting of a run, written as its flag writes it.
struct RunSetting {
  std::string name;
  std::string value;
  OnResume on_resume = OnResume::kept;
  std::string otherwise = {};  ///< its value where it is not given
};

}  // namespace micrec
