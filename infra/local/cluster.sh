#!/usr/bin/env bash
# A Ray cluster of several nodes and an S3 server on this machine: `cluster.sh up [NODES]`, `cluster.sh down`.
# State lies in $RECAST_LOCAL (default ~/.recast-local); `source $RECAST_LOCAL/env` points a shell at both.
set -euo pipefail

home=${RECAST_LOCAL:-$HOME/.recast-local}
bin=$(cd "$(dirname "$0")/../.." && pwd)/.venv/bin
head_ip=127.0.0.2 head_port=6399 dashboard_port=8265 s3_port=9199

up() {
  local nodes=${1:-2} cpus
  [ ! -e "$home/env" ] || { echo "already up; '$0 down' first" >&2; exit 1; }
  cpus=$(nproc)
  mkdir -p "$home/buckets"
  chmod 700 "$home"
  (umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$home/token")
  cat > "$home/env" <<ENV
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$home/token RAY_ADDRESS=$head_ip:$head_port RAY_USAGE_STATS_ENABLED=0
export AWS_ENDPOINT_URL=http://127.0.0.1:$s3_port AWS_ACCESS_KEY_ID=recast AWS_SECRET_ACCESS_KEY=$(cut -c1-32 "$home/token")
export AWS_DEFAULT_REGION=us-east-1 PATH=$bin:\$PATH
export AWS_REQUEST_CHECKSUM_CALCULATION=when_required AWS_RESPONSE_CHECKSUM_VALIDATION=when_required
ENV
  # shellcheck disable=SC1091
  . "$home/env"
  nohup rclone serve s3 --addr "127.0.0.1:$s3_port" --auth-key "$AWS_ACCESS_KEY_ID,$AWS_SECRET_ACCESS_KEY" \
    "$home/buckets" > "$home/s3.log" 2>&1 &
  echo $! > "$home/s3.pid"
  unset RAY_ADDRESS
  ray start --head --node-ip-address=$head_ip --port=$head_port --dashboard-host=127.0.0.1 \
    --dashboard-port=$dashboard_port --num-cpus="$cpus" --object-store-memory=300000000 --temp-dir="$home/node1" > "$home/ray.log"
  for n in $(seq 2 "$nodes"); do
    # A temporary folder of its own: nodes that share one lose each other's working directories.
    ray start --address="$head_ip:$head_port" --node-ip-address="127.0.0.$((n + 1))" --num-cpus="$cpus" \
      --object-store-memory=300000000 --temp-dir="$home/node$n" >> "$home/ray.log"
  done
  echo "up: $nodes nodes, dashboard http://127.0.0.1:$dashboard_port, S3 http://127.0.0.1:$s3_port"
  echo "source $home/env"
}

down() {
  [ -e "$home/env" ] || { echo "nothing is up" >&2; exit 0; }
  pkill -TERM -f "$home/node" || true
  for _ in $(seq 50); do pgrep -f "$home/node" > /dev/null || break; sleep 0.1; done
  pkill -KILL -f "$home/node" || true
  kill "$(cat "$home/s3.pid")" 2> /dev/null || true
  rm -rf "$home"/node* "$home/env" "$home/token" "$home/s3.pid"
  echo "down; buckets are kept in $home/buckets"
}

case ${1:-} in
  up) shift; up "$@" ;;
  down) down ;;
  *) echo "usage: $0 up [NODES] | down" >&2; exit 2 ;;
esac
