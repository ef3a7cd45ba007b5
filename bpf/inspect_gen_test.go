// SPDX-License-Identifier: Apache-2.0

package bpf

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package bpf -output-suffix _test inspect src/inspect.bpf.c -- -O2 -g -mcpu=v3 -Wall -Werror -I src
