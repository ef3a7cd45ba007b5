// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the linker: make build passes what git describe says.
var version = "unversioned"

type versionReport struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (r versionReport) writeTable(w io.Writer) error {
	_, err := fmt.Fprintf(w, "onevip %s (%s, %s/%s)\n", r.Version, r.Go, r.OS, r.Arch)
	return err
}

func versionCommand(e *env) *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			return out.write(e.stdout, versionReport{version, runtime.Version(), runtime.GOOS, runtime.GOARCH})
		},
	}
	out.register(cmd.Flags())
	return cmd
}
