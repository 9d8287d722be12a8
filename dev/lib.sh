# Shared by the scripts of this folder: source it. Logic that needs tests belongs into Swift.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The C libraries that Package.swift names, and the tool by which SwiftPM finds them.
mapfile -t build_packages < <(sed -n 's/^ *library(.*apt: "\([^"]*\)").*/\1/p' "$root/Package.swift")
build_packages+=(pkg-config)

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# as_root COMMAND…: runs it directly, or through sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 126; fi
}

# debian_packages WHY NAME…: installs the packages of the list that are missing.
debian_packages() {
  local why=$1 missing=() name
  shift
  command -v dpkg-query >/dev/null || { say "not a Debian: $why needs what Debian calls $*"; return 0; }
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing for $why: ${missing[*]}"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null \
    || fail "cannot install: neither root nor sudo. Ask an administrator for: apt-get install --no-install-recommends ${missing[*]}"
  apt_install "${missing[@]}" || { as_root apt-get update -qq >&2 && apt_install "${missing[@]}"; } \
    || fail "could not install ${missing[*]}: see the messages of apt-get above"
}

# Quiet unless it fails. The package lists of a fresh machine are empty: then a first try cannot succeed and is not made.
apt_install() {
  local log=$root/.build/apt.log
  mkdir -p "$root/.build"
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || as_root apt-get update -qq >&2 || return 1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 \
    || { tail -5 "$log" >&2; return 1; }
}

# Compilers at once; INTERCOM_JOBS wins.
jobs=${INTERCOM_JOBS:-$(nproc)}

# One set of flags: another one would build everything again. The Swift runtime is linked in; no libraries are looked for beside the program.
release_flags=(-c release --static-swift-stdlib --disable-local-rpath)

require_swift() {
  command -v swift >/dev/null || fail "the Swift toolchain (6.3 or newer) is not in PATH: https://www.swift.org/install/linux/"
}
