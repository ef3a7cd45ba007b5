// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func benchCommand(e *env) *cobra.Command {
	return parent("bench", "Measure what a packet and a checkpoint cost, what clients notice of failures, and gain by locality",
		benchBPFCommand(e),
		benchCheckpointCommand(e),
		benchFailoverCommand(e),
		benchFailoverLoadCommand(e),
		benchLocalityCommand(e),
		benchLocalityClientsCommand(e),
	)
}
