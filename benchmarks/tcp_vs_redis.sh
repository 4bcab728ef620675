#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs benchmarks/tcp_bench.cpp beside a redis-server of its own: another port, nothing on disk, ended by its
# process id.
#
#     benchmarks/tcp_vs_redis.sh [build/release/benchmarks/bench_tcp_bench]
#     QKD004_BENCH_REPETITIONS=15 QKD004_REDIS_PORT=26390 benchmarks/tcp_vs_redis.sh
set -eu

bench=${1:-build/release/benchmarks/bench_tcp_bench}
port=${QKD004_REDIS_PORT:-26379}
[ -x "$bench" ] || { echo "no program $bench: cmake --build --preset release --target benchmarks" >&2; exit 2; }
for program in redis-server redis-cli redis-benchmark; do
  command -v "$program" >/dev/null || { echo "no $program: Debian has it in redis-server and redis-tools" >&2; exit 2; }
done

folder=$(mktemp -d)
redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$folder" --daemonize no \
  >"$folder/log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

tries=0
until redis-cli -p "$port" ping >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
    cat "$folder/log" >&2
    exit 1
  fi
  sleep 0.05
done
redis-server --version | cut -d' ' -f1-3
"$bench" --redis "$port" "$server"
