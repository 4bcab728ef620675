#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the Spin models of the delivery rule, and that their broken variants fail. README.md says what they are.

    check.py                              everything; prints a table, returns 1 if anything is not as it should be
    check.py list                         the names, one run a line: model and run, or model and mutant
    check.py <model> <run or mutant>      that one; returns 0, 1, or 77 where spin or gcc is missing
    check.py <model> <mutant> --trail     also the steps that break the property
    check.py --self-check                 that this program reports failures: models that are wrong in each way

A run passes if Spin visits every state and finds nothing; a mutant passes if the property it is meant to break, and
no other, is what Spin finds. Files are written to a temporary directory only.
"""
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 100        # for one search, on a busy machine
MEGABYTES = 900      # for one search
DEPTH = 100_000      # steps; longest path of any run is far below
SKIPPED = 77

# claim: an ltl formula of the model, None for the assertions; fair: under weak fairness.
Run = namedtuple("Run", "bounds claim fair", defaults=(None, False))
# run: in which the mutant must fail; breaks: the assertion, or the formula, that must be what fails.
Mutant = namedtuple("Mutant", "run breaks")
Result = namedtuple("Result", "problem found states seconds megabytes")

RUNS = {
    "binding": {
        "breaks": Run("BREAKS=2 INDICES=3"),
        "closes": Run("BREAKS=2 INDICES=3 CLOSES=2"),
        "restarts": Run("BREAKS=1 INDICES=2 RESTARTS=2 OPENS=3"),
        "everything": Run("BREAKS=1 INDICES=2 RESTARTS=1 OPENS=3 CLOSES=1"),
        "two_streams": Run("BREAKS=1 INDICES=1 RESTARTS=1 OPENS=2 CLOSES=1 STREAMS=2"),
        "two_streams_restart": Run("BREAKS=0 INDICES=2 RESTARTS=1 OPENS=2 STREAMS=2"),
        "delivered": Run("BREAKS=2 INDICES=3", "all_delivered"),
        "answered": Run("BREAKS=1 INDICES=2 CLOSES=2", "all_answered"),
        "answered_after_restart": Run("BREAKS=1 INDICES=2 RESTARTS=2 OPENS=3", "all_answered"),
    },
    "reading": {
        "anything": Run("INDICES=4 EPOCHS=2 ENDS AGES"),
        "epochs": Run("INDICES=3 EPOCHS=4 ENDS AGES"),
        "keys": Run("INDICES=3 LOSSES=3 PATIENT IN_ORDER ALONE", "all_keys", True),
        "answered": Run("INDICES=3 LOSSES=1 PATIENT AGES NO_STRANGER ALONE", "all_answered", True),
        "answered_at_end": Run("INDICES=3 LOSSES=1 PATIENT AGES ENDS ALONE", "all_answered", True),
        "answered_beside": Run("INDICES=3 LOSSES=1 EPOCHS=2 PATIENT NO_STRANGER ENDS", "all_answered", True),
    },
}

MUTANTS = {
    "binding": {
        "serve_before_confirm": Mutant("breaks", "R1_stored_first"),
        "confirm_before_block": Mutant("breaks", "R1_stored_first"),
        "publish_not_stored": Mutant("closes", "R1_stored_first"),
        "confirm_mistaken": Mutant("breaks", "R1_same_bytes"),
        "resend_binds_anew": Mutant("breaks", "R1_never_broken_off"),
        "deferred_kept": Mutant("breaks", "R1_never_broken_off"),
        "forgets_recent": Mutant("breaks", "R1_never_broken_off"),
        "peer_window_ignored": Mutant("breaks", "R1_never_broken_off"),
        "restart_unnoticed": Mutant("restarts", "R1_in_step"),
        "same_key_again": Mutant("restarts", "R1_bytes_once"),
        "retired_forgotten": Mutant("restarts", "R2_index_once"),
        "mark_destroys": Mutant("breaks", "R6_sides_independent"),
        "close_destroys": Mutant("closes", "R6_sides_independent"),
        "end_too_early": Mutant("closes", "R6_end_is_last"),
        "end_forgets": Mutant("closes", "R6_end_is_last"),
        "bind_not_resent": Mutant("delivered", "all_delivered"),
        "end_not_told": Mutant("answered", "all_answered"),
        "close_forgotten": Mutant("answered", "all_answered"),
    },
    "reading": {
        "anyone_reads": Mutant("anything", "R3_one_principal"),
        "anyone_resumes": Mutant("anything", "R3_one_principal"),
        "anyone_closes": Mutant("anything", "R3_fenced_does_nothing"),
        "epoch_unchecked": Mutant("anything", "R3_fenced_gets_nothing"),
        "fenced_call_served": Mutant("anything", "R3_fenced_gets_nothing"),
        "slot_unchecked": Mutant("anything", "R4_same_bytes"),
        "replays_last_reply": Mutant("anything", "R4_gone_is_gone"),
        "cursor": Mutant("anything", "R4_repeats"),
        "forgets_to_answer": Mutant("anything", "R4_waits_for_unbound"),
        "age_unchecked": Mutant("anything", "R4_no_old_key"),
        "expires_all": Mutant("anything", "R4_expires_old_only"),
        "acknowledges_unread": Mutant("anything", "R5_served_only"),
        "write_acknowledges": Mutant("anything", "R5_acknowledged"),
        "wide_window": Mutant("anything", "R5_acknowledged"),
        "close_says_all": Mutant("anything", "R5_acknowledged"),
        "expiry_uncounted": Mutant("anything", "R7_balance"),
        "strict_kept": Mutant("anything", "R8_once"),
        "late_window": Mutant("keys", "all_keys"),
        "expiry_skips_served": Mutant("answered", "all_answered"),
    },
}


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (2 * MEGABYTES << 20, 2 * MEGABYTES << 20))


def call(command, folder, seconds=SECONDS):
    """Exit code (None after `seconds`) and output."""
    try:
        done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=seconds, preexec_fn=limited, check=False)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        return None, ""


def defines(run, mutant):
    flags = [f"-D{bound}" for bound in run.bounds.split()]
    return flags + ([f"-DMUTANT={mutant}"] if mutant else [])


def judge(code, output, claim, text):
    """What Spin found: (problem, property). Neither: every state was visited and all is well."""
    if code is None:
        return f"no end after {SECONDS} s", None
    violated = re.findall(r"assertion violated (.*?) \(at depth", output)
    if violated:
        return None, violated[0].strip("() ")
    if re.search(r"pan:\d+: acceptance cycle", output):
        return None, claim
    # "invalid end states" alone is a line of the report; with its "pan:" it is an error
    for bad in (r"max search depth too small", r"out of memory", r"pan:.*?: (invalid end state)",
                r"pan:.*?: (block in d_step)", r"pan: error: .*", r"Search not completed"):
        if match := re.search(bad, output):
            return "Spin says: " + match.group(), None
    errors = re.search(r"errors: (\d+)", output)
    if code != 0 or not errors or errors.group(1) != "0":
        return f"no result (exit code {code}): {output[-400:]}", None
    if claim:  # an ltl formula that is never left is not one that was checked
        if "never claim" not in output or f"({claim})" not in output:
            return f"the formula {claim} was not checked", None
    elif not re.search(r"\bassert\(", text):
        return "there is no assertion in the model", None
    return None, None


def search(path, run, mutant, folder):
    """Runs Spin in `folder`; returns a Result."""
    model = os.path.basename(path)
    shutil.copy(path, folder)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    begin = time.monotonic()
    code, output = call(["spin", *defines(run, mutant), "-a", model], folder)
    if code != 0 or not os.path.exists(os.path.join(folder, "pan.c")):
        return Result("spin: " + output[-600:], None, 0, 0, 0)
    flags = [f"-DMEMLIM={MEGABYTES}", "-DCOLLAPSE", "-DNFAIR=3"]
    flags += [] if run.claim else ["-DSAFETY", "-DNOCLAIM"]
    code, output = call(["gcc", "-O2", "-w", *flags, "-o", "pan", "pan.c"], folder)
    if code != 0:
        return Result("gcc: " + output[-600:], None, 0, 0, 0)
    arguments = [f"-m{DEPTH}"]
    if run.claim:
        arguments += ["-a", "-N", run.claim] + (["-f"] if run.fair else [])
    code, output = call(["./pan", *arguments], folder)
    problem, found = judge(code, output, run.claim, text)
    states = re.search(r"^\s*([\d.e+]+) states, stored", output, re.M)
    memory = re.search(r"^\s*([\d.]+)\s+total actual memory usage", output, re.M)
    return Result(problem, found, int(float(states.group(1))) if states else 0, time.monotonic() - begin,
                  round(float(memory.group(1))) if memory else 0)


def trail(path, run, mutant, folder):
    """The steps of the counterexample, as the model's own lines tell them."""
    _, output = call(["spin", *defines(run, mutant), "-t", "-T", os.path.basename(path)], folder)
    for line in output.splitlines():
        if line.startswith(("spin: trail ends", "#processes")):
            break
        if not re.match(r"ltl |spin: warning|  the model contains|  only one claim|  choose which|  or use|Never claim",
                        line):
            print("    " + line)


def check(model, name, show_trail=False):
    """Runs one; prints a line; returns whether it is as it should be."""
    mutant = name if name in MUTANTS[model] else None
    expected = MUTANTS[model][name].breaks if mutant else None
    run = RUNS[model][MUTANTS[model][name].run if mutant else name]
    path = os.path.join(HERE, model + ".pml")
    with tempfile.TemporaryDirectory() as folder:
        result = search(path, run, mutant, folder)
        good = result.problem is None and result.found == expected
        verdict = result.problem or (f"breaks {result.found}" if result.found else "holds")
        if not good and result.problem is None:
            verdict += f", should {'break ' + expected if expected else 'hold'}"
        print(f"{'ok    ' if good else 'FAILED'} {model:8} {name:22} {result.states:>9} states {result.seconds:6.1f} s "
              f"{result.megabytes:>4} MB  {verdict}", flush=True)
        if show_trail and result.found:
            trail(path, run, mutant, folder)
    return good


def names():
    return [(model, name) for model in RUNS for name in [*RUNS[model], *MUTANTS[model]]]


def unbroken():
    """Properties that no mutant breaks: nobody has seen them fail. And mutants that a model or the table lacks."""
    for model in RUNS:
        with open(os.path.join(HERE, model + ".pml"), encoding="utf-8") as file:
            text = file.read()
        properties = set(re.findall(r"^hidden byte (R\d_\w+);", text, re.M)) | set(re.findall(r"^ltl (\w+)", text, re.M))
        broken = {mutant.breaks for mutant in MUTANTS[model].values()}
        for name in sorted(properties ^ broken):
            yield f"{model}: the property {name} {'is broken by no mutant' if name in properties else 'is unknown'}"
        checked = {run.claim for run in RUNS[model].values()} - {None}
        for name in sorted(set(re.findall(r"^ltl (\w+)", text, re.M)) ^ checked):
            yield f"{model}: the formula {name} is checked by no run"
        defined = set(re.findall(r"^#define (\w+) +\d+ +/\* ", text, re.M)) & set(re.findall(r"broken_by\((\w+)\)", text))
        for name in sorted(defined ^ set(MUTANTS[model])):
            yield f"{model}: the mutant {name} is only in the model or only in the table"


# --- Self-check -----------------------------------------------------------------------------------------------------

LOOP = "byte n; active proctype p() { do :: n < 200 -> n++ :: n == 200 -> n = 0 od }\n"
WRONG = [  # model, claim, what must be reported
    ("byte R; active proctype p() { assert(R) }\n", None, "R"),
    (LOOP + "ltl end { <> (n == 201) }\n", "end", "end"),
    (LOOP + "ltl end { <> (n == 200) }\n", "other", "was not checked"),
    ("byte n; active proctype p() { do :: n++; assert(n < 256) :: n == 7 -> break od; n == 8 }\n", None, "invalid end"),
    ("active proctype p() { skip }\n", None, "no assertion"),
    ("int n; active proctype p() { do :: n++; assert(n > 0) :: n > 200000 -> break od }\n", None, "too small"),
    ("active proctype p() { skip\n", None, "spin:"),
]
RIGHT = [("byte n; active proctype p() { n = 1; assert(n) }\n", None), (LOOP + "ltl top { <> (n == 200) }\n", "top")]


def self_check():
    wrong = list(unbroken())
    tried = [(text, claim, "") for text, claim in RIGHT] + WRONG
    for text, claim, expected in tried:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "made_up.pml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.mkdir(os.path.join(folder, "run"))
            result = search(path, Run("UNUSED", claim), None, os.path.join(folder, "run"))
        said = result.problem or result.found or ""
        if (expected not in said) if expected else said:
            wrong.append(f"expected '{expected}', got '{said}' of: {text}")
    for text in wrong:
        print(text)
    print(f"{len(tried)} made-up models tried, {len(wrong)} surprises")
    return 1 if wrong else 0


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--trail"]
    if arguments == ["list"]:
        print("\n".join(f"{model} {name}" for model, name in names()))
        return 0
    if arguments not in ([], ["--self-check"]) and tuple(arguments) not in names():
        print(__doc__)
        return 2
    missing = [tool for tool in ("spin", "gcc") if not shutil.which(tool)]
    if missing:
        print(f"skipped: {' and '.join(missing)} not found (.ci/packages test installs what is needed)")
        return SKIPPED
    if arguments == ["--self-check"]:
        return self_check()
    chosen = [tuple(arguments)] if arguments else names()
    return 0 if all([check(*one, show_trail="--trail" in sys.argv) for one in chosen]) else 1


sys.exit(main())
