#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# GET_KEY over keep-alive HTTP and HTTPS on one thread, beside an nginx of its own with one worker that serves a file of
# the same size and `return 200`: other ports, a folder that goes, everything ended by its process id.
#
#     benchmarks/http_vs_nginx.sh [build/release/benchmarks/bench_http_bench]
#     QKD004_BENCH_REPETITIONS=9 QKD004_BENCH_SECONDS=3 benchmarks/http_vs_nginx.sh
#
# wrk asks all with one command and one script, which makes each request anew:
#
#     fresh    GET_KEY, a new key each time; another site and its reader work too, on the same processors
#     again    GET_KEY of a key that was served before: the wire and nothing else
#     file     nginx, a file of as many octets as the answer to GET_KEY has
#     return   nginx, `return 200` of as many octets
#
# wrk shows no certificate and this library's HTTPS asks for one, so ApacheBench asks over TLS, with one. The four take
# turns inside each repetition. "server ns" is processor time of the server a request, from the scheduler's accounting.
set -euo pipefail

bench=${1:-build/release/benchmarks/bench_http_bench}
repetitions=${QKD004_BENCH_REPETITIONS:-5}
seconds=${QKD004_BENCH_SECONDS:-2}
connections=${QKD004_BENCH_CONNECTIONS:-64}
[ -x "$bench" ] || { echo "no program $bench: cmake --build --preset release --target benchmarks" >&2; exit 2; }
for program in nginx wrk ab openssl python3; do
  PATH=$PATH:/usr/sbin command -v "$program" >/dev/null ||
    { echo "no $program: Debian has it in nginx-light, wrk and apache2-utils" >&2; exit 2; }
done
PATH=$PATH:/usr/sbin

folder=$(mktemp -d)
chmod 755 "$folder"
site=
nginx=
cleanup() {
  for pid in $site $nginx; do kill "$pid" 2>/dev/null || true; done
  for pid in $site $nginx; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# Certificates: an authority, a server, a client.
openssl ecparam -name prime256v1 -genkey -noout -out "$folder/ca.key"
openssl req -x509 -new -key "$folder/ca.key" -subj /CN=bench -days 1 -out "$folder/ca.pem" 2>/dev/null
issue() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$folder/$1.key"
  chmod 600 "$folder/$1.key"
  openssl req -new -key "$folder/$1.key" -subj "/CN=$1" -out "$folder/$1.csr" 2>/dev/null
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$2" >"$folder/$1.ext"
  openssl x509 -req -in "$folder/$1.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -days 1 \
    -extfile "$folder/$1.ext" -out "$folder/$1.pem" 2>/dev/null
}
issue app URI:qkd://app@a,IP:127.0.0.1
cat "$folder/app.pem" "$folder/app.key" >"$folder/both.pem"
chmod 600 "$folder/both.pem"

mkfifo "$folder/input"
"$bench" "$folder/app.pem" "$folder/app.key" "$folder/ca.pem" <"$folder/input" >"$folder/site" &
site=$!
exec 9>"$folder/input"
for _ in $(seq 200); do
  [ -s "$folder/site" ] && break
  kill -0 "$site" || exit 1
  sleep 0.05
done
read -r site_pid http https fresh again over_tls <"$folder/site"

# What one answer has: a file of as many octets for nginx.
body="{\"key_stream_id\":\"$again\",\"index\":0}"
printf '%s' "$body" >"$folder/body"
curl -s -H 'Content-Type: application/json' -d "$body" "$http/qkd004/v2/get_key" >"$folder/key.json"
grep -q '"status":0' "$folder/key.json" || { echo "no key" >&2; exit 1; }
size=$(stat -c %s "$folder/key.json")
text=$(head -c "$size" /dev/zero | tr '\0' x)
printf '%s' "$text" >"$folder/file.json"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
tls_port=$(free_port)
cat >"$folder/nginx.conf" <<END
worker_processes 1;
daemon off;
pid $folder/nginx.pid;
error_log $folder/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 100000000;
  keepalive_timeout 3600;
  open_file_cache max=16;
  types { application/json json; }
  client_body_temp_path $folder/1; proxy_temp_path $folder/2; fastcgi_temp_path $folder/3;
  uwsgi_temp_path $folder/4; scgi_temp_path $folder/5;
  server {
    listen 127.0.0.1:$port;
    listen 127.0.0.1:$tls_port ssl;
    ssl_certificate $folder/app.pem;
    ssl_certificate_key $folder/app.key;
    ssl_client_certificate $folder/ca.pem;
    ssl_verify_client optional;
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;
    root $folder;
    location = /return { default_type application/json; return 200 "$text"; }
  }
}
END
chmod 644 "$folder/file.json"
nginx -c "$folder/nginx.conf" -p "$folder" 2>>"$folder/error.log" &
nginx=$!
for _ in $(seq 100); do
  curl -s "http://127.0.0.1:$port/file.json" >/dev/null && break
  kill -0 "$nginx" || { cat "$folder/error.log" >&2; exit 1; }
  sleep 0.05
done
worker=$(ps -o pid= --ppid "$nginx" | tr -d ' ')
[ -n "$worker" ] || { echo "nginx has no worker" >&2; exit 1; }

cat >"$folder/ask.lua" <<'END'
-- args: method, path, stream, "fresh" or "again"
local method, path, stream, step, index
function init(args)
  method, path, stream = args[1], args[2], args[3] or ""
  step = args[4] == "fresh" and 1 or 0
  index = -step -- wrk makes one request that it does not send
end
function request()
  if method == "GET" then return "GET " .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" end
  local body = '{"key_stream_id":"' .. stream .. '","index":' .. index .. '}'
  index = index + step
  return "POST " .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: " ..
    #body .. "\r\n\r\n" .. body
end
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
END
on_processor() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
measure() { # name pid url method path stream how
  local before after out
  before=$(on_processor "$2")
  out=$(wrk -t1 -c"$connections" -d"${seconds}s" -s "$folder/ask.lua" --latency "$3" -- "$4" "$5" "$6" "$7")
  after=$(on_processor "$2")
  if grep -q 'Non-2xx' <<<"$out"; then echo "$out" >&2; exit 1; fi
  set -- "$1" $(grep '^RESULT' <<<"$out")
  [ "$3" -gt 0 ] || { echo "$out" >&2; exit 1; }
  echo "$1 $3 $4 $5 $6 $((after - before))" >>"$folder/results"
}
measure_tls() { # name pid url, then ab's own arguments
  local name=$1 pid=$2 url=$3 before after out
  shift 3
  before=$(on_processor "$pid")
  out=$(ab -q -k -c "$connections" -t "$seconds" -n 100000000 -E "$folder/both.pem" -f TLS1.3 "$@" "$url" 2>&1)
  after=$(on_processor "$pid")
  echo "$name $(awk '
    /^Complete requests:/ { n = $3 } /^Time taken/ { t = $5 } /^Non-2xx/ { bad = 1 } /^Failed requests/ { bad += $3 }
    /^ *50%/ { a = $2 * 1000 } /^ *99%/ { b = $2 * 1000 }
    END { if (bad) exit 1; printf "%d %d %d %d", n, t * 1e6, a, b }' <<<"$out") $((after - before))" >>"$folder/results"
}

nginx -v
echo "$connections connections, one request each; $repetitions x $seconds s; answers of $size octets"
IFS=, read -r -a fresh_streams <<<"$fresh"
[ "$repetitions" -le "${#fresh_streams[@]}" ] || { echo "at most ${#fresh_streams[@]} repetitions" >&2; exit 2; }
for repetition in $(seq "$repetitions"); do
  measure fresh "$site_pid" "$http" POST /qkd004/v2/get_key "${fresh_streams[repetition - 1]}" fresh
  measure file "$worker" "http://127.0.0.1:$port" GET /file.json - -
  measure again "$site_pid" "$http" POST /qkd004/v2/get_key "$again" again
  measure return "$worker" "http://127.0.0.1:$port" GET /return - -
  printf '{"key_stream_id":"%s","index":0}' "$over_tls" >"$folder/body"
  measure_tls tls-again "$site_pid" "$https/qkd004/v2/get_key" -p "$folder/body" -T application/json
  measure_tls tls-file "$worker" "https://127.0.0.1:$tls_port/file.json"
  measure_tls tls-return "$worker" "https://127.0.0.1:$tls_port/return"
done

python3 - "$folder/results" <<'END'
import statistics, sys
runs = {}
for line in open(sys.argv[1]):
    name, n, us, p50, p99, ns = line.split()
    runs.setdefault(name, []).append((int(n) / int(us) * 1e6, int(p50), int(p99), int(ns) / max(int(n), 1)))
print(f"{'':10} {'requests/s':>10} {'(min':>8} {'max)':>8} {'p50 us':>8} {'p99 us':>8} {'server ns':>10}")
middle = {}
for name, all_ in runs.items():
    rates = [r[0] for r in all_]
    middle[name] = (statistics.median(rates), statistics.median(r[3] for r in all_))
    print(f"{name:10} {middle[name][0]:10.0f} {min(rates):8.0f} {max(rates):8.0f} {statistics.median(r[1] for r in all_):8.0f}"
          f" {statistics.median(r[2] for r in all_):8.0f} {middle[name][1]:10.0f}")
for ours, theirs, goal in (("again", "file", 0.8), ("again", "return", 0), ("fresh", "file", 0),
                           ("tls-again", "tls-file", 0.8), ("tls-again", "tls-return", 0)):
    ratio = statistics.median(a[0] / b[0] for a, b in zip(runs[ours], runs[theirs]))
    cheaper = middle[theirs][1] / middle[ours][1]
    print(f"{ours} beside {theirs}: {ratio:.2f}x requests/s, {cheaper:.2f}x requests per processor second"
          + (f" (goal {goal}x)" if goal else ""))
END
