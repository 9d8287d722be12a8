# Two SAML applications and an LDAP server beside Keycloak, for the tests of single logout: source it after services.sh.

saml_url=http://saml.intercom.localhost:$((base + 88))
directory_base=dc=intercom,dc=test

# A server that cannot be had: said, and a failure where every server must be there.
do_without() {
  say "skipped: $1, so its tests do not run"
  [ -z "${INTERCOM_REQUIRE_SERVICES:-}" ] || fail "INTERCOM_REQUIRE_SERVICES is set: a missing server is a failure"
}

# The SAML applications' key, made before Keycloak starts: its certificate is part of the realm, so that Keycloak takes signed requests only.
# A Keycloak that runs with another realm file or key ends here and is started anew.
saml_key() {
  local folder=$state/saml realm=$root/services/keycloak/workplace-realm.json
  if running keycloak; then
    ! cmp -s "$realm" "$folder/realm-of-keycloak.json" || return 0
    say "the realm of the running Keycloak is not today's: starting it anew"
    stop keycloak
  fi
  # It knows the keys of the Keycloak that is gone.
  stop saml
  debian_packages "the SAML applications" openssl
  mkdir -p "$folder"
  (umask 077; openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=saml.intercom.localhost" \
    -keyout "$folder/sp.key" -out "$folder/sp.crt" 2>/dev/null)
  cp "$realm" "$folder/realm-of-keycloak.json"
  # Keycloak fills them into the realm file when it starts.
  SAML_CERTIFICATE=$(saml_certificate)
  export SAML_CERTIFICATE SAML_URL=$saml_url SAML_SOAP_URL=http://127.0.0.1:$((base + 88))
}

saml_certificate() { openssl x509 -in "$state/saml/sp.crt" -outform DER | base64 -w0; }

# Apache with mod_auth_mellon: applications whose users Keycloak signs in by SAML.
saml_up() {
  running keycloak || return 0
  local port=$((base + 88)) data name
  if ! running saml; then
    debian_packages "the SAML applications" apache2-bin libapache2-mod-auth-mellon
    [ -f /usr/lib/apache2/modules/mod_auth_mellon.so ] || { do_without "no mod_auth_mellon"; return 0; }
    apache_folder saml
    mkdir "$data/pages"
    cp "$root/services/saml/pages/"* "$data/pages/"
    cp "$state/saml/sp.key" "$state/saml/sp.crt" "$data/run/"
    curl -sf -o "$data/run/idp.xml" "http://127.0.0.1:$((base + 80))/realms/workplace/protocol/saml/descriptor" || fail "Keycloak gives no SAML metadata"
    for name in wiki notes; do
      sed -e "s#@URL@#$saml_url#g" -e "s#@NAME@#$name#g" -e "s#@CERTIFICATE@#$(saml_certificate)#" \
        "$root/services/saml/sp-metadata.xml.template" >"$data/run/$name.xml"
    done
    apache saml "$root/services/saml/httpd.conf.template" "http://127.0.0.1:$port/wiki/saml/metadata" -e "s#@URL@#$saml_url#g"
  fi
  note SAML_URL "$saml_url/"
}

# slapd with services/ldap/tree.ldif in a fresh database.
ldap_up() {
  running keycloak || return 0
  local port=$((base + 89)) folder=$state/ldap
  if ! running ldap; then
    # Without this answer Debian's slapd would make a database of its own and serve it on port 389.
    dpkg-query -W slapd >/dev/null 2>&1 || ! command -v debconf-set-selections >/dev/null ||
      echo "slapd slapd/no_configuration boolean true" | as_root debconf-set-selections
    debian_packages "the directory" slapd ldap-utils
    [ -x /usr/sbin/slapd ] || { do_without "no slapd"; return 0; }
    port_free "$port"
    rm -rf "$folder"
    mkdir -p "$folder/db"
    sed -e "s#@FOLDER@#$folder#g" "$root/services/ldap/slapd.conf.template" >"$folder/slapd.conf"
    /usr/sbin/slapadd -q -f "$folder/slapd.conf" -l "$root/services/ldap/tree.ldif" >"$state/ldap.log" 2>&1 || fail "$(cat "$state/ldap.log")"
    # By its address: for the name localhost libldap would want a certificate of the machine's own name.
    setsid /usr/sbin/slapd -f "$folder/slapd.conf" -h "ldap://127.0.0.1:$port/" -d 0 >>"$state/ldap.log" 2>&1 </dev/null &
    echo $! >"$state/ldap.pid"
    await ldap 20 ldapwhoami -x -H "ldap://127.0.0.1:$port"
  fi
  federate "$port"
  note LDAP_URL "ldap://127.0.0.1:$port"; note LDAP_BASE "$directory_base"
}

# admin METHOD PATH [BODY]: one call of Keycloak's admin API below the realm, with a token of its own.
admin() {
  local server=http://127.0.0.1:$((base + 80)) token
  token=$(curl -sf "$server/realms/master/protocol/openid-connect/token" -d grant_type=password -d client_id=admin-cli -d username=admin -d password=admin |
    sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
  [ -n "$token" ] || fail "Keycloak's administrator cannot sign in"
  # The token is not among the arguments, which every process of the machine may read.
  printf 'header = "Authorization: Bearer %s"\n' "$token" |
    curl -sf -K - -X "$1" "$server/admin/realms/workplace$2" -H "Content-Type: application/json" ${3:+--data-binary "$3"}
}

# Users of the directory are users of the realm. Nothing happens when they are already.
federate() {
  local type=org.keycloak.storage.UserStorageProvider there
  there=$(admin GET "/components?name=directory&type=$type") || fail "cannot ask Keycloak for its user federation"
  [ "$there" = "[]" ] || return 0
  admin POST /components "$(sed -e "s#@PORT@#$1#g" "$root/services/ldap/federation.json")" || fail "Keycloak does not take the directory"
}

neighbours_down() {
  stop saml; stop ldap
  remove_data saml
  rm -rf "$state/saml" "$state/ldap"
}
