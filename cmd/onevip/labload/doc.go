// SPDX-License-Identifier: Apache-2.0

// Package labload has what those benches share whose clients run in a lab's client
// host, as a process of their own: waiting for what they say, asking the lab's
// cluster, and figures of many samples. The benches are failover and locality.
package labload
