#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs two_sites over TLS, with certificates that are made for it and go again; and once more with a key manager that is
not whom the server expects, which must fail.

    over_tls.py <qkd004> <two_sites> <program> [variable...]
"""
import os
import subprocess
import sys
import tempfile


def main():
    qkd004, two_sites, program, *variables = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="qkd004-test-") as folder:
        certs = os.path.join(folder, "certs")
        subprocess.run([qkd004, "certs", certs], check=True, stdout=subprocess.DEVNULL)
        shown = [f"QKD004_AUTHORITY={certs}/authority.pem"]
        for end, name in (("server", "alice"), ("client", "bob")):
            shown += [f"{end}:QKD004_CERTIFICATE={certs}/{name}.pem", f"{end}:QKD004_KEY={certs}/{name}.key"]

        def passes(expected):
            command = [two_sites, program, "tls:" + certs, *shown, *variables,
                       f"server:QKD004_SERVER={expected}", "client:QKD004_SERVER=qkd://site-b"]
            return subprocess.run(command, check=False).returncode == 0

        if passes("qkd://site-b"):
            print("site-a passes for site-b")
            return 1
        return 0 if passes("qkd://site-a") else 1


sys.exit(main())
