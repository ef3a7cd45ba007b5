// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/onevip/onevip/bpf"
)

// Cleanup removes all that an agent of the node left on the machine: VIPs, the
// filter with its pins, and changed sysctls, which get their original values
// back. The node's connections end with it. It is no error if there is nothing,
// also after a crash or a second time; what failed can be tried again. Of cfg
// Store, Metrics and Version are not needed.
func Cleanup(ctx context.Context, cfg Config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	release, err := lockRunDir(cfg.runDir())
	if err != nil {
		return err
	}
	defer release()
	h, err := newLinuxHost(cfg.Interface, cfg.runDir())
	if err != nil {
		return err
	}
	return errors.Join(ctx.Err(), undo(h, cfg))
}

// undo takes the VIPs away first: a stack that has them and no filter would
// reset other nodes' connections. For the same reason the filter stays if a VIP does.
func undo(h *linuxHost, cfg Config) error {
	if err := h.removeVIPs(nil); err != nil {
		return err
	}
	if err := bpf.RemovePins(cfg.PinDir); err != nil {
		return err
	}
	if err := h.restore(); err != nil {
		return err
	}
	if err := os.RemoveAll(cfg.runDir()); err != nil {
		return fmt.Errorf("remove the run folder: %w", err)
	}
	return nil
}
