"""Whether Ray's servers answer somebody who has no token. Knows gRPC, and starts no Ray."""

from __future__ import annotations

from enum import Enum

import grpc

PROBE_TIMEOUT_S = 5.0
GCS_METHOD = "/ray.rpc.NodeInfoGcsService/CheckAlive"
CLIENT_METHOD = "/ray.rpc.RayletDriver/ClusterInfo"


class Answer(Enum):
    """What a server does with a call that carries no token."""

    REFUSED = "refused"
    ANSWERED = "answered"
    SILENT = "silent"


def ask_gcs(address: str) -> Answer:
    """Ask the GCS at ``host:port`` something harmless, without a token."""
    return _ask(address, GCS_METHOD)


def ask_ray_client(address: str) -> Answer:
    """The same at a Ray Client server (port 10001 by default)."""
    return _ask(address, CLIENT_METHOD)


def _ask(address: str, method: str) -> Answer:
    with grpc.insecure_channel(address) as channel:
        # An empty message is a valid request of both methods.
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        try:
            call(b"", timeout=PROBE_TIMEOUT_S)
        except grpc.RpcError as error:
            code = error.code()
            if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                return Answer.REFUSED
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return Answer.SILENT
    return Answer.ANSWERED
