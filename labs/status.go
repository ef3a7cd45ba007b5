// SPDX-License-Identifier: Apache-2.0

package labs

// Report is a lab and what of it lives.
type Report struct {
	*Running
	Hosts []HostReport
}

// HostReport is a host and what of it lives.
type HostReport struct {
	Host
	State     HostState
	Processes int // in its namespace
	Faults    []FaultKind
}

// HostState is the state of a host's command.
type HostState string

// HostIdle has no command: it is there to run commands in.
const (
	HostRunning HostState = "running"
	HostEnded   HostState = "ended"
	HostIdle    HostState = "idle"
	HostMissing HostState = "missing" // its namespace is gone
)

// Status looks at a running lab; the only one, if name is empty.
func Status(name string) (Report, error) {
	r, err := Find(name)
	if err != nil {
		return Report{}, err
	}
	s := Report{Running: r}
	for _, h := range r.Hosts {
		host, err := h.status()
		if err != nil {
			return Report{}, err
		}
		for _, f := range r.Faults {
			if f.Host == h.Name {
				host.Faults = append(host.Faults, f.Kind)
			}
		}
		s.Hosts = append(s.Hosts, host)
	}
	return s, nil
}

func (h Host) status() (HostReport, error) {
	s := HostReport{Host: h, State: HostEnded}
	id, err := namespaceID(netnsPath(h.Namespace))
	if err != nil {
		s.State = HostMissing
		return s, nil
	}
	inside, err := processesIn(map[nsID]bool{id: true})
	if err != nil {
		return s, err
	}
	s.Processes = len(inside)
	switch {
	case len(h.Command) == 0:
		s.State = HostIdle
	case h.Process.Alive():
		s.State = HostRunning
	}
	return s, nil
}
