#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is one, is what the server serves, and says the truth about its answers.

    openapi.py <program qkd004> <src/net/http/openapi.json> <virtual environment>

Validates the document, starts `qkd004 serve` with an HTTP listener, and runs `qkd004 doctor` through a relay: every
request that the suite makes and every answer that it gets is held against the document's schemas. A reply that the
document does not describe, or with another body, is a failure. Skipped (77) where the environment has no
openapi-spec-validator.

    openapi.py --self-check <document> <environment>    shows that a wrong answer would be found
"""
import http.client
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading

SKIPPED = 77


def in_environment(folder):
    """Runs this again with the environment's interpreter, unless it is that."""
    if os.path.realpath(sys.prefix) == os.path.realpath(folder):
        return
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python) or subprocess.run([python, "-c", "import openapi_spec_validator, jsonschema"],
                                                    capture_output=True, check=False).returncode:
        print(f"skipped: {folder} has no openapi-spec-validator; .ci/python makes it")
        sys.exit(SKIPPED)
    os.execv(python, [python, "-B", *sys.argv])


class Judge:
    """Holds what was asked and answered against the document."""

    def __init__(self, document):
        import jsonschema
        from referencing import Registry, Resource
        from referencing.jsonschema import DRAFT202012
        self.document = document
        resource = Resource(contents=document, specification=DRAFT202012)
        self.registry = Registry().with_resource("urn:document", resource)
        self.validator = jsonschema.Draft202012Validator
        self.faults = []
        self.seen = {}
        self.lock = threading.Lock()

    def faults_of(self, schema, value):
        absolute = json.loads(json.dumps(schema).replace('"#/components', '"urn:document#/components'))
        return [e.message for e in self.validator(absolute, registry=self.registry).iter_errors(value)]

    def look(self, method, path, asked, status, content_type, answered):
        where = f"{method} {path.split('?')[0]} {status}"
        faults = self.faults_in(method, path, asked, status, content_type, answered)
        with self.lock:
            self.seen[where] = self.seen.get(where, 0) + 1
            # a fault names no value: there may be key in it
            self.faults += [f"{where}: {fault[:120]}" for fault in faults]

    def faults_in(self, method, path, asked, status, content_type, answered):
        operation = self.document["paths"].get(path.split("?")[0], {}).get(method.lower())
        if operation is None:
            return [] if status in (404, 405) else ["the document has no such operation"]
        faults = []
        if status == 200 and "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            if self.faults_of(schema, json.loads(asked)):
                faults.append("a request that the document does not allow was served")
        described = operation["responses"].get(str(status))
        if described is None:
            return faults + ["the document has no such answer"]
        if "$ref" in described:
            described = self.document["components"]["responses"][described["$ref"].rsplit("/", 1)[1]]
        body = described["content"].get(content_type)
        if body is None:
            return faults + [f"the document has no answer of type {content_type}"]
        found = self.faults_of(body["schema"], json.loads(answered))
        return faults + ["the answer is not what the document says" for _ in found[:1]]


def messages_of(octets):
    """(first line, fields, body) of each whole message; lengths only, as both ends here write them."""
    while b"\r\n\r\n" in octets:
        head, rest = octets.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        size = int(fields.get("content-length", 0))
        if len(rest) < size:
            return
        yield lines[0], fields, rest[:size]
        octets = rest[size:]


def relay_to(port, judge):
    """Octets both ways as they come; what they said is looked at when a connection is over."""
    def copy(source, target, kept):
        try:
            while octets := source.recv(65536):
                kept += octets
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            asked, answered = bytearray(), bytearray()
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                back = threading.Thread(target=copy, args=(upstream, self.request, answered))
                back.start()
                copy(self.request, upstream, asked)
                try:
                    upstream.shutdown(socket.SHUT_RDWR)  # who has gone reads no more: neither does anybody here
                except OSError:
                    pass  # the server was first
                back.join()
            for (line, _, body), (said, fields, text) in zip(messages_of(bytes(asked)), messages_of(bytes(answered))):
                method, path, _ = line.split(" ")
                judge.look(method, path, body, int(said.split(" ")[1]), fields.get("content-type"), text)

    class Relay(socketserver.ThreadingTCPServer):
        daemon_threads = False  # server_close() waits for what they have to say
        allow_reuse_address = True
        request_queue_size = 128

    relay = Relay(("127.0.0.1", 0), Handler)
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    return relay


def serve(program, folder):
    config = os.path.join(folder, "site.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write('node = "site-a"\nself_link = true\nlisten = ["http://127.0.0.1:0"]\n')
    site = subprocess.Popen([program, "serve", "--config", config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)
    lines = []
    for line in site.stdout:
        lines.append(line)
        if line.startswith("listening http://127.0.0.1:"):
            threading.Thread(target=site.stdout.read, daemon=True).start()
            return site, int(line.rsplit(":", 1)[1].split()[0].strip('"/'))
    site.wait()
    raise SystemExit("serve did not start:\n" + "".join(lines))


def more_questions(port):
    """What the suite does not ask: refusals of HTTP, and what a person would."""
    stream = "00000000-0000-4000-8000-000000000001"
    questions = [("GET", "/qkd004/v2/nothing", None), ("GET", "/qkd004/v2/get_key", None),
                 ("GET", "/qkd004/v2/streams", None), ("GET", "/qkd004/v2/streams?key_stream_id=" + stream, None),
                 ("GET", "/qkd004/v2/streams?x=y", None), ("GET", "/openapi.json", None),
                 ("POST", "/qkd004/v2/get_key", "{}"), ("POST", "/qkd004/v2/open_connect", "not JSON"),
                 ("POST", "/qkd004/v2/close", json.dumps({"key_stream_id": stream}))]
    for method, path, body in questions:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        connection.close()


def main():
    if sys.argv[1] == "--self-check":
        _, _, path, environment = sys.argv
        in_environment(environment)
        return self_check(json.load(open(path, encoding="utf-8")))
    _, program, path, environment = sys.argv
    in_environment(environment)
    from openapi_spec_validator import validate
    document = json.load(open(path, encoding="utf-8"))
    validate(document)
    judge = Judge(document)
    with tempfile.TemporaryDirectory() as folder:
        site, port = serve(program, folder)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/openapi.json")
            served = connection.getresponse().read()
            if served != open(path, "rb").read():
                return fail(["what is served is not the document of the repository"])
            relay = relay_to(port, judge)
            there = relay.server_address[1]
            more_questions(there)
            doctor = subprocess.run([program, "doctor", f"http://127.0.0.1:{there}"], capture_output=True, text=True,
                                    timeout=240, check=False)
            relay.shutdown()
            relay.server_close()
        finally:
            site.send_signal(signal.SIGTERM)
            site.wait(timeout=30)
    if doctor.returncode != 0:
        return fail(doctor.stdout.splitlines()[-40:] + doctor.stderr.splitlines())
    wanted = {f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations}
    seen = {where.rsplit(" ", 1)[0] for where in judge.seen}
    for where, count in sorted(judge.seen.items()):
        print(f"{count:6} {where}")
    print(f"{sum(judge.seen.values())} answers, {len(judge.faults)} faults")
    return fail(judge.faults[:20] + [f"{w} was never asked" for w in sorted(wanted - seen)])


def self_check(document):
    """Each wrong answer is a fault."""
    good = {"status": 0, "index": 7, "key_buffer": "AAAA"}
    asked = json.dumps({"key_stream_id": "00000000-0000-4000-8000-000000000001", "index": 7})
    judge = Judge(document)

    def faults(answer, path="/qkd004/v2/get_key", status=200, kind="application/json", question=asked):
        return judge.faults_in("POST", path, question, status, kind, json.dumps(answer))

    missed = []
    if faults(good):
        missed.append("a good answer is a fault")
    for wrong in ({**good, "extra": 1}, {**good, "key_buffer": "AAA"}, {**good, "index": -1}, {**good, "index": "7"},
                  {"status": 0, "index": 7}, {"status": 9, "index": 7}, {**good, "status": 2}, [], None):
        if not faults(wrong):
            missed.append(f"missed: {wrong}")
    if not faults(good, status=202) or not faults(good, kind="text/plain") or not faults(good, path="/x"):
        missed.append("missed another status, type or path")
    if not faults(good, question="{}"):
        missed.append("missed a request that should not have been served")
    return fail(missed)


def fail(faults):
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
