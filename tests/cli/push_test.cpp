// Push mode with real processes: two devices, two key managers that they post to, and an application at each of these.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <signal.h>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/http/client.hpp"
#include "net/proxy.hpp"
#include "qkd004/client.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/net/site.hpp"
#include "site_pair.hpp"
#include "wire/base64.hpp"
#include "wire/push_body.hpp"

namespace {

using namespace qkd004;  // NOLINT: tests only
namespace cli_test = cli::test;
namespace http = net::http;
using cli::process;
using cli_test::patience;
using namespace std::chrono_literals;

constexpr char key_material[] = "/api/v1/qkd/etsi004/key-material";

/// Stands before a key manager: passes on what devices post, or does not, and remembers it.
class front {
 public:
  enum class doing { passes, fails, keeps, passes_twice };

  front() : work_{context_.get_executor()} {
    net::site_options o;
    o.manager.node = "front";
    o.listen = {"http://127.0.0.1:0"};
    o.self_link = true;
    o.memory.allow_unlocked = true;
    site_.emplace(context_, std::move(o));
    http::resource r;
    r.method = "POST";
    r.path = key_material;
    r.serve = [this](const http::request& asked, http::answer to) { on_post(asked, std::move(to)); };
    REQUIRE(site_->add(std::move(r)));
    std::string why;
    const auto started = site_->start(&why);
    REQUIRE_MESSAGE(started, why);
    thread_ = std::thread{[this] { context_.run(); }};
  }
  ~front() {
    asio::post(context_, [this] {
      kept_.clear();
      if (to_) to_->stop();
      site_->stop();
    });
    work_.reset();
    thread_.join();
  }
  front(const front&) = delete;
  front& operator=(const front&) = delete;

  [[nodiscard]] std::string address() const { return site_->addresses().at(0); }
  void lead_to(const std::string& uri) {
    http::client_options o;
    o.uri = uri;
    auto made = http::client::make(context_, arena_, std::move(o));
    REQUIRE(made);
    const std::lock_guard lock{mutex_};
    to_ = std::move(*made);
  }
  /// What it kept is passed on when it keeps nothing any more.
  void now(doing what) {
    const std::lock_guard lock{mutex_};
    doing_ = what;
    if (what == doing::keeps) return;
    for (auto& [body, to] : std::exchange(kept_, {})) pass(body, std::move(to), 1);
  }
  /// Waits until so many more have come.
  [[nodiscard]] bool wait_posts(std::size_t more) {
    std::unique_lock lock{mutex_};
    const std::size_t wanted = posts_ + more;
    return changed_.wait_for(lock, patience, [&] { return posts_ >= wanted; });
  }

  /// The keys that were acknowledged, as base64, by index: that key among them, which an application may have before the
  /// device knows.
  [[nodiscard]] std::map<std::uint32_t, std::string> acknowledged(const std::string& key) {
    std::unique_lock lock{mutex_};
    CHECK(changed_.wait_for(lock, patience, [&] {
      return std::any_of(acknowledged_.begin(), acknowledged_.end(),
                         [&](const auto& a) { return a.second == key; });
    }));
    return acknowledged_;
  }

 private:
  void on_post(const http::request& asked, http::answer to) {
    const std::lock_guard lock{mutex_};
    ++posts_;
    changed_.notify_all();
    const std::string body{asked.text()};
    if (doing_ == doing::fails) return to.send({500, "application/json", R"({"status":4})"});
    if (doing_ == doing::keeps) {
      kept_.emplace_back(body, std::move(to));
      return;
    }
    pass(body, std::move(to), doing_ == doing::passes_twice ? 2 : 1);
  }
  void pass(const std::string& body, http::answer to, int times) {
    auto shared = std::make_shared<http::answer>(std::move(to));
    http::client_request r;
    r.path = key_material;
    r.text = body;
    to_->send(std::move(r), [this, body, shared, times](const http::client_response& a) {
      const std::lock_guard lock{mutex_};
      if (times > 1) return pass(body, std::move(*shared), times - 1);
      if (a.error) return shared->send({502, "application/json", R"({"status":4})"});
      if (a.status == 201) {
        const auto m = reader_.key_material(std::as_bytes(std::span{body}));
        REQUIRE(m);
        std::string text(wire::base64::encoded_size(m->key.size()), ' ');
        wire::base64::encode(m->key, text);
        acknowledged_[m->index] = text;
        changed_.notify_all();
      }
      http::response out{a.status, a.content_type, std::string{a.text()}};
      if (!a.retry_after.empty()) out.fields.push_back({"Retry-After", a.retry_after});
      shared->send(std::move(out));
    });
  }

  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  secret_arena arena_{{std::size_t{8} << 20, true}};
  wire::push::reader reader_{arena_};
  std::optional<net::site> site_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<http::client> to_;
  doing doing_ = doing::passes;
  std::deque<std::pair<std::string, http::answer>> kept_;
  std::size_t posts_ = 0;
  std::map<std::uint32_t, std::string> acknowledged_;
};

struct served_site {
  std::string name;
  std::string pull;  ///< where it speaks qkd004://
  std::string push;  ///< where it speaks http://
  std::optional<process> runs;
};

/// The four processes; the devices post to `to[0]` and `to[1]`.
struct four {
  struct options {
    std::string device_source = "kind = 'seeded'\nsecret_file = 'link.secret'\nrate_bps = 1_000_000\n";
    std::string of_alice;
    std::string of_bob;
    std::string push;    ///< of the devices
    std::string source;  ///< of the key managers
    bool is_distilled = false;
  };

  four(options o, std::array<std::string, 2> to) : settings{std::move(o)}, posts_to{std::move(to)} {
    std::string why;
    const auto secret = settings.is_distilled
                            ? cli::create_auth_key(folder.path("link.secret"), cli::usual_auth_key, &why)
                            : cli::create_secret(folder.path("link.secret"), &why);
    REQUIRE_MESSAGE(secret, why);
    for (const std::size_t n : {1U, 0U}) start_device(n);
    for (const std::size_t n : {1U, 0U}) start_kms(n);
  }
  ~four() {
    for (auto& d : {&devices[0], &devices[1], &kms[0], &kms[1]}) {
      if (d->runs) d->runs->signal(SIGTERM);
    }
    for (auto& d : {&devices[0], &devices[1], &kms[0], &kms[1]}) {
      if (d->runs) CHECK(d->runs->wait_exit(patience) == 0);
    }
  }

  void start_device(std::size_t n) {
    const std::string other = n == 0 ? "dev-b" : "dev-a";
    serve(devices[n], other, n == 0 ? devices[1].pull : "",
          settings.device_source + (n == 0 ? settings.of_alice : settings.of_bob) + "[push]\n" +
              settings.push + "[[push.key_manager]]\nuri = 'qkd://kms-a@dev-a'\naddress = '" + posts_to[n] +
              "'\n");
  }
  void start_kms(std::size_t n) {
    serve(kms[n], n == 0 ? "kms-b" : "kms-a", n == 0 ? kms[1].pull : "",
          "kind = 'push'\ndevice = '" + devices[n].push +
              "'\nsource = 'qkd://kms-a@dev-a'\ndestination = 'qkd://kms-b@dev-b'\nbegins = " +
              (n == 0 ? "true" : "false") + "\nsecurity_class = 'simulated-insecure'\n" + settings.source);
  }
  static void kill(served_site& d) {
    d.runs->signal(SIGKILL);
    REQUIRE(d.runs->wait_exit(patience) == 128 + SIGKILL);
  }
  /// A second start listens where the first one did.
  void serve(served_site& d, const std::string& peer, const std::string& address, const std::string& rest) {
    const std::string file = folder.path(d.name + ".toml");
    const auto at = [](const std::string& uri, const char* scheme) {
      return uri.empty() ? std::string{scheme} + "://127.0.0.1:0" : uri;
    };
    cli_test::write_file(
        file, "node = '" + d.name + "'\nlisten = ['" + at(d.pull, "qkd004") + "', '" + at(d.push, "http") +
                  "']\n[memory]\nallow_unlocked = true\n[[peer]]\nnode = '" + peer + "'\n" +
                  (address.empty() ? "" : "address = '" + address + "'\n") + "[peer.source]\n" + rest);
    d.runs.emplace(
        cli_test::start(folder, d.name + ".log", {"serve", "--config", file, "--log-level", "debug"}));
    for (auto* const uri : {&d.pull, &d.push}) {
      const auto line = d.runs->wait_line(patience);
      INFO(log(d));
      REQUIRE(line);
      REQUIRE(line->starts_with("listening "));
      *uri = line->substr(10);
    }
  }
  [[nodiscard]] std::string log(const served_site& d) const {
    return cli_test::read_file(folder.path(d.name + ".log"));
  }

  cli_test::temporary_folder folder;
  options settings;
  std::array<std::string, 2> posts_to;
  std::array<served_site, 2> devices{served_site{"dev-a", {}, {}, {}}, served_site{"dev-b", {}, {}, {}}};
  std::array<served_site, 2> kms{served_site{"kms-a", {}, {}, {}}, served_site{"kms-b", {}, {}, {}}};
};

/// An application at each of two sites, with one stream between them.
struct applications {
  applications(const std::array<served_site, 2>& at, const char* from, const char* to)
      : source{from}, destination{to} {
    open(at);
  }
  void open(const std::array<served_site, 2>& at) {
    ends.clear();
    key_stream_id id;
    for (const auto& d : at) {
      auto exchange = net::connect(d.pull, arena);
      REQUIRE(exchange);
      open_connect_request r{source, destination, {}, id};
      r.quality.timeout_ms = 15'000;
      auto stream = client{*exchange, arena}.open_connect(r);
      REQUIRE_MESSAGE(stream, stream.error().message());
      id = stream->id();
      ends.push_back(std::move(*stream));
    }
  }
  /// The same keys at both ends, none that was there before; as base64, behind those of before.
  void read(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto a = ends[0].next_key();
      REQUIRE_MESSAGE(a, a.error().message());
      const auto b = ends[1].get_key(a->index);
      REQUIRE_MESSAGE(b, b.error().message());
      CHECK(equal_in_constant_time(a->bytes(), b->bytes()));
      std::string text(wire::base64::encoded_size(a->bytes().size()), ' ');
      wire::base64::encode(a->bytes(), text);
      CHECK(seen.insert(text).second);
      keys.push_back(std::move(text));
    }
  }

  std::string source;
  std::string destination;
  secret_arena arena{{std::size_t{8} << 20, true}};
  std::vector<key_stream> ends;
  std::set<std::string> seen;
  std::vector<std::string> keys;
};

/// Where `key` is among those that were posted.
std::optional<std::uint32_t> index_of(const std::map<std::uint32_t, std::string>& posted,
                                      const std::string& key) {
  const auto it = std::find_if(posted.begin(), posted.end(), [&](const auto& p) { return p.second == key; });
  return it == posted.end() ? std::nullopt : std::optional{it->first};
}

/// The applications got every key from index 0 on, in order: nothing was lost, nothing came twice.
void check_all_there(applications& apps, front& before) {
  const auto posted = before.acknowledged(apps.keys.back());
  for (std::size_t i = 0; i < apps.keys.size(); ++i) {
    const auto it = posted.find(static_cast<std::uint32_t>(i));
    REQUIRE(it != posted.end());
    CHECK(it->second == apps.keys[i]);
  }
}

constexpr char alice[] = "qkd://alice@kms-a";
constexpr char bob[] = "qkd://bob@kms-b";

}  // namespace

TEST_CASE("push: four processes, keys that a link distils, and the same ones for both applications") {
  front a;
  front b;
  four::options o;
  o.is_distilled = true;
  o.device_source = "kind = 'software'\nauth_key_file = 'link.secret'\nkm = 0\nblock_bits = 262_144\n";
  o.of_alice = "role = 'alice'\nauth_state_file = 'a.state'\n";
  o.of_bob = "role = 'bob'\nauth_state_file = 'b.state'\n";
  four w{o, {a.address(), b.address()}};
  a.lead_to(w.kms[0].push);
  b.lead_to(w.kms[1].push);
  applications apps{w.kms, alice, bob};
  apps.read(100);
  check_all_there(apps, a);
  check_all_there(apps, b);
  for (const served_site& d : w.kms) CHECK(cli_test::has(w.log(d), "is armed"));
}

TEST_CASE("push: a key manager that answers 500 for two seconds, and one that keeps its devices waiting") {
  front a;
  front b;
  four w{{}, {a.address(), b.address()}};
  a.lead_to(w.kms[0].push);
  b.lead_to(w.kms[1].push);
  applications apps{w.kms, alice, bob};
  apps.read(200);
  applications others{w.devices, "qkd://carol@dev-a", "qkd://dave@dev-b"};

  b.now(front::doing::fails);
  const auto until = std::chrono::steady_clock::now() + 2s;
  while (std::chrono::steady_clock::now() < until) others.read(20);  // no harm to them
  b.now(front::doing::passes);
  apps.read(1'500);  // more than both key managers had in store

  a.now(front::doing::keeps);
  REQUIRE(a.wait_posts(1));
  others.read(200);
  a.now(front::doing::passes);
  apps.read(1'500);

  a.now(front::doing::passes_twice);  // and 201 comes twice
  apps.read(1'500);
  check_all_there(apps, a);
  check_all_there(apps, b);
}

TEST_CASE("push: a key manager that is killed and started again takes up what it had not acknowledged") {
  front a;
  front b;
  four w{{}, {a.address(), b.address()}};
  a.lead_to(w.kms[0].push);
  b.lead_to(w.kms[1].push);
  applications apps{w.kms, alice, bob};
  apps.read(300);
  for (const std::size_t which : {1U, 0U}) {
    four::kill(w.kms[which]);
    (which == 0 ? a : b).now(front::doing::keeps);
    w.start_kms(which);
    (which == 0 ? a : b).now(front::doing::passes);
    apps.open(w.kms);
    apps.read(1'500);
  }
  // still the devices' first stream: its indices go on, and are in order, none twice
  for (front* const f : {&a, &b}) {
    const auto posted = f->acknowledged(apps.keys.back());
    std::uint32_t expected = 0;
    for (const auto& [index, key] : posted)
      CHECK(index == expected++);  // none was lost before it was acknowledged
    std::optional<std::uint32_t> last;
    for (std::size_t i = 0; i < apps.keys.size(); i += 50) {
      const auto index = index_of(posted, apps.keys[i]);
      REQUIRE(index);
      CHECK((!last || *last < *index));
      last = index;
    }
  }
}

TEST_CASE("push: the index wraps between real processes") {
  front a;
  front b;
  four::options o;
  o.push = "first_index = 4_294_967_200\n";
  o.source = "first_index = 4_294_967_200\n";
  four w{o, {a.address(), b.address()}};
  a.lead_to(w.kms[0].push);
  b.lead_to(w.kms[1].push);
  applications apps{w.kms, alice, bob};
  apps.read(300);
  const auto posted = a.acknowledged(apps.keys.back());
  for (std::size_t i = 0; i < apps.keys.size(); ++i) {
    const auto it = posted.find(static_cast<std::uint32_t>(4'294'967'200U + i));
    REQUIRE(it != posted.end());
    CHECK(it->second == apps.keys[i]);
  }
  CHECK(posted.contains(0xffff'ffffU));
  CHECK(posted.contains(0));
}

TEST_CASE("push: answers that come twice on the wire acknowledge nothing that did not arrive") {
  test::proxy a;
  test::proxy b;
  const auto as_http = [](const std::string& uri) { return "http" + uri.substr(uri.find("://")); };
  four w{{}, {as_http(a.address()), as_http(b.address())}};
  a.lead_to("qkd004" + w.kms[0].push.substr(4));
  b.lead_to("qkd004" + w.kms[1].push.substr(4));
  a.repeat_answers();
  applications apps{w.kms, alice, bob};
  apps.read(500);
  CHECK_FALSE(cli_test::has(w.log(w.devices[0]), "ALARM"));
}

TEST_CASE(
    "push: a device that is killed and started again is given a new stream, and the applications go on") {
  front a;
  front b;
  four w{{}, {a.address(), b.address()}};
  a.lead_to(w.kms[0].push);
  b.lead_to(w.kms[1].push);
  applications apps{w.kms, alice, bob};
  apps.read(300);
  four::kill(w.devices[0]);
  w.start_device(0);
  apps.read(2'000);  // with the same stream of theirs
}
