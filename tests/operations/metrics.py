#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a site serves as /metrics is what Prometheus reads: its own linter has nothing to say, also where a link's name has
quotes and backslashes; and a server of Prometheus's, with the alerts of the page, takes the page's rules.

    metrics.py <qkd004> <docs/operations.md>
    metrics.py --self-check                 the linter finds what is made wrong

Needs promtool (Debian's package prometheus); without it is skipped (77).
"""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

PATIENCE = 20

CONFIG = """
node = "site-a"
listen = ["http://127.0.0.1:0"]
[memory]
allow_unlocked = true
[[peer]]
node = "site-z"
address = "qkd004://127.0.0.1:1"
link = 'say "a\\b" and Z\u00fcrich'
[peer.source]
kind = "seeded"
secret_file = "link.secret"
"""

BROKEN = [
    "# HELP x_total A counter.\n# TYPE x_total counter\nx_total{a=\"b\"} 1\nx_total{a=\"b\"} 2\n",  # twice
    "# HELP x A counter.\n# TYPE x counter\nx 1\n",                        # its name
    "# TYPE x gauge\nx 1\n",                                               # no help
    "# HELP x A gauge.\n# TYPE x gauge\nx{a=\"say \"no\"\"} 1\n",         # not escaped
]


def lint(text):
    """What promtool finds; empty: nothing."""
    run = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, timeout=PATIENCE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode or run.stdout.strip():
        return f"status {run.returncode}: {run.stdout}"
    samples = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    twice = {sample for sample in samples if samples.count(sample) > 1}  # which promtool does not look for
    return f"twice: {twice}" if twice else ""


def self_check():
    missed = [text for text in BROKEN if not lint(text)]
    good = "# HELP x A gauge.\n# TYPE x gauge\nx 1\n"
    for text in missed:
        print(f"not found: {text!r}")
    if lint(good):
        print(f"refused: {good!r}: {lint(good)}")
    print(f"{len(BROKEN)} broken texts, {len(missed)} not found")
    return 1 if missed or lint(good) else 0


def ask(address, method, path, body=None):
    host, port = address.split("//")[1].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def check_rules(page, folder, families):
    """The page's alerts are rules that promtool takes, of families that are served."""
    with open(page, encoding="utf-8") as file:
        text = file.read()
    blocks = re.findall(r"```text\n(groups:\n.*?)```", text, re.S)
    if not blocks:
        return ["the page has no alerts"]
    path = os.path.join(folder, "rules.yml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(blocks[0])
    run = subprocess.run(["promtool", "check", "rules", path], text=True, timeout=PATIENCE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = [] if run.returncode == 0 else ["the page's alerts: " + run.stdout]
    served = set(families) | {"qkd004_link_qber_ratio", "qkd004_link_blocks_accepted_total", "qkd004_link_blocks_discarded_total"}
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bqkd004_\w+", text)}
    found += [f"the page names {name}, which is not served" for name in sorted(named - served)]
    found += [f"the page does not name {name}" for name in sorted(served - named)]
    return found


def main():
    if not shutil.which("promtool"):
        print("skipped: there is no promtool")
        return 77
    if sys.argv[1:] == ["--self-check"]:
        return self_check()
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    program, page = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "site.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        subprocess.run([program, "secret", os.path.join(folder, "link.secret")], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        site = subprocess.Popen([program, "serve", "--config", config], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
        try:
            address = site.stdout.readline().split()[1]
            ask(address, "POST", "/qkd004/v2/open_connect",
                json.dumps({"source": "qkd://x@site-a", "destination": "qkd://y@nowhere"}))
            status, text = ask(address, "GET", "/metrics")
        finally:
            site.send_signal(signal.SIGTERM)
            site.wait(PATIENCE)
            site.stdout.close()
        found = [] if status == 200 else [f"HTTP {status}"]
        if lint(text):
            found.append(lint(text))
        for wanted in ('link="say \\"a\\\\b\\" and Z\u00fcrich"', 'operation="open_connect",status="no_qkd_connection"} 1',
                       "\nqkd004_key_simulated 1\n", "\nqkd004_ready 0\n"):
            if wanted not in text:
                found.append(f"there is no {wanted!r}")
        families = re.findall(r"^# TYPE (\w+)", text, re.M)
        found += check_rules(page, folder, families)
    for line in found:
        print(line)
    print(f"{len(families)} families, {len(found)} complaints")
    return 1 if found else 0


sys.exit(main())
