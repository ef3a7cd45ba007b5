// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"reflect"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// services decides on the services in force: those of the configuration, each
// under an id that stays with its name.
func (d *decider) services() {
	d.dropServices()
	kept := map[topology.ServiceName]topology.ServiceID{}
	for _, config := range d.Config.Services {
		if have, known := d.View.Services[config.Name]; known && d.ids.keepService(have.ID) {
			kept[config.Name] = have.ID
		}
	}
	for _, config := range d.Config.Services {
		id, ok := kept[config.Name]
		if !ok {
			id = d.ids.newService(config.Name)
		}
		d.service(serviceRecord(config, id))
	}
}

// dropServices deletes the records of services that left the configuration.
func (d *decider) dropServices() {
	configured := map[topology.ServiceName]bool{}
	for _, config := range d.Config.Services {
		configured[config.Name] = true
	}
	for _, name := range sortedKeys(d.View.Services) {
		if configured[name] {
			continue
		}
		have := d.View.Services[name]
		d.drop(have, Event{Kind: ServiceRemoved, Service: name, ID: int(have.ID)})
		d.ids.resting.Services[name] = state.RestingService{ID: have.ID, Since: d.Now}
	}
	for _, name := range sortedKeys(d.View.Loads) {
		if !configured[name] {
			d.drop(d.View.Loads[name])
		}
	}
}

func (d *decider) service(want state.Service) {
	have, known := d.View.Services[want.Name]
	if known && reflect.DeepEqual(have, want) {
		return
	}
	e := Event{Kind: ServiceAdded, Service: want.Name, ID: int(want.ID)}
	if known {
		e.Kind = ServiceChanged
	}
	d.put(want, e)
}

func serviceRecord(config topology.Service, id topology.ServiceID) state.Service {
	return state.Service{
		Schema:   state.Schema,
		Name:     config.Name,
		ID:       id,
		VIPs:     config.VIPs,
		Port:     config.Port,
		Policy:   config.Policy,
		MaxConns: config.MaxConns,
		Replay:   config.Replay,
		Locality: localityRecord(config),
		Health: state.Health{
			Type:     config.Health.Type,
			Path:     config.Health.Path,
			Interval: state.Duration(config.Health.Interval),
			Timeout:  state.Duration(config.Health.Timeout),
			Rise:     config.Health.Rise,
			Fall:     config.Health.Fall,
		},
	}
}

// localityRecord gives the rules of a service whose policy inspects, else nil.
func localityRecord(config topology.Service) *state.LocalityRules {
	if !config.Policy.Inspects() {
		return nil
	}
	rules := config.Locality
	return &state.LocalityRules{
		Key:    rules.Key,
		Low:    rules.Low,
		High:   rules.High,
		Decay:  state.Duration(rules.Decay),
		Bound:  rules.Bound,
		Silent: state.Silent{After: state.Duration(rules.Silent.After), Then: rules.Silent.Then},
	}
}

// localities deletes the sets of services that left, or that keep none: only the
// policy locality does. They may be thousands, and so come after all that has to
// be seen together; what an agent writes late is deleted the next time.
//
// Sets that name nodes that failed or left stay as they are. Who picks passes
// over a node that can not be picked, and when it is back, it still holds in
// memory what it served.
func (d *decider) localities() {
	keeps := map[topology.ServiceName]bool{}
	for _, config := range d.Config.Services {
		keeps[config.Name] = config.Policy == topology.Locality
	}
	for _, name := range sortedKeys(d.View.Locality) {
		if keeps[name] {
			continue
		}
		for _, bucket := range sortedKeys(d.View.Locality[name]) {
			d.drop(d.View.Locality[name][bucket])
		}
	}
}
