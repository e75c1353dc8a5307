"""What a process of Flower's runtimes does with a client that is stuck."""

import subprocess
import sys

STUCK = """
import ctypes
import threading
import time

from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedgen.config.tree import build
from fedgen.federation import client_app
from fedgen.federation.flower import identify_task
from fedgen.federation.run_config import to_run_config
from strategies.messages import protocol

identify_task()
client_app.LOCKED_SECONDS = 1.0
tree = {"data": {"dataset": "digits"}, "model": {"name": "logistic"}}
run_config = to_run_config(build(tree | {"training": {"deadline": 0.25}}))
context = Context(1, 7, {}, RecordDict(), run_config)
content = RecordDict({protocol.CONFIG: ConfigRecord({protocol.SEED: 0})})
message = Message(content, 7, "train")


def answered(client):
    began = time.monotonic()
    reply = client_app.bounded(message, context, lambda message, context: client(message))
    said = reply.error.reason if reply.has_error() else "trained"
    print(f"{time.monotonic() - began:.1f} s: {said}", flush=True)


def failing(message):
    raise ValueError("broken")


answered(lambda message: Message(RecordDict(), reply_to=message))
try:
    answered(failing)
except ValueError as error:
    print(error, flush=True)
answered(lambda message: time.sleep(3600))
over = threading.Event()


def locking(message):
    over.wait()
    ctypes.PyDLL(None).sleep(3600)  # Python's lock is not given back


threading.Thread(target=answered, args=(locking,)).start()
answered(lambda message: Message(RecordDict(), reply_to=message))
over.set()  # one that shares the process has come and gone
"""


def test_a_stuck_client_is_given_up_and_a_process_that_is_stuck_as_a_whole_ends_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=120
    )
    said = done.stdout.splitlines()
    assert said[0].endswith(" s: trained") and said[1] == "broken", done.stderr
    seconds, _, reason = said[2].partition(" s: ")
    assert reason == "stuck, abandoned 2 s after the deadline of 0.25 s"
    assert 2.2 <= float(seconds) < 10
    assert said[3].endswith(" s: trained") and len(said) == 4 and done.returncode == 1
    assert "Timeout (0:00:03" in done.stderr  # faulthandler's, at 0.25 + 2 + 1 s
