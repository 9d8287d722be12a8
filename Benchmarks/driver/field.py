"""Who is measured, in the order of the tables. A peer is a row; everything else treats all of them alike."""

import apache
import haproxy
from peers import Peer, intercom_one_loop, nginx_plain, nginx_same

PEERS = [
    Peer("intercom", "Intercom, one loop", intercom_one_loop),
    Peer("nginx-same", "nginx, the same work", nginx_same, needs="nginx"),
    Peer("nginx-plain", "nginx, plain proxying", nginx_plain, is_same_work=False, needs="nginx"),
    Peer("haproxy-same", "HAProxy, the same work", haproxy.same, needs="haproxy"),
    Peer("haproxy-plain", "HAProxy, plain proxying", haproxy.plain, is_same_work=False, needs="haproxy"),
    Peer("apache", "Apache, mod_auth_openidc", apache.relying_party, weight=10, needs="apache"),
]
LABELS = {peer.key: peer.label for peer in PEERS}


def present(tools):
    return [peer for peer in PEERS if getattr(tools, peer.needs)]
