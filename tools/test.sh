#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# All tests. Packages run one after the other: they measure, and they share
# the machine's kernel. What must be compiled is compiled before the first
# clock starts.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $EUID -ne 0 ]]; then
  echo "make test: not root: tests that need network namespaces are skipped" >&2
fi
go vet ./...
ONEVIP_BIN=$PWD/bin/onevip go test -count=1 -p 1 -timeout 15m "$@" ./...
