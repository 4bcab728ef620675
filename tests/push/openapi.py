#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of push mode is one, and says the truth about what devices and key managers ask and answer.

    openapi.py <program qkd004> <src/push/openapi.json> <virtual environment>

Validates the document, and runs two devices and two key managers with a relay between each device and its key manager:
every request and every answer is held against the document's schemas, and so are the answers to what is malformed. The
environment and the judge are those of tests/http/openapi.py; 77, skipped, where it is not there.

    openapi.py --self-check <document> <environment>    shows that a wrong answer would be found
"""
import http.client
import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "http"))
import openapi  # noqa: E402  the one of tests/http

ROOT = "/api/v1/kms/etsi004/"
PATIENCE = 30


class Judge(openapi.Judge):
    """As there, and answers may have no body."""

    def __init__(self, document):
        super().__init__(document)
        self.came = threading.Condition()

    def look(self, *said):
        super().look(*said)
        with self.came:
            self.came.notify_all()

    def faults_in(self, method, path, asked, status, content_type, answered):
        operation = self.document["paths"].get(path, {}).get(method.lower())
        described = operation and operation["responses"].get(str(status), operation["responses"].get("default"))
        if described is not None and "content" not in described:
            return ["a body where the document has none"] if answered else []
        if described is not None and 200 <= status < 300:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            if self.faults_of(schema, json.loads(asked)):
                return ["a request that the document does not allow was served"]
        if described is None:
            return ["the document has no such operation or answer"]
        body = described["content"].get(content_type)
        if body is None:
            return [f"the document has no answer of type {content_type}"]
        found = self.faults_of(body["schema"], json.loads(answered))
        return ["the answer is not what the document says" for _ in found[:1]]


class Relay(socketserver.ThreadingTCPServer):
    """Passes requests on to `port`, which may become known later, and shows the judge what comes of them."""
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, judge):
        self.port = 0
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    upstream = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=PATIENCE)
                    upstream.request(self.command, self.path, body, dict(self.headers))
                    answer = upstream.getresponse()
                    answered = answer.read()
                    upstream.close()
                except OSError:
                    self.send_response(502)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                judge.look(self.command, self.path, body, answer.status, answer.getheader("Content-Type"), answered)
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name not in ("Date", "Server"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answered)

            do_GET = do_POST = do_PUT = forward

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


def serve(program, folder, name, peer, address, rest):
    config = os.path.join(folder, name + ".toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"node = '{name}'\nlisten = ['qkd004://127.0.0.1:0', 'http://127.0.0.1:0']\n"
                   f"[memory]\nallow_unlocked = true\n[[peer]]\nnode = '{peer}'\n"
                   + (f"address = '{address}'\n" if address else "") + "[peer.source]\n" + rest)
    with open(os.path.join(folder, name + ".log"), "w", encoding="utf-8") as log:
        site = subprocess.Popen([program, "serve", "--config", config], stdout=subprocess.PIPE, stderr=log, text=True)
    uris = [site.stdout.readline().split()[1] for _ in range(2)]
    threading.Thread(target=site.stdout.read, daemon=True).start()
    return site, uris


def ask(address, method, path, body):
    connection = http.client.HTTPConnection(address.split("//")[1], timeout=PATIENCE)
    connection.request(method, path, body)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return text


def run(program, judge, folder):
    subprocess.run([program, "secret", os.path.join(folder, "link.secret")], check=True, stdout=subprocess.DEVNULL)
    to_device = [Relay(judge), Relay(judge)]
    to_kms = [Relay(judge), Relay(judge)]
    names = "ab"
    sites, pull = [], {}

    def start(kind, n, rest):
        peer = pull.get(kind + "-b") if n == 0 else ""
        site, uris = serve(program, folder, f"{kind}-{names[n]}", f"{kind}-{names[1 - n]}", peer, rest)
        sites.append(site)
        pull[f"{kind}-{names[n]}"] = uris[0]
        (to_device if kind == "dev" else to_kms)[n].port = int(uris[1].rsplit(":", 1)[1])

    try:
        for n in (1, 0):
            start("dev", n, "kind = 'seeded'\nsecret_file = 'link.secret'\nrate_bps = 100_000\n[push]\n"
                  f"[[push.key_manager]]\nuri = 'qkd://a@dev-a'\naddress = '{to_kms[n].address}'\n")
        for n in (1, 0):
            start("kms", n, f"kind = 'push'\ndevice = '{to_device[n].address}'\nsource = 'qkd://a@dev-a'\n"
                  f"destination = 'qkd://b@dev-b'\nbegins = {'true' if n == 0 else 'false'}\n"
                  "security_class = 'simulated-insecure'\n")
        acknowledged = "POST /api/v1/qkd/etsi004/key-material 201"
        with judge.came:
            judge.came.wait_for(lambda: judge.seen.get(acknowledged, 0) >= 50, PATIENCE)
        questions(to_device[0].address, to_kms[0].address)
    finally:
        for site in reversed(sites):
            site.send_signal(signal.SIGTERM)
        for site in sites:
            site.wait(timeout=PATIENCE)


def questions(device, kms):
    """What the four do not ask of one another."""
    ends = {"source": "qkd://c@dev-a", "destination": "qkd://d@dev-b"}
    opened = json.loads(ask(device, "POST", ROOT + "open-connect",
                            json.dumps({**ends, "key_stream_id": None, "qos": {"ttl": None}})))
    named = json.dumps({"key_stream_id": opened["key_stream_id"]})
    nobody = json.dumps({"key_stream_id": "00000000-0000-4000-8000-000000000001"})
    for path in ("open-connect", "get-key"):
        for body in ("", "{}", "[1]", nobody):
            ask(device, "POST", ROOT + path, body)
    ask(device, "POST", ROOT + "open-connect", json.dumps({**ends, "qos": {"key_chunk_size": 100_000}}))
    ask(device, "POST", ROOT + "open-connect", json.dumps({**ends, "destination": "qkd://d@mars", "qos": {}}))
    ask(device, "POST", ROOT + "get-key", named)
    for body in (named, nobody, "{}"):
        ask(device, "PUT", ROOT + "close", body)
    for body in ("", "{}", '{"status":0,"index":0,"key_buffer":"!"}',
                 '{"status":0,"index":0,"key_buffer":"AAAA","metadata":{"size":0,"buffer":' + nobody + "}}"):
        ask(kms, "POST", "/api/v1/qkd/etsi004/key-material", body)


def main():
    if sys.argv[1] == "--self-check":
        _, _, path, environment = sys.argv
        openapi.in_environment(environment)
        return self_check(json.load(open(path, encoding="utf-8")))
    _, program, path, environment = sys.argv
    openapi.in_environment(environment)
    from openapi_spec_validator import validate
    document = json.load(open(path, encoding="utf-8"))
    validate(document)
    judge = Judge(document)
    with tempfile.TemporaryDirectory() as folder:
        run(program, judge, folder)
    wanted = {f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations}
    seen = {where.rsplit(" ", 1)[0] for where in judge.seen}
    for where, count in sorted(judge.seen.items()):
        print(f"{count:6} {where}")
    print(f"{sum(judge.seen.values())} answers, {len(judge.faults)} faults")
    return openapi.fail(judge.faults[:20] + [f"{w} was never asked" for w in sorted(wanted - seen)])


def self_check(document):
    """Each wrong answer is a fault."""
    judge = Judge(document)
    asked = '{"status":0,"index":1,"key_buffer":"AAAA"}'
    path = "/api/v1/qkd/etsi004/key-material"

    def faults(answer, status=201, kind="application/json", question=asked, method="POST", where=path):
        return judge.faults_in(method, where, question, status, kind, answer)

    missed = []
    if faults('{"status":0}'):
        missed.append("a good answer is a fault")
    for wrong in ('{}', '{"status":9}', '{"status":"0"}', '[]'):
        if not faults(wrong):
            missed.append(f"missed: {wrong}")
    if not faults('{"status":0}', kind="text/plain") or not faults('{"status":0}', where="/x"):
        missed.append("missed another type or path")
    if not faults('{"status":0}', question='{"status":0,"index":-1,"key_buffer":"AAAA"}'):
        missed.append("missed a request that should not have been served")
    if not faults('x', status=205, kind=None, method="GET", where=ROOT + "get-key"):
        missed.append("missed a body where there is none")
    return openapi.fail(missed)


if __name__ == "__main__":
    sys.exit(main())
