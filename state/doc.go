// SPDX-License-Identifier: Apache-2.0

// Package state is what the cluster remembers: the records, the keys they
// stand under, and two stores that keep them, etcd and memory. It is the only
// user of the etcd client and of embedded etcd.
//
// It decides nothing: the controller's leader writes what it decided, agents
// write what they see, everybody watches the whole as a View. The stored form
// is described in docs/formats/etcd.md and changes together with it.
package state
