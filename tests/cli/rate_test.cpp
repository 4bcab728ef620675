// The command `rate`, and what it is made of. That the models are right is tested in tests/core.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "cli/rate_curve.hpp"
#include "cli/rate_plot.hpp"
#include "cli/rate_reference.hpp"
#include "core/relative.hpp"
#include "site_pair.hpp"

using namespace qkd004;
using namespace qkd004::cli;
using qkd004::cli::test::has;
using qkd004::cli::test::run;
using qkd004::test::relative;

namespace {

constexpr double endless = std::numeric_limits<double>::infinity();

/// Reads a JSON text from its beginning to its end, after RFC 8259 but for escapes.
class json_reader {
 public:
  explicit json_reader(std::string_view text) : rest_{text} {}

  /// Whether the text is one value and a line end.
  bool is_valid() { return value() && rest_ == "\n"; }
  std::size_t numbers = 0;

 private:
  bool take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  bool value() {
    if (take("{")) return members("}", [this] { return string() && take(":") && value(); });
    if (take("[")) return members("]", [this] { return value(); });
    if (take("true") || take("false") || take("null")) return true;
    return rest_.starts_with('"') ? string() : number();
  }
  template <class Member>
  bool members(std::string_view end, const Member& member) {
    if (take(end)) return true;
    do {
      if (!member()) return false;
    } while (take(","));
    return take(end);
  }
  bool string() {
    if (!take("\"")) return false;
    const auto end = rest_.find_first_of("\"\\\n");
    if (end == std::string_view::npos) return false;
    rest_.remove_prefix(end);
    return take("\"");
  }
  bool number() {
    if (rest_.empty() || (rest_[0] != '-' && (rest_[0] < '0' || rest_[0] > '9'))) return false;
    double x = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), x);
    if (error != std::errc{} || !std::isfinite(x)) return false;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    ++numbers;
    return true;
  }

  std::string_view rest_;
};

/// Whether each element that begins also ends, inside the one it began in.
bool is_well_formed(std::string_view xml) {
  std::vector<std::string> open;
  for (auto at = xml.find('<'); at != std::string_view::npos; at = xml.find('<', at + 1)) {
    const auto end = xml.find('>', at);
    if (end == std::string_view::npos) return false;
    const auto tag = xml.substr(at + 1, end - at - 1);
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with('/')) {
      open.emplace_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty();
}

rate_question question_of(std::string_view model, rate_settings settings, km_range range = {}) {
  return {*find_rate_model(model), settings, range};
}

block_plan plan_of(const rate_question& q, double block_bits, double pulses = 0) {
  return {.block_bits = block_bits, .pulses = pulses, .f_ec = q.how.f_ec, .eps_per_bit = q.how.eps_per_bit};
}

}  // namespace

TEST_CASE("rate: prints the lengths of key of the literature's settings") {
  // the fixed vectors of tests/core/lim14_test.cpp
  const auto o = run({"rate", "--fixed", "--km", "0:100:50", "--block-bits", "1e7", "--pulse-rate", "1e9"});
  CHECK(o.code == 0);
  CHECK(o.err.empty());
  CHECK(o.out.starts_with("A model, nothing is measured: two decoys"));
  for (const char* number : {"5.951e-03", "5.706e-04", "5.130e-05", "5,951,", "2,851,", "2,688,", "2,403,"}) {
    INFO(number);
    CHECK(has(o.out, number));
  }
}

TEST_CASE("rate: says where there is no key, and how far there is") {
  const auto o = run({"rate", "--model", "gys", "--km", "0:160:20"});
  CHECK(o.code == 0);
  CHECK(has(o.out, "no key"));
  CHECK(has(o.out, "key up to 140.6 km"));
  CHECK(has(o.out, "reach stated by the paper: 140.55 km"));
}

TEST_CASE("rate: is one JSON object of which every number is one, wherever one asks") {
  const std::vector<std::vector<std::string>> all{
      {"--km", "0:1000:50"},
      {"--km", "0:200:25", "--block-bits", "1,1e4,1e7,1e12,inf", "--pulse-rate", "1e9"},
      {"--model", "w24", "--km", "0:400:40", "--block-bits", "1e5,inf"},
      {"--model", "w24", "--fixed", "--km", "0:400:40", "--pulses", "1,1e10,1e18"},
      {"--model", "gys", "--km", "0:1000:100"},
      {"--model", "gys-infinite", "--km", "0:1000:100"},
      {"--km", "1000", "--loss", "100", "--dark-count", "0", "--afterpulse", "0"},
      {"--km", "1000", "--loss", "3.1", "--dark-count", "0", "--afterpulse", "0", "--fixed"},
      {"--km", "0", "--fixed", "--efficiency", "1", "--dark-count", "0.5", "--misalignment", "0.5"},
      {"--km", "0", "--fixed", "--intensities", "99,50,0", "--probabilities", "0.3,0.3", "--dead-pulses",
       "4000000000"},
      {"--km", "0:10:0.01", "--fixed", "--eps-sec", "1e-100", "--eps-cor", "1e-100"}};
  for (const auto& arguments : all) {
    std::string typed;
    std::vector<std::string> command{"rate", "--json"};
    for (const auto& a : arguments) {
      typed += a + " ";
      command.push_back(a);
    }
    INFO(typed);
    const auto o = run(command);
    CHECK(o.code == 0);
    CHECK(o.err.empty());
    CHECK(o.out.starts_with("{\"schema\":1,\"measured\":false,\"model\":"));
    json_reader reader{o.out};
    CHECK(reader.is_valid());
    CHECK(reader.numbers > 10);
  }
}

TEST_CASE("rate: refuses what cannot be, and what would take for ever") {
  const std::vector<std::vector<std::string>> all{{"--km", ""},
                                                  {"--km", "x"},
                                                  {"--km", "nan"},
                                                  {"--km", "0:inf:1"},
                                                  {"--km", "-1:10:1"},
                                                  {"--km", "10:0:1"},
                                                  {"--km", "0:10:0"},
                                                  {"--km", "0:10:-1"},
                                                  {"--km", "0:1001:100"},
                                                  {"--km", "0:1000:0.99"},
                                                  {"--km", "0:1000:1e-300"},
                                                  {"--km", "0:10:1:1"},
                                                  {"--km", "0:10:1 "},
                                                  {"--model", "magic"},
                                                  {"--model", ""},
                                                  {"--block-bits", "0"},
                                                  {"--block-bits", "-5"},
                                                  {"--block-bits", "nan"},
                                                  {"--block-bits", "1e13"},
                                                  {"--block-bits", "1e7x"},
                                                  {"--block-bits", "1e1,1e2,1e3,1e4,1e5,1e6,1e7,1e8,1e9"},
                                                  {"--pulses", "0"},
                                                  {"--pulses", "nan"},
                                                  {"--pulses", "1e30"},
                                                  {"--pulses", "1e10", "--block-bits", "1e7"},
                                                  {"--model", "gys", "--block-bits", "1e7"},
                                                  {"--model", "gys", "--intensities", "0.4,0.5,0"},
                                                  {"--efficiency", "0"},
                                                  {"--efficiency", "1.1"},
                                                  {"--loss", "nan"},
                                                  {"--loss", "-1"},
                                                  {"--f-ec", "0.9"},
                                                  {"--eps-sec", "0"},
                                                  {"--eps-sec", "1e-9", "--eps-per-bit", "1e-15"},
                                                  {"--x-basis", "1"},
                                                  {"--pulse-rate", "-1"},
                                                  {"--pulse-rate", "inf"},
                                                  {"--intensities", "0.4,0.2"},
                                                  {"--intensities", "0.4,0.3,0.2"},
                                                  {"--intensities", "nan,0.2,0"},
                                                  {"--probabilities", "0.5,0.6"},
                                                  {"--probabilities", "1,0"},
                                                  {"--model", "w24", "--intensities", "0.4,0.2,0"},
                                                  {"--plot", "/nonexistent/rate.svg"}};
  for (const auto& arguments : all) {
    std::vector<std::string> command{"rate"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    INFO(arguments[0], " ", arguments[1]);
    const auto o = run(command);
    CHECK(o.code == 2);
    CHECK(o.out.empty());
    CHECK_FALSE(o.err.empty());
  }
}

TEST_CASE("rate: takes the system that is described") {
  // the program of the authors of arXiv:2405.16578 prints 4.962e6 bit/s for 10^10 pulses at 50 km
  const std::vector<std::string> command{"rate",
                                         "--model",
                                         "w24",
                                         "--fixed",
                                         "--km",
                                         "25",
                                         "--pulses",
                                         "1e10",
                                         "--loss",
                                         "0.4",
                                         "--efficiency",
                                         "1",
                                         "--dark-count",
                                         "1.6e-7",
                                         "--afterpulse",
                                         "0",
                                         "--misalignment",
                                         "0.02",
                                         "--x-basis",
                                         "0.9",
                                         "--intensities",
                                         "0.5,0.15",
                                         "--probabilities",
                                         "0.9",
                                         "--f-ec",
                                         "1.16",
                                         "--eps-sec",
                                         "1e-12",
                                         "--eps-cor",
                                         "1e-12",
                                         "--pulse-rate",
                                         "625e6"};
  const auto o = run(command);
  CHECK(o.code == 0);
  CHECK(has(o.out, " 4,961,98"));
  auto with_errors = command;
  with_errors[16] = "0.06";
  CHECK_FALSE(has(run(with_errors).out, " 4,961,98"));
}

TEST_CASE("rate: draws a picture that needs nothing else and shows on light and dark pages") {
  const cli::test::temporary_folder folder;
  const auto o =
      run({"rate", "--km", "0:200:25", "--block-bits", "1e5,1e7,inf", "--plot", folder.path("r.svg")});
  CHECK(o.code == 0);
  const auto svg = cli::test::read_file(folder.path("r.svg"));
  CHECK(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  CHECK(is_well_formed(svg));
  for (const char* part :
       {"<title>Secret key rate over fibre: a model, nothing is measured</title>", "fibre (km)",
        "secret bits per pulse", "loss (dB)", "prefers-color-scheme: dark", "block of 10⁵ sifted bits",
        "block of 10⁷ sifted bits", "endless blocks", "same formulas, other code"}) {
    INFO(part);
    CHECK(has(svg, part));
  }
  for (const char* part : {"nan", "inf ", "href", "<script", "url(http", "-0<"}) {
    INFO(part);
    CHECK_FALSE(has(svg, part));
  }
}

TEST_CASE("rate: draws something when there is no key anywhere, and when there is one distance only") {
  for (const char* model : {"lim14", "w24", "gys"}) {
    for (const km_range range : {km_range{500, 600, 100}, km_range{10, 10, 10}}) {
      const auto q = question_of(model, rate_settings::fixed, range);
      const std::vector curves{rates_of(q, plan_of(q, q.how.has_blocks ? 1e6 : endless))};
      const auto svg = to_svg(q, curves);
      INFO(model);
      CHECK(is_well_formed(svg));
      CHECK_FALSE(has(svg, "nan"));
      CHECK_FALSE(has(svg, "inf"));
      CHECK(has(svg, "10⁻³</text>"));
    }
  }
}

TEST_CASE("rate: passes through what others found") {
  struct curve {
    const char* model;
    rate_settings settings;
    double block_bits;
    double pulses;
    std::size_t references;
  };
  const curve all[]{
      {"lim14", rate_settings::optimised, 1e4, 0, 1}, {"lim14", rate_settings::optimised, 1e5, 0, 4},
      {"lim14", rate_settings::optimised, 1e6, 0, 4}, {"lim14", rate_settings::optimised, 1e7, 0, 4},
      {"lim14", rate_settings::optimised, 1e9, 0, 4}, {"lim14", rate_settings::optimised, endless, 0, 4},
      {"w24", rate_settings::fixed, 0, 1e10, 2},      {"w24", rate_settings::fixed, 0, 1e12, 2},
      {"gys", rate_settings::fixed, endless, 0, 5},   {"gys-infinite", rate_settings::fixed, endless, 0, 1}};
  for (const auto& c : all) {
    const auto q = question_of(c.model, c.settings, {0, 200, 100});
    const auto plan = plan_of(q, c.block_bits, c.pulses);
    const auto references = references_of(q, plan);
    INFO(c.model, " ", c.block_bits, " ", c.pulses);
    CHECK(references.size() == c.references);
    for (const auto& r : references) {
      INFO(r.km, " km");
      if (r.kind == reference_kind::stated_reach) {
        CHECK(*rates_of(q, plan).reach_km == relative(r.km, 0.1));
      } else {
        // half a digit of the last one there is: 1.2e-7
        CHECK(rate_at(q, plan, r.km).per_pulse == relative(r.per_pulse, r.per_pulse < 1e-6 ? 0.042 : 0.005));
      }
    }
  }
}

TEST_CASE("rate: compares nothing with a system that is another one") {
  auto q = question_of("lim14", rate_settings::optimised);
  auto plan = plan_of(q, 1e7);
  REQUIRE_FALSE(references_of(q, plan).empty());
  CHECK(references_of(question_of("lim14", rate_settings::fixed), plan).empty());
  CHECK(references_of(q, plan_of(q, 1.5e7)).empty());
  q.how.system.dark_count *= 2;
  CHECK(references_of(q, plan).empty());
  q = question_of("lim14", rate_settings::optimised);
  plan.eps_per_bit = 0;
  CHECK(references_of(q, plan).empty());
}

TEST_CASE("rate: finds where a curve ends") {
  const auto q = question_of("gys", rate_settings::fixed, {0, 200, 50});
  const auto c = rates_of(q, plan_of(q, endless));
  REQUIRE(c.reach_km);
  CHECK(*c.reach_km == relative(140.62, 2e-4));
  double before = 100;
  for (const auto& p : c.end) {
    CHECK(p.km > before);
    CHECK(p.km <= *c.reach_km);
    CHECK(p.per_pulse > 0);
    before = p.km;
  }
  const auto shorter = question_of("gys", rate_settings::fixed, {0, 100, 50});
  CHECK_FALSE(rates_of(shorter, plan_of(shorter, endless)).reach_km);
  const auto beyond = question_of("gys", rate_settings::fixed, {150, 200, 50});
  CHECK_FALSE(rates_of(beyond, plan_of(beyond, endless)).reach_km);
}

TEST_CASE("rate: reads distances as they are typed") {
  const auto r = km_range::parse("0:200:10");
  REQUIRE(r);
  CHECK(r->size() == 21);
  CHECK((*r)[20] == 200);
  CHECK(km_range::parse("0:0.3:0.1")->size() == 4);  // which is less than three tenths in binary
  CHECK(km_range::parse("3:17:5")->size() == 3);
  CHECK(km_range::parse("25")->size() == 1);
  CHECK(km_range::parse("0:30")->size() == 4);
  CHECK(km_range::parse("0:1000:1")->size() == km_range::most_points);
}
