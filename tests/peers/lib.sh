# Common parts of the peers' start and stop scripts. Sourced, never run.
#
# Whatever a peer fetches, builds, stores or logs is below WA_PEERS_DIR, outside the checkout; it can be deleted while
# nothing runs. Programs are shared (programs/), everything else belongs to one instance (PEER/INSTANCE/).
set -euo pipefail

: "${WA_PEERS_DIR:=${XDG_CACHE_HOME:-$HOME/.cache}/worker-agents/peers}"
: "${WA_PEER_JOBS:=2}"  # compile jobs
programs=$WA_PEERS_DIR/programs
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "$peer${instance:+/$instance}: $*" >&2; }
die() { say "$*"; exit 1; }
need() { local c; for c; do command -v "$c" >/dev/null || die "needs the command '$c'"; done; }

# peer_init NAME ARGUMENTS...: reads [INSTANCE] [--fetch-only] [--purge] and sets
#   peer, instance, fetch_only, purge; D (the instance's folder), pid_file, env_file, log
# and takes the instance's lock, so that two starts of one instance at the same time make one server.
peer_init() {
  peer=$1; shift
  instance=${WA_PEER_INSTANCE:-default}; fetch_only=; purge=
  local a
  for a; do
    case $a in
      --fetch-only) fetch_only=yes ;;
      --purge) purge=yes ;;
      -*) die "unknown argument '$a'" ;;
      *) instance=$a ;;
    esac
  done
  case $instance in *[!A-Za-z0-9._-]* | .* | "") die "an instance's name is made of letters, digits, '.', '_' and '-'" ;; esac
  umask 077  # keys and passwords of the tests
  mkdir -p "$programs" "$WA_PEERS_DIR/logs"
  D=$WA_PEERS_DIR/$peer/$instance
  if [ -n "$fetch_only" ]; then instance=; D=$programs; return 0; fi
  mkdir -p "$D"
  pid_file=$D/pid; env_file=$D/env; log=$D/log
  need flock
  exec 9>"$D/lock"
  flock -w 300 9 || die "another start or stop of this instance is still at work"
}

# A pid file holds "PID STARTTIME": a number that the system gave to another process since is never taken for ours.
birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
alive() {
  local p b
  [ -s "$pid_file" ] || return 1
  read -r p b <"$pid_file"
  [ -n "${b:-}" ] && [ "$(birth "$p")" = "$b" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$p/status" 2>/dev/null
}
# One that is up says its address again. One whose start broke off half-way is stopped and started anew.
already_up() { if alive && [ -s "$env_file" ]; then cat "$env_file"; exit 0; fi; stop_peer; }

# in_background COMMAND...: own session, log file, pid file
in_background() {
  setsid nohup "$@" >"$log" 2>&1 </dev/null 9>&- &
  local p=$!
  echo "$p $(birth "$p")" >"$pid_file"
  [ -z "${WA_PEER_OWNER:-}" ] || watch_owner "$p"
}
# watch_owner PID: a test's instance (WA_PEER_OWNER: the test's process) ends, and is removed, when its owner is gone, in
# whatever way. The watcher goes with the peer.
watch_owner() {
  local b o=$WA_PEER_OWNER ob
  b=$(birth "$1"); ob=$(birth "$o")
  export -f birth
  setsid nohup bash -c 'while [ "$(birth "$1")" = "$2" ]; do
      if [ "$(birth "$3")" != "$4" ]; then exec "$5/stop" "$6" --purge; fi
      sleep 2
    done' watch-peer "$1" "$b" "$o" "$ob" "$here" "$instance" >/dev/null 2>&1 </dev/null 9>&- &
}
# stop_peer [SECONDS]: TERM to the process group, KILL after the wait. A stopped one (SIGSTOP) is woken to hear it.
stop_peer() {
  local p b i
  rm -f "$env_file"
  alive || { rm -f "$pid_file"; return 0; }
  read -r p b <"$pid_file"
  kill -TERM -- "-$p" 2>/dev/null || kill -TERM "$p" 2>/dev/null || true
  kill -CONT -- "-$p" 2>/dev/null || true
  for ((i = 0; i < ${1:-10} * 10; i++)); do alive || break; sleep 0.1; done
  if alive; then
    say "did not end within ${1:-10} s, killed"
    kill -KILL -- "-$p" 2>/dev/null || kill -KILL "$p" 2>/dev/null || true
    for ((i = 0; i < 50; i++)); do alive || break; sleep 0.1; done
  fi
  rm -f "$pid_file"
}
# wait_for SECONDS COMMAND...: until it succeeds; fails early if the process is gone
wait_for() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    alive || { tail -20 "$log" >&2; rm -f "$pid_file"; die "ended while starting (log: $log)"; }
    [ $SECONDS -lt $end ] || { tail -20 "$log" >&2; stop_peer; die "not ready in time (log: $log)"; }
    sleep 0.1
  done
}
http_ok() { curl -fsS -m 5 -o /dev/null "$@"; }

# port NAME [WANTED]: WANTED if given, else the one of the last start if it is free, else any free one that no other
# port of this instance has. A stopped peer that starts again has the same address, as in a restart.
port() {
  local f=$D/port.$1 p=${2:-}
  if [ -z "$p" ]; then
    p=$(python3 -B - "$D" "$1" <<'P'
import pathlib, socket, sys
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
known = {f.name.removeprefix("port."): int(f.read_text() or 0) for f in folder.glob("port.*")}
others = {number for key, number in known.items() if key != name}
for wanted in (known.get(name, 0), *[0] * 20):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", wanted))
        except OSError:
            continue
        if s.getsockname()[1] not in others:
            print(s.getsockname()[1])
            break
P
    )
  fi
  echo "$p" >"$f"; echo "$p"
}

# once NAME FUNCTION...: calls FUNCTION FOLDER to fill a new folder below programs/, unless that was done before; prints
# the folder. A failed or killed attempt leaves nothing that looks finished. The log is logs/NAME.log.
once() {
  local name=$1 out=$programs/$1 w log=$WA_PEERS_DIR/logs/$1.log rc; shift
  if [ ! -d "$out" ]; then
    (
      need flock
      exec 8>"$WA_PEERS_DIR/logs/$name.lock"
      flock -w 900 8 || die "another one is still fetching $name"
      [ ! -d "$out" ] || exit 0
      rm -rf "$programs/new.$name"; mkdir "$programs/new.$name"
      set +e  # inside an || list errors would be ignored
      (set -e; "$@" "$programs/new.$name") >"$log" 2>&1 9>&-; rc=$?
      set -e
      [ "$rc" = 0 ] || { tail -20 "$log" >&2; rm -rf "$programs/new.$name"; die "could not make $name (log: $log)"; }
      mv "$programs/new.$name" "$out"
    ) || exit 1
  fi
  echo "$out"
}

# maven ARGUMENTS...: without the network first: quick when everything is there
maven() { mvn -B -ntp -q -o "$@" || mvn -B -ntp -q "$@"; }

# tell KEY=VALUE...: writes and prints the environment that a test needs
tell() {
  local pair
  for pair; do printf 'export %s=%q\n' "${pair%%=*}" "${pair#*=}"; done >"$env_file"
  cat "$env_file"
}
