# A Matrix homeserver beside the other servers: source it after neighbours.sh.

synapse_version=1.163.2
matrix_name=workplace.test
# Of the realm's people these have an account; umlaut has none.
matrix_people=(alice bob)

# synapse_begin: starts it beside everything else, for the installation of a first time takes half a minute.
synapse_begin() {
  synapse_job=
  debian_packages "the Matrix homeserver" python3 python3-venv curl openssl
  # What it says must not be lost among what others say.
  synapse_up >"$state/synapse-up.log" 2>&1 &
  synapse_job=$!
}

synapse_up() {
  local venv=$state/synapse-venv folder=$state/synapse port=$((base + 92))
  running synapse && return 0
  if [ "$(cat "$venv/installed" 2>/dev/null)" != "$synapse_version" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" && "$venv/bin/pip" install -q --only-binary :all: "matrix-synapse==$synapse_version" || { rm -rf "$venv"; return 1; }
    echo "$synapse_version" >"$venv/installed"
  fi
  port_free "$port"
  # A fresh database and secret at every start.
  rm -rf "$folder"
  mkdir -p "$folder"
  (umask 077; openssl rand -hex 32 | tr -d '\n' >"$folder/as-token")
  synapse_configure "$folder" "$port"
  "$venv/bin/generate_signing_key" -o "$folder/signing.key"
  setsid "$venv/bin/python" -m synapse.app.homeserver -c "$folder/homeserver.yaml" >>"$state/synapse.log" 2>&1 </dev/null &
  echo $! >"$state/synapse.pid"
  await synapse 60 curl -sf "http://127.0.0.1:$port/health" || return 1
  local name
  for name in "${matrix_people[@]}"; do matrix_account "$name" || { stop synapse; return 1; }; done
}

synapse_configure() {
  local folder=$1 name
  (umask 077
    for name in homeserver intercom log; do
      sed -e "s#@FOLDER@#$folder#g" -e "s#@PORT@#$2#g" -e "s#@NAME@#$matrix_name#g" -e "s#@AS_TOKEN@#$(cat "$folder/as-token")#" \
        -e "s#@HS_TOKEN@#$(openssl rand -hex 32)#" -e "s#@PATTERN@#@.*:${matrix_name//./\\\\\\\\.}#" \
        "$root/services/synapse/$name.yaml.template" >"$folder/$name.yaml"
    done)
}

# matrix_account NAME: made by the application service.
matrix_account() {
  # The secret is not among the arguments, which every process of the machine may read.
  printf 'header = "Authorization: Bearer %s"\n' "$(cat "$state/synapse/as-token")" |
    curl -sS -f -o /dev/null -K - -H "Content-Type: application/json" "http://127.0.0.1:$((base + 92))/_matrix/client/v3/register" \
      --data "{\"type\": \"m.login.application_service\", \"username\": \"$1\", \"inhibit_login\": true}"
}

# synapse_end: waits until it is there, and says where.
synapse_end() {
  if ! wait "$synapse_job"; then
    cat "$state/synapse-up.log" >&2
    do_without "no Matrix homeserver (matrix-synapse $synapse_version of PyPI)"
    return 0
  fi
  note MATRIX_URL "http://127.0.0.1:$((base + 92))"; note MATRIX_SERVER_NAME "$matrix_name"
  note MATRIX_AS_TOKEN_FILE "$state/synapse/as-token"
}

synapse_down() { stop synapse; rm -rf "$state/synapse"; }
