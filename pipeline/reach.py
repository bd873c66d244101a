"""Whether a Ray cluster answers at an address, found out in seconds: Ray itself would try for minutes."""

import os
import socket
import sys
import threading
from collections.abc import Callable

from recast.pipeline.reasons import words

PATIENCE_S = 8.0
"""For each answer; a cluster on another continent takes a second."""
IN_ALL_S = 20.0
"""Names of hosts may take long to look up, too."""
PORTS = {"ray": 10001, "": 6379}
"""What Ray serves its clients and its drivers on, where an address names no port."""
NO_CLUSTER = "what is there is no Ray cluster, or another of its ports"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""HTTP/2's preface and empty settings. A gRPC server, as Ray's are, answers with settings of its own."""
_SETTINGS = 4


def cluster_address() -> str:
    """Where the cluster is that RAY_ADDRESS names; empty if it names none, or asks for one on this machine."""
    address = os.environ.get("RAY_ADDRESS", "")
    return "" if address == "local" else address


def cluster_at_hand() -> str:
    """The cluster that a job would work on in any case, in words; empty if there is none."""
    if address := cluster_address():
        return f"the cluster that RAY_ADDRESS names, {address}"
    joined = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    return "the cluster that this process has joined" if joined else ""


def unreachable(address: str) -> str:
    """Why no Ray cluster can be joined at an address, in a sentence without an end; "" if one answers."""
    if address == "auto":
        return ""  # Ray looks it up on this machine
    scheme, separator, place = address.rpartition("://")
    if separator and scheme != "ray":
        return f"RAY_ADDRESS={address} is no address of a Ray cluster, which look like host:6379 or ray://host:10001"
    host, colon, port = place.partition("/")[0].rpartition(":")
    host, port = (host, port) if colon else (port, str(PORTS[scheme]))
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        return f"RAY_ADDRESS={address} is no address of a Ray cluster, which look like host:6379 or ray://host:10001"
    why = _within(IN_ALL_S, lambda: _silent(host.strip("[]"), int(port)) or _deaf(f"{host}:{port}", scheme))
    return f"no Ray cluster answers at RAY_ADDRESS={address}: {why}" if why else ""


def _silent(host: str, port: int) -> str:
    """Why a host and port don't speak as a Ray cluster does; "" if they do."""
    try:
        with socket.create_connection((host, port), timeout=PATIENCE_S) as line:
            line.sendall(_GREETING)
            frame = line.recv(4)
    except TimeoutError:
        return f"it says nothing within {PATIENCE_S:.0f} s"
    except OSError as fault:
        return words(fault)
    if frame.startswith((b"\x15\x03", b"\x16\x03")):
        return ""  # an alert of TLS: a cluster with RAY_USE_TLS, which Ray itself greets rightly
    return "" if len(frame) == 4 and frame[3] == _SETTINGS else NO_CLUSTER


def _deaf(server: str, scheme: str) -> str:
    """Why what speaks at an address isn't a cluster that does its work; "" if it is."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc, ray_client_pb2, ray_client_pb2_grpc

    with init_grpc_channel(server, asynchronous=False) as channel:
        try:
            if scheme == "ray":
                ping = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
                ray_client_pb2_grpc.RayletDriverStub(channel).ClusterInfo(ping, timeout=PATIENCE_S)
            else:
                ask = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel).CheckAlive
                ask(gcs_service_pb2.CheckAliveRequest(), timeout=PATIENCE_S)
        except grpc.RpcError as fault:
            code = fault.code()
            if code == grpc.StatusCode.UNIMPLEMENTED:
                return NO_CLUSTER
            if code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
                return f"it says nothing within {PATIENCE_S:.0f} s"
    return ""  # as for an answer that requires a token, of which Ray speaks better


def _within(seconds: float, ask: Callable[[], str]) -> str:
    answer: list[str] = []
    asking = threading.Thread(target=lambda: answer.append(ask()), daemon=True)
    asking.start()
    asking.join(seconds)
    return answer[0] if answer else f"it says nothing within {seconds:.0f} s"
