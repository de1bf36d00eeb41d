# Shared by start, stop and load; after peer_init.
node=${KUBE_NODE:-real}
node_ip=${KUBE_NODE_IP:-10.199.0.1}
pod_cidr=${KUBE_POD_CIDR:-10.199.1.0/24}
image=${KUBE_IMAGE:-localhost/peer/busybox:1}
version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$here/go.mod")
[ -n "$version" ] || version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" { print $3; exit }' "$here/go.mod")
stamp=$(cat "$here"/go.mod "$here"/go.sum "$here"/main.go "$here"/pause/main.go | sha256sum | cut -c1-8)
bin=$programs/kubernetes-$version-$stamp
dir=$D

# Each program has a pid file and a log of its own.
of() { pid_file=$D/pid.$1 log=$D/log.$1; }
runs() { of "$1"; alive; }
launch() { # name command...
  of "$1"; shift
  alive || WA_PEER_OWNER= in_background "$@"
}
ready_within() { # seconds name command...
  local seconds=$1; of "$2"; shift 2
  wait_for "$seconds" "$@"
}
up() {
  local name
  [ -s "$env_file" ] || return 1
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do runs "$name" || return 1; done
  [ "$node" = none ] || { runs containerd && runs kubelet; }
}

# port_of NAME PART: the port of a part that runs, else as port does
port_of() { if runs "$2" && [ -s "$D/port.$1" ]; then cat "$D/port.$1"; else port "$1"; fi; }

# take_node: one cluster with a node per machine, whatever its WA_PEERS_DIR. One whose programs are gone is cleared away.
node_file=/run/lock/worker-agents-peer-kubernetes
take_node() {
  local other said= until=$((SECONDS + KUBE_WAIT_S))
  while true; do
    other=$({
      flock 7
      other=$(cat "$node_file")
      if [ -z "$other" ] || [ ! -d "$other" ] || [ "$other" -ef "$D" ]; then other=; echo "$D" >"$node_file"; fi
      echo "$other"
    } 7>>"$node_file")
    [ -n "$other" ] || return 0
    # Whose lock is held is on its way up, or down.
    if ! (D=$other; runs containerd || runs kubelet) && flock -n "$other/lock" true; then
      WA_PEERS_DIR=${other%/kubernetes/*} "$here/stop" "${other##*/}" 9>&- || die "what is left of the cluster in $other could not be cleared away"
      continue
    fi
    [ $SECONDS -lt $until ] || die "another cluster with a real node is up on this machine, and there can be one: '${other##*/}' in $other (stop it, or KUBE_NODE=none)"
    [ -n "$said" ] || say "waits for the other cluster with a real node, '${other##*/}' in $other, to go"
    said=yes
    sleep 1
  done
}
leave_node() { (flock 7; [ "$(cat "$node_file")" != "$D" ] || : >"$node_file") 7>>"$node_file"; }

# The kubelet sets kernel values for the whole machine while it starts, the first pod lets the kernel forward. They go back:
# the former when the kubelet has set them, the latter when the cluster ends.
kubelet_wants='kernel/panic:10 kernel/panic_on_oops:1 kernel/keys/root_maxkeys:1000000 kernel/keys/root_maxbytes:25000000
  vm/overcommit_memory:1 vm/panic_on_oom:0'
keep_kernel_values() {
  local pair
  [ -e "$D/conf/forward" ] || cat /proc/sys/net/ipv4/ip_forward >"$D/conf/forward"
  [ ! -s "$D/conf/sysctl" ] || return 0  # of a start that broke off: the ones in force may not be the machine's own
  for pair in $kubelet_wants; do echo "${pair%:*}:$(cat "/proc/sys/${pair%:*}")"; done >"$D/conf/sysctl"
}
kubelet_has_set_kernel_values() {
  local pair i
  [ -s "$D/conf/sysctl" ] || return 0
  for pair in $kubelet_wants; do
    for ((i = 0; i < 200; i++)); do
      [ "$(cat "/proc/sys/${pair%:*}")" != "${pair#*:}" ] || continue 2
      sleep 0.1
    done
    return 1
  done
}
put_kernel_values_back() {
  local name value
  [ -s "$D/conf/sysctl" ] || return 0
  while IFS=: read -r name value; do echo "$value" >"/proc/sys/$name" || return 1; done <"$D/conf/sysctl"
  rm -f "$D/conf/sysctl"
}

end() { # name
  of "$1"
  [ "$(cut -d' ' -f1 "$pid_file" 2>/dev/null)" = $$ ] || stop_peer 15
}
end_pods() {
  local c
  netns=
  if ! runs containerd; then  # killed: its pods run on
    [ -n "$(ls "$D"/containerd-run/io.containerd.runtime.v2.task/k8s.io 2>/dev/null)" ] || return 0
    launch containerd /usr/bin/containerd --config "$D/conf/containerd.toml"
    ready_within 60 containerd ctr version
  fi
  netns=$(for c in $(ctr containers list -q); do ctr containers info "$c"; done | grep -oE '/(var/)?run/netns/cni-[0-9a-f-]+' | sort -u || true)
  for c in $(ctr tasks list -q 2>/dev/null); do ctr tasks kill -s KILL "$c" >/dev/null 2>&1 || true; done
  for _ in $(seq 50); do ctr tasks list 2>/dev/null | grep -qw RUNNING || break; sleep 0.1; done
  for c in $(ctr containers list -q 2>/dev/null); do
    ctr tasks delete -f "$c" >/dev/null 2>&1 || true
    ctr containers delete "$c" >/dev/null 2>&1 || true
  done
}
end_all() {
  local n c cgroup
  rm -f "$env_file"
  end watcher
  end kubelet
  end_pods
  for n in containerd kube-scheduler kube-controller-manager kube-apiserver etcd; do end "$n"; done
  for n in $netns; do umount "$n" 2>/dev/null || true; rm -f "$n"; done
  [ -d "$D/cni" ] || return 0  # never had a node
  rm -rf "$D/cni/leases"
  for n in /var/lib/cni/results/peer-*-eth0; do
    c=${n##*/peer-}
    rm -f "$n" "/var/lib/cni/results/cni-loopback-${c%-eth0}-lo"
  done
  awk -v d="$D/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r -n1 umount || true
  find /var/log/containers -lname "$D/*" -delete 2>/dev/null || true
  rm -f /var/lib/kubelet/device-plugins/kubelet.sock
  rmdir /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet /var/lib/cni/results /var/lib/cni 2>/dev/null || true
  for cgroup in /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/kubepods; do
    [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  ip link delete peerkube0 2>/dev/null || true
  ip address delete "$node_ip/32" dev lo 2>/dev/null || true
  put_kernel_values_back || true
  [ ! -s "$D/conf/forward" ] || [ -e /sys/class/net/docker0 ] || cat "$D/conf/forward" >/proc/sys/net/ipv4/ip_forward || true
  rm -f "$D/conf/forward"
  leave_node
}

ctr() { /usr/bin/ctr --address "$dir/containerd.sock" --namespace k8s.io "$@"; }
kubectl() { "$bin/kubectl" --kubeconfig "$dir/conf/admin.kubeconfig" --request-timeout 10s "$@"; }
node_ready() {
  curl -sf -o /dev/null -m 5 --cacert "$dir/pki/ca.crt" --cert "$dir/pki/admin.crt" --key "$dir/pki/admin.key" "https://$node_ip:$kubelet_port/healthz" &&
    [ "$(kubectl get node peer-node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ] &&
    [ -z "$(kubectl get node peer-node -o 'jsonpath={.spec.taints}')" ]
}

make_image() { # ref: makes the image from local files and imports it
  local ref=$1 work root name entry
  work=$(mktemp -d "$dir/image.XXXXXX"); root=$work/root
  mkdir -m 755 "$root"; mkdir -p "$root"/{bin,etc,dev,proc,sys,tmp,workspace}
  chmod 1777 "$root/tmp" "$root/workspace"
  case $ref in
    localhost/peer/pause:*) cp "$bin/pause" "$root/bin/pause"; entry='"Entrypoint":["/bin/pause"]' ;;
    *)
      cp /bin/busybox "$root/bin/busybox"
      for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"; done
      printf 'root:x:0:0::/:/bin/sh\nworker:x:65532:65532::/tmp:/bin/sh\n' >"$root/etc/passwd"
      printf 'root:x:0:\nworker:x:65532:\n' >"$root/etc/group"
      entry='"Cmd":["/bin/sh"]' ;;
  esac
  tar -C "$root" --owner=0 --group=0 --numeric-owner -cf "$work/layer.tar" .
  printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$entry" "$(sha256sum "$work/layer.tar" | cut -d' ' -f1)" >"$work/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$ref" >"$work/manifest.json"
  tar -C "$work" -cf "$work/image.tar" manifest.json config.json layer.tar
  ctr images import "$work/image.tar" >/dev/null || { rm -rf "$work"; die "import of $ref failed"; }
  rm -rf "$work"
}
