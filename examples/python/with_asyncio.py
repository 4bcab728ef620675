# SPDX-License-Identifier: Apache-2.0
"""serve.py with asyncio: both applications wait for their keys at the same time, in one thread."""
import asyncio

import qkd004
from qkd004 import aio

ENDS = ("qkd://alice@here", "qkd://bob@here")
site = {"node": "here", "listen": ["qkd004://127.0.0.1:0"], "self_link": True}


async def main(uri):
    async with aio.connect(uri) as alice, aio.connect(uri) as bob:
        async with alice.open_connect(*ENDS) as at_alice:
            async with bob.open_connect(*ENDS, key_stream_id=at_alice.key_stream_id) as at_bob:
                keys = await asyncio.gather(at_alice.take(10), at_bob.take(10))
                return all(one == other for one, other in zip(*keys))


with qkd004.serve(site) as server:
    equal = asyncio.run(main(server.addresses[0]))

print("ten keys:", "equal at both ends" if equal else "DIFFERENT")
raise SystemExit(not equal)
