#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# film.sh FOLDER: what all servers must have alike, if it is not there yet: the
# key file, and in FOLDER/films a film of 20 seconds. A server resumes another
# one's stream only if its file has the same size and time of change.
set -eu
cd "$1"
mkdir -p films
[ -e keys ] || onevip stream keygen keys
[ -e films/alive ] || echo "this node serves" >films/alive
[ -e films/film.ts ] && exit

# A picture that counts seconds, a tone, and packets at one bitrate.
ffmpeg -nostdin -v error -y -f lavfi -i testsrc=size=320x240:rate=25 -f lavfi -i sine=440 -t 20 \
	-threads 1 -c:v mpeg2video -b:v 1M -minrate 1M -maxrate 1M -bufsize 500k -c:a mp2 -b:a 64k \
	-f mpegts -muxrate 1400k film.part
mv film.part films/film.ts
