"""What fedgen uses of Flower that Flower does not promise to keep; strategies' is in core/flower.

A release that has moved a name is read here, and a test says which one.
"""

from flwr.app import Message
from flwr.clientapp.typing import ClientAppCallable as ClientAppCallable
from flwr.clientapp.typing import Mod as Mod
from flwr.common.config import parse_config_args as parse_config_args
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.constant import ErrorCode as ErrorCode
from flwr.supercore.run import Run as Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1


def identify_task() -> None:
    """Let ``flwr.app.Message`` be built outside a Flower process.

    Messages read who sends them from class attributes that Flower's own
    launchers set; there is no public way to do the same.
    """
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SUPERLINK_NODE_ID
    TaskIdentity.task_id = 1


def number(message: Message, identity: str) -> None:
    """Give a message the id by which its reply is known; a SuperLink does so elsewhere."""
    message.metadata.__dict__["_message_id"] = identity
