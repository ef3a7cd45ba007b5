#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Compiles the eBPF programs again and compares with what is in the tree. The
# tree is left as it was.
set -euo pipefail
cd "$(dirname "$0")/.."

kept=$(mktemp -d)
generated() { find bpf \( -name '*_bpfel*.go' -o -name '*_bpfel*.o' \) | sort; }
restore() {
  for file in $(generated); do cp -p "$kept/$file" "$file" 2>/dev/null || rm -f "$file"; done
  rm -rf "$kept"
}
trap restore EXIT

before=$(generated)
for file in $before; do cp -p --parents "$file" "$kept"; done
go generate ./...

stale=()
for file in $(printf '%s\n' $before $(generated) | sort -u); do
  cmp -s "$file" "$kept/$file" || stale+=("$file")
done
if ((${#stale[@]})); then
  printf 'check-generated: %s is not what the sources give\n' "${stale[@]}" >&2
  echo "Run make generate (with clang-14 of Debian 12) and commit the result." >&2
  exit 1
fi
echo "check-generated: ${before//$'\n'/, } up to date"
