// SPDX-License-Identifier: Apache-2.0
#include "conformance/run.hpp"

#include <exception>

namespace qkd004::conformance {

namespace {

/// Why the case cannot be run here; empty if it can.
std::string missing(const test_case& c, const target& t, const run_options& o) {
  if ((c.dialects & static_cast<unsigned>(t.spoken)) == 0) return "not in this dialect";
  if ((c.needs & need::hello) != 0 && !t.greets) return "the server does not answer HELLO";
  if ((c.needs & need::frames) != 0 && (t.uri_a.starts_with("http") || t.uri_b.starts_with("http"))) {
    return "is about octets of frames, which HTTP does not carry";
  }
  const unsigned features = need::features_of(c.needs);
  if ((features & t.features) != features) return "the server does not announce it in HELLO";
  if ((c.needs & need::both_ends) != 0 && !t.both_ends) {
    return "needs both ends of a stream, and the server of the other end was not named";
  }
  if ((c.needs & need::destructive) != 0 && !o.destructive) {
    return "may stop the server: only if it is asked for";
  }
  if ((c.needs & need::stranger) != 0 && !t.two_principals) {
    return "needs two applications that the server can tell apart, such as two certificates over TLS";
  }
  constexpr char not_ours[] = "only those who run the server can do that";
  if ((c.needs & need::cut_link) != 0 && !(t.hooks.cut_link && t.hooks.mend_link)) return not_ours;
  if ((c.needs & need::restart) != 0 && !t.hooks.restart_peer) return not_ours;
  return {};
}

std::uint64_t seed_of(std::uint64_t seed, std::string_view id) {
  std::uint64_t h = seed ^ 0xcbf2'9ce4'8422'2325;  // FNV-1a: every case has names of its own
  for (const char c : id) h = (h ^ static_cast<unsigned char>(c)) * 0x100'0000'01b3;
  return h;
}

}  // namespace

case_result run_case(const test_case& c, const target& t, const run_options& o) {
  case_result r;
  r.what = &c;
  r.mandatory = c.rule == level::standard || o.ours;
  r.why = missing(c, t, o);
  if (!r.why.empty()) return r;

  const stopwatch watch;
  bench it{t, seed_of(o.seed, c.id)};
  try {
    c.run(it);
    r.is = verdict::pass;
  } catch (const failure& f) {
    r.is = verdict::fail;
    r.expected = f.expected;
    r.got = f.got;
  } catch (const skipped& s) {
    r.why = s.why;
  } catch (const std::exception& error) {
    r.is = verdict::fail;
    r.expected = "a check that can be made";
    r.got = error.what();
  }
  if ((c.needs & need::cut_link) != 0) t.hooks.mend_link();
  it.finish();
  r.took = watch.elapsed();
  return r;
}

std::vector<case_result> run_cases(const target& t, const run_options& o) {
  std::vector<case_result> results;
  for (const auto& c : all_cases()) {
    if (o.chosen && !o.chosen(c)) continue;
    results.push_back(run_case(c, t, o));
    if (o.done) o.done(results.back());
  }
  return results;
}

tally tally_of(const std::vector<case_result>& results) {
  tally sum;
  for (const auto& r : results) {
    switch (r.is) {
      case verdict::pass: sum.passed += 1; break;
      case verdict::skip: sum.skipped += 1; break;
      case verdict::fail: (r.mandatory ? sum.failed : sum.advisory_failed) += 1; break;
    }
  }
  return sum;
}

}  // namespace qkd004::conformance
