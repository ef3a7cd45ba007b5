// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/labs"
)

func labFaultCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault HOST KIND",
		Short: "Do harm to a host of a lab; heal undoes it, and so does lab down",
		Long: "Do harm to a host of a lab, until lab heal or lab down undoes it.\n" +
			"How is written down before anything is done. The kinds:\n\n" + faultKindsHelp(),
		Example: "  onevip lab fault n2 crash\n  onevip lab fault n2 reboot\n" +
			"  onevip lab fault n1 partition --from controller --for 10s\n  onevip lab fault n3 copy-loss --loss 30",
		Args: exactArgs(2),
	}
	flags := cmd.Flags()
	lab := labName(cmd)
	var o labs.FaultOptions
	flags.DurationVar(&o.For, "for", 0, "wait so long, or for an interrupt, and heal")
	flags.StringVar(&o.From, "from", "", "partition: the other host, or controller")
	flags.StringVar(&o.Link, "link", "", "link-down, slow, shuffle, loss, copy-loss: the host's interface (default: its first in the lab's file)")
	flags.DurationVar(&o.Delay, "delay", labs.DefaultDelay, "slow: how late frames are; shuffle: at most (default there: 2ms)")
	percent := flags.Float64("loss", 100*labs.DefaultLoss, "loss, copy-loss, shuffle: percent of the frames")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !flags.Changed("delay") {
			o.Delay = 0
		}
		if flags.Changed("loss") {
			if *percent <= 0 || *percent > 100 {
				return usageErrorf("--loss %g: write a percentage above 0 and up to 100", *percent)
			}
			o.Loss = *percent / 100
		}
		f, err := labs.Fault(cmd.Context(), *lab, args[0], labs.FaultKind(args[1]), o)
		if err != nil {
			return err
		}
		return sayFault(e.stdout, *lab, f, o.For)
	}
	return cmd
}

// sayFault tells what is the case now.
func sayFault(w io.Writer, lab string, f labs.ActiveFault, lasted time.Duration) error {
	up, err := labs.Faults(lab)
	if err != nil {
		return err
	}
	for _, active := range up {
		if active.ID == f.ID && active.Since.Equal(f.Since) {
			_, err = fmt.Fprintf(w, "fault %s; end it with: onevip lab heal %s\n", f, f.Host)
			return err
		}
	}
	_, err = fmt.Fprintf(w, "fault %s is over, after %v\n", f, time.Since(f.Since).Round(time.Millisecond))
	return err
}

// faultKindsHelp is the list of kinds, a line each.
func faultKindsHelp() string {
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, k := range labs.FaultKinds() {
		fmt.Fprintf(t, "  %s\t%s\n", k.Kind, k.Brief)
	}
	_ = t.Flush() // into memory
	return strings.TrimRight(text.String(), "\n")
}

// labDelayCommand is what a lab runs in a slow host; see labs.Delayer
// and labs.Shuffler.
func labDelayCommand(*env) *cobra.Command {
	cmd := &cobra.Command{
		Use:    strings.Join(labs.DelayerWords[1:], " ") + " INTERFACE TAP DELAY [TWICE]",
		Short:  "Hold back what a tap gets, and send it by an interface",
		Args:   cobra.RangeArgs(3, 4),
		Hidden: true,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		delay, err := time.ParseDuration(args[2])
		if err != nil {
			return usageErrorf("%w", err)
		}
		if len(args) == 3 {
			return labs.Delayer(cmd.Context(), args[0], args[1], delay)
		}
		twice, err := strconv.ParseFloat(args[3], 64)
		if err != nil || delay <= 0 {
			return usageErrorf("%s %s: write a time above 0 and a share", args[2], args[3])
		}
		return labs.Shuffler(cmd.Context(), args[0], args[1], delay, twice)
	}
	return cmd
}

// labName is --lab of the commands that work on a running lab.
func labName(cmd *cobra.Command) *string {
	return cmd.Flags().String("lab", "", "the lab (default: the only one that is up)")
}
