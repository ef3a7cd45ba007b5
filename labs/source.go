// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/onevip/onevip/topology"
)

// shipped are the labs that come with the binary, one folder each, and beside
// them what their hosts share.
//
//go:embed [0-9][0-9]-* common
var shipped embed.FS

// commonDir is the folder beside the labs with what they share; they bind it
// as ../common.
const commonDir = "common"

// topologyFile is the containerlab file in each lab's folder.
const topologyFile = "topology.clab.yml"

// Description is a lab that comes with the binary.
type Description struct {
	Name  string
	Title string // the first heading of its README
}

// Available lists the labs that come with the binary, in the order of their numbers.
func Available() []Description {
	entries, err := shipped.ReadDir(".")
	if err != nil {
		return nil // can't be: the folder is compiled in
	}
	var found []Description
	for _, e := range entries {
		if e.Name() == commonDir {
			continue
		}
		found = append(found, Description{Name: e.Name(), Title: titleOf(e.Name())})
	}
	return found
}

func titleOf(lab string) string {
	readme, err := shipped.ReadFile(path.Join(lab, "README.md"))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(readme), "\n")
	return strings.TrimSpace(strings.TrimLeft(line, "# "))
}

// source is a lab that can be built.
type source struct {
	lab topology.Lab
	// folder is where relative binds start; empty while the lab is only inside
	// of the binary.
	folder string
	files  fs.FS // what to unpack if folder is empty
}

// open finds a lab by its name or by the path of its file or folder.
func open(nameOrPath string) (source, error) {
	if sub, err := fs.Sub(shipped, nameOrPath); err == nil && isShipped(nameOrPath) {
		return parse(source{files: sub}, sub, topologyFile, nameOrPath+"/"+topologyFile)
	}
	info, err := os.Stat(nameOrPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return source{}, fmt.Errorf("there is no lab %q; write the path of a .clab.yml file, or one of: %s",
			nameOrPath, strings.Join(availableNames(), ", "))
	case err != nil:
		return source{}, fmt.Errorf("open lab: %w", err)
	}
	file := nameOrPath
	if info.IsDir() {
		file = filepath.Join(nameOrPath, topologyFile)
	}
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return source{}, fmt.Errorf("open lab: %w", err)
	}
	return parse(source{folder: folder}, os.DirFS(folder), filepath.Base(file), file)
}

// parse reads the lab's topology file, which messages call shown.
func parse(s source, files fs.FS, file, shown string) (source, error) {
	data, err := fs.ReadFile(files, file)
	if err != nil {
		return source{}, fmt.Errorf("read lab %s: %w", shown, err)
	}
	s.lab, err = topology.ParseLab(shown, data)
	return s, err
}

func isShipped(name string) bool {
	_, err := fs.Stat(shipped, path.Join(name, topologyFile))
	return err == nil
}

func availableNames() []string {
	var names []string
	for _, d := range Available() {
		names = append(names, d.Name)
	}
	return names
}
