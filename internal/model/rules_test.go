// SPDX-License-Identifier: Apache-2.0

package model

// rules are the protocol's, all of them unless one is left out to show that the
// search would notice.
type rules struct {
	actsUnfenced     bool // a guard does not wait for the fence
	replacesUnfenced bool // a guard takes the place of another that is not fenced yet
	believesTables   bool // the leader takes a fence that is in the tables for one that is in force
	keepsSockets     bool // a failed node comes back with its sockets
	staysAwake       bool // a node that stands down still takes what comes
	forgetsData      bool // a guard adopts although it saw the request
	forgetsClosed    bool // a node adopts again what it had and closed
	speaksForOldSelf bool // a node resets what it closed under an earlier id
}
