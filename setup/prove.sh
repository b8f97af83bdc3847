#!/usr/bin/env bash
# Proves the one-command set-up on bare machines: `npm run prove-setup [-- bookworm|trixie] [--quick] [--no-demo] [--preset NAME] [--worktree]`.
# Each machine is a minimal Debian made by debootstrap plus this machine's Node and npm and a fresh clone of the last commit; nothing else.
#   root      npm test and npm run demo as root, then once more (the second start must set nothing up)
#   user      the same as an ordinary user without root (first release only)
#   words     doctor tells "no loader", "no driver" and "driver too old" apart, and the last is mended by one command
#   no-apt    without apt the SwiftShader package is used (first release only)
#   offline   without a network the commands end soon, with one sentence (first release only)
# --quick runs the set-up tests instead of all; --no-demo leaves the demo out; --worktree takes the files as they lie instead of the last
# commit. Needs root and debootstrap.
set -euo pipefail

usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }
releases=() quick="" preset="quick" worktree="" demo="yes"
while [ $# -gt 0 ]; do
  case "$1" in
    bookworm|trixie) releases+=("$1") ;;
    --quick) quick="yes" ;;
    --worktree) worktree="yes" ;;
    --no-demo) demo="" ;;
    --preset) preset="${2:?--preset needs a name}"; shift ;;
    --help|-h) usage; exit 0 ;;
    *) echo "prove: unknown argument '$1'; allowed are bookworm, trixie, --quick, --preset NAME, --no-demo, --worktree" >&2; exit 1 ;;
  esac
  shift
done
[ ${#releases[@]} -gt 0 ] || releases=(bookworm trixie)
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
  echo "prove: this makes bare chroots and needs root and debootstrap (apt-get install debootstrap); run it as root" >&2
  exit 1
fi
# In a mount namespace of its own, so that no bind mount can outlive the run.
if [ -z "${WORLDLINE_PROVE_INSIDE:-}" ]; then
  args=("${releases[@]}" --preset "$preset")
  [ -z "$quick" ] || args+=(--quick)
  [ -z "$worktree" ] || args+=(--worktree)
  [ -n "$demo" ] || args+=(--no-demo)
  WORLDLINE_PROVE_INSIDE=1 exec unshare --mount --propagation private bash "$0" "${args[@]}"
fi

here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
work="$(mktemp -d -t worldline-prove.XXXXXX)"
failures=()

unmount() { # unmounts everything under a folder, deepest first
  awk -v at="$1" 'index($2, at "/") == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r point; do umount -l "$point"; done
}
finish() {
  unmount "$work"
  if grep -q " $work/" /proc/self/mounts; then echo "prove: something is still mounted under $work; it is left there" >&2
  else rm -rf --one-file-system "$work"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# ---- what the machines share with this one: node, npm, the mirror, the network's settings

mirror="$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '$2 !~ /-/ && $1 ~ /debian/ { print $1; exit }')"
security="$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '$2 ~ /-security$/ { print $1; exit }')"
mirror="${mirror:-http://deb.debian.org/debian}"
node="$(readlink -f "$(command -v node)")"
npm="$(cd "$(dirname "$(readlink -f "$(command -v npm)")")/.." && pwd)"
settings=()
# npm run hands its own npm_* settings on, which hold paths of this machine: the commands see only what is named here.
for key in registry proxy https-proxy noproxy cafile; do
  value="$(npm config get "$key" 2>/dev/null || true)"
  case "$value" in ""|null|undefined) continue ;; esac
  settings+=("npm_config_${key//-/_}=$value")
done

take_source() { # the repository as a fresh clone, outside the chroots
  if [ -n "$worktree" ]; then
    mkdir -p "$work/source"
    (cd "$here" && git ls-files -coz --exclude-standard | while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done |
      tar --null -T - -cf -) | tar -C "$work/source" -xf -
  else
    git clone --quiet --no-hardlinks "$here" "$work/source"
  fi
}

make_base() { # release: a bare system with node, npm and the repository
  local release="$1" root="$work/base-$1"
  debootstrap --variant=minbase "$release" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 || { tail -5 "$work/debootstrap.log" >&2; exit 1; }
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  apt-config dump Acquire | grep -v IndexTargets | grep -vE '^Acquire(::[A-Za-z:]+)? "";$' >"$root/etc/apt/apt.conf.d/90network"
  { echo "deb $mirror $release main"; echo "deb $mirror $release-updates main"
    [ -z "$security" ] || echo "deb $security $release-security main"; } >"$root/etc/apt/sources.list"
  install -D "$node" "$root/usr/local/bin/node"
  mkdir -p "$root/usr/local/lib/node_modules" && cp -a "$npm" "$root/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
  local cafile; cafile="$(npm config get cafile 2>/dev/null || true)"
  if [ -f "$cafile" ]; then install -D -m 644 "$cafile" "$root$cafile"; fi
  cp -a "$work/source" "$root/root/worldline" && chown -R 0:0 "$root/root/worldline"
}

machine() { # release name: a copy of the bare system, mounted and ready
  local root="$work/$2"
  cp -a --reflink=auto "$work/base-$1" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
}
scrap() { # name
  unmount "$work/$1"
  ! grep -q " $work/$1/" /proc/self/mounts && rm -rf --one-file-system "${work:?}/$1"
}
inside() { # name user command...: runs in the machine's repository with nothing of this environment
  local name="$1" user="$2" home=/root; shift 2
  [ "$user" = root ] || home="/home/$user"
  chroot --userspec="$user:$user" "$work/$name" /usr/bin/env -i HOME="$home" USER="$user" LANG=C.UTF-8 CI=true \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${settings[@]}" \
    bash -c 'cd "$HOME/worldline" && "$@"' prove "$@" </dev/null
}

# ---- the proofs

step() { # title expected-exit-code command...: shows the output's set-up lines and last line, and the time
  local title="$1" want="$2" began=$EPOCHREALTIME code=0; shift 2
  "$@" >"$work/step.log" 2>&1 || code=$?
  local seconds; seconds="$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')"
  grep '^worldline: ' "$work/step.log" | sed 's/^/      /' || true
  grep -v '^$' "$work/step.log" | tail -1 | grep -v '^worldline: ' | sed 's/^/      /' || true
  if [ "$code" = "$want" ]; then echo "  ok   $title ($seconds s)"
  else
    echo "  FAIL $title: exit code $code, not $want ($seconds s); its failed tests and its end:"
    { grep -a -A 8 '^ *FAIL' "$work/step.log" | head -80 || true; tail -40 "$work/step.log"; } | sed 's/^/       | /'
    failures+=("$title")
  fi
}
expect() { # title condition...: one more check
  local title="$1"; shift
  if "$@"; then echo "  ok   $title"; else echo "  FAIL $title"; failures+=("$title"); fi
}
silent() { ! grep -q '^worldline: ' "$work/step.log"; }

tests=(npm test --silent); [ -z "$quick" ] || tests+=(-- setup)
run_all() { # release name user: tests, demo, and both once more in silence
  step "$1, $3: npm test" 0 inside "$2" "$3" "${tests[@]}"
  if [ -n "$demo" ]; then step "$1, $3: npm run demo -- --preset $preset" 0 inside "$2" "$3" npm run --silent demo -- --preset "$preset"; fi
  step "$1, $3: npm test -- setup, again" 0 inside "$2" "$3" npm test --silent -- setup
  expect "$1, $3: the second start sets nothing up" silent
}
says() { # release name word
  local answer
  answer="$(inside "$2" root npm run --silent doctor -- --json 2>"$work/doctor.err" | node -e '
    let text = ""; process.stdin.on("data", (d) => (text += d)).on("end", () => console.log(JSON.parse(text).tried[0].result));' 2>/dev/null || true)"
  if [ "$answer" = "$3" ]; then echo "  ok   $1: doctor says \"$3\""
  else echo "  FAIL $1: doctor says \"$answer\", not \"$3\""; tail -5 "$work/doctor.err"; failures+=("$1: doctor, $3"); fi
}
apt_inside() { inside "$1" root env DEBIAN_FRONTEND=noninteractive apt-get -qq "${@:2}" >/dev/null 2>&1; }

prove_root() { machine "$1" root; run_all "$1" root root; scrap root; }
prove_user() {
  machine "$1" user
  chroot "$work/user" useradd -m someone
  mv "$work/user/root/worldline" "$work/user/home/someone/worldline"
  chroot "$work/user" chown -R someone:someone /home/someone/worldline
  run_all "$1" user someone
  scrap user
}
prove_words() {
  machine "$1" words
  says "$1" words "no loader"
  apt_inside words update && apt_inside words install -y --no-install-recommends libvulkan1
  says "$1" words "no driver"
  if [ "$1" = bookworm ]; then
    apt_inside words install -y --no-install-recommends mesa-vulkan-drivers
    says "$1" words "driver too old"
  fi
  step "$1: doctor --install mends it" 0 inside words root npm run --silent doctor -- --install
  scrap words
}
prove_no_apt() {
  machine "$1" no-apt
  rm "$work/no-apt/usr/bin/apt-get"
  step "$1, no apt: doctor --install" 0 inside no-apt root npm run --silent doctor -- --install
  scrap no-apt
}
prove_offline() {
  machine "$1" offline
  echo "nameserver 127.0.0.1" >"$work/offline/etc/resolv.conf"
  step "$1, no network: npm test ends with a sentence" 1 cut_off offline root npm test --silent
  scrap offline
}
cut_off() { export -f inside; work="$work" settings_text="$(printf '%s\n' "${settings[@]}")" \
  unshare --net bash -c 'mapfile -t settings <<<"$settings_text"; inside "$@"' prove "$@"; }

began=$EPOCHSECONDS
take_source
for i in "${!releases[@]}"; do
  release="${releases[$i]}"
  echo "$release: making a bare machine from $mirror with node $(node -v)"
  make_base "$release"
  prove_root "$release"
  [ "$i" != 0 ] || prove_user "$release"
  prove_words "$release"
  if [ "$i" = 0 ]; then
    prove_no_apt "$release"
    prove_offline "$release"
  fi
  rm -rf --one-file-system "$work/base-$release"
done
if [ ${#failures[@]} -gt 0 ]; then
  printf 'not proven: %s\n' "${failures[@]}"
  exit 1
fi
echo "proven on ${releases[*]} in $((EPOCHSECONDS - began)) s"
