// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/labs"
)

func labCommand(e *env) *cobra.Command {
	return parent("lab", "Whole clusters in network namespaces of this machine (root)",
		labUpCommand(e),
		labDownCommand(e),
		labListCommand(e),
		labStatusCommand(e),
		labExecCommand(e),
		labFaultCommand(e),
		labFaultsCommand(e),
		labHealCommand(e),
		labDelayCommand(e),
		labOriginCommand(e),
	)
}

func labUpCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "up LAB",
		Short:   "Build a lab and return when it works",
		Long:    "Build a lab, by its name or from the path of a .clab.yml file, and return when it works.",
		Example: "  onevip lab up 01-quickstart\n  onevip lab up 01-quickstart --as mine",
		Args:    exactArgs(1),
	}
	instance := cmd.Flags().String("as", "", "another name for it, so that one lab can be up twice")
	binary := cmd.Flags().String("binary", "", "the onevip that the lab's hosts run (default: this one)")
	set := cmd.Flags().StringToString("set", nil, "a setting of the lab's cluster: speculation.delay=off, services[0].policy=locality")
	quiet := cmd.Flags().BoolP("quiet", "q", false, "don't say what is being done")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options := labs.Options{Lab: args[0], Instance: *instance, Binary: *binary, Set: *set}
		if !*quiet {
			options.Progress = e.stderr
		}
		running, err := labs.Up(cmd.Context(), options)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "lab %s is up; take it down with: onevip lab down %s\n", running.Name, running.Name)
		return err
	}
	return cmd
}

func labDownCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "down [LAB]",
		Short: "Take a lab down, whatever is left of it; the only one if none is named",
		Args:  maxArgs(1),
	}
	all := cmd.Flags().Bool("all", false, "take all labs down")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all {
			names, err := labs.DownAll(cmd.Context())
			for _, name := range names {
				fmt.Fprintf(e.stdout, "lab %s is down\n", name)
			}
			return err
		}
		name := firstOf(args)
		running, err := labs.Find(name)
		if errors.Is(err, labs.ErrNotUp) {
			_, err = fmt.Fprintln(e.stdout, "nothing to do:", err)
			return err
		}
		if err == nil {
			err = labs.Down(cmd.Context(), running.Name)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "lab %s is down\n", running.Name)
		return err
	}
	return cmd
}

func labListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the labs that there are and those that are up", Args: noArgs}
	var out outputFlag
	out.register(cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		up, err := labs.List()
		if err != nil {
			return err
		}
		return out.write(e.stdout, reportLabs(labs.Available(), up))
	}
	return cmd
}

func labStatusCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [LAB]",
		Short: "Show the hosts of a lab; exit code 3 if one is not what it should be",
		Args:  maxArgs(1),
	}
	var out outputFlag
	out.register(cmd.Flags())
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		status, err := labs.Status(firstOf(args))
		if err != nil {
			return err
		}
		report := reportLab(status)
		if err := out.write(e.stdout, report); err != nil {
			return err
		}
		if !report.well() {
			return errUnhealthy
		}
		return nil
	}
	return cmd
}

func labExecCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec HOST -- COMMAND [ARGUMENT]...",
		Short: "Run a command in a host of a lab; the exit code is the command's",
		Example: "  onevip lab exec client -- curl -s http://10.77.0.1/whoami\n" +
			"  onevip lab exec sw -- ovs-ofctl -OOpenFlow13 dump-flows br0",
		Args: cobra.ArbitraryArgs,
	}
	lab := labName(cmd)
	// What follows the host is the command's, flags too.
	cmd.Flags().SetInterspersed(false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 && args[1] == "--" {
			args = append(args[:1:1], args[2:]...)
		}
		if len(args) < 2 {
			return usageErrorf("write a host and a command: %s", cmd.UseLine())
		}
		return execInLab(cmd.Context(), e, *lab, args[0], args[1:])
	}
	return cmd
}

// firstOf gives the only argument, or an empty one: the only lab.
func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
