// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/labs"
)

func labHealCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "heal HOST | --all",
		Short: "Undo the faults of a host of a lab, or of all hosts; a crashed host boots",
		Args:  maxArgs(1),
	}
	lab := labName(cmd)
	all := cmd.Flags().Bool("all", false, "heal all hosts")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all == (len(args) == 1) {
			return usageErrorf("write one host, or --all: %s", cmd.UseLine())
		}
		var healed []labs.ActiveFault
		var err error
		if *all {
			healed, err = labs.HealAll(cmd.Context(), *lab)
		} else {
			healed, err = labs.Heal(cmd.Context(), *lab, args[0])
		}
		for _, f := range healed {
			fmt.Fprintf(e.stdout, "healed: %s\n", f)
		}
		return err
	}
	return cmd
}

func labFaultsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "faults", Short: "List the active faults of a lab", Args: noArgs}
	lab := labName(cmd)
	var out outputFlag
	out.register(cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		active, err := labs.Faults(*lab)
		if err != nil {
			return err
		}
		return out.write(e.stdout, reportFaults(active))
	}
	return cmd
}
