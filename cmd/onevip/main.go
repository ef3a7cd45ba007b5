// SPDX-License-Identifier: Apache-2.0

// Command onevip is everything of onevip in one binary: the controller, the
// agent, the lab runner, and the verbs that show what a cluster does.
//
// It only wires: flags, environment and file become a topology.Cluster, the
// packages controller, nodeagent and labs do the work.
package main

import "os"

func main() { os.Exit(run(osEnv())) }
