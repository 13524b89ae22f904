#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what the tests need, builds everything and runs all tests:
#   sh tests/run.sh [--quick] [--soak] [--machines]
#       --quick      no sanitizer builds, fuzzing, packages or benchmark
#       --soak       the tests that run for long as well, and fuzzing for longer
#       --machines   as root: on a fresh Debian 12 the commands of the README and the package, and the
#                    container image; see tests/machines/conftest.py
# A step that fails does not end the run. The last line is "N passed, N failed, N skipped" over all
# steps, and the exit status is 0 only where nothing failed. Builds and logs go to
# ${TLSFAN_BUILD_DIR:-build}.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd -P)
builds=${TLSFAN_BUILD_DIR:-$src/build}
fuzz_seconds=10
# shellcheck source=packaging/apt.sh
. "$src/packaging/apt.sh"

quick=false
soak=false
machines=false
for argument in "$@"; do
    case $argument in
        --quick) quick=true ;;
        --soak)
            soak=true
            fuzz_seconds=60
            ;;
        --machines) machines=true ;;
        *)
            echo "usage: sh tests/run.sh [--quick] [--soak] [--machines]" >&2
            exit 2
            ;;
    esac
done

passed=0
failed=0
skipped=0
no_aslr=
summary=
nl='
'

add_counts()
{
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
}

# Adds a line to what is printed at the end.
note()
{
    summary="$summary$(printf '%-14s' "$1") $2$nl"
}

# step NAME SECONDS COMMAND...: runs it within that time, shows and keeps what it prints. Sets log
# and status. timeout stays in the foreground, so that Ctrl-C reaches the command and what it
# started.
step()
{
    name=$1
    limit=$2
    shift 2
    log=$builds/logs/$name.log
    printf '\n== %s\n' "$name"
    began=$(date +%s)
    {
        status=0
        # shellcheck disable=SC2086 # a command or nothing
        timeout --foreground -s INT -k 30 "$limit" $no_aslr "$@" </dev/null 2>&1 || status=$?
        echo "$status" >"$builds/logs/status"
    } | tee "$log"
    status=$(cat "$builds/logs/status")
    took="$(($(date +%s) - began)) s"
    [ "$status" -ne 124 ] || took="$took, stopped at its time limit"
}

# one NAME SECONDS COMMAND...: a step that counts as one test.
one()
{
    step "$@"
    if [ "$status" -eq 0 ]; then
        add_counts 1 0 0
        note "$name" "passed ($took)"
    else
        add_counts 0 1 0
        note "$name" "FAILED with status $status ($took)"
    fi
}

# Prints the number before a word in pytest's closing line, 0 where there is none.
number_of()
{
    number=$(printf ' %s\n' "$closing" | sed -n "s/.*[^0-9]\([0-9][0-9]*\) $1.*/\1/p")
    echo "${number:-0}"
}

# A runner that fails without naming a failed test did not get that far: that counts as a failure as
# well.
count_suite()
{
    bad=$2
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    add_counts "$1" "$bad" "$3"
    note "$name" "${closing:-no closing line} (status $status, $took)"
}

# folder NAME SECONDS FOLDER ARGUMENT...: the pytest files of one folder below tests/.
folder()
{
    name=$1
    limit=$2
    shift 2
    tests=$src/tests/$1
    shift
    step "$name" "$limit" env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest "$tests" "$@"
    closing=$(grep -E '(passed|failed|errors?|skipped|deselected|tests ran).* in [0-9.]+s' "$log" |
        tail -n 1 | sed 's/^=* *//; s/ *=*$//')
    count_suite "$(number_of passed)" "$(($(number_of failed) + $(number_of error)))" \
        "$(($(number_of skipped) + $(number_of xfailed)))"
}

# pytests NAME SECONDS BINARY MARKS ARGUMENT...: the integration tests against one binary.
pytests()
{
    export TLSFAN_BIN="$3"
    marks=$4
    name=$1
    limit=$2
    shift 4
    folder "$name" "$limit" integration -m "$marks" "$@"
    unset TLSFAN_BIN
}

# Most of a test's time is waiting: two for each core.
cores=$(getconf _NPROCESSORS_ONLN)
at_once=$((2 * cores))
by_file="-n $at_once --dist loadfile"

# The packages are made from the release build.
packages()
{
    export TLSFAN_PACKAGE_BUILD="$builds/release"
    folder packages 600 packaging
    unset TLSFAN_PACKAGE_BUILD
}

# ctests NAME SECONDS PRESET: the unit tests of one build.
ctests()
{
    step "$1" "$2" ctest --test-dir "$builds/$3" --output-on-failure --no-tests=error \
        -j "$at_once"
    closing=$(grep 'tests passed' "$log" | tail -n 1)
    total=$(printf '%s\n' "$closing" | sed -n 's/.* out of \([0-9]*\).*/\1/p')
    bad=$(printf '%s\n' "$closing" | sed -n 's/.* \([0-9]*\) tests* failed.*/\1/p')
    left_out=$(grep -c '\*\*\*Skipped' "$log" || true)
    count_suite "$((${total:-0} - ${bad:-0} - left_out))" "${bad:-0}" "$left_out"
}

# Unit tests are of the builds whose unit tests are run: to link them takes longer than all else, in a
# release build most of all.
program_alone=-DTLSFAN_TESTS=OFF

# build PRESET OPTION...: configures and builds; false where that failed, and then what needs it is
# not run.
build()
{
    preset=$1
    shift
    # shellcheck disable=SC2016 # the inner shell's
    one "build-$preset" 600 sh -c 'cd "$1" && to=$2 && jobs=$3 && shift 3 &&
        cmake -B "$to" "$@" && cmake --build "$to" -j "$jobs"' \
        sh "$src" "$builds/$preset" "$cores" --preset "$preset" "$@"
    [ "$status" -eq 0 ]
}

# Runs one target from its seeds; new inputs are kept outside the tree for the next run, crashes
# beside the log.
fuzz_one()
{
    target=$1
    found=$builds/fuzz-corpus/$target
    seeds=$src/tests/fuzz/corpus/${target#fuzz_}
    mkdir -p "$found"
    [ -d "$seeds" ] || {
        echo "$target has no seeds in tests/fuzz/corpus/${target#fuzz_}"
        return 1
    }
    # shellcheck disable=SC2086 # a command or nothing
    timeout -k 10 $((fuzz_seconds + 60)) $no_aslr "$builds/fuzz/$target" \
        -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$builds/logs/$target-" "$found" "$seeds"
}

# Fuzzes all targets, two at a time; each counts as one test.
fuzz_all()
{
    printf '\n== fuzz (%s s each, two at a time)\n' "$fuzz_seconds"
    targets=$(find "$src/tests/fuzz" -maxdepth 1 -name 'fuzz_*.c' -exec basename {} .c \; | sort)
    if [ -z "$targets" ]; then
        note fuzz "FAILED: no target in tests/fuzz"
        add_counts 0 1 0
        return
    fi
    running=
    for target in $targets; do
        fuzz_one "$target" >"$builds/logs/$target.log" 2>&1 </dev/null &
        running="$running $target:$!"
        case $running in
            *:*:*) fuzz_collect ;;
        esac
    done
    fuzz_collect
}

# Waits for the targets in $running, as NAME:PID, and counts them.
fuzz_collect()
{
    for pair in $running; do
        target=${pair%:*}
        log=$builds/logs/$target.log
        status=0
        wait "${pair#*:}" || status=$?
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
        if [ "$status" -eq 0 ]; then
            add_counts 1 0 0
            note "$target" "passed, ${runs:-0} runs"
        else
            tail -n 60 "$log"
            add_counts 0 1 0
            note "$target" "FAILED with status $status, see $log"
        fi
    done
    running=
}

# Older sanitizer runtimes do not cope with much address space randomisation: none, where that may
# be set.
sanitized_steps()
{
    if setarch "$(uname -m)" -R true 2>/dev/null; then
        no_aslr="setarch $(uname -m) -R"
    fi
    export TLSFAN_SANITIZED=1
    apart="not counted and not unsanitized"
    if build asan; then
        export ASAN_OPTIONS=detect_leaks=1:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1
        ctests unit-asan 600 asan
        # shellcheck disable=SC2086 # words
        pytests asan 1800 "$builds/asan/tlsfan" "not load and not bench and not soak and $apart" \
            $by_file
    fi
    if build tsan $program_alone; then
        export TSAN_OPTIONS=halt_on_error=0:exitcode=66:second_deadlock_stack=1
        # shellcheck disable=SC2086 # words
        pytests tsan 1500 "$builds/tsan/tlsfan" \
            "concurrent and not load and not bench and not soak and $apart" $by_file
    fi
    unset TLSFAN_SANITIZED
    if build fuzz; then
        fuzz_all
    fi
    no_aslr=
}

finish()
{
    printf '\n== summary (%s s)\n%s' "$(($(date +%s) - run_began))" "$summary"
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ] || exit 1
}

run_began=$(date +%s)
# shellcheck disable=SC2086 # a list
set -- $BUILD_PACKAGES nginx haproxy apache2 squid-openssl tinyproxy-bin openssl curl wget git clang clang-format \
    libclang-rt-14-dev libcmocka-dev dpkg-dev apache2-utils nghttp2-server python3 python3-pytest \
    python3-pytest-xdist python3-cryptography \
    python3-httpbin gunicorn python3-gevent python3-h2 python3-requests python3-urllib3 \
    python3-openssl python3-selenium chromium chromium-driver prometheus valgrind file lintian rpm \
    cpio systemd apparmor logrotate bash-completion zsh strace iproute2 nftables gnutls-bin \
    iptables busybox-static \
    man-db mandoc bind9-dnsutils w3m lynx libwww-perl liblwp-protocol-https-perl python3-httplib2 python3-pip ruby
if "$machines"; then
    set -- "$@" debootstrap buildah
fi
command -v node >/dev/null || set -- "$@" nodejs
set -- "$@" python3-yaml python3-jsonschema systemd
command -v npm >/dev/null || set -- "$@" npm
need_packages "$@"
mkdir -p "$builds/logs"
PATH=$PATH:/usr/sbin:/sbin
export PATH

one lint 60 "$src/tests/lint"
if build dev; then
    ctests unit 600 dev
    # shellcheck disable=SC2086 # words
    pytests integration 1800 "$builds/dev/tlsfan" "not load and not bench and not soak" $by_file
    pytests alone 600 "$builds/dev/tlsfan" "(load or bench) and not soak"
    if "$soak"; then
        pytests soak 7200 "$builds/dev/tlsfan" soak
        one schedules 1800 "$builds/dev/schedules" 1000000
    fi
fi
if "$machines"; then
    folder machines 3600 machines -v
fi
if ! "$quick"; then
    sanitized_steps
    if build release $program_alone; then
        packages
        one bench 300 "$src/tests/bench/run" --short --tlsfan "$builds/release/tlsfan"
        one instructions 600 "$src/tests/bench/instructions" --tlsfan "$builds/release/tlsfan"
        one bounds 600 "$src/tests/bounds/run" --tlsfan "$builds/release/tlsfan"
    fi
fi
finish
