// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func benchCommand(e *env) *cobra.Command {
	return parent("bench", "Measure what a packet and what a checkpoint costs",
		benchBPFCommand(e),
		benchCheckpointCommand(e),
	)
}
