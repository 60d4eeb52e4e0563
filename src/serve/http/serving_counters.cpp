#include "serve/http/serving_counters.h"

#include <algorithm>
#include <sstream>

namespace micrec {
namespace {

void gauge(std::ostream& out, const char* name, const char* meaning, std::int64_t value) {
  out << "# HELP " << name << ' ' << meaning << "\n# TYPE " << name << " gauge\n"
      << name << ' ' << value << '\n';
}

}  // namespace

void ServingCounters::count(const std::string& route, int status, double seconds) {
  const auto bound = std::ranges::lower_bound(kBounds, seconds) - kBounds.begin();
  const std::lock_guard<std::mutex> lock(mutex_);
  ++requests_[{route, status}];
  Latencies& latencies = latencies_[route];
  ++latencies.within[bound];
  latencies.sum += seconds;
}

std::string ServingCounters::prometheus(const ServiceState& state) const {
  std::ostringstream out;
  const std::lock_guard<std::mutex> lock(mutex_);
  out << "# HELP micrec_requests_total Requests answered.\n# TYPE micrec_requests_total counter\n";
  for (const auto& [key, count] : requests_) {
    out << "micrec_requests_total{route=\"" << key.first << "\",status=\"" << key.second << "\"} "
        << count << '\n';
  }
  out << "# HELP micrec_request_seconds From the end of a request's headers to the end of its "
         "answer.\n# TYPE micrec_request_seconds histogram\n";
  for (const auto& [route, latencies] : latencies_) {
    std::int64_t count = 0;
    for (std::size_t bound = 0; bound <= kBounds.size(); ++bound) {
      count += latencies.within[bound];
      out << "micrec_request_seconds_bucket{route=\"" << route << "\",le=\"";
      if (bound < kBounds.size()) {
        out << kBounds[bound];
      } else {
        out << "+Inf";
      }
      out << "\"} " << count << '\n';
    }
    out << "micrec_request_seconds_sum{route=\"" << route << "\"} " << latencies.sum << '\n'
        << "micrec_request_seconds_count{route=\"" << route << "\"} " << count << '\n';
  }
  gauge(out, "micrec_people_known", "People of the dataset.", state.people);
  gauge(out, "micrec_observed_people", "People of whom something was observed.",
        state.observed_people);
  gauge(out, "micrec_observed_events", "Events observed, each pair of person and item once.",
        state.observed_events);
  gauge(out, "micrec_new_items", "Items that came after the dataset was made.", state.new_items);
  gauge(out, "micrec_waiting_items", "New items that the model does not have yet.",
        state.waiting_items);
  gauge(out, "micrec_log_bytes", "Size of the log of observed events.", state.log_bytes);
  return out.str();
}

}  // namespace micrec
