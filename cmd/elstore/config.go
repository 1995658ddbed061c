package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// configFlag names the one flag that the configuration file itself can't set.
const configFlag = "config"

// maxConfig is the largest configuration file that is read, in bytes.
const maxConfig = 1 << 20

// configure sets the flags that the command line left out: from the environment (ELSTORE_IMPORT_DIR for
// --import-dir), else from the file that --config or ELSTORE_CONFIG names. Keys of the file are the flags' names.
func configure(flags *pflag.FlagSet, getenv func(string) (string, bool)) error {
	var errs []error
	given := map[string]bool{}
	flags.VisitAll(func(f *pflag.Flag) {
		given[f.Name] = f.Changed
		name := "ELSTORE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := getenv(name)
		if given[f.Name] || !ok {
			return
		}
		given[f.Name] = true
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	path, err := flags.GetString(configFlag)
	if err != nil || path == "" {
		return err
	}
	settings, err := readConfig(path)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if key == configFlag || flags.Lookup(key) == nil || key == "help" {
			return fmt.Errorf("%s: no setting is named %q; settings are the long flags of `elstore serve`", path, key)
		}
		if given[key] {
			continue
		}
		for _, value := range settings[key] {
			if err := flags.Set(key, value); err != nil {
				return fmt.Errorf("%s: %s: %w", path, key, err)
			}
		}
	}
	return nil
}

// readConfig reads a YAML file of settings, each a scalar or a list of them.
func readConfig(path string) (map[string][]string, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(data) > maxConfig {
		return nil, fmt.Errorf("configuration: %s has over %d bytes", path, maxConfig)
	}
	settings, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("configuration: %s: %w", path, err)
	}
	return settings, nil
}

// parseConfig is pure. yaml.v3 refuses duplicate keys by itself.
func parseConfig(data []byte) (map[string][]string, error) {
	var nodes map[string]yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	settings := make(map[string][]string, len(nodes))
	for key, node := range nodes {
		switch node.Kind {
		case yaml.ScalarNode:
			settings[key] = []string{node.Value}
		case yaml.SequenceNode:
			settings[key] = []string{}
			for _, item := range node.Content {
				if item.Kind != yaml.ScalarNode {
					return nil, fmt.Errorf("line %d: %s is a list of plain values", item.Line, key)
				}
				settings[key] = append(settings[key], item.Value)
			}
		default:
			return nil, fmt.Errorf("line %d: %s is a plain value or a list of them", node.Line, key)
		}
	}
	return settings, nil
}
