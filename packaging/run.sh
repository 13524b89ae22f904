#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds tlsfan where that is needed and starts it:
#   sh packaging/run.sh [TLSFAN-OPTION...]        a proxy on 127.0.0.1:3128, in the foreground
#   sh packaging/run.sh [OPTION...] run -- COMMAND [ARGUMENT...]    one command through tlsfan
#   sh packaging/run.sh --demo                    shows what it is for, with a local server
# The build lies outside the tree and is used again until a source file is newer. All that this
# script and the build print goes to stderr; the program replaces the shell, so streams and exit
# status are its own.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=packaging/apt.sh
. "$src/packaging/apt.sh"

say()
{
    printf '%s\n' "$*" >&2
}

# Prints the directory builds go to: one that the user tlsfan will run as can read, and nobody else
# can write.
cache_dir()
{
    if [ "$(id -u)" -eq 0 ]; then
        printf '%s\n' /var/cache/tlsfan
        return
    fi
    cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/tlsfan
    if ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
        cache=/var/tmp/tlsfan-$(id -u)
        mkdir -m 700 "$cache" 2>/dev/null ||
            [ -n "$(find "$cache" -prune -type d -user "$(id -u)")" ] || {
            say "$cache belongs to somebody else; set XDG_CACHE_HOME."
            exit 3
        }
    fi
    printf '%s\n' "$cache"
}

is_built()
{
    [ -x "$bin" ] && [ -f "$build/stamp" ] || return 1
    newer=$(find "$src/CMakeLists.txt" "$src/proxy" "$src/conf" "$src/packaging/run.sh" \
        -newer "$build/stamp" -print 2>/dev/null | head -n 1)
    [ -z "$newer" ]
}

# The stamp is made before the build begins: a file that changes meanwhile is newer than it.
build()
{
    # shellcheck disable=SC2086 # a list
    need_packages $BUILD_PACKAGES
    say "Building tlsfan in $build"
    touch "$build/stamp.new"
    if ! cmake -S "$src" -B "$build" -DCMAKE_BUILD_TYPE=Release -DTLSFAN_WERROR=OFF \
        -DTLSFAN_TESTS=OFF ||
        ! cmake --build "$build" -j "$(getconf _NPROCESSORS_ONLN)" --target tlsfan; then
        say "The build failed."
        exit 3
    fi
    mv "$build/stamp.new" "$build/stamp"
}

# Builds unless nothing changed; of several that start at once, one builds and the others wait for
# it.
build_if_needed()
{
    is_built && return
    (
        umask 022
        mkdir -p "$build"
        exec 9>"$build/lock"
        flock 9 2>/dev/null || true
        is_built || build 9>&-
    ) </dev/null >&2
}

# Is this "run -- COMMAND", with or without options before and behind it?
is_run_mode()
{
    previous=
    for argument in "$@"; do
        case $previous in
            -[clfsow] | --config | --listen | --forward | --service | --option | --workers) ;;
            *)
                [ "$argument" != run ] || return 0
                [ "$argument" != -- ] || return 1
                ;;
        esac
        previous=$argument
    done
    return 1
}

# Does one of these arguments make the program answer and end, rather than serve?
is_question()
{
    for argument in "$@"; do
        case $argument in
            -h | --help | -V | --version | -t | --test | -T | --dump) return 0 ;;
            --make-ca* | --check-health*) return 0 ;;
        esac
    done
    return 1
}

# Says how to use what has started. Listeners of the caller's own are named by the log, but for one
# that is written as -l ADDRESS:PORT.
say_how()
{
    proxy=127.0.0.1:3128
    live=127.0.0.1:3129
    previous=
    [ -z "${TLSFAN_LISTEN:-}${TLSFAN_FORWARD:-}" ] || proxy=''
    [ -z "${TLSFAN_SERVICE:-}" ] || live=''
    for argument in "$@"; do
        case $argument in
            -c* | --config*) proxy='' live='' ;;
            -l* | --listen* | -f* | --forward* | listen=*) proxy='' ;;
            -s* | --service* | service=*) live='' ;;
        esac
        case "$previous $argument" in
            '-l 0.0.0.0:'*) ;;
            '-l '[0-9]*:[1-9]*) proxy=$argument ;;
        esac
        previous=$argument
    done
    if [ -n "$proxy" ]; then
        say "tlsfan is on $proxy. To use it, in another terminal:"
    else
        proxy=ADDRESS:PORT
        say "tlsfan is up; the log names its addresses. To use it, in another terminal:"
    fi
    say "    export http_proxy=http://$proxy"
    say "    curl http://example.com/        (an http:// URL: tlsfan makes it verified https)"
    [ -z "$live" ] || say "live page: http://$live/"
    say "To stop it: Ctrl-C here, or kill $$"
}

# Waits until the program, which has become this process, listens: its threads begin after that.
# Ends without a word when it ends.
say_how_when_up()
{
    while [ -d "/proc/$$" ]; do
        if cat "/proc/$$/task/"*/comm 2>/dev/null | grep -qx service; then
            say_how "$@"
            return
        fi
        sleep 0.1
    done
}

# As root: becomes the user who called sudo, else nobody. Stays root where the system does not let
# it.
exec_unprivileged()
{
    if [ "$(id -u)" -ne 0 ]; then
        exec "$bin" "$@"
    fi
    user=${SUDO_UID:-65534}
    become="setpriv --reuid=$user --regid=${SUDO_GID:-65534} --clear-groups"
    # shellcheck disable=SC2086 # a command with its arguments
    if [ "$user" -ne 0 ] && $become test -x "$bin" 2>/dev/null; then
        exec $become "$bin" "$@"
    fi
    say "tlsfan runs as root: this system does not let it become another user."
    exec "$bin" "$@"
}

cache=$(cache_dir)
build=$cache/build-$(printf %s "$src" | cksum | cut -d ' ' -f 1)
bin=$build/tlsfan
build_if_needed

if [ "${1:-}" = --demo ]; then
    shift
    exec sh "$src/packaging/demo/demo.sh" "$bin" "$@"
fi
if is_run_mode "$@" || is_question "$@"; then
    exec "$bin" "$@"
fi
# A grandchild: the program has no child that it does not know.
(say_how_when_up "$@" </dev/null >/dev/null &)
exec_unprivileged "$@"
