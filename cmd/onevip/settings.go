// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/onevip/onevip/topology"
)

const (
	envPrefix     = topology.EnvPrefix
	defaultConfig = "/etc/onevip/cluster.yaml"
)

// settings is the cluster's configuration as a command line sees it: flags over
// environment over file. Viper knows which of the first two is set, package
// topology reads the file and says where a mistake stands.
type settings struct {
	viper *viper.Viper
	flags *pflag.FlagSet
	paths []topology.Path
}

// allSettings gives a command a flag for each path that topology allows to be
// set from outside the file.
func allSettings(flags *pflag.FlagSet) *settings {
	return newSettings(flags, func(string) bool { return true })
}

// memberSettings gives it only those that whoever talks to a running cluster
// needs: its name and where etcd is. The environment sets the others all the same.
func memberSettings(flags *pflag.FlagSet) *settings {
	return newSettings(flags, isMemberPath)
}

func isMemberPath(path string) bool {
	return path == "cluster" || strings.HasPrefix(path, "etcd.") && path != "etcd.data_dir"
}

func newSettings(flags *pflag.FlagSet, hasFlag func(path string) bool) *settings {
	s := &settings{viper: viper.New(), flags: flags, paths: topology.Paths()}
	s.viper.AllowEmptyEnv(true) // ONEVIP_CONTROLLER_METRICS= means: none
	flags.StringP("config", "c", defaultConfig, "the cluster's configuration file")
	s.bind("config", "config")
	for _, path := range s.paths {
		name := flagName(path.Path)
		if hasFlag(path.Path) {
			addFlag(flags, name, path)
		}
		s.bind(path.Path, name)
	}
	for _, path := range itemPaths(os.Environ()) {
		s.paths = append(s.paths, path)
		s.bind(path.Path, flagName(path.Path))
	}
	return s
}

// own gives the command a setting that is not the cluster's but this process's:
// a flag and a variable, no place in the file.
func (s *settings) own(name, value, doc string) {
	s.flags.String(name, value, doc)
	s.bind(name, name)
}

// get is the value of an own setting.
func (s *settings) get(name string) string { return s.viper.GetString(name) }

// bind ties one viper key to its flag, if the command has it, and variable.
func (s *settings) bind(key, flag string) {
	// Neither call can fail: there is a flag, and there is a name.
	if f := s.flags.Lookup(flag); f != nil {
		_ = s.viper.BindPFlag(key, f)
	}
	_ = s.viper.BindEnv(key, envName(key))
}

func flagName(path string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(path) }

func envName(path string) string { return topology.EnvName(path) }

// itemPaths are the settings of items of the file's lists that the environment
// has: ONEVIP_SERVICES_0_POLICY is services[0].policy. Which items there are only
// the file knows, so there are no flags for them.
func itemPaths(environment []string) (paths []topology.Path) {
	forms := topology.ItemPaths()
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		words := strings.SplitN(strings.TrimPrefix(name, envPrefix), "_", 3)
		if len(words) < 3 {
			continue
		}
		for _, form := range forms {
			form.Path = strings.Replace(form.Path, "[]", "["+words[1]+"]", 1)
			if envName(form.Path) == name {
				paths = append(paths, form)
			}
		}
	}
	return paths
}

// addFlag keeps the flag's value as text: topology parses and judges it the
// same way as the file's.
func addFlag(flags *pflag.FlagSet, name string, path topology.Path) {
	flag := flags.VarPF(&textValue{kind: path.Kind, text: path.Default}, name, "", path.Doc)
	if path.Kind == "bool" {
		flag.NoOptDefVal = "true"
	}
}

// textValue is a flag whose text is judged later. It implements pflag.Value.
type textValue struct{ kind, text string }

func (v *textValue) String() string     { return v.text }
func (v *textValue) Set(s string) error { v.text = s; return nil }
func (v *textValue) Type() string       { return v.kind }

// config is the path of the file.
func (s *settings) config() string { return s.viper.GetString("config") }

// overrides are the settings that flags or environment set, in the file's order.
func (s *settings) overrides() (set []topology.Override) {
	for _, path := range s.paths {
		if origin := s.origin(path.Path); origin != "" {
			set = append(set, topology.Override{Path: path.Path, Value: s.text(path.Path), Origin: origin})
		}
	}
	return set
}

// text is the value as it was written.
func (s *settings) text(path string) string {
	if f := s.flags.Lookup(flagName(path)); f != nil && f.Changed {
		return f.Value.String()
	}
	return s.viper.GetString(path)
}

// origin names who set a path: a flag, a variable, or nobody.
func (s *settings) origin(path string) string {
	name := flagName(path)
	switch f := s.flags.Lookup(name); {
	case f != nil && f.Changed:
		return "flag --" + name
	case s.viper.IsSet(path):
		return "environment " + envName(path)
	}
	return ""
}

// load reads the whole cluster and refuses what is wrong in it.
func (s *settings) load() (topology.Cluster, error) {
	return topology.Load(s.config(), s.overrides()...)
}

// loadMember gives what a member needs, the cluster's name and etcd: from the
// file if there is one, else from flags and environment alone.
func (s *settings) loadMember() (topology.Cluster, error) {
	if s.configured() {
		return s.load()
	}
	cluster := topology.Default()
	if err := s.fillMember(&cluster); err != nil {
		return topology.Cluster{}, err
	}
	return cluster, memberProblems(cluster.Validate())
}

// configured tells whether there is a file, or one was asked for. An empty name
// asks for none.
func (s *settings) configured() bool {
	if s.origin("config") != "" {
		return s.config() != ""
	}
	_, err := os.Stat(s.config())
	return err == nil
}

func (s *settings) fillMember(c *topology.Cluster) error {
	if s.origin("cluster") == "" {
		return usageErrorf("which cluster? There is no configuration file: name it with --config (default %s), or write --cluster NAME and --etcd-endpoints URL", defaultConfig)
	}
	etcd := &c.Etcd
	fields := map[string]*string{
		"cluster": &c.Name, "etcd.ca": &etcd.CA, "etcd.cert": &etcd.Cert,
		"etcd.key": &etcd.Key, "etcd.listen": &etcd.Listen,
	}
	for path, field := range fields {
		if s.origin(path) != "" {
			*field = s.text(path)
		}
	}
	if s.origin("etcd.endpoints") != "" {
		etcd.Endpoints = words(s.text("etcd.endpoints"))
	}
	etcd.Insecure = s.viper.GetBool("etcd.insecure")
	return nil
}

// words splits a list that is separated by commas.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// memberProblems drops what is wrong only because there is no file: no nodes,
// no services.
func memberProblems(err error) error {
	problems, ok := err.(topology.Problems) //nolint:errorlint // Validate returns it unwrapped
	if !ok {
		return err
	}
	kept := slices.DeleteFunc(problems, func(p topology.Problem) bool { return !isMemberPath(p.Path) && !strings.HasPrefix(p.Path, "etcd") })
	if len(kept) == 0 {
		return nil
	}
	return fmt.Errorf("cluster settings: %w", kept)
}
