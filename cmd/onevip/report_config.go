// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"gopkg.in/yaml.v3"
	sigs "sigs.k8s.io/yaml"

	"github.com/onevip/onevip/topology"
)

// configReport is the configuration in force. Each value of the document has
// its origin as a comment: a flag, a variable, a line of the file, or the default.
type configReport struct{ document *yaml.Node }

// reportConfig looks up where each value of cluster comes from. The cluster
// was loaded from set, so the file is there and is YAML.
func reportConfig(cluster topology.Cluster, set *settings) (configReport, error) {
	text, err := topology.Marshal(cluster)
	if err != nil {
		return configReport{}, err
	}
	effective, err := parseDocument(text)
	if err != nil {
		return configReport{}, err
	}
	text, err = os.ReadFile(set.config())
	if err != nil {
		return configReport{}, err
	}
	file, err := parseDocument(text)
	if err != nil {
		return configReport{}, err
	}
	a := annotator{fileName: set.config(), origin: set.origin}
	a.annotate(effective, file, "")
	return configReport{effective}, nil
}

// parseDocument gives the root of a document, nil if it is empty.
func parseDocument(text []byte) (*yaml.Node, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("parse configuration: %w", err)
	}
	if len(document.Content) == 0 {
		return nil, nil
	}
	return document.Content[0], nil
}

// annotator writes origins beside values.
type annotator struct {
	fileName string
	origin   func(path string) string // of what is not from the file
}

// annotate walks the effective tree along the file's; file is nil where the
// file says nothing.
func (a annotator) annotate(effective, file *yaml.Node, path string) {
	if file != nil && file.Kind == yaml.AliasNode {
		file = file.Alias
	}
	if origin := a.origin(path); origin != "" {
		effective.LineComment = origin
		return
	}
	switch effective.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(effective.Content); i += 2 {
			key := effective.Content[i].Value
			a.annotate(effective.Content[i+1], valueOf(file, key), strings.TrimPrefix(path+"."+key, "."))
		}
	case yaml.SequenceNode:
		for i, item := range effective.Content {
			a.annotate(item, itemOf(file, i), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		effective.LineComment = a.place(file)
	}
}

func (a annotator) place(file *yaml.Node) string {
	if file == nil {
		return "default"
	}
	return fmt.Sprintf("%s:%d", a.fileName, file.Line)
}

// valueOf finds the value of a key, or gives nil.
func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// itemOf finds the item of a list, or gives nil.
func itemOf(list *yaml.Node, i int) *yaml.Node {
	if list == nil || list.Kind != yaml.SequenceNode || i >= len(list.Content) {
		return nil
	}
	return list.Content[i]
}

func (r configReport) writeYAML(w io.Writer) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(r.document); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return enc.Close()
}

// MarshalJSON gives the configuration without the origins.
func (r configReport) MarshalJSON() ([]byte, error) {
	text, err := yaml.Marshal(r.document)
	if err != nil {
		return nil, err
	}
	return sigs.YAMLToJSON(text)
}

// writeTable gives one line per value: path, value, origin.
func (r configReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Setting", "Value", "Origin")
	writeSettings(t, r.document, "")
	return t.flush()
}

func writeSettings(t *table, n *yaml.Node, path string) {
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			writeSettings(t, n.Content[i+1], strings.TrimPrefix(path+"."+n.Content[i].Value, "."))
		}
	case n.Kind == yaml.SequenceNode && n.LineComment == "":
		for i, item := range n.Content {
			writeSettings(t, item, fmt.Sprintf("%s[%d]", path, i))
		}
	case n.Kind == yaml.SequenceNode:
		values := make([]string, len(n.Content))
		for i, item := range n.Content {
			values[i] = item.Value
		}
		t.row(path, strings.Join(values, ","), n.LineComment)
	default:
		t.row(path, n.Value, n.LineComment)
	}
}
