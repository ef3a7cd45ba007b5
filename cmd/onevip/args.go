// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// noArgs, exactArgs and maxArgs are cobra's, with the exit code of wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	return checkArgs(cobra.NoArgs, cmd, args)
}

func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return checkArgs(cobra.ExactArgs(n), cmd, args)
	}
}

func maxArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return checkArgs(cobra.MaximumNArgs(n), cmd, args)
	}
}

func checkArgs(check cobra.PositionalArgs, cmd *cobra.Command, args []string) error {
	if err := check(cmd, args); err != nil {
		return usageErrorf("%w\nTry: %s --help", err, cmd.CommandPath())
	}
	return nil
}
