# SPDX-License-Identifier: Apache-2.0
# Installs Debian packages, for the scripts that a newcomer starts; a POSIX shell reads it with `.`.
# Nothing is asked and nothing is installed that is there; all that apt prints goes to stderr.
# shellcheck shell=sh

# The packages that a build needs; what the program needs at run time comes with them.
# shellcheck disable=SC2034 # for those who read this file
BUILD_PACKAGES="build-essential cmake pkg-config libevent-dev libssl-dev libc-ares-dev
libconfuse-dev libevhtp-dev libjansson-dev libnghttp2-dev uthash-dev libcrypt-dev ca-certificates"

# Prints those of the named packages that are not installed, one a line.
missing_packages()
{
    dpkg-query -W -f='have ${db:Status-Status} ${binary:Package}\n' "$@" 2>/dev/null |
        awk -v wanted="$*" '
            $2 == "installed" { sub(/:.*/, "", $3); have[$3] = 1 }
            END {
                n = split(wanted, names, " ")
                for (i = 1; i <= n; i++)
                    if (!(names[i] in have))
                        print names[i]
            }'
}

# Runs a command as root, or ends with 3 after printing the one line that would do what is missing.
as_root_or_tell()
{
    line=$1
    shift
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        echo "Packages are missing. Install them as root, then start this again:" >&2
        echo "$line" >&2
        exit 3
    fi
}

# Installs what is missing of the named packages. A Debian service among them is not started: a
# policy-rc.d forbids it meanwhile, unless the machine has one of its own.
need_packages()
{
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "This is no Debian: what is missing has to be installed by hand, see tests/README.md." >&2
        return 0
    fi
    missing=$(missing_packages "$@" | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    echo "Installing: $missing" >&2
    # shellcheck disable=SC2016,SC2086 # $-signs are for the inner shell; the list is to be split
    as_root_or_tell "apt-get update && apt-get install -y --no-install-recommends $missing" \
        env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c '
            policy=/usr/sbin/policy-rc.d
            if [ ! -e "$policy" ]; then
                trap "rm -f $policy" EXIT
                trap "exit 130" INT TERM
                printf "#!/bin/sh\nexit 101\n" >"$policy" && chmod 755 "$policy"
            fi
            apt-get update -qq || echo "apt-get update failed; trying the old lists." >&2
            apt-get install -y -qq --no-install-recommends "$@"' sh $missing </dev/null >&2 || {
        echo "apt-get could not install: $missing" >&2
        exit 3
    }
}
