// SPDX-License-Identifier: Apache-2.0

// Package workload is a set of files and how often each is asked for, in the
// shape of the downloads of SPECweb2005's Support workload ("SPECweb2005-
// Support-like": the shape is re-derived, a result is never a SPEC result).
// Both ends hold it: the origin of lab 03-locality serves the files, a load
// picks from them. Nothing is stored: sizes follow from the Spec, the bytes of
// a file from its name, so that whoever knows both can check every byte.
package workload
