package cloudinit

import (
	"go.yaml.in/yaml/v3"
)

// checkNetwork checks a network configuration of version 1 or 2, with or without "network:" around it.
func checkNetwork(name string, data []byte) error {
	n, err := parse(name, data, 0)
	if err != nil || n == nil {
		return err
	}
	if err := expect(name, 0, "the network configuration", n, mapping); err != nil {
		return err
	}
	if inner := get(n, "network"); inner != nil {
		if err := expect(name, 0, "network", inner, mapping); err != nil {
			return err
		}
		n = inner
	}
	if off := get(n, "config"); off != nil && off.Value == "disabled" {
		return nil
	}
	version := get(n, "version")
	switch {
	case version == nil:
		return invalid(name, n.Line, "version is missing; 1 or 2 was expected")
	case version.Value == "1":
		return checkVersion1(name, n)
	case version.Value == "2":
		return checkVersion2(name, n)
	}
	return invalid(name, version.Line, "version is "+quoted(version.Value)+"; 1 or 2 was expected")
}

// types are those of version 1 (cloud-init's schema-network-config-v1.json).
var types = map[string]bool{
	"physical": true, "bond": true, "bridge": true, "vlan": true, "nameserver": true, "route": true, "infiniband": true, "loopback": true,
}

func checkVersion1(name string, n *yaml.Node) error {
	config := get(n, "config")
	if config == nil {
		return invalid(name, n.Line, "config is missing; a list was expected")
	}
	if err := expect(name, 0, "config", config, list); err != nil {
		return err
	}
	for _, e := range config.Content {
		if err := expect(name, 0, "an element of config", e, mapping); err != nil {
			return err
		}
		kind := get(e, "type")
		if kind == nil {
			return invalid(name, e.Line, "an element of config has no type, which was expected")
		}
		if !types[kind.Value] {
			return invalid(name, kind.Line, "type is "+quoted(kind.Value)+"; physical, bond, bridge, vlan, nameserver or route was expected")
		}
		if kind.Value != "nameserver" && kind.Value != "route" && get(e, "name") == nil {
			return invalid(name, e.Line, "a "+kind.Value+" interface has no name, which was expected")
		}
	}
	return nil
}

// classes are the interfaces of version 2.
var classes = map[string]bool{
	"ethernets": true, "bonds": true, "bridges": true, "vlans": true, "wifis": true, "modems": true, "tunnels": true, "vrfs": true, "dummy-devices": true,
}

func checkVersion2(name string, n *yaml.Node) error {
	return pairs(n, func(key string, k, v *yaml.Node) error {
		switch {
		case key == "version" || key == "renderer":
			return nil
		case !classes[key]:
			return invalid(name, k.Line, quoted(key)+" is not known; version, renderer, ethernets, bonds, bridges or vlans was expected")
		}
		if err := expect(name, 0, key, v, mapping, nothing); err != nil {
			return err
		}
		if v.Kind != yaml.MappingNode {
			return nil
		}
		return pairs(v, func(device string, _, d *yaml.Node) error {
			if err := expect(name, 0, device, d, mapping, nothing); err != nil {
				return err
			}
			if a := get(d, "addresses"); a != nil {
				return expect(name, 0, "addresses of "+device, a, list)
			}
			return nil
		})
	})
}
