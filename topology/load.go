// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"os"
	"reflect"

	"gopkg.in/yaml.v3"
)

// Load reads cluster.yaml. The error is a Problems with everything that is
// wrong, or that of reading the file.
func Load(path string, overrides ...Override) (Cluster, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Cluster{}, fmt.Errorf("read cluster configuration: %w", err)
	}
	return Parse(path, data, overrides...)
}

// Parse reads the content of a cluster.yaml that is called name in messages.
// The overrides are applied in their order, then defaults fill in, then all is
// validated. The error is a Problems.
func Parse(name string, data []byte, overrides ...Override) (Cluster, error) {
	d := newDecoder(name)
	root := d.parseYAML(data)
	if root == nil {
		return Cluster{}, d.problems
	}
	for _, o := range overrides {
		d.override(root, o)
	}
	c := Default()
	d.decode(root, reflect.ValueOf(&c).Elem(), "")
	if root.Kind != yaml.MappingNode {
		return Cluster{}, d.problems
	}
	c.derive()
	for _, p := range d.locate(c.check()) {
		if !d.problems.covers(p.Path) {
			d.problems = append(d.problems, p)
		}
	}
	if err := d.problems.sorted().err(); err != nil {
		return Cluster{}, err
	}
	return c, nil
}

// Validate checks a Cluster that was not read from a file. The error is a
// Problems without places.
func (c Cluster) Validate() error { return c.check().err() }
