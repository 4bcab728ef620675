// qkd004: the library from the command line. Here is what may be typed; each command is in a file of its own.
// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <signal.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>

#include "cli/certs.hpp"
#include "cli/demo.hpp"
#include "cli/demo_application.hpp"
#include "cli/demo_qos.hpp"
#include "cli/doctor.hpp"
#include "cli/exit_code.hpp"
#include "cli/open_get_close.hpp"
#include "cli/print.hpp"
#include "cli/rate.hpp"
#include "cli/secret.hpp"
#include "cli/serve.hpp"
#include "qkd004/metadata.hpp"
#include "qkd004/version.hpp"

namespace {

using namespace qkd004;
using namespace qkd004::cli;

/// A range that the help names in words.
template <class Number>
CLI::Validator between(Number least, Number most) {
  return CLI::Range(least, most).description("");
}

void add_log_level(CLI::App& command, std::string& level, const std::string& what, const std::string& usual) {
  command.add_option("--log-level", level, what + ": debug, info, notice, warning or error")
      ->check(CLI::IsMember({"debug", "info", "notice", "warning", "error"}).description(""))
      ->type_name("LEVEL")
      ->default_str(usual);
}

/// Who an application is, and whom it takes for the key manager at HOST. Returns `--certificate`.
CLI::Option* add_tls(CLI::App& command, net::tls_options& tls, std::string& server) {
  auto* const certificate =
      command.add_option("--certificate", tls.certificate, "for TLS: this application's, PEM")
          ->type_name("FILE");
  auto* const key =
      command.add_option("--key", tls.key, "its private key, which nobody else may read")->type_name("FILE");
  auto* const authority =
      command.add_option("--authority", tls.authority, "who must have certified the key manager")
          ->type_name("FILE");
  for (auto* const one : {certificate, key, authority}) {
    for (auto* const other : {certificate, key, authority}) {
      if (one != other) one->needs(other);
    }
  }
  command
      .add_option("--server", server,
                  "URI in the key manager's certificate, such as qkd://site-a; else it has to name HOST")
      ->needs(certificate)
      ->type_name("URI");
  return certificate;
}

/// Every command of an application has these.
void add_server(CLI::App& command, server_options& o) {
  command
      .add_option(
          "--uri", o.uri,
          "the key manager: qkd004://HOST:PORT, over TLS qkd004s://HOST:PORT, a Unix socket unix:/PATH, or "
          "http://HOST:PORT and https://HOST:PORT")
      ->required()
      ->type_name("URI");
  add_tls(command, o.tls, o.server);
  command.add_flag("--allow-insecure", o.allow_insecure, "plain TCP off loopback");
  command.add_flag("--allow-unlocked", o.allow_unlocked,
                   "go on without locked memory: key may reach swap space");
}

void add_ends(CLI::App& command, open_connect_request& o) {
  command.add_option("--source", o.source, "URI of the application at one end, such as qkd://alice@site-a")
      ->required()
      ->type_name("URI");
  command.add_option("--destination", o.destination, "URI of the application at the other end")
      ->required()
      ->type_name("URI");
}

CLI::Option* add_ksid(CLI::App& command, key_stream_id& id) {
  const auto read = [&id](const std::string& text) {
    const auto parsed = key_stream_id::parse(text);
    if (!parsed || parsed->is_null()) {
      throw CLI::ValidationError{"--ksid",
                                 "'" + text + "' is not a Key_stream_ID (8-4-4-4-12 hexadecimal digits)"};
    }
    id = *parsed;
  };
  return command.add_option_function<std::string>("--ksid", read, "the Key_stream_ID")->type_name("KSID");
}

/// What was typed, and which command is to run.
struct command_line {
  CLI::App app{"Quantum key distribution, application interface after ETSI GS QKD 004 V2.1.1", "qkd004"};
  std::function<exit_code()> chosen;

  serve_options serve;
  open_options open;
  get_options get;
  close_options close;
  secret_command_options secret;
  certs_options certs;
  demo_options demo;
  bool with_qos = false;
  std::size_t qos_seconds = demo_qos_options{}.seconds;
  application_options application;
  doctor_options doctor;
  rate_options forecast;

  command_line() {
    app.set_version_flag("--version", std::string{"qkd004 " QKD004_VERSION_STRING});
    app.require_subcommand(1);
    app.get_formatter()->column_width(28);
    app.footer(std::string{"Example:\n  qkd004 demo\n\n"} + exit_codes_help);
    add_serve();
    add_open();
    add_get();
    add_close();
    add_secret();
    add_certs();
    add_demo();
    add_demo_application();
    add_doctor();
    add_rate();
  }
  command_line(const command_line&) = delete;
  command_line& operator=(const command_line&) = delete;
  ~command_line() = default;

 private:
  CLI::App& add(const std::string& name, const std::string& what, std::function<exit_code()> run) {
    auto* const command = app.add_subcommand(name, what);
    command->callback([this, run] { chosen = run; });
    return *command;
  }
  static void end_help(CLI::App& command, const std::string& notes, const std::string& example) {
    command.footer((notes.empty() ? "" : notes + "\n\n") + "Example:\n  qkd004 " + example + "\n\n" +
                   exit_codes_help);
  }

  void add_serve() {
    CLI::App& c = add("serve", "Run one site's key manager until SIGINT or SIGTERM",
                      [this] { return cli::serve(serve); });
    c.add_option("--config", serve.config, "the site's TOML file")->required()->type_name("FILE");
    c.add_flag("--check", serve.check, "only check the file; opens nothing");
    c.add_option_function<int>(
         "--link-report", [this](int ms) { serve.link_report = std::chrono::milliseconds{ms}; },
         "so often a line of JSON on standard output about each software link, in ms")
        ->expected(0, 1)
        ->default_str("1000")
        ->check(between(10, 3'600'000))
        ->type_name("[MS]");
    add_log_level(c, serve.log_level, "least level logged to standard error", "info");
    c.add_option(
         "--log-format", serve.log_format,
         "of these lines: plain, journal (levels as sd-daemon(3) has them), or auto: the latter if they "
         "go there")
        ->check(CLI::IsMember({"auto", "plain", "journal"}).description(""))
        ->type_name("FORMAT")
        ->default_str("auto");
    end_help(
        c,
        "Prints 'listening URI' for each listener once it accepts connections. Level and format come before "
        "those of the file ([log]). As a service of systemd it says when it is ready and that it lives "
        "(NOTIFY_SOCKET, WATCHDOG_USEC), and listeners such as qkd004+systemd:NAME are sockets of its socket "
        "unit (LISTEN_FDS).",
        "serve --config examples/site-a.toml");
  }

  void add_open() {
    CLI::App& c = add("open", "OPEN_CONNECT: open a key stream, print its Key_stream_ID, leave it open",
                      [this] { return open_stream(open); });
    qos& q = open.request.quality;
    q.metadata_mimetype = metadata_json;
    add_server(c, open.server);
    add_ends(c, open.request);
    add_ksid(c, open.request.stream);
    c.add_option("--chunk", q.key_chunk_size,
                 "octets of every key (0, here and below: the key manager chooses)")
        ->type_name("N");
    c.add_option("--max-bps", q.max_bps, "bit/s, the most that will be taken")->type_name("N");
    c.add_option("--min-bps", q.min_bps, "bit/s, the least that is needed")->type_name("N");
    c.add_option("--jitter", q.jitter, "bit/s, the largest deviation of the rate")->type_name("N");
    c.add_option("--priority", q.priority, "larger is more urgent")->type_name("N");
    c.add_option("--timeout", q.timeout_ms, "ms, any call that takes longer fails")->type_name("MS");
    c.add_option("--ttl", q.ttl_s, "s, life of a key that nobody takes")->type_name("S");
    c.add_option("--mimetype", q.metadata_mimetype, "of the metadata; '' for none")
        ->type_name("TYPE")
        ->default_str(q.metadata_mimetype);
    c.add_flag("--no-wait", open.request.no_wait, "with --ksid: do not wait for the other end");
    c.add_flag("--strict-once", open.request.strict_once, "a key is erased as soon as it was sent");
    c.add_flag("--json", open.json, "everything as one JSON object on standard output");
    end_help(
        c, "Status and QoS go to standard error. If the QoS cannot be met, a counter-proposal is shown.",
        "open --uri qkd004://127.0.0.1:25575 --source qkd://alice@site-a --destination qkd://bob@site-b");
  }

  void add_get() {
    CLI::App& c = add("get", "GET_KEY: take keys of a stream that this end or the other opened",
                      [this] { return get_keys(get); });
    get.request.quality.timeout_ms = qos_defaults::timeout_ms;
    add_server(c, get.server);
    add_ends(c, get.request);
    add_ksid(c, get.request.stream)->required();
    c.add_option("-n", get.count, "how many keys")
        ->check(between(1, 1'000'000'000))
        ->type_name("N")
        ->default_str("1");
    c.add_option("--index", get.index, "from this index on, instead of the next that was not taken")
        ->check(between(std::uint64_t{0}, last_index))
        ->type_name("I");
    c.add_option("--timeout", get.request.quality.timeout_ms,
                 "ms to wait for a stream that neither end has opened yet")
        ->check(between(1, 3'600'000))
        ->type_name("MS")
        ->default_str("5000");
    c.add_flag("--show-keys", get.show_keys, "print the keys themselves");
    c.add_option("--out", get.out,
                 "write the octets of the keys, and nothing else, to a new file of mode 0600")
        ->type_name("FILE");
    end_help(
        c,
        "Prints index, length, age and the first 16 hexadecimal digits of the SHA-256 of each key: whoever\n"
        "sees them can check a guess of the key, and learns nothing else. The stream stays open.",
        "get --uri qkd004://127.0.0.1:25575 --source qkd://alice@site-a --destination qkd://bob@site-b "
        "--ksid KSID -n 3");
  }

  void add_close() {
    CLI::App& c = add("close", "CLOSE: give this end of a key stream up; its unread keys are destroyed",
                      [this] { return close_stream(close); });
    add_server(c, close.server);
    add_ksid(c, close.stream)->required();
    end_help(c, "", "close --uri qkd004://127.0.0.1:25575 --ksid KSID");
  }

  void add_secret() {
    CLI::App& c = add("secret", "Create the secret file that both sites of a link share",
                      [this] { return cli::secret(secret); });
    c.add_option("file", secret.path, "must not exist yet; gets mode 0600")->required()->type_name("FILE");
    auto* const auth = c.add_flag("--auth", secret.auth,
                                  "the first authentication key of a software link, which nothing else may "
                                  "use; else the secret of a seeded key source");
    c.add_option("--octets", secret.octets, "of the authentication key, 512 to 1048576")
        ->needs(auth)
        ->check(between(least_auth_key, largest_auth_key))
        ->type_name("N")
        ->default_str(std::to_string(usual_auth_key));
    end_help(c, "Both sites of the link need the same file; bring it over by a way you trust.",
             "secret examples/link.secret");
  }

  void add_certs() {
    CLI::App& c =
        add("certs", "Make a certificate authority, and certificates for two sites and their applications",
            [this] { return cli::certs(certs); });
    c.add_option("folder", certs.folder, "for the files, of which none may be there yet")
        ->required()
        ->type_name("DIR");
    c.add_option("--node-a", certs.node_a, "node id of one site")
        ->type_name("NODE")
        ->default_str(certs.node_a);
    c.add_option("--node-b", certs.node_b, "node id of the other")
        ->type_name("NODE")
        ->default_str(certs.node_b);
    c.add_option("--application", certs.applications,
                 "an application's URI, as often as there are some; else alice at one site, bob at the other")
        ->type_name("URI")
        ->allow_extra_args(false);
    c.add_option("--host", certs.hosts,
                 "name or IP address of the sites, as often as needed; else localhost, 127.0.0.1 and ::1")
        ->type_name("HOST")
        ->allow_extra_args(false);
    c.add_option("--days", certs.days, "how long they are valid")
        ->check(between(1, 36'500))
        ->type_name("N")
        ->default_str("365");
    end_help(
        c,
        "For trials and small set-ups: it signs once, and can neither renew nor revoke. Names on standard\n"
        "output are of files of mode 0600: NAME.pem and NAME.key of 'authority', the two nodes, and each\n"
        "application under its name. Keep authority.key offline: with it anybody is any site.",
        "certs examples/tls/certs");
  }

  void add_demo() {
    CLI::App& c = add("demo", "Show keys travelling between two sites, in four processes", [this] {
      if (!with_qos) return cli::demo(demo);
      return cli::demo_qos({qos_seconds, demo.tls, demo.keep, demo.log_level});
    });
    auto* const keys =
        c.add_option("--keys", demo.count, "how many keys each application takes, at most 10 million")
            ->check(between(1, 10'000'000))
            ->type_name("N")
            ->default_str("1000");
    auto* const chunk = c.add_option("--chunk", demo.chunk, "octets of every key, at most 65536")
                            ->check(between(1, 65'536))
                            ->type_name("N")
                            ->default_str("32");
    auto* const km = c.add_option("--km", demo.km, "of fibre between the sites, 0 to 1000")
                         ->check(between(0.0, 1'000.0))
                         ->type_name("KM")
                         ->default_str("25");
    auto* const block = c.add_option("--block-bits", demo.block_bits,
                                     "sifted bits that are distilled at a time, 65536 to 134217728")
                            ->check(between(65'536U, 1U << 27U))
                            ->type_name("N")
                            ->default_str(std::to_string(demo.block_bits));
    auto* const eve =
        c.add_option("--eve", demo.eve,
                     "share of the photons, 0 to 1, that somebody measures and sends again: with 0.5 no key "
                     "comes, and that is the right end")
            ->check(between(0.0, 1.0))
            ->type_name("Q")
            ->default_str("0");
    auto* const rate =
        c.add_option(
             "--rate", demo.rate_bps,
             "instead of distilling: a link of so many bit/s that draws both ends from one secret; 0: "
             "as fast as asked")
            ->type_name("BPS");
    for (auto* const one : {km, block, eve}) rate->excludes(one);
    c.add_flag("--tls", demo.tls,
               "over TLS, with certificates made for this, instead of plain TCP on loopback");
    auto* const show = c.add_flag("--show-keys", demo.show_keys, "print the first keys of each end");
    c.add_option("--keep", demo.keep,
                 "a new folder (mode 0700) for configurations, logs and keys, which stays")
        ->type_name("DIR");
    auto* const qos = c.add_flag(
        "--qos", with_qos, "instead: three streams of different QoS on a link that is too small for all");
    for (auto* const one : {keys, chunk, km, block, eve, rate, show}) qos->excludes(one);
    c.add_option("--seconds", qos_seconds, "with --qos: how long it measures, 3 to 600")
        ->check(between(std::size_t{3}, std::size_t{600}))
        ->needs(qos)
        ->type_name("N")
        ->default_str(std::to_string(qos_seconds));
    add_log_level(c, demo.log_level, "of the sites, whose logs are shown if something fails", demo.log_level);
    end_help(c,
             "The photons are simulated, and what distils key from them is real: sifting, reconciliation,\n"
             "verification, privacy amplification, authentication. Who sees the simulated photons has the\n"
             "key: these keys protect nothing. With --qos, and with --rate, nothing is distilled.",
             "demo --keys 1000");
  }

  /// Not in the help: what the demonstration starts two of.
  void add_demo_application() {
    CLI::App& c = add("demo-application", "One application of the demonstration",
                      [this] { return cli::demo_application(application); });
    c.group("");
    add_server(c, application.server);
    add_ends(c, application.request);
    c.add_flag("--join", application.join);
    c.add_flag("--accept-counter", application.accept_counter);
    c.add_flag("--until-told", application.until_told);
    c.add_option("--keys", application.count)->check(between(0, 10'000'000));
    c.add_option("--show", application.show);
    c.add_option("--chunk", application.request.quality.key_chunk_size);
    c.add_option("--max-bps", application.request.quality.max_bps);
    c.add_option("--min-bps", application.request.quality.min_bps);
    c.add_option("--jitter", application.request.quality.jitter);
    c.add_option("--priority", application.request.quality.priority);
    c.add_option("--timeout", application.request.quality.timeout_ms);
    c.add_option("--out", application.out);
  }

  void add_doctor() {
    CLI::App& c = add("doctor", "Examine a GS QKD 004 server, of this program or any other",
                      [this] { return cli::doctor(doctor); });
    CLI::Option* const list = c.add_flag("--list", doctor.list,
                                         "print every case with clause, level and needs, and examine nobody");
    c.add_option("uri", doctor.uri,
                 "the server: qkd004://HOST:PORT, qkd004s://HOST:PORT, unix:/PATH, http://HOST:PORT or "
                 "https://HOST:PORT")
        ->type_name("URI");
    auto* const peer =
        c.add_option("--peer", doctor.peer,
                     "the server of the other end; without it the one server is asked for both ends")
            ->type_name("URI");
    auto* const certificate = add_tls(c, doctor.tls, doctor.server);
    auto* const peer_certificate =
        c.add_option("--peer-certificate", doctor.peer_certificate,
                     "of the application at the other end, if it is another one, of the same authority")
            ->needs(certificate)
            ->type_name("FILE");
    auto* const peer_key = c.add_option("--peer-key", doctor.peer_key, "its private key")
                               ->needs(peer_certificate)
                               ->type_name("FILE");
    peer_certificate->needs(peer_key);
    c.add_option("--peer-server", doctor.peer_server, "URI in the certificate of --peer")
        ->needs(peer)
        ->needs(certificate)
        ->type_name("URI");
    c.add_option("--dialect", doctor.dialect,
                 "forge (version 2.1.1), qubip (1.0.1), or auto: what is answered")
        ->check(CLI::IsMember({"auto", "forge", "qubip"}).description(""))
        ->type_name("NAME")
        ->default_str(doctor.dialect);
    c.add_option("--source", doctor.source, "URI of the application at the server's end")->type_name("URI");
    c.add_option("--destination", doctor.destination, "URI of the application at the other end")
        ->type_name("URI");
    c.add_option("--timeout", doctor.timeout_ms, "ms to wait for an answer, beyond the QoS Timeout of a call")
        ->check(between(100, 600'000))
        ->type_name("MS")
        ->default_str("5000");
    c.add_option("--only", doctor.only, "a case or a group of cases; may be given again")
        ->allow_extra_args(false)
        ->type_name("ID");
    c.add_option("--seed", doctor.seed, "of fresh names and of noise, to repeat what failed")->type_name("N");
    c.add_flag("--ours", doctor.ours, "what qkd004 decides where the standard is silent is mandatory, too");
    c.add_flag("--destructive", doctor.destructive,
               "send the octet that stops the reference code's server, too");
    c.add_flag("--json", doctor.json, "one JSON object on standard output");
    c.add_option("--html", doctor.html, "write the outcome as a page, too")->type_name("FILE");
    c.parse_complete_callback([this, list] {
      if (list->count() == 0 && doctor.uri.empty()) throw CLI::RequiredError{"URI"};
    });
    end_help(
        c,
        "Opens streams between --source and --destination (by default qkd://doctor-a@NODE and\n"
        "qkd://doctor-b@NODE, the nodes as the servers name themselves, else site-a and site-b), takes\n"
        "keys that nobody else uses, and shows none. FAIL is a mandatory case, ADVISORY is one in which\n"
        "the standard is silent. Exit code 0: every mandatory case passed.",
        "doctor qkd004://127.0.0.1:25575 --peer qkd004://127.0.0.1:25576");
  }

  void add_rate() {
    CLI::App& c =
        add("rate", "What key rate a decoy-state BB84 system is expected to have over distance: a model",
            [this] { return cli::rate(forecast); });
    c.add_option("--model", forecast.model,
                 "lim14 (two decoys), w24 (one), or for endless blocks gys, gys-infinite")
        ->type_name("NAME")
        ->default_str(forecast.model);
    c.add_option("--km", forecast.km, "distances, within 0 and 1000")
        ->type_name("FROM:TO:STEP")
        ->default_str(forecast.km);
    auto* const bits =
        c.add_option("--block-bits", forecast.block_bits,
                     "sifted bits of a block, such as 1e7, or inf; a curve for each, with commas")
            ->delimiter(',')
            ->allow_extra_args(false)
            ->type_name("N,...")
            ->default_str("1e7");
    c.add_option("--pulses", forecast.pulses, "instead: how many pulses a block is made of")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->excludes(bits)
        ->type_name("N,...");
    c.add_flag("!--optimise,--fixed", forecast.is_fixed,
               "the best basis, intensities and probabilities at each distance (default), or as they are");
    c.add_option("--pulse-rate", forecast.pulse_rate, "pulses per second: says bit/s, too")->type_name("HZ");
    c.add_flag("--json", forecast.json, "one JSON object on standard output");
    c.add_option("--plot", forecast.plot, "write the curves as a picture, too")

        ->type_name("FILE.svg");
    add_system(c);
    end_help(
        c,
        "Without options of a system it is the one that the model was published with, at an eps_sec of "
        "1e-15\n"
        "for each secret bit (lim14) or 1e-12 for a block (w24). Where known, rates and reaches that others\n"
        "found are shown beside. Nothing is measured, and no key is made.",
        "rate --km 0:200:10 --block-bits 1e5,1e7,1e9 --plot rate.svg");
  }

  /// Options in place of what the model's publication has.
  void add_system(CLI::App& c) {
    const std::string group = "System";
    const auto number = [&](const std::string& name, std::optional<double>& value, const std::string& what,
                            const std::string& unit) {
      c.add_option(name, value, what)->type_name(unit)->group(group);
    };
    number("--loss", forecast.loss_db_per_km, "of the fibre", "DB/KM");
    number("--efficiency", forecast.efficiency, "of the receiver with its loss, 0 to 1", "P");
    number("--dark-count", forecast.dark_count, "probability, for a pulse and a detector", "P");
    number("--afterpulse", forecast.afterpulse, "probability, after each click", "P");
    number("--misalignment", forecast.misalignment, "probability that a photon is taken for the other bit",
           "P");
    c.add_option("--dead-pulses", forecast.dead_pulses, "for so many a detector is blind after a click")
        ->type_name("N")
        ->group(group);
    number("--x-basis", forecast.x_basis, "probability of the basis that makes key", "P");
    c.add_option("--intensities", forecast.intensities,
                 "mean photons, strongest first; the last stays when optimised")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->type_name("MU,...")
        ->group(group);
    c.add_option("--probabilities", forecast.probabilities, "of these, without the last")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->type_name("P,...")
        ->group(group);
    number("--f-ec", forecast.f_ec, "what reconciliation discloses, over the Shannon limit", "F");
    auto* const eps_sec =
        c.add_option("--eps-sec", forecast.eps_sec, "secrecy of each block")->type_name("E")->group(group);
    c.add_option("--eps-per-bit", forecast.eps_per_bit, "instead: secrecy for each secret bit of it")
        ->excludes(eps_sec)
        ->type_name("E")
        ->group(group);
    number("--eps-cor", forecast.eps_cor, "correctness of each block", "E");
  }
};

exit_code run(int argc, char** argv) {
  command_line line;
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return line.app.exit(error) == 0 ? exit_code::ok : exit_code::usage;
  }
  return line.chosen();
}

}  // namespace

int main(int argc, char** argv) {
  // a descriptor that is opened later must not be taken for standard output
  for (int opened = 0; opened >= 0 && opened <= 2;) opened = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::signal(SIGPIPE, SIG_IGN);
  try {
    return static_cast<int>(run(argc, argv));
  } catch (const std::exception& error) {
    return static_cast<int>(complain(exit_code::check_failed, error.what()));
  }
}
