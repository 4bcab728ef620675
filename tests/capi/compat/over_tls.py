#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs two_sites over TLS, with certificates that are made for it and go again.

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
        for end, name, site in (("server", "alice", "site-a"), ("client", "bob", "site-b")):
            shown += [f"{end}:QKD004_CERTIFICATE={certs}/{name}.pem", f"{end}:QKD004_KEY={certs}/{name}.key",
                      f"{end}:QKD004_SERVER=qkd://{site}"]
        return subprocess.run([two_sites, program, "tls:" + certs, *shown, *variables], check=False).returncode


sys.exit(main())
