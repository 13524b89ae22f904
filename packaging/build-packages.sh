#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes tlsfan_VERSION_ARCH.deb, and where rpmbuild is, tlsfan-VERSION-1.ARCH.rpm:
#   sh packaging/build-packages.sh [--build DIR] OUTDIR [VERSION]
#       --build DIR   where to build, or a build that is there already (default: OUTDIR/build)
#       VERSION       what the packages are called instead of the program's own version
# Missing packages are installed as by packaging/run.sh. The last lines name what was made.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=packaging/apt.sh
. "$src/packaging/apt.sh"

usage()
{
    echo "usage: sh packaging/build-packages.sh [--build DIR] OUTDIR [VERSION]" >&2
    exit 2
}

build=
if [ "${1:-}" = --build ]; then
    [ $# -ge 2 ] || usage
    build=$2
    shift 2
fi
case ${1:-} in
    '' | -*) usage ;;
esac
[ $# -le 2 ] || usage

umask 022
mkdir -p "$1"
out=$(cd "$1" && pwd -P)
build=${build:-$out/build}
version=${2:-}

# shellcheck disable=SC2086 # a list
need_packages $BUILD_PACKAGES dpkg-dev file rpm
[ -f "$build/CMakeCache.txt" ] ||
    cmake -S "$src" -B "$build" -DCMAKE_BUILD_TYPE=Release -DTLSFAN_WERROR=OFF -DTLSFAN_TESTS=OFF
cmake --build "$build" -j "$(getconf _NPROCESSORS_ONLN)"

# pack GENERATOR SUFFIX
pack()
{
    rm -rf "$build/packages"
    cpack --config "$build/CPackConfig.cmake" -G "$1" -B "$build/packages" \
        ${version:+-D "CPACK_PACKAGE_VERSION=$version"}
    for file in "$build"/packages/*."$2"; do
        cp "$file" "$out/"
        made="$made$out/${file##*/}
"
    done
}

made=
pack DEB deb
if command -v rpmbuild >/dev/null; then
    pack RPM rpm
else
    echo "There is no rpmbuild: no RPM is made." >&2
fi
rm -rf "$build/packages"
printf 'Made:\n%s' "$made"
