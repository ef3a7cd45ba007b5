#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# On removal, not on upgrade: stop the services. What the agent has put into
# the kernel stays until the next boot or onevip agent --cleanup.
set -e
case "$1" in
remove | 0)
  if [ -d /run/systemd/system ]; then
    systemctl disable --now onevip-agent.service onevip-controller.service || true
  fi
  ;;
esac
