// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func benchCommand(e *env) *cobra.Command {
	return parent("bench", "Measure what a packet and a checkpoint cost, and what clients notice of failures",
		benchBPFCommand(e),
		benchCheckpointCommand(e),
		benchFailoverCommand(e),
		benchFailoverLoadCommand(e),
	)
}
