// Two sites in one process that distil their key: decoy BB84 over simulated photons, with an eavesdropper on request.
// NOT QUANTUM-SECURE: the photons are simulated, and what follows them is real.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/software_link.hpp"

#include <cstdio>
#include <string>

#include "qkd004/in_process.hpp"

int main() {
  qkd004::software_link_options options;
  options.system.km = 25;
  std::string why;
  const auto link = qkd004::make_software_link(options, &why);
  if (!link) return std::fprintf(stderr, "%s\n", why.c_str()), 1;

  qkd004::pair_options ends;
  ends.first_source = link->first;
  ends.second_source = link->second;
  auto [a, b] = qkd004::pair(std::move(ends));

  qkd004::open_connect_request request{"qkd://alice@A", "qkd://bob@B"};
  request.quality.timeout_ms = 20'000;  // the first block takes its time
  auto at_a = a.open_connect(request);
  if (!at_a) return std::fprintf(stderr, "%s\n", at_a.error().message().c_str()), 1;
  request.stream = at_a->id();
  auto at_b = b.open_connect(request);
  if (!at_b) return std::fprintf(stderr, "%s\n", at_b.error().message().c_str()), 1;

  for (int i = 0; i < 100; ++i) {
    const auto one = at_a->next_key();
    const auto other = at_b->next_key();
    if (!one || !other) return 1;
    if (!qkd004::equal_in_constant_time(one->bytes(), other->bytes())) return 1;
  }
  const auto report = link->first->report();
  std::printf(
      "100 keys are equal at both ends; QBER %.2f %%, efficiency %.3f, %llu blocks with %llu secret bits\n",
      100 * report.qber, report.efficiency, static_cast<unsigned long long>(report.accepted),
      static_cast<unsigned long long>(report.secret));
  return 0;
}
