// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Override sets one scalar, or a list of words separated by commas, from
// outside of the file.
type Override struct {
	Path   string // heartbeat.interval, services[0].policy: one that Paths or ItemPaths lists
	Value  string
	Origin string // named in messages: "flag --heartbeat-interval"
}

// override puts o into the tree as if the file had said so.
func (d *decoder) override(root *yaml.Node, o Override) {
	path, known := settable(o.Path)
	if !known {
		d.overrideFails(o, notSettable, suggest(o.Path, settableNames()))
		return
	}
	keys := strings.Split(o.Path, ".")
	block := root
	for _, key := range keys[:len(keys)-1] {
		if block = d.step(block, key, o); block == nil {
			return // said already, or the file's own mistake, which decoding reports
		}
	}
	value := overrideNode(path.Kind, o.Value)
	d.origins[value] = o.Origin
	for _, item := range value.Content {
		d.origins[item] = o.Origin
	}
	setKey(block, keys[len(keys)-1], value)
}

// step goes to the block under key, or to the item of a list: services[0].
func (d *decoder) step(block *yaml.Node, key string, o Override) *yaml.Node {
	list, rest, isItem := strings.Cut(key, "[")
	if !isItem {
		return d.child(block, key, o.Origin)
	}
	items := itemsUnder(block, list)
	number, err := strconv.Atoi(strings.TrimSuffix(rest, "]"))
	if err != nil || number >= len(items) {
		d.overrideFails(o, fmt.Sprintf("the file has %d under %s", len(items), list), "count from 0 to one that is there")
		return nil
	}
	if items[number].Kind == yaml.AliasNode {
		return items[number].Alias
	}
	return items[number]
}

// itemsUnder gives the items of the list that block has under key.
func itemsUnder(block *yaml.Node, key string) []*yaml.Node {
	for i := 0; block.Kind == yaml.MappingNode && i+1 < len(block.Content); i += 2 {
		value := block.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if block.Content[i].Value == key && value.Kind == yaml.SequenceNode {
			return value.Content
		}
	}
	return nil
}

func (d *decoder) overrideFails(o Override, what, fix string) {
	d.problems = append(d.problems, Problem{Where: o.Origin, Path: o.Path, What: what, Fix: fix})
}

// child gives the block under key, made if it isn't there.
func (d *decoder) child(block *yaml.Node, key, origin string) *yaml.Node {
	if block.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(block.Content); i += 2 {
		if block.Content[i].Value != key {
			continue
		}
		inner := block.Content[i+1]
		if inner.Kind == yaml.AliasNode {
			return inner.Alias
		}
		if isNull(inner) {
			*inner = yaml.Node{Kind: yaml.MappingNode, Line: inner.Line}
		}
		return inner
	}
	inner := &yaml.Node{Kind: yaml.MappingNode}
	d.origins[inner] = origin
	setKey(block, key, inner)
	return inner
}

// setKey puts value in place of what block has under key.
func setKey(block *yaml.Node, key string, value *yaml.Node) {
	if block.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(block.Content); i += 2 {
		if block.Content[i].Value == key {
			block.Content[i+1] = value
			return
		}
	}
	block.Content = append(block.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
}

// overrideNode writes the value as YAML. Text is text even where it looks like
// something else, and an empty one is allowed.
func overrideNode(kind, value string) *yaml.Node {
	switch kind {
	case "list":
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list.Content = append(list.Content, overrideNode("text", item))
			}
		}
		return list
	case "text":
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: value}
}
