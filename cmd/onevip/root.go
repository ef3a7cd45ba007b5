// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// rootCommand is the table of verbs.
func rootCommand(e *env) *cobra.Command {
	var logs logFlags
	root := &cobra.Command{
		Use:                        "onevip",
		Short:                      "One IP address in front of N servers, with no load balancer in the path",
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return refuseAlone(cmd, args)
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			log, err := logs.logger(e.stderr)
			if err != nil {
				return err
			}
			e.log = log
			return nil
		},
	}
	logs.register(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageErrorf("%w\nTry: %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		controllerCommand(e),
		agentCommand(e),
		statusCommand(e),
		nodesCommand(e),
		servicesCommand(e),
		connsCommand(e),
		localityCommand(e),
		eventsCommand(e),
		labCommand(e),
		streamCommand(e),
		benchCommand(e),
		configCommand(e),
		versionCommand(e),
	)
	return root
}

// parent makes a command that only has others below it: alone, or with a word
// that none of them has, it is wrong usage.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: refuseAlone}
	cmd.AddCommand(children...)
	return cmd
}

func refuseAlone(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageErrorf("%s needs a command\nTry: %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	hint := fmt.Sprintf("Try: %s --help", cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("Did you mean: %s %s", cmd.CommandPath(), near[0])
	}
	return usageErrorf("unknown command %q for %q\n%s", args[0], cmd.CommandPath(), hint)
}
