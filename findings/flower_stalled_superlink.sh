#!/bin/sh
# What a SuperNode does while its SuperLink takes connections and does not speak: over TLS, it gives up.
#
# Versions: Python 3.11, flwr 1.42.0; no --max-retries and no --max-wait-time, which means, by
# `flower-supernode --help`, "no limit to the number of tries" and "no limit to the total time".
# Input: a SuperLink with TLS, on 127.0.0.1, that is stopped (SIGSTOP) for 100 s and goes on. So is one
# on a machine that sleeps, is moved, or swaps: the kernel takes connections, and nobody answers.
#
# Seen: without TLS, the SuperNode tries again until the SuperLink goes on. With TLS, the handshake's
# timeout is an httpx.ConnectTimeout with the text "_ssl.c:...: The handshake operation timed out";
# make_simple_http_retry_invoker looks for "ssl" in the text of any error, takes that for a wrong
# certificate, and gives up. The SuperNode then leaves its loop, and its process stays: it waits for a
# thread, asks for no message any more, and no supervisor sees that it has to be started again.
#
# Prints what was seen, and fails if it has changed. Not part of the tests: it installs packages.
set -eu
folder=$(mktemp -d)
superlink= supernode=
trap 'kill -CONT $superlink 2>/dev/null || true; kill $superlink $supernode 2>/dev/null || true; rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet flwr==1.42.0
export PATH="$folder/venv/bin:$PATH" FLWR_HOME="$folder/flwr"
cd "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -days 1 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem 2> openssl.log

# play NAME PORT SUPERLINK-FLAGS SUPERNODE-FLAGS
play() {
    flower-superlink --port "$2" $3 > "$1-superlink.log" 2>&1 & superlink=$!
    sleep 15
    flower-supernode --superlink "127.0.0.1:$2" --port "$(($2 + 1))" $4 > "$1-supernode.log" 2>&1 & supernode=$!
    sleep 15
    kill -0 $supernode
    kill -STOP $superlink
    sleep 100
    kill -CONT $superlink
    sleep 40
    found=$(grep -oE "Connection successful|Giving up reconnection" "$1-supernode.log" | tail -n 1)
    if kill -0 $supernode 2> /dev/null; then found="$found, alive"; else found="$found, ended"; fi
    echo "$1: $found"
    kill $superlink $supernode 2> /dev/null || true
    wait $superlink $supernode 2> /dev/null || true
}

play plain 19100 --insecure --insecure
plain=$found
play tls 19200 "--ssl-ca-certfile cert.pem --ssl-certfile cert.pem --ssl-keyfile key.pem" \
    "--root-certificates cert.pem"
[ "$plain; $found" = "Connection successful, alive; Giving up reconnection, alive" ] || { echo "the behaviour has changed"; exit 1; }
