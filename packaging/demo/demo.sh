#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The experiment that tlsfan was made for, started by `sh packaging/run.sh --demo` with the path of
# the program: ten pages that take a second each, fetched by gevent and requests from a local
# httpbin over TLS, first straight, then through tlsfan. The two times go to stdout, everything else
# to stderr.
set -eu

tlsfan=$1
src=$(cd "$(dirname "$0")/../.." && pwd -P)
# shellcheck source=packaging/apt.sh
. "$src/packaging/apt.sh"
need_packages openssl python3 python3-httpbin gunicorn python3-gevent python3-requests \
    python3-urllib3 python3-openssl

dir=$(mktemp -d)
server=
finish()
{
    status=$?
    trap - EXIT INT TERM HUP
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A CA of its own and a certificate for "localhost", both with ECDSA keys.
make_certificates()
{
    for name in ca server; do
        openssl ecparam -name prime256v1 -genkey -noout -out "$dir/$name.key"
    done
    openssl req -x509 -key "$dir/ca.key" -days 2 -subj "/CN=tlsfan demo CA" -out "$dir/ca.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    openssl req -new -key "$dir/server.key" -subj /CN=localhost -out "$dir/server.csr"
    printf '%s\n' subjectAltName=DNS:localhost basicConstraints=CA:FALSE \
        extendedKeyUsage=serverAuth >"$dir/ext"
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" \
        -CAcreateserial -days 2 -extfile "$dir/ext" -out "$dir/server.pem"
}

free_port()
{
    /usr/bin/python3 -c 'import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# Waits until the server answers over TLS; ends with its log where it does not.
wait_for_server()
{
    /usr/bin/python3 - "$1" "$dir/ca.pem" "$server" <<'PYTHON' || { cat "$dir/log" >&2; exit 1; }
import os, ssl, sys, time, urllib.request
url, ca, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)))
deadline = time.monotonic() + 30
while True:
    try:
        opener.open(url, timeout=5).close()
        break
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit(f"the demo server does not answer: {error}")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        sys.exit("the demo server ended:")
    time.sleep(0.05)
PYTHON
}

unset http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
fan10=$src/packaging/demo/fan10.py
make_certificates >"$dir/openssl.log" 2>&1 || { cat "$dir/openssl.log" >&2; exit 1; }
port=$(free_port)
/usr/bin/gunicorn --bind "127.0.0.1:$port" --worker-class gthread --threads 32 --log-level warning \
    --certfile "$dir/server.pem" --keyfile "$dir/server.key" httpbin:app >"$dir/log" 2>&1 &
server=$!
wait_for_server "https://localhost:$port/get"

echo "Ten pages that take a second each, by gevent and requests, straight to the server:" >&2
/usr/bin/python3 "$fan10" --ca "$dir/ca.pem" "https://localhost:$port/delay/1"
echo "The same client with http:// in the URL, started as: tlsfan run -- COMMAND" >&2
"$tlsfan" -o "tls.ca_file=$dir/ca.pem" run -- \
    /usr/bin/python3 "$fan10" "http://localhost:$port/delay/1"
