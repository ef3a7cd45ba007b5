// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// decoder fills Go values from YAML nodes by their yaml tags. It goes on after
// a problem, and remembers where each field stands, so that the validation,
// which knows nothing of files, can say so as well.
type decoder struct {
	name     string
	origins  map[*yaml.Node]string // of nodes that overrides made
	places   map[string]place      // by field path
	problems Problems
}

// place is where a field was read from.
type place struct {
	where string
	line  int
}

func newDecoder(name string) *decoder {
	return &decoder{name: name, origins: map[*yaml.Node]string{}, places: map[string]place{}}
}

func (d *decoder) place(n *yaml.Node) place {
	if origin, ok := d.origins[n]; ok {
		return place{where: origin}
	}
	line := max(n.Line, 1)
	return place{where: d.name + ":" + strconv.Itoa(line), line: line}
}

func (d *decoder) fail(n *yaml.Node, path, what, fix string) {
	at := d.place(n)
	d.problems = append(d.problems, Problem{Where: at.where, Path: path, What: what, Fix: fix, line: at.line})
}

// locate gives each problem the place of its field, or of the innermost block
// around it that the file has.
func (d *decoder) locate(found Problems) Problems {
	for i, p := range found {
		path := p.Path
		at, ok := d.places[path]
		for !ok && path != "" {
			path = path[:max(strings.LastIndexAny(path, ".["), 0)]
			at, ok = d.places[path]
		}
		found[i].Where, found[i].line = at.where, at.line
	}
	return found
}

// decode reads n into v. The depth is that of v's type, so aliases that contain
// themselves do no harm.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string) {
	d.places[path] = d.place(n)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case v.Type() == reflect.TypeFor[Link]():
		d.link(n, v.Addr().Interface().(*Link), path)
	case v.Kind() == reflect.Struct && !isText(v):
		d.block(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	case v.Kind() == reflect.Map:
		d.table(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// block reads the keys of a struct.
func (d *decoder) block(n *yaml.Node, v reflect.Value, path string) {
	switch b := v.Addr().Interface().(type) {
	case *Heartbeat:
		*b = heartbeatOf(Preset(cmp.Or(wordIn(n, "preset"), string(PresetDefault))))
	case *Service:
		b.Locality = localityOf(Policy(wordIn(n, "policy")))
	}
	keys := keysOf(v.Type())
	d.pairs(n, path, "write its keys below it: "+strings.Join(keys, ", "), func(key, value *yaml.Node) {
		at := join(path, key.Value)
		index := fieldIndex(v.Type(), key.Value)
		if index < 0 {
			d.fail(key, at, "unknown key", suggest(key.Value, keys))
			return
		}
		d.decode(value, v.Field(index), at)
	})
}

// wordIn finds the word under a key that decides on the values of others that are
// left out, wherever it stands in the block.
func wordIn(n *yaml.Node, key string) string {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			continue
		}
		if value := n.Content[i+1]; value.Kind == yaml.AliasNode {
			return value.Alias.Value
		}
		return n.Content[i+1].Value
	}
	return ""
}

// table reads a map with names for keys.
func (d *decoder) table(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, path, "write name: value pairs below it", func(key, value *yaml.Node) {
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, element, join(path, key.Value))
		v.SetMapIndex(reflect.ValueOf(key.Value), element)
	})
}

// pairs calls each for every pair of a mapping. An empty block is a mapping
// without pairs.
func (d *decoder) pairs(n *yaml.Node, path, fix string, each func(key, value *yaml.Node)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "is "+kindOf(n)+", not a block", fix)
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.fail(key, path, "has "+kindOf(key)+" for a key", "write a plain word")
			continue
		}
		if line, twice := first[key.Value]; twice {
			d.fail(key, join(path, key.Value), fmt.Sprintf("is written twice, first in line %d", line), "leave one out")
			continue
		}
		first[key.Value] = key.Line
		each(key, value)
	}
}

// list reads a sequence; each element starts with its defaults.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "is "+kindOf(n)+", not a list", "write [...] or lines that begin with -")
		return
	}
	for i, item := range n.Content {
		element := reflect.New(v.Type().Elem())
		setDefaults(element.Interface())
		d.decode(item, element.Elem(), fmt.Sprintf("%s[%d]", path, i))
		v.Set(reflect.Append(v, element.Elem()))
	}
}

// link reads the two ends of a Link.
func (d *decoder) link(n *yaml.Node, l *Link, path string) {
	if n.Kind != yaml.SequenceNode || len(n.Content) != 2 {
		d.fail(n, path, "is no pair of ends", `write ["sw1:p1", "sw2:p9"]`)
		return
	}
	d.decode(n.Content[0], reflect.ValueOf(&l.A).Elem(), path+"[0]")
	d.decode(n.Content[1], reflect.ValueOf(&l.B).Elem(), path+"[1]")
}

// scalar reads a single value.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		d.fail(n, path, "has no value", "write one, or leave the key out")
		return
	}
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "is "+kindOf(n)+", not a single value", "write "+exampleOf(v))
		return
	}
	if what, fix := setScalar(v, n.Value, isNumber(n)); what != "" {
		d.fail(n, path, what, fix)
	}
}

// setScalar reads text into v, or tells what is wrong with it and what to write.
func setScalar(v reflect.Value, text string, number bool) (what, fix string) {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		return setDuration(v, text, number)
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return fmt.Sprintf("%q is not understood", text), "write " + exampleOf(v)
		}
		return "", ""
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Sprintf("%q is neither true nor false", text), "write true or false"
		}
		v.SetBool(b)
	default:
		return setNumber(v, text)
	}
	return "", ""
}

// setNumber reads a number that fits v's type, a whole one unless that has fractions. The ranges that have a
// meaning are validated later.
func setNumber(v reflect.Value, text string) (what, fix string) {
	if v.CanUint() {
		u, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			largest := uint64(1)<<v.Type().Bits() - 1
			return fmt.Sprintf("%q is out of range or no whole number", text), fmt.Sprintf("write at most %d", largest)
		}
		v.SetUint(u)
		return "", ""
	}
	if v.CanFloat() {
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil {
			return fmt.Sprintf("%q is no number", text), "write one like 1.25"
		}
		v.SetFloat(f)
		return "", ""
	}
	i, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return fmt.Sprintf("%q is out of range or no whole number", text), "write a whole number"
	}
	v.SetInt(i)
	return "", ""
}

// setDuration insists on a unit: a bare 5 would be 5 nanoseconds to Go and 5
// seconds to its writer.
func setDuration(v reflect.Value, text string, number bool) (what, fix string) {
	if number {
		return fmt.Sprintf("%s has no unit", text), fmt.Sprintf("write %sms or %ss", text, text)
	}
	span, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Sprintf("%q is no duration", text), "write a number and a unit: 500ms, 2s, 1m"
	}
	v.SetInt(int64(span))
	return "", ""
}

// exampleOf shows how a value of v's type is written.
func exampleOf(v reflect.Value) string {
	switch v.Interface().(type) {
	case MAC:
		return "six bytes like 02:00:5e:00:00:01"
	case Endpoint:
		return "switch:port"
	case time.Duration:
		return "a number and a unit: 500ms, 2s, 1m"
	}
	switch {
	case v.Type() == reflect.TypeFor[Delay]():
		return "a span like 20ms, 0, or off"
	case isText(v):
		return "an address like 192.0.2.1 or 2001:db8::1"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.Kind() == reflect.String:
		return "a word"
	}
	return "a number"
}
