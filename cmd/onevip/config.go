// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/topology"
)

func configCommand(e *env) *cobra.Command {
	return parent("config", "Check and show the cluster's configuration",
		configValidateCommand(e),
		configShowCommand(e),
	)
}

func configValidateCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate [file]",
		Short: "Print everything that is wrong in the configuration; exit code 1 if anything is",
		Args:  maxArgs(1),
	}
	set := allSettings(cmd.Flags())
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cluster, err := set.loadFrom(args)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "cluster %s: %d nodes, %d services, %d switches: valid\n",
			cluster.Name, len(cluster.Nodes), len(cluster.Services), len(cluster.Switches))
		return err
	}
	return cmd
}

func configShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [file]",
		Short: "Print the configuration in force, with the origin of each value",
		Args:  maxArgs(1),
	}
	var out outputFlag
	out.register(cmd.Flags())
	out.format = outputYAML
	cmd.Flags().Lookup("output").DefValue = outputYAML
	set := allSettings(cmd.Flags())
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cluster, err := set.loadFrom(args)
		if err != nil {
			return err
		}
		report, err := reportConfig(cluster, set)
		if err != nil {
			return err
		}
		return out.write(e.stdout, report)
	}
	return cmd
}

// loadFrom reads the file that the command line names as its argument, or else
// the one that the settings name.
func (s *settings) loadFrom(args []string) (topology.Cluster, error) {
	if len(args) == 1 {
		s.viper.Set("config", args[0])
	}
	return s.load()
}
