// SPDX-License-Identifier: Apache-2.0

package nodeagent

// refusal is why a received heartbeat is not taken; empty: it is taken. It is
// the label of onevip_agent_heartbeats_refused_total.
type refusal string

const (
	accepted           refusal = ""
	refusedNoKey       refusal = "no_key"       // this node has no key yet
	refusedForeign     refusal = "foreign"      // not a heartbeat, or of another version
	refusedLength      refusal = "length"       // says another length than it has
	refusedForged      refusal = "forged"       // wrong MAC: another key, or an attacker
	refusedMalformed   refusal = "malformed"    // authentic, but makes no sense
	refusedOwn         refusal = "own"          // our own echo
	refusedSameID      refusal = "same_id"      // another node uses our id
	refusedUnknown     refusal = "unknown_node" // no member has this id
	refusedIncarnation refusal = "incarnation"  // not the boot that the store knows
	refusedReplay      refusal = "replay"       // a sequence that is not new
)
