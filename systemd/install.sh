#!/bin/bash
# Installs, upgrades or uninstalls Scribe Node as a systemd service. It can be run again at any
# time; see `install.sh --help`.
set -euo pipefail

readonly NAME=scribe-node
readonly HOME_DIR=/opt/$NAME
readonly VENV=$HOME_DIR/venv
readonly SHARE=$VENV/share/$NAME
readonly CONFIG_DIR=/etc/$NAME
readonly CONFIG=$CONFIG_DIR/node.yaml
readonly PASSWORD=$CONFIG_DIR/mqtt-password
readonly STATE=/var/lib/$NAME
readonly UNIT=/etc/systemd/system/$NAME.service
readonly WEB=$NAME-web
readonly WEB_UNIT=/etc/systemd/system/$WEB.service
readonly WEB_OPTIONS=$CONFIG_DIR/web.env
readonly WEB_PASSWORD=$CONFIG_DIR/web-password
readonly WORKER=$NAME-worker
readonly WORKER_UNIT=/etc/systemd/system/$WORKER.service
readonly COMMAND=/usr/local/bin/$NAME
readonly PACKAGES="python3 python3-venv libportaudio2 alsa-utils ca-certificates"

usage() {
    cat <<END
Usage: install.sh [install|upgrade|uninstall] [OPTIONS]

  install, upgrade   install the service, or upgrade it (default)
  uninstall          remove the service; keep configuration and transcripts

  --web              also install the web page as a service; an upgrade keeps it
  --worker           also transcribe for other nodes, as a service; an upgrade keeps it
  --wheel FILE       install this wheel instead of the source around this script
  --no-model         do not download the speech model now
  --purge            with uninstall: also remove the configuration and every transcript
  --yes              do not ask for confirmation
END
}

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

systemd_runs() { [ -d /run/systemd/system ]; }

agree() {
    if [ "$yes" = no ] && [ -t 0 ]; then
        read -rp "Continue? [y/N] " answer
        [[ $answer == [yYoO]* ]] || fail "nothing was changed"
    fi
}

require_python() {
    python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
        fail "Python 3.11 to 3.13 is needed, but python3 is $(python3 --version)"
}

require_machine() {
    [ "$(id -u)" = 0 ] || fail "this changes the system: run it with sudo"
    command -v apt-get >/dev/null || fail "this is for Debian and its derivatives; see docs/install.md"
    case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "there is no speech engine for $(uname -m): use a 64-bit system" ;;
    esac
    if command -v python3 >/dev/null; then
        require_python
    fi
}

missing_packages() {
    local package
    for package in $PACKAGES; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            printf '%s ' "$package"
    done
}

announce_install() {
    say "This installs $NAME:"
    say "  Debian packages     ${packages:-none, all are installed}"
    say "  program             $VENV, from $origin"
    say "                      (Python packages from PyPI, with locked versions and hashes)"
    say "  command             $COMMAND"
    say "  user                $NAME, a system user in the group audio"
    if [ -e "$CONFIG" ]; then
        say "  configuration       $CONFIG, unchanged"
    else
        say "  configuration       $CONFIG, the commented default"
    fi
    say "  password            $PASSWORD, empty if it is new"
    say "  transcripts, model  $STATE, accessible only to that user"
    say "  service             $UNIT, started now and at every boot"
    [ "$web" = no ] || say "  web page            $WEB_UNIT, at http://127.0.0.1:8099/"
    [ "$worker" = no ] || say "  worker              $WORKER_UNIT, for nodes on the same broker"
    [ "$model" = no ] || say "  speech model        downloaded if missing (150 MB for base)"
}

install_packages() {
    [ -n "$packages" ] || return 0
    step "Debian packages: $packages"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
}

make_venv() {
    step "Program: $VENV"
    require_python
    # After a Debian upgrade the venv's interpreter no longer exists.
    local version='import sys; print(sys.version_info[:2])'
    if [ "$("$VENV/bin/python" -c "$version" 2>/dev/null)" != "$(python3 -c "$version")" ]; then
        rm -rf "$VENV"
        mkdir -p "$HOME_DIR"
        python3 -m venv "$VENV"
    fi
}

install_program() {
    local build package lock locks
    build=$(mktemp -d)
    # shellcheck disable=SC2064  # this folder
    trap "rm -rf '$build'" EXIT
    if [ -n "$wheel" ]; then
        package=$wheel lock=$build
        files_of_wheel "$build"
    else
        # A copy, because building in the clone would leave root's files in it.
        (cd "$source" &&
            cp -r pyproject.toml README.md CHANGELOG.md LICENSE docs node config systemd "$build")
        package=$build lock=$source/systemd
    fi
    locks=(-r "$lock/requirements.lock")
    [ "$web" = no ] || locks+=(-r "$lock/requirements-web.lock")
    # Dependencies must match the hashes in the lock file; only the program itself has none.
    pip_install --require-hashes --only-binary :all: "${locks[@]}"
    # Reinstall the same version too: the clone may have changed.
    pip_install --force-reinstall --no-deps "$package"
    "$VENV/bin/pip" check
    ln -sfn "$VENV/bin/$NAME" "$COMMAND"
    say "$NAME $("$VENV/bin/$NAME" --version)"
}

# Writes the lock files of the wheel into a folder.
files_of_wheel() {
    "$VENV/bin/python" - "$wheel" "$1" <<'END'
import pathlib, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    for lock in ("requirements.lock", "requirements-web.lock"):
        names = [name for name in wheel.namelist() if name.endswith(f"/systemd/{lock}")]
        if not names:
            sys.exit(f"install.sh: {sys.argv[1]} is not a wheel of this program")
        pathlib.Path(sys.argv[2], lock).write_bytes(wheel.read(names[0]))
END
}

pip_install() { "$VENV/bin/pip" install -q --disable-pip-version-check "$@"; }

make_user() {
    if ! getent passwd "$NAME" >/dev/null; then
        step "User: $NAME"
        useradd --system --user-group --home-dir "$STATE" --no-create-home \
            --shell /usr/sbin/nologin "$NAME"
    fi
    usermod -aG audio "$NAME"
    install -d -m 0700 -o "$NAME" -g "$NAME" "$STATE"
}

make_configuration() {
    install -d -m 0750 -o root -g "$NAME" "$CONFIG_DIR"
    if [ ! -e "$PASSWORD" ]; then
        install -m 0600 /dev/null "$PASSWORD"
    fi
    [ "$web" = no ] || make_web_configuration
    if [ -e "$CONFIG" ]; then
        return
    fi
    step "Configuration: $CONFIG"
    sed -e "s|^  path: ~/.local/share/$NAME |  path: $STATE |" \
        -e "s|^  # password_file: mqtt-password .*|  # password_file: mqtt-password   # $PASSWORD, readable only by root: systemd passes it on|" \
        "$SHARE/config/node.yaml" | install -m 0640 -o root -g "$NAME" /dev/stdin "$CONFIG"
}

make_web_configuration() {
    [ -e "$WEB_PASSWORD" ] || install -m 0600 /dev/null "$WEB_PASSWORD"
    [ -e "$WEB_OPTIONS" ] || install -m 0644 /dev/stdin "$WEB_OPTIONS" <<END
# Options of the web page; afterwards: sudo systemctl restart $WEB
# To open it to other machines, first set a password:
#   sudo $NAME web --set-password --password-file $WEB_PASSWORD
# OPTIONS=--listen 0.0.0.0:8099
END
}

fetch_model() {
    [ "$model" = yes ] || return 0
    step "Speech model"
    if ! (cd "$STATE" && runuser -u "$NAME" -- env HOME="$STATE" \
        "$COMMAND" fetch-model --config "$CONFIG"); then
        say "The model is not installed yet; the service runs and says so. Try again with:"
        say "  sudo runuser -u $NAME -- $NAME fetch-model --config $CONFIG"
    fi
}

start_service() {
    local name=$1
    local unit=/etc/systemd/system/$name.service
    local disabled=no
    [ ! -e "$unit" ] || systemctl is-enabled -q "$name" || disabled=yes
    step "Service: $unit"
    install -m 0644 "$SHARE/systemd/$name.service" "$unit"
    if [ "$disabled" = yes ]; then
        say "It stays disabled; to change that: sudo systemctl enable --now $name"
        ! systemd_runs || systemctl daemon-reload
        return
    fi
    systemctl enable -q "$name"
    if ! systemd_runs; then
        say "systemd is not running; the service starts at the next boot"
        return
    fi
    systemctl daemon-reload
    systemctl reset-failed "$name" 2>/dev/null || true
    systemctl restart "$name" || say "The service did not start; see the reason below."
    systemctl --no-pager --lines 0 status "$name" || true
}

check_all() {
    step "Check"
    "$COMMAND" check --config "$CONFIG" ||
        say "Fix the problems in $CONFIG, then: sudo systemctl restart $NAME"
}

install_all() {
    packages=$(missing_packages)
    announce_install
    agree
    install_packages
    make_venv
    install_program
    make_user
    make_configuration
    fetch_model
    start_service "$NAME"
    [ "$web" = no ] || start_service "$WEB"
    [ "$worker" = no ] || start_service "$WORKER"
    check_all
    step "Done. Edit $CONFIG, then: sudo systemctl restart $NAME"
    say "To see its status: $NAME status --watch, systemctl status $NAME, journalctl -u $NAME"
    [ "$web" = no ] || say "The page: http://127.0.0.1:8099/; for other machines see $WEB_OPTIONS"
}

uninstall_all() {
    say "This removes $NAME: its service, its program $HOME_DIR and $COMMAND"
    if [ "$purge" = yes ]; then
        say "and $CONFIG_DIR, $UNIT.d, $WEB_UNIT.d, $WORKER_UNIT.d, the user $NAME, and $STATE with EVERY TRANSCRIPT and the model."
        say "If storage.path is elsewhere, that folder stays: delete it yourself."
    else
        say "and keeps $CONFIG_DIR, $UNIT.d, the user $NAME and $STATE (--purge removes them too)."
    fi
    say "Debian packages stay."
    agree
    local name
    for name in "$WORKER" "$WEB" "$NAME"; do
        systemd_runs && systemctl stop "$name" 2>/dev/null || true
        systemctl disable -q "$name" 2>/dev/null || true
    done
    rm -rf "$UNIT" "$WEB_UNIT" "$WORKER_UNIT" "$HOME_DIR" "$COMMAND"
    systemd_runs && systemctl daemon-reload
    if [ "$purge" = yes ]; then
        rm -rf "$CONFIG_DIR" "$UNIT.d" "$WEB_UNIT.d" "$WORKER_UNIT.d" "$STATE"
        if getent passwd "$NAME" >/dev/null; then
            userdel "$NAME"
        fi
    fi
    say "Done."
}

action=install wheel='' model=yes web=no worker=no purge=no yes=no packages=''
while [ $# -gt 0 ]; do
    case $1 in
    install | upgrade | uninstall) action=$1 ;;
    --wheel)
        wheel=$(realpath -e "${2:?--wheel needs a file}")
        shift
        ;;
    --no-model) model=no ;;
    --web) web=yes ;;
    --worker) worker=yes ;;
    --purge) purge=yes ;;
    --yes) yes=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done
umask 022
source=$(realpath "$(dirname "$0")/..")
origin=${wheel:-$source}
[ ! -e "$WEB_UNIT" ] || web=yes
[ ! -e "$WORKER_UNIT" ] || worker=yes
require_machine
if [ "$action" = uninstall ]; then
    uninstall_all
else
    [ -n "$wheel" ] || [ -f "$source/pyproject.toml" ] ||
        fail "this script is not in a source folder: give a wheel with --wheel"
    install_all
fi
