// SPDX-License-Identifier: Apache-2.0

// Package topology holds the words of the cluster: what a node, a service, a
// switch and a link are, how an operator writes them down (cluster.yaml and
// containerlab files), and what is refused, with file, line and remedy.
//
// It decides nothing and talks to nobody; every other package speaks in its
// types. It imports the standard library and a YAML package only.
package topology
