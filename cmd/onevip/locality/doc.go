// SPDX-License-Identifier: Apache-2.0

// Package locality measures what the choice of a node by the request's path gives
// to clients: the same downloads, begun at the same times, from the same servers,
// once through a service of each policy.
//
// The client's part (Load, Pairs) runs in the lab's client host as a process of
// its own and gives a Trace; the bench's part (Bench) empties the servers' caches,
// starts it, and sums up. Who calls it: onevip bench locality.
package locality
