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

end() { # name
  of "$1"
  stop_peer 15
}
end_all() {
  local netns= c n cgroup
  rm -f "$env_file"
  end kubelet
  if runs containerd; then
    netns=$(for c in $(ctr containers list -q); do ctr containers info "$c"; done | grep -oE '/(var/)?run/netns/cni-[0-9a-f-]+' | sort -u || true)
    for c in $(ctr tasks list -q 2>/dev/null); do ctr tasks kill -s KILL "$c" >/dev/null 2>&1 || true; done
    for _ in $(seq 50); do ctr tasks list 2>/dev/null | grep -qw RUNNING || break; sleep 0.1; done
    for c in $(ctr containers list -q 2>/dev/null); do
      ctr tasks delete -f "$c" >/dev/null 2>&1 || true
      ctr containers delete "$c" >/dev/null 2>&1 || true
    done
  fi
  for n in containerd kube-scheduler kube-controller-manager kube-apiserver etcd; do end "$n"; done
  for n in $netns; do umount "$n" 2>/dev/null || true; rm -f "$n"; done
  rm -rf "$D/cni/leases"
  [ -d "$D/cni" ] || return 0
  awk -v d="$D/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r -n1 umount
  for cgroup in /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/kubepods; do
    [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  ip link delete peerkube0 2>/dev/null || true
  ip address delete "$node_ip/32" dev lo 2>/dev/null || true
}

ctr() { /usr/bin/ctr --address "$dir/containerd.sock" --namespace k8s.io "$@"; }
kubectl() { "$bin/kubectl" --kubeconfig "$dir/conf/admin.kubeconfig" --request-timeout 10s "$@"; }
node_ready() {
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
