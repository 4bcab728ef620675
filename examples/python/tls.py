# SPDX-License-Identifier: Apache-2.0
"""serve.py over TLS 1.3: the site and the application have certificates, and know each other by the URI in them.
Argument: the folder that `qkd004 certs` made."""
import pathlib
import sys

import qkd004

certificates = pathlib.Path(sys.argv[1])
site = {
    "node": "site-a",
    "listen": ["qkd004s://127.0.0.1:0"],
    "self_link": True,
    "tls": {
        "certificate": str(certificates / "site-a.pem"),
        "key": str(certificates / "site-a.key"),
        "authority": str(certificates / "authority.pem"),
    },
}
as_alice = qkd004.TLS(
    certificate=certificates / "alice.pem",
    key=certificates / "alice.key",
    authority=certificates / "authority.pem",
    server="qkd://site-a",  # whose certificate the site has to show
)

with qkd004.serve(site) as server:
    with qkd004.connect(server.addresses[0], tls=as_alice) as alice:
        with alice.open_connect("qkd://alice@site-a", "qkd://bob@site-a") as stream:
            print("alice as alice:", stream.status.name)
        try:
            alice.open_connect("qkd://carol@site-a", "qkd://bob@site-a")
        except qkd004.NotAuthorized as error:
            print("alice as carol:", error.status.name)
        else:
            raise SystemExit("alice was believed to be carol")
