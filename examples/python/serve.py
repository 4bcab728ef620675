# SPDX-License-Identifier: Apache-2.0
"""A key manager in this process, on a port of its own, and two applications that reach it over TCP. The site is its own
peer here: with two machines each runs a site, and the applications do not change."""
import qkd004

site = {"node": "here", "listen": ["qkd004://127.0.0.1:0"], "self_link": True}

with qkd004.serve(site) as server:
    uri = server.addresses[0]
    with qkd004.connect(uri) as alice, qkd004.connect(uri) as bob:
        with alice.open_connect("qkd://alice@here", "qkd://bob@here") as at_alice:
            ksid = at_alice.key_stream_id
            with bob.open_connect("qkd://alice@here", "qkd://bob@here", key_stream_id=ksid) as at_bob:
                equal = at_alice.get_key() == at_bob.get_key()
                print(f"key 0 over {uri}: {'equal at both ends' if equal else 'DIFFERENT'}")

raise SystemExit(not equal)
