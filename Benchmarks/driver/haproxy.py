"""HAProxy as a peer: one thread, connections to the upstream kept and shared."""

import peers


def configuration(stage, name, port, to, rules):
    text = f"""
global
  maxconn 15000
  # It would want a descriptor for each connection to the upstream too.
  no strict-limits
  nbthread 1
  log /dev/null local0
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  default_backend pool
backend pool
  http-request deny deny_status 404 unless {{ path_beg /fs/ }}
{rules}
  http-request replace-path /fs(/.*) \\1
  server upstream 127.0.0.1:{to}
"""
    return stage.write(name + ".cfg", text)


def run(stage, tools, name, port, to, rules, known, prefix):
    conf = configuration(stage, name, port, to, rules)
    process = stage.start(name, [tools.haproxy, "-db", "-q", "-f", conf], peers.SERVER_CORE, prefix)
    peers.await_listener(process, port)
    return peers.Running(process, port, known)


def plain(stage, tools, port, to, sessions, prefix):
    return run(stage, tools, "haproxy-plain", port, to, "", peers.cookies(sessions), prefix)


def same(stage, tools, port, to, sessions, prefix):
    """The token of the session's cookie from a map, no cookie upstream, CORS fields."""
    known = peers.cookies(sessions)
    tokens = stage.write("haproxy-tokens.map", "".join(f"{cookie} {peers.text(750)}\n" for cookie in known))
    rules = f"""
  http-request set-var(txn.token) req.cook(intercom),map({tokens})
  http-request deny deny_status 401 unless {{ var(txn.token) -m found }}
  http-request del-header Cookie
  http-request set-header Authorization "Bearer %[var(txn.token)]"
  http-response add-header Vary Origin
  http-response set-header Access-Control-Allow-Origin "{peers.ORIGIN}"
  http-response set-header Access-Control-Allow-Credentials true
  http-response set-header Access-Control-Expose-Headers "{peers.EXPOSED}"
"""
    return run(stage, tools, "haproxy-same", port, to, rules, known, prefix)
