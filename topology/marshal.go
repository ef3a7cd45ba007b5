// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Marshal writes the effective configuration, defaults included, as YAML that
// Parse reads back to the same value.
func Marshal(c Cluster) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("write cluster configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write cluster configuration: %w", err)
	}
	return out.Bytes(), nil
}
