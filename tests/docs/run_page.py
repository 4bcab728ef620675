#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Types what a page says into a shell, in a folder of its own with a copy of examples/, and compares what comes out.

    run_page.py list <root>                    the pages that have something to run
    run_page.py <root> <build folder> <page>
    run_page.py --self-check

Of what a page shows, "…" stands for anything, on a line by itself for any number of lines. A digest and a
Key_stream_ID differ from run to run; the same one twice on the page must be the same one twice in the run, and two
that differ must differ. A command without output on the page is not compared, but has to succeed; one that fails is
followed by `echo $?`. `serve` runs until the page ends or has the comment "stop". Ports are free ones. Commands that
build the tree are left out (readme.py looks at them), and of `demo`, `doctor` and `rate`, which tests/cli runs, only the
options are looked up.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pages  # noqa: E402

PORTS = ("25575", "25576")
LOOKED_UP = ("demo", "doctor", "rate")
PATIENCE = 120  # s, for a whole page on a busy machine
UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
CHANGES = re.compile(rf"(?P<same>{UUID}|\b[0-9a-f]{{16,64}}\b)|(?P<ms>(?<=age )\d+(?= ms))|(?P<any>…)")

# `serve` goes to the background once it listens, as in a terminal of its own.
PRELUDE = r"""
qkd004() {
  if [ "$1" != serve ] || [[ " $* " == *" --check "* ]]; then command qkd004 "$@"; return; fi
  local out line
  exec {out}< <(exec env qkd004 "$@" 2>>"$SERVE_LOG")
  SERVING+=($!)
  if IFS= read -r -t 30 line <&"$out"; then printf '%s\n' "$line"; else cat "$SERVE_LOG"; return 1; fi
}
stop_serving() {
  local one
  for one in "${SERVING[@]}"; do kill "$one" 2>/dev/null; done
  for one in "${SERVING[@]}"; do wait "$one" 2>/dev/null; while kill -0 "$one" 2>/dev/null; do sleep 0.02; done; done
  SERVING=()
}
SERVING=()
trap stop_serving EXIT
rc=0
"""


def expectation(lines, bound):
    """A regular expression for what a command prints, and the changing words in the order of its groups. `bound` has
    what words of the page were in this run."""
    groups = []
    pattern = ""
    for line in lines:
        if line == "…":
            pattern += r"(?:.*\n)*?"
            continue
        at = 0
        for word in CHANGES.finditer(line):
            pattern += re.escape(line[at:word.start()])
            at = word.end()
            if word["any"]:
                pattern += ".*?"
            elif word["ms"]:
                pattern += r"\d+"
            elif word["same"] in bound:
                pattern += re.escape(bound[word["same"]])
            elif word["same"] in groups:
                pattern += f"(?P=w{groups.index(word['same'])})"
            else:
                shape = UUID if "-" in word["same"] else f"[0-9a-f]{{{len(word['same'])}}}"
                pattern += f"(?P<w{len(groups)}>{shape})"
                groups.append(word["same"])
        pattern += re.escape(line[at:]) + r"\n"
    return pattern, groups


def compare(expected, printed, bound):
    """What is wrong with what a command printed, or None; adds to `bound`."""
    while expected and not expected[-1].strip():
        expected = expected[:-1]
    if not expected:
        return None
    pattern, groups = expectation(expected, bound)
    match = re.fullmatch(pattern, printed if printed.endswith("\n") else printed + "\n")
    if not match:
        return "printed\n" + printed
    for number, word in enumerate(groups):
        said = match[f"w{number}"]
        if said in bound.values():
            return f"{said} for {word}: it was another word before"
        bound[word] = said
    return None


def free_ports():
    held = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    numbers = [str(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return numbers


def swapped(text, pairs):
    """Each of the words becomes the other of its pair."""
    table = dict(pairs)
    return re.sub("|".join(rf"\b{re.escape(word)}\b" for word in table), lambda m: table[m[0]], text)


def prepare(folder, root, build, ports):
    """The tree as a reader has it, as far as pages use it."""
    def copy(name):
        shutil.copytree(os.path.join(root, name), os.path.join(folder, name),
                        ignore=shutil.ignore_patterns("*.secret", "certs", "__pycache__"))
    copy("examples")
    copy("docs")
    os.symlink(os.path.join(root, "include"), os.path.join(folder, "include"))
    os.mkdir(os.path.join(folder, "build"))
    for preset in ("dev", "release", "demo"):
        os.symlink(build, os.path.join(folder, "build", preset))
    for place, _, files in os.walk(os.path.join(folder, "examples")):
        for name in (name for name in files if name.endswith(".toml")):
            path = os.path.join(place, name)
            with open(path, encoding="utf-8") as file:
                text = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(swapped(text, zip(PORTS, ports)))


def steps(text):
    """What there is to do: ("run", Command), ("write", Block), ("look up", Command) and ("stop", Stop)."""
    for block in pages.blocks(text):
        if isinstance(block, pages.Stop):
            yield "stop", block
        elif block.kind == "toml":
            yield "write", block
        elif block.kind == "console":
            for command in pages.commands(block):
                said = pages.words(command.text)
                if pages.is_about_the_tree(command.text):
                    continue
                looked_up = any(a.endswith("qkd004") and b in LOOKED_UP for a, b in zip(said, said[1:]))
                yield "look up" if looked_up else "run", command


def unknown_options(command, build):
    """The options of `demo` or `doctor` that their help does not name."""
    said = pages.words(command)
    name = next(word for word in said if word in LOOKED_UP)
    helped = subprocess.run([os.path.join(build, "qkd004"), name, "--help"], capture_output=True, text=True)
    return [word for word in said[said.index(name):] if word.startswith("--")
            and not re.search(rf"(^|[\s,]){re.escape(word)}\b", helped.stdout)]


def script(todo, mark, ports):
    """The shell's script; what each command prints stands between two marks, with its status after the second."""
    lines = [PRELUDE]
    for number, (kind, what) in enumerate(todo):
        if kind == "stop":
            lines.append("stop_serving")
        elif kind == "write":
            lines.append(f"cat >{what.file} <<'{mark}'\n{swapped(what.text, zip(PORTS, ports))}\n{mark}")
        elif kind == "run":
            lines += [f"printf '{mark} {number}\\n'; (exit $rc)", swapped(what.text, zip(PORTS, ports)),
                      f"rc=$?; printf '{mark} = %d\\n' $rc"]
    return "\n".join(lines) + "\nexit 0\n"


def run(todo, root, build):
    """What each command printed, and its status, by its number among the steps; and what the sites logged."""
    ports = free_ports()
    folder = tempfile.mkdtemp(prefix="qkd004-page-")
    mark = "@@" + os.urandom(8).hex()
    try:
        prepare(folder, root, build, ports)
        venv = os.path.join(root, "build/venv/bin")  # whose Python the module is for
        environment = dict(os.environ, PATH=f"{build}:{venv}:{os.environ['PATH']}", LC_ALL="C.UTF-8",
                           PYTHONPATH=os.path.join(build, "python"), PYTHONDONTWRITEBYTECODE="1", SERVE_LOG=os.path.join(folder, "serve.log"))
        open(environment["SERVE_LOG"], "w", encoding="utf-8").close()
        shell = subprocess.Popen(["bash", "-c", script(todo, mark, ports)], cwd=folder, env=environment,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, start_new_session=True)
        try:
            said, _ = shell.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            said = shell.communicate()[0] + "\nnot done in time\n"
        said = swapped(said, zip(ports, PORTS)).replace(folder + "/", "")
        with open(environment["SERVE_LOG"], encoding="utf-8") as log:
            logged = log.read()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done = {}
    for match in re.finditer(rf"{mark} (\d+)\n(.*?){mark} = (\d+)\n", said, re.S):
        done[int(match[1])] = (match[2], int(match[3]))
    return done, said, logged


def judge(todo, done):
    """What is wrong with a run."""
    found, bound = [], {}
    for number, (kind, what) in enumerate(todo):
        if kind != "run":
            continue
        if number not in done:
            found.append(f"line {what.line}: {what.text}\nwas not done")
            break
        printed, status = done[number]
        following = next((w.text for k, w in todo[number + 1:] if k == "run"), "")
        if status != 0 and following != "echo $?":
            found.append(f"line {what.line}: {what.text}\nstatus {status}, printed\n{printed}")
        elif why := compare(what.output, printed, bound):
            found.append(f"line {what.line}: {what.text}\n{why}")
    return found


def failures(root, build, page):
    with open(os.path.join(root, page), encoding="utf-8") as file:
        todo = list(steps(file.read()))
    found = [f"line {what.line}: {what.text}\nthere is no option {option}" for kind, what in todo
             if kind == "look up" for option in unknown_options(what.text, build)]
    for _ in range(3):
        done, said, logged = run(todo, root, build)
        if "Address already in use" not in logged:  # somebody took a port between our look and its use
            break
    wrong = judge(todo, done)
    if wrong:
        wrong.append("the sites logged\n" + logged)
        if not done:
            wrong.append(said)
    return found + wrong


def pages_to_run(root):
    for name in pages.markdown_files(root):
        with open(os.path.join(root, name), encoding="utf-8") as file:
            if any(kind in ("run", "look up") for kind, _ in steps(file.read())):
                yield name


def self_check():
    one, other = "0123456789abcdef", "fedcba9876543210"
    bound = {}
    assert compare([f"key {one} age 3 ms"], f"key {other} age 17 ms\n", bound) is None and bound == {one: other}
    assert compare([f"again {one}"], f"again {other}\n", bound) is None
    assert compare([f"again {one}"], f"again {one}\n", bound)
    assert compare(["new " + "a" * 16], f"new {other}\n", bound)
    assert compare([f"{'b' * 16} {'b' * 16}"], f"{'c' * 16} {'c' * 16}\n", {}) is None
    assert compare([f"{'b' * 16} {'b' * 16}"], f"{'c' * 16} {'d' * 16}\n", {})
    assert compare(["a", "…", "z"], "a\nb\nc\nz\n", {}) is None and compare(["a", "…", "z"], "a\nb\n", {})
    assert compare(["port … is"], "port 7 is\n", {}) is None and compare(["a.c"], "abc\n", {})
    assert compare(["a", ""], "a\n", {}) is None and compare([], "anything\n", {}) is None
    assert swapped("a:25575 b:25576 255750", zip(PORTS, ("1", "2"))) == "a:1 b:2 255750"

    def check(page):
        todo = list(steps(page))
        with tempfile.TemporaryDirectory() as tree:
            for name in ("examples", "docs", "include", "build"):
                os.mkdir(os.path.join(tree, name))
            done, _, _ = run(todo, tree, os.path.join(tree, "build"))
        return judge(todo, done)

    assert check("```console\n$ echo a\na\n$ false\n$ echo $?\n1\n$ X=2\n```\n```console\n$ echo $X\n2\n```") == []
    assert check("<!-- file: a.toml -->\n```toml\nx = 1\n```\n```console\n$ cat a.toml\nx = 1\n```") == []
    assert check("```console\n$ make tea\n```") == []
    for page in ("$ echo a\nb", "$ false", "$ nobody-knows-this", "$ false\n$ echo $?\n0", "$ exit 3\n$ true"):
        assert check(f"```console\n{page}\n```"), page


def main():
    if sys.argv[1:] == ["--self-check"]:
        self_check()
        return 0
    if sys.argv[1] == "list":
        print("\n".join(pages_to_run(sys.argv[2])))
        return 0
    found = failures(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3])
    for line in found:
        print(f"{sys.argv[3]}: {line}\n")
    return 1 if found else 0


sys.exit(main())
