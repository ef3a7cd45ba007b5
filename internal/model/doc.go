// SPDX-License-Identifier: Apache-2.0

// Package model holds the cluster's protocol as models that are searched for
// violations of its invariants: takeover.pml with Spin. It has no code that runs
// in a cluster.
package model
