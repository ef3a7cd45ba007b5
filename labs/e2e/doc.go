// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the whole: it brings up lab 01-quickstart with the real
// binary and uses the cluster as a client would, with curl, wrk, h2load, ssh,
// and a client of its own where those can't ask the question. It has no code
// but tests; all need root.
//
// The test binary is its own client: "lab exec client -- e2e.test helper VERB"
// runs one of the verbs in helper_test.go inside the lab.
package e2e
