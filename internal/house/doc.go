// SPDX-License-Identifier: Apache-2.0

// Package house holds tests of the tree itself: who may import whom, and that
// each file says under which licence it stands. It has no code.
package house
