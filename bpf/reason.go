// SPDX-License-Identifier: Apache-2.0

package bpf

import "strings"

// Verdict is what became of a packet.
type Verdict string

// A packet goes up to the kernel's stack, back out, or nowhere.
const (
	VerdictPass  Verdict = "pass"
	VerdictReply Verdict = "reply"
	VerdictDrop  Verdict = "drop"
	// VerdictBeside is of a reason that counts no packet: something happened
	// beside one, or later.
	VerdictBeside Verdict = "beside"
)

// Reason is why a packet left the program the way it did: the index of its
// counter. The list is that of src/reason.h; a test compares them.
type Reason uint32

// The reasons, in the order of the counters.
const (
	ReasonNotVIP Reason = iota
	ReasonOwn
	ReasonAdopted
	ReasonAdoptedYoung
	ReasonAdoptedInspected
	ReasonAdoptedHanded
	ReasonClosed
	ReasonReuseTimeWait
	ReasonReuseLive
	ReasonOwnICMPError
	ReasonEcho
	ReasonAnswered
	ReasonAnsweredAsFormer
	ReasonAnsweredForPrimary
	ReasonAnsweredSecondSYN
	ReasonAnsweredUntimed
	ReasonRefusedNoService
	ReasonResetNoListener
	ReasonResetOrphan
	ReasonResetYoung
	ReasonAsked
	ReasonHandedOver
	ReasonFollowed
	ReasonSilentClosed
	ReasonForeign
	ReasonForeignICMP
	ReasonNotPrimary
	ReasonAwaiting
	ReasonSYNCopy
	ReasonMirrored
	ReasonNoNode
	ReasonNotReady
	ReasonCookieExpired
	ReasonCookieMismatch
	ReasonCookieNoRecord
	ReasonDuplicate
	ReasonAdoptMPTCP
	ReasonAdoptRefused
	ReasonReuseStuck
	ReasonTruncated
	ReasonBadIPHeader
	ReasonIPOptions
	ReasonFragment
	ReasonExtHeader
	ReasonLand
	ReasonNotTCP
	ReasonICMPOther
	ReasonNeighbor
	ReasonBadTCPHeader
	ReasonBadTCPFlags
	ReasonBadTCPOptions
	ReasonRewriteFailed
	ReasonStoodDown
	ReasonStray
	ReasonAskOther
	ReasonAskForged
	ReasonUndecided
	ReasonTold
	ReasonNoMember
	ReasonDecisionLost
	ReasonNoClient
	ReasonSpeculated
	ReasonNoticeLost
	ReasonUnheardFull
	ReasonUnknownMany
	reasonCount
)

var reasons = [reasonCount]struct {
	name    string
	verdict Verdict
	text    string
}{
	ReasonNotVIP:             {"NOT_VIP", VerdictPass, "not for a VIP"},
	ReasonOwn:                {"OWN", VerdictPass, "this kernel has the socket"},
	ReasonAdopted:            {"ADOPTED", VerdictPass, "valid cookie that names us: the kernel makes the socket"},
	ReasonAdoptedYoung:       {"ADOPTED_YOUNG", VerdictPass, "the same of a failed owner, for whom this node acts"},
	ReasonAdoptedInspected:   {"ADOPTED_INSPECTED", VerdictPass, "valid cookie that names us as inspector, and the first request is for us"},
	ReasonAdoptedHanded:      {"ADOPTED_HANDED", VerdictPass, "valid cookie that names its inspector, who handed the segment to us"},
	ReasonClosed:             {"CLOSED", VerdictPass, "of a connection we had: the kernel owes a RST"},
	ReasonReuseTimeWait:      {"REUSE_TIME_WAIT", VerdictPass, "became the RST that ends a TIME_WAIT of the same tuple"},
	ReasonReuseLive:          {"REUSE_LIVE", VerdictPass, "became the RST that ends the tuple's old connection"},
	ReasonOwnICMPError:       {"OWN_ICMP_ERROR", VerdictPass, "ICMP error about a segment of ours"},
	ReasonEcho:               {"ECHO", VerdictPass, "ICMP echo, and this node answers it"},
	ReasonAnswered:           {"ANSWERED", VerdictReply, "SYN became a SYN/ACK"},
	ReasonAnsweredAsFormer:   {"ANSWERED_AS_FORMER", VerdictReply, "SYN became a SYN/ACK: the slot was ours in the table before"},
	ReasonAnsweredForPrimary: {"ANSWERED_FOR_PRIMARY", VerdictReply, "SYN became a SYN/ACK: the primary is suspected, or is not waited for"},
	ReasonAnsweredSecondSYN:  {"ANSWERED_SECOND_SYN", VerdictReply, "SYN became a SYN/ACK: the primary has not answered the first"},
	ReasonAnsweredUntimed:    {"ANSWERED_UNTIMED", VerdictReply, "SYN became a SYN/ACK: no room or timer to wait for the primary"},
	ReasonRefusedNoService:   {"REFUSED_NO_SERVICE", VerdictReply, "SYN to a port without a service became a RST"},
	ReasonResetNoListener:    {"RESET_NO_LISTENER", VerdictReply, "valid cookie names us, but nobody listens: RST"},
	ReasonResetOrphan:        {"RESET_ORPHAN", VerdictReply, "the owner has failed, and this node acts for it: RST"},
	ReasonResetYoung:         {"RESET_YOUNG", VerdictReply, "the same, just made; the owner may have got its request: RST"},
	ReasonAsked:              {"ASKED", VerdictReply, "another node's question became its answer"},
	ReasonHandedOver:         {"HANDED_OVER", VerdictReply, "this inspector sent the first request to its owner"},
	ReasonFollowed:           {"FOLLOWED", VerdictReply, "sent after a segment that was handed over"},
	ReasonSilentClosed:       {"SILENT_CLOSED", VerdictReply, "a client that asks for nothing: RST"},
	ReasonForeign:            {"FOREIGN", VerdictDrop, "another node's connection"},
	ReasonForeignICMP:        {"FOREIGN_ICMP", VerdictDrop, "ICMP about another node's, or another node answers"},
	ReasonNotPrimary:         {"NOT_PRIMARY", VerdictDrop, "SYN of another scheduler's slot"},
	ReasonAwaiting:           {"AWAITING", VerdictDrop, "SYN waits for its primary's answer here"},
	ReasonSYNCopy:            {"SYN_COPY", VerdictDrop, "SYN sent to us by the scheduler that has named us"},
	ReasonMirrored:           {"MIRRORED", VerdictDrop, "SYN/ACK of another member, seen"},
	ReasonNoNode:             {"NO_NODE", VerdictDrop, "no node may be picked"},
	ReasonNotReady:           {"NOT_READY", VerdictDrop, "no id, slots or keys installed yet"},
	ReasonCookieExpired:      {"COOKIE_EXPIRED", VerdictDrop, "names us, under a key no longer accepted"},
	ReasonCookieMismatch:     {"COOKIE_MISMATCH", VerdictDrop, "names us, but the MAC is wrong: forged, or a foreign segment"},
	ReasonCookieNoRecord:     {"COOKIE_NO_RECORD", VerdictDrop, "no timestamps and no record of the SYN"},
	ReasonDuplicate:          {"DUPLICATE", VerdictDrop, "first segment of a connection that has closed already"},
	ReasonAdoptMPTCP:         {"ADOPT_MPTCP", VerdictDrop, "the listener is MPTCP: the kernel refuses it"},
	ReasonAdoptRefused:       {"ADOPT_REFUSED", VerdictDrop, "the kernel refused for another reason"},
	ReasonReuseStuck:         {"REUSE_STUCK", VerdictDrop, "the old socket of a reused tuple did not go yet"},
	ReasonTruncated:          {"TRUNCATED", VerdictDrop, "ends before its headers do"},
	ReasonBadIPHeader:        {"BAD_IP_HEADER", VerdictDrop, "version or length field contradict the packet"},
	ReasonIPOptions:          {"IP_OPTIONS", VerdictDrop, "IPv4 options"},
	ReasonFragment:           {"FRAGMENT", VerdictDrop, "IPv4 fragment"},
	ReasonExtHeader:          {"EXT_HEADER", VerdictDrop, "IPv6 extension header, fragments too"},
	ReasonLand:               {"LAND", VerdictDrop, "source is a VIP"},
	ReasonNotTCP:             {"NOT_TCP", VerdictDrop, "no protocol of ours"},
	ReasonICMPOther:          {"ICMP_OTHER", VerdictDrop, "ICMP that is neither echo nor error"},
	ReasonNeighbor:           {"NEIGHBOR", VerdictDrop, "neighbour discovery for a VIP: the switch answers"},
	ReasonBadTCPHeader:       {"BAD_TCP_HEADER", VerdictDrop, "data offset below 5 or beyond the packet"},
	ReasonBadTCPFlags:        {"BAD_TCP_FLAGS", VerdictDrop, "SYN with FIN, SYN with RST, or none of SYN, ACK, RST"},
	ReasonBadTCPOptions:      {"BAD_TCP_OPTIONS", VerdictDrop, "an option of length 0 or 1, or beyond the header"},
	ReasonRewriteFailed:      {"REWRITE_FAILED", VerdictDrop, "no memory to rewrite the packet"},
	ReasonStoodDown:          {"STOOD_DOWN", VerdictDrop, "this node was declared failed"},
	ReasonStray:              {"STRAY", VerdictDrop, "owner unknown, and one that this node acts for has failed"},
	ReasonAskOther:           {"ASK_OTHER", VerdictDrop, "a question to another node, or to one that we were"},
	ReasonAskForged:          {"ASK_FORGED", VerdictDrop, "a question under no key of ours, or with a wrong MAC"},
	ReasonUndecided:          {"UNDECIDED", VerdictDrop, "names us as inspector, and asks for nothing yet"},
	ReasonTold:               {"TOLD", VerdictDrop, "the inspector tells the guard who has a connection"},
	ReasonNoMember:           {"NO_MEMBER", VerdictDrop, "to be handed to a node whose MAC is not known"},
	ReasonDecisionLost:       {"DECISION_LOST", VerdictDrop, "no room to remember whose connection it is: decided when it comes again"},
	ReasonNoClient:           {"NO_CLIENT", VerdictDrop, "handed to us, nobody listens, and the client's MAC is not known"},
	ReasonSpeculated:         {"SPECULATED", VerdictBeside, "SYN/ACK given to the agent: the primary stayed silent"},
	ReasonNoticeLost:         {"NOTICE_LOST", VerdictBeside, "the agent is away or behind: no room for a notice"},
	ReasonUnheardFull:        {"UNHEARD_FULL", VerdictBeside, "no room to keep a SYN/ACK that named us"},
	ReasonUnknownMany:        {"UNKNOWN_MANY", VerdictBeside, "too many unknown connections at once: one is not remembered"},
}

// String is the reason in lower case, as metrics and the CLI show it.
func (r Reason) String() string {
	if r >= reasonCount {
		return "unknown"
	}
	return strings.ToLower(reasons[r].name)
}

// Verdict tells what becomes of a packet for this reason.
func (r Reason) Verdict() Verdict { return reasons[r].verdict }

// Text explains the reason in a sentence's worth of words.
func (r Reason) Text() string { return reasons[r].text }

// Reasons lists all of them.
func Reasons() []Reason {
	all := make([]Reason, reasonCount)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
