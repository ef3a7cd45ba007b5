// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onevip/onevip/labs"
)

// roleLabel is how a lab's file says what a host is; its controller's host has
// the cluster's configuration and reaches its etcd.
const (
	roleLabel      = "onevip.role"
	roleController = "controller"
)

// labFlag is --lab of the commands that look at a cluster: a lab's etcd is in a
// namespace of its own, so the command runs again inside.
type labFlag struct{ name string }

func (l *labFlag) register(flags *pflag.FlagSet) {
	flags.StringVar(&l.name, "lab", "", "look at this lab's cluster (default: the only lab that is up, if this machine has no configuration)")
}

// choose gives the lab to look at, or nothing if it is not about labs. Without
// the flag a lab is taken only where nothing else tells which cluster is meant.
func (l *labFlag) choose(e *env, set *settings) string {
	if l.name != "" {
		return l.name
	}
	if set.configured() || set.origin("config") != "" || set.origin("cluster") != "" {
		return ""
	}
	up, err := labs.List()
	if err != nil || len(up) != 1 || !up[0].Ready {
		return "" // then the missing configuration is what to talk about
	}
	fmt.Fprintf(e.stderr, "(lab %s, the only one that is up)\n", up[0].Name)
	return up[0].Name
}

// runInLab runs a command in the host of the lab's controller.
func runInLab(ctx context.Context, e *env, lab string, argv []string) error {
	running, err := labs.Find(lab)
	if err != nil {
		return err
	}
	hosts := running.Labelled(roleLabel, roleController)
	if len(hosts) == 0 {
		return fmt.Errorf("lab %s has no host with the label %s: %s", running.Name, roleLabel, roleController)
	}
	return execInLab(ctx, e, running.Name, hosts[0].Name, argv)
}

// sameCommand is cmd's command line without --lab.
func sameCommand(cmd *cobra.Command, args []string) []string {
	argv := strings.Fields(cmd.CommandPath())
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if flag.Name != "lab" {
			argv = append(argv, fmt.Sprintf("--%s=%s", flag.Name, flag.Value))
		}
	})
	if len(args) > 0 {
		argv = append(append(argv, "--"), args...)
	}
	return argv
}

// execInLab passes the command's exit code on.
func execInLab(ctx context.Context, e *env, lab, host string, argv []string) error {
	code, err := labs.Exec(ctx, lab, host, argv, labs.Stdio{In: e.stdin, Out: e.stdout, Err: e.stderr})
	if err != nil || code == 0 {
		return err
	}
	return codedError{code: code}
}
