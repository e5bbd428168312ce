"""One simulated party: a ClientApp that gets every message in what amounts to a fresh process.

Between two messages nothing of a party survives but the bytes of its `Context` (and the files that its app writes). The rules are those
of Flower's `flwr-clientapp` process (`flwr/supernode/runtime/run_clientapp.py` in 1.41): the context is read when the message arrives
and written when the app is done, also when the app raised; an exception becomes an error reply with the code and the text that Flower
gives it. Two messages that are in flight at once therefore both start from the same old state, and the last one to finish wins.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.serde import context_from_proto, context_to_proto
from flwr.proto.message_pb2 import Context as ProtoContext

from stfed.errors import LocalError
from stfed.testing.parcel import Parcel, pack, unpack

LOAD_REASON = "An exception was raised when attempting to load `ClientApp`"


def error_for(raised: BaseException) -> Error:
    """The error reply that Flower makes of an exception in a ClientApp."""
    return Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"{type(raised)}:<'{raised}'>")


class SimulatedNode:
    """A data owner with its own app and its own state.

    Args:
        index: its place among the parties, 0 to n-1.
        load: returns its ClientApp; called once per message, as a fresh process would import it.
        context: its first context.
    """

    def __init__(self, index: int, load: Callable[[], ClientApp], context: Context) -> None:
        self.index = index
        self.node_id: int = context.node_id
        self._load = load
        self._stored = _freeze(context)

    @property
    def context(self) -> Context:
        """A copy of its context as it is now; assign one to roll the party back or to wipe it."""
        return _thaw(self._stored)

    @context.setter
    def context(self, context: Context) -> None:
        self._stored = _freeze(context)

    def answer(self, request: Parcel, *, at_start: Callable[[], object] = lambda: None) -> Parcel:
        """Runs the app on one message.

        Args:
            request: the message as bytes.
            at_start: called once the context was read; two answers at once meet here, so that both start from the same state.

        Raises:
            LocalError: the app returned something that no Flower transport would deliver.
        """
        message, context = unpack(request), self.context
        at_start()
        try:
            app = self._load()
        except Exception:
            return pack(Message(Error(ErrorCode.LOAD_CLIENT_APP_EXCEPTION, LOAD_REASON), reply_to=message))
        try:
            reply = app(message, context)
        except Exception as raised:
            reply = Message(error_for(raised), reply_to=message)
        self.context = context
        if not isinstance(reply, Message) or reply.metadata.reply_to_message_id != request.message_id:
            raise LocalError(
                f"party {self.index}: its app answered a {message.metadata.message_type!r} message with something else than a reply to it",
                hint="build replies with Message(content, reply_to=message)",
            )
        return pack(reply)


def _freeze(context: Context) -> bytes:
    frozen: bytes = context_to_proto(context).SerializeToString(deterministic=True)
    return frozen


def _thaw(stored: bytes) -> Context:
    return context_from_proto(ProtoContext.FromString(stored))
