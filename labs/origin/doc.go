// SPDX-License-Identifier: Apache-2.0

// Package origin is the web server of lab 03-locality: it serves the files of a
// workload.Set from a cache of bounded bytes in front of a slow disk, and tells
// of each answer whether the cache had it. One such server stands for a node
// whose memory holds a part of the files.
//
// Neither the cache nor the disk holds bytes. What a file contains follows from
// its name (workload.File.Content), so only sizes are kept, and time is taken
// where a real disk would take it. A byte from the cache costs what making it
// costs: less than copying it to the socket does.
package origin
