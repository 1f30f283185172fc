# Sourced: installs Debian packages that are missing.

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    echo "this needs root or sudo: $*" >&2
    return 1
  fi
}

# install_packages PACKAGE...
install_packages() {
  missing=""
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  echo "installing$missing"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || return 1
  # Unquoted: a list of words.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# want COMMAND PACKAGE: tests that need the command say so where it cannot be had.
want() {
  command -v "$1" >/dev/null 2>&1 && return 0
  if command -v apt-get >/dev/null 2>&1 && install_packages "$2"; then
    return 0
  fi
  echo "could not install $2: tests that need $1 will not run" >&2
}
