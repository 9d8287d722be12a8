"""Apache with mod_auth_openidc as a peer: a relying party like Intercom. Somebody signs in once at the embedded provider; the session that
the module then has in its cache of files is copied under other names until there are as many as the comparison wants."""

import os

import client
import peers

MODULES = (
    "mpm_event", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http", "auth_openidc",
)


def relying_party(stage, tools, port, to, sessions, prefix):
    folder = stage.path("apache")
    cache = os.path.join(folder, "cache")
    os.makedirs(cache, exist_ok=True)
    for name in os.listdir(cache):
        os.remove(os.path.join(cache, name))
    base = f"http://intercom.localhost:{port}"
    issuer = peers.provider(stage, tools, port + 1, base)
    conf = stage.write("apache.conf", configuration(tools, folder, cache, port, to, base, issuer))
    process = stage.start("apache", [tools.apache, "-f", conf, "-X"], peers.SERVER_CORE, prefix)
    peers.await_listener(process, port)
    return peers.Running(process, port, copies(cache, sign_in(base), sessions))


def configuration(tools, folder, cache, port, to, base, issuer):
    """One process, as many threads as the load has connections and some. Its cache in shared memory would search 10,000 sessions one by one."""
    modules = "\n".join(f"LoadModule {name}_module {tools.apache_modules}/mod_{name}.so" for name in MODULES)
    return f"""
ServerRoot {folder}
ServerName {base}
UseCanonicalName On
Listen 127.0.0.1:{port}
PidFile {folder}/httpd.pid
DefaultRuntimeDir {folder}
Mutex file:{folder} default
ErrorLog /dev/stderr
LogLevel error
{modules}

ServerLimit 1
StartServers 1
ThreadLimit 128
ThreadsPerChild 128
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
AsyncRequestWorkerFactor 200
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
Timeout 600
ListenBacklog 4096

OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID intercom
OIDCClientSecret bench-secret
OIDCRedirectURI {base}/callback
OIDCPKCEMethod S256
OIDCScope "openid profile email"
OIDCCryptoPassphrase {peers.text(40)}
OIDCCookie intercom
OIDCSessionType server-cache
OIDCSessionInactivityTimeout 36000
OIDCSessionMaxDuration 36000
OIDCCacheType file
OIDCCacheDir {cache}
OIDCCacheEncrypt Off
OIDCStripCookies intercom
OIDCPassClaimsAs environment

ProxyRequests Off
ProxyPreserveHost Off
<Location /callback>
  AuthType openid-connect
  Require valid-user
</Location>
<Location /fs/>
  AuthType openid-connect
  Require valid-user
  OIDCUnAuthAction auth
  RequestHeader unset Cookie
  RequestHeader set Authorization "Bearer %{{OIDC_access_token}}e"
  Header always merge Vary Origin
  Header always set Access-Control-Allow-Origin "{peers.ORIGIN}"
  Header always set Access-Control-Allow-Credentials true
  Header always set Access-Control-Expose-Headers "{peers.EXPOSED}"
  ProxyPass http://127.0.0.1:{to}/ keepalive=On enablereuse=On
</Location>
"""


def sign_in(base):
    """The session cookie of somebody who walked the whole way."""
    visitor = client.Visitor()
    try:
        status, text, at = visitor.sign_in(base + "/fs/", "alice", "password")
        peers.must_be(status == 200, f"signing in at Apache ended with {status} at {at}: {text[:300]}")
        return visitor.cookies["intercom.localhost"]["intercom"]
    finally:
        visitor.close()


def copies(cache, cookie, sessions):
    """The module finds a session by the name of its file, which holds its cookie; the length of what is in it must stay."""
    (name,) = [name for name in os.listdir(cache) if cookie in name]
    with open(os.path.join(cache, name), "rb") as file:
        content = file.read()
    known = [cookie]
    while len(known) < sessions:
        known.append(peers.text(len(cookie)))
        with open(os.path.join(cache, name.replace(cookie, known[-1])), "wb") as file:
            file.write(content.replace(cookie.encode(), known[-1].encode()))
    return known
