#!/bin/sh
# Starts collegium in a container, or in any place where only the home and a temporary folder can be written.
#
#   entrypoint.sh train run 1           the client
#   entrypoint.sh watch 1               a watcher
#   entrypoint.sh coordinator run       a coordinator
#
# COLLEGIUM_HOME  the volume; /var/lib/collegium by default
# TMPDIR          /tmp by default
set -eu
umask 077

home=${COLLEGIUM_HOME:-/var/lib/collegium}
temporary=${TMPDIR:-/tmp}
secret=/run/secrets/collegium-password

fail() {
    printf 'error: %s\n  next: %s\n' "$1" "$2" >&2
    exit 3
}

# A plain `[ -w ]` says yes to root on a read-only disk.
writable() {
    probe="$1/.collegium-probe-$$"
    (: > "$probe") 2>/dev/null && rm -f "$probe"
}

[ -d "$home" ] || fail "There is no folder $home." "Mount a volume there, or set COLLEGIUM_HOME."
writable "$home" || fail "$home cannot be written by user $(id -u)." \
    "Mount the volume for writing and give it to user $(id -u): chown $(id -u) on the host."
writable "$temporary" || fail "$temporary cannot be written by user $(id -u)." \
    "Mount one: --tmpfs $temporary, or set TMPDIR."

export COLLEGIUM_HOME="$home" TMPDIR="$temporary"
# Libraries that keep caches find them beside other temporary files, not in a home that may not exist.
export HOME="$temporary" XDG_CACHE_HOME="$temporary/cache" XDG_CONFIG_HOME="$temporary/config"
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
if [ -z "${COLLEGIUM_PASSWORD_FILE:-}" ] && [ -r "$secret" ]; then
    export COLLEGIUM_PASSWORD_FILE="$secret"
fi

case "${1:-}" in
    coordinator) shift; program=collegium-coordinator ;;
    *) program=collegium ;;
esac
command -v "$program" >/dev/null 2>&1 || fail "$program is not on PATH." "Install the wheel, or correct PATH."
exec "$program" "$@"
