#!/bin/sh
# What becomes of a message whose way to a SuperNode breaks once, and at once works again.
#
# Versions: Python 3.11, flwr 1.42.0; no options.
# Input: one SuperLink, one SuperNode, one message with a time to live of 60 s (12 hours by default).
# Between them, a relay that closes one connection after the SuperLink has answered
# /v1/fleet/pull-messages with the message, and before the SuperNode has that answer: what a link does
# that goes away at that moment. From then on, it passes everything.
#
# Seen: the SuperNode tries again, as it should, and is told that there is no message: the SuperLink
# marks a message as delivered when it is asked for, not when it is received. It is never sent again. As
# the SuperNode stays online, Grid.send_and_receive, which has no timeout by default, waits for as long as
# the message lives.
#
# Prints what was seen, and fails if it has changed. Not part of the tests: it installs packages.
set -eu
folder=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet flwr==1.42.0
export PATH="$folder/venv/bin:$PATH" FLWR_HOME="$folder/flwr"
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1
mkdir "$folder/app" "$folder/flwr"
cd "$folder"
cat > app/pyproject.toml <<'TOML'
[project]
name = "lost"
version = "1.0.0"
dependencies = []
license = "Apache-2.0"
[tool.flwr.app]
publisher = "lost"
[tool.flwr.app.components]
serverapp = "lost:server"
clientapp = "lost:client"
TOML
cat > app/lost.py <<'PYTHON'
import time

from flwr.app import Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

server = ServerApp()
client = ClientApp()


@client.query()
def answer(message, context):
    return Message(RecordDict(), reply_to=message)


@server.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(1)
    for name in ("first", "second"):
        began = time.time()
        message = Message(RecordDict(), nodes[0], MessageType.QUERY, ttl=60)
        (reply,) = grid.send_and_receive([message])
        said = f"error {reply.error.code}" if reply.has_error() else "answered"
        late = "in time" if time.time() - began < 45 else "when its time was over"
        print(f"SEEN {name} message: {said}, {late}; nodes online: {len(list(grid.get_node_ids()))}", flush=True)
PYTHON
cat > relay.py <<'PYTHON'
import asyncio

EMPTY = b"content-length: 0\r\n"  # of an answer without a message
lost = False


async def carry(reader, writer, told, answers):
    global lost
    while data := await reader.read(65536):
        if not answers:
            told["pull"] = b"/v1/fleet/pull-messages" in data
        elif told.get("pull") and not lost and data.startswith(b"HTTP") and EMPTY not in data:
            lost = True
            break
        writer.write(data)
        await writer.drain()
    writer.close()


async def meet(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", 19300)
    told = {}
    await asyncio.gather(
        carry(reader, back, told, False), carry(there, writer, told, True), return_exceptions=True
    )


async def main():
    async with await asyncio.start_server(meet, "127.0.0.1", 19301) as server:
        await server.serve_forever()


asyncio.run(main())
PYTHON
cat > flwr/config.toml <<'TOML'
[superlink]
default = "here"
[superlink.here]
address = "127.0.0.1:19300"
insecure = true
TOML
flower-superlink --insecure --port 19300 > superlink.log 2>&1 & pids="$!"
python relay.py & pids="$pids $!"
sleep 15
flower-supernode --insecure --superlink 127.0.0.1:19301 --port 19302 > supernode.log 2>&1 & pids="$pids $!"
timeout 240 flwr run app here --stream > run.log 2>&1 || true
sleep 5
cat superlink.log run.log | grep -o "SEEN.*" | sort -u | tee seen.log
# Which of the two it is depends on when the node asks.
sed -E 's/SEEN (first|second) message: //' seen.log | sort > seen
cat > expected <<'TEXT'
answered, in time; nodes online: 1
error 3, when its time was over; nodes online: 1
TEXT
cmp -s seen expected || { echo "the behaviour has changed"; exit 1; }
