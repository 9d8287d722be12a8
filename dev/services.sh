# How dev/services starts and stops each server: source it after lib.sh.

state=$root/.build/services
base=${INTERCOM_SERVICES_PORT:-28000}
shared=${INTERCOM_SHARED:-$root/../shared}
intercom_url=${INTERCOM_URL:-http://intercom.localhost:$((base + 8))}

keycloak_version=26.7.3
# Of keycloak-26.7.3.tar.gz as published with the release.
keycloak_sha256=77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47

# token-exchange is the legacy form, which needs the first version of the fine-grained permissions; the standard one is always there.
keycloak_build=(--db=dev-file --health-enabled=true --features=token-exchange,admin-fine-grained-authz:v1)

# Each test starts an Intercom of its own at the address that Keycloak knows: a connection kept from the one before would be dead, and
# Keycloak sends a back-channel logout only once.
keycloak_options=--spi-connections-http-client--default--reuse-connections=false

note() { printf '%s=%s\n' "$1" "$2" >>"$state/env.new"; }

# running NAME: is the process of its pid file alive and still the one that we started?
running() {
  local pid; pid=$(cat "$state/$1.pid" 2>/dev/null) || return 1
  [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q "$state/$1"
}

# stop NAME: SIGTERM to the process group that we started, SIGKILL after ten seconds.
stop() {
  local pid
  if running "$1"; then
    pid=$(cat "$state/$1.pid")
    kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid"
    for _ in $(seq 100); do running "$1" || break; sleep 0.1; done
    ! running "$1" || kill -KILL -- "-$pid" 2>/dev/null || true
  fi
  rm -f "$state/$1.pid"
}

# await NAME SECONDS COMMAND…: until the command succeeds; the end of the log when it does not or the server ends.
await() {
  local name=$1 limit=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    kill -0 "$(cat "$state/$name.pid")" 2>/dev/null && [ $SECONDS -lt "$limit" ] || { say "$name did not become ready; the end of its log:"; tail -20 "$state/$name.log" >&2; return 1; }
    sleep 0.3
  done
}

port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || fail "port $1 is in use: stop what uses it, or set INTERCOM_SERVICES_PORT"; }

# Unpacks Keycloak from the shared folder, or from the release. Fails when neither can be had.
keycloak_unpack() {
  local to=$state/keycloak archive
  # One that was built with other options, by an older version of this script, is made anew.
  [ ! -x "$to/bin/kc.sh" ] || [ "$(cat "$to/built-with" 2>/dev/null)" != "${keycloak_build[*]}" ] || return 0
  rm -rf "$to"
  mkdir -p "$to"
  archive=$(compgen -G "$shared/keycloak/keycloak-$keycloak_version*.tar.xz" | head -1 || true)
  if [ -n "$archive" ]; then
    say "unpacking Keycloak $keycloak_version from the shared folder"
    tar -xJf "$archive" -C "$to" --strip-components=1 || { rm -rf "$to"; fail "cannot unpack $archive"; }
    echo "${keycloak_build[*]}" >"$to/built-with"
    return 0
  fi
  archive=$state/keycloak-$keycloak_version.tar.gz
  say "fetching Keycloak $keycloak_version (170 MB)"
  curl -fsSL --connect-timeout 10 --retry 2 -o "$archive" \
    "https://github.com/keycloak/keycloak/releases/download/$keycloak_version/keycloak-$keycloak_version.tar.gz" || return 1
  echo "$keycloak_sha256  $archive" | sha256sum --check --status || { rm -f "$archive"; fail "the fetched Keycloak is not the published one"; }
  tar -xzf "$archive" -C "$to" --strip-components=1
  "$to/bin/kc.sh" build "${keycloak_build[@]}" >"$state/keycloak-build.log" 2>&1
  echo "${keycloak_build[*]}" >"$to/built-with"
}

keycloak_up() {
  local port=$((base + 80)) management=$((base + 90))
  local issuer=http://id.intercom.localhost:$port/realms/workplace
  # A server from before a change to the realm would fail tests for no reason that they could tell.
  diff -rq "$root/services/keycloak" "$state/keycloak/data/import" >/dev/null 2>&1 || stop keycloak
  if ! running keycloak; then
    debian_packages "Keycloak" openjdk-17-jre-headless curl ca-certificates jq xz-utils
    if ! keycloak_unpack; then
      rm -rf "$state/keycloak"
      say "skipped: no Keycloak in $shared/keycloak and none to be fetched, so the tests against Keycloak and its file store do not run"
      [ -z "${INTERCOM_REQUIRE_SERVICES:-}" ] || fail "INTERCOM_REQUIRE_SERVICES is set: a missing server is a failure"
      return 0
    fi
    port_free "$port"; port_free "$management"
    # A fresh database at every start: the realm file is the only truth.
    rm -rf "$state/keycloak/data"
    mkdir -p "$state/keycloak/data/import"
    cp "$root/services/keycloak/"* "$state/keycloak/data/import/"
    say "starting Keycloak (15 to 40 s)"
    INTERCOM_URL=$intercom_url INTERCOM_BACKCHANNEL_URL=http://127.0.0.1:$((base + 8)) MAIL_URL=http://mail.intercom.localhost:$((base + 13)) \
      KC_HOSTNAME=http://id.intercom.localhost:$port KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin \
      JAVA_OPTS_KC_HEAP="-Xms64m -Xmx512m" \
      setsid "$state/keycloak/bin/kc.sh" start --optimized --import-realm --http-enabled=true --http-host=127.0.0.1 \
      --http-port="$port" --http-management-port="$management" --cache=local $keycloak_options >"$state/keycloak.log" 2>&1 </dev/null &
    echo $! >"$state/keycloak.pid"
    await keycloak 120 curl -sf "http://127.0.0.1:$management/health/ready"
    "$root/services/keycloak/complete-realm" "http://127.0.0.1:$port" || { stop keycloak; fail "the realm is not complete"; }
  fi
  note KEYCLOAK_ISSUER "$issuer"; note KEYCLOAK_PORT "$port"
}

# Without Keycloak nobody can sign tokens for it.
files_up() {
  running keycloak || return 0
  local port=$((base + 87)) data
  if ! running files; then
    # apache2-bin alone: the package apache2 would start a server of its own on port 80.
    debian_packages "the file store" apache2-bin libapache2-mod-oauth2
    apache_folder files
    mkdir "$data/dav"
    cp -r "$root/services/apache/files/." "$data/dav/"
    apache files "$root/services/apache/httpd.conf.template" "http://127.0.0.1:$port/" -e "s#@KEYCLOAK_PORT@#$((base + 80))#g"
  fi
  note FILES_URL "http://127.0.0.1:$port/dav/"
}

# apache_folder NAME: sets `data` to a new folder where Apache's own user may enter, which a checkout in somebody's home is not.
apache_folder() {
  remove_data "$1"
  data=$(mktemp -d "${TMPDIR:-/tmp}/intercom-$1.XXXXXX")
  echo "$data" >"$state/$1.data"
  mkdir -p "$data/run" "$state/$1"
  chmod 755 "$data"
}

# apache NAME TEMPLATE URL SED-ARGUMENT…: starts Apache on `port` with the template filled in and waits until URL answers.
apache() {
  local name=$1 template=$2 url=$3; shift 3
  port_free "$port"
  [ "$(id -u)" != 0 ] || chown -R www-data "$data"/*
  sed -e "s#@PORT@#$port#g" -e "s#@DATA@#$data#g" -e "s#@LOG@#$state/$name.log#g" "$@" "$template" >"$state/$name/httpd.conf"
  setsid /usr/sbin/apache2 -f "$state/$name/httpd.conf" -DFOREGROUND >>"$state/$name.log" 2>&1 </dev/null &
  echo $! >"$state/$name.pid"
  await "$name" 20 curl -s "$url"
}

# remove_data NAME: the temporary folder of a server that was stopped.
remove_data() {
  local data; data=$(cat "$state/$1.data" 2>/dev/null) || return 0
  case $data in */intercom-"$1".??????) rm -rf "$data" ;; esac
  rm -f "$state/$1.data"
}
