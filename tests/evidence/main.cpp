// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "evidence.hpp"

namespace {

constexpr char usage[] =
    "evidence identity|key|memory|forgeries [option...]    simulated key of the software link, looked at\n"
    "  identity     keys of both sites' applications, compared\n"
    "  key          writes key to a pipe, for programs that look at it\n"
    "  memory       one site in a process, and the most that it has resident\n"
    "  forgeries    messages between the ends forged, replayed, reflected, reordered, cut\n"
    "  --bits N          identity: delivered at least (1e9)\n"
    "  --octets N        key: so many (8388608)\n"
    "  --count N         forgeries (3000)\n"
    "  --seed N          key, forgeries: of all randomness (1)\n"
    "  --largest-mib N   memory: fail above it (256)\n"
    "  --block-bits N    sifted bits of a block\n"
    "  --sampling S      of photons: events, blocks\n"
    "  --defaults        the link's own options in place of those that make much key\n"
    "  --flip            identity: turns over one bit at one site, which must be found\n";

}  // namespace

int main(int argc, char** argv) {
  using namespace qkd004;
  const std::string what = argc > 1 ? argv[1] : "";
  evidence::arguments a;
  a.link = evidence::much_key();
  if (what == "forgeries") a.link.block_bits = 16'384;
  const option options[] = {{"bits", required_argument, nullptr, 'b'},
                            {"octets", required_argument, nullptr, 'o'},
                            {"count", required_argument, nullptr, 'c'},
                            {"seed", required_argument, nullptr, 's'},
                            {"largest-mib", required_argument, nullptr, 'm'},
                            {"block-bits", required_argument, nullptr, 'n'},
                            {"sampling", required_argument, nullptr, 'p'},
                            {"defaults", no_argument, nullptr, 'd'},
                            {"flip", no_argument, nullptr, 'f'},
                            {nullptr, 0, nullptr, 0}};
  const auto number = [] {
    return static_cast<std::uint64_t>(std::strtod(optarg, nullptr));
  };  // 1e9 is one too
  optind = 2;
  for (int o = 0; argc > 1 && (o = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (o) {
      case 'b': a.bits = number(); break;
      case 'o': a.octets = number(); break;
      case 'c': a.count = number(); break;
      case 's': a.seed = number(); break;
      case 'm': a.largest_mib = number(); break;
      case 'n': a.link.block_bits = static_cast<std::uint32_t>(number()); break;
      case 'p':
        a.link.sampling = std::string{optarg} == "events" ? photon_sampling::events : photon_sampling::blocks;
        break;
      case 'd': a.link = {}; break;
      case 'f': a.flip = true; break;
      default: std::fputs(usage, stderr); return 2;
    }
  }
  if (what == "identity") return evidence::identity(a);
  if (what == "key") return evidence::key(a);
  if (what == "memory") return evidence::memory(a);
  if (what == "forgeries") return evidence::forgeries(a);
  std::fputs(usage, stderr);
  return 2;
}
