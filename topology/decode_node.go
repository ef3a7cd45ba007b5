// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// syntaxLine finds the line in the YAML package's messages.
var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// parseYAML gives the root of the only document of data; an empty file is an
// empty block.
func (d *decoder) parseYAML(data []byte) *yaml.Node {
	empty := &yaml.Node{Kind: yaml.MappingNode, Line: 1}
	in := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := in.Decode(&document); {
	case errors.Is(err, io.EOF):
		return empty
	case err != nil:
		d.syntax(err)
		return nil
	}
	var second yaml.Node
	switch err := in.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntax(err)
		return nil
	default:
		d.fail(&second, "", "a second document begins", "keep one per file")
	}
	if len(document.Content) == 0 || isNull(document.Content[0]) {
		return empty
	}
	return document.Content[0]
}

func (d *decoder) syntax(err error) {
	message := strings.ReplaceAll(err.Error(), "\n", " ")
	line := 1
	if m := syntaxLine.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	d.fail(&yaml.Node{Line: line}, "", "not YAML: "+message, "mend the syntax; indent with spaces")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func isNumber(n *yaml.Node) bool {
	tag := n.ShortTag()
	return tag == "!!int" || tag == "!!float"
}

// kindOf says in words what n is.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a block"
	case isNull(n):
		return "nothing"
	case isNumber(n):
		return "a number"
	}
	return "text"
}

// tagOf is the key of a struct's field.
func tagOf(f reflect.StructField) string {
	tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return tag
}

// keysOf lists the keys of a struct in its own order.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = tagOf(t.Field(i))
	}
	return keys
}

// fieldIndex finds the field with that key, or gives -1.
func fieldIndex(t reflect.Type, key string) int {
	for i := range t.NumField() {
		if tagOf(t.Field(i)) == key {
			return i
		}
	}
	return -1
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
