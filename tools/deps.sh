#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what the build, the labs and the tests need and this machine lacks.
# Nothing is upgraded, no service is started or stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

# command that must be there -> Debian package that has it
needed="
clang-14            clang-14
llvm-strip-14       llvm-14
ovs-vswitchd        openvswitch-switch
nginx               nginx-light
curl                curl
wrk                 wrk
h2load              nghttp2-client
ab                  apache2-utils
ethtool             ethtool
ip                  iproute2
nsenter             util-linux
etcdctl             etcd-client
sshd                openssh-server
ssh                 openssh-client
sysctl              procps
tcpdump             tcpdump
jq                  jq
ffmpeg              ffmpeg
spin                spin
gcc                 gcc
"

PATH=$PATH:/usr/sbin:/sbin
missing=()
while read -r command package; do
  [[ -z $command ]] || command -v "$command" >/dev/null || missing+=("$package")
done <<<"$needed"
[[ -e /usr/include/bpf/bpf_helpers.h ]] || missing+=(libbpf-dev)

install_packages() {
  if [[ $EUID -ne 0 ]]; then
    echo "deps: missing: $*. Run make deps as root, or install them yourself." >&2
    exit 1
  fi
  echo "deps: installing $*"
  # A package that brings a service starts it unless a policy forbids; the labs
  # run daemons of their own and must not find port 80 or a switch taken.
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap "rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  local log
  log=$(mktemp)
  if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
    -o Dpkg::Use-Pty=0 --no-install-recommends install "$@"; } >"$log" 2>&1 </dev/null; then
    tail -20 "$log" >&2
    rm -f "$log"
    exit 1
  fi
  rm -f "$log"
}

if ! command -v go >/dev/null; then
  echo "deps: Go is missing: install Go $(awk '/^go / {print $2}' go.mod) or newer from go.dev/dl" >&2
  exit 1
fi
((${#missing[@]} == 0)) || install_packages "${missing[@]}"
go mod download
echo "deps: all here"
